//! 95 % intervals of percentiles and of the mean that hold between the parts of a measurement ([`blocks`](super::blocks)).

use edgefront_protocol::outcome::PERCENTILES;
use edgefront_stats::{t_within, t95};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::blocks::Block;
use super::{Samples, order};

/// Seed of the bootstrap, so that the same samples always give the same interval.
pub const BOOTSTRAP_SEED: u64 = 0;
/// Resamples of the bootstrap.
const RESAMPLES: usize = 2_000;
/// Fewest parts that are drawn from.
const FEWEST_BLOCKS: usize = 5;
/// The least standard error of a draw, as a share of that of the sample.
const LEAST_ERROR: f64 = 1.0 / 3.0;

/// 97.5 % quantile of the normal distribution.
const Z95: f64 = 1.959_964;

/// The 95 % interval of the percentile with this index of [`PERCENTILES`], in nanoseconds; `None` where the runs do not
/// reach it.
///
/// It is the wider, at each end, of
/// - the interval by order statistics, for so many independent runs as the parts show theirs to be worth
///   (see `effective_runs`);
/// - the percentile, moved by Student's interval of the logarithms of the parts' medians, as if a part were slower as a
///   whole. Of few parts it is the wider one.
///
/// The median has an interval where only the second is there, with the order statistics of all runs.
pub fn percentile(samples: &Samples, blocks: &[Block], index: usize) -> Option<[f64; 2]> {
    let p = PERCENTILES[index];
    let count = samples.count();
    let at = samples.at(p);
    let of_ranks = |effective: f64| order::interval_ranks(p, effective, count);
    let is_median = index == 0;
    let (low, high) = of_ranks(effective_runs(blocks, index, count as f64))
        .or_else(|| is_median.then(|| of_ranks(count as f64)).flatten())?;
    let [low, high] = [low, high].map(|rank| samples.at_rank(rank).0 as f64);
    let factor = half_width_of_medians(blocks).unwrap_or_default().exp();
    let value = at.0 as f64;
    Some([low.min(value / factor), high.max(value * factor)])
}

/// The number of independent runs that say as much of the percentile: `q (1 - q) / V`, where `q` is the share of runs not
/// above it and `V` its variance between `K` parts, `K / (K - 1) sum (b_k - q n_k)^2 / n^2` with `b_k` of a part's `n_k`
/// runs not above it (Kish, Survey Sampling, 1965, section 8.2: the design effect is `n` over this number). `V` is known
/// from few parts only. For the median the number is taken times `(1.96 / t_{K-1})^2` for that (Korn and Graubard, 1998).
/// Higher percentiles are told only where their number is large, which happens by chance, too, so for them `V` is
/// taken as large as it is with a confidence of 90 %. At most all runs.
fn effective_runs(blocks: &[Block], index: usize, runs: f64) -> f64 {
    let Some(freedom) = blocks.len().checked_sub(1).filter(|freedom| *freedom > 0) else {
        return runs;
    };
    let total: f64 = blocks.iter().map(|block| block.runs).sum();
    let share = blocks.iter().map(|block| block.below[index]).sum::<f64>() / total;
    let deviations = blocks
        .iter()
        .map(|block| (block.below[index] - share * block.runs).powi(2));
    let count = blocks.len() as f64;
    let variance = count / freedom as f64 * deviations.sum::<f64>() / (total * total);
    let independent = share * (1.0 - share) / variance;
    // Where no two parts differ, or all runs are alike, nothing shows that they are not independent.
    let independent = if independent.is_finite() {
        independent
    } else {
        runs
    };
    let certain = if index == 0 {
        (Z95 / t95(freedom as u32)).powi(2)
    } else {
        low_chi_square(freedom as f64) / freedom as f64
    };
    (independent * certain).min(runs)
}

/// The 10 % quantile of chi square (Wilson and Hilferty, PNAS 17 (1931)), within 1 % from four degrees of freedom on.
fn low_chi_square(freedom: f64) -> f64 {
    const Z10: f64 = -1.281_552;
    let ninth = 2.0 / (9.0 * freedom);
    freedom * (1.0 - ninth + Z10 * ninth.sqrt()).max(0.0).powi(3)
}

/// Half of Student's 95 % interval of the mean of the logarithms of the parts' medians; `None` for fewer than two parts.
fn half_width_of_medians(blocks: &[Block]) -> Option<f64> {
    let freedom = blocks.len().checked_sub(1).filter(|freedom| *freedom > 0)?;
    let logs: Vec<f64> = blocks.iter().map(|block| block.log_median).collect();
    let count = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / count;
    let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
    Some(t95(freedom as u32) * (squares / (freedom as f64 * count)).sqrt())
}

/// The 95 % interval of the mean latency in nanoseconds; `None` for fewer than five parts.
///
/// The mean is the ratio of summed latencies and runs. Parts are drawn with replacement, each as a whole, so that what
/// follows one another in them stays so (the block bootstrap: Künsch, Annals of Statistics 17 (1989), for blocks that do
/// not overlap Carlstein, 14 (1986)); of each draw the ratio is set in relation to its own standard error (bootstrap-t:
/// Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5), for else ten parts give too narrow an
/// interval. A draw's standard error is taken as at least a third of the sample's. The wider of this and Student's
/// interval of the ratio (Cochran, Sampling Techniques, 6.4) is taken at each end.
pub fn mean(blocks: &[Block]) -> Option<[f64; 2]> {
    if blocks.len() < FEWEST_BLOCKS {
        return None;
    }
    let (ratio, error) = ratio(blocks.iter());
    let mut random = ChaCha8Rng::seed_from_u64(BOOTSTRAP_SEED);
    let mut scores: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn: Vec<&Block> = (0..blocks.len())
                .map(|_| &blocks[random.random_range(0..blocks.len())])
                .collect();
            let (of_draw, its_error) = self::ratio(drawn.into_iter());
            // Draws that lack the one slow part, or hold one part alone, would have next to no error.
            let its_error = its_error.max(error * LEAST_ERROR);
            if its_error > 0.0 {
                (of_draw - ratio) / its_error
            } else {
                0.0
            }
        })
        .collect();
    scores.sort_by(f64::total_cmp);
    let [low, high] = [0.025, 0.975].map(|share| scores[(share * (RESAMPLES - 1) as f64).round() as usize]);
    let t = t_within(0.95, (blocks.len() - 1) as f64);
    Some([ratio - high.max(t) * error, ratio + (-low).max(t) * error])
}

/// Summed latencies over summed runs, and the standard error of that between the parts.
fn ratio<'a>(blocks: impl Iterator<Item = &'a Block> + Clone) -> (f64, f64) {
    let sum = |figure: fn(&Block) -> f64| blocks.clone().map(figure).sum::<f64>();
    let (total, runs, count) = (sum(|b| b.total), sum(|b| b.runs), sum(|_| 1.0));
    let ratio = total / runs;
    let squares: f64 = blocks
        .map(|block| (block.total - ratio * block.runs).powi(2))
        .sum();
    (ratio, (count / (count - 1.0) * squares).sqrt() / runs)
}

#[cfg(test)]
#[path = "intervals_tests.rs"]
mod tests;
