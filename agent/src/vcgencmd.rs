//! `vcgencmd`, by which a Raspberry Pi's firmware is asked.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Where Raspberry Pi OS has it.
const PLACE: &str = "usr/bin/vcgencmd";
/// A firmware that answers does so within a tenth of a second; one that hangs would stop whoever waits for it.
const LIMIT: Duration = Duration::from_secs(2);
/// How often a program that runs is asked whether it ended.
const STEP: Duration = Duration::from_millis(5);
/// Words of a program's complaint that are told.
const WORDS: usize = 20;

/// The program of the system below `root`.
pub(crate) fn program(root: &Path) -> PathBuf {
    root.join(PLACE)
}

/// What the program at `program` prints to this command. The error is a reason in one line, with the mend.
pub(crate) fn ask(program: &Path, command: &str) -> Result<String, String> {
    ask_within(program, command, LIMIT)
}

fn ask_within(program: &Path, command: &str, limit: Duration) -> Result<String, String> {
    if !program.exists() {
        return Err("it is not there; install `raspi-utils`".to_owned());
    }
    let child = Command::new(program)
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    let ended = ended(&mut child, limit).map_err(|error| error.to_string())?;
    let Some(status) = ended else {
        return Err(format!(
            "`{command}` did not end within {} s and was ended; restart the device if it stays so",
            limit.as_secs_f64()
        ));
    };
    if status.success() {
        return Ok(text(child.stdout));
    }
    let complaint = text(child.stderr);
    let words: Vec<&str> = complaint.split_whitespace().take(WORDS).collect();
    Err(format!(
        "`{command}` failed: {}; the agent's user must be in the group `video`",
        words.join(" ")
    ))
}

/// How it ended, or `None` where it did not in time and was killed. What it prints must fit a pipe until then.
fn ended(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(STEP);
    }
}

fn text(pipe: Option<impl std::io::Read>) -> String {
    let mut bytes = Vec::new();
    // Of what cannot be read the caller finds that it is not what was asked for.
    pipe.and_then(|pipe| pipe.take(1 << 16).read_to_end(&mut bytes).ok());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(text: &str) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let program = program(root.path());
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        (root, program)
    }

    #[test]
    fn what_it_prints_is_given() {
        let (_root, program) = script("echo \"$1=0x0\"");
        assert_eq!(ask(&program, "throttled").unwrap(), "throttled=0x0\n");
    }

    #[test]
    fn one_that_hangs_is_ended_and_the_finding_says_so() {
        let (root, program) = script("echo $$ > \"$0.pid\"\necho throttled=0x0\nexec sleep 1000");
        let error = ask_within(&program, "get_throttled", Duration::from_millis(500)).unwrap_err();
        let expected =
            "`get_throttled` did not end within 0.5 s and was ended; restart the device if it stays so";
        assert_eq!(error, expected);
        let pid = fs::read_to_string(root.path().join("usr/bin/vcgencmd.pid")).unwrap();
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "it still runs");
    }

    #[test]
    fn what_is_not_there_or_fails_is_told_with_the_mend() {
        let root = tempfile::tempdir().unwrap();
        let error = ask(&program(root.path()), "get_throttled").unwrap_err();
        assert_eq!(error, "it is not there; install `raspi-utils`");
        let (_root, program) = script("echo 'VCHI initialization failed' >&2; exit 255");
        let error = ask(&program, "get_throttled").unwrap_err();
        let expected = "`get_throttled` failed: VCHI initialization failed; the agent's user must be in the group `video`";
        assert_eq!(error, expected);
    }
}
