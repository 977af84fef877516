//! Which layers a record's time goes to: a bar a layer, the slowest first.

use std::fmt::Write as _;

use edgefront_protocol::results::{LayerTimeRecord, Record};

use super::figure;
use super::html::escaped;

/// Layers that a terminal shows of one record.
const SHOWN: usize = 12;
/// Characters of the longest bar.
const BAR: usize = 24;
/// Characters of a layer's name before it is cut.
const NAME: usize = 36;

/// A record's layers with the largest share first, and their sum in milliseconds; `None` where none were timed.
fn sorted(record: &Record) -> Option<(Vec<&LayerTimeRecord>, f64)> {
    let mut layers: Vec<&LayerTimeRecord> = record.layers.iter().collect();
    layers.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    let sum: f64 = layers.iter().map(|layer| layer.ms).sum();
    (sum > 0.0).then_some((layers, sum))
}

/// The slowest layers for the terminal, under the record's `name`; empty where none were timed.
pub(super) fn text(record: &Record, name: &str) -> String {
    let Some((layers, sum)) = sorted(record) else {
        return String::new();
    };
    let mut text = format!("{name}: {} layers, {} ms in all\n", layers.len(), figure(sum));
    let longest = layers[0].ms;
    for layer in layers.iter().take(SHOWN) {
        let share = 100.0 * layer.ms / sum;
        let bar = "█".repeat(((layer.ms / longest) * BAR as f64).round() as usize);
        let line = format!(
            "  {:>5.1} %  {:>9} ms  {:<18} {:<NAME$} {bar}",
            share,
            figure(layer.ms),
            cut(&layer.operator, 18),
            cut(&layer.name, NAME),
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let rest = layers.iter().skip(SHOWN).map(|layer| layer.ms).sum::<f64>();
    if rest > 0.0 {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {:>5.1} %  {:>9} ms  in {} others",
            100.0 * rest / sum,
            figure(rest),
            layers.len() - SHOWN
        );
    }
    text
}

/// The end of a name tells more than its beginning.
fn cut(name: &str, length: usize) -> String {
    let count = name.chars().count();
    if count <= length {
        return name.to_owned();
    }
    std::iter::once('…')
        .chain(name.chars().skip(count - length + 1))
        .collect()
}

/// All layers as HTML, to unfold under the record's `name`.
pub(super) fn html(page: &mut String, record: &Record, name: &str) -> std::fmt::Result {
    let Some((layers, sum)) = sorted(record) else {
        return Ok(());
    };
    writeln!(
        page,
        "<details><summary>{}: {} layers, {} ms in all</summary><table class=\"layers\">\
         <thead><tr><th>layer</th><th>operator</th><th>ms</th><th>share</th></tr></thead><tbody>",
        escaped(name),
        layers.len(),
        figure(sum)
    )?;
    for layer in layers {
        let share = 100.0 * layer.ms / sum;
        writeln!(
            page,
            "<tr><td class=\"name\">{}</td><td class=\"name\">{}</td><td>{}</td>\
             <td class=\"share\"><span style=\"width:{share:.1}%\"></span>{share:.1} %</td></tr>",
            escaped(&layer.name),
            escaped(&layer.operator),
            figure(layer.ms)
        )?;
    }
    page.push_str("</tbody></table></details>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    fn record(layers: &[(&str, &str, f64)]) -> Record {
        let mut record = fixture::results().records.remove(0);
        let layer = |&(name, operator, ms): &(&str, &str, f64)| LayerTimeRecord {
            name: name.into(),
            operator: operator.into(),
            ms,
        };
        record.layers = layers.iter().map(layer).collect();
        record
    }

    #[test]
    fn the_slowest_layer_stands_first_and_small_ones_together() {
        let mut layers = vec![
            ("/conv1/Conv", "QLinearConv", 0.2),
            (
                "/layer1/layer1.0/a/name/that/is/too/long/for/a/column/Conv",
                "QLinearConv",
                0.5,
            ),
        ];
        layers.extend([("/relu", "Relu", 0.01); 20]);
        insta::assert_snapshot!(text(&record(&layers), "ptq-int8/ort"));
    }

    #[test]
    fn a_record_without_layers_has_nothing_to_show() {
        let mut page = String::new();
        html(&mut page, &record(&[]), "fp32").unwrap();
        assert_eq!((text(&record(&[]), "fp32"), page), (String::new(), String::new()));
    }

    #[test]
    fn names_are_text_and_no_markup() {
        let mut page = String::new();
        html(&mut page, &record(&[("<b>", "Conv", 1.0)]), "fp32").unwrap();
        assert!(
            page.contains("&lt;b&gt;") && page.contains("width:100.0%"),
            "{page}"
        );
    }
}
