//! Open axes get extents: kernels of TFLite are set up for shapes that are known.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::model::Model;
use crate::proto::{DimensionProto, DimensionValue, TypeValue, ValueInfoProto};

/// The model with every axis of its inputs fixed: as `shapes` says, one for each input in order; where there are
/// none, an open first axis becomes 1 and other open axes are refused.
pub(super) fn fix(model: Model, shapes: &[Vec<usize>]) -> Result<Model, Error> {
    let mut model = model.into_proto();
    let graph = model.graph.as_mut().expect("a model has a graph");
    let constants: BTreeSet<String> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name().to_owned())
        .collect();
    let inputs = graph
        .input
        .iter_mut()
        .filter(|input| !constants.contains(input.name()));
    let mut bound = BTreeMap::new();
    let mut count = 0;
    for input in inputs {
        fix_input(input, shapes.get(count).map(Vec::as_slice), &mut bound)?;
        count += 1;
    }
    if !shapes.is_empty() && shapes.len() != count {
        return Err(Error::Graph(format!(
            "{} shapes are given for {count} inputs",
            shapes.len()
        )));
    }
    let graph = &mut **graph;
    let infos = graph.output.iter_mut().chain(&mut graph.value_info);
    for dimension in infos.flat_map(dimensions) {
        if let Some(DimensionValue::DimParam(symbol)) = &dimension.value
            && let Some(&extent) = bound.get(symbol)
        {
            dimension.value = Some(DimensionValue::DimValue(extent));
        }
    }
    Ok(Model::from_proto(model))
}

/// Fixes the axes of one input and notes what each symbol stands for.
fn fix_input(
    input: &mut ValueInfoProto,
    shape: Option<&[usize]>,
    bound: &mut BTreeMap<String, i64>,
) -> Result<(), Error> {
    let name = input.name().to_owned();
    let dimensions = dimensions(input);
    if let Some(shape) = shape
        && shape.len() != dimensions.len()
    {
        return Err(Error::Graph(format!(
            "the shape {shape:?} is given for input `{name}` of {} axes",
            dimensions.len()
        )));
    }
    for (axis, dimension) in dimensions.into_iter().enumerate() {
        let given = shape.map(|shape| extent(shape[axis], &name)).transpose()?;
        let symbol = match &dimension.value {
            Some(DimensionValue::DimValue(own)) => {
                if given.is_some_and(|given| given != *own) {
                    return Err(Error::Graph(format!(
                        "axis {axis} of input `{name}` is {own}, and {} is given",
                        given.unwrap_or_default()
                    )));
                }
                continue;
            }
            Some(DimensionValue::DimParam(symbol)) => Some(symbol.clone()),
            None => None,
        };
        let extent = match (given, axis) {
            (Some(given), _) => given,
            (None, 0) => 1,
            (None, _) => {
                return Err(Error::Graph(format!(
                    "axis {axis} of input `{name}` is open, and TFLite wants fixed pictures; give the shape, or \
                     export the model with a fixed extent there"
                )));
            }
        };
        if let Some(symbol) = symbol {
            let before = bound.insert(symbol.clone(), extent);
            if before.is_some_and(|before| before != extent) {
                return Err(Error::Graph(format!(
                    "axis {axis} of input `{name}` is `{symbol}`, which other axes have as another number"
                )));
            }
        }
        dimension.value = Some(DimensionValue::DimValue(extent));
    }
    Ok(())
}

/// An extent as TFLite counts, in 32 bits.
fn extent(given: usize, input: &str) -> Result<i64, Error> {
    let fits = i32::try_from(given).ok().filter(|&extent| extent > 0);
    fits.map(i64::from).ok_or_else(|| {
        Error::Graph(format!(
            "input `{input}` cannot have an extent of {given}; TFLite counts to {}",
            i32::MAX
        ))
    })
}

fn dimensions(info: &mut ValueInfoProto) -> Vec<&mut DimensionProto> {
    let kind = info.r#type.as_mut().and_then(|kind| kind.value.as_mut());
    let Some(TypeValue::TensorType(tensor)) = kind else {
        return Vec::new();
    };
    tensor
        .shape
        .as_mut()
        .map_or_else(Vec::new, |shape| shape.dim.iter_mut().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::build::Builder;

    fn with_input(shape: &[&str], given: &[Vec<usize>]) -> Result<Model, Error> {
        let mut b = Builder::new(17);
        let x = b.input("x", shape);
        let y = b.op("Relu", &[&x], &[]);
        fix(b.finish(&[&y]), given)
    }

    fn extents(shape: &[&str], given: &[Vec<usize>]) -> Vec<usize> {
        let model = with_input(shape, given).unwrap();
        let values = crate::shape::infer(&model, &BTreeMap::new()).unwrap();
        values.get("v0").unwrap().extents().unwrap()
    }

    #[test]
    fn an_open_batch_is_one_and_other_open_axes_are_named() {
        assert_eq!(extents(&["batch", "3", "8", "8"], &[]), [1, 3, 8, 8]);
        let why = with_input(&["1", "3", "height", "8"], &[])
            .unwrap_err()
            .to_string();
        assert!(why.contains("axis 2 of input `x`"), "{why}");
    }

    #[test]
    fn a_shape_binds_what_is_open_and_must_fit() {
        let open = ["batch", "3", "size", "size"];
        assert_eq!(extents(&open, &[vec![4, 3, 8, 8]]), [4, 3, 8, 8]);
        for given in [
            vec![vec![4, 1, 8, 8]],
            vec![vec![4, 3, 8]],
            vec![vec![4, 3, 8, 9]],
            vec![vec![1 << 32, 3, 8, 8]],
            vec![vec![0, 3, 8, 8]],
            vec![vec![4, 3, 8, 8]; 2],
        ] {
            with_input(&open, &given).unwrap_err();
        }
    }
}
