//! Observing the activations of a model.

use std::collections::HashMap;

use rayon::prelude::*;

use super::means::Means;
use super::observer::{Method, Observer};
use super::run::{Part, Seen, Source, each_batch};
use super::{Calibration, Derived, Extremes, NotFinite};
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

/// The statistics over the samples of `values` and of those that follow from them, by each of the methods. What a
/// derived value follows from is one of `values` or stands before it.
pub fn observe(
    model: &Model,
    values: &[String],
    derived: &[Derived],
    calibration: &Calibration,
) -> Result<Vec<Statistics>, Error> {
    let total = calibration.samples.len();
    let source = Source {
        samples: calibration.samples,
        total: calibration.limit.map_or(total, |limit| limit.min(total)),
        runtimes: calibration.runtimes,
        threads: calibration.threads,
    };
    let mut observed: Vec<Observed<'_>> = values
        .iter()
        .map(|value| Observed {
            value,
            observer: Observer::new(calibration.methods),
            means: calibration.means.contains(value).then(Means::default),
        })
        .collect();
    each_batch(model, values, &source, |part, seen| {
        // One at a time, because the first few hold most of the elements.
        observed
            .par_iter_mut()
            .with_max_len(1)
            .try_for_each(|value| value.add(part, seen))?;
        (calibration.progress)(part.samples.end, source.total);
        Ok(())
    })?;
    let mut places: HashMap<&str, usize> = (0..observed.len())
        .map(|place| (observed[place].value, place))
        .collect();
    for Derived { value, origin } in derived {
        let known = |value: &str| &observed[places[value]].observer;
        let followed = Observer::of(origin, known);
        places.insert(value, observed.len());
        observed.push(Observed {
            value,
            observer: followed,
            means: None,
        });
    }
    let by_method = |&method| statistics(&observed, method, calibration);
    Ok(calibration.methods.iter().map(by_method).collect())
}

/// An activation and what is kept of it.
struct Observed<'a> {
    value: &'a str,
    observer: Observer,
    means: Option<Means>,
}

impl Observed<'_> {
    fn add(&mut self, part: &Part, seen: &Seen<'_>) -> Result<(), Error> {
        let floats = part.floats(self.value, seen)?;
        let added = self.observer.add(floats);
        added.map_err(|NotFinite| part.not_finite(self.value))?;
        if let Some(means) = &mut self.means {
            means.add(&seen[self.value].shape, floats);
        }
        Ok(())
    }
}

fn statistics(observed: &[Observed<'_>], method: Method, calibration: &Calibration) -> Statistics {
    let Calibration { percentile, step, .. } = calibration;
    let range = |Observed { value, observer, .. }: &Observed<'_>| {
        ((*value).to_owned(), observer.range(method, *percentile, step))
    };
    let means = observed
        .iter()
        .filter_map(|Observed { value, means, .. }| Some(((*value).to_owned(), means.as_ref()?.finish())));
    Statistics {
        ranges: observed.par_iter().map(range).collect(),
        means: means.collect(),
    }
}
