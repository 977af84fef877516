//! Which rails boards have, and what they feed: the maps of `configs/boards`, built into the agent.

use std::collections::BTreeMap;
use std::path::Path;

use edgefront_protocol::Scope;
use serde::Deserialize;

use super::Fault;
use super::sysfs::text_in;

const MAPS: [&str; 5] = [
    include_str!("../../../configs/boards/jetson-agx-orin.toml"),
    include_str!("../../../configs/boards/jetson-agx-xavier.toml"),
    include_str!("../../../configs/boards/jetson-nano.toml"),
    include_str!("../../../configs/boards/jetson-orin-nano-nx.toml"),
    include_str!("../../../configs/boards/jetson-xavier-nx.toml"),
];

/// The rails of one kind of board.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Board {
    /// As findings call it.
    pub(super) name: String,
    /// Texts of which the device tree's `compatible` holds one.
    compatible: Vec<String>,
    /// The rails whose sum is all that the sensors measure.
    pub(super) total: Vec<String>,
    /// What each rail feeds, by its label.
    pub(super) rails: BTreeMap<String, Scope>,
}

/// The board that the system below `root` runs on, if there is a map of it.
pub(super) fn of(root: &Path) -> Result<Option<Board>, Fault> {
    let compatible = text_in(&root.join("proc/device-tree/compatible"))?.unwrap_or_default();
    let is_there = |board: &Board| board.compatible.iter().any(|name| compatible.contains(name));
    Ok(all().into_iter().find(is_there))
}

fn all() -> Vec<Board> {
    let maps = MAPS.iter().map(|map| toml::from_str(map));
    maps.collect::<Result<_, _>>()
        .expect("invariant: a test reads each map")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_is_read_and_names_what_its_total_is_made_of() {
        for board in all() {
            assert!(
                !board.total.is_empty() && !board.compatible.is_empty(),
                "{}",
                board.name
            );
            for rail in &board.total {
                assert!(board.rails.contains_key(rail), "{}: {rail}", board.name);
            }
        }
    }
}
