//! From the device at two moments to the state of what ran between them, free of I/O.

use edgefront_protocol::{RoundState, Throttle};

use super::{Clock, Moment, Sign, Value};

/// The state between `begin` and `end`, where `first` is how the device was before all.
pub(super) fn state(first: &Moment, begin: &Moment, end: &Moment, most_load: f32) -> RoundState {
    let usages = begin.usage.as_ref().zip(end.usage.as_ref());
    RoundState {
        temp_c: [begin.temp_c, end.temp_c],
        cpu_mhz: range(&begin.cpu, &end.cpu),
        gpu_mhz: range(&begin.gpu, &end.gpu),
        throttling: throttling(first, begin, end),
        load: usages.and_then(|(begin, end)| begin.until(end, most_load)),
        cooling: None,
    }
}

/// The lowest and the highest clock at either moment.
fn range(begin: &[Clock], end: &[Clock]) -> Option<[u32; 2]> {
    let clocks = || begin.iter().chain(end).filter_map(|clock| clock.now);
    Some([clocks().min()?, clocks().max()?])
}

/// What the device told of throttling, each cause once; `None` where it tells nothing of it.
pub(super) fn throttling(first: &Moment, begin: &Moment, end: &Moment) -> Option<Vec<Throttle>> {
    let mut causes: Vec<Throttle> = begin
        .signs
        .iter()
        .filter(|sign| sign.value == Value::Now(true))
        .map(|sign| sign.cause)
        .collect();
    let is_new = |sign: &&Sign| match sign.value {
        Value::Now(on) => on,
        Value::Count(after) => {
            let before = begin.signs.iter().find(|before| before.place == sign.place);
            matches!(before.map(|before| before.value), Some(Value::Count(before)) if before < after)
        }
    };
    causes.extend(end.signs.iter().filter(is_new).map(|sign| sign.cause));
    let limits = clocks_allowed(first);
    let capped = |moment: &Moment| limits_fell(&limits, &clocks_allowed(moment));
    if [begin, end].into_iter().any(capped) {
        causes.push(Throttle::FrequencyCapped);
    }
    causes.sort_unstable();
    causes.dedup();
    // Who tells of nothing but a cap, or of its supply, may throttle for another reason.
    let is_told = end.signs.iter().any(|sign| sign.cause == Throttle::Throttled);
    (is_told || !causes.is_empty()).then_some(causes)
}

/// How far each clock may go. A cap that was there from the beginning is how the device was set up.
fn clocks_allowed(moment: &Moment) -> Vec<Option<u32>> {
    let clocks = moment.cpu.iter().chain(&moment.gpu);
    clocks.map(|clock| clock.allowed).collect()
}

fn limits_fell(first: &[Option<u32>], now: &[Option<u32>]) -> bool {
    let mut pairs = first.iter().zip(now);
    first.len() == now.len() && pairs.any(|pair| matches!(pair, (Some(first), Some(now)) if now < first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(value: Value, now: u32, allowed: u32) -> Moment {
        Moment {
            temp_c: Some(50.0),
            cpu: vec![Clock {
                now: Some(now),
                allowed: Some(allowed),
                possible: Some(2_400),
            }],
            signs: vec![Sign {
                cause: Throttle::Throttled,
                place: "/sys/count".into(),
                value,
            }],
            ..Moment::default()
        }
    }

    fn told(first: &Moment, begin: &Moment, end: &Moment) -> Vec<Throttle> {
        throttling(first, begin, end).expect("the device tells")
    }

    #[test]
    fn only_what_happened_between_counts() {
        let count = |count| moment(Value::Count(count), 1_500, 1_500);
        assert_eq!(told(&count(0), &count(5), &count(5)), []);
        assert_eq!(told(&count(0), &count(5), &count(6)), [Throttle::Throttled]);
        // Cleared by somebody.
        assert_eq!(told(&count(0), &count(1), &count(0)), []);
        let now = |on| moment(Value::Now(on), 1_500, 1_500);
        assert_eq!(told(&now(false), &now(false), &now(false)), []);
        assert_eq!(told(&now(false), &now(true), &now(false)), [Throttle::Throttled]);
        assert_eq!(told(&now(false), &now(false), &now(true)), [Throttle::Throttled]);
    }

    #[test]
    fn a_limit_that_falls_is_a_cap_and_one_that_was_set_before_is_not() {
        let allowed = |allowed| moment(Value::Now(false), 1_500, allowed);
        assert_eq!(told(&allowed(1_500), &allowed(1_500), &allowed(1_500)), []);
        let capped = [Throttle::FrequencyCapped];
        assert_eq!(told(&allowed(1_500), &allowed(1_500), &allowed(1_200)), capped);
        assert_eq!(told(&allowed(1_500), &allowed(1_200), &allowed(1_200)), capped);
        assert_eq!(told(&allowed(1_500), &allowed(1_800), &allowed(1_800)), []);
    }

    #[test]
    fn clocks_span_both_ends_and_silence_is_no_state() {
        let at = |now| moment(Value::Now(false), now, 1_500);
        let state = state(&at(0), &at(1_500), &at(600), 0.1);
        assert_eq!(state.cpu_mhz, Some([600, 1_500]));
        assert_eq!((state.gpu_mhz, state.load), (None, None));
        let silent = Moment::default();
        assert_eq!(
            super::state(&silent, &silent, &silent, 0.1),
            RoundState::default()
        );
    }
}
