//! What the agent and a worker say to each other: `wire` messages, each after its length.

use std::io::{self, Read, Write};

use edgefront_protocol::outcome::{Failure, LayerTime};
use edgefront_protocol::{Bytes, Nanos, Ppm, Scenario, Score, Shape, Target, UnixMillis, wire};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::Stretch;

/// Longest message; the largest are pictures to time a model on.
pub(crate) const MAX_BYTES: u32 = 1 << 30;

/// What the agent tells a worker to do. Each order but a failed one ends in one answer of the same name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Look whether a runtime can run here.
    Probe {
        /// The runtime.
        runtime: String,
        /// Where to look for its library first.
        runtime_path: Option<String>,
    },
    /// Load the artifact.
    Load(Box<Load>),
    /// Run it untimed.
    WarmUp(WarmUp),
    /// Run it timed.
    Round(Span),
    /// Run it so often, and tell the time of its layers.
    Profile {
        /// Inferences that are timed.
        inferences: u32,
    },
    /// Run it timed, for queries that come at random moments; answered as a round is.
    Serve(Serve),
    /// Run the validation pack.
    Score(Scoring),
}

/// How to load an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) artifact: String,
    pub(crate) target: Target,
    pub(crate) inputs: Vec<Shape>,
    pub(crate) runtime_path: Option<String>,
    /// Largest size of what the runtime made of models and keeps.
    pub(crate) kept_max: Bytes,
    pub(crate) feed: Feed,
    /// Whether the system is to forget the artifact before, so that it comes from the disk. Where it does not, nothing is
    /// loaded.
    pub(crate) cold: bool,
    /// Whether its layers will be asked for.
    pub(crate) profile: bool,
    /// How queries come.
    pub(crate) scenario: Scenario,
    /// Numbers of the processors to run on; empty for all.
    pub(crate) processors: Vec<u32>,
}

/// What a model is given while it is timed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Feed {
    /// Values from a seeded generator.
    Random {
        /// The seed.
        seed: u64,
    },
    /// A batch of real pictures.
    Pictures {
        /// Channels, rows, columns.
        picture: [usize; 3],
        /// `[N, C, H, W]`, where N is the target's batch.
        values: Vec<f32>,
    },
}

/// What to score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scoring {
    /// Where the pack is.
    pub(crate) pack: String,
    /// Where the reference is, which the answers are set beside.
    pub(crate) reference: Option<String>,
    /// Scoring ends when the difference of top-1 to the reference's is known within this.
    pub(crate) margin: Option<Ppm>,
    /// Seeds the order of the pictures where there is a margin.
    pub(crate) seed: u64,
}

/// How long to warm up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WarmUp {
    /// Runs, at least.
    pub(crate) runs: u32,
    /// Time, at least.
    pub(crate) time: Nanos,
    /// How long to wait for the runs to become steady.
    pub(crate) limit: Nanos,
    /// No run begins after this, whatever is still to do; at least one does.
    pub(crate) longest: Nanos,
}

/// How long to run timed. Both `runs` and `time` are reached unless `limit` comes first; at least one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) runs: u64,
    pub(crate) time: Nanos,
    pub(crate) limit: Nanos,
}

/// A trial of a rate. It ends early where too many queries are late, and at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Serve {
    /// Seeds the moments at which queries come.
    pub(crate) seed: u64,
    /// Queries a second, on average.
    pub(crate) rate_qps: f64,
    pub(crate) queries: u64,
    /// Queries that take longer are late.
    pub(crate) bound: Nanos,
    /// How many may be.
    pub(crate) late: u64,
    pub(crate) limit: Nanos,
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The runtime can run here.
    Probed { version: String, providers: Vec<String> },
    /// The artifact can run.
    Loaded(Loaded),
    /// The system would not forget the artifact.
    NotCold,
    /// The warm-up is over.
    Warm {
        /// Runs that it took.
        runs: u32,
        /// Whether they became steady.
        steady: bool,
        /// The first of them; `None` where a program of the runtime's own timed them.
        first: Option<Nanos>,
        /// Median latency of the last runs.
        median: Nanos,
    },
    /// Latencies in nanoseconds with how often each occurred, ascending. A round has one or more of these.
    Samples(Vec<(u64, u32)>),
    /// The round is over.
    Round {
        /// When its first timed run began.
        started: UnixMillis,
        /// The stretch of its timed runs; `None` where a program of the runtime's own timed them.
        stretch: Option<Stretch>,
        /// Peak memory of the process so far.
        peak_rss: Option<Bytes>,
        /// Its memory now, where what it shares counts by its part.
        pss: Option<Bytes>,
    },
    /// The time of each layer; `None` where the runtime does not tell.
    Layers(Option<Vec<LayerTime>>),
    /// A sign of life in a long round or warm-up, or while a pack is scored.
    Alive,
    /// The pack is scored.
    Score(Score),
    /// The order could not be followed; the worker ends.
    Failed(Failure),
}

/// A worker whose artifact can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loaded {
    pub(crate) runtime_version: String,
    pub(crate) provider: String,
    /// Where the runtime does not compute as the artifact says, what it does instead.
    pub(crate) remark: Option<String>,
    /// Numbers of the processors that it is bound to; empty where it is not.
    pub(crate) processors: Vec<u32>,
    /// Whether another program than the worker's executes it.
    pub(crate) emulated: bool,
    /// From the artifact's path to a session that can run.
    pub(crate) time: Nanos,
    /// Memory of the process before the runtime's library was open.
    pub(crate) rss_at_first: Option<Bytes>,
    /// By how much it grew from the artifact's path to a session.
    pub(crate) grown: Option<Bytes>,
    /// Peak memory of the process so far.
    pub(crate) peak_rss: Option<Bytes>,
}

/// The bytes of one message with its length.
pub(crate) fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    let body = wire::encode(message);
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    frame.extend(body);
    frame
}

/// The length that precedes a message.
pub(crate) fn length(bytes: [u8; 4]) -> io::Result<usize> {
    match u32::from_le_bytes(bytes) {
        length @ ..=MAX_BYTES => Ok(length as usize),
        length => Err(invalid(format!("a message of {length} bytes"))),
    }
}

/// The message of a frame's body.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    wire::decode(body).map_err(invalid)
}

/// Sends a message.
pub(crate) fn write<T: Serialize>(writer: &mut impl Write, message: &T) -> io::Result<()> {
    writer.write_all(&frame(message))?;
    writer.flush()
}

/// Waits for the next message; `None` at the end of the stream.
pub(crate) fn read<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<T>> {
    let mut head = [0; 4];
    match reader.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        done => done?,
    }
    let mut body = vec![0; length(head)?];
    reader.read_exact(&mut body)?;
    parse(&body).map(Some)
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in() {
        let orders = [
            Order::Round(Span {
                runs: 20,
                time: Nanos(1),
                limit: Nanos(2),
            }),
            Order::Score(Scoring {
                pack: "/p".to_owned(),
                reference: None,
                margin: None,
                seed: 7,
            }),
        ];
        let mut bytes = Vec::new();
        for order in &orders {
            write(&mut bytes, order).unwrap();
        }
        let mut reader = bytes.as_slice();
        for order in orders {
            assert_eq!(read(&mut reader).unwrap(), Some(order));
        }
        assert_eq!(read::<Order>(&mut reader).unwrap(), None);
    }

    #[test]
    fn a_stream_of_something_else_is_refused() {
        let text = b"Loading model 100 %\n";
        assert!(read::<Answer>(&mut text.as_slice()).is_err());
        assert!(read::<Answer>(&mut [2, 0, 0, 0, 9, 9].as_slice()).is_err());
    }
}
