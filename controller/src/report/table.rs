//! The table of the terminal.

use std::fmt::Write as _;

use comfy_table::CellAlignment::{Left, Right};
use edgefront_protocol::results::{FailedJob, Record, Results};

use super::footnotes::{Footnotes, superscript};
use super::names::{Names, Part};
use super::{by_median, devices, figure, layers, no_p99, power};
use crate::results::unmeasured;
use crate::stats::certify;
use crate::ui::{Column, fitted};

/// The results as a table of at most `width` columns for the terminal, one block a device, fastest median
/// first.
///
/// `★` stands before what is on the frontier, `~` before a P99 that its samples do not certify, and a number
/// after what has a remark.
pub fn table(results: &Results, width: u16) -> String {
    let mut text = String::new();
    let devices = devices(results);
    let all = devices.iter().flat_map(|device| by_median(results, device));
    let footnotes = Footnotes::of(&all.collect::<Vec<_>>());
    for device in devices {
        let records = by_median(results, device);
        let names = Names::of(&records);
        let shared = names.shared(records[0]);
        let has_energy = records.iter().any(|record| record.energy.is_some());
        let rows: Vec<Row<'_>> = records
            .iter()
            .map(|record| Row {
                record,
                name: marked(record, &names, &footnotes),
            })
            .collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{device}: {shared}\n{}\n",
            fitted(&rows, &columns(has_energy), width)
        );
        for row in rows.iter().filter(|row| !row.record.layers.is_empty()) {
            let _ = writeln!(text, "{}", layers::text(row.record, &row.name));
        }
    }
    for lost in unmeasured(results) {
        let _ = writeln!(text, "{}: no measurement: {}\n", lost.device, lost.why);
    }
    legend(&mut text, results, &footnotes);
    text.truncate(text.trim_end().len());
    text
}

fn legend(text: &mut String, results: &Results, footnotes: &Footnotes) {
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    if results.records.iter().any(|r| r.pareto) {
        line(format!(
            "★ on the frontier of {}",
            results.objectives.join(" and ")
        ));
    }
    if let Some(missing) = most_missing(results) {
        let needed = certify::needed(0.99);
        line(format!(
            "~ not certified: P99 needs {needed} runs, up to {missing} are missing"
        ));
    }
    if let Some(why) = no_p99(&results.records) {
        line(format!("- for a P99: {why}"));
    }
    for rail in power::rails(&results.records.iter().collect::<Vec<_>>()) {
        line(format!("mJ of an inference, {rail}"));
    }
    for (number, remark) in footnotes.iter() {
        line(format!("{} {remark}", superscript(number)));
    }
    for finding in &results.findings {
        line(finding.clone());
    }
    let lost = unmeasured(results);
    let is_told = |failed: &FailedJob| {
        let of = lost.iter().find(|lost| lost.device == failed.device);
        of.is_some_and(|lost| lost.failed.is_empty())
    };
    for failed in results.failed.iter().filter(|failed| !is_told(failed)) {
        line(format!("failed: {}: {}", failed.place(), failed.error));
    }
}

fn most_missing(results: &Results) -> Option<u64> {
    let uncertified = results
        .records
        .iter()
        .filter(|r| r.latency_ms.p99.is_some() && !r.latency_ms.p99_certified);
    uncertified
        .map(|r| certify::missing(0.99, r.latency_ms.samples))
        .max()
}

struct Row<'a> {
    record: &'a Record,
    name: String,
}

/// The record's name with the signs of its remarks.
fn marked(record: &Record, names: &Names, footnotes: &Footnotes) -> String {
    let signs = footnotes.numbers(record).into_iter().map(superscript);
    let name = std::iter::once(names.short(record, &Part::ALL).join("/"));
    name.chain(signs).collect::<Vec<_>>().join(" ")
}

/// Energy stands among the others only where some of it was measured.
fn columns<'a>(has_energy: bool) -> Vec<Column<Row<'a>>> {
    let column = |head, side, gives_way, cell| Column {
        head,
        side,
        gives_way,
        cell,
    };
    let mut columns = vec![
        column("", Left, None, |row: &Row<'_>| {
            if row.record.pareto { "★" } else { "" }.to_owned()
        }),
        column("configuration", Left, None, |row| row.name.clone()),
        column("top-1 %", Right, None, |row| {
            or_dash(row.record.accuracy.as_ref(), |a| format!("{:.2}", a.top1 * 100.0))
        }),
        column("P50 ms", Right, None, |row| figure(row.record.latency_ms.p50)),
        column("95 % interval", Right, Some(1), |row| {
            or_dash(row.record.latency_ms.p50_ci95, |[low, high]| {
                format!("{}-{}", figure(low), figure(high))
            })
        }),
        column("rounds ± %", Right, Some(0), |row| {
            or_dash(row.record.latency_ms.round_spread, |spread| {
                format!("{:.1}", spread * 100.0)
            })
        }),
        column("P99 ms", Right, Some(4), |row| {
            let sign = if row.record.latency_ms.p99_certified {
                ""
            } else {
                "~"
            };
            or_dash(row.record.latency_ms.p99, |p99| format!("{sign}{}", figure(p99)))
        }),
        column("pict./s", Right, Some(2), |row| figure(row.record.throughput_ips)),
        column("MB", Right, Some(3), |row| {
            figure(row.record.artifact.bytes as f64 / 1e6)
        }),
    ];
    if has_energy {
        columns.push(column("mJ", Right, None, |row| {
            or_dash(row.record.energy.as_ref(), |energy| {
                figure(energy.mj_per_inference)
            })
        }));
    }
    columns
}

fn or_dash<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn fits_every_terminal_and_keeps_what_matters() {
        let mut results = fixture::results();
        results.failed.clear();
        results
            .records
            .iter_mut()
            .for_each(|r| r.conditions.notes.clear());
        results.records[0].variant =
            "a-variant-with-a-very-long-name-that-nobody-should-choose-but-some-will".into();
        for width in [50, 60, 80, 100, 200] {
            let text = table(&results, width);
            let (tables, _) = text.split_once("\n★ on the frontier").unwrap();
            let fits = |line: &str| line.chars().count() <= usize::from(width);
            assert!(tables.lines().all(fits), "{text}");
            assert!(text.contains("top-1 %") && text.contains("P50 ms"), "{text}");
        }
    }

    #[test]
    fn all_columns_of_the_defaults_fit_80() {
        let text = table(&fixture::results(), 80);
        assert!(text.contains("95 % interval"), "{text}");
    }

    #[test]
    fn energy_stands_in_it_with_its_rail_where_some_was_measured() {
        let mut results = fixture::results();
        assert!(!table(&results, 80).contains("mJ"));
        results.records[0].energy = Some(fixture::energy());
        let text = table(&results, 80);
        assert!(text.contains(" mJ\n") && text.contains(" 19.4\n"), "{text}");
        assert!(
            text.contains("\nmJ of an inference, measured at VDD_IN of ina3221 (module)\n"),
            "{text}"
        );
    }

    #[test]
    fn a_wide_terminal_shows_how_the_rounds_differ() {
        let text = table(&fixture::results(), 100);
        assert!(text.contains("rounds ± %") && text.contains("  0.4  "), "{text}");
    }

    #[test]
    fn a_missing_p99_says_why() {
        let mut results = fixture::results();
        assert!(!table(&results, 80).contains("- for a P99"));
        results.records[0].latency_ms.p99 = None;
        let text = table(&results, 80);
        assert!(text.contains("- for a P99: it needs 100 runs"), "{text}");
    }

    #[test]
    fn devices_without_a_measurement_say_why() {
        let mut results = fixture::results();
        results.records.truncate(1);
        assert_eq!(results.failed[0].device, "pi-kitchen");
        let text = table(&results, 80);
        let lines = [
            "pi-kitchen: no measurement: everything failed\n",
            "failed: pi-kitchen qat-int8/tract at load: tract has no operator",
        ];
        assert!(lines.iter().all(|line| text.contains(line)), "{text}");

        results.failed[0].stage = "device".into();
        let text = table(&results, 80);
        assert!(
            text.contains("pi-kitchen: no measurement: tract has no operator"),
            "{text}"
        );
        assert_eq!(text.matches("QLinearAdd").count(), 1, "{text}");
    }

    #[test]
    fn shows_frontier_certification_remarks_and_failures() {
        insta::assert_snapshot!(table(&fixture::results(), 80));
    }
}
