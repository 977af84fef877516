//! Layers of what LiteRT's profiler timed.
//!
//! An inference is a list of events in the order in which they ended. An operator that LiteRT's own kernels compute is
//! one; XNNPACK tells of its own operators, which are those of the file after it fused and added some, and which have no
//! names. Times are whole microseconds.

use std::ffi::c_int;
use std::time::Duration;

use crate::layers::Sums;

/// Inferences before those that count.
pub(super) const LEAD_IN: u32 = 3;
/// `OPERATOR_INVOKE_EVENT` and `DELEGATE_PROFILED_OPERATOR_INVOKE_EVENT`, of which the second stands in place of the
/// first where a delegate tells of its operators.
const OPERATORS: [c_int; 2] = [1 << 1, 1 << 3];

/// What was timed, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// `LiteRtProfilerEventType`.
    pub(super) kind: c_int,
    /// What is computed: `CONV_2D`, or `Convolution (NHWC, QC8) IGEMM`.
    pub(super) operator: String,
    pub(super) time: Duration,
}

/// Adds an inference. A layer is called by its operator and its place in the inference, for LiteRT knows no name.
pub(super) fn add(events: &[Event], sums: &mut Sums) -> Result<(), String> {
    let operators = events.iter().filter(|event| OPERATORS.contains(&event.kind));
    let mut count = 0;
    for event in operators {
        let name = format!("{}:{count}", event.operator);
        sums.add(&name, &event.operator, event.time);
        count += 1;
    }
    if count == 0 {
        return Err("LiteRT timed no operator".to_owned());
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn event(kind: c_int, operator: &str, micros: u64) -> Event {
        Event {
            kind,
            operator: operator.to_owned(),
            time: Duration::from_micros(micros),
        }
    }

    #[test]
    fn operators_are_layers_and_what_is_around_them_is_none() {
        let mut sums = Sums::default();
        for micros in [3, 5] {
            // As LiteRT 2.3 tells of a model that XNNPACK takes but for one operator.
            let events = [
                event(1, "LiteRT::Run[buffer registration]", 16),
                event(16, "invoke", 44),
                event(1, "Invoke", 16),
                event(8, "Convolution (NHWC, F32) IGEMM", micros),
                event(2, "GATHER", 1),
                event(8, "Convolution (NHWC, F32) IGEMM", 2 * micros),
                event(32, "Invoke", 4_294_967_296),
            ];
            add(&events, &mut sums).unwrap();
        }
        let layers = sums.mean(2);
        let told: Vec<_> = layers
            .iter()
            .map(|layer| (layer.name.as_str(), layer.time.as_micros()))
            .collect();
        let expected = [
            ("Convolution (NHWC, F32) IGEMM:0", 4),
            ("GATHER:1", 1),
            ("Convolution (NHWC, F32) IGEMM:2", 8),
        ];
        assert_eq!(told, expected);
        assert_eq!(layers[1].operator, "GATHER");
    }

    #[test]
    fn an_inference_without_operators_is_an_error() {
        let error = add(&[event(1, "Invoke", 16)], &mut Sums::default()).unwrap_err();
        assert_eq!(error, "LiteRT timed no operator");
    }
}
