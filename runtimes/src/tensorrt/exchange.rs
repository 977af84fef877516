//! Files by which this process and `trtexec` give each other tensors and times.
//!
//! They have no name in any folder, so that a worker that is killed leaves nothing behind: `trtexec`, a child of this
//! process, opens them through it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;

/// A file without a name.
#[derive(Debug)]
pub(super) struct Exchange(File);

impl Exchange {
    pub(super) fn new() -> io::Result<Self> {
        tempfile::tempfile().map(Self)
    }

    /// Where `trtexec` opens it.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Replaces what it holds.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.rewind()?;
        self.0.write_all(bytes)
    }

    /// All that it holds.
    pub(super) fn read(&mut self) -> io::Result<String> {
        let mut text = String::new();
        self.0.rewind()?;
        self.0.read_to_string(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn another_process_reads_and_replaces_it() {
        let mut file = Exchange::new().unwrap();
        file.write(b"longer than the answer").unwrap();
        file.write(b"question").unwrap();
        let heard = Command::new("cat").arg(file.path()).output().unwrap();
        assert_eq!(heard.stdout, b"question");
        let copied = Command::new("cp")
            .args(["/dev/null", &file.path()])
            .status()
            .unwrap();
        assert!(copied.success());
        assert_eq!(file.read().unwrap(), "");
    }
}
