//! What the state of a device over the rounds of a job comes to.

use edgefront_protocol::outcome::{Conditions, Measurement};
use edgefront_protocol::results::{CoolDownRecord, FlaggedRounds};
use edgefront_protocol::{Cooling, RoundState, Throttle};

use super::build::rounded;

/// What other processes and the hypervisor do, among the causes.
const OTHER_LOAD: &str = "other load";

/// The rounds that were disturbed, in or out of the figures; `None` where there was none.
pub(super) fn flagged(measurement: &Measurement) -> Option<FlaggedRounds> {
    let conditions = &measurement.conditions;
    let aside = conditions.set_aside.iter().map(|aside| &aside.state);
    let all: Vec<&RoundState> = conditions.rounds.iter().chain(aside).collect();
    let disturbed: Vec<&RoundState> = all
        .iter()
        .copied()
        .filter(|state| disturbs(measurement, state))
        .collect();
    let mut throttles: Vec<Throttle> = disturbed
        .iter()
        .flat_map(|state| state.throttling.iter().flatten().copied())
        .filter(|cause| disturbs_by(measurement, *cause))
        .collect();
    throttles.sort_unstable();
    throttles.dedup();
    let is_loaded = disturbed
        .iter()
        .any(|state| state.load.is_some_and(|load| load.is_excessive));
    let load = is_loaded.then(|| OTHER_LOAD.to_owned());
    (!disturbed.is_empty()).then(|| FlaggedRounds {
        count: disturbed.len() as u32,
        of: all.len() as u32,
        causes: throttles.iter().map(ToString::to_string).chain(load).collect(),
        used: is_disturbed(measurement),
    })
}

/// Whether a disturbed round is in the figures.
pub(super) fn is_disturbed(measurement: &Measurement) -> bool {
    let mut rounds = measurement.conditions.rounds.iter();
    rounds.any(|state| disturbs(measurement, state))
}

/// Whether what happened in a round is not what was to be measured.
fn disturbs(measurement: &Measurement, state: &RoundState) -> bool {
    let mut causes = state.throttling.iter().flatten();
    state.load.is_some_and(|load| load.is_excessive) || causes.any(|cause| disturbs_by(measurement, *cause))
}

/// The same of one cause: a sustained run is to show how the device throttles from heat, and not its supply's weakness.
fn disturbs_by(measurement: &Measurement, cause: Throttle) -> bool {
    match measurement.sustained {
        Some(_) => cause == Throttle::UnderVoltage,
        None => cause.is_disturbance(),
    }
}

/// Whether the device throttled in a round that counts; `None` where it does not tell.
pub(super) fn throttled(conditions: &Conditions) -> Option<bool> {
    let told = conditions
        .rounds
        .iter()
        .filter_map(|state| state.throttling.as_ref());
    told.map(|causes| !causes.is_empty()).reduce(|a, b| a || b)
}

/// Cores that others took, on the mean over the rounds that count.
pub(super) fn foreign_load(conditions: &Conditions) -> Option<f64> {
    let loads = conditions.rounds.iter().filter_map(|state| state.load);
    let taken: Vec<f64> = loads
        .map(|load| f64::from(load.cores) + f64::from(load.stolen))
        .collect();
    (!taken.is_empty()).then(|| taken.iter().sum::<f64>() / taken.len() as f64)
}

/// The lowest and the highest of some clock over the rounds that count.
pub(super) fn clock(
    conditions: &Conditions,
    of: impl Fn(&RoundState) -> Option<[u32; 2]>,
) -> Option<[u32; 2]> {
    let ranges = conditions.rounds.iter().filter_map(of);
    ranges.reduce(|[low, high], [lower, higher]| [low.min(lower), high.max(higher)])
}

/// The waits for the device to cool; `None` where there were none to be.
pub(super) fn cool_down(measurement: &Measurement) -> Option<CoolDownRecord> {
    // A sustained run has its wait before the first of the windows in which it becomes warm.
    let warming = measurement
        .sustained
        .iter()
        .flat_map(|sustained| &sustained.warming);
    let states = warming
        .map(|aside| &aside.state)
        .chain(&measurement.conditions.rounds);
    let waits: Vec<Cooling> = states.filter_map(|state| state.cooling).collect();
    (!waits.is_empty()).then(|| CoolDownRecord {
        waited_s: rounded(waits.iter().map(|wait| wait.time.0 as f64 / 1e9).sum()),
        warm_rounds: waits.iter().filter(|wait| !wait.is_reached).count() as u32,
    })
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::outcome::Sustained;
    use edgefront_protocol::{ForeignLoad, Nanos, Round, SetAside, UnixMillis};

    use super::*;
    use crate::results::build::tests::settled;

    fn state(causes: Option<&[Throttle]>, cores: f32, is_excessive: bool) -> RoundState {
        RoundState {
            cpu_mhz: Some([600, 1_500]),
            throttling: causes.map(<[Throttle]>::to_vec),
            load: Some(ForeignLoad {
                cores,
                stolen: 0.25,
                waiting: None,
                is_excessive,
            }),
            ..RoundState::default()
        }
    }

    fn measured(conditions: &Conditions) -> Measurement {
        let mut measurement = settled([1_000]).result.unwrap();
        measurement.conditions = conditions.clone();
        measurement
    }

    fn aside(state: RoundState) -> SetAside {
        let round = Round {
            position: 0,
            runs: 1,
            total: Nanos(1),
            p50: Nanos(1),
            started: UnixMillis(0),
            process: 0,
            below: [0; 5],
        };
        SetAside { round, state }
    }

    #[test]
    fn what_was_measured_again_is_counted_and_did_not_throttle_what_counts() {
        let conditions = Conditions {
            rounds: vec![state(Some(&[]), 0.25, false), state(Some(&[]), 0.75, false)],
            set_aside: vec![
                aside(state(
                    Some(&[Throttle::Throttled, Throttle::UnderVoltage]),
                    9.0,
                    false,
                )),
                aside(state(Some(&[Throttle::Throttled]), 9.0, true)),
            ],
            ..Conditions::default()
        };
        let expected = FlaggedRounds {
            count: 2,
            of: 4,
            causes: ["under-voltage", "throttling", "other load"]
                .map(str::to_owned)
                .to_vec(),
            used: false,
        };
        assert_eq!(flagged(&measured(&conditions)), Some(expected));
        assert_eq!(throttled(&conditions), Some(false));
        assert_eq!(foreign_load(&conditions), Some(0.75));
        assert_eq!(clock(&conditions, |state| state.cpu_mhz), Some([600, 1_500]));
    }

    #[test]
    fn what_had_to_be_used_shows() {
        let conditions = Conditions {
            rounds: vec![
                state(Some(&[Throttle::FrequencyCapped]), 0.0, false),
                state(Some(&[]), 0.0, false),
            ],
            ..Conditions::default()
        };
        let flagged = flagged(&measured(&conditions)).unwrap();
        assert_eq!((flagged.count, flagged.of, flagged.used), (1, 2, true));
        assert_eq!(throttled(&conditions), Some(true));
    }

    #[test]
    fn a_sustained_run_shows_how_the_device_throttles_and_other_load_and_a_weak_supply_disturb_it() {
        let mut measurement = measured(&Conditions {
            rounds: vec![state(Some(&[Throttle::Throttled]), 0.0, false)],
            ..Conditions::default()
        });
        measurement.sustained = Some(Sustained {
            time: Nanos(4_000_000_000),
            warming: Vec::new(),
        });
        assert_eq!((flagged(&measurement), is_disturbed(&measurement)), (None, false));
        measurement
            .conditions
            .rounds
            .push(state(Some(&[Throttle::Throttled]), 3.0, true));
        let causes = [Throttle::Throttled, Throttle::UnderVoltage];
        measurement
            .conditions
            .rounds
            .push(state(Some(&causes), 0.0, false));
        let flagged = flagged(&measurement).unwrap();
        let expected = ["under-voltage", OTHER_LOAD].map(str::to_owned).to_vec();
        assert_eq!((flagged.count, flagged.causes), (2, expected));
    }

    #[test]
    fn over_current_is_told_and_flags_nothing() {
        let conditions = Conditions {
            rounds: vec![state(Some(&[Throttle::OverCurrent]), 0.0, false)],
            ..Conditions::default()
        };
        assert_eq!(
            (throttled(&conditions), flagged(&measured(&conditions))),
            (Some(true), None)
        );
    }

    #[test]
    fn waits_are_added_up() {
        let after = |time, is_reached| RoundState {
            cooling: Some(Cooling {
                time: Nanos(time),
                is_reached,
            }),
            ..RoundState::default()
        };
        let conditions = Conditions {
            rounds: vec![after(1_500_000_000, true), after(120_000_000_000, false)],
            ..Conditions::default()
        };
        let expected = CoolDownRecord {
            waited_s: 121.5,
            warm_rounds: 1,
        };
        assert_eq!(cool_down(&measured(&conditions)), Some(expected));
        assert_eq!(cool_down(&measured(&Conditions::default())), None);
    }

    #[test]
    fn silence_is_not_told() {
        let silent = Conditions {
            rounds: vec![RoundState::default()],
            ..Conditions::default()
        };
        assert_eq!((flagged(&measured(&silent)), throttled(&silent)), (None, None));
        assert_eq!(
            (foreign_load(&silent), clock(&silent, |state| state.gpu_mhz)),
            (None, None)
        );
    }
}
