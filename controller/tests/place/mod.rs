//! A folder in which the command runs, shared by the tests of what it refuses.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use edgefront_protocol::pack::{Pack, PictureShape};

/// A folder with a good model and good data, in which the command runs.
pub(crate) struct Place(pub(crate) tempfile::TempDir);

/// Four pictures of this side.
pub(crate) fn pictures(side: usize) -> Pack {
    let picture = PictureShape {
        channels: 3,
        height: side,
        width: side,
    };
    let values: Vec<f32> = (0..4 * 3 * side * side).map(|i| (i % 7) as f32 / 7.0).collect();
    Pack::from_floats(4, picture, &values).unwrap()
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/tiny.onnx");
        place.write("tiny.onnx", &fs::read(model).unwrap());
        place.write(
            "val.safetensors",
            &pictures(8).with_labels(vec![0, 1, 2, 9]).unwrap().encode(),
        );
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.run_with(&[], args)
    }

    pub(crate) fn run_with(&self, environment: &[(&str, &Path)], args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_edgefront"))
            .args(args)
            .current_dir(self.0.path())
            .env("EDGEFRONT_LOG", "off")
            // Not the user's; nor in this folder, whose files are listed.
            .env("XDG_CONFIG_HOME", env!("CARGO_TARGET_TMPDIR"))
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }

    /// Exit code and words of a command, and the files that it left.
    pub(crate) fn said(&self, args: &[&str]) -> String {
        self.said_with(&[], args)
    }

    /// The same with some variables of the environment.
    pub(crate) fn said_with(&self, environment: &[(&str, &Path)], args: &[&str]) -> String {
        let before = self.files();
        let output = self.run_with(environment, args);
        let mut left = self.files();
        left.retain(|file| !before.contains(file));
        let words = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        let words = words
            .concat()
            .replace(&self.0.path().display().to_string(), "PLACE");
        format!("exit {}\n{}left {left:?}", output.status.code().unwrap(), words)
    }

    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path.strip_prefix(self.0.path()).unwrap().display().to_string());
                }
            }
        }
        files.sort();
        files
    }
}
