//! Lines that a program prints.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// A longer line is no reading.
const LONGEST_LINE: u64 = 64 << 10;

/// A program that runs, whose lines a thread reads for as long as there are any. Dropped, it ends the program and what
/// that has started.
pub(crate) struct Listening(Option<Child>);

impl Listening {
    /// Starts the program; where that fails, `heard` is told.
    pub(super) fn start(
        words: &[String],
        mut heard: impl FnMut(Result<&[u8], String>) + Send + 'static,
    ) -> Self {
        let (program, arguments) = words.split_first().expect("invariant: checked where it was read");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                heard(Err(format!("`{program}` cannot be started: {error}")));
                return Self(None);
            }
        };
        let (output, name) = (child.stdout.take(), program.clone());
        std::thread::spawn(move || {
            if let Some(output) = output {
                let why = read_lines(output, &mut heard);
                heard(Err(format!("`{name}` {why}")));
            }
        });
        Self(Some(child))
    }
}

/// Gives each line to `heard` until there are no more; tells why there are not.
fn read_lines(output: ChildStdout, heard: &mut impl FnMut(Result<&[u8], String>)) -> String {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match output.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) => return "has ended".to_owned(),
            Ok(_) if line.len() as u64 == LONGEST_LINE => return "prints no lines".to_owned(),
            Ok(_) => heard(Ok(&line)),
            Err(error) => return format!("cannot be read: {error}"),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended before; its last line was read.
            kill_process_group(Pid::from_child(child), Signal::KILL).ok();
            child.wait().ok();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn listen(words: &[&str]) -> (Listening, mpsc::Receiver<Result<Vec<u8>, String>>) {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let (sender, receiver) = mpsc::channel();
        let listening = Listening::start(&words, move |line| {
            drop(sender.send(line.map(<[u8]>::to_vec)));
        });
        (listening, receiver)
    }

    #[test]
    fn every_line_is_heard_and_then_the_end() {
        let (_listening, heard) = listen(&["printf", "5.1\\n5.2\\n"]);
        let heard: Vec<_> = heard.iter().collect();
        assert_eq!(
            heard,
            [
                Ok(b"5.1\n".to_vec()),
                Ok(b"5.2\n".to_vec()),
                Err("`printf` has ended".to_owned())
            ]
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_said() {
        let (_listening, heard) = listen(&["/no/such/meter"]);
        let said = heard.recv().unwrap().unwrap_err();
        assert!(said.starts_with("`/no/such/meter` cannot be started: "), "{said}");
    }

    #[test]
    fn a_program_that_prints_no_lines_is_said_and_ended() {
        let (listening, heard) = listen(&["cat", "/dev/zero"]);
        assert_eq!(heard.recv().unwrap().unwrap_err(), "`cat` prints no lines");
        drop(listening);
    }

    /// It would print for ever.
    #[test]
    fn dropping_it_ends_the_program() {
        let (listening, heard) = listen(&["sh", "-c", "yes 7 | cat"]);
        assert_eq!(heard.recv().unwrap().unwrap(), b"7\n");
        drop(listening);
        assert_eq!(heard.iter().last().unwrap().unwrap_err(), "`sh` has ended");
    }
}
