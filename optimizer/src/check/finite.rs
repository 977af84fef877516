//! Weights that are no numbers.

use crate::model::Model;
use crate::proto::TensorProto;

/// Names of constants that are told.
const SHOWN: usize = 3;

/// Names the constants that hold NaN or infinity, with the first such value; `None` where there are none. Such a
/// model loads and runs, and an operator behind the constant can hide it.
pub fn not_finite(model: &Model) -> Option<String> {
    let graph = model.graph();
    let in_nodes = graph
        .node
        .iter()
        .filter_map(|node| Some((node.label(), node.tensor("value")?)));
    let initializers = graph
        .initializer
        .iter()
        .map(|tensor| (tensor.name().to_owned(), tensor));
    let found: Vec<String> = initializers
        .chain(in_nodes)
        .filter_map(|(name, tensor)| Some(format!("`{name}` ({})", first(tensor)?)))
        .collect();
    let more = match found.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = &found[..found.len().min(SHOWN)];
    (!found.is_empty()).then(|| format!("constants that are not finite: {}{more}", shown.join(", ")))
}

/// The first value that is not finite.
fn first(tensor: &TensorProto) -> Option<f32> {
    let is_float = tensor.element_type().is_ok_and(crate::proto::DataType::is_float);
    let values = is_float.then(|| tensor.floats().ok()).flatten()?;
    values.into_iter().find(|value| !value.is_finite())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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
        let found = not_finite(&b.finish(&[&y])).unwrap();
        assert_eq!(found, format!("constants that are not finite: `{bad}` (NaN)"));
    }

    #[test]
    fn of_many_the_first_are_named() {
        let mut b = Builder::new(17);
        let mut y = b.input("x", &["n", "1"]);
        for _ in 0..5 {
            let bad = b.floats(&[1], &[f32::NEG_INFINITY]);
            y = b.op("Add", &[&y, &bad], &[]);
        }
        let found = not_finite(&b.finish(&[&y])).unwrap();
        assert!(found.ends_with(" (-inf) and 2 more"), "{found}");
    }
}
