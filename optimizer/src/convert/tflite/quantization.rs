//! The quantization of a QDQ graph as TFLite has it: 8-bit integers are signed.

use super::program::Quantization;
use crate::error::Error;
use crate::graph::{Graph, NodeId};
use crate::proto::{DataType, NodeProto, TensorProto};

/// What a constant's or value's integers must be shifted by to be signed.
const SHIFT: i64 = 128;

/// The quantization that a `QuantizeLinear` or `DequantizeLinear` names, of signed integers.
pub(super) fn of(graph: &Graph, id: NodeId) -> Result<Quantization, Error> {
    let node = graph.node(id);
    let scales = graph.constant_input(id, 1).ok_or_else(|| {
        Error::node(
            node,
            "its scale is computed; TFLite wants constants, so quantize with fixed ranges",
        )
    })?;
    if node.int("block_size").unwrap_or(0) != 0 {
        return Err(Error::node(
            node,
            "TFLite has no scales by block; use one scale a channel",
        ));
    }
    let shape = scales.shape()?;
    let scales = scales.floats()?;
    if shape.len() > 1 || scales.is_empty() || !scales.iter().all(|scale| scale.is_normal() && *scale > 0.0) {
        return Err(Error::node(
            node,
            "its scales are no positive numbers, one or one a channel",
        ));
    }
    let zero_points = match node.input_name(2) {
        Some(_) => signed_zero_points(graph, id)?,
        None if is_unsigned(graph, id) => vec![-SHIFT; scales.len()],
        None => vec![0; scales.len()],
    };
    if zero_points.len() != scales.len() {
        return Err(Error::node(node, "it has not as many zero points as scales"));
    }
    let axis = node.int("axis").unwrap_or(1);
    Ok(Quantization {
        axis: if scales.len() == 1 {
            0
        } else {
            from_front(node, axis, rank(graph, id))?
        },
        scales,
        zero_points,
    })
}

/// Whether the integers of a node without zero point are `uint8`: those that it makes are where it names no other
/// type, and those that it reads are as they were made.
fn is_unsigned(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    if node.is("QuantizeLinear") {
        let named = graph
            .constant_input(id, 2)
            .and_then(|zero| zero.element_type().ok());
        let named = named.or_else(|| DataType::try_from(i32::try_from(node.int("output_dtype")?).ok()?).ok());
        return matches!(named, None | Some(DataType::Undefined | DataType::Uint8));
    }
    if let Some(constant) = graph.constant_input(id, 0) {
        return matches!(constant.element_type(), Ok(DataType::Uint8));
    }
    let stores = graph.producer(&node.input[0]);
    stores.is_none_or(|stores| graph.node(stores).is("QuantizeLinear") && is_unsigned(graph, stores))
}

/// Axes of the constant that a node reads; `None` for other values.
fn rank(graph: &Graph, id: NodeId) -> Option<usize> {
    Some(graph.constant_input(id, 0)?.dims.len())
}

fn from_front(node: &NodeProto, axis: i64, rank: Option<usize>) -> Result<usize, Error> {
    let found = match (usize::try_from(axis), rank) {
        (Ok(axis), None) => Some(axis),
        (Ok(axis), Some(rank)) => (axis < rank).then_some(axis),
        (Err(_), rank) => rank.and_then(|rank| usize::try_from(rank as i64 + axis).ok()),
    };
    found.ok_or_else(|| Error::node(node, format!("axis {axis} of its scales does not exist")))
}

fn signed_zero_points(graph: &Graph, id: NodeId) -> Result<Vec<i64>, Error> {
    let node = graph.node(id);
    let tensor = graph
        .constant_input(id, 2)
        .ok_or_else(|| Error::node(node, "its zero point is computed; TFLite wants constants"))?;
    let shift = match tensor.element_type()? {
        DataType::Int8 | DataType::Int32 => 0,
        DataType::Uint8 => SHIFT,
        other => {
            let reason = format!(
                "TFLite takes 8-bit integers, and these are {}; quantize to 8 bits",
                other.label()
            );
            return Err(Error::node(node, reason));
        }
    };
    Ok(tensor.integers()?.into_iter().map(|zero| zero - shift).collect())
}

/// The integers of a constant, 8-bit ones as signed.
pub(super) enum Integers {
    /// Of weights and activations.
    Bytes(Vec<i8>),
    /// Of biases.
    Words(Vec<i32>),
}

/// The integers of a quantized constant; `None` where they have another type than 8 bits or `int32`.
pub(super) fn integers(tensor: &TensorProto) -> Result<Option<Integers>, Error> {
    Ok(match tensor.element_type()? {
        DataType::Int8 => Some(Integers::Bytes(tensor.values()?)),
        DataType::Uint8 => {
            let values: Vec<u8> = tensor.values()?;
            let signed = values.into_iter().map(|value| (value ^ 0x80).cast_signed());
            Some(Integers::Bytes(signed.collect()))
        }
        DataType::Int32 => Some(Integers::Words(tensor.values()?)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::build::Builder;
    use crate::proto::AttributeProto;

    fn pair(zero_point: TensorProto) -> Result<Quantization, Error> {
        let mut b = Builder::new(17);
        let x = b.input("x", &["4"]);
        let scale = b.initializer(TensorProto::scalar("scale", 0.5_f32));
        let zero_point = b.initializer(zero_point);
        let y = b.op("QuantizeLinear", &[&x, &scale, &zero_point], &[]);
        let graph = Graph::new(b.finish(&[&y])).unwrap();
        of(&graph, graph.ids()[0])
    }

    #[test]
    fn unsigned_integers_become_signed_ones() {
        assert_eq!(
            pair(TensorProto::scalar("z", 3_i8)).unwrap(),
            Quantization::of(0.5, 3)
        );
        assert_eq!(
            pair(TensorProto::scalar("z", 128_u8)).unwrap(),
            Quantization::of(0.5, 0)
        );
        assert_eq!(
            pair(TensorProto::scalar("z", 0_u8)).unwrap(),
            Quantization::of(0.5, -128)
        );
        let constant = TensorProto::of("c", &[3], &[0_u8, 128, 255]);
        let Some(Integers::Bytes(bytes)) = integers(&constant).unwrap() else {
            panic!("expected bytes");
        };
        assert_eq!(bytes, [-128, 0, 127]);
    }

    #[test]
    fn other_integers_are_refused_by_name() {
        let why = pair(TensorProto::scalar("z", 0_u16)).unwrap_err().to_string();
        assert!(
            why.contains("8 bits") && why.contains("quantizelinear_0"),
            "{why}"
        );
    }

    /// Zero points of a pair without any but where one is given, as signed integers.
    fn zero_points(zero: Option<i8>, attributes: &[AttributeProto]) -> [Vec<i64>; 2] {
        let mut b = Builder::new(21);
        let x = b.input("x", &["1", "4"]);
        let scale = b.floats(&[], &[0.5]);
        let zero = zero.map(|zero| b.initializer(TensorProto::scalar("zero", zero)));
        let inputs: Vec<&str> = [x.as_str(), &scale].into_iter().chain(zero.as_deref()).collect();
        let integers = b.op("QuantizeLinear", &inputs, attributes);
        let y = b.op("DequantizeLinear", &[&integers, &scale], &[]);
        let graph = Graph::new(b.finish(&[&y])).unwrap();
        let nodes: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
        [nodes[0], nodes[1]].map(|id| of(&graph, id).unwrap().zero_points)
    }

    #[test]
    fn a_zero_point_that_is_left_out_is_that_of_the_integers() {
        assert_eq!(
            zero_points(None, &[]),
            [[-128], [-128]],
            "ONNX's default is uint8"
        );
        assert_eq!(zero_points(Some(0), &[]), [[0], [0]]);
        let signed = AttributeProto::from_int("output_dtype", DataType::Int8 as i64);
        assert_eq!(zero_points(None, &[signed]), [[0], [0]]);
    }
}
