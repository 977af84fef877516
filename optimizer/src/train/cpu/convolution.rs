//! Two-dimensional convolution and its gradients.

use rayon::prelude::*;

use super::{Extents, dense, depthwise};
use crate::train::window::Window;

/// A convolution's extents. Weights are `[output, channels / groups, rows, columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::train) struct Convolution {
    /// The window.
    pub(in crate::train) window: Window,
    /// Groups of channels that do not see one another.
    pub(in crate::train) groups: usize,
    /// Extents of the input.
    pub(in crate::train) input: Extents,
    /// Extents of the output.
    pub(in crate::train) output: Extents,
}

/// Which gradients are wanted.
#[derive(Debug, Clone, Copy)]
pub(in crate::train) struct Wanted {
    /// That of the input.
    pub(in crate::train) input: bool,
    /// That of the weights.
    pub(in crate::train) weights: bool,
    /// That of the bias.
    pub(in crate::train) bias: bool,
}

/// The gradients that were wanted.
#[derive(Debug, Default)]
pub(in crate::train) struct Gradients {
    /// That of the input.
    pub(in crate::train) input: Option<Vec<f32>>,
    /// That of the weights.
    pub(in crate::train) weights: Option<Vec<f32>>,
    /// That of the bias.
    pub(in crate::train) bias: Option<Vec<f32>>,
}

impl Convolution {
    /// The convolution of an input of these extents; `None` where the window does not fit it.
    pub(in crate::train) fn new(
        window: Window,
        groups: usize,
        input: Extents,
        outputs: usize,
    ) -> Option<Self> {
        let output = Extents {
            channels: outputs,
            batch: input.batch,
            height: window.count(0, input.height)?,
            width: window.count(1, input.width)?,
        };
        Some(Self {
            window,
            groups,
            input,
            output,
        })
    }

    /// The output.
    pub(in crate::train) fn forward(&self, input: &[f32], weights: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let mut output = vec![0.0; self.output.count()];
        if self.is_depthwise() {
            depthwise::forward(self, input, weights, &mut output);
        } else {
            dense::forward(self, input, weights, &mut output);
        }
        if let Some(bias) = bias {
            output
                .par_chunks_mut(self.output.plane())
                .zip(bias)
                .for_each(|(channel, bias)| channel.iter_mut().for_each(|value| *value += bias));
        }
        output
    }

    /// The gradients, from that of the output.
    pub(in crate::train) fn backward(
        &self,
        input: &[f32],
        weights: &[f32],
        gradient: &[f32],
        wanted: Wanted,
    ) -> Gradients {
        let mut made = Gradients {
            input: wanted.input.then(|| vec![0.0; self.input.count()]),
            weights: wanted.weights.then(|| vec![0.0; weights.len()]),
            bias: wanted.bias.then(|| {
                let channels = gradient.par_chunks(self.output.plane());
                channels.map(super::map::sum).collect()
            }),
        };
        let (of_input, of_weights) = (made.input.as_deref_mut(), made.weights.as_deref_mut());
        if self.is_depthwise() {
            depthwise::backward(self, input, weights, gradient, of_input, of_weights);
        } else {
            dense::backward(self, input, weights, gradient, of_input, of_weights);
        }
        made
    }

    /// Whether every output channel sees one input channel.
    fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.input.channels
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Noise;

    fn any_convolution() -> impl Strategy<Value = Convolution> {
        let window = (1..4_usize, 1..4_usize, 1..3_usize, 1..3_usize, 1..3_usize).prop_flat_map(
            |(rows, columns, down, right, dilation)| {
                let pads = prop::array::uniform4(0..3_usize);
                pads.prop_map(move |pads| Window {
                    kernel: [rows, columns],
                    stride: [down, right],
                    pads,
                    dilation: [dilation, 1],
                })
            },
        );
        let extents = (
            1..3_usize,
            5..9_usize,
            5..9_usize,
            1..4_usize,
            1..4_usize,
            1..4_usize,
        );
        (window, extents).prop_map(|(window, (batch, height, width, groups, inputs, outputs))| {
            let input = Extents {
                channels: groups * inputs,
                batch,
                height,
                width,
            };
            Convolution::new(window, groups, input, groups * outputs).unwrap()
        })
    }

    /// By the definition; calls `each(output, input, weight)` for every product.
    fn for_each_product(conv: &Convolution, mut each: impl FnMut(usize, usize, usize)) {
        let (input, output, window) = (conv.input, conv.output, conv.window);
        let inputs = input.channels / conv.groups;
        let outputs = output.channels / conv.groups;
        for to in 0..output.count() {
            let (column, rest) = (to % output.width, to / output.width);
            let (row, rest) = (rest % output.height, rest / output.height);
            let (picture, channel) = (rest % output.batch, rest / output.batch);
            for offset in 0..inputs {
                let from = channel / outputs * inputs + offset;
                for (tap, [tap_row, tap_column]) in window.taps().enumerate() {
                    let y =
                        (row * window.stride[0] + tap_row * window.dilation[0]).wrapping_sub(window.pads[0]);
                    let x = (column * window.stride[1] + tap_column * window.dilation[1])
                        .wrapping_sub(window.pads[1]);
                    if y < input.height && x < input.width {
                        let at = ((from * input.batch + picture) * input.height + y) * input.width + x;
                        each(to, at, (channel * inputs + offset) * window.taps().count() + tap);
                    }
                }
            }
        }
    }

    fn close(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len()
            && a.iter()
                .zip(b)
                .all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + b.abs()))
    }

    proptest! {
        #[test]
        fn it_and_its_gradients_follow_the_definition(conv in any_convolution(), seed: u64) {
            let mut noise = Noise(seed);
            let taps = conv.window.taps().count();
            let input = noise.take(conv.input.count());
            let weights = noise.take(conv.output.channels * conv.input.channels / conv.groups * taps);
            let bias = noise.take(conv.output.channels);
            let gradient = noise.take(conv.output.count());

            let plane = conv.output.plane();
            let mut output: Vec<f32> = (0..conv.output.count()).map(|at| bias[at / plane]).collect();
            let mut of_input = vec![0.0; input.len()];
            let mut of_weights = vec![0.0; weights.len()];
            for_each_product(&conv, |to, from, weight| {
                output[to] += input[from] * weights[weight];
                of_input[from] += gradient[to] * weights[weight];
                of_weights[weight] += gradient[to] * input[from];
            });
            let of_bias: Vec<f32> = gradient.chunks(plane).map(|channel| channel.iter().sum()).collect();

            prop_assert!(close(&conv.forward(&input, &weights, Some(&bias)), &output));
            let all = Wanted { input: true, weights: true, bias: true };
            let made = conv.backward(&input, &weights, &gradient, all);
            prop_assert!(close(&made.input.unwrap(), &of_input));
            prop_assert!(close(&made.weights.unwrap(), &of_weights));
            prop_assert!(close(&made.bias.unwrap(), &of_bias));
        }
    }
}
