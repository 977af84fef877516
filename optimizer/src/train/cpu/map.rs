//! Functions of single elements and sums, over all threads and with the widest vectors of the processor.

use rayon::prelude::*;

pub(super) use crate::simd::vectorized;

/// Elements that one thread takes at a time.
const CHUNK: usize = 1 << 14;

/// Sums that grow side by side, so that the processor adds vectors.
const LANES: usize = 32;

/// `f` of every element.
pub(in crate::train) fn unary(input: &[f32], f: impl Fn(f32) -> f32 + Sync) -> Vec<f32> {
    let mut output = vec![0.0; input.len()];
    let chunks = output.par_chunks_mut(CHUNK).zip(input.par_chunks(CHUNK));
    chunks.for_each(|(output, input)| {
        vectorized(
            #[inline(always)]
            || {
                for (output, &input) in output.iter_mut().zip(input) {
                    *output = f(input);
                }
            },
        );
    });
    output
}

/// `f` of every pair of elements.
///
/// # Panics
/// If the lengths differ.
pub(in crate::train) fn binary(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) -> Vec<f32> {
    assert_eq!(a.len(), b.len(), "there are pairs");
    let mut output = vec![0.0; a.len()];
    let chunks = output
        .par_chunks_mut(CHUNK)
        .zip(a.par_chunks(CHUNK))
        .zip(b.par_chunks(CHUNK));
    chunks.for_each(|((output, a), b)| {
        vectorized(
            #[inline(always)]
            || {
                for ((output, &a), &b) in output.iter_mut().zip(a).zip(b) {
                    *output = f(a, b);
                }
            },
        );
    });
    output
}

/// `f` of every pair of elements gives an element and a term of a sum; returns the elements and the sum, whose
/// order does not depend on the threads.
pub(in crate::train) fn binary_with_sum(
    a: &[f32],
    b: &[f32],
    f: impl Fn(f32, f32) -> (f32, f32) + Sync,
) -> (Vec<f32>, f32) {
    assert_eq!(a.len(), b.len(), "there are pairs");
    let mut output = vec![0.0; a.len()];
    let chunks = output
        .par_chunks_mut(CHUNK)
        .zip(a.par_chunks(CHUNK))
        .zip(b.par_chunks(CHUNK));
    let sums = chunks.map(|((output, a), b)| {
        vectorized(
            #[inline(always)]
            || {
                let mut lanes = [0.0; LANES];
                let blocks = output.chunks_mut(LANES).zip(a.chunks(LANES)).zip(b.chunks(LANES));
                for ((output, a), b) in blocks {
                    for (((output, &a), &b), lane) in output.iter_mut().zip(a).zip(b).zip(&mut lanes) {
                        let (element, term) = f(a, b);
                        *output = element;
                        *lane += term;
                    }
                }
                lanes.iter().sum::<f32>()
            },
        )
    });
    let sums: Vec<f32> = sums.collect();
    (output, sums.iter().sum())
}

/// The sum of all elements.
pub(super) fn sum(values: &[f32]) -> f32 {
    sum_of(values, |value| value)
}

/// The sum of `f` of every element.
pub(super) fn sum_of(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    vectorized(
        #[inline(always)]
        || {
            let mut lanes = [0.0; LANES];
            let blocks = values.chunks_exact(LANES);
            let rest: f32 = blocks.remainder().iter().map(|&value| f(value)).sum();
            for block in blocks {
                for (lane, &value) in lanes.iter_mut().zip(block) {
                    *lane += f(value);
                }
            }
            lanes.iter().sum::<f32>() + rest
        },
    )
}

/// The sum of the products of pairs.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    vectorized(
        #[inline(always)]
        || {
            let mut lanes = [0.0; LANES];
            let (blocks, others) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
            let rest = blocks.remainder().iter().zip(others.remainder());
            let rest: f32 = rest.map(|(a, b)| a * b).sum();
            for (a, b) in blocks.zip(others) {
                for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                    *lane += a * b;
                }
            }
            lanes.iter().sum::<f32>() + rest
        },
    )
}
