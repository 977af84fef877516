//! How parameters follow their gradients.

use std::f32::consts::PI;

use rayon::prelude::*;

use super::Options;
use super::parameter::{Parameter, Role};

/// The largest step of the logarithm of an activation's scale: 1 %.
///
/// Source: Jain et al., "Trained Quantization Thresholds", 2020, section 5.2, where thresholds are trained by Adam
/// with this rate.
const RANGE_RATE: f32 = 0.01;

/// Decay of Adam's moments, and what keeps it from dividing by zero. Source: Kingma and Ba, "Adam", 2015.
const MOMENTS: (f32, f32) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;

/// Elements that one thread takes at a time.
const CHUNK: usize = 1 << 14;

/// What descent remembers of one parameter between steps: the velocity of each element, or for the scale of an
/// activation its two moments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Memory {
    pub(super) values: Vec<f32>,
    /// Elements that stay zero.
    mask: Option<Vec<bool>>,
}

impl Memory {
    pub(super) fn of(parameter: &Parameter) -> Self {
        let count = match parameter.role {
            Role::LogScale => 2,
            Role::Statistic => 0,
            _ => parameter.values.len(),
        };
        Self {
            values: vec![0.0; count],
            mask: parameter.mask(),
        }
    }

    /// How many elements stay zero.
    pub(super) fn masked(&self) -> usize {
        let mask = self.mask.iter().flatten();
        mask.filter(|&&masked| masked).count()
    }

    /// One step, the `number`th from 0, at `rate` of the largest learning rate.
    pub(super) fn step(
        &mut self,
        parameter: &Parameter,
        values: &mut [f32],
        gradient: &[f32],
        (number, rate): (usize, f32),
        options: &Options,
    ) {
        if parameter.role == Role::LogScale {
            self.adapt(values, gradient, (number, rate));
            return;
        }
        let (momentum, rate) = (options.momentum, rate * options.rate());
        let decay = if parameter.decays {
            options.weight_decay
        } else {
            0.0
        };
        values
            .par_chunks_mut(CHUNK)
            .zip(self.values.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)))
            .for_each(|(values, (velocities, gradients))| {
                for ((value, velocity), gradient) in values.iter_mut().zip(velocities).zip(gradients) {
                    *velocity = momentum * *velocity + gradient + decay * *value;
                    *value -= rate * *velocity;
                }
            });
        if let Some(mask) = &self.mask {
            let masked = values.iter_mut().zip(&mut self.values).zip(mask);
            for ((value, velocity), _) in masked.filter(|(_, masked)| **masked) {
                *value = 0.0;
                *velocity = 0.0;
            }
        }
    }

    /// Adam, for numbers whose gradients may have any magnitude.
    fn adapt(&mut self, values: &mut [f32], gradient: &[f32], (number, rate): (usize, f32)) {
        let [first, second] = &mut self.values[..] else {
            unreachable!("a scale has two moments")
        };
        let gradient = gradient[0];
        *first = MOMENTS.0 * *first + (1.0 - MOMENTS.0) * gradient;
        *second = MOMENTS.1 * *second + (1.0 - MOMENTS.1) * gradient * gradient;
        let steps = number as i32 + 1;
        let mean = *first / (1.0 - MOMENTS.0.powi(steps));
        let square = *second / (1.0 - MOMENTS.1.powi(steps));
        values[0] -= RANGE_RATE * rate * mean / (square.sqrt() + EPSILON);
    }
}

/// The part of the learning rate that holds at step `number` of `steps`: it rises along a line over the warm-up,
/// then falls along half a cosine. Source: Loshchilov and Hutter, "SGDR", 2017, without restarts.
pub(super) fn schedule(number: usize, steps: usize, warm_up: f32) -> f32 {
    let rising = (warm_up * steps as f32).round() as usize;
    if number < rising {
        return (number + 1) as f32 / (rising + 1) as f32;
    }
    let (at, length) = (number - rising, steps - rising);
    0.5 * (1.0 + (PI * at as f32 / length as f32).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_then_falls_to_nothing() {
        let rates: Vec<f32> = (0..100).map(|step| schedule(step, 100, 0.1)).collect();
        assert!(rates[..11].is_sorted() && rates[10..].is_sorted_by(|a, b| a >= b));
        assert!((rates[10] - 1.0).abs() < 1e-6 && rates[99] < 0.01);
        assert!((schedule(0, 1, 0.0) - 1.0).abs() < 1e-6);
        assert!(schedule(0, 1, 1.0) > 0.0);
    }

    #[test]
    fn what_was_pruned_stays_zero_and_the_rest_moves() {
        let parameter = Parameter {
            name: "w".to_owned(),
            shape: vec![4],
            values: vec![0.0, 1.0, 0.0, -1.0],
            role: Role::Float,
            decays: true,
        };
        let mut memory = Memory::of(&parameter);
        let mut values = parameter.values.clone();
        for number in 0..3 {
            memory.step(
                &parameter,
                &mut values,
                &[1.0; 4],
                (number, 1.0),
                &Options::default(),
            );
        }
        assert_eq!((values[0], values[2]), (0.0, 0.0));
        assert!(values[1] < 1.0 && values[3] < -1.0);
        assert_eq!(memory.masked(), 2);
    }
}
