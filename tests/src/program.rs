//! The programs under test, as built beside the tests.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The path of a program of this workspace, such as `edgefront`. It must have been built: `cargo build`.
///
/// # Panics
/// If it is not there.
pub fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let folder = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("tests lie in target/PROFILE/deps");
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "{} is not built; run `cargo build --workspace` first",
        program.display()
    );
    program
}

/// `edgefront`, whose key is that of all tests and not the user's.
///
/// # Panics
/// As [`path`].
pub fn edgefront() -> Command {
    let program = path("edgefront");
    let mut command = Command::new(&program);
    command.env("XDG_CONFIG_HOME", program.with_file_name("tests-config"));
    command
}

/// The folder of the workspace.
pub(crate) fn workspace() -> &'static Path {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    workspace.expect("this crate lies in the workspace")
}
