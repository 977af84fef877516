//! Convolutions whose output channels see many input channels, as products of matrices.
//!
//! The windows of a block of output rows become the columns of a matrix (`im2col`), one row a weight. Blocks are
//! small enough to stay in the cache between writing and multiplying. A 1x1 convolution takes its input as it lies.

use std::ops::Range;

use rayon::prelude::*;

use super::Extents;
use super::convolution::Convolution;
use super::gemm::{Matrix, Target, multiply};

/// Elements of a block of columns: 1 MiB.
const BLOCK: usize = 1 << 18;

/// Least columns of a block, below which the product spends its time on loading weights.
const LEAST_COLUMNS: usize = 256;

/// Least elements that a thread copies, so that sharing the work pays.
const GRAIN: usize = 1 << 13;

pub(super) fn forward(conv: &Convolution, input: &[f32], weights: &[f32], output: &mut [f32]) {
    let group = Group::of(conv);
    let plane = conv.output.plane();
    let inputs = input.chunks(group.channels * conv.input.plane());
    let kernels = weights.chunks(group.outputs * group.taps);
    let outputs = output.chunks_mut(group.outputs * plane);
    for ((input, weights), output) in inputs.zip(kernels).zip(outputs) {
        let weights = Matrix::new(weights, group.outputs, group.taps);
        if conv.window.is_point() {
            let input = Matrix::new(input, group.channels, plane);
            multiply(&mut Target::new(output, plane), weights, input, false);
            continue;
        }
        let mut columns = group.scratch();
        for rows in group.blocks() {
            let range = group.columns(&rows);
            let columns = &mut columns[..group.taps * range.len()];
            gather(conv, input, &rows, columns);
            let columns = Matrix::new(columns, group.taps, range.len());
            multiply(
                &mut Target::new(&mut output[range.start..], plane),
                weights,
                columns,
                false,
            );
        }
    }
}

pub(super) fn backward(
    conv: &Convolution,
    input: &[f32],
    weights: &[f32],
    gradient: &[f32],
    mut of_input: Option<&mut [f32]>,
    mut of_weights: Option<&mut [f32]>,
) {
    let group = Group::of(conv);
    let plane = conv.output.plane();
    let (input_len, weight_len) = (group.channels * conv.input.plane(), group.outputs * group.taps);
    let inputs = input.chunks(input_len).zip(weights.chunks(weight_len));
    let gradients = gradient.chunks(group.outputs * plane);
    for (index, ((input, weights), gradient)) in inputs.zip(gradients).enumerate() {
        let weights = Matrix::new(weights, group.outputs, group.taps);
        let mut of_input = of_input
            .as_deref_mut()
            .map(|all| &mut all[index * input_len..][..input_len]);
        let mut of_weights = of_weights
            .as_deref_mut()
            .map(|all| &mut all[index * weight_len..][..weight_len]);
        if conv.window.is_point() {
            let gradient = Matrix::new(gradient, group.outputs, plane);
            if let Some(of_input) = of_input {
                multiply(
                    &mut Target::new(of_input, plane),
                    weights.transposed(),
                    gradient,
                    false,
                );
            }
            if let Some(of_weights) = of_weights {
                let input = Matrix::new(input, group.channels, plane).transposed();
                multiply(&mut Target::new(of_weights, group.taps), gradient, input, false);
            }
            continue;
        }
        let mut columns = group.scratch();
        for rows in group.blocks() {
            let range = group.columns(&rows);
            let columns = &mut columns[..group.taps * range.len()];
            let gradient = Matrix::within(&gradient[range.start..], group.outputs, range.len(), plane);
            if let Some(of_weights) = &mut of_weights {
                gather(conv, input, &rows, columns);
                let columns = Matrix::new(columns, group.taps, range.len()).transposed();
                multiply(&mut Target::new(of_weights, group.taps), gradient, columns, true);
            }
            if let Some(of_input) = &mut of_input {
                let mut target = Target::new(&mut *columns, range.len());
                multiply(&mut target, weights.transposed(), gradient, false);
                scatter(conv, columns, &rows, of_input);
            }
        }
    }
}

/// One group of channels.
#[derive(Debug, Clone, Copy)]
struct Group {
    /// Input channels.
    channels: usize,
    /// Output channels.
    outputs: usize,
    /// Weights of an output channel.
    taps: usize,
    /// Output rows of all pictures, and the length of each.
    rows: usize,
    width: usize,
    /// Output rows of a block.
    block: usize,
}

impl Group {
    fn of(conv: &Convolution) -> Self {
        let channels = conv.input.channels / conv.groups;
        let taps = channels * conv.window.kernel.iter().product::<usize>();
        let Extents {
            batch, height, width, ..
        } = conv.output;
        let columns = (BLOCK / taps.max(1)).max(LEAST_COLUMNS);
        let rows = batch * height;
        Self {
            channels,
            outputs: conv.output.channels / conv.groups,
            taps,
            rows,
            width,
            block: (columns / width.max(1)).clamp(1, rows.max(1)),
        }
    }

    fn scratch(&self) -> Vec<f32> {
        vec![0.0; self.taps * self.block * self.width]
    }

    /// Blocks of output rows.
    fn blocks(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.rows)
            .step_by(self.block)
            .map(move |start| start..(start + self.block).min(self.rows))
    }

    /// The output elements of a block within a channel.
    fn columns(&self, rows: &Range<usize>) -> Range<usize> {
        rows.start * self.width..rows.end * self.width
    }
}

/// Writes the windows of these output rows as columns: one row of `columns` a weight.
fn gather(conv: &Convolution, input: &[f32], rows: &Range<usize>, columns: &mut [f32]) {
    let width = rows.len() * conv.output.width;
    let seen = Seen::all(conv, rows);
    columns
        .par_chunks_mut(width)
        .enumerate()
        .with_min_len(GRAIN.div_ceil(width))
        .for_each(|(weight, column)| {
            let (channel, seen) = (weight / seen.len(), &seen[weight % seen.len()]);
            let plane = &input[channel * conv.input.plane()..][..conv.input.plane()];
            for (line, from) in column.chunks_mut(conv.output.width).zip(&seen.rows) {
                match *from {
                    Some(from) => seen.read(&plane[from..][..conv.input.width], line),
                    None => line.fill(0.0),
                }
            }
        });
}

/// Adds columns to the input elements that they were gathered from.
fn scatter(conv: &Convolution, columns: &[f32], rows: &Range<usize>, input: &mut [f32]) {
    let width = rows.len() * conv.output.width;
    let seen = Seen::all(conv, rows);
    input
        .par_chunks_mut(conv.input.plane())
        .zip(columns.par_chunks(seen.len() * width))
        .with_min_len(GRAIN.div_ceil(seen.len() * width))
        .for_each(|(plane, columns)| {
            for (column, seen) in columns.chunks(width).zip(&seen) {
                for (line, to) in column.chunks(conv.output.width).zip(&seen.rows) {
                    if let Some(to) = *to {
                        seen.add(line, &mut plane[to..][..conv.input.width]);
                    }
                }
            }
        });
}

/// What one position of the window sees of the input of a block.
#[derive(Debug)]
struct Seen {
    stride: usize,
    /// For each output row, where the input row that it sees begins within its channel; `None` in the padding.
    rows: Vec<Option<usize>>,
    /// Output columns that see an element and not the padding.
    range: (usize, usize),
    /// The input column that the first of them sees.
    first: usize,
}

impl Seen {
    /// For each position of the window, what it sees from these output rows.
    fn all(conv: &Convolution, rows: &Range<usize>) -> Vec<Self> {
        conv.window.taps().map(|tap| Self::new(conv, tap, rows)).collect()
    }

    fn new(conv: &Convolution, tap: [usize; 2], rows: &Range<usize>) -> Self {
        let window = conv.window;
        let (stride, pad) = (window.stride[1], window.pads[1]);
        let offset = tap[1] * window.dilation[1];
        let start = pad.saturating_sub(offset).div_ceil(stride).min(conv.output.width);
        let end = (conv.input.width + pad).saturating_sub(offset).div_ceil(stride);
        let end = end.clamp(start, conv.output.width);
        let row = |row: usize| {
            let (picture, row) = (row / conv.output.height, row % conv.output.height);
            let from = (row * window.stride[0] + tap[0] * window.dilation[0]).checked_sub(window.pads[0])?;
            (from < conv.input.height).then(|| (picture * conv.input.height + from) * conv.input.width)
        };
        Self {
            stride,
            rows: rows.clone().map(row).collect(),
            range: (start, end),
            first: if start < end {
                start * stride + offset - pad
            } else {
                0
            },
        }
    }

    fn read(&self, from: &[f32], to: &mut [f32]) {
        let (start, end) = self.range;
        to[..start].fill(0.0);
        to[end..].fill(0.0);
        if self.stride == 1 {
            to[start..end].copy_from_slice(&from[self.first..][..end - start]);
        } else {
            let seen = from[self.first..].iter().step_by(self.stride);
            to[start..end]
                .iter_mut()
                .zip(seen)
                .for_each(|(to, from)| *to = *from);
        }
    }

    fn add(&self, from: &[f32], to: &mut [f32]) {
        let (start, end) = self.range;
        let seen = to[self.first..].iter_mut().step_by(self.stride);
        from[start..end]
            .iter()
            .zip(seen)
            .for_each(|(from, to)| *to += from);
    }
}
