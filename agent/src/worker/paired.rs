//! How far a model's top-1 is from a reference's on a pack, while pictures are drawn from it in random order; free of I/O.
//!
//! Of a picture `d` is 1 where the model alone is right, -1 where the reference alone is, else 0; sought is the mean of
//! `d` over the pack. After each picture there is an interval that holds it, with a chance of 95 % for all of
//! these intervals together, so that looking after every picture and stopping when the interval is narrow costs nothing: a *confidence
//! sequence*. It is the predictable plug-in empirical-Bernstein sequence for drawing without replacement of
//! I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting", Journal of the Royal
//! Statistical Society B 86 (2024), 1. With `x = (d + 1) / 2` of picture `i` of `N`, and weights `l_i` that depend on what came
//! before, the mean of `x` is within
//!
//! ```text
//! sum l_i (x_i + S_(i-1) / (N - i + 1))  ±  (ln(2 / 0.05) + sum (x_i - m_(i-1))^2 (-ln(1 - l_i) - l_i))
//! ------------------------------------------------------------------------------------------------------
//!                         sum l_i (1 + (i - 1) / (N - i + 1))
//! ```
//!
//! where `S` is the sum and `m` the mean of what came before. What is certain is used as well: of the pictures that are still to come, those that
//! the reference has right cannot raise the mean, and the others cannot lower it. At the end of the pack the interval has no width.

/// The chance that the mean is ever outside.
const OUTSIDE: f64 = 0.05;
/// Weights are no larger, for the bound grows without limit towards 1.
const MOST_WEIGHT: f64 = 0.75;

/// What is known after some pictures.
#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    /// Pictures of the pack.
    all: f64,
    /// Those to come that the reference has right, and wrong.
    to_come: [f64; 2],
    seen: f64,
    /// Of `x`: the sum, and the sum of the squares of its distance to the mean so far.
    sum: f64,
    squares: f64,
    /// The parts of the formula above.
    numerator: f64,
    denominator: f64,
    width: f64,
    /// Of `d`: the intersection of all intervals so far.
    bounds: [f64; 2],
}

impl Sequence {
    /// Of a pack of so many pictures, of which the reference has so many right.
    pub(crate) fn new(pictures: u64, hits: u64) -> Self {
        let (all, hits) = (pictures as f64, hits as f64);
        Self {
            all,
            to_come: [hits, all - hits],
            seen: 0.0,
            sum: 0.0,
            squares: 0.0,
            numerator: 0.0,
            denominator: 0.0,
            width: (2.0 / OUTSIDE).ln(),
            bounds: [-hits / all.max(1.0), (all - hits) / all.max(1.0)],
        }
    }

    /// Takes the next picture: whether the model has it right, and whether the reference has.
    pub(crate) fn take(&mut self, is_hit: bool, was_hit: bool) {
        let difference = f64::from(i8::from(is_hit) - i8::from(was_hit));
        let value = f64::midpoint(difference, 1.0);
        let (mean, weight) = (self.mean(), self.weight());
        let left = self.all - self.seen;
        self.numerator += weight * (value + self.sum / left);
        self.denominator += weight * (1.0 + self.seen / left);
        self.width += (value - mean).powi(2) * (-(-weight).ln_1p() - weight);
        self.seen += 1.0;
        self.sum += value;
        self.squares += (value - self.mean()).powi(2);
        self.to_come[usize::from(!was_hit)] -= 1.0;
        self.narrow();
    }

    /// The mean of `x` so far, with one half that counts as a picture.
    fn mean(&self) -> f64 {
        (0.5 + self.sum) / (self.seen + 1.0)
    }

    /// The weight of the next picture: small where values scatter.
    fn weight(&self) -> f64 {
        let variance = (0.25 + self.squares) / (self.seen + 1.0);
        let next = self.seen + 1.0;
        let weight = (2.0 * (2.0 / OUTSIDE).ln() / (variance * next * next.ln_1p())).sqrt();
        weight.min(MOST_WEIGHT)
    }

    fn narrow(&mut self) {
        let (middle, half) = (self.numerator / self.denominator, self.width / self.denominator);
        let sum = 2.0 * self.sum - self.seen;
        let [right, wrong] = self.to_come;
        let certain = [(sum - right) / self.all, (sum + wrong) / self.all];
        let [low, high] = &mut self.bounds;
        *low = low.max(2.0 * (middle - half) - 1.0).max(certain[0]);
        *high = high.min(2.0 * (middle + half) - 1.0).min(certain[1]);
        // In one of twenty packs the intervals do not meet; the certain one is left then.
        if low > high {
            [*low, *high] = certain;
        }
    }

    /// The interval of the difference of the model's top-1 to the reference's, over the whole pack.
    pub(crate) fn bounds(&self) -> [f64; 2] {
        self.bounds
    }

    /// How far the difference on the whole pack may be from that on the pictures so far.
    pub(crate) fn doubt(&self) -> f64 {
        let so_far = (2.0 * self.sum - self.seen) / self.seen.max(1.0);
        let [low, high] = self.bounds;
        (so_far - low).max(high - so_far)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::seq::SliceRandom as _;
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// A pack in random order, as the hits of the model and of the reference, and the true difference.
    fn pack(rng: &mut ChaCha8Rng, pictures: usize, lost: f64, won: f64) -> (Vec<(bool, bool)>, f64) {
        let one = |rng: &mut ChaCha8Rng| {
            let was_hit = rng.random_bool(0.8);
            let flips = rng.random_bool(if was_hit { lost } else { won });
            (was_hit != flips, was_hit)
        };
        let mut all: Vec<(bool, bool)> = (0..pictures).map(|_| one(rng)).collect();
        all.shuffle(rng);
        let sum: i64 = all.iter().map(|(is, was)| i64::from(*is) - i64::from(*was)).sum();
        (all, sum as f64 / pictures as f64)
    }

    fn sequence(pack: &[(bool, bool)]) -> Sequence {
        let hits = pack.iter().filter(|(_, was_hit)| *was_hit).count();
        Sequence::new(pack.len() as u64, hits as u64)
    }

    #[test]
    fn the_truth_is_in_all_intervals_of_nearly_all_packs() {
        for (lost, won) in [(0.0, 0.0), (0.02, 0.05), (0.1, 0.02), (0.5, 0.5)] {
            let missed = (0..200).filter(|&seed| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let (pack, truth) = pack(&mut rng, 1_000, lost, won);
                let mut sequence = sequence(&pack);
                pack.iter().any(|&(is_hit, was_hit)| {
                    sequence.take(is_hit, was_hit);
                    let [low, high] = sequence.bounds();
                    truth < low - 1e-9 || truth > high + 1e-9
                })
            });
            let missed = missed.count();
            assert!(missed <= 10, "{missed} of 200 with {lost} lost and {won} won");
        }
    }

    #[test]
    fn a_large_pack_is_known_by_a_part_of_it() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (pack, truth) = pack(&mut rng, 50_000, 0.03, 0.03);
        let mut sequence = sequence(&pack);
        let needed = pack.iter().position(|&(is_hit, was_hit)| {
            sequence.take(is_hit, was_hit);
            sequence.doubt() <= 0.01
        });
        let needed = needed.unwrap();
        assert!((1_000..6_000).contains(&needed), "{needed}");
        let [low, high] = sequence.bounds();
        assert!((low..=high).contains(&truth));
    }

    proptest! {
        #[test]
        fn at_the_end_the_difference_is_what_it_is(seed: u64, pictures in 1..300usize, lost in 0.0..1.0f64, won in 0.0..1.0f64) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (pack, truth) = pack(&mut rng, pictures, lost, won);
            let mut sequence = sequence(&pack);
            let mut doubt = f64::INFINITY;
            for &(is_hit, was_hit) in &pack {
                sequence.take(is_hit, was_hit);
                let [low, high] = sequence.bounds();
                prop_assert!((-1.0..=1.0).contains(&low) && (-1.0..=1.0).contains(&high) && low <= high);
                doubt = sequence.doubt();
            }
            prop_assert!(doubt < 1e-9);
            prop_assert!((sequence.bounds()[0] - truth).abs() < 1e-9);
        }
    }
}
