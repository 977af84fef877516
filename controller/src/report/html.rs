//! `report.html`: one self-contained page with the picture, a sortable table a device, the conditions, what
//! is certified, the failures, and what the passes did to each variant.

mod variants;

use std::fmt::Write as _;

use edgefront_protocol::results::{Record, Results};

use super::footnotes::Footnotes;
use super::names::{Names, Part};
use super::{Rendered, accuracy, by_median, devices, figure, layers, no_p99, picture, power, windows};
use crate::frontier::objective;
use crate::stats::certify;

pub(super) fn render(results: &Results) -> Rendered {
    let picture = String::from_utf8(picture::svg(results)?)?;
    let mut page = String::new();
    let study = escaped(&results.study);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{study}: Edgefront</title>\n<style>\n{}</style>\n\
         <h1>{study}</h1>\n<p>Measured by Edgefront. ★ marks the frontier of {}.</p>\n<figure>{picture}</figure>\n",
        include_str!("../../assets/report/report.css"),
        escaped(&objectives(results)),
    )?;
    for finding in &results.findings {
        writeln!(page, "<p class=\"finding\">{}</p>", escaped(finding))?;
    }
    for device in devices(results) {
        section(&mut page, results, device)?;
    }
    failures(&mut page, results)?;
    variants::section(&mut page, results)?;
    write!(
        page,
        "<script>\n{}</script>\n</html>\n",
        include_str!("../../assets/report/report.js")
    )?;
    Ok(page.into_bytes())
}

/// The objectives as people call them.
fn objectives(results: &Results) -> String {
    let labels = results
        .objectives
        .iter()
        .map(|name| objective::named(name).map_or(name.as_str(), |objective| objective.label));
    labels.collect::<Vec<_>>().join(" and ")
}

/// How the records of one device are named.
struct Naming {
    names: Names,
    footnotes: Footnotes,
}

fn section(page: &mut String, results: &Results, device: &str) -> std::fmt::Result {
    let records = by_median(results, device);
    let naming = Naming {
        names: Names::of(&records),
        footnotes: Footnotes::of(&records),
    };
    writeln!(page, "<h2>{}</h2>", escaped(device))?;
    if let Some(d) = results.devices.iter().find(|d| d.id == device) {
        let memory = edgefront_protocol::Bytes(d.memory_bytes);
        let facts = format!(
            "{}, {} cores, {}, {memory} memory, {}",
            d.cpu, d.cores, d.arch, d.os
        );
        writeln!(page, "<p>{}</p>", escaped(&facts))?;
    }
    let shared = naming.names.shared(records[0]);
    writeln!(page, "<p>All with {}.</p>", escaped(&shared))?;
    page.push_str("<div class=\"wide\"><table><thead><tr>");
    for (name, class, _) in columns(&records) {
        write!(page, "<th class=\"{class}\"><button>{name}</button></th>")?;
    }
    page.push_str("</tr></thead><tbody>\n");
    for record in &records {
        row(page, record, columns(&records), &naming)?;
    }
    page.push_str("</tbody></table></div>\n");
    for (number, remark) in naming.footnotes.iter() {
        let remark = escaped(remark);
        writeln!(page, "<p class=\"note\"><sup>{number}</sup> {remark}</p>")?;
    }
    conditions(page, &records)?;
    accuracy::html(page, &records, &|record| {
        naming.names.short(record, &Part::ALL).join("/")
    })?;
    for record in &records {
        let name = naming.names.short(record, &Part::ALL).join("/");
        windows::html(page, record, &name)?;
        layers::html(page, record, &name)?;
    }
    Ok(())
}

/// What a cell sorts by (empty: last) and what it shows, as HTML.
type Cell = (String, String);
type Column = (&'static str, &'static str, fn(&Record, &Naming) -> Cell);

const ENERGY: &str = "energy mJ";
const NET_ENERGY: &str = "above rest mJ";

/// Those of energy only where some was measured.
fn columns(records: &[&Record]) -> impl Iterator<Item = Column> {
    let has_energy = records.iter().any(|record| record.energy.is_some());
    let of_energy = |name| [ENERGY, NET_ENERGY].contains(&name);
    COLUMNS
        .into_iter()
        .filter(move |(name, ..)| has_energy || !of_energy(*name))
}

const COLUMNS: [Column; 17] = [
    ("", "star", |r, _| {
        if r.pareto {
            ("0".into(), "★".into())
        } else {
            ("1".into(), String::new())
        }
    }),
    ("configuration", "name", |r, naming| {
        let name = escaped(&naming.names.short(r, &Part::ALL).join("/"));
        let numbers: Vec<String> = naming
            .footnotes
            .numbers(r)
            .iter()
            .map(ToString::to_string)
            .collect();
        let signs = if numbers.is_empty() {
            String::new()
        } else {
            format!(" <sup>{}</sup>", numbers.join(", "))
        };
        (name.clone(), name + &signs)
    }),
    ("top-1 %", "", |r, _| match &r.accuracy {
        Some(a) => {
            let [low, high] = a.top1_ci95.map(|share| share * 100.0);
            (
                a.top1.to_string(),
                format!("{:.2} <small>{low:.1}–{high:.1}</small>", a.top1 * 100.0),
            )
        }
        None => missing(),
    }),
    ("top-5 %", "", |r, _| {
        number(r.accuracy.as_ref().map(|a| a.top5 * 100.0))
    }),
    ("agrees with FP32 %", "", |r, _| {
        number(
            r.accuracy
                .as_ref()
                .and_then(|a| a.agreement_fp32)
                .map(|v| v * 100.0),
        )
    }),
    ("P50 ms", "", |r, _| {
        with_interval(Some(r.latency_ms.p50), r.latency_ms.p50_ci95)
    }),
    ("rounds ± %", "", |r, _| {
        number(r.latency_ms.round_spread.map(|spread| spread * 100.0))
    }),
    ("mean ms", "", |r, _| {
        with_interval(Some(r.latency_ms.mean), r.latency_ms.mean_ci95)
    }),
    ("P90 ms", "", |r, _| {
        with_interval(r.latency_ms.p90, r.latency_ms.p90_ci95)
    }),
    ("P99 ms", "", |r, _| {
        let (key, shown) = with_interval(r.latency_ms.p99, r.latency_ms.p99_ci95);
        let is_certified = r.latency_ms.p99_certified || r.latency_ms.p99.is_none();
        (key, if is_certified { shown } else { format!("~{shown}") })
    }),
    ("pictures/s", "", |r, _| number(Some(r.throughput_ips))),
    (ENERGY, "", |r, _| match &r.energy {
        Some(energy) => {
            let interval = energy
                .mj_ci95
                .map(|[low, high]| format!(" <small>{}–{}</small>", figure(low), figure(high)));
            let shown = figure(energy.mj_per_inference) + &interval.unwrap_or_default();
            (energy.mj_per_inference.to_string(), shown)
        }
        None => missing(),
    }),
    (NET_ENERGY, "", |r, _| {
        number(r.energy.as_ref().and_then(|energy| energy.net_mj_per_inference))
    }),
    ("size MB", "", |r, _| number(Some(r.artifact.bytes as f64 / 1e6))),
    ("peak memory MB", "", |r, _| {
        with(number(r.memory.peak_rss_mb), &[("net", r.memory.net_peak_rss_mb)])
    }),
    ("load ms", "", |r, _| {
        let more = [("cold", r.cold_load_ms), ("first run", r.first_inference_ms)];
        with(number(Some(r.load_ms)), &more)
    }),
    ("runs", "", |r, _| {
        (r.latency_ms.samples.to_string(), r.latency_ms.samples.to_string())
    }),
];

/// A figure and, smaller, its interval.
fn with_interval(value: Option<f64>, ends: Option<[f64; 2]>) -> Cell {
    let (key, shown) = number(value);
    let interval = ends.map(|[low, high]| format!(" <small>{}–{}</small>", figure(low), figure(high)));
    (key, shown + &interval.unwrap_or_default())
}

fn number(value: Option<f64>) -> Cell {
    value.map_or_else(missing, |value| (value.to_string(), figure(value)))
}

/// A cell with further figures, as far as they are known.
fn with((key, shown): Cell, more: &[(&str, Option<f64>)]) -> Cell {
    let known = more
        .iter()
        .filter_map(|(name, value)| Some(format!("{name} {}", figure((*value)?))));
    let known: Vec<String> = known.collect();
    if known.is_empty() {
        return (key, shown);
    }
    (key, format!("{shown} <small>{}</small>", known.join(", ")))
}

fn missing() -> Cell {
    (String::new(), "<span class=\"pale\">–</span>".to_owned())
}

fn row(
    page: &mut String,
    record: &Record,
    columns: impl Iterator<Item = Column>,
    naming: &Naming,
) -> std::fmt::Result {
    write!(
        page,
        "<tr class=\"{}\">",
        if record.pareto { "pareto" } else { "" }
    )?;
    for (_, class, cell) in columns {
        let (key, shown) = cell(record, naming);
        write!(page, "<td class=\"{class}\" data-key=\"{key}\">{shown}</td>")?;
    }
    page.push_str("</tr>\n");
    Ok(())
}

/// Which percentiles are certified, and the state of the device.
fn conditions(page: &mut String, records: &[&Record]) -> std::fmt::Result {
    page.push_str("<ul>\n");
    for (name, percentile) in [("P90", 0.9), ("P95", 0.95), ("P99", 0.99), ("P99.9", 0.999)] {
        let lacking = records
            .iter()
            .map(|r| certify::missing(percentile, r.latency_ms.samples));
        let (count, most) = lacking
            .filter(|m| *m > 0)
            .fold((0, 0), |(n, most), m| (n + 1, most.max(m)));
        let needed = certify::needed(percentile);
        match count {
            0 => writeln!(
                page,
                "<li>{name} is certified for all (MLPerf early stopping, {needed} runs)</li>"
            )?,
            _ => writeln!(
                page,
                "<li>{name} is certified for {} of {} configurations: it needs {needed} runs, up to {most} are missing</li>",
                records.len() - count,
                records.len(),
            )?,
        }
    }
    if let Some(why) = no_p99(records.iter().copied()) {
        writeln!(page, "<li>where P99 is missing, {why}</li>")?;
    }
    for rail in power::rails(records) {
        writeln!(page, "<li>energy of an inference, {}</li>", escaped(&rail))?;
    }
    if let Some(seeds) = shared(records, |r| r.seed.map(|seed| seed.to_string())) {
        writeln!(
            page,
            "<li>the configurations took turns in an order shuffled with seed {seeds}</li>"
        )?;
    }
    if let Some(governor) = shared(records, |r| r.conditions.governor.clone()) {
        writeln!(page, "<li>CPU governor: {}</li>", escaped(&governor))?;
    }
    if let Some(hottest) = records
        .iter()
        .filter_map(|r| r.conditions.max_temp_c)
        .reduce(f64::max)
    {
        writeln!(page, "<li>highest temperature: {hottest:.1} °C</li>")?;
    }
    if let Some(modes) = shared(records, |r| r.conditions.power_mode.clone()) {
        writeln!(page, "<li>mode of power: {}</li>", escaped(&modes))?;
    }
    let clocks = |of: fn(&Record) -> Option<[u32; 2]>| {
        let ranges = records.iter().filter_map(|r| of(r));
        ranges.reduce(|[low, high], [lower, higher]| [low.min(lower), high.max(higher)])
    };
    let kinds: [(&str, Option<[u32; 2]>); 2] = [
        ("processors", clocks(|r| r.conditions.cpu_mhz)),
        ("graphics processor", clocks(|r| r.conditions.gpu_mhz)),
    ];
    for (kind, clock) in kinds {
        if let Some([low, high]) = clock {
            writeln!(
                page,
                "<li>clock of the {kind} between rounds: {low} to {high} MHz</li>"
            )?;
        }
    }
    let loads = records.iter().filter_map(|r| r.conditions.foreign_load);
    if let Some(most) = loads.reduce(f64::max) {
        writeln!(page, "<li>other processes kept up to {most:.2} cores busy</li>")?;
    }
    page.push_str("</ul>\n");
    Ok(())
}

/// The values of all records, each once; `None` where no record has one.
fn shared(records: &[&Record], value: impl Fn(&Record) -> Option<String>) -> Option<String> {
    let mut values: Vec<String> = records.iter().filter_map(|r| value(r)).collect();
    values.sort();
    values.dedup();
    (!values.is_empty()).then(|| values.join(", "))
}

fn failures(page: &mut String, results: &Results) -> std::fmt::Result {
    if results.failed.is_empty() {
        return Ok(());
    }
    page.push_str("<h2>Failed</h2>\n<ul>\n");
    for failed in &results.failed {
        let (place, error) = (escaped(&failed.place()), escaped(&failed.error));
        writeln!(page, "<li><b>{place}</b>: {error}</li>")?;
    }
    page.push_str("</ul>\n");
    Ok(())
}

/// Text from outside as HTML text or attribute value.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn text_from_outside_cannot_become_markup() {
        let mut results = fixture::results();
        let attack = "\"><script>alert('x')</script>";
        results.study = attack.into();
        results.records[0].variant = attack.into();
        results.records[0].device = attack.into();
        results.records[0].conditions.notes = vec![attack.into()];
        results.failed[0].error = attack.into();
        let page = String::from_utf8(render(&results).unwrap()).unwrap();
        assert!(!page.contains("<script>alert"));
    }

    #[test]
    fn loads_nothing_from_elsewhere_and_tells_what_is_missing() {
        let page = String::from_utf8(render(&fixture::results()).unwrap()).unwrap();
        assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("@import"));
        assert!(page.contains("it needs 662 runs, up to 250 are missing"));
        assert!(page.contains("tract has no operator"));
    }
}
