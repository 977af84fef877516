//! What ONNX Runtime writes of a profiled session: a trace in Chrome's format.
//!
//! Each run of a node is an event of the category `Node` whose name ends in `_kernel_time`; each inference ends in one of
//! the category `Session` named `model_run`. Times are whole microseconds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::layers::{Layer, Sums};

/// Inferences before those that count.
pub(super) const LEAD_IN: u32 = 3;
/// What a node's event is called, after the node.
const NODE: &str = "_kernel_time";

/// A folder for the trace of one session, which goes with it.
#[derive(Debug)]
pub(super) struct Trace(tempfile::TempDir);

impl Trace {
    pub(super) fn new() -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("edgefront-profile").tempdir();
        folder
            .map(Self)
            .map_err(|error| format!("there is no place for its profile: {error}"))
    }

    /// What ONNX Runtime begins the file's name with.
    pub(super) fn prefix(&self) -> PathBuf {
        self.0.path().join("trace")
    }
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    /// Microseconds.
    #[serde(default)]
    dur: u64,
    #[serde(default)]
    args: Arguments,
}

#[derive(Default, Deserialize)]
struct Arguments {
    #[serde(default)]
    op_name: String,
}

impl Trace {
    /// The layers of the file at `path`, of `inferences` after those of the lead-in. The file goes: the process may be killed
    /// before its folder would.
    pub(super) fn read(&self, path: &Path, inferences: u32) -> Result<Vec<Layer>, String> {
        let unread = |error| format!("its profile cannot be read: {error}");
        let text = std::fs::read(path).map_err(unread)?;
        std::fs::remove_dir_all(self.0.path()).map_err(unread)?;
        layers(&text, inferences)
    }
}

fn layers(text: &[u8], inferences: u32) -> Result<Vec<Layer>, String> {
    let events: Vec<Event> =
        serde_json::from_slice(text).map_err(|error| format!("its profile cannot be read: {error}"))?;
    let (mut sums, mut done) = (Sums::default(), 0);
    for event in &events {
        match (event.cat.as_str(), event.name.strip_suffix(NODE)) {
            ("Node", Some(node)) if done >= LEAD_IN => {
                sums.add(node, &event.args.op_name, Duration::from_micros(event.dur));
            }
            ("Session", _) if event.name == "model_run" => done += 1,
            _ => {}
        }
    }
    if done == LEAD_IN + inferences {
        Ok(sums.mean(inferences))
    } else {
        Err(format!(
            "its profile holds {done} of {} inferences",
            LEAD_IN + inferences
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// In the form of ONNX Runtime 1.32, with the fields that are not read left out.
    fn trace(runs: u64) -> String {
        let node = |name: &str, op: &str, dur: u64| {
            format!(
                r#"{{"cat":"Node","dur":{dur},"ts":1,"ph":"X","name":"{name}_kernel_time","args":{{"op_name":"{op}"}}}}"#
            )
        };
        let session = |name: &str| {
            format!(r#"{{"cat":"Session","dur":99,"ts":1,"ph":"X","name":"{name}","args":{{}}}}"#)
        };
        let mut events = vec![session("model_loading_uri"), session("session_initialization")];
        for run in 0..runs {
            // The first ones are slow.
            let slow = if run < u64::from(LEAD_IN) { 1_000 } else { 0 };
            events.push(node("conv1", "Conv", 20 + 2 * (run % 2) + slow));
            events.push(node("relu1", "Relu", 3 + slow));
            events.push(session("SequentialExecutor::Execute"));
            events.push(session("model_run"));
        }
        format!("[\n{}\n]", events.join(",\n"))
    }

    #[test]
    fn layers_are_the_mean_of_the_inferences_after_the_first() {
        let layers = layers(trace(7).as_bytes(), 4).unwrap();
        let told: Vec<_> = layers
            .iter()
            .map(|layer| {
                (
                    layer.name.as_str(),
                    layer.operator.as_str(),
                    layer.time.as_micros(),
                )
            })
            .collect();
        assert_eq!(told, [("conv1", "Conv", 21), ("relu1", "Relu", 3)]);
    }

    #[test]
    fn a_trace_that_was_cut_is_an_error() {
        assert_eq!(
            layers(trace(6).as_bytes(), 4).unwrap_err(),
            "its profile holds 6 of 7 inferences"
        );
        assert!(
            layers(b"[{", 4)
                .unwrap_err()
                .starts_with("its profile cannot be read: ")
        );
    }

    proptest! {
        #[test]
        fn no_trace_panics(text in prop::collection::vec(any::<u8>(), 0..128)) {
            drop(layers(&text, 1));
        }
    }
}
