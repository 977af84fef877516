//! When a model is warm: its runs no longer become faster.

use std::collections::VecDeque;

/// Runs in each of the two windows that are compared.
const WINDOW: usize = 5;
/// Medians that differ by no more than one part in this are equal.
const TOLERANCE: u64 = 20;
/// The clock's own scatter, in nanoseconds.
const CLOCK_NANOS: u64 = 200;

/// The latest runs of a warm-up.
#[derive(Debug, Default)]
pub(crate) struct Steadiness {
    recent: VecDeque<u64>,
}

impl Steadiness {
    /// Runs that tell whether they are steady.
    pub(crate) const RUNS: u64 = 2 * WINDOW as u64;

    /// Takes the latency of the latest run, in nanoseconds.
    pub(crate) fn record(&mut self, nanos: u64) {
        if self.recent.len() == 2 * WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(nanos);
    }

    /// The median of the latest runs, in nanoseconds; `None` before the first.
    pub(crate) fn median(&self) -> Option<u64> {
        let mut recent: Vec<u64> = self.recent.iter().copied().collect();
        recent.sort_unstable();
        recent.get(recent.len() / 2).copied()
    }

    /// Whether the median of the last five runs is within 5 % of that of the five before.
    pub(crate) fn is_reached(&self) -> bool {
        if self.recent.len() < 2 * WINDOW {
            return false;
        }
        let median = |from: usize| {
            let mut window: Vec<u64> = self.recent.iter().skip(from).take(WINDOW).copied().collect();
            window.sort_unstable();
            window[WINDOW / 2]
        };
        let (before, last) = (median(0), median(WINDOW));
        before.abs_diff(last) <= (before / TOLERANCE).max(CLOCK_NANOS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached_after(nanos: impl IntoIterator<Item = u64>) -> Option<usize> {
        let mut steadiness = Steadiness::default();
        nanos.into_iter().enumerate().find_map(|(index, nanos)| {
            steadiness.record(nanos);
            steadiness.is_reached().then_some(index + 1)
        })
    }

    #[test]
    fn equal_runs_are_steady_as_soon_as_there_are_enough() {
        assert_eq!(reached_after([1_000_000; 20]), Some(10));
    }

    #[test]
    fn runs_that_become_faster_are_not() {
        assert_eq!(reached_after((0..30).map(|i| 1_000_000 - i * 20_000)), None);
    }

    #[test]
    fn they_become_steady_once_they_no_longer_do() {
        let cold = [9_000_000, 7_000_000, 5_000_000, 4_000_000];
        assert_eq!(reached_after(cold.into_iter().chain([1_000_000; 20])), Some(12));
    }

    #[test]
    fn one_outlier_in_each_window_does_not_matter() {
        let mut runs = [1_000_000; 10];
        (runs[1], runs[7]) = (80_000_000, 30_000_000);
        assert_eq!(reached_after(runs), Some(10));
    }
}
