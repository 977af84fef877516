//! Observing the activations of a model.

use std::collections::HashMap;

use rayon::prelude::*;

use super::observer::Observer;
use super::run::{Source, each_batch};
use super::{Calibration, Extremes};
use crate::error::Error;
use crate::model::Model;

/// The range of each of `values` over the samples, by name.
pub fn ranges(
    model: &Model,
    values: &[String],
    calibration: &Calibration,
) -> Result<HashMap<String, Extremes>, Error> {
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
    each_batch(model, values, &source, |part, seen| {
        observers.par_iter_mut().try_for_each(|(value, observer)| {
            observer.add(part.floats(value, &seen[*value])?);
            Ok::<(), Error>(())
        })?;
        (calibration.progress)(part.samples.end, source.total);
        Ok(())
    })?;
    let Calibration {
        percentile,
        floors,
        step,
        ..
    } = calibration;
    let chosen = observers.into_par_iter().map(|(value, observer)| {
        let floor = floors.get(value).copied();
        (value.clone(), observer.raised_to(floor).range(*percentile, step))
    });
    Ok(chosen.collect())
}
