//! Bias correction (Nagel et al., *Data-Free Quantization Through Weight Equalization and Bias Correction*, ICCV
//! 2019): rounded weights shift the mean of each output channel by `(W - Q(W)) E[x]`, which a bias can take back.

use super::layout::Layout;
use crate::proto::NodeProto;

/// What to add to the bias of each output channel. `errors` are the weights less what they were rounded to, and
/// `means` those of the input's channels; `None` where the two do not fit.
pub(super) fn shift(node: &NodeProto, layout: Layout, errors: &[f32], means: &[f32]) -> Option<Vec<f32>> {
    let channels = layout.channels;
    let of_channel = errors.len() / channels.count / channels.kernel;
    let groups = usize::try_from(node.int("group").unwrap_or(1))
        .ok()
        .filter(|&groups| groups > 0)?;
    if of_channel * groups != means.len() || !channels.count.is_multiple_of(groups) {
        return None;
    }
    let mut shift = vec![0.0_f64; channels.count];
    let mut seen = vec![0_usize; channels.count];
    for (element, error) in errors.iter().enumerate() {
        let output = channels.of(element);
        let group = output / (channels.count / groups);
        let input = group * of_channel + seen[output] / channels.kernel;
        seen[output] += 1;
        shift[output] += f64::from(*error) * f64::from(means[input]);
    }
    Some(shift.into_iter().map(|shift| shift as f32).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::{AttributeProto, node};
    use crate::quantize::weights::Channels;

    fn layout(count: usize, stride: usize, kernel: usize) -> Layout {
        Layout {
            channels: Channels {
                count,
                stride,
                kernel,
            },
            axis: 0,
            bias: None,
        }
    }

    #[test]
    fn weights_of_groups_meet_their_own_inputs() {
        let mut conv = node("Conv", "", &["x", "w"], &["y"]);
        conv.set_attribute(AttributeProto::from_int("group", 2));
        let made = shift(&conv, layout(2, 2, 2), &[1.0, 2.0, 3.0, 4.0], &[10.0, 100.0]).unwrap();
        assert_eq!(made, [30.0, 700.0]);
        assert_eq!(
            shift(&conv, layout(2, 2, 2), &[1.0, 2.0, 3.0, 4.0], &[1.0; 3]),
            None
        );
    }

    proptest! {
        #[test]
        fn means_come_out_as_they_were(
            errors in prop::collection::vec(-1_f32..1.0, 12), means in prop::collection::vec(-1_f32..1.0, 4),
            transposed: bool,
        ) {
            let gemm = node("Gemm", "", &["x", "w"], &["y"]);
            // Weights of three outputs and four inputs, output by output or input by input.
            let layout = if transposed { layout(3, 4, 1) } else { layout(3, 1, 1) };
            let made = shift(&gemm, layout, &errors, &means).unwrap();
            for (output, shift) in made.iter().enumerate() {
                let at = |input: usize| if transposed { output * 4 + input } else { input * 3 + output };
                let expected: f32 = (0..4).map(|input| errors[at(input)] * means[input]).sum();
                prop_assert!((shift - expected).abs() < 1e-5);
            }
        }
    }
}
