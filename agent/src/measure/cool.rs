//! The wait before a round until the device is cool, free of I/O: what was seen goes in, what to do comes out.

use std::time::Duration;

use edgefront_protocol::{CoolDown, Cooling};

/// Time between two looks. A board of some ten grams with its heat sink takes seconds to cool by a degree.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Look again after this time.
    Look(Duration),
    /// Begin the round.
    Begin(Cooling),
}

/// What a wait does that is at this temperature after this time.
pub(super) fn next(plan: CoolDown, temp_c: Option<f32>, waited: Duration) -> Next {
    let limit = Duration::from(plan.limit);
    let cooling = |is_reached| Cooling {
        time: waited.into(),
        is_reached,
    };
    // A zone that did not answer once may do so later.
    if temp_c.is_some_and(|temp_c| f64::from(temp_c) <= f64::from(plan.to_c)) {
        Next::Begin(cooling(true))
    } else if waited >= limit {
        Next::Begin(cooling(false))
    } else {
        Next::Look(LOOK_EVERY.min(limit.saturating_sub(waited)))
    }
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::Nanos;
    use proptest::prelude::*;

    use super::*;

    fn plan(to_c: u32, limit: u64) -> CoolDown {
        CoolDown {
            to_c,
            limit: Nanos(limit),
        }
    }

    /// Waits on a device that cools so, by a clock that is not the real one.
    fn wait(plan: CoolDown, temperature: impl Fn(Duration) -> f32) -> Cooling {
        let mut clock = Duration::ZERO;
        loop {
            match next(plan, Some(temperature(clock)), clock) {
                Next::Look(after) => clock += after,
                Next::Begin(cooling) => return cooling,
            }
        }
    }

    #[test]
    fn a_device_that_cools_is_waited_for() {
        let cooling = wait(plan(50, 120_000_000_000), |clock| 61.5 - clock.as_secs_f32());
        let expected = Cooling {
            time: Nanos(12_000_000_000),
            is_reached: true,
        };
        assert_eq!(cooling, expected);
        assert_eq!(wait(plan(50, 120), |_| 50.0).time, Nanos(0));
    }

    #[test]
    fn one_that_does_not_is_given_up_at_the_limit() {
        let cooling = wait(plan(50, 2_500_000_000), |_| 61.5);
        let expected = Cooling {
            time: Nanos(2_500_000_000),
            is_reached: false,
        };
        assert_eq!(cooling, expected);
    }

    #[test]
    fn a_zone_that_does_not_answer_is_asked_again_until_the_limit() {
        let at = |waited| next(plan(50, 9), None, Duration::from_nanos(waited));
        assert_eq!(at(0), Next::Look(Duration::from_nanos(9)));
        assert_eq!(
            at(9),
            Next::Begin(Cooling {
                time: Nanos(9),
                is_reached: false,
            })
        );
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_its_limit(to_c in 0..120u32, limit in 0..30_000_000_000u64, temps in prop::collection::vec(-20.0f32..120.0, 40)) {
            let cooling = wait(plan(to_c, limit), |clock| temps[clock.as_secs() as usize % temps.len()]);
            prop_assert!(cooling.time.0 <= limit);
            prop_assert!(cooling.is_reached || cooling.time.0 == limit);
        }
    }
}
