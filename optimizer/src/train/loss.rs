//! What training makes small: cross entropy, and the distance to a teacher.

use super::options::Distil;

/// The loss of a batch and what its logits must do about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Loss {
    /// Sum over the samples.
    pub(super) sum: f64,
    /// Samples whose largest logit is that of their label.
    pub(super) right: usize,
    /// The gradient of the mean loss by the logits, in their order.
    pub(super) gradient: Vec<f32>,
}

/// What a teacher answered to the same samples, and how it counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taught<'a> {
    pub(super) logits: &'a [f32],
    pub(super) options: Distil,
}

/// The loss of logits, `classes` a sample, with one label a sample below `classes`.
///
/// Cross entropy is `-log softmax(logits)[label]`, whose gradient is `softmax(logits) - onehot(label)`; for the
/// teacher's part see [`Distil`].
pub(super) fn loss(logits: &[f32], classes: usize, labels: &[usize], taught: Option<Taught<'_>>) -> Loss {
    let mut made = Loss {
        sum: 0.0,
        right: 0,
        gradient: Vec::with_capacity(logits.len()),
    };
    let alpha = taught.map_or(0.0, |taught| taught.options.alpha);
    let weight = 1.0 / labels.len().max(1) as f32;
    for (index, (row, &label)) in logits.chunks(classes).zip(labels).enumerate() {
        let logs = log_softmax(row, 1.0);
        made.sum -= f64::from((1.0 - alpha) * logs[label]);
        made.right += usize::from(best(row) == label);
        let hard = logs.iter().enumerate().map(|(class, log)| {
            let wanted = if class == label { 1.0 } else { 0.0 };
            (1.0 - alpha) * (log.exp() - wanted) * weight
        });
        let start = made.gradient.len();
        made.gradient.extend(hard);
        if let Some(taught) = taught {
            let temperature = taught.options.temperature;
            let teacher = log_softmax(&taught.logits[index * classes..][..classes], temperature);
            let student = log_softmax(row, temperature);
            let pairs = made.gradient[start..]
                .iter_mut()
                .zip(teacher.iter().zip(&student));
            for (gradient, (teacher, student)) in pairs {
                let wanted = teacher.exp();
                let distance = alpha * temperature * temperature * wanted * (teacher - student);
                made.sum += f64::from(distance);
                *gradient += alpha * temperature * (student.exp() - wanted) * weight;
            }
        }
    }
    made
}

/// The class of the largest logit, the first of equals.
pub(super) fn best(logits: &[f32]) -> usize {
    let mut best = 0;
    for (class, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = class;
        }
    }
    best
}

fn log_softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scaled: Vec<f32> = logits
        .iter()
        .map(|logit| (logit - largest) / temperature)
        .collect();
    let sum: f32 = scaled.iter().map(|value| value.exp()).sum();
    scaled.iter().map(|value| value - sum.ln()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn even_logits_lose_the_logarithm_of_the_classes() {
        let made = loss(&[1.0; 8], 4, &[0, 3], None);
        assert!((made.sum - 2.0 * 4.0_f64.ln()).abs() < 1e-5);
        assert_eq!(made.right, 1);
    }

    proptest! {
        #[test]
        fn the_gradient_is_the_slope(
            logits in prop::collection::vec(-3.0_f32..3.0, 6),
            teacher in prop::collection::vec(-3.0_f32..3.0, 6),
            labels in prop::collection::vec(0..3_usize, 2),
            at in 0..6_usize, alpha in 0.0_f32..1.0, temperature in 1.0_f32..5.0,
        ) {
            let taught = Taught { logits: &teacher, options: Distil { alpha, temperature } };
            let of = |by: f32| {
                let mut moved = logits.clone();
                moved[at] += by;
                loss(&moved, 3, &labels, Some(taught))
            };
            let slope = (of(0.01).sum - of(-0.01).sum) / 0.02 / 2.0;
            prop_assert!((slope as f32 - of(0.0).gradient[at]).abs() < 2e-3);
        }
    }
}
