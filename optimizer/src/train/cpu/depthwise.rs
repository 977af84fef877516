//! Convolutions whose output channels each see one input channel.
//!
//! The padded pictures of a channel are split by the stride into *phases*, planes in which every position of the
//! window is a plain offset. The output then is a weighted sum of shifted stretches of memory, over all rows and
//! pictures at once and without a branch; between rows lie a few elements that nobody reads.

use std::ops::Range;

use rayon::prelude::*;

use super::convolution::Convolution;
use super::map::{dot, vectorized};

/// Elements of the planes that are worked on at once, small enough for the cache nearest to the processor.
const BLOCK: usize = 1 << 12;

/// Elements of a sum that stay in the nearest cache while all weights pass over them.
const STRETCH: usize = 512;

pub(super) fn forward(conv: &Convolution, input: &[f32], weights: &[f32], output: &mut [f32]) {
    let grid = Grid::new(conv);
    let multiplier = conv.output.channels / conv.input.channels;
    output
        .par_chunks_mut(conv.output.plane())
        .zip(weights.par_chunks(grid.taps.len()))
        .enumerate()
        .for_each_init(
            || (grid.phases_scratch(), grid.scratch(0)),
            |(phases, sums), (channel, (output, weights))| {
                let plane = grid.channel(input, channel / multiplier);
                for pictures in grid.blocks() {
                    grid.split(plane, &pictures, phases);
                    let sums = &mut sums[..grid.len(&pictures) - grid.reach];
                    let terms = grid.terms(weights, |tap| &phases[tap.phase][tap.offset..][..sums.len()]);
                    weighted_sum(sums, &terms);
                    grid.compact(sums, &pictures, output);
                }
            },
        );
}

pub(super) fn backward(
    conv: &Convolution,
    input: &[f32],
    weights: &[f32],
    gradient: &[f32],
    of_input: Option<&mut [f32]>,
    of_weights: Option<&mut [f32]>,
) {
    let grid = Grid::new(conv);
    let multiplier = conv.output.channels / conv.input.channels;
    let plane = conv.output.plane();
    if let Some(of_input) = of_input {
        let kernels = weights.par_chunks(multiplier * grid.taps.len());
        let gradients = gradient.par_chunks(multiplier * plane);
        of_input
            .par_chunks_mut(conv.input.plane())
            .zip(kernels.zip(gradients))
            .for_each_init(
                || (grid.phases_scratch(), grid.scratch(grid.reach)),
                |(phases, spread), (of_input, (weights, gradients))| {
                    let outputs = weights.chunks(grid.taps.len()).zip(gradients.chunks(plane));
                    for pictures in grid.blocks() {
                        for phase in phases.iter_mut() {
                            phase.fill(0.0);
                        }
                        for (weights, gradient) in outputs.clone() {
                            grid.spread(gradient, &pictures, &mut spread[grid.reach..]);
                            grid.distribute(weights, spread, grid.len(&pictures), phases);
                        }
                        grid.join(phases, &pictures, of_input);
                    }
                },
            );
    }
    if let Some(of_weights) = of_weights {
        of_weights
            .par_chunks_mut(grid.taps.len())
            .zip(gradient.par_chunks(plane))
            .enumerate()
            .for_each_init(
                || (grid.phases_scratch(), grid.scratch(0)),
                |(phases, spread), (channel, (of_weights, gradient))| {
                    let plane = grid.channel(input, channel / multiplier);
                    for pictures in grid.blocks() {
                        grid.split(plane, &pictures, phases);
                        grid.spread(gradient, &pictures, spread);
                        let gradient = &spread[..grid.len(&pictures) - grid.reach];
                        for (sum, tap) in of_weights.iter_mut().zip(&grid.taps) {
                            *sum += dot(gradient, &phases[tap.phase][tap.offset..][..gradient.len()]);
                        }
                    }
                },
            );
    }
}

/// How the padded pictures of a channel are split.
#[derive(Debug)]
struct Grid {
    conv: Convolution,
    /// Which rows and columns belong to a phase, as remainders by the stride.
    remainders: Vec<[usize; 2]>,
    /// Positions of the window.
    taps: Vec<Tap>,
    /// Rows and columns of a picture in a phase.
    rows: usize,
    pitch: usize,
    /// The largest offset of a tap.
    reach: usize,
    /// Pictures that are worked on at once.
    block: usize,
}

/// A position of the window: its phase, and its offset there.
#[derive(Debug, Clone, Copy)]
struct Tap {
    phase: usize,
    offset: usize,
}

impl Grid {
    fn new(conv: &Convolution) -> Self {
        let window = conv.window;
        let extra = |axis: usize| window.dilation[axis] * (window.kernel[axis] - 1) / window.stride[axis];
        let (rows, pitch) = (conv.output.height + extra(0), conv.output.width + extra(1));
        let mut remainders: Vec<[usize; 2]> = Vec::new();
        let taps = window.taps().map(|tap| {
            let at = [tap[0] * window.dilation[0], tap[1] * window.dilation[1]];
            let remainder = [at[0] % window.stride[0], at[1] % window.stride[1]];
            let phase = remainders.iter().position(|known| *known == remainder);
            Tap {
                phase: phase.unwrap_or_else(|| {
                    remainders.push(remainder);
                    remainders.len() - 1
                }),
                offset: at[0] / window.stride[0] * pitch + at[1] / window.stride[1],
            }
        });
        let taps: Vec<Tap> = taps.collect();
        Self {
            conv: *conv,
            remainders,
            rows,
            pitch,
            reach: taps.iter().map(|tap| tap.offset).max().unwrap_or(0),
            block: (BLOCK / (rows * pitch).max(1)).clamp(1, conv.input.batch.max(1)),
            taps,
        }
    }

    /// Blocks of pictures.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (batch, block) = (self.conv.input.batch, self.block);
        (0..batch)
            .step_by(block)
            .map(move |start| start..(start + block).min(batch))
    }

    /// Elements of a phase.
    fn len(&self, pictures: &Range<usize>) -> usize {
        pictures.len() * self.rows * self.pitch
    }

    fn scratch(&self, before: usize) -> Vec<f32> {
        vec![0.0; before + self.block * self.rows * self.pitch]
    }

    fn phases_scratch(&self) -> Vec<Vec<f32>> {
        vec![self.scratch(0); self.remainders.len()]
    }

    fn channel<'a>(&self, input: &'a [f32], channel: usize) -> &'a [f32] {
        let plane = self.conv.input.plane();
        &input[channel * plane..][..plane]
    }

    fn terms<'a>(&self, weights: &[f32], of: impl Fn(Tap) -> &'a [f32]) -> Vec<(f32, &'a [f32])> {
        let taps = weights.iter().zip(&self.taps);
        taps.map(|(&weight, &tap)| (weight, of(tap))).collect()
    }

    /// For each row of a phase that holds a row of the picture: where the row begins in the phase and in the
    /// channel, the range within the phase's row that holds elements, and the column of the first.
    fn lines(
        &self,
        remainder: [usize; 2],
        pictures: &Range<usize>,
    ) -> impl Iterator<Item = (usize, usize, Range<usize>, usize)> + use<> {
        let (input, window) = (self.conv.input, self.conv.window);
        let (rows, pitch, first_picture) = (self.rows, self.pitch, pictures.start);
        let inside = |axis: usize, extent: usize, count: usize| {
            let (pad, stride) = (window.pads[axis], window.stride[axis]);
            let start = pad.saturating_sub(remainder[axis]).div_ceil(stride).min(count);
            let end = (extent + pad).saturating_sub(remainder[axis]).div_ceil(stride);
            start..end.clamp(start, count)
        };
        let (down, right) = (inside(0, input.height, rows), inside(1, input.width, pitch));
        let first = (right.start * window.stride[1] + remainder[1]).saturating_sub(window.pads[1]);
        pictures.clone().flat_map(move |picture| {
            let right = right.clone();
            down.clone().map(move |row| {
                let y = row * window.stride[0] + remainder[0] - window.pads[0];
                let to = ((picture - first_picture) * rows + row) * pitch;
                (
                    to,
                    (picture * input.height + y) * input.width,
                    right.clone(),
                    first,
                )
            })
        })
    }

    /// Splits the pictures of a channel into phases.
    fn split(&self, plane: &[f32], pictures: &Range<usize>, phases: &mut [Vec<f32>]) {
        let stride = self.conv.window.stride[1];
        for (phase, &remainder) in phases.iter_mut().zip(&self.remainders) {
            phase.fill(0.0);
            for (to, from, columns, first) in self.lines(remainder, pictures) {
                let to = &mut phase[to..][columns];
                let from = &plane[from..][..self.conv.input.width];
                if stride == 1 {
                    to.copy_from_slice(&from[first..][..to.len()]);
                } else {
                    let from = from.get(first..).unwrap_or_default().iter().step_by(stride);
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }

    /// Puts phases together to the pictures of a channel, the reverse of [`Self::split`].
    fn join(&self, phases: &[Vec<f32>], pictures: &Range<usize>, plane: &mut [f32]) {
        let stride = self.conv.window.stride[1];
        for (phase, &remainder) in phases.iter().zip(&self.remainders) {
            for (from, to, columns, first) in self.lines(remainder, pictures) {
                let from = &phase[from..][columns];
                let to = &mut plane[to..][..self.conv.input.width];
                if stride == 1 {
                    to[first..][..from.len()].copy_from_slice(from);
                } else {
                    let to = to.get_mut(first..).unwrap_or_default().iter_mut().step_by(stride);
                    from.iter().zip(to).for_each(|(from, to)| *to = *from);
                }
            }
        }
    }

    /// Rows of the output: where each begins in a phase and in the channel.
    fn output_rows(&self, pictures: &Range<usize>) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (output, rows, pitch) = (self.conv.output, self.rows, self.pitch);
        let start = pictures.start;
        pictures.clone().flat_map(move |picture| {
            (0..output.height).map(move |row| {
                let spread = ((picture - start) * rows + row) * pitch;
                (spread, (picture * output.height + row) * output.width)
            })
        })
    }

    /// Takes the output of a channel from between what nobody reads.
    fn compact(&self, spread: &[f32], pictures: &Range<usize>, output: &mut [f32]) {
        let width = self.conv.output.width;
        for (from, to) in self.output_rows(pictures) {
            output[to..][..width].copy_from_slice(&spread[from..][..width]);
        }
    }

    /// The reverse of [`Self::compact`], with zeros between the rows.
    fn spread(&self, output: &[f32], pictures: &Range<usize>, spread: &mut [f32]) {
        let width = self.conv.output.width;
        spread[..self.len(pictures)].fill(0.0);
        for (to, from) in self.output_rows(pictures) {
            spread[to..][..width].copy_from_slice(&output[from..][..width]);
        }
    }

    /// Adds to each phase the gradients of the outputs that saw it. `spread` begins with zeros for the reach.
    fn distribute(&self, weights: &[f32], spread: &[f32], len: usize, phases: &mut [Vec<f32>]) {
        for (index, phase) in phases.iter_mut().enumerate() {
            let taps = weights
                .iter()
                .zip(&self.taps)
                .filter(|(_, tap)| tap.phase == index);
            let terms = taps.map(|(&weight, tap)| (weight, &spread[self.reach - tap.offset..][..len]));
            add_weighted(&mut phase[..len], &terms.collect::<Vec<_>>());
        }
    }
}

/// `to = sum of weight * term`.
fn weighted_sum(to: &mut [f32], terms: &[(f32, &[f32])]) {
    to.fill(0.0);
    add_weighted(to, terms);
}

/// `to += sum of weight * term`.
fn add_weighted(to: &mut [f32], terms: &[(f32, &[f32])]) {
    vectorized(
        #[inline(always)]
        || {
            for (index, to) in to.chunks_mut(STRETCH).enumerate() {
                let start = index * STRETCH;
                let mut trios = terms.chunks_exact(3);
                for trio in &mut trios {
                    let [first, second, third] = trio else {
                        unreachable!("a chunk of three has three")
                    };
                    let seen = first.1[start..]
                        .iter()
                        .zip(&second.1[start..])
                        .zip(&third.1[start..]);
                    for (to, ((x, y), z)) in to.iter_mut().zip(seen) {
                        *to += first.0 * x + second.0 * y + third.0 * z;
                    }
                }
                for (weight, term) in trios.remainder() {
                    for (to, x) in to.iter_mut().zip(&term[start..]) {
                        *to += weight * x;
                    }
                }
            }
        },
    );
}
