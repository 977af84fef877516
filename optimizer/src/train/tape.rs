//! Operations of our own on burn's tensors, recorded on its tape where there is one.

use std::fmt;
use std::sync::Arc;

use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::tensor::FloatTensor;
use burn_backend::{AutodiffBackend as _, Backend, TensorData};
use burn_flex::{Flex, FlexDevice, FlexTensor};

/// The backend that training runs on: burn's, for processors, with a tape.
pub(super) type Taped = Autodiff<Flex>;

/// Gives the gradients of an operation's inputs, as far as they are wanted, from that of its output.
pub(super) type Gradient<const N: usize> =
    dyn Fn(FlexTensor, [bool; N]) -> [Option<FlexTensor>; N] + Send + Sync;

/// A backend for processors, with or without a tape.
pub(super) trait Tape: Backend<Device = FlexDevice> {
    /// A tensor that depends on nothing.
    fn constant(tensor: FlexTensor) -> FloatTensor<Self>;

    /// The tensor itself.
    fn plain(tensor: &FloatTensor<Self>) -> &FlexTensor;

    /// The result of an operation, with what gives its gradients.
    fn record<const N: usize>(
        inputs: [FloatTensor<Self>; N],
        output: FlexTensor,
        gradient: Arc<Gradient<N>>,
    ) -> FloatTensor<Self>;
}

impl Tape for Flex {
    fn constant(tensor: FlexTensor) -> FlexTensor {
        tensor
    }

    fn plain(tensor: &FlexTensor) -> &FlexTensor {
        tensor
    }

    fn record<const N: usize>(_: [FlexTensor; N], output: FlexTensor, _: Arc<Gradient<N>>) -> FlexTensor {
        output
    }
}

impl Tape for Taped {
    fn constant(tensor: FlexTensor) -> FloatTensor<Self> {
        Self::from_inner(tensor)
    }

    fn plain(tensor: &FloatTensor<Self>) -> &FlexTensor {
        tensor.primitive()
    }

    fn record<const N: usize>(
        inputs: [FloatTensor<Self>; N],
        output: FlexTensor,
        gradient: Arc<Gradient<N>>,
    ) -> FloatTensor<Self> {
        let nodes = inputs.each_ref().map(FloatTensor::<Self>::node);
        let operation = Recorded.prepare::<NoCheckpointing>(nodes).compute_bound();
        match operation.stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(State(gradient), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

/// An operation on burn's tape, whose gradients a closure gives.
#[derive(Debug)]
struct Recorded;

#[derive(Clone)]
struct State<const N: usize>(Arc<Gradient<N>>);

impl<const N: usize> fmt::Debug for State<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

impl<const N: usize> Backward<Flex, N> for Recorded {
    type State = State<N>;

    fn backward(self, ops: Ops<State<N>, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let made = (ops.state.0)(gradient, wanted);
        for (parent, made) in ops.parents.into_iter().zip(made) {
            if let (Some(parent), Some(made)) = (parent, made) {
                gradients.register::<Flex>(parent.id, made);
            }
        }
    }
}

/// A tensor of these elements in row-major order.
pub(super) fn tensor(values: Vec<f32>, shape: impl Into<burn_backend::Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// The tensor with its elements in row-major order.
pub(super) fn packed(tensor: &FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() {
        tensor.clone()
    } else {
        tensor.to_contiguous()
    }
}

/// The elements of a packed tensor.
pub(super) fn elements(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("the tensor is packed")
}
