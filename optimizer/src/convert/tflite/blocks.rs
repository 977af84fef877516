//! `DepthToSpace` in mode `CRD`, whose channels lie otherwise than TFLite's.

use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::proto::{AttributeProto, DataType, TensorProto};

/// Lets convolutions make the channels in TFLite's order, where nothing else reads them: their weights and biases are
/// reordered. What others make is left as it is.
pub(super) fn reorder(graph: &mut Graph) -> Result<(), Error> {
    for id in graph.ids() {
        let node = graph.node(id);
        if !node.is("DepthToSpace") || node.text("mode") != Some("CRD") {
            continue;
        }
        let block = node
            .int("blocksize")
            .and_then(|block| usize::try_from(block).ok());
        let (Some(maker), Some(block)) = (maker(graph, id), block) else {
            continue;
        };
        for (index, constant) in maker.constants {
            let name = graph.fresh_name(&format!("{}_blocks", constant.name()));
            graph.add_initializer(blocks_first(&name, &constant, block * block)?);
            graph.set_input(maker.id, index, &name);
        }
        let mut reordered = graph.remove_node(id);
        reordered.set_attribute(AttributeProto::from_text("mode", "DCR"));
        graph.add_node(reordered);
    }
    graph.remove_unused_initializers();
    Ok(())
}

/// A convolution, and its weights and bias by their index among the inputs.
struct Maker {
    id: NodeId,
    constants: Vec<(usize, TensorProto)>,
}

/// The convolution in one group with constant floats as weights whose result a node alone reads.
fn maker(graph: &Graph, reader: NodeId) -> Option<Maker> {
    let made = &graph.node(reader).input[0];
    let id = graph
        .producer(made)
        .filter(|_| graph.sole_consumer(made).is_some())?;
    let node = graph.node(id);
    if !node.is("Conv") || node.int("group").unwrap_or(1) != 1 {
        return None;
    }
    let inputs = (1..node.input.len()).filter(|&index| node.input_name(index).is_some());
    let constants = inputs.map(|index| {
        let constant = graph.constant_input(id, index)?;
        let is_float = constant.element_type().ok() == Some(DataType::Float);
        is_float.then(|| (index, constant.clone()))
    });
    Some(Maker {
        id,
        constants: constants.collect::<Option<_>>()?,
    })
}

/// A tensor of this name with the constant's first axis, blocks of so many pixels, turned to as many runs of first pixels, of second ones.
fn blocks_first(name: &str, constant: &TensorProto, pixels: usize) -> Result<TensorProto, Error> {
    let (shape, values) = (constant.shape()?, constant.floats()?);
    let outputs = shape.first().copied().unwrap_or(1);
    let (blocks, each) = (outputs / pixels, values.len() / outputs);
    let from = (0..pixels).flat_map(|pixel| (0..blocks).map(move |block| block * pixels + pixel));
    let reordered: Vec<f32> = from
        .flat_map(|output| &values[output * each..][..each])
        .copied()
        .collect();
    Ok(TensorProto::of(name, &shape, &reordered))
}
