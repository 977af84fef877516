//! Building small models as expressions, for tests and fixtures.

use crate::model::Model;
use crate::proto::{
    AttributeProto, DataType, DimensionValue, NodeProto, TensorProto, TypeProto, TypeValue, ValueInfoProto,
    node, onnx,
};

/// Builds a model node by node. Each operator returns the name of its output, which the next one takes.
///
/// ```
/// use edgefront_optimizer::graph::build::Builder;
///
/// let mut b = Builder::new(17);
/// let x = b.input("x", &["batch", "3"]);
/// let y = b.op("Relu", &[&x], &[]);
/// let model = b.finish(&[&y]);
/// assert_eq!(model.graph().node.len(), 1);
/// ```
#[derive(Debug)]
pub struct Builder {
    opset: i64,
    graph: onnx::GraphProto,
}

impl Builder {
    /// An empty model that imports this version of the standard operator set.
    pub fn new(opset: i64) -> Self {
        let graph = onnx::GraphProto {
            name: Some("graph".to_owned()),
            ..Default::default()
        };
        Self { opset, graph }
    }

    /// A float32 input. Extents are numbers or names of dynamic axes.
    pub fn input(&mut self, name: &str, shape: &[&str]) -> String {
        self.graph
            .input
            .push(value_info(name, DataType::Float, Some(shape)));
        name.to_owned()
    }

    /// A float32 constant.
    pub fn floats(&mut self, shape: &[usize], values: &[f32]) -> String {
        let name = format!("w{}", self.graph.initializer.len());
        self.initializer(TensorProto::of(&name, shape, values))
    }

    /// An int64 constant with one axis.
    pub fn ints(&mut self, values: &[i64]) -> String {
        let name = format!("w{}", self.graph.initializer.len());
        self.initializer(TensorProto::of(&name, &[values.len()], values))
    }

    /// Any constant, under its own name.
    pub fn initializer(&mut self, tensor: TensorProto) -> String {
        let name = tensor.name().to_owned();
        self.graph.initializer.push(tensor);
        name
    }

    /// An operator with one output.
    pub fn op(&mut self, operator: &str, inputs: &[&str], attributes: &[AttributeProto]) -> String {
        let output = format!("v{}", self.graph.node.len());
        let name = format!("{}_{}", operator.to_lowercase(), self.graph.node.len());
        let mut made = node(operator, &name, inputs, &[&output]);
        made.attribute = attributes.to_vec();
        self.node(made);
        output
    }

    /// Any node.
    pub fn node(&mut self, node: NodeProto) {
        self.graph.node.push(node);
    }

    /// The message so far, to make it wrong.
    pub fn proto_mut(&mut self) -> &mut onnx::GraphProto {
        &mut self.graph
    }

    /// The model, whose outputs are float32 of undeclared shape.
    pub fn finish(mut self, outputs: &[&str]) -> Model {
        let info = |&name: &&str| value_info(name, DataType::Float, None);
        self.graph.output.extend(outputs.iter().map(info));
        Model::new(self.graph, 8, self.opset)
    }
}

/// A value's name and type. Extents are numbers or names of dynamic axes.
pub fn value_info(name: &str, data_type: DataType, shape: Option<&[&str]>) -> ValueInfoProto {
    let dimension = |&extent: &&str| {
        let value = match extent.parse() {
            Ok(number) => DimensionValue::DimValue(number),
            Err(_) => DimensionValue::DimParam(extent.to_owned()),
        };
        onnx::tensor_shape_proto::Dimension {
            value: Some(value),
            denotation: None,
        }
        .into()
    };
    let shape = shape.map(|extents| {
        onnx::TensorShapeProto {
            dim: extents.iter().map(dimension).collect(),
        }
        .into()
    });
    let tensor = onnx::type_proto::Tensor {
        elem_type: Some(data_type.into()),
        shape,
    };
    let kind: TypeProto = onnx::TypeProto {
        value: Some(TypeValue::TensorType(tensor.into())),
        denotation: None,
    }
    .into();
    onnx::ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(kind),
        ..Default::default()
    }
    .into()
}
