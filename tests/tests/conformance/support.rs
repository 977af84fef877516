//! What each runtime refuses, and the README's table of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::operators;

/// Of each runtime, the groups of operators that it refuses, each with words of the refusal.
type Refusals = BTreeMap<String, BTreeMap<String, String>>;

fn all() -> Refusals {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/refusals.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The groups that a runtime refuses, each with words of the refusal; none of one that has no list.
pub(crate) fn refusals(target: &str) -> BTreeMap<String, String> {
    all().remove(target).unwrap_or_default()
}

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

const BEGIN: &str = "<!-- operators: made by tests/tests/conformance, EDGEFRONT_WRITE=1 -->\n";
const END: &str = "<!-- /operators -->";

/// A line for each group that a runtime refuses, with all that refuse it in the same words.
fn table() -> String {
    let groups = operators::names();
    let all = all();
    let mut lines: BTreeMap<(&String, &String), Vec<&str>> = BTreeMap::new();
    for (target, refused) in &all {
        for (name, why) in refused {
            assert!(
                groups.contains(name),
                "{target} refuses {name}, which is no group"
            );
            lines.entry((name, why)).or_default().push(target);
        }
    }
    let targets = all.keys().map(String::as_str).collect::<Vec<_>>();
    let mut table = format!(
        "Each of {} runs {} groups of operators",
        listed(&targets),
        groups.len()
    );
    if lines.is_empty() {
        return table + ".\n";
    }
    table += ", but for these:\n\n| group | refused by | because |\n|---|---|---|\n";
    for ((name, why), targets) in lines {
        writeln!(table, "| `{name}` | {} | {why} |", listed(&targets)).unwrap();
    }
    table
}

fn listed(targets: &[&str]) -> String {
    let quoted: Vec<String> = targets.iter().map(|target| format!("`{target}`")).collect();
    quoted.join(", ")
}

/// With the variable `EDGEFRONT_WRITE` the table is written instead.
#[test]
fn the_readme_has_the_table_of_refusals() {
    let text = std::fs::read_to_string(readme()).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (stands, after) = rest.split_once(END).unwrap();
    if std::env::var_os("EDGEFRONT_WRITE").is_some() {
        std::fs::write(readme(), format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
    } else {
        assert_eq!(stands, table(), "run the test with EDGEFRONT_WRITE=1 to write it");
    }
}
