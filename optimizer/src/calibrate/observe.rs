//! Observing the activations of a model.

use std::collections::HashMap;

use rayon::prelude::*;

use super::means::Means;
use super::observer::Observer;
use super::run::{Source, each_batch};
use super::{Calibration, Extremes};
use crate::error::Error;
use crate::model::Model;

/// What is known of activations after calibration, by name.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    /// The range to cover.
    pub ranges: HashMap<String, Extremes>,
    /// The mean of each channel, axis 1, of those values for which it was asked.
    pub means: HashMap<String, Vec<f32>>,
}

/// The statistics of each of `values` over the samples.
pub fn observe(model: &Model, values: &[String], calibration: &Calibration) -> Result<Statistics, Error> {
    let total = calibration.samples.len();
    let source = Source {
        samples: calibration.samples,
        total: calibration.limit.map_or(total, |limit| limit.min(total)),
        runtimes: calibration.runtimes,
        threads: calibration.threads,
    };
    let mut observers: Vec<(&String, Observer)> = values
        .iter()
        .map(|value| (value, Observer::new(calibration.method)))
        .collect();
    let mut means: HashMap<String, Means> = HashMap::new();
    each_batch(model, values, &source, |part, seen| {
        observers.par_iter_mut().try_for_each(|(value, observer)| {
            observer.add(part.floats(value, &seen[*value])?);
            Ok::<(), Error>(())
        })?;
        for value in values.iter().filter(|value| calibration.means.contains(*value)) {
            let tensor = &seen[value];
            let of_value = means.entry(value.clone()).or_default();
            of_value.add(tensor.shape(), part.floats(value, tensor)?);
        }
        (calibration.progress)(part.samples.end, source.total);
        Ok(())
    })?;
    let Calibration { percentile, step, .. } = calibration;
    let chosen = observers
        .into_par_iter()
        .map(|(value, observer)| (value.clone(), observer.range(*percentile, step)));
    Ok(Statistics {
        ranges: chosen.collect(),
        means: means
            .into_iter()
            .map(|(value, means)| (value, means.finish()))
            .collect(),
    })
}
