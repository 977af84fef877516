//! How parameters follow their gradients.

use std::f32::consts::PI;

use burn_backend::tensor::FloatTensor;

use super::Options;
use super::kernels::{Adam, Descent, Kernels};
use super::parameter::{Parameter, Role};
use crate::error::Error;

/// The largest step of the logarithm of an activation's scale: 1 %.
///
/// Source: Jain et al., "Trained Quantization Thresholds", 2020, section 5.2, where thresholds are trained by Adam
/// with this rate.
const RANGE_RATE: f32 = 0.01;

/// Decay of Adam's moments, and what keeps it from dividing by zero. Source: Kingma and Ba, "Adam", 2015.
const MOMENTS: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;

/// What descent remembers of one parameter between steps: the velocity of each element, or for the scale of an
/// activation its two moments. Statistics have none.
pub(super) struct Memory<B: Kernels> {
    moments: Option<FloatTensor<B>>,
    /// 0 where elements stay zero, and 1 elsewhere.
    mask: Option<FloatTensor<B>>,
    /// How many elements stay zero.
    pub(super) masked: usize,
}

impl<B: Kernels> Memory<B> {
    pub(super) fn of(parameter: &Parameter, device: &B::Device) -> Self {
        let mask = parameter.mask();
        let masked = mask.iter().flatten().filter(|&&masked| masked).count();
        let upload = |mask: Vec<bool>| {
            let kept = mask.iter().map(|&masked| f32::from(u8::from(!masked)));
            B::upload(kept.collect(), parameter.shape.clone(), device)
        };
        let mut memory = Self {
            moments: None,
            mask: mask.map(upload),
            masked,
        };
        memory.restore(vec![0.0; Self::count(parameter)], parameter, device);
        memory
    }

    /// How many numbers are remembered.
    fn count(parameter: &Parameter) -> usize {
        match parameter.role {
            Role::LogScale => MOMENTS.len(),
            Role::Statistic => 0,
            _ => parameter.values.len(),
        }
    }

    /// What is remembered, empty for a statistic.
    pub(super) fn values(&self) -> Result<Vec<f32>, Error> {
        self.moments.as_ref().map_or(Ok(Vec::new()), B::download)
    }

    /// Goes on from what was remembered of this parameter.
    pub(super) fn restore(&mut self, values: Vec<f32>, parameter: &Parameter, device: &B::Device) {
        let shape = match parameter.role {
            Role::LogScale => vec![MOMENTS.len()],
            _ => parameter.shape.clone(),
        };
        self.moments = (parameter.is_trained()).then(|| B::upload(values, shape, device));
    }

    /// One step, the `number`th from 0, at `rate` of the largest learning rate.
    pub(super) fn step(
        &mut self,
        parameter: &Parameter,
        values: &mut FloatTensor<B>,
        gradient: &FloatTensor<B>,
        (number, rate): (usize, f32),
        options: &Options,
    ) {
        let moments = self.moments.as_mut().expect("what has a gradient is trained");
        if parameter.role == Role::LogScale {
            let steps = number as i32 + 1;
            let adam = Adam {
                decays: MOMENTS,
                corrections: MOMENTS.map(|decay| 1.0 - decay.powi(steps)),
                rate: RANGE_RATE * rate,
                epsilon: EPSILON,
            };
            B::adapt(values, moments, gradient, adam);
            return;
        }
        let descent = Descent {
            momentum: options.momentum,
            decay: if parameter.decays {
                options.weight_decay
            } else {
                0.0
            },
            rate: rate * options.rate(),
        };
        B::descend(values, moments, gradient, self.mask.as_ref(), descent);
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
#[allow(clippy::unwrap_used)]
mod tests {
    use burn_flex::{Flex, FlexDevice};

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
        let device = FlexDevice;
        let mut memory = Memory::<Flex>::of(&parameter, &device);
        let mut values = Flex::upload(parameter.values.clone(), [4], &device);
        let gradient = Flex::upload(vec![1.0; 4], [4], &device);
        for number in 0..3 {
            memory.step(
                &parameter,
                &mut values,
                &gradient,
                (number, 1.0),
                &Options::default(),
            );
        }
        let values = Flex::download(&values).unwrap();
        assert_eq!((values[0], values[2]), (0.0, 0.0));
        assert!(values[1] < 1.0 && values[3] < -1.0);
        assert_eq!(memory.masked, 2);
    }
}
