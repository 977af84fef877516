//! Queries that come at random moments, answered one after the other.
//!
//! Latency counts from when a query should have come, not from when it could begin: where one inference takes long, all
//! that came meanwhile were late, and that is seen (no *coordinated omission*). The moments are drawn before the first
//! one, and are the same for the same seed but for the rate, so that waiting times can only grow with the rate.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::clock;

/// So long before a query a waiting worker is awake and watches the clock, in nanoseconds. A sleep ends some tens of
/// microseconds late, by the timer's slack of 50 us alone.
const AWAKE: u64 = 500_000;

/// Time as the loop sees it.
pub(crate) trait Clock {
    /// Nanoseconds since some moment.
    fn now(&mut self) -> u64;

    /// Returns at this time, or at once where it is past.
    fn wait_until(&mut self, time: u64);
}

/// The system's monotonic clock.
pub(crate) struct Monotonic;

impl Clock for Monotonic {
    fn now(&mut self) -> u64 {
        clock::monotonic()
    }

    fn wait_until(&mut self, time: u64) {
        let left = time.saturating_sub(self.now());
        if left > AWAKE {
            std::thread::sleep(Duration::from_nanos(left - AWAKE));
        }
        while self.now() < time {
            std::hint::spin_loop();
        }
    }
}

/// What ends a trial before its last query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// Queries that take longer than this are late, in nanoseconds.
    pub(crate) bound: u64,
    /// How many may be late.
    pub(crate) late: u64,
    /// The longest time, in nanoseconds.
    pub(crate) limit: u64,
}

/// The moments of `queries` queries in nanoseconds from the beginning, at `rate` a second on average: a Poisson process,
/// whose gaps are exponentially distributed.
pub(crate) fn arrivals(seed: u64, rate: f64, queries: u64) -> Vec<u64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut at = 0.0;
    let next = |_| {
        // 1 - u is never 0.
        at -= (1.0 - random.random::<f64>()).ln();
        (at / rate * 1e9) as u64
    };
    (0..queries).map(next).collect()
}

/// Answers queries that come at `arrivals` after now, and leaves their latencies in `latencies`.
pub(crate) fn serve<C: Clock, E>(
    clock: &mut C,
    arrivals: &[u64],
    ends: Ends,
    mut answer: impl FnMut(&mut C) -> Result<(), E>,
    latencies: &mut Vec<u64>,
) -> Result<(), E> {
    let begun = clock.now();
    let mut late = 0;
    for arrival in arrivals {
        let due = begun.saturating_add(*arrival);
        if due - begun > ends.limit {
            break;
        }
        clock.wait_until(due);
        answer(clock)?;
        let now = clock.now();
        let latency = now.saturating_sub(due).max(1);
        latencies.push(latency);
        late += u64::from(latency > ends.bound);
        if late > ends.late || now - begun > ends.limit {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A clock that goes on only by what is waited for and worked.
    #[derive(Debug, Default)]
    pub(crate) struct Virtual(pub(crate) u64);

    impl Clock for Virtual {
        fn now(&mut self) -> u64 {
            self.0
        }

        fn wait_until(&mut self, time: u64) {
            self.0 = self.0.max(time);
        }
    }

    pub(crate) const UNENDING: Ends = Ends {
        bound: u64::MAX,
        late: u64::MAX,
        limit: u64::MAX,
    };

    /// The latencies where the inference of each number takes `time`.
    pub(crate) fn latencies(arrivals: &[u64], ends: Ends, mut time: impl FnMut(u64) -> u64) -> Vec<u64> {
        let (mut latencies, mut number) = (Vec::new(), 0);
        let answer = |clock: &mut Virtual| {
            number += 1;
            clock.0 += time(number);
            Ok::<(), Infallible>(())
        };
        let Ok(()) = serve(&mut Virtual(5), arrivals, ends, answer, &mut latencies);
        latencies
    }

    fn p99(mut nanos: Vec<u64>) -> u64 {
        nanos.sort_unstable();
        nanos[(nanos.len() * 99).div_ceil(100) - 1]
    }

    #[test]
    fn latency_counts_from_the_scheduled_arrival() {
        assert_eq!(latencies(&[0, 10, 20, 100], UNENDING, |_| 30), [30, 50, 70, 30]);
    }

    #[test]
    fn arrivals_are_a_poisson_process_of_the_rate() {
        let arrivals = arrivals(1, 500.0, 100_000);
        let gaps: Vec<f64> = arrivals
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as f64 / 1e6)
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // An exponential distribution's deviation is its mean, here 2 ms.
        assert!(
            (mean - 2.0).abs() < 0.03 && (variance.sqrt() - 2.0).abs() < 0.03,
            "{mean} {variance}"
        );
        assert_eq!(arrivals[..3], super::arrivals(1, 500.0, 3)[..]);
        assert_ne!(arrivals[..3], super::arrivals(2, 500.0, 3)[..]);
    }

    /// Inferences of 1 ms, of which every 500th takes 100 ms longer.
    #[test]
    fn a_stall_appears_in_the_tail_which_a_closed_loop_hides() {
        let time = |number: u64| {
            if number.is_multiple_of(500) {
                101_000_000
            } else {
                1_000_000
            }
        };
        // One after the other: the 500th part of all is in no P99.
        assert_eq!(p99((1..=10_000).map(time).collect()), 1_000_000);
        // 200 queries a second: some twenty come during each stall.
        let open = p99(latencies(&arrivals(3, 200.0, 10_000), UNENDING, time));
        assert!((80_000_000..=101_000_000).contains(&open), "{open}");
    }

    #[test]
    fn overload_ends_a_trial_early_and_so_does_its_limit() {
        let arrivals: Vec<u64> = (0..1_000).map(|number| number * 10).collect();
        let ends = Ends {
            bound: 100,
            late: 10,
            ..UNENDING
        };
        // Each takes twice the gap, so the 10th is the first that is late, at 110, and ten may be.
        assert_eq!(latencies(&arrivals, ends, |_| 20).len(), 20);
        let ends = Ends {
            limit: 100,
            ..UNENDING
        };
        assert_eq!(latencies(&arrivals, ends, |_| 5).len(), 11);
    }
}
