//! Values of a program on their way, whose pictures may lie channel by channel.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Shape, TensorMetadata};

use super::kernels::Kernels as _;
use super::tape::Tape;

/// A value with its layout.
#[derive(Debug)]
pub(super) struct Value<B: Tape> {
    pub(super) tensor: FloatTensor<B>,
    /// Whether the first two axes lie in reverse order, channels before samples.
    pub(super) by_channel: bool,
}

impl<B: Tape> Clone for Value<B> {
    fn clone(&self) -> Self {
        Self::new(self.tensor.clone(), self.by_channel)
    }
}

impl<B: Tape> Value<B> {
    pub(super) fn new(tensor: FloatTensor<B>, by_channel: bool) -> Self {
        Self { tensor, by_channel }
    }

    /// The tensor with its axes in the order of the model.
    pub(super) fn plain(self) -> FloatTensor<B> {
        self.in_layout(false)
    }

    /// The tensor as convolutions take it.
    pub(super) fn pictures(self) -> FloatTensor<B> {
        self.in_layout(B::Plain::BY_CHANNEL)
    }

    /// With leading axes of one element until there are `rank`.
    pub(super) fn widened(self, rank: usize) -> Self {
        let own = self.tensor.shape().rank();
        if own >= rank {
            return self;
        }
        // Axes in front of the first one: in the order of the model, as only the first two lie otherwise.
        let plain = self.plain();
        let mut extents = vec![1; rank - own];
        extents.extend_from_slice(&plain.shape());
        Self::new(B::float_reshape(plain, Shape::from(extents)), false)
    }

    pub(super) fn in_layout(self, by_channel: bool) -> FloatTensor<B> {
        if self.by_channel == by_channel {
            self.tensor
        } else {
            B::float_swap_dims(self.tensor, 0, 1)
        }
    }
}

/// An axis that may be counted from the end.
pub(super) fn position(axis: i64, rank: usize) -> usize {
    if axis < 0 {
        (axis + rank as i64) as usize
    } else {
        axis as usize
    }
}

/// Where an axis is once the first two are in reverse order.
pub(super) fn reversed(axis: usize, by_channel: bool) -> usize {
    match axis {
        0 | 1 if by_channel => 1 - axis,
        _ => axis,
    }
}

/// Where a tensor of few axes repeats along those of another, both repeated.
pub(super) fn repeated<B: Tape, const N: usize>(tensors: [FloatTensor<B>; N]) -> [FloatTensor<B>; N] {
    let shapes = tensors.each_ref().map(TensorMetadata::shape);
    let rank = shapes[0].rank();
    let most = |axis: usize| shapes.iter().map(|shape| shape[axis]).max().unwrap_or(1);
    let whole = Shape::from((0..rank).map(most).collect::<Vec<_>>());
    tensors.map(|tensor| B::float_expand(tensor, whole.clone()))
}
