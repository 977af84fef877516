//! Damaged models give an error of one line, never a panic.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use edgefront_runtimes::{Error, Options, Registry, Search};

fn load(bytes: &[u8]) -> Result<(), Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let options = Options {
        provider: "cpu".to_owned(),
        threads: 1,
        inputs: Vec::new(),
        batch: 1,
        spin: true,
        profile: false,
    };
    let registry = Registry::new(&Search::default());
    registry.get("tract")?.load(file.path(), &options).map(drop)
}

fn tiny() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/tiny.onnx")).unwrap()
}

#[test]
fn a_truncated_model_is_refused_by_name() {
    let whole = tiny();
    load(&whole).unwrap();
    for part in 0..32 {
        let error = load(&whole[..whole.len() * part / 32]).unwrap_err();
        assert!(matches!(error, Error::Load { .. }), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn flipped_bytes_are_errors_or_other_models() {
    let whole = tiny();
    for position in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[position] ^= 0x15;
        if let Err(error) = load(&damaged) {
            assert!(matches!(error, Error::Load { .. }), "{position}: {error}");
            assert!(!error.to_string().contains('\n'), "{position}: {error}");
        }
    }
}
