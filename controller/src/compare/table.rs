//! A comparison as people read it.

use std::fmt::Write as _;

use comfy_table::CellAlignment::{self, Left, Right};

use super::{Compared, Comparison, Side};
use crate::report::{figure, superscript};
use crate::stats::compare::Verdict;
use crate::ui::{Column, fitted};

/// The comparisons as a table of at most `width` columns for the terminal, one block a device; a number after a
/// configuration leads to a remark below.
pub fn table(compared: &Compared, [a, b]: [Side<'_>; 2], width: u16) -> String {
    let mut text = format!("A: {}\nB: {}\n\n", a.name, b.name);
    let names = Names::of(&compared.comparisons);
    let remarks = remarks(&compared.comparisons);
    let line = |text: &mut String, said: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{said}");
    };
    for device in devices(compared) {
        let of_device = compared.comparisons.iter().filter(|c| c.device == device);
        let rows: Vec<Row<'_>> = of_device
            .map(|comparison| Row {
                comparison,
                name: std::iter::once(names.short(comparison))
                    .chain(numbers(comparison, &remarks))
                    .collect::<Vec<_>>()
                    .join(" "),
            })
            .collect();
        let (shared, table) = (names.shared(), fitted(&rows, &columns(), width));
        line(&mut text, format_args!("{device}:{shared}\n{table}\n"));
        for (beside, columns) in [
            (with_top1(&rows), top1_columns()),
            (with_energy(&rows), energy_columns()),
        ] {
            if !beside.is_empty() {
                line(&mut text, format_args!("{}\n", fitted(&beside, &columns, width)));
            }
        }
    }
    line(&mut text, format_args!("{}", legend(compared)));
    for (number, remark) in (1..).zip(remarks) {
        line(&mut text, format_args!("{} {remark}", superscript(number)));
    }
    for not in &compared.not_compared {
        let name = changed(&not.configurations);
        line(
            &mut text,
            format_args!("not compared: {} {name}: {}", not.device, not.why),
        );
    }
    text.truncate(text.trim_end().len());
    text
}

/// The remarks of all, each once, in the order in which they first stand.
fn remarks(comparisons: &[Comparison]) -> Vec<&str> {
    let mut remarks: Vec<&str> = Vec::new();
    for remark in comparisons.iter().flat_map(|comparison| &comparison.remarks) {
        if !remarks.contains(&remark.as_str()) {
            remarks.push(remark);
        }
    }
    remarks
}

/// The signs of a comparison's remarks.
fn numbers<'a>(comparison: &'a Comparison, remarks: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    let is_own = |remark: &str| comparison.remarks.iter().any(|own| own == remark);
    let numbered = (1..).zip(remarks).filter(move |&(_, remark)| is_own(remark));
    numbered.map(|(number, _)| superscript(number))
}

/// Which parts of the configurations tell the comparisons apart; what all share is said once.
struct Names {
    /// A part that all share, or `None` where they do not, of each place in a configuration.
    shared: Vec<Option<String>>,
}

impl Names {
    fn of(comparisons: &[Comparison]) -> Self {
        let all: Vec<Vec<&str>> = comparisons
            .iter()
            .flat_map(|comparison| &comparison.configurations)
            .map(|configuration| configuration.split('/').collect())
            .collect();
        let places = all.first().map_or(0, Vec::len);
        // Only where all have the same places, which a study's name before some of them moves.
        let are_alike = all.iter().all(|parts| parts.len() == places);
        let shared = |place: usize| {
            let first = all[0][place];
            let is_shared = are_alike && place > 0 && all.iter().all(|parts| parts[place] == first);
            is_shared.then(|| first.to_owned())
        };
        Self {
            shared: (0..places).map(shared).collect(),
        }
    }

    /// What all share, as an addition to the device's name.
    fn shared(&self) -> String {
        let shared: Vec<&str> = self.shared.iter().flatten().map(String::as_str).collect();
        if shared.is_empty() {
            String::new()
        } else {
            format!(" all {}", shared.join("/"))
        }
    }

    /// The parts that are not shared.
    fn short(&self, comparison: &Comparison) -> String {
        changed(&comparison.configurations.each_ref().map(|configuration| {
            let parts = configuration.split('/').enumerate();
            let told = parts.filter(|(place, _)| self.shared.get(*place).is_none_or(Option::is_none));
            told.map(|(_, part)| part).collect::<Vec<_>>().join("/")
        }))
    }
}

/// Two names as one: `fp32 -> ptq-int8/ort`, or the one where both are the same.
fn changed([a, b]: &[String; 2]) -> String {
    let (of_a, of_b): (Vec<&str>, Vec<&str>) = (a.split('/').collect(), b.split('/').collect());
    if of_a.len() != of_b.len() {
        return format!("{a} -> {b}");
    }
    let part = |(a, b): (&str, &str)| {
        if a == b {
            a.to_owned()
        } else {
            format!("{a} -> {b}")
        }
    };
    of_a.into_iter().zip(of_b).map(part).collect::<Vec<_>>().join("/")
}

fn devices(compared: &Compared) -> Vec<&str> {
    let mut devices: Vec<&str> = Vec::new();
    for comparison in &compared.comparisons {
        if !devices.contains(&comparison.device.as_str()) {
            devices.push(&comparison.device);
        }
    }
    devices
}

/// What the columns mean, in words for those that stand there.
fn legend(compared: &Compared) -> String {
    let all = &compared.comparisons;
    let mut lines = vec![
        "B / A is the ratio of the rounds' medians with its 95 % interval: below 1, B is faster.".to_owned(),
        "shows: the smallest difference that such data show in four of five cases.".to_owned(),
    ];
    if all.iter().any(|comparison| comparison.top1.is_some()) {
        lines.push(
            "The accuracies' interval is that of two separate samples, too wide where both were scored on the same pictures."
                .to_owned(),
        );
    }
    if all.len() >= 10 {
        lines.push(format!(
            "Of {} comparisons of equal things, about {:.0} would be called a difference.",
            all.len(),
            all.len() as f64 * 0.05
        ));
    }
    lines.join("\n")
}

#[derive(Clone)]
struct Row<'a> {
    comparison: &'a Comparison,
    name: String,
}

fn with_top1<'a>(rows: &[Row<'a>]) -> Vec<Row<'a>> {
    let there = rows.iter().filter(|row| row.comparison.top1.is_some());
    there.cloned().collect()
}

fn with_energy<'a>(rows: &[Row<'a>]) -> Vec<Row<'a>> {
    let there = rows.iter().filter(|row| row.comparison.energy.is_some());
    there.cloned().collect()
}

fn column<'a>(
    head: &'static str,
    side: CellAlignment,
    gives_way: Option<u8>,
    cell: fn(&Row<'a>) -> String,
) -> Column<Row<'a>> {
    Column {
        head,
        side,
        gives_way,
        cell,
    }
}

fn columns<'a>() -> [Column<Row<'a>>; 7] {
    [
        column("latency", Left, None, |row| row.name.clone()),
        column("A ms", Right, Some(1), |row| figure(row.comparison.p50_ms[0])),
        column("B ms", Right, Some(1), |row| figure(row.comparison.p50_ms[1])),
        column("B / A", Right, None, |row| format!("{:.3}", row.comparison.ratio)),
        column("95 % interval", Right, None, |row| {
            let [low, high] = row.comparison.ratio_ci95;
            format!("{low:.3}-{high:.3}")
        }),
        column("B is", Left, None, |row| verdict(row.comparison)),
        column("shows", Right, None, |row| {
            format!("{:.1} %", row.comparison.shows * 100.0)
        }),
    ]
}

fn top1_columns<'a>() -> Vec<Column<Row<'a>>> {
    vec![
        column("top-1 accuracy", Left, None, |row| row.name.clone()),
        column("B - A", Right, None, |row| {
            or_dash(row.comparison.top1.as_ref(), |top1| {
                format!("{:+.2} points", top1.difference * 100.0)
            })
        }),
        column("95 % interval", Right, None, |row| {
            or_dash(row.comparison.top1.as_ref(), |top1| {
                let [low, high] = top1.ci95.map(|end| end * 100.0);
                format!("{low:+.2} to {high:+.2}")
            })
        }),
    ]
}

fn energy_columns<'a>() -> Vec<Column<Row<'a>>> {
    vec![
        column("energy an inference", Left, None, |row| row.name.clone()),
        column("of the", Left, None, |row| {
            or_dash(row.comparison.energy.as_ref(), |energy| energy.scope.clone())
        }),
        column("B / A", Right, None, |row| {
            or_dash(row.comparison.energy.as_ref(), |energy| {
                format!("{:.3}", energy.ratio)
            })
        }),
        column("95 % interval", Right, None, |row| {
            let ends = row.comparison.energy.as_ref().and_then(|energy| energy.ci95);
            or_dash(ends, |[low, high]| format!("{low:.3}-{high:.3}"))
        }),
    ]
}

/// The verdict, and by how much where there is one.
fn verdict(comparison: &Comparison) -> String {
    let percent = (comparison.ratio - 1.0) * 100.0;
    match comparison.verdict {
        Verdict::NoneShown => Verdict::NoneShown.as_str().to_owned(),
        shown => format!("{} ({percent:+.1} %)", shown.as_str()),
    }
}

fn or_dash<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}
