//! Pillow's antialiased bilinear resize, to the last bit.
//!
//! torchvision resizes PIL pictures with it, so a pack holds the very pixels that a PyTorch pipeline sees, on
//! every machine. The scheme (`Resample.c` of Pillow): a horizontal and a vertical pass, each a weighted sum
//! with a triangle filter that is widened by the reduction, in 22-bit fixed point, rounded to bytes after each.

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

/// Resizes a `[H, W, C]` picture. `from` and `to` have no zero extent.
pub(super) fn resize(pixels: &[u8], channels: usize, from: Size, to: Size) -> Vec<u8> {
    let widened = if from.width == to.width {
        pixels.to_vec()
    } else {
        horizontal(pixels, channels, from, to.width)
    };
    if from.height == to.height {
        return widened;
    }
    vertical(&widened, to.width * channels, &windows(from.height, to.height))
}

fn horizontal(pixels: &[u8], channels: usize, from: Size, width: usize) -> Vec<u8> {
    let windows = windows(from.width, width);
    let mut out = Vec::with_capacity(from.height * width * channels);
    for row in pixels.chunks_exact(from.width * channels) {
        for window in &windows {
            for channel in 0..channels {
                let source = row[window.start * channels + channel..].iter().step_by(channels);
                let sum = source.zip(&window.weights).map(|(p, w)| i32::from(*p) * w).sum();
                out.push(round(sum));
            }
        }
    }
    out
}

/// Rows are summed whole, in the order of memory.
fn vertical(pixels: &[u8], stride: usize, windows: &[Window]) -> Vec<u8> {
    let mut out = Vec::with_capacity(windows.len() * stride);
    let mut sums = vec![0; stride];
    for window in windows {
        sums.fill(0);
        let rows = pixels[window.start * stride..].chunks_exact(stride);
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

fn windows(from: usize, to: usize) -> Vec<Window> {
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
    (0..to).map(window).collect()
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
            let resized = resize(&picture, channels, from, to);
            prop_assert_eq!(resized, vec![value; to.height * to.width * channels]);
        }

        #[test]
        fn weights_cover_the_source_and_sum_to_one(from in 1usize..500, to in 1usize..500) {
            for window in windows(from, to) {
                prop_assert!(window.start + window.weights.len() <= from);
                let sum: i32 = window.weights.iter().sum();
                prop_assert!((sum - (1 << PRECISION)).unsigned_abs() as usize <= window.weights.len());
            }
        }
    }
}
