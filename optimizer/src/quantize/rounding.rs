//! Adaptive rounding of weights, without data (Guo et al., *`SQuant`: On-the-Fly Data-Free Quantization via
//! Diagonal Hessian Approximation*, ICLR 2022).
//!
//! Neighbouring inputs of a layer are alike, so errors of one sign among the weights that meet them add up. Each
//! weight is rounded to the nearest step first; then those that were closest to the other side are rounded there,
//! until the errors of each kernel, and after that those of each output channel, add up to half a step at most. No
//! weight ends more than a step from where it was.

/// Rounds one output channel, given in steps and kernel by kernel. No result exceeds `largest` in magnitude.
pub(super) fn round(channel: &[f32], kernel: usize, largest: f32) -> Vec<i8> {
    let mut rounded: Vec<f32> = channel
        .iter()
        .map(|steps| steps.round_ties_even().clamp(-largest, largest))
        .collect();
    let kernel = kernel.max(1);
    if kernel > 1 {
        for (steps, rounded) in channel.chunks(kernel).zip(rounded.chunks_mut(kernel)) {
            balance(steps, rounded, largest);
        }
    }
    balance(channel, &mut rounded, largest);
    rounded.into_iter().map(|integer| integer as i8).collect()
}

/// Rounds as many of the values to their other side as it takes for the errors to add up to half a step at most.
fn balance(steps: &[f32], rounded: &mut [f32], largest: f32) {
    let error = |index: usize, rounded: &[f32]| rounded[index] - steps[index];
    let sum: f32 = (0..steps.len()).map(|index| error(index, rounded)).sum();
    let flips = sum.abs().round() as usize;
    if flips == 0 {
        return;
    }
    let sign = sum.signum();
    let can_flip =
        |index: &usize| error(*index, rounded) * sign > 0.0 && (rounded[*index] - sign).abs() <= largest;
    let mut candidates: Vec<usize> = (0..steps.len()).filter(can_flip).collect();
    candidates.sort_by(|&a, &b| error(b, rounded).abs().total_cmp(&error(a, rounded).abs()));
    for &index in candidates.iter().take(flips) {
        rounded[index] -= sign;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn errors_of_one_sign_do_not_add_up() {
        assert_eq!(round(&[0.4; 5], 5, 127.0), [1, 1, 0, 0, 0]);
        assert_eq!(round(&[-1.4; 5], 5, 127.0), [-2, -2, -1, -1, -1]);
        assert_eq!(round(&[126.6, 126.6, 127.0], 3, 127.0), [126, 127, 127]);
    }

    proptest! {
        #[test]
        fn no_weight_moves_by_more_than_a_step_and_sums_are_kept(
            steps in prop::collection::vec(-60_f32..60.0, 36), kernel in prop::sample::select(vec![1_usize, 4, 9]),
        ) {
            let rounded = round(&steps, kernel, 63.0);
            let errors: Vec<f32> = steps.iter().zip(&rounded).map(|(step, integer)| f32::from(*integer) - step).collect();
            prop_assert!(errors.iter().all(|error| error.abs() <= 1.0));
            prop_assert!(errors.iter().sum::<f32>().abs() <= 0.501);
            let nearest: f32 = steps.chunks(kernel).map(|kernel| kernel.iter().map(|s| s.round() - s).sum::<f32>().abs()).sum();
            let kernels: f32 = errors.chunks(kernel).map(|kernel| kernel.iter().sum::<f32>().abs()).sum();
            prop_assert!(kernel == 1 || kernels <= nearest + 36.0 / kernel as f32);
        }
    }
}
