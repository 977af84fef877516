//! The table of the terminal.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use edgefront_protocol::results::{Record, Results};

use super::{by_median, devices, figure};
use crate::stats::certify;

/// The results as a table of at most 100 columns for the terminal, one block a device, fastest median first.
///
/// `★` stands before what is on the frontier, `~` before a P99 that its samples do not certify.
pub fn table(results: &Results) -> String {
    let mut text = String::new();
    for device in devices(results) {
        let records = by_median(results, device);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{device}\n{}", block(&records));
    }
    if results.records.iter().any(|r| r.pareto) {
        let _ = writeln!(text, "★ on the frontier of {}", results.objectives.join(" and "));
    }
    if let Some(missing) = most_missing(results) {
        let _ = writeln!(
            text,
            "~ not certified: P99 needs {} runs, up to {missing} are missing",
            certify::needed(0.99)
        );
    }
    for failed in &results.failed {
        let place = [&failed.device, &failed.variant, &failed.runtime].map(String::as_str);
        let place: Vec<&str> = place.into_iter().filter(|part| !part.is_empty()).collect();
        let _ = writeln!(
            text,
            "failed: {} at {}: {}",
            place.join(" "),
            failed.stage,
            failed.error
        );
    }
    text.truncate(text.trim_end().len());
    text
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

fn block(records: &[&Record]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(100);
    table.set_header([
        "",
        "configuration",
        "top-1 %",
        "P50 ms (95 % CI)",
        "P99 ms",
        "pict./s",
        "MB",
    ]);
    for record in records {
        table.add_row(row(record));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn row(record: &Record) -> [String; 7] {
    let latency = &record.latency_ms;
    let median = match latency.p50_ci95 {
        Some([low, high]) => format!("{} ({}-{})", figure(latency.p50), figure(low), figure(high)),
        None => figure(latency.p50),
    };
    let p99 = latency.p99.map_or_else(
        || "-".to_owned(),
        |p99| format!("{}{}", if latency.p99_certified { "" } else { "~" }, figure(p99)),
    );
    [
        if record.pareto { "★" } else { "" }.to_owned(),
        record.configuration(),
        record
            .accuracy
            .as_ref()
            .map_or_else(|| "-".to_owned(), |a| format!("{:.2}", a.top1 * 100.0)),
        median,
        p99,
        figure(record.throughput_ips),
        figure(record.artifact.bytes as f64 / 1e6),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn fits_100_columns() {
        let mut results = fixture::results();
        results.failed.clear();
        results.records[0].variant =
            "a-variant-with-a-very-long-name-that-nobody-should-choose-but-some-will".into();
        let text = table(&results);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn shows_frontier_certification_and_failures() {
        insta::assert_snapshot!(table(&fixture::results()));
    }
}
