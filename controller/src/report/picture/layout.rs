//! The picture as places and texts, before anything is drawn. Units are pixels of a picture 1000 wide; `y`
//! grows downwards.

use std::collections::BTreeSet;

use edgefront_protocol::results::{Record, Results};

use super::beyond::{Figure, floor};
use super::labels::{Anchor, Rect, place};
use super::scale::{Scale, tick_label};
use crate::frontier::objective::{Direction, Objective, named};
use crate::report::devices;
use crate::report::footnotes::is_noted;
use crate::report::names::{Names, Part};
use crate::report::power::axis_title;

pub(super) const LABEL_SIZE: f64 = 13.0;
const WIDTH: f64 = 1000.0;
const HEADER: f64 = 64.0;
const PANEL: f64 = 500.0;
const FRAME: Rect = Rect {
    x: 72.0,
    y: 40.0,
    width: 730.0,
    height: 396.0,
};
/// What a label may name; the colour tells the runtime.
const LABEL: [Part; 6] = [
    Part::Study,
    Part::Variant,
    Part::Threads,
    Part::Batch,
    Part::Cpus,
    Part::Scenario,
];
/// With more bubbles than this, whiskers and far labels are for the frontier alone.
const CROWD: usize = 16;
/// How far above the end of the vertical axis those stand that lie beyond it.
const BEYOND: f64 = 9.0;
const LARGEST_RADIUS: f64 = 19.0;
const SMALLEST_RADIUS: f64 = 4.0;

/// The whole picture.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) panels: Vec<Panel>,
}

/// One frontier.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) frame: Rect,
    pub(super) title: String,
    pub(super) x_title: String,
    pub(super) y_title: String,
    /// Places and texts of the ticks.
    pub(super) x_ticks: Vec<(f64, String)>,
    pub(super) y_ticks: Vec<(f64, String)>,
    pub(super) bubbles: Vec<Bubble>,
    /// Corners of the frontier's step line; empty where there are not just two objectives or several scenarios.
    pub(super) line: Vec<(f64, f64)>,
    /// Colour index and name of each runtime.
    pub(super) runtimes: Vec<(usize, String)>,
    /// Radius and size of the example bubbles.
    pub(super) sizes: Vec<(f64, String)>,
    /// What the panel does not show.
    pub(super) note: Option<String>,
}

/// One record.
#[derive(Debug)]
pub(super) struct Bubble {
    pub(super) at: (f64, f64),
    pub(super) radius: f64,
    pub(super) colour: usize,
    pub(super) pareto: bool,
    /// Whether its record has a remark.
    pub(super) noted: bool,
    /// Whether its figure lies below the vertical axis; it stands at the axis' end, and its text tells the figure.
    pub(super) beyond: bool,
    /// Ends of the 95 % confidence intervals along each axis.
    pub(super) whiskers: Vec<[(f64, f64); 2]>,
    pub(super) label: Option<Rect>,
    /// The line to the label, where they do not touch.
    pub(super) leader: Option<[(f64, f64); 2]>,
    pub(super) text: String,
}

/// Lays the results out; `text_width` measures a text of a size.
pub(super) fn picture(results: &Results, text_width: &dyn Fn(&str, f64) -> f64) -> Picture {
    let objectives: Vec<&'static Objective> = results.objectives.iter().filter_map(|o| named(o)).collect();
    let mut panels = Vec::new();
    if let [x, y, ..] = objectives[..] {
        let series = series(results);
        let axes = Axes {
            x,
            y,
            stepped: objectives.len() == 2,
        };
        for (i, group) in groups(results).iter().enumerate() {
            let top = HEADER + PANEL * i as f64;
            panels.push(panel(results, group, &axes, &series, top, text_width));
        }
    }
    Picture {
        width: WIDTH,
        height: HEADER + PANEL * panels.len().max(1) as f64,
        title: format!("Pareto frontier: {}", results.study),
        subtitle: if panels.is_empty() {
            "nothing was measured".to_owned()
        } else {
            subtitle(&objectives)
        },
        panels,
    }
}

struct Axes {
    x: &'static Objective,
    y: &'static Objective,
    stepped: bool,
}

/// The records that have a frontier of their own.
struct Group<'a> {
    device: &'a str,
    /// As [`Record::way`] has it.
    way: Option<String>,
    members: Vec<&'a Record>,
}

/// The groups of all records: by device, then by how they were measured.
fn groups(results: &Results) -> Vec<Group<'_>> {
    let mut groups = Vec::new();
    for device in devices(results) {
        let of_device: Vec<&Record> = results.records.iter().filter(|r| r.device == device).collect();
        let ways: BTreeSet<Option<String>> = of_device.iter().map(|record| record.way()).collect();
        groups.extend(ways.into_iter().map(|way| {
            Group {
                device,
                members: of_device
                    .iter()
                    .copied()
                    .filter(|record| record.way() == way)
                    .collect(),
                way,
            }
        }));
    }
    groups
}

fn subtitle(objectives: &[&Objective]) -> String {
    let wish = |o: &&Objective| match o.direction {
        Direction::Minimise => format!("lower {}", o.label),
        Direction::Maximise => format!("higher {}", o.label),
    };
    let wishes: Vec<String> = objectives.iter().map(wish).collect();
    format!("better: {}", wishes.join(", "))
}

/// Runtimes with their provider where it is not the CPU, in one order for all panels.
fn series(results: &Results) -> Vec<String> {
    let mut series: Vec<String> = results.records.iter().map(series_of).collect();
    series.sort();
    series.dedup();
    series
}

fn series_of(record: &Record) -> String {
    if record.provider == "cpu" {
        record.runtime.clone()
    } else {
        format!("{} {}", record.runtime, record.provider)
    }
}

fn panel(
    results: &Results,
    group: &Group<'_>,
    axes: &Axes,
    series: &[String],
    top: f64,
    text_width: &dyn Fn(&str, f64) -> f64,
) -> Panel {
    let members = &group.members;
    let finite = |o: &Objective, r: &Record| (o.value)(r).filter(|v| v.is_finite());
    // The frontier comes first: its labels get the best places.
    let mut shown: Vec<(&Record, f64, f64)> = members
        .iter()
        .filter_map(|r| Some((*r, finite(axes.x, r)?, finite(axes.y, r)?)))
        .collect();
    shown.sort_by(|a, b| b.0.pareto.cmp(&a.0.pareto).then(a.1.total_cmp(&b.1)));

    let names = Names::of(members);
    let frame = Rect {
        y: top + FRAME.y,
        ..FRAME
    };
    let x = Scale::over(
        shown.iter().flat_map(|s| extent(axes.x, s.0, s.1)),
        !axes.x.is_share(),
    );
    let lowest = lowest(axes.y, shown.iter().map(|s| (s.0, s.2)));
    let y = Scale::over(
        shown
            .iter()
            .filter(|s| s.2 >= lowest)
            .flat_map(|s| extent(axes.y, s.0, s.2)),
        !axes.y.is_share(),
    );
    let to_x = |value: f64| frame.x + x.place(value) * frame.width;
    let to_y = |value: f64| frame.bottom() - y.place(value) * frame.height;
    let largest = shown.iter().map(|s| s.0.artifact.bytes).max().unwrap_or(1).max(1);

    let mut bubbles: Vec<Bubble> = shown
        .iter()
        .map(|(record, vx, vy)| Bubble {
            at: (to_x(*vx), to_y(*vy).min(frame.bottom() - BEYOND)),
            radius: radius(record.artifact.bytes, largest),
            colour: series.iter().position(|s| *s == series_of(record)).unwrap_or(0),
            pareto: record.pareto,
            noted: is_noted(record),
            beyond: *vy < lowest,
            whiskers: if *vy < lowest {
                Vec::new()
            } else if record.pareto || shown.len() <= CROWD {
                whiskers(record, axes, (*vx, *vy), &frame, &to_x, &to_y)
            } else {
                Vec::new()
            },
            label: None,
            leader: None,
            text: label(
                &names.short(record, &LABEL).join(" "),
                (*vy < lowest).then_some(*vy),
                axes.y,
            ),
        })
        .collect();
    let mut standing: Vec<(f64, f64)> = bubbles.iter().filter(|b| b.pareto).map(|b| b.at).collect();
    let line = if axes.stepped {
        steps(&mut standing, axes, &frame)
    } else {
        Vec::new()
    };
    place_labels(&mut bubbles, &line, &frame, text_width);
    let used: Vec<usize> = (0..series.len())
        .filter(|i| bubbles.iter().any(|b| b.colour == *i))
        .collect();
    Panel {
        title: title(results, group),
        x_title: axis_title(axes.x, members),
        y_title: axis_title(axes.y, members),
        x_ticks: x
            .ticks()
            .into_iter()
            .map(|tick| (to_x(tick), tick_label(tick)))
            .collect(),
        y_ticks: y
            .ticks()
            .into_iter()
            .map(|tick| (to_y(tick), tick_label(tick)))
            .collect(),
        line,
        runtimes: used.into_iter().map(|i| (i, series[i].clone())).collect(),
        sizes: if shown.is_empty() {
            Vec::new()
        } else {
            size_legend(largest)
        },
        note: note(
            members.len() - shown.len(),
            bubbles.iter().filter(|b| b.label.is_none()).count(),
        ),
        frame,
        bubbles,
    }
}

/// The lowest figure that the axis of a share shows; below it are those far below all others.
fn lowest<'a>(objective: &Objective, shown: impl Iterator<Item = (&'a Record, f64)>) -> f64 {
    if !objective.is_share() || objective.direction != Direction::Maximise {
        return f64::NEG_INFINITY;
    }
    let figure = |(record, value): (&Record, f64)| {
        let ends = extent(objective, record, value);
        Figure {
            value,
            low: ends.iter().copied().fold(value, f64::min),
            high: ends.iter().copied().fold(value, f64::max),
            kept: record.pareto,
        }
    };
    floor(&shown.map(figure).collect::<Vec<_>>()).unwrap_or(f64::NEG_INFINITY)
}

fn label(name: &str, beyond: Option<f64>, objective: &Objective) -> String {
    beyond.map_or_else(
        || name.to_owned(),
        |value| format!("{name}: {value:.1} {}", objective.unit),
    )
}

/// A figure with the ends of its confidence interval, all of which the axis shows.
fn extent(objective: &Objective, record: &Record, value: f64) -> Vec<f64> {
    let ends = (objective.interval)(record).into_iter().flatten();
    ends.filter(|end| end.is_finite()).chain([value]).collect()
}

fn place_labels(
    bubbles: &mut [Bubble],
    line: &[(f64, f64)],
    frame: &Rect,
    text_width: &dyn Fn(&str, f64) -> f64,
) {
    let crowded = bubbles.len() > CROWD;
    let anchors: Vec<Anchor> = bubbles
        .iter()
        .map(|bubble| Anchor {
            x: bubble.at.0,
            y: bubble.at.1,
            radius: bubble.radius,
            width: text_width(&bubble.text, LABEL_SIZE) + 4.0,
            height: LABEL_SIZE + 3.0,
            important: bubble.pareto || !crowded,
        })
        .collect();
    let steps = line.windows(2).map(|ends| Rect::around(ends[0], ends[1]));
    let whiskers = bubbles.iter().flat_map(|b| &b.whiskers);
    let lines: Vec<Rect> = steps
        .chain(whiskers.map(|ends| Rect::around(ends[0], ends[1])))
        .collect();
    for ((bubble, anchor), place) in bubbles
        .iter_mut()
        .zip(&anchors)
        .zip(place(&anchors, &lines, frame))
    {
        bubble.label = place;
        bubble.leader = place.and_then(|place| anchor.leader(&place));
    }
}

/// The device, and how it was measured where that is not a single stream in rounds.
fn title(results: &Results, group: &Group<'_>) -> String {
    let way = group
        .way
        .as_ref()
        .map_or_else(String::new, |way| format!(", {way}"));
    match results.devices.iter().find(|d| d.id == group.device) {
        Some(d) => format!("{}{way}: {}, {} cores, {}", d.id, d.cpu, d.cores, d.arch),
        None => format!("{}{way}", group.device),
    }
}

/// The area of a bubble is proportional to the artifact's size.
fn radius(bytes: u64, largest: u64) -> f64 {
    (LARGEST_RADIUS * (bytes as f64 / largest as f64).sqrt()).max(SMALLEST_RADIUS)
}

fn size_legend(largest: u64) -> Vec<(f64, String)> {
    let examples = [largest, largest / 4];
    examples
        .map(|bytes| {
            (
                radius(bytes, largest),
                edgefront_protocol::Bytes(bytes).to_string(),
            )
        })
        .to_vec()
}

fn whiskers(
    record: &Record,
    axes: &Axes,
    (vx, vy): (f64, f64),
    frame: &Rect,
    to_x: &dyn Fn(f64) -> f64,
    to_y: &dyn Fn(f64) -> f64,
) -> Vec<[(f64, f64); 2]> {
    let clip_x = |v: f64| to_x(v).clamp(frame.x, frame.right());
    let clip_y = |v: f64| to_y(v).clamp(frame.y, frame.bottom());
    let along_x = (axes.x.interval)(record).map(|ends| ends.map(|end| (clip_x(end), to_y(vy))));
    let along_y = (axes.y.interval)(record).map(|ends| ends.map(|end| (to_x(vx), clip_y(end))));
    let all = [along_x, along_y].into_iter().flatten();
    all.filter(|ends| ends.iter().all(|(x, y)| x.is_finite() && y.is_finite()))
        .collect()
}

/// The border of what the frontier dominates: from the worst end of the second axis through every point to
/// the worst end of the first.
fn steps(standing: &mut [(f64, f64)], axes: &Axes, frame: &Rect) -> Vec<(f64, f64)> {
    let x_sign = if axes.x.direction == Direction::Minimise {
        1.0
    } else {
        -1.0
    };
    let worst_x = if x_sign > 0.0 { frame.right() } else { frame.x };
    let worst_y = if axes.y.direction == Direction::Minimise {
        frame.y
    } else {
        frame.bottom()
    };
    standing.sort_by(|a, b| (a.0 * x_sign).total_cmp(&(b.0 * x_sign)));
    let mut corners = Vec::new();
    let mut height = worst_y;
    for &(x, y) in standing.iter() {
        corners.push((x, height));
        corners.push((x, y));
        height = y;
    }
    if !corners.is_empty() {
        corners.push((worst_x, height));
    }
    corners
}

fn note(missing: usize, unlabelled: usize) -> Option<String> {
    let mut parts = Vec::new();
    if missing > 0 {
        parts.push(format!(
            "{missing} not shown: a figure of an axis was not measured"
        ));
    }
    if unlabelled > 0 {
        parts.push(format!("{unlabelled} without a label: see the table"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::results::ScenarioRecord;

    use super::*;
    use crate::results::fixture;

    fn narrow(text: &str, size: f64) -> f64 {
        0.6 * size * text.chars().count() as f64
    }

    #[test]
    fn every_record_has_a_bubble_and_a_label_that_overlaps_no_other() {
        let results = fixture::results();
        let picture = picture(&results, &narrow);
        assert_eq!(picture.panels.len(), 2);
        for panel in &picture.panels {
            assert_eq!(panel.bubbles.len(), 14);
            let labels: Vec<Rect> = panel.bubbles.iter().filter_map(|b| b.label).collect();
            assert_eq!(labels.len(), 14);
            for (i, a) in labels.iter().enumerate() {
                assert!(panel.frame.contains(a) && labels[..i].iter().all(|b| !a.overlaps(b)));
            }
        }
    }

    #[test]
    fn the_frontier_line_steps_from_the_bottom_to_the_right() {
        let results = fixture::results();
        let panel = &picture(&results, &narrow).panels[0];
        let (first, last) = (panel.line.first().unwrap(), panel.line.last().unwrap());
        assert!((first.1 - panel.frame.bottom()).abs() < 1e-9);
        assert!((last.0 - panel.frame.right()).abs() < 1e-9);
        assert!(
            panel
                .line
                .windows(2)
                .all(|w| w[1].0 >= w[0].0 && w[1].1 <= w[0].1),
            "{:?}",
            panel.line
        );
    }

    #[test]
    fn records_without_a_figure_are_counted_instead_of_drawn() {
        let mut results = fixture::results();
        results.records.retain(|r| r.device == "local");
        results.records.iter_mut().for_each(|r| r.accuracy = None);
        let panel = &picture(&results, &narrow).panels[0];
        assert!(panel.bubbles.is_empty());
        assert!(panel.note.as_deref().unwrap().starts_with("14 not shown"));
    }

    #[test]
    fn merged_studies_are_named_and_accuracy_stays_linear() {
        let mut other = fixture::results();
        other.study = "other".into();
        for record in &mut other.records {
            record.latency_ms.p50 *= 2.0;
            // A model of a hundredth of the accuracy would make a logarithmic axis.
            record.accuracy.as_mut().unwrap().top1 /= 100.0;
        }
        let mut merged = crate::results::merge([fixture::results(), other]).unwrap();
        let objectives = ["latency_p50", "top1"].map(|name| named(name).unwrap());
        crate::frontier::mark(&mut merged, &objectives);
        let panel = &picture(&merged, &narrow).panels[0];
        assert!(panel.bubbles.iter().any(|b| b.text == "other fp32"));
        assert!(panel.bubbles.iter().any(|b| b.text == "made-up <fixture> fp32"));
        let ticks: Vec<f64> = panel.y_ticks.iter().map(|(y, _)| *y).collect();
        let steps: Vec<f64> = ticks.windows(2).map(|w| w[0] - w[1]).collect();
        assert!(
            steps.iter().all(|step| (step - steps[0]).abs() < 1e-6),
            "{ticks:?}"
        );
    }

    #[test]
    fn threads_are_named_only_where_they_differ() {
        let mut results = fixture::results();
        results.records[0].threads = 4;
        let picture = picture(&results, &narrow);
        assert!(picture.panels[0].bubbles.iter().any(|b| b.text == "fp32 t4"));
        assert!(picture.panels[1].bubbles.iter().any(|b| b.text == "fp32"));
    }

    #[test]
    fn each_scenario_has_a_panel_and_a_line_of_its_own() {
        let mut results = fixture::results();
        results.records[0].scenario = Some(ScenarioRecord {
            name: "offline".into(),
            label: "offline".into(),
            samples_per_query: 1,
            seed: None,
            rate_qps: None,
            p99_bound_ms: None,
            probes: Vec::new(),
            best: false,
        });
        let picture = picture(&results, &narrow);
        let titles: Vec<&str> = picture.panels.iter().map(|panel| panel.title.as_str()).collect();
        assert!(titles[1].starts_with("local, offline"), "{titles:?}");
        assert!(!titles[0].contains("offline"), "{titles:?}");
        assert_eq!((picture.panels.len(), picture.panels[1].bubbles.len()), (3, 1));
        assert!(picture.panels[0].bubbles.iter().all(|b| b.text != "fp32 offline"));
    }
}
