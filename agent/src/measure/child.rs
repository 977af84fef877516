//! The agent's end of one worker process.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use edgefront_protocol::outcome::{Failure, Stage};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::WorkerCommand;
use crate::worker::message::{self, Answer, Order};

/// How long a worker whose output has ended may take to be gone.
const EXIT_TIME: Duration = Duration::from_secs(5);
/// What is kept of the last line that a worker said on standard error.
const LAST_LINE_BYTES: usize = 400;

/// What Rust and C++ say when an allocation fails, before they abort.
const OUT_OF_MEMORY: [&str; 2] = ["memory allocation of", "std::bad_alloc"];

/// A worker process; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    last_line: Arc<Mutex<String>>,
    listener: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker. A terminal's Ctrl-C is for the agent alone, so the worker gets a group of its own.
    pub(crate) fn start(command: &WorkerCommand) -> Result<Self, Failure> {
        let (program, args) = command.words();
        let started = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut child = started.map_err(|error| {
            let program = program.display();
            failure(Stage::Load, format!("cannot start worker {program}: {error}"))
        })?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(orders), Some(answers), Some(errors)) = pipes else {
            unreachable!("all three streams are piped");
        };
        let last_line = Arc::new(Mutex::new(String::new()));
        let listener = tokio::spawn(listen(errors, Arc::clone(&last_line)));
        Ok(Self {
            child,
            orders,
            answers: BufReader::new(answers),
            last_line,
            listener,
        })
    }

    /// The process id, while it is not known to have ended.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Gives an order and waits for the answer, which is not a mere sign of life. A worker that dies, or is
    /// silent for `patience`, has failed at `stage`.
    pub(crate) async fn ask(
        &mut self,
        order: &Order,
        stage: Stage,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        // A worker that is gone or does not listen is noticed when its answer does not come.
        let frame = message::frame(order);
        drop(tokio::time::timeout(patience, self.orders.write_all(&frame)).await);
        self.answer(stage, patience).await
    }

    /// The next answer to an order that has several, as [`ask`](Self::ask) has the first.
    pub(crate) async fn answer(&mut self, stage: Stage, patience: Duration) -> Result<Answer, Failure> {
        loop {
            match tokio::time::timeout(patience, next(&mut self.answers)).await {
                Ok(Ok(Answer::Alive)) => {}
                Ok(Ok(Answer::Failed(failure))) => return Err(failure),
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => return Err(self.death(stage, &error).await),
                Err(_) => return Err(self.silence(stage, patience)),
            }
        }
    }

    /// Kills the worker and waits until its memory is free.
    pub(crate) async fn end(&mut self) {
        drop(tokio::time::timeout(EXIT_TIME, self.child.kill()).await);
    }

    async fn death(&mut self, stage: Stage, error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::InvalidData {
            return failure(stage, format!("the worker does not speak as it should: {error}"));
        }
        let how = match tokio::time::timeout(EXIT_TIME, self.child.wait()).await {
            Ok(Ok(status)) => describe(status),
            Ok(Err(error)) => format!("the worker cannot be waited for: {error}"),
            Err(_) => format!("the worker closed its output and did not end: {error}"),
        };
        // What it said last is in the pipe still, which ends with the process.
        drop(tokio::time::timeout(EXIT_TIME, &mut self.listener).await);
        failure(stage, self.with_last_line(how))
    }

    fn silence(&mut self, stage: Stage, patience: Duration) -> Failure {
        drop(self.child.start_kill());
        let setting = match stage {
            Stage::Load => "load_timeout",
            _ => "run_timeout",
        };
        let how = format!(
            "nothing was heard of the worker for {patience:?}, so it was killed; raise `{setting}` of the agent \
             if the model needs longer"
        );
        failure(stage, self.with_last_line(how))
    }

    fn with_last_line(&self, how: String) -> String {
        let line = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.is_empty() {
            how
        } else if tells_of_no_memory(&line) {
            format!("the worker ran out of memory, a smaller batch needs less; it last said: {line}")
        } else {
            format!("{how}; it last said: {line}")
        }
    }
}

/// One line of text as an outcome carries it.
pub(crate) fn failure(stage: Stage, error: impl Into<String>) -> Failure {
    let error = error.into();
    Failure { stage, error }
}

async fn next<T: DeserializeOwned>(answers: &mut BufReader<ChildStdout>) -> io::Result<T> {
    let mut head = [0; 4];
    answers.read_exact(&mut head).await?;
    let mut body = vec![0; message::length(head)?];
    answers.read_exact(&mut body).await?;
    message::parse(&body)
}

fn tells_of_no_memory(line: &str) -> bool {
    OUT_OF_MEMORY.iter().any(|words| line.contains(words))
}

/// Keeps the last line that is not empty, or the one that tells of no memory, which a backtrace may follow.
async fn listen(errors: ChildStderr, last_line: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(errors);
    let mut line = Vec::new();
    while let Ok(1..) = lines.read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line[..line.len().min(LAST_LINE_BYTES)]);
        let text = text.trim();
        tracing::debug!("worker: {text}");
        let mut kept = last_line.lock().unwrap_or_else(PoisonError::into_inner);
        if !text.is_empty() && !tells_of_no_memory(&kept) {
            text.clone_into(&mut kept);
        }
        line.clear();
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal @ 9), _) => format!(
            "the worker was killed by signal {signal} (SIGKILL): out of memory? a smaller batch needs less"
        ),
        (Some(signal), _) => format!("the worker was killed by signal {signal}{}", name(signal)),
        (None, Some(0)) => "the worker ended without an answer".to_owned(),
        (None, code) => format!("the worker ended with exit code {}", code.unwrap_or_default()),
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        2 => " (SIGINT)",
        4 => " (SIGILL): the library was built for another processor",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}
