//! `Resize` and `Upsample`.

use crate::shape::Value;
use crate::shape::call::{Call, Outcome, axis, numbers};
use crate::shape::dim::Dim;

/// Sizes from an input are followed; scales are float constants, which are not, so those axes stay unknown
/// unless the model declares them.
pub(crate) fn resize(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let Some(shape) = shape else {
        return Call::unshaped(input.data_type);
    };
    let axes: Vec<usize> = match call.ints("axes")? {
        Some(axes) => axes
            .into_iter()
            .map(|index| axis(index, shape.len()))
            .collect::<Result<_, _>>()?,
        None => (0..shape.len()).collect(),
    };
    let stretches = call
        .node
        .text("keep_aspect_ratio_policy")
        .is_none_or(|policy| policy == "stretch");
    let sizes = call
        .optional(3)
        .and_then(|value| value.elements.as_deref())
        .and_then(numbers);
    let mut made = shape.to_vec();
    for (index, &axis) in axes.iter().enumerate() {
        made[axis] = match &sizes {
            Some(sizes) if stretches => sizes
                .get(index)
                .copied()
                .map(Dim::Known)
                .ok_or("`sizes` is shorter than the axes")?,
            // Batch and channels are never scaled in networks that see pictures.
            None | Some(_) if axis < 2 && shape.len() > 2 => continue,
            None | Some(_) => Dim::Unknown,
        };
    }
    Ok(vec![Value::new(input.data_type, made)])
}
