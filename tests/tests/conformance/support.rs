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

/// The groups that a runtime refuses, each with words of the refusal.
pub(crate) fn refusals(target: &str) -> BTreeMap<String, String> {
    let mut all = all();
    all.remove(target)
        .unwrap_or_else(|| panic!("no list of refusals for {target}"))
}

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

const BEGIN: &str = "<!-- operators: made by tests/tests/conformance, EDGEFRONT_WRITE=1 -->\n";
const END: &str = "<!-- /operators -->";

fn table() -> String {
    let groups = operators::names();
    let mut table = format!(
        "| runtime | of {} groups of operators | refused |\n|---|---|---|\n",
        groups.len()
    );
    for (target, refused) in all() {
        for name in refused.keys() {
            assert!(
                groups.contains(name),
                "{target} refuses {name}, which is no group"
            );
        }
        let words = refused.iter().map(|(name, why)| format!("`{name}` ({why})"));
        let words = words.collect::<Vec<_>>().join(", ");
        let count = groups.len() - refused.len();
        writeln!(
            table,
            "| `{target}` | {count} | {} |",
            if words.is_empty() { "-" } else { &words }
        )
        .unwrap();
    }
    table
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
