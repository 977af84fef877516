//! Weights that are no numbers.

use crate::model::Model;
use crate::proto::TensorProto;

/// A line for each constant that holds NaN or infinity. Such a model loads and runs, but passes that look at
/// weights refuse it.
pub fn not_finite(model: &Model) -> Vec<String> {
    let graph = model.graph();
    let in_nodes = graph
        .node
        .iter()
        .filter_map(|node| Some((node.label(), node.tensor("value")?)));
    let initializers = graph
        .initializer
        .iter()
        .map(|tensor| (tensor.name().to_owned(), tensor));
    initializers
        .chain(in_nodes)
        .filter_map(|(name, tensor)| finding(&name, tensor))
        .collect()
}

fn finding(name: &str, tensor: &TensorProto) -> Option<String> {
    let is_float = tensor.element_type().is_ok_and(crate::proto::DataType::is_float);
    let values = is_float.then(|| tensor.floats().ok()).flatten()?;
    let count = values.iter().filter(|value| !value.is_finite()).count();
    let first = values.iter().find(|value| !value.is_finite())?;
    Some(format!(
        "constant `{name}` holds {first} among {count} values that are not finite"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::build::Builder;

    #[test]
    fn each_constant_that_is_not_finite_is_named() {
        let mut b = Builder::new(17);
        let x = b.input("x", &["n", "3"]);
        let good = b.floats(&[3], &[1.0, 2.0, 3.0]);
        let bad = b.floats(&[3], &[1.0, f32::NAN, f32::INFINITY]);
        let y = b.op("Add", &[&x, &good], &[]);
        let y = b.op("Mul", &[&y, &bad], &[]);
        assert_eq!(
            not_finite(&b.finish(&[&y])),
            [format!(
                "constant `{bad}` holds NaN among 2 values that are not finite"
            )]
        );
    }
}
