//! The search for the highest rate that keeps a bound, free of I/O.

/// Rates nearer to each other than this share are one.
const RESOLUTION: f64 = 0.01;
/// Most trials.
const MOST: u32 = 24;
/// Steps to higher rates while none failed.
const GROWTH: f64 = 1.5;
/// A part of the first rate below which no rate is tried.
const LEAST: f64 = 1.0 / 64.0;

/// What is known of the rates so far. A higher rate is no better than a lower one, so every rate up to `kept` is taken to
/// keep the bound, and every one from `failed` on to fail it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Search {
    first: f64,
    kept: Option<f64>,
    failed: Option<f64>,
    trials: u32,
}

impl Search {
    /// Begins at half the rate of a device that is never idle, at `per_second` queries.
    pub(super) fn new(per_second: f64) -> Self {
        Self {
            first: per_second / 2.0,
            kept: None,
            failed: None,
            trials: 0,
        }
    }

    /// The rate to try next; `None` where the search is over.
    pub(super) fn next(&self) -> Option<f64> {
        if self.trials == MOST {
            return None;
        }
        match (self.kept, self.failed) {
            (None, None) => Some(self.first),
            (Some(kept), None) => Some(kept * GROWTH),
            (None, Some(failed)) => Some(failed / 2.0).filter(|rate| *rate >= self.first * LEAST),
            (Some(kept), Some(failed)) => {
                let is_open = failed - kept > failed * RESOLUTION;
                is_open.then_some(f64::midpoint(kept, failed))
            }
        }
    }

    /// Takes whether a rate kept the bound.
    pub(super) fn record(&mut self, rate: f64, kept: bool) {
        self.trials += 1;
        let known = if kept { &mut self.kept } else { &mut self.failed };
        *known = Some(rate);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Searches with an answer to every rate, and returns the trials.
    fn run(search: &mut Search, mut keeps: impl FnMut(f64) -> bool) -> Vec<(f64, bool)> {
        let mut trials = Vec::new();
        while let Some(rate) = search.next() {
            let kept = keeps(rate);
            search.record(rate, kept);
            trials.push((rate, kept));
        }
        trials
    }

    proptest! {
        #[test]
        fn the_threshold_is_found_within_the_resolution(per_second in 1e-3..1e9f64, share in 0.01..3.0f64) {
            let threshold = per_second * share;
            let mut search = Search::new(per_second);
            run(&mut search, |rate| rate <= threshold);
            let found = search.kept.unwrap();
            prop_assert!(found <= threshold && found >= threshold * (1.0 - 1.02 * RESOLUTION), "{found} {threshold}");
        }

        #[test]
        fn it_ends_and_reports_no_rate_that_failed(per_second in 1e-3..1e9f64, answers: u32) {
            let mut search = Search::new(per_second);
            let mut bits = (0..).map(|bit| answers.rotate_right(bit) & 1 == 1);
            let trials = run(&mut search, |_| bits.next().unwrap());
            prop_assert!(trials.len() <= MOST as usize);
            let kept: Vec<f64> = trials.iter().filter(|(_, kept)| *kept).map(|(rate, _)| *rate).collect();
            let failed = trials.iter().filter(|(_, kept)| !kept).map(|(rate, _)| *rate);
            match search.kept {
                Some(found) => {
                    prop_assert!(kept.contains(&found));
                    prop_assert!(failed.fold(f64::INFINITY, f64::min) > found);
                }
                None => prop_assert!(kept.is_empty()),
            }
        }
    }

    #[test]
    fn a_bound_that_no_rate_keeps_is_given_up() {
        let mut search = Search::new(100.0);
        let trials = run(&mut search, |_| false);
        assert_eq!((trials.len(), search.kept), (7, None));
    }
}
