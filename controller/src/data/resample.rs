//! Pillow's antialiased bilinear resize, to the last bit.
//!
//! torchvision resizes PIL pictures with it, so a pack holds the very pixels that a PyTorch pipeline sees, on
//! every machine. The scheme (`Resample.c` of Pillow): a horizontal and a vertical pass, each a weighted sum
//! with a triangle filter that is widened by the reduction, in 22-bit fixed point, rounded to bytes after each.

use std::ops::Range;

/// Fraction bits of a weight: a sum of bytes times weights stays within an `i32`.
const PRECISION: u32 = 32 - 8 - 2;

/// Rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub height: usize,
    pub width: usize,
}

/// The source pixels of one output pixel: the first, and the weight of each from there.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// A part of a picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Extents.
    pub size: Size,
}

/// A part of a `[H, W, C]` picture that is resized to `to`. No extent is zero, and the part lies inside. Of the rest
/// nothing is computed: a picture that is a mere line would become larger than memory.
pub(super) fn resize(pixels: &[u8], channels: usize, from: Size, to: Size, part: Part) -> Vec<u8> {
    let rows = windows(from.height, to.height, part.top..part.top + part.size.height);
    let columns = windows(from.width, to.width, part.left..part.left + part.size.width);
    let first = rows.first().map_or(0, |window| window.start);
    let end = rows
        .last()
        .map_or(0, |window| window.start + window.weights.len());
    let stride = from.width * channels;
    let widened = horizontal(&pixels[first * stride..end * stride], channels, stride, &columns);
    vertical(&widened, part.size.width * channels, first, &rows)
}

fn horizontal(pixels: &[u8], channels: usize, stride: usize, windows: &[Window]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() / stride * windows.len() * channels);
    for row in pixels.chunks_exact(stride) {
        for window in windows {
            for channel in 0..channels {
                let source = row[window.start * channels + channel..].iter().step_by(channels);
                let sum = source.zip(&window.weights).map(|(p, w)| i32::from(*p) * w).sum();
                out.push(round(sum));
            }
        }
    }
    out
}

/// Rows, of which the first has the number `first`, are summed whole, in the order of memory.
fn vertical(pixels: &[u8], stride: usize, first: usize, windows: &[Window]) -> Vec<u8> {
    let mut out = Vec::with_capacity(windows.len() * stride);
    let mut sums = vec![0; stride];
    for window in windows {
        sums.fill(0);
        let rows = pixels[(window.start - first) * stride..].chunks_exact(stride);
        for (row, weight) in rows.zip(&window.weights) {
            for (sum, pixel) in sums.iter_mut().zip(row) {
                *sum += i32::from(*pixel) * weight;
            }
        }
        out.extend(sums.iter().copied().map(round));
    }
    out
}

fn round(sum: i32) -> u8 {
    ((sum + (1 << (PRECISION - 1))) >> PRECISION).clamp(0, 255) as u8
}

/// The windows of the pixels `part` of a line that goes from one length to another. At the same length each is one
/// pixel with all the weight.
fn windows(from: usize, to: usize, part: Range<usize>) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    // Enlarging keeps the triangle's half-width of one pixel, reducing widens it.
    let support = scale.max(1.0);
    let inverse = 1.0 / support;
    let window = |index: usize| {
        let center = (index as f64 + 0.5) * scale;
        // Truncation towards zero, as in C.
        let start = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let triangle = |x: usize| (1.0 - ((x as f64 - center + 0.5) * inverse).abs()).max(0.0);
        let total: f64 = (start..end).map(triangle).sum();
        let fixed = |weight: f64| (0.5 + weight / total * f64::from(1 << PRECISION)) as i32;
        Window {
            start,
            weights: (start..end).map(triangle).map(fixed).collect(),
        }
    };
    part.map(window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_plain_picture_stays_plain(
            value: u8,
            channels in 1usize..5,
            from in (1usize..80, 1usize..80),
            to in (1usize..80, 1usize..80),
        ) {
            let from = Size { height: from.0, width: from.1 };
            let to = Size { height: to.0, width: to.1 };
            let picture = vec![value; from.height * from.width * channels];
            let whole = Part { top: 0, left: 0, size: to };
            let resized = resize(&picture, channels, from, to, whole);
            prop_assert_eq!(resized, vec![value; to.height * to.width * channels]);
        }

        #[test]
        fn a_part_is_what_the_whole_has_there(
            from in (1usize..40, 1usize..40),
            part in ((0usize..20, 1usize..20), (0usize..20, 1usize..20)),
            rest in (0usize..20, 0usize..20),
        ) {
            const CHANNELS: usize = 3;
            let from = Size { height: from.0, width: from.1 };
            let ((top, height), (left, width)) = part;
            let to = Size { height: top + height + rest.0, width: left + width + rest.1 };
            let picture: Vec<u8> = (0..from.height * from.width * CHANNELS).map(|i| (i * 37) as u8).collect();
            let whole = Part { top: 0, left: 0, size: to };
            let whole = resize(&picture, CHANNELS, from, to, whole);
            let rows = whole.chunks_exact(to.width * CHANNELS).skip(top).take(height);
            let expected: Vec<u8> = rows
                .flat_map(|row| &row[left * CHANNELS..(left + width) * CHANNELS])
                .copied()
                .collect();
            let part = Part { top, left, size: Size { height, width } };
            prop_assert_eq!(resize(&picture, CHANNELS, from, to, part), expected);
        }

        #[test]
        fn nothing_changes_at_the_same_size(
            picture in prop::collection::vec(any::<u8>(), 5 * 7 * 3)
        ) {
            let size = Size { height: 5, width: 7 };
            let whole = Part { top: 0, left: 0, size };
            prop_assert_eq!(resize(&picture, 3, size, size, whole), picture);
        }

        #[test]
        fn weights_cover_the_source_and_sum_to_one(from in 1usize..500, to in 1usize..500) {
            for window in windows(from, to, 0..to) {
                prop_assert!(window.start + window.weights.len() <= from);
                let sum: i32 = window.weights.iter().sum();
                prop_assert!((sum - (1 << PRECISION)).unsigned_abs() as usize <= window.weights.len());
            }
        }
    }
}
