//! What people and programs read: the files of a results directory and the table of the terminal.

use std::path::Path;

use edgefront_protocol::results::Results;

/// Why a file of the report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {}

/// Writes every file of the report into `dir`, which is made if it is not there: `results.json`,
/// `results.csv`, `pareto.png`, `pareto.svg`, `report.html`. Each file is replaced atomically.
pub fn write_all(dir: &Path, results: &Results) -> Result<(), Error> {
    let _ = (dir, results);
    unimplemented!("exporters land next")
}

/// The results as a table of at most 100 columns for the terminal, one block a device.
pub fn table(results: &Results) -> String {
    let _ = results;
    unimplemented!("the table lands next")
}
