//! What ONNX says of each operator, by version: how many inputs and outputs it has, and which attributes.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::proto::{AttributeProto, AttributeType, NodeProto};

/// A line a version; [`line`] says how to read it.
const TABLE: &str = include_str!("operators.txt");

static OPERATORS: LazyLock<HashMap<&str, Vec<Schema>>> = LazyLock::new(|| {
    let mut operators: HashMap<&str, Vec<Schema>> = HashMap::new();
    for text in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let (name, schema) = line(text).expect("the table is well-formed, which a test makes sure of");
        operators.entry(name).or_default().push(schema);
    }
    operators
});

/// One version of an operator.
struct Schema {
    /// The opset that brought it.
    since: i64,
    /// `None` from when on the operator is deprecated.
    form: Option<Form>,
}

struct Form {
    inputs: Span,
    outputs: Span,
    attributes: Vec<Attribute>,
}

/// At least and at most, the latter without bound where it is `None`.
struct Span(usize, Option<usize>);

struct Attribute {
    name: &'static str,
    kind: AttributeType,
    required: bool,
}

/// What a node of a known operator breaks.
pub(super) fn findings(node: &NodeProto, opset: i64) -> Vec<String> {
    let operator = node.op_type();
    let versions = OPERATORS.get(operator).map_or(&[][..], Vec::as_slice);
    let in_force = versions.iter().rev().find(|version| version.since <= opset);
    let Some(version) = in_force else {
        return vec![format!(
            "opset {opset} has no operator `{operator}`; export the model with a newer opset"
        )];
    };
    let Some(form) = &version.form else {
        return vec![format!(
            "operator `{operator}` is deprecated since opset {}; export the model with an older opset",
            version.since
        )];
    };
    let mut findings = Vec::new();
    // Trailing inputs may be left out by empty names.
    let named = |names: &[String]| {
        names
            .iter()
            .rposition(|name| !name.is_empty())
            .map_or(0, |last| last + 1)
    };
    findings.extend(form.inputs.finding(named(&node.input), "inputs"));
    findings.extend(form.outputs.finding(node.output.len(), "outputs"));
    for attribute in &node.attribute {
        findings.extend(form.attribute_finding(attribute, operator));
    }
    let missing = |known: &&Attribute| known.required && node.attribute(known.name).is_none();
    let missing = form.attributes.iter().filter(missing);
    findings.extend(missing.map(|known| format!("attribute `{}` is missing", known.name)));
    findings
}

impl Form {
    fn attribute_finding(&self, attribute: &AttributeProto, operator: &str) -> Option<String> {
        let name = attribute.name();
        let Some(known) = self.attributes.iter().find(|known| known.name == name) else {
            return Some(format!("operator `{operator}` has no attribute `{name}`"));
        };
        (attribute.r#type() != known.kind).then(|| {
            format!(
                "attribute `{name}` is {} and must be {}",
                attribute.r#type().as_str_name(),
                known.kind.as_str_name()
            )
        })
    }
}

impl Span {
    fn finding(&self, count: usize, what: &str) -> Option<String> {
        let Self(least, most) = *self;
        if count < least {
            Some(format!("{count} {what}, at least {least} expected"))
        } else if most.is_some_and(|most| count > most) {
            Some(format!(
                "{count} {what}, at most {} expected",
                most.unwrap_or_default()
            ))
        } else {
            None
        }
    }
}

/// Reads `Conv 11 2-3 1-1 strides:ints kernel_shape:ints!` or `Upsample 10 deprecated`; `!` is for required.
fn line(text: &'static str) -> Option<(&'static str, Schema)> {
    let mut words = text.split(' ');
    let (name, since) = (words.next()?, words.next()?.parse().ok()?);
    let inputs = match words.next()? {
        "deprecated" => return Some((name, Schema { since, form: None })),
        inputs => span(inputs)?,
    };
    let form = Form {
        inputs,
        outputs: span(words.next()?)?,
        attributes: words.map(attribute).collect::<Option<_>>()?,
    };
    Some((
        name,
        Schema {
            since,
            form: Some(form),
        },
    ))
}

fn span(text: &str) -> Option<Span> {
    let (least, most) = text.split_once('-')?;
    let most = if most.is_empty() {
        None
    } else {
        Some(most.parse().ok()?)
    };
    Some(Span(least.parse().ok()?, most))
}

fn attribute(text: &'static str) -> Option<Attribute> {
    let (name, kind) = text.split_once(':')?;
    let (kind, required) = kind.strip_suffix('!').map_or((kind, false), |kind| (kind, true));
    let kind = match kind {
        "int" => AttributeType::Int,
        "ints" => AttributeType::Ints,
        "float" => AttributeType::Float,
        "floats" => AttributeType::Floats,
        "string" => AttributeType::String,
        "strings" => AttributeType::Strings,
        "tensor" => AttributeType::Tensor,
        "sparse" => AttributeType::SparseTensor,
        "type" => AttributeType::TypeProto,
        _ => return None,
    };
    Some(Attribute { name, kind, required })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::build::Builder;
    use crate::proto::node;
    use crate::testing::{int, ints};

    #[test]
    fn the_table_is_well_formed() {
        for text in TABLE.lines().skip(1) {
            assert!(line(text).is_some(), "{text}");
        }
    }

    #[test]
    fn nodes_are_held_to_the_version_in_force() {
        let mut clip = node("Clip", "", &["x", "low"], &["y"]);
        assert_eq!(findings(&clip, 13), Vec::<String>::new());
        assert_eq!(findings(&clip, 10), ["2 inputs, at most 1 expected"]);
        clip.set_attribute(AttributeProto::from_float("min", 0.0));
        assert_eq!(findings(&clip, 13), ["operator `Clip` has no attribute `min`"]);
        let mut pool = node("MaxPool", "", &["x"], &["y"]);
        assert_eq!(findings(&pool, 17), ["attribute `kernel_shape` is missing"]);
        pool.set_attribute(int("kernel_shape", 2));
        assert_eq!(
            findings(&pool, 17),
            ["attribute `kernel_shape` is INT and must be INTS"]
        );
        let norm = node("LayerNormalization", "", &["x", "s"], &["y"]);
        assert_eq!(
            findings(&norm, 13),
            ["opset 13 has no operator `LayerNormalization`; export the model with a newer opset"]
        );
        let upsample = node("Upsample", "", &["x", "s"], &["y"]);
        assert_eq!(findings(&upsample, 9), Vec::<String>::new());
        assert_eq!(findings(&upsample, 11).len(), 1);
    }

    #[test]
    fn left_out_inputs_are_not_counted() {
        let mut b = Builder::new(13);
        let x = b.input("x", &["2", "3"]);
        let y = b.op("ReduceSum", &[&x, "", ""], &[]);
        let z = b.op("Transpose", &[&y], &[ints("perm", &[1, 0])]);
        let model = b.finish(&[&z]);
        for node in &model.graph().node {
            assert_eq!(findings(node, 13), Vec::<String>::new());
        }
    }
}
