//! Kernels for processors: what burn's CPU backend lacks or does slowly.
//!
//! Pictures lie channel by channel: `[C, N, H, W]`. A 1x1 convolution of a whole batch then is one matrix product
//! without copies, a depthwise one runs over one stretch of memory a channel, and so do the statistics of a batch
//! normalization.

pub(super) mod convolution;
mod dense;
mod depthwise;
mod gemm;
mod kernels;
pub(super) mod map;
pub(super) mod normalize;
pub(super) mod pool;

/// Extents of pictures that lie channel by channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extents {
    /// Channels.
    pub(super) channels: usize,
    /// Pictures.
    pub(super) batch: usize,
    /// Rows.
    pub(super) height: usize,
    /// Columns.
    pub(super) width: usize,
}

impl Extents {
    /// From `[C, N, H, W]`.
    pub(super) fn new([channels, batch, height, width]: [usize; 4]) -> Self {
        Self {
            channels,
            batch,
            height,
            width,
        }
    }

    /// Elements of one channel of all pictures.
    pub(super) fn plane(&self) -> usize {
        self.batch * self.height * self.width
    }

    /// All elements.
    pub(super) fn count(&self) -> usize {
        self.channels * self.plane()
    }
}
