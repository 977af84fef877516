//! What the accuracies of a device's records consist of: the difference to the model, the worst output, and the recall of
//! each class as a table whose colours show where it is lost.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use edgefront_protocol::results::{AccuracyRecord, Record};

use super::figure;
use super::html::escaped;

/// Classes that are shown, those first of which most is lost.
const SHOWN: usize = 20;

/// The section of one device; nothing where no record has what it shows. `name` names a record.
pub(super) fn html(
    page: &mut String,
    records: &[&Record],
    name: &dyn Fn(&Record) -> String,
) -> std::fmt::Result {
    let told: Vec<(&Record, &AccuracyRecord)> = records
        .iter()
        .filter_map(|record| Some((*record, record.accuracy.as_ref()?)))
        .filter(|(_, accuracy)| accuracy.top1_drop.is_some() || !accuracy.recall.is_empty())
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    page.push_str(
        "<details><summary>accuracy: beside the model on the workstation, and by class</summary>\n",
    );
    model(page, &told)?;
    differences(page, &told, name)?;
    recalls(page, &told, name)?;
    page.push_str("</details>\n");
    Ok(())
}

/// What ran the model that the others are set beside.
fn model(page: &mut String, told: &[(&Record, &AccuracyRecord)]) -> std::fmt::Result {
    let by: BTreeSet<&str> = told
        .iter()
        .filter_map(|(_, accuracy)| accuracy.reference.as_deref())
        .collect();
    if by.is_empty() {
        return Ok(());
    }
    let by = by.into_iter().collect::<Vec<_>>().join(", ");
    writeln!(page, "<p>The workstation ran the model by {}.</p>", escaped(&by))
}

fn differences(
    page: &mut String,
    told: &[(&Record, &AccuracyRecord)],
    name: &dyn Fn(&Record) -> String,
) -> std::fmt::Result {
    page.push_str(
        "<div class=\"wide\"><table><thead><tr><th class=\"name\">configuration</th><th>top-1 lost, points</th>\
         <th>same prediction %</th><th>mean recall %</th><th class=\"name\">lowest recall</th>\
         <th class=\"name\">furthest output</th></tr></thead><tbody>\n",
    );
    for (record, accuracy) in told {
        let lost = accuracy.top1_drop.zip(accuracy.top1_drop_ci95);
        let lost = lost.map_or_else(dash, |(drop, [low, high])| {
            format!(
                "{:.2} <small>{:.2}–{:.2}</small>",
                100.0 * drop,
                100.0 * low,
                100.0 * high
            )
        });
        let worst = accuracy.worst_recall.map_or_else(dash, |worst| {
            format!(
                "{:.1} % of {} in class {}",
                100.0 * worst.recall,
                worst.pictures,
                worst.class
            )
        });
        let output = accuracy.worst_output.map_or_else(dash, |worst| {
            format!(
                "{} where the largest is {}: picture {}, class {}, of {} pictures",
                figure(worst.difference),
                figure(worst.magnitude),
                worst.picture,
                worst.class,
                worst.pictures
            )
        });
        writeln!(
            page,
            "<tr><td class=\"name\">{}</td><td>{lost}</td><td>{}</td><td>{}</td><td class=\"name\">{worst}</td>\
             <td class=\"name\">{output}</td></tr>",
            escaped(&name(record)),
            percent(accuracy.agreement_reference),
            percent(accuracy.mean_recall),
        )?;
    }
    page.push_str("</tbody></table></div>\n");
    Ok(())
}

fn recalls(
    page: &mut String,
    told: &[(&Record, &AccuracyRecord)],
    name: &dyn Fn(&Record) -> String,
) -> std::fmt::Result {
    let told: Vec<_> = told
        .iter()
        .filter(|(_, accuracy)| !accuracy.recall.is_empty())
        .collect();
    let count = told
        .iter()
        .map(|(_, accuracy)| accuracy.recall.len())
        .max()
        .unwrap_or(0);
    if count == 0 {
        return Ok(());
    }
    let recall = |accuracy: &AccuracyRecord, class: usize| accuracy.recall.get(class).copied().flatten();
    let spread = |class: usize| {
        let known = || told.iter().filter_map(|(_, accuracy)| recall(accuracy, class));
        known().fold(0.0, f64::max) - known().fold(1.0, f64::min)
    };
    let mut classes: Vec<usize> = (0..count).collect();
    if count > SHOWN {
        classes.sort_by(|a, b| spread(*b).total_cmp(&spread(*a)));
        classes.truncate(SHOWN);
        writeln!(
            page,
            "<p>Recall in % of the {SHOWN} of {count} classes that differ most.</p>"
        )?;
    } else {
        page.push_str("<p>Recall in %, by class.</p>\n");
    }
    page.push_str(
        "<div class=\"wide\"><table class=\"recall\"><thead><tr><th class=\"name\">configuration</th>",
    );
    for class in &classes {
        write!(page, "<th>{class}</th>")?;
    }
    page.push_str("</tr></thead><tbody>\n");
    for (record, accuracy) in told {
        write!(page, "<tr><td class=\"name\">{}</td>", escaped(&name(record)))?;
        for &class in &classes {
            match recall(accuracy, class) {
                Some(recall) => write!(
                    page,
                    "<td style=\"--lost:{:.0}%\">{:.1}</td>",
                    100.0 * (1.0 - recall),
                    100.0 * recall
                )?,
                None => page.push_str("<td>–</td>"),
            }
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
    Ok(())
}

fn dash() -> String {
    "–".to_owned()
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(dash, |share| format!("{:.2}", 100.0 * share))
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::results::{ClassRecord, WorstOutputRecord};

    use super::*;
    use crate::results::fixture;

    #[test]
    fn recall_and_differences_are_tables() {
        let mut results = fixture::results();
        let mut page = String::new();
        let records =
            |results: &edgefront_protocol::results::Results| -> Vec<Record> { results.records[..2].to_vec() };
        let shown = records(&results);
        html(
            &mut page,
            &shown.iter().collect::<Vec<_>>(),
            &Record::configuration,
        )
        .unwrap();
        assert_eq!(page, "");
        let accuracy = results.records[0].accuracy.as_mut().unwrap();
        accuracy.recall = vec![Some(0.9), None, Some(0.25)];
        accuracy.mean_recall = Some(0.575);
        accuracy.agreement_reference = Some(0.98);
        accuracy.reference = Some("ort 1.32.0".to_owned());
        accuracy.top1_drop = Some(0.012);
        accuracy.top1_drop_ci95 = Some([0.002, 0.022]);
        accuracy.worst_recall = Some(ClassRecord {
            class: 2,
            recall: 0.25,
            pictures: 4,
        });
        accuracy.worst_output = Some(WorstOutputRecord {
            difference: 0.75,
            magnitude: 12.5,
            picture: 17,
            class: 2,
            pictures: 100,
        });
        let shown = records(&results);
        html(
            &mut page,
            &shown.iter().collect::<Vec<_>>(),
            &Record::configuration,
        )
        .unwrap();
        insta::assert_snapshot!(page);
    }
}
