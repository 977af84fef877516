//! Open axes get extents: kernels of TFLite are set up for shapes that are known.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::model::Model;
use crate::proto::{DimensionProto, DimensionValue, TypeValue, ValueInfoProto};

/// The model with a batch of 1 wherever the first axis of an input is open. Other open axes are refused.
pub(super) fn fix_batch(model: Model) -> Result<Model, Error> {
    let mut model = model.into_proto();
    let graph = model.graph.as_mut().expect("a model has a graph");
    let constants: BTreeSet<String> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name().to_owned())
        .collect();
    let mut bound = BTreeSet::new();
    for input in graph
        .input
        .iter_mut()
        .filter(|input| !constants.contains(input.name()))
    {
        let name = input.name().to_owned();
        for (axis, dimension) in dimensions(input).into_iter().enumerate() {
            match &dimension.value {
                Some(DimensionValue::DimValue(_)) => continue,
                _ if axis > 0 => {
                    return Err(Error::Graph(format!(
                        "axis {axis} of input `{name}` is open, and TFLite wants fixed pictures; export the model with a fixed extent there"
                    )));
                }
                Some(DimensionValue::DimParam(symbol)) => drop(bound.insert(symbol.clone())),
                None => {}
            }
            dimension.value = Some(DimensionValue::DimValue(1));
        }
    }
    let graph = &mut **graph;
    let infos = graph
        .input
        .iter_mut()
        .chain(&mut graph.output)
        .chain(&mut graph.value_info);
    for dimension in infos.flat_map(dimensions) {
        if let Some(DimensionValue::DimParam(symbol)) = &dimension.value
            && bound.contains(symbol)
        {
            dimension.value = Some(DimensionValue::DimValue(1));
        }
    }
    Ok(Model::from_proto(model))
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

    fn with_input(shape: &[&str]) -> Result<Model, Error> {
        let mut b = Builder::new(17);
        let x = b.input("x", shape);
        let y = b.op("Relu", &[&x], &[]);
        fix_batch(b.finish(&[&y]))
    }

    #[test]
    fn an_open_batch_is_one_and_other_open_axes_are_named() {
        let model = with_input(&["batch", "3", "8", "8"]).unwrap();
        let values = crate::shape::infer(&model, &std::collections::BTreeMap::new()).unwrap();
        assert_eq!(values.get("v0").unwrap().extents().unwrap(), [1, 3, 8, 8]);
        let why = with_input(&["1", "3", "height", "8"]).unwrap_err().to_string();
        assert!(why.contains("axis 2 of input `x`"), "{why}");
    }
}
