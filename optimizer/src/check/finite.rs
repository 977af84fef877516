//! Weights that are no numbers.

use crate::model::Model;
use crate::proto::TensorProto;

/// Names of constants that are told.
const SHOWN: usize = 3;

/// Names the constants that hold NaN; `None` where there are none. Such a model loads and runs, and an operator
/// behind the constant can hide it, on one runtime and not on the other.
pub fn not_a_number(model: &Model) -> Option<String> {
    named(model, f32::is_nan).map(|names| format!("constants that hold no numbers: {names}"))
}

/// Names the constants that hold NaN or infinity, with the first such value; `None` where there are none.
/// Infinity may be meant, as in a mask.
pub fn not_finite(model: &Model) -> Option<String> {
    named(model, |value| !value.is_finite()).map(|names| format!("constants that are not finite: {names}"))
}

/// The constants that hold such a value, with the first one.
fn named(model: &Model, is_such: impl Fn(f32) -> bool) -> Option<String> {
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
        .filter_map(|(name, tensor)| Some(format!("`{name}` ({})", first(tensor, &is_such)?)))
        .collect();
    let more = match found.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = &found[..found.len().min(SHOWN)];
    (!found.is_empty()).then(|| format!("{}{more}", shown.join(", ")))
}

fn first(tensor: &TensorProto, is_such: impl Fn(f32) -> bool) -> Option<f32> {
    let is_float = tensor.element_type().is_ok_and(crate::proto::DataType::is_float);
    let values = is_float.then(|| tensor.floats().ok()).flatten()?;
    values.into_iter().find(|value| is_such(*value))
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
        let model = b.finish(&[&y]);
        let found = not_finite(&model).unwrap();
        assert_eq!(found, format!("constants that are not finite: `{bad}` (NaN)"));
        let found = not_a_number(&model).unwrap();
        assert_eq!(found, format!("constants that hold no numbers: `{bad}` (NaN)"));
    }

    #[test]
    fn of_many_the_first_are_named() {
        let mut b = Builder::new(17);
        let mut y = b.input("x", &["n", "1"]);
        for _ in 0..5 {
            let bad = b.floats(&[1], &[f32::NEG_INFINITY]);
            y = b.op("Add", &[&y, &bad], &[]);
        }
        let model = b.finish(&[&y]);
        let found = not_finite(&model).unwrap();
        assert!(found.ends_with(" (-inf) and 2 more"), "{found}");
        assert_eq!(not_a_number(&model), None);
    }
}
