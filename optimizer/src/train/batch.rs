//! Batches of samples: their order and how they are varied.

use edgefront_runtimes::Tensor;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::options::Augment;
use super::program::refused;
use crate::calibrate::{Samples, read};
use crate::error::Error;

/// Samples that run at once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Batch {
    /// Extents and elements, one an input.
    pub(super) inputs: Vec<(Vec<usize>, Vec<f32>)>,
    pub(super) labels: Vec<usize>,
}

impl Batch {
    /// The extents of the inputs.
    pub(super) fn extents(&self) -> Vec<Vec<usize>> {
        self.inputs.iter().map(|(extents, _)| extents.clone()).collect()
    }
}

/// The samples of one epoch in their order. Seed and epoch alone decide it, so that training can go on anywhere.
pub(super) struct Epoch {
    order: Vec<usize>,
    seed: u64,
    augment: Augment,
}

impl Epoch {
    /// All samples in a random order.
    pub(super) fn shuffled(samples: usize, seed: u64, number: usize, augment: Augment) -> Self {
        // Streams of one seed do not overlap.
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number as u64);
        let mut order: Vec<usize> = (0..samples).collect();
        order.shuffle(&mut random);
        Self {
            order,
            seed: random.random(),
            augment,
        }
    }

    /// All samples as they lie and as they are.
    pub(super) fn in_order(samples: usize) -> Self {
        Self {
            order: (0..samples).collect(),
            seed: 0,
            augment: Augment::default(),
        }
    }

    /// The samples at these places of the order.
    pub(super) fn batch(&self, data: &dyn Samples, places: std::ops::Range<usize>) -> Result<Batch, Error> {
        let rows: Vec<Vec<Tensor>> = places
            .clone()
            .into_par_iter()
            .map(|place| {
                let mut random = ChaCha8Rng::seed_from_u64(self.seed);
                random.set_stream(place as u64);
                let sample = read(data, self.order[place])?;
                let varied = sample
                    .into_iter()
                    .map(|tensor| vary(tensor, self.augment, &mut random));
                Ok(varied.collect())
            })
            .collect::<Result<_, Error>>()?;
        let labels: Option<Vec<usize>> = self.order[places]
            .iter()
            .map(|&index| data.class(index))
            .collect();
        let count = rows.first().map_or(0, Vec::len);
        let inputs: Option<Vec<_>> = (0..count).map(|input| join(&rows, input)).collect();
        match (inputs, labels) {
            (_, None) => Err(refused(
                "a sample has no label; every one needs a class to train on",
            )),
            (Some(inputs), Some(labels)) if rows.iter().all(|row| row.len() == count) => {
                Ok(Batch { inputs, labels })
            }
            _ => Err(refused(
                "samples differ in shape or are not float32; make them alike",
            )),
        }
    }
}

/// One input of all samples, joined along the batch axis; `None` where they do not fit.
fn join(rows: &[Vec<Tensor>], input: usize) -> Option<(Vec<usize>, Vec<f32>)> {
    let mut shape = rows.first()?.get(input)?.shape().to_vec();
    let mut values = Vec::new();
    for row in rows {
        let tensor = row.get(input)?;
        if tensor.shape() != shape || shape.first() != Some(&1) {
            return None;
        }
        values.extend_from_slice(tensor.as_f32()?);
    }
    *shape.first_mut()? = rows.len();
    Some((shape, values))
}

/// Mirrors and moves a picture `[1, C, H, W]`. Each call draws the same numbers, whatever the options.
fn vary(tensor: Tensor, augment: Augment, random: &mut ChaCha8Rng) -> Tensor {
    let mirrored = random.random::<bool>() && augment.flip;
    let most = augment.shift as i64;
    let (down, right) = (
        random.random_range(-most..=most),
        random.random_range(-most..=most),
    );
    let &[1, channels, height, width] = tensor.shape() else {
        return tensor;
    };
    if !mirrored && (down, right) == (0, 0) {
        return tensor;
    }
    let Some(values) = tensor.as_f32() else {
        return tensor;
    };
    let mut varied = vec![0.0; values.len()];
    for (index, to) in varied.chunks_mut(width.max(1)).enumerate() {
        let (channel, row) = (index / height, index % height);
        let Some(from) = row.checked_add_signed(-down as isize).filter(|&row| row < height) else {
            continue;
        };
        let from = &values[(channel * height + from) * width..][..width];
        for (column, to) in to.iter_mut().enumerate() {
            let Some(column) = column
                .checked_add_signed(-right as isize)
                .filter(|&column| column < width)
            else {
                continue;
            };
            *to = from[if mirrored { width - 1 - column } else { column }];
        }
    }
    Tensor::new(
        vec![1, channels, height, width],
        edgefront_runtimes::Data::F32(varied),
    )
    .expect("it has as many elements as before")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use edgefront_runtimes::Data;

    use super::*;
    use crate::calibrate::Samples;

    struct Numbered(usize);

    impl Samples for Numbered {
        fn len(&self) -> usize {
            self.0
        }

        fn sample(&self, index: usize) -> std::io::Result<Vec<Tensor>> {
            let values = (0..6).map(|at| (index * 6 + at) as f32 + 1.0).collect();
            Ok(vec![Tensor::new(vec![1, 1, 2, 3], Data::F32(values)).unwrap()])
        }

        fn class(&self, index: usize) -> Option<usize> {
            Some(index)
        }
    }

    fn epoch(seed: u64, number: usize) -> Vec<usize> {
        let epoch = Epoch::shuffled(20, seed, number, Augment::default());
        epoch.batch(&Numbered(20), 0..20).unwrap().labels
    }

    #[test]
    fn an_epoch_has_every_sample_once_in_an_order_of_its_own() {
        let mut sorted = epoch(1, 0);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<_>>());
        assert_eq!(epoch(1, 0), epoch(1, 0));
        assert_ne!(epoch(1, 0), epoch(1, 1));
        assert_ne!(epoch(1, 0), epoch(2, 0));
    }

    #[test]
    fn pictures_are_mirrored_and_moved_within_bounds() {
        let augment = Augment { flip: true, shift: 1 };
        let picture = Numbered(1).sample(0).unwrap().remove(0);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let varied = vary(picture.clone(), augment, &mut random);
            let values = varied.as_f32().unwrap();
            seen.insert(values.iter().map(|value| *value as u32).collect::<Vec<_>>());
        }
        assert_eq!(seen.len(), 18, "2 mirrored x 3 down x 3 right");
        assert!(seen.contains(&vec![3, 2, 1, 6, 5, 4]) && seen.contains(&vec![0, 0, 0, 0, 1, 2]));
    }
}
