//! What people and programs read: the files of a results directory and the table of the terminal.

mod accuracy;
mod csv;
mod folder;
mod footnotes;
mod html;
mod json;
mod layers;
mod names;
mod picture;
mod power;
mod table;
mod windows;

use std::path::{Path, PathBuf};
use std::{fs, io};

use edgefront_protocol::results::{Record, Results};

use crate::stats::{Samples, certify};

pub use folder::{Occupied, check_free};
pub(crate) use footnotes::{conditions, superscript};
pub(crate) use power::mixture;
pub use table::table;

/// Why a file of the report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory or the file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The results could not be put into a file's format.
    #[error("cannot make {file}")]
    Render {
        /// The file's name.
        file: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

type Rendered = Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>;

/// One file of the report.
struct Exporter {
    file: &'static str,
    render: fn(&Results) -> Rendered,
}

/// Every file of the report.
const EXPORTERS: [Exporter; 5] = [
    Exporter {
        file: "results.json",
        render: json::render,
    },
    Exporter {
        file: "results.csv",
        render: csv::render,
    },
    Exporter {
        file: "pareto.png",
        render: picture::png,
    },
    Exporter {
        file: "pareto.svg",
        render: picture::svg,
    },
    Exporter {
        file: "report.html",
        render: html::render,
    },
];

/// Names of the files that [`write_all`] writes.
pub fn files() -> impl Iterator<Item = &'static str> {
    EXPORTERS.iter().map(|exporter| exporter.file)
}

/// Writes every file of the report into `dir`, which is made if it is not there: `results.json`,
/// `results.csv`, `pareto.png`, `pareto.svg`, `report.html`. Each file is replaced atomically; what cannot be rendered
/// leaves all as they are.
pub fn write_all(dir: &Path, results: &Results) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(|source| Error::Write {
        path: dir.to_owned(),
        source,
    })?;
    let rendered: Vec<(&str, Vec<u8>)> = EXPORTERS
        .iter()
        .map(|&Exporter { file, render }| {
            let content = render(results).map_err(|source| Error::Render { file, source })?;
            Ok((file, content))
        })
        .collect::<Result<_, Error>>()?;
    for (file, content) in rendered {
        let path = dir.join(file);
        edgefront_files::replace(&path, &content).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}

/// The devices of the records, in the order in which they first stand.
fn devices(results: &Results) -> Vec<&str> {
    let mut devices: Vec<&str> = Vec::new();
    for record in &results.records {
        if !devices.contains(&record.device.as_str()) {
            devices.push(&record.device);
        }
    }
    devices
}

/// The records of one device, fastest median first.
fn by_median<'a>(results: &'a Results, device: &str) -> Vec<&'a Record> {
    let mut records: Vec<&Record> = results.records.iter().filter(|r| r.device == device).collect();
    records.sort_by(|a, b| a.latency_ms.p50.total_cmp(&b.latency_ms.p50));
    records
}

/// Why some of the records have no P99, and what they lack; `None` where all have one.
fn no_p99<'a>(records: impl IntoIterator<Item = &'a Record>) -> Option<String> {
    let lacking = records
        .into_iter()
        .filter(|record| record.latency_ms.p99.is_none());
    let fewest = lacking.map(|record| record.latency_ms.samples).min()?;
    let needed = Samples::fewest_for(0.99);
    Some(format!(
        "it needs {needed} runs, up to {} are missing ({} to be certified); of fewer the slowest would stand for it",
        needed.saturating_sub(fewest),
        certify::missing(0.99, fewest)
    ))
}

/// A figure to at least three significant digits, as people read it; to six decimals at most.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        v if v >= 0.1 => format!("{value:.3}"),
        v if v >= 0.01 => format!("{value:.4}"),
        v if v >= 0.001 => format!("{value:.5}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.6}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn every_file_is_written_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a/b");
        write_all(&out, &fixture::results()).unwrap();
        write_all(&out, &fixture::results()).unwrap();
        let mut names: Vec<_> = fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "pareto.png",
                "pareto.svg",
                "report.html",
                "results.csv",
                "results.json"
            ]
        );
        assert!(fs::read(out.join("pareto.png")).unwrap().starts_with(b"\x89PNG"));
    }

    #[test]
    fn results_without_records_make_every_file_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut results = fixture::results();
        results.records.clear();
        write_all(dir.path(), &results).unwrap();
    }

    #[test]
    fn figures_keep_three_digits_however_small() {
        let figures = [
            1234.0,
            12.34,
            1.234,
            0.1234,
            0.095_18,
            0.001_234,
            0.000_000_4,
            0.0,
        ]
        .map(figure);
        assert_eq!(
            figures,
            [
                "1234", "12.3", "1.23", "0.123", "0.0952", "0.00123", "0.000000", "0"
            ]
        );
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = write_all(file.path(), &fixture::results())
            .unwrap_err()
            .to_string();
        assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    }
}
