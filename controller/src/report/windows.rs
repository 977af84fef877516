//! How latency and temperature went over a sustained run: a small picture a record.

use std::fmt::Write as _;

use edgefront_protocol::results::{Record, WindowRecord};

use super::figure;
use super::html::escaped;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 120.0;
/// Space for the figures at both sides.
const MARGIN: f64 = 76.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 20.0;

/// The picture of a record under its `name`; nothing where it was measured in rounds.
pub(super) fn html(page: &mut String, record: &Record, name: &str) -> std::fmt::Result {
    let Some(sustained) = &record.sustained else {
        return Ok(());
    };
    let state = if sustained.settled {
        "settled"
    } else {
        "not settled"
    };
    let throttled = sustained
        .windows
        .iter()
        .filter(|window| window.throttled == Some(true))
        .count();
    let throttled = match throttled {
        0 => String::new(),
        count => format!(", throttled in {count} of {} windows", sustained.windows.len()),
    };
    write!(
        page,
        "<details open><summary>{}: {} s without a pause, {state}{throttled}</summary>\n{}</details>\n",
        escaped(name),
        figure(sustained.asked_s),
        svg(&sustained.windows)
    )
}

/// Medians as a line, temperatures as a dashed one, and the part that counts on a ground of its own.
fn svg(windows: &[WindowRecord]) -> String {
    // A device's clock may be set meanwhile, and the last window be the first.
    let end = windows.iter().map(|window| window.at_s).fold(1e-3, f64::max);
    let to_x = |at_s: f64| MARGIN + (WIDTH - 2.0 * MARGIN) * at_s / end;
    let counted = windows
        .iter()
        .find(|window| window.counted)
        .map_or(end, |window| window.at_s);
    let mut text = format!(
        "<svg class=\"windows\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"median latency over time\">\
         <rect class=\"counted\" x=\"{:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        to_x(counted),
        (to_x(end) - to_x(counted)).max(0.0),
        HEIGHT - TOP - BOTTOM
    );
    let latencies: Vec<(f64, f64)> = windows.iter().map(|window| (window.at_s, window.p50)).collect();
    let temperatures: Vec<(f64, f64)> = windows
        .iter()
        .filter_map(|window| Some((window.at_s, window.temp_c?)))
        .collect();
    line(&mut text, &latencies, "latency", &to_x, ("start", 0.0), "ms");
    line(&mut text, &temperatures, "heat", &to_x, ("end", WIDTH), "°C");
    for window in windows.iter().filter(|window| window.throttled == Some(true)) {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "<rect class=\"throttled\" x=\"{:.1}\" y=\"{:.1}\" width=\"6\" height=\"3\"/>",
            to_x(window.at_s) - 3.0,
            HEIGHT - BOTTOM
        );
    }
    let _ = write!(
        text,
        "<text x=\"{MARGIN}\" y=\"{y}\">0 s</text><text x=\"{:.1}\" y=\"{y}\" text-anchor=\"end\">{} s</text></svg>",
        WIDTH - MARGIN,
        figure(end),
        y = HEIGHT - 4.0
    );
    text
}

/// A line through the points, with its highest and lowest figure at `side`.
fn line(
    text: &mut String,
    points: &[(f64, f64)],
    class: &str,
    to_x: &dyn Fn(f64) -> f64,
    (anchor, side): (&str, f64),
    unit: &str,
) {
    let values = || points.iter().map(|(_, value)| *value);
    let (Some(low), Some(high)) = (values().reduce(f64::min), values().reduce(f64::max)) else {
        return;
    };
    // A line that hardly changes shall look so.
    let middle = f64::midpoint(low, high);
    let half = ((high - low) / 2.0)
        .max(middle.abs() * 0.05)
        .max(f64::MIN_POSITIVE);
    let to_y = |value: f64| {
        let share = (value - (middle - half)) / (2.0 * half);
        HEIGHT - BOTTOM - 6.0 - (HEIGHT - TOP - BOTTOM - 12.0) * share
    };
    let places: Vec<String> = points
        .iter()
        .map(|&(at_s, value)| format!("{:.1},{:.1}", to_x(at_s), to_y(value)))
        .collect();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "<polyline class=\"{class}\" points=\"{}\"/>",
        places.join(" ")
    );
    let ends = if to_y(low) - to_y(high) < 16.0 {
        vec![high]
    } else {
        vec![high, low]
    };
    for value in ends {
        let _ = write!(
            text,
            "<text class=\"{class}\" x=\"{side}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{} {unit}</text>",
            to_y(value) + 4.0,
            figure(value)
        );
    }
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::results::SustainedRecord;

    use super::*;
    use crate::results::fixture;

    #[test]
    fn a_device_that_throttles_is_seen_to() {
        let mut record = fixture::results().records.remove(0);
        let mut page = String::new();
        html(&mut page, &record, "fp32").unwrap();
        assert_eq!(page, "");
        let window = |number: u32| WindowRecord {
            at_s: f64::from(number) * 30.0,
            p50: if number < 6 { 5.0 } else { 8.0 },
            temp_c: Some(50.0 + f64::from(number.min(6)) * 5.0),
            cpu_mhz: None,
            throttled: Some(number >= 6),
            counted: number >= 5,
        };
        record.sustained = Some(SustainedRecord {
            label: "sustained5m".to_owned(),
            asked_s: 300.0,
            settled: true,
            windows: (0..10).map(window).collect(),
        });
        html(&mut page, &record, "fp32").unwrap();
        insta::assert_snapshot!(page);
    }
}
