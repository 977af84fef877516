//! How many samples run at once.

use std::collections::{BTreeMap, HashSet};

use edgefront_runtimes::Tensor;

use crate::error::Error;
use crate::model::Model;
use crate::proto::{DimensionValue, TypeValue, ValueInfoProto};
use crate::shape;

/// More samples at once make no runtime faster.
const LARGEST: usize = 16;

/// Models that fix a larger batch are refused.
const LARGEST_FIXED: usize = 4096;

/// Elements of all observed activations of one batch, 16 MiB of them. What the runtime has just written is then
/// mostly still in a cache when it is observed, and threads are not woken for too little: with half of it
/// MobileNetV2 took a quarter longer, with twice as much no less.
const MOST_ELEMENTS: usize = 4 << 20;

/// The batch that the model itself fixes, else what memory allows for samples like `sample` where all that is
/// observed grows with the batch, but no more than `most`, else 1.
pub(super) fn size(
    model: &Model,
    observed: &[String],
    sample: &[Tensor],
    most: usize,
) -> Result<usize, Error> {
    if let Some(fixed) = fixed(model) {
        return match usize::try_from(fixed) {
            Ok(batch) if batch <= LARGEST_FIXED => Ok(batch),
            _ => Err(super::refused(format!(
                "the model takes {fixed} samples at once, more than {LARGEST_FIXED}; export it with a dynamic batch"
            ))),
        };
    }
    let (Some(one), Some(two)) = (
        elements(model, observed, sample, 1),
        elements(model, observed, sample, 2),
    ) else {
        return Ok(1);
    };
    Ok(if two == 2 * one {
        (MOST_ELEMENTS / one.max(1)).min(LARGEST).clamp(1, most)
    } else {
        1
    })
}

/// The leading extent that all inputs declare alike.
fn fixed(model: &Model) -> Option<u64> {
    let leading = |input: &ValueInfoProto| match &input.r#type.as_ref()?.value {
        Some(TypeValue::TensorType(tensor)) => match tensor.shape.as_ref()?.dim.first()?.value {
            Some(DimensionValue::DimValue(extent)) => u64::try_from(extent).ok().filter(|&extent| extent > 0),
            _ => None,
        },
        _ => None,
    };
    let mut extents = inputs(model).into_iter().map(leading);
    let first = extents.next()??;
    extents.all(|extent| extent == Some(first)).then_some(first)
}

/// Elements of the observed values at a batch; `None` where the model does not take it or shapes are unknown.
pub(super) fn elements(model: &Model, observed: &[String], sample: &[Tensor], batch: usize) -> Option<usize> {
    let mut bindings = BTreeMap::new();
    for (input, tensor) in inputs(model).into_iter().zip(sample) {
        let Some(TypeValue::TensorType(kind)) = &input.r#type.as_ref()?.value else {
            return None;
        };
        for (axis, (dim, &extent)) in kind.shape.as_ref()?.dim.iter().zip(tensor.shape()).enumerate() {
            let extent = if axis == 0 { batch } else { extent };
            match &dim.value {
                Some(DimensionValue::DimValue(fixed)) if axis == 0 && *fixed != batch as i64 => return None,
                Some(DimensionValue::DimValue(_)) => {}
                Some(DimensionValue::DimParam(name)) if !name.is_empty() => {
                    bindings.insert(name.clone(), extent);
                }
                _ => {
                    bindings.insert(format!("{}.{axis}", input.name()), extent);
                }
            }
        }
    }
    let (values, errors) = shape::infer_all(model, &bindings);
    if !errors.is_empty() {
        return None;
    }
    let counts = observed
        .iter()
        .map(|name| Some(values.get(name)?.extents()?.iter().product::<usize>()));
    counts.sum()
}

/// The inputs of a model, without initializers that old models list among them.
pub(super) fn inputs(model: &Model) -> Vec<&ValueInfoProto> {
    let graph = model.graph();
    let constants: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name()).collect();
    graph
        .input
        .iter()
        .filter(|input| !constants.contains(input.name()))
        .collect()
}

#[cfg(test)]
mod tests {
    use edgefront_runtimes::DataType;

    use super::*;
    use crate::graph::build::Builder;

    fn size_of(extents: &[&str], sample: &[usize], reshape: Option<&[i64]>) -> usize {
        let mut b = Builder::new(17);
        let x = b.input("x", extents);
        let y = match reshape {
            Some(target) => {
                let target = b.ints(target);
                b.op("Reshape", &[&x, &target], &[])
            }
            None => b.op("Relu", &[&x], &[]),
        };
        let model = b.finish(&[&y]);
        size(
            &model,
            &[y],
            &[Tensor::zeros(DataType::F32, sample.to_vec()).unwrap()],
            200,
        )
        .unwrap()
    }

    #[test]
    fn a_dynamic_batch_is_as_large_as_memory_allows() {
        assert_eq!(size_of(&["batch", "3", "8", "8"], &[1, 3, 8, 8], None), LARGEST);
        assert_eq!(size_of(&["", "3", "h", "w"], &[1, 3, 512, 1280], None), 2);
        assert_eq!(
            size_of(&["batch", "3", "9999", "9999"], &[1, 3, 9999, 9999], None),
            1
        );
    }

    #[test]
    fn a_model_gets_the_batch_that_it_fixes() {
        assert_eq!(size_of(&["1", "3", "8", "8"], &[1, 3, 8, 8], None), 1);
        assert_eq!(size_of(&["6", "3", "8", "8"], &[1, 3, 8, 8], None), 6);
        assert_eq!(
            size_of(&["batch", "3", "8", "8"], &[1, 3, 8, 8], Some(&[1, 192])),
            1
        );
    }
}
