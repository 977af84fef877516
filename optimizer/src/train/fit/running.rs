//! The running statistics of batch normalizations.

use std::sync::Arc;

use burn_backend::TensorMetadata as _;

use super::Fit;
use crate::error::Error;
use crate::train::batch::Epoch;
use crate::train::kernels::{Kernels, Statistics};
use crate::train::run::{Mode, Seen};

/// Samples over which statistics are taken at once.
const OBSERVED: usize = 512;

/// Samples of one batch among them, where those of a step are too few.
const TOGETHER: usize = 64;

/// Running statistics are mostly those of the last ten steps. Of steps of fewer samples they say too little.
const FEW: usize = 32;

/// What keeps a batch normalization from dividing by zero, by default of the operator.
const EPSILON: f32 = 1e-5;

/// Of one batch normalization, over many samples.
struct Taken {
    /// Scale, shift, mean and variance among the parameters.
    parameters: [usize; 4],
    means: Vec<f32>,
    variances: Vec<f32>,
}

impl<B: Kernels> Fit<'_, B> {
    /// Moves the running statistics of a batch normalization towards those of a batch.
    pub(super) fn collect(&mut self, seen: Seen<B>) {
        let [_, _, mean, variance] = seen.parameters;
        let (kept, new) = (seen.momentum, 1.0 - seen.momentum);
        for (index, seen) in [(mean, seen.statistics.mean), (variance, seen.statistics.variance)] {
            let running = B::float_mul_scalar(self.values[index].clone(), kept.into());
            self.values[index] = B::float_add(running, B::float_mul_scalar(seen, new.into()));
        }
    }

    /// Gives batch normalizations that change nothing the statistics of what they see, as mean and variance and as
    /// shift and scale, so that they still change nothing but can be trained.
    pub(in crate::train) fn adopt_statistics(&mut self) -> Result<(), Error> {
        for taken in self.taken(self.batch(), Mode::Observe)? {
            let scales = taken.variances.iter().map(|variance| (variance + EPSILON).sqrt());
            let [scale, shift, ..] = taken.parameters;
            self.values[scale] = self.loaded.parameter(scale, scales.collect());
            self.values[shift] = self.loaded.parameter(shift, taken.means.clone());
            self.set_statistics(taken);
        }
        Ok(())
    }

    /// Takes the statistics anew where those of the steps were of too few samples.
    ///
    /// Source: Wu and Johnson, "Rethinking `Batch` in `BatchNorm`", 2021, section 3.
    pub(in crate::train) fn renew_statistics(&mut self) -> Result<(), Error> {
        if self.batch() >= FEW {
            return Ok(());
        }
        for taken in self.taken(TOGETHER.min(self.data.len()), Mode::Train)? {
            self.set_statistics(taken);
        }
        Ok(())
    }

    fn set_statistics(&mut self, taken: Taken) {
        let [_, _, mean, variance] = taken.parameters;
        self.values[mean] = self.loaded.parameter(mean, taken.means);
        self.values[variance] = self.loaded.parameter(variance, taken.variances);
    }

    /// The statistics over [`OBSERVED`] samples, in batches.
    fn taken(&mut self, batch: usize, mode: Mode) -> Result<Vec<Taken>, Error> {
        let epoch = Epoch::in_order(self.data.len());
        let count = (OBSERVED / batch).clamp(1, self.data.len() / batch);
        let mut sums: Vec<([usize; 4], Vec<f32>, Vec<f32>)> = Vec::new();
        for step in 0..count {
            let pool = Arc::clone(&self.pool);
            let part = pool.install(|| epoch.batch(self.data, step * batch..(step + 1) * batch))?;
            let seen = B::compute(&pool, || {
                let outcome = self.run(part.inputs, part.labels.len(), mode)?;
                Ok::<_, Error>(outcome.seen)
            })?;
            if sums.is_empty() {
                let empty = |seen: &Seen<B>| {
                    let zeros = vec![0.0; seen.statistics.mean.shape().num_elements()];
                    (seen.parameters, zeros.clone(), zeros)
                };
                sums = seen.iter().map(empty).collect();
            }
            for ((_, means, squares), seen) in sums.iter_mut().zip(seen) {
                let Statistics { mean, variance } = seen.statistics;
                let (mean, variance) = (B::download(&mean)?, B::download(&variance)?);
                let channels = means.iter_mut().zip(squares).zip(mean.into_iter().zip(variance));
                for ((sum, square), (mean, variance)) in channels {
                    *sum += mean / count as f32;
                    *square += (variance + mean * mean) / count as f32;
                }
            }
        }
        let of_all = |(parameters, means, squares): ([usize; 4], Vec<f32>, Vec<f32>)| {
            let pairs = means.iter().zip(&squares);
            let variances = pairs.map(|(mean, square)| (square - mean * mean).max(0.0));
            Taken {
                parameters,
                variances: variances.collect(),
                means,
            }
        };
        Ok(sums.into_iter().map(of_all).collect())
    }
}
