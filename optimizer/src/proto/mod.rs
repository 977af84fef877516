//! The ONNX file format: message types compiled from the official schema.
//!
//! Each message is a [`Kept`]: it dereferences to the known fields and carries, byte for byte, the fields that
//! only a newer schema knows.

mod attributes;
mod kept;

pub use attributes::node;
pub use kept::{Kept, Known};

/// The known fields of each message, and the enumerations.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod onnx {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}

include!(concat!(env!("OUT_DIR"), "/known.rs"));

pub use onnx::attribute_proto::AttributeType;
pub use onnx::tensor_proto::{DataLocation, DataType};
pub use onnx::tensor_shape_proto::dimension::Value as DimensionValue;
pub use onnx::type_proto::Value as TypeValue;

/// A named constant of a node.
pub type AttributeProto = Kept<onnx::AttributeProto>;
/// The nodes, constants and interface of a model.
pub type GraphProto = Kept<onnx::GraphProto>;
/// A whole file.
pub type ModelProto = Kept<onnx::ModelProto>;
/// One operation.
pub type NodeProto = Kept<onnx::NodeProto>;
/// An axis of a declared shape.
pub type DimensionProto = Kept<onnx::tensor_shape_proto::Dimension>;
/// A version of an operator set that the model imports.
pub type OperatorSetIdProto = Kept<onnx::OperatorSetIdProto>;
/// A key and its value.
pub type StringStringEntryProto = Kept<onnx::StringStringEntryProto>;
/// A constant.
pub type TensorProto = Kept<onnx::TensorProto>;
/// The axes of a tensor's type.
pub type TensorShapeProto = Kept<onnx::TensorShapeProto>;
/// A value's type.
pub type TypeProto = Kept<onnx::TypeProto>;
/// A value's name and type.
pub type ValueInfoProto = Kept<onnx::ValueInfoProto>;

#[cfg(test)]
mod tests;
