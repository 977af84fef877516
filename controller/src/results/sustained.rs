//! How a device became warm in a run without a pause.
//!
//! Its figures are of the second half of the windows. The run is *settled* where the third quarter and the last agree: the
//! means of their medians within 2 %, and of their temperatures within 1 degree Celsius.

use edgefront_protocol::outcome::{Measurement, Round, Sustained};
use edgefront_protocol::results::{SustainedRecord, WindowRecord};
use edgefront_protocol::{Nanos, Plan, RoundState};

use super::build::rounded;

/// By how much medians may differ.
const SETTLED: f64 = 0.02;
/// By how many degrees Celsius temperatures may.
const SETTLED_C: f64 = 1.0;

/// What a record tells of it; `None` where it was measured in rounds.
pub(super) fn record(measurement: &Measurement) -> Option<SustainedRecord> {
    let sustained = measurement.sustained.as_ref()?;
    let windows = windows(measurement, sustained);
    Some(SustainedRecord {
        label: label(sustained.time),
        asked_s: rounded(sustained.time.0 as f64 / 1e9),
        settled: drift(&windows).is_none(),
        windows,
    })
}

/// What a configuration has of a run of this time: `sustained10m`.
pub(super) fn label(time: Nanos) -> String {
    let time = humantime::format_duration(time.into()).to_string();
    format!("sustained{}", time.replace(' ', ""))
}

/// A note where the device was not yet as warm as it becomes.
pub(super) fn warming(measurement: &Measurement) -> Option<String> {
    let windows = windows(measurement, measurement.sustained.as_ref()?);
    let drift = drift(&windows)?;
    Some(format!("not settled: {drift}; give a longer --sustained"))
}

fn windows(measurement: &Measurement, sustained: &Sustained) -> Vec<WindowRecord> {
    let warming = sustained
        .warming
        .iter()
        .map(|aside| (&aside.round, &aside.state, false));
    let counted = measurement
        .latency
        .rounds
        .iter()
        .zip(&measurement.conditions.rounds);
    let counted = counted.map(|(round, state)| (round, state, true));
    let all: Vec<_> = warming.chain(counted).collect();
    let begun = all.first().map_or(0, |(round, ..)| round.started.0);
    let window = |(round, state, counted): (&Round, &RoundState, bool)| WindowRecord {
        at_s: round.started.0.saturating_sub(begun) as f64 / 1e3,
        p50: round.p50.as_millis_f64(),
        temp_c: state.temp_c[1].map(f64::from),
        cpu_mhz: state.cpu_mhz,
        throttled: state.throttling.as_ref().map(|causes| !causes.is_empty()),
        counted,
    };
    all.into_iter().map(window).collect()
}

/// What still changed, in words; `None` where nothing did.
fn drift(windows: &[WindowRecord]) -> Option<String> {
    if windows.len() < Plan::LEAST_WINDOWS as usize {
        return Some(format!(
            "only {} windows ran, since each lasts for an inference at least",
            windows.len()
        ));
    }
    let half = &windows[windows.len() / 2..];
    let (third, last) = half.split_at(half.len() / 2);
    let mean = |part: &[WindowRecord], figure: fn(&WindowRecord) -> Option<f64>| {
        let known: Vec<f64> = part.iter().filter_map(figure).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    let both = |figure: fn(&WindowRecord) -> Option<f64>| mean(third, figure).zip(mean(last, figure));
    let latency =
        both(|window| Some(window.p50)).filter(|(third, last)| (last / third - 1.0).abs() > SETTLED);
    let latency = latency.map(|(third, last)| format!("its median went from {third:.3} to {last:.3} ms"));
    let heat = both(|window| window.temp_c).filter(|(third, last)| (last - third).abs() > SETTLED_C);
    let heat = heat.map(|(third, last)| format!("the temperature went from {third:.1} to {last:.1} °C"));
    let told: Vec<String> = latency.into_iter().chain(heat).collect();
    (!told.is_empty()).then(|| format!("from the third quarter to the last {}", told.join(" and ")))
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::{SetAside, Throttle, UnixMillis};

    use super::*;
    use crate::results::build::tests::settled;
    use crate::results::build::{Study, build};

    /// Windows of a second with these medians in milliseconds and temperatures, of which the first half is not counted.
    fn measured(windows: &[(u64, f32)]) -> Measurement {
        let window = |(number, &(p50, temp_c)): (usize, &(u64, f32))| SetAside {
            round: Round {
                position: 0,
                runs: 1,
                total: Nanos(p50 * 1_000_000),
                p50: Nanos(p50 * 1_000_000),
                started: UnixMillis(5_000 + 1_000 * number as u64),
                process: 0,
                below: [1; 5],
            },
            state: RoundState {
                temp_c: [None, Some(temp_c)],
                throttling: Some(if temp_c > 79.5 {
                    vec![Throttle::Throttled]
                } else {
                    Vec::new()
                }),
                ..RoundState::default()
            },
        };
        let mut windows: Vec<SetAside> = windows.iter().enumerate().map(window).collect();
        let counted = windows.split_off(windows.len() / 2);
        let mut measurement = settled([5_000_000]).result.unwrap();
        measurement.conditions.rounds = counted.iter().map(|window| window.state.clone()).collect();
        measurement.latency.rounds = counted.iter().map(|window| window.round).collect();
        measurement.sustained = Some(Sustained {
            time: Nanos(5_400_000_000_000),
            warming: windows,
        });
        measurement
    }

    #[test]
    fn a_device_that_throttles_and_stays_so_has_settled() {
        let throttles = [
            (5, 50.0),
            (5, 70.0),
            (5, 79.0),
            (8, 80.0),
            (8, 80.0),
            (8, 80.5),
            (8, 80.0),
            (8, 80.0),
        ];
        let measurement = measured(&throttles);
        let record = record(&measurement).unwrap();
        assert_eq!(
            (record.label.as_str(), record.asked_s),
            ("sustained1h30m", 5_400.0)
        );
        assert!(record.settled && warming(&measurement).is_none());
        let seen: Vec<_> = record
            .windows
            .iter()
            .map(|window| window.throttled.unwrap())
            .collect();
        assert_eq!(seen, [false, false, false, true, true, true, true, true]);
        let counted = record.windows.iter().filter(|window| window.counted).count();
        assert_eq!(
            (counted, record.windows[3].at_s.to_bits()),
            (4, 3.0_f64.to_bits())
        );
    }

    #[test]
    fn clocks_that_go_up_and_down_are_what_such_a_run_is_to_show() {
        let saw = [5, 5, 5, 5, 5, 8, 5, 8].map(|p50| (p50, 80.0));
        let mut job = settled([5_000_000]);
        job.result = Ok(measured(&saw));
        let results = build(&Study {
            name: "test",
            jobs: &[job],
            unmade: &[],
            devices: &[],
            reference: None,
        });
        let conditions = &results.records[0].conditions;
        assert!(conditions.valid && conditions.notes.is_empty(), "{conditions:?}");
        assert_eq!(conditions.throttled, Some(true));
    }

    #[test]
    fn what_still_changes_is_told() {
        let warms = [
            (5, 50.0),
            (5, 55.0),
            (5, 58.0),
            (5, 61.0),
            (5, 64.0),
            (5, 66.0),
            (5, 68.0),
            (6, 70.0),
        ];
        let note = warming(&measured(&warms)).unwrap();
        assert_eq!(
            note,
            "not settled: from the third quarter to the last its median went from 5.000 to 5.500 ms and the temperature \
             went from 65.0 to 69.0 °C; give a longer --sustained"
        );
        assert!(!record(&measured(&warms)).unwrap().settled);
        let few = warming(&measured(&[(5, 50.0), (5, 50.0)])).unwrap();
        assert!(few.starts_with("not settled: only 2 windows ran"), "{few}");
    }
}
