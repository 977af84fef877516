//! Figures that an axis leaves out: one far below all others would press those into a line.

/// A record's figure on an axis where more is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figure {
    pub(super) value: f64,
    /// Ends of what the axis shows of it: its confidence interval.
    pub(super) low: f64,
    pub(super) high: f64,
    /// Whether it must be shown: it is on the frontier.
    pub(super) kept: bool,
}

/// The lowest value that the axis shows; of all figures at most a quarter lie below, each further from the rest
/// than three times what the rest spans.
pub(super) fn floor(figures: &[Figure]) -> Option<f64> {
    const FAR: f64 = 3.0;
    const SHARE: usize = 4;
    let mut rising = figures.to_vec();
    rising.sort_by(|a, b| a.value.total_cmp(&b.value));
    let is_far = |count: &usize| {
        let (below, rest) = rising.split_at(*count);
        let low = rest.iter().map(|figure| figure.low).fold(f64::INFINITY, f64::min);
        let high = rest
            .iter()
            .map(|figure| figure.high)
            .fold(f64::NEG_INFINITY, f64::max);
        let nearest = below
            .iter()
            .map(|figure| figure.high)
            .fold(f64::NEG_INFINITY, f64::max);
        below.iter().all(|figure| !figure.kept) && low - nearest > FAR * (high - low)
    };
    let count = (1..=rising.len() / SHARE).rev().find(is_far)?;
    Some(rising[count].value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(values: &[f64]) -> Vec<Figure> {
        let figure = |value: &f64| Figure {
            value: *value,
            low: value - 1.0,
            high: value + 1.0,
            kept: *value > 96.0,
        };
        values.iter().map(figure).collect()
    }

    #[test]
    fn what_lies_far_below_is_left_out() {
        let two = figures(&[94.7, 11.4, 94.8, 34.1, 94.5, 96.6, 94.7, 94.6]);
        assert_eq!(floor(&two), Some(94.5));
    }

    #[test]
    fn a_spread_a_gap_that_is_small_and_too_many_are_shown() {
        for values in [
            &[50.0, 60.0, 70.0, 80.0, 90.0][..],
            &[86.6, 93.4, 93.4, 93.5, 93.4],
            &[11.0, 12.0, 94.0, 95.0, 96.0],
            &[94.0, 94.0],
            &[],
        ] {
            assert_eq!(floor(&figures(values)), None, "{values:?}");
        }
    }

    #[test]
    fn the_frontier_is_shown_wherever_it_lies() {
        let mut figures = figures(&[11.4, 94.7, 94.8, 94.5]);
        assert!(floor(&figures).is_some());
        figures[0].kept = true;
        assert_eq!(floor(&figures), None);
    }
}
