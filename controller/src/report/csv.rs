//! `results.csv`: one line a record, for spreadsheets. Quoting as in RFC 4180; a missing figure is empty.

use edgefront_protocol::results::{Record, Results};

use super::Rendered;

type Column = (&'static str, fn(&Record) -> String);

const COLUMNS: [Column; 60] = [
    ("device", |r| r.device.clone()),
    ("variant", |r| r.variant.clone()),
    ("runtime", |r| r.runtime.clone()),
    ("provider", |r| r.provider.clone()),
    ("runtime_version", |r| r.runtime_version.clone()),
    ("threads", |r| r.threads.to_string()),
    ("batch", |r| r.batch.to_string()),
    ("pareto", |r| r.pareto.to_string()),
    ("top1", |r| optional(r.accuracy.as_ref().map(|a| a.top1))),
    ("top1_low", |r| {
        optional(r.accuracy.as_ref().map(|a| a.top1_ci95[0]))
    }),
    ("top1_high", |r| {
        optional(r.accuracy.as_ref().map(|a| a.top1_ci95[1]))
    }),
    ("top5", |r| optional(r.accuracy.as_ref().map(|a| a.top5))),
    ("agreement_fp32", |r| {
        optional(r.accuracy.as_ref().and_then(|a| a.agreement_fp32))
    }),
    ("p50_ms", |r| r.latency_ms.p50.to_string()),
    ("p50_low_ms", |r| {
        optional(r.latency_ms.p50_ci95.map(|ends| ends[0]))
    }),
    ("p50_high_ms", |r| {
        optional(r.latency_ms.p50_ci95.map(|ends| ends[1]))
    }),
    ("p90_ms", |r| optional(r.latency_ms.p90)),
    ("p95_ms", |r| optional(r.latency_ms.p95)),
    ("p99_ms", |r| optional(r.latency_ms.p99)),
    ("p99_certified", |r| r.latency_ms.p99_certified.to_string()),
    ("p999_ms", |r| optional(r.latency_ms.p999)),
    ("mean_ms", |r| r.latency_ms.mean.to_string()),
    ("samples", |r| r.latency_ms.samples.to_string()),
    ("throughput_ips", |r| r.throughput_ips.to_string()),
    ("artifact_bytes", |r| r.artifact.bytes.to_string()),
    ("load_ms", |r| r.load_ms.to_string()),
    ("peak_rss_mb", |r| optional(r.memory.peak_rss_mb)),
    ("mj_per_inference", |r| {
        optional(r.energy.as_ref().map(|e| e.mj_per_inference))
    }),
    ("notes", |r| r.conditions.notes.join("; ")),
    ("explanation", |r| r.explanation.clone().unwrap_or_default()),
    ("study", |r| r.study.clone().unwrap_or_default()),
    ("seed", |r| {
        r.seed.map(|seed| seed.to_string()).unwrap_or_default()
    }),
    ("p90_low_ms", |r| end(r.latency_ms.p90_ci95, 0)),
    ("p90_high_ms", |r| end(r.latency_ms.p90_ci95, 1)),
    ("p95_low_ms", |r| end(r.latency_ms.p95_ci95, 0)),
    ("p95_high_ms", |r| end(r.latency_ms.p95_ci95, 1)),
    ("p99_low_ms", |r| end(r.latency_ms.p99_ci95, 0)),
    ("p99_high_ms", |r| end(r.latency_ms.p99_ci95, 1)),
    ("p999_low_ms", |r| end(r.latency_ms.p999_ci95, 0)),
    ("p999_high_ms", |r| end(r.latency_ms.p999_ci95, 1)),
    ("mean_low_ms", |r| end(r.latency_ms.mean_ci95, 0)),
    ("mean_high_ms", |r| end(r.latency_ms.mean_ci95, 1)),
    ("round_spread", |r| optional(r.latency_ms.round_spread)),
    ("net_mj_per_inference", |r| {
        optional(r.energy.as_ref().and_then(|e| e.net_mj_per_inference))
    }),
    ("mean_w", |r| optional(r.energy.as_ref().map(|e| e.mean_w))),
    ("energy_scope", |r| {
        r.energy.as_ref().map(|e| e.scope.clone()).unwrap_or_default()
    }),
    ("scenario", |r| {
        r.scenario.as_ref().map(|s| s.label.clone()).unwrap_or_default()
    }),
    ("cpus", |r| edgefront_protocol::processors::list(&r.cpus)),
    ("rate_qps", |r| {
        optional(r.scenario.as_ref().and_then(|s| s.rate_qps))
    }),
    ("valid", |r| r.conditions.valid.to_string()),
    ("throttled", |r| {
        let told = r.conditions.throttled;
        told.map(|throttled| throttled.to_string()).unwrap_or_default()
    }),
    ("flagged_rounds", |r| {
        let flagged = r.conditions.flagged_rounds.as_ref();
        flagged.map_or(0, |flagged| flagged.count).to_string()
    }),
    ("foreign_load", |r| optional(r.conditions.foreign_load)),
    ("samples_scored", |r| {
        r.accuracy
            .as_ref()
            .map(|a| a.samples.to_string())
            .unwrap_or_default()
    }),
    ("top1_drop", |r| {
        optional(r.accuracy.as_ref().and_then(|a| a.top1_drop))
    }),
    ("agreement_reference", |r| {
        optional(r.accuracy.as_ref().and_then(|a| a.agreement_reference))
    }),
    ("mean_recall", |r| {
        optional(r.accuracy.as_ref().and_then(|a| a.mean_recall))
    }),
    ("worst_recall", |r| {
        let worst = r.accuracy.as_ref().and_then(|a| a.worst_recall);
        optional(worst.map(|worst| worst.recall))
    }),
    ("worst_output", |r| {
        let worst = r.accuracy.as_ref().and_then(|a| a.worst_output);
        optional(worst.map(|worst| worst.difference))
    }),
    ("stopped_by", |r| {
        r.stopped
            .as_ref()
            .map(|stopped| stopped.by.clone())
            .unwrap_or_default()
    }),
];

#[allow(clippy::unnecessary_wraps)] // The form of every exporter.
pub(super) fn render(results: &Results) -> Rendered {
    let mut text = COLUMNS.map(|(name, _)| name).join(",");
    text.push('\n');
    for record in &results.records {
        text.push_str(&COLUMNS.map(|(_, value)| quoted(value(record))).join(","));
        text.push('\n');
    }
    Ok(text.into_bytes())
}

fn optional(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn end(interval: Option<[f64; 2]>, at: usize) -> String {
    optional(interval.map(|ends| ends[at]))
}

fn quoted(field: String) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn has_one_line_a_record() {
        let mut results = fixture::results();
        results.records.truncate(4);
        insta::assert_snapshot!(String::from_utf8(render(&results).unwrap()).unwrap());
    }

    #[test]
    fn quotes_what_would_break_the_line() {
        assert_eq!(quoted("a,\"b\"".into()), "\"a,\"\"b\"\"\"");
        assert_eq!(quoted("plain".into()), "plain");
    }
}
