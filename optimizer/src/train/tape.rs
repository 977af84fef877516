//! Operations of our own on burn's tape, over whichever backend computes.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::tensor::FloatTensor;
use burn_backend::{AutodiffBackend as _, Backend};

use super::kernels::Kernels;

/// A backend with a tape, which gives gradients.
pub(super) type Taped<B> = Autodiff<B>;

/// Gives the gradients of an operation's inputs, as far as they are wanted, from that of its output.
pub(super) type Gradient<B, const N: usize> =
    dyn Fn(FloatTensor<B>, [bool; N]) -> [Option<FloatTensor<B>>; N] + Send + Sync;

/// A backend with or without a tape.
pub(super) trait Tape: Backend {
    /// What computes: the backend itself without a tape.
    type Plain: Kernels;

    /// A tensor that depends on nothing.
    fn constant(tensor: FloatTensor<Self::Plain>) -> FloatTensor<Self>;

    /// The tensor itself.
    fn plain(tensor: &FloatTensor<Self>) -> &FloatTensor<Self::Plain>;

    /// The result of an operation, with what gives its gradients.
    fn record<const N: usize>(
        inputs: [FloatTensor<Self>; N],
        output: FloatTensor<Self::Plain>,
        gradient: Arc<Gradient<Self::Plain, N>>,
    ) -> FloatTensor<Self>;
}

impl<B: Kernels> Tape for B {
    type Plain = B;

    fn constant(tensor: FloatTensor<B>) -> FloatTensor<B> {
        tensor
    }

    fn plain(tensor: &FloatTensor<B>) -> &FloatTensor<B> {
        tensor
    }

    fn record<const N: usize>(
        _: [FloatTensor<B>; N],
        output: FloatTensor<B>,
        _: Arc<Gradient<B, N>>,
    ) -> FloatTensor<B> {
        output
    }
}

impl<B: Kernels> Tape for Taped<B> {
    type Plain = B;

    fn constant(tensor: FloatTensor<B>) -> FloatTensor<Self> {
        Self::from_inner(tensor)
    }

    fn plain(tensor: &FloatTensor<Self>) -> &FloatTensor<B> {
        tensor.primitive()
    }

    fn record<const N: usize>(
        inputs: [FloatTensor<Self>; N],
        output: FloatTensor<B>,
        gradient: Arc<Gradient<B, N>>,
    ) -> FloatTensor<Self> {
        let nodes = inputs.each_ref().map(FloatTensor::<Self>::node);
        let operation = Recorded::<B>(PhantomData)
            .prepare::<NoCheckpointing>(nodes)
            .compute_bound();
        match operation.stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(State(gradient), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

/// An operation on burn's tape, whose gradients a closure gives.
#[derive(Debug)]
struct Recorded<B>(PhantomData<B>);

struct State<B: Backend, const N: usize>(Arc<Gradient<B, N>>);

impl<B: Backend, const N: usize> Clone for State<B, N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend, const N: usize> fmt::Debug for State<B, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

impl<B: Backend, const N: usize> Backward<B, N> for Recorded<B> {
    type State = State<B, N>;

    fn backward(self, ops: Ops<State<B, N>, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let made = (ops.state.0)(gradient, wanted);
        for (parent, made) in ops.parents.into_iter().zip(made) {
            if let (Some(parent), Some(made)) = (parent, made) {
                gradients.register::<B>(parent.id, made);
            }
        }
    }
}
