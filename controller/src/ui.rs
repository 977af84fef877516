//! What a command says and how it ends: data on standard output, progress and messages on standard error.

mod table;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use terminal_size::{Width, terminal_size_of};

pub(crate) use table::{Column, fitted};

/// How a command ended, as its exit code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: all that was asked for is done.
    Done,
    /// 1: it failed, and the error says why.
    Failed,
    /// 2: the command line or a study file is wrong.
    Usage,
    /// 3: some variants, jobs or devices failed; the rest is measured and saved.
    Partial,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => 0.into(),
            Exit::Failed => 1.into(),
            Exit::Usage => 2.into(),
            Exit::Partial => 3.into(),
        }
    }
}

/// An error in what the user wrote, on the command line or in a file; ends the command with [`Exit::Usage`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

impl UsageError {
    /// The error as commands return it.
    #[allow(clippy::new_ret_no_self)] // Nobody wants it but as the error of a command.
    pub fn new(message: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self(message.into()))
    }
}

/// The terminal, as every command uses it.
#[derive(Debug, Clone)]
pub struct Ui {
    json: bool,
    bars: MultiProgress,
}

impl Ui {
    /// `json`: data on standard output is for machines, and no progress bars are drawn.
    pub fn new(json: bool) -> Self {
        let target = if json {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        Self {
            json,
            bars: MultiProgress::with_draw_target(target),
        }
    }

    /// Whether the data is for machines.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whether standard output is a terminal.
    pub fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Columns of the terminal that standard output is; 80 where it is none.
    pub fn width(&self) -> u16 {
        const NO_TERMINAL: u16 = 80;
        terminal_size_of(io::stdout()).map_or(NO_TERMINAL, |(Width(width), _)| width)
    }

    /// Prints a piece of data and a line end to standard output. A reader that closed the pipe has seen enough;
    /// what the command found is told by its exit code all the same.
    pub fn data(&self, text: impl fmt::Display) -> anyhow::Result<()> {
        let written = self.bars.suspend(|| {
            let mut out = io::stdout().lock();
            writeln!(out, "{}", harmless(&text.to_string()))?;
            out.flush()
        });
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.context("cannot write to standard output"),
        }
    }

    /// Prints `value` as indented JSON to standard output.
    pub fn data_json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        self.data(serde_json::to_string_pretty(value)?)
    }

    /// Says something to people on standard error, above the progress bars.
    pub fn note(&self, text: impl fmt::Display) {
        // A closed standard error leaves nobody to tell.
        let text = text.to_string();
        self.bars
            .suspend(|| drop(writeln!(io::stderr(), "{}", harmless(&text))));
    }

    /// Says an error in one line: `error: ...`, its causes joined by `: `.
    pub fn error(&self, error: &anyhow::Error) {
        self.note(format_args!("error: {}", one_line(error)));
    }

    /// Says what the user should know though the command goes on.
    pub fn warn(&self, text: impl fmt::Display) {
        self.note(format_args!("warning: {text}"));
    }

    /// A bar of `length` steps, drawn where standard error is a terminal. Its message says what goes on.
    pub fn bar(&self, length: u64, title: impl Into<String>) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new(length));
        let style = ProgressStyle::with_template("{prefix:20!} [{bar:30}] {pos}/{len} {wide_msg:.dim}");
        bar.set_style(style.map_or_else(
            |_| ProgressStyle::default_bar(),
            |style| style.progress_chars("=> "),
        ));
        bar.set_prefix(title.into());
        bar
    }

    /// A spinner for work of unknown length.
    pub fn spinner(&self, message: impl Into<String>) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_message(message.into());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

/// The text with control characters written out as JSON writes them, for it may be JSON: what came from a device or a
/// file must not drive the terminal.
fn harmless(text: &str) -> Cow<'_, str> {
    let drives = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(drives) {
        return text.into();
    }
    let shown = |c: char| {
        if drives(c) {
            format!("\\u{:04x}", u32::from(c))
        } else {
            c.to_string()
        }
    };
    text.chars().map(shown).collect()
}

/// The error and its causes joined by `: `, on one line. A cause that the message before it already quotes is
/// left out.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if line.ends_with(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_joined_on_one_line() {
        let error = anyhow::anyhow!("no such\nfile").context("cannot read model.onnx");
        assert_eq!(one_line(&error), "cannot read model.onnx: no such file");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(harmless("ärger\n\tin zwei Zeilen"), "ärger\n\tin zwei Zeilen");
        assert_eq!(
            harmless("\u{1b}]0;mine\u{7}\r\u{9b}2J"),
            r"\u001b]0;mine\u0007\u000d\u009b2J"
        );
    }

    #[test]
    fn a_cause_that_is_already_quoted_is_said_once() {
        let error = Err::<(), _>(UsageError::new("bad key"))
            .context("study.toml: bad key")
            .expect_err("is an error");
        assert_eq!(one_line(&error), "study.toml: bad key");
    }
}
