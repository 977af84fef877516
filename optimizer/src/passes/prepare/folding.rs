//! Computing the nodes whose inputs are all constants.

use prost::Message as _;

use crate::evaluate;
use crate::graph::{Graph, NodeId};
use crate::model::{LARGEST, Model};
use crate::proto::TensorProto;
use crate::shape::Values;

/// Computes constants as long as the model still fits into one file.
pub(super) struct Folding {
    /// Bytes that may be added.
    room: u64,
}

impl Folding {
    /// For this model, with its size today.
    pub(super) fn within(model: &Model) -> Self {
        let size = model.proto().encoded_len() as u64;
        Self {
            room: LARGEST.saturating_sub(size),
        }
    }

    /// The value of a node's one output, `None` where it depends on the model's inputs or the operator is none
    /// that can be computed here; an error where it is too large.
    pub(super) fn value(
        &mut self,
        graph: &Graph,
        id: NodeId,
        values: &Values,
    ) -> Option<Result<TensorProto, String>> {
        let node = graph.node(id);
        let [output] = node.output.as_slice() else {
            return None;
        };
        let output = values.get(output)?;
        if let Some(small) = output.known() {
            return Some(Ok(small));
        }
        if !evaluate::may_evaluate(node) {
            return None;
        }
        let mut inputs = Vec::with_capacity(node.input.len());
        for index in 0..node.input.len() {
            match node.input_name(index) {
                Some(name) => inputs.push(Some(graph.initializer(name)?)),
                None => inputs.push(None),
            }
        }
        let bits = u64::from(output.data_type.bits()?);
        let bytes = output
            .extents()?
            .iter()
            .try_fold(bits, |product, &extent| product.checked_mul(extent as u64))
            .map_or(u64::MAX, |bits| bits / 8);
        let Some(room) = self.room.checked_sub(bytes) else {
            return Some(Err("its value would make the model larger than 2 GB".to_owned()));
        };
        let tensor = evaluate::evaluate(node, &inputs, output)?;
        self.room = room;
        Some(Ok(tensor))
    }
}
