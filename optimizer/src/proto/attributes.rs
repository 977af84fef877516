//! Reading and writing a node's attributes by name.

use super::{AttributeProto, AttributeType, NodeProto, TensorProto, onnx};

impl onnx::NodeProto {
    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|attribute| attribute.name() == name)
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).and_then(|attribute| attribute.i)
    }

    /// A float attribute.
    pub fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name).and_then(|attribute| attribute.f)
    }

    /// A list of integers.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    /// A text attribute; `None` where it is not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        let attribute = self.attribute(name)?;
        std::str::from_utf8(attribute.s.as_deref()?).ok()
    }

    /// A tensor attribute.
    pub fn tensor(&self, name: &str) -> Option<&TensorProto> {
        self.attribute(name).and_then(|attribute| attribute.t.as_ref())
    }

    /// Sets an attribute, replacing one of the same name.
    pub fn set_attribute(&mut self, attribute: AttributeProto) {
        self.remove_attribute(attribute.name.as_deref().unwrap_or_default());
        self.attribute.push(attribute);
    }

    /// Removes the attribute of that name, if there is one.
    pub fn remove_attribute(&mut self, name: &str) -> Option<AttributeProto> {
        let index = self
            .attribute
            .iter()
            .position(|attribute| attribute.name() == name)?;
        Some(self.attribute.remove(index))
    }

    /// How messages call the node: its name, or for a nameless one its operator and first output.
    pub fn label(&self) -> String {
        match self.name() {
            "" => {
                let output = self.output.first().map_or("nothing", String::as_str);
                format!("{} -> {output}", self.op_type())
            }
            name => name.to_owned(),
        }
    }

    /// The name of input `index`; `None` where it is left out.
    pub fn input_name(&self, index: usize) -> Option<&str> {
        self.input
            .get(index)
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }

    /// Whether the node is this operator of the standard set.
    pub fn is(&self, operator: &str) -> bool {
        self.op_type() == operator && self.is_standard()
    }

    /// Whether the operator belongs to ONNX itself and not to a vendor's domain.
    pub fn is_standard(&self) -> bool {
        matches!(self.domain(), "" | "ai.onnx")
    }
}

/// A node of the standard operator set.
pub fn node(operator: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    onnx::NodeProto {
        op_type: Some(operator.to_owned()),
        name: Some(name.to_owned()),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: outputs.iter().map(|&name| name.to_owned()).collect(),
        ..Default::default()
    }
    .into()
}

impl AttributeProto {
    fn of(name: &str, kind: AttributeType, fill: impl FnOnce(&mut onnx::AttributeProto)) -> Self {
        let mut attribute = onnx::AttributeProto {
            name: Some(name.to_owned()),
            r#type: Some(kind.into()),
            ..Default::default()
        };
        fill(&mut attribute);
        attribute.into()
    }

    /// An integer attribute.
    pub fn from_int(name: &str, value: i64) -> Self {
        Self::of(name, AttributeType::Int, |attribute| attribute.i = Some(value))
    }

    /// A float attribute.
    pub fn from_float(name: &str, value: f32) -> Self {
        Self::of(name, AttributeType::Float, |attribute| attribute.f = Some(value))
    }

    /// A list of integers.
    pub fn from_ints(name: &str, values: &[i64]) -> Self {
        Self::of(name, AttributeType::Ints, |attribute| {
            attribute.ints = values.to_vec();
        })
    }

    /// A text attribute.
    pub fn from_text(name: &str, value: &str) -> Self {
        Self::of(name, AttributeType::String, |attribute| {
            attribute.s = Some(value.as_bytes().to_vec());
        })
    }

    /// A tensor attribute.
    pub fn from_tensor(name: &str, value: TensorProto) -> Self {
        Self::of(name, AttributeType::Tensor, |attribute| attribute.t = Some(value))
    }
}
