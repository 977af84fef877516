//! `Resize` and `Upsample`.

use crate::proto::TensorProto;
use crate::shape::Value;
use crate::shape::call::{Call, Outcome, axis, numbers};
use crate::shape::dim::Dim;

/// How the spatial extents change.
enum Target {
    Sizes(Vec<Dim>),
    Scales(Vec<f32>),
    /// Computed from what is not known.
    Unknown,
}

/// `Resize` and the older `Upsample`: by `sizes`, or by `scales` as `floor(extent * scale)`.
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
    let target = target(call)?;
    let given = match &target {
        Target::Sizes(sizes) => sizes.len(),
        Target::Scales(scales) => scales.len(),
        Target::Unknown => axes.len(),
    };
    if given != axes.len() {
        return Err(format!("{given} sizes or scales for {} axes", axes.len()));
    }
    let mut made = shape.to_vec();
    match target {
        Target::Sizes(sizes) => {
            for (&axis, size) in axes.iter().zip(kept_aspect(call, shape, &axes, sizes)?) {
                made[axis] = size;
            }
        }
        Target::Scales(scales) => {
            for (&axis, scale) in axes.iter().zip(scales) {
                made[axis] = scaled(&shape[axis], scale)?;
            }
        }
        // Batch and channels are never scaled in networks that see pictures.
        Target::Unknown => {
            let unknown = axes.into_iter().filter(|&axis| axis >= 2 || shape.len() <= 2);
            unknown.for_each(|axis| made[axis] = Dim::Unknown);
        }
    }
    Ok(vec![Value::new(input.data_type, made)])
}

/// `Upsample` has its scales in an attribute before version 9 and in input 1 since, as has `Resize` of version
/// 10; later ones have them in input 2 and sizes in input 3.
fn target(call: &Call) -> Result<Target, String> {
    if let Some(attribute) = call.node.attribute("scales") {
        return Ok(Target::Scales(attribute.floats.clone()));
    }
    let sizes = call.optional(3);
    if let Some(value) = sizes.filter(|value| !is_empty(value)) {
        return Ok(value.elements.clone().map_or(Target::Unknown, Target::Sizes));
    }
    let old = call.opset < 11 || call.node.op_type() == "Upsample";
    let scales = call.input(if old { 1 } else { 2 })?;
    let known = scales.constant.as_ref().map(TensorProto::floats);
    Ok(match known.transpose().map_err(|error| error.to_string())? {
        Some(scales) => Target::Scales(scales),
        None => Target::Unknown,
    })
}

fn is_empty(value: &Value) -> bool {
    matches!(value.shape.as_deref(), Some([Dim::Known(0)]))
}

/// The extents for `sizes`, which since version 18 may only bound the picture: one scale for all axes, the least
/// or the greatest that `sizes` ask for.
fn kept_aspect(call: &Call, shape: &[Dim], axes: &[usize], sizes: Vec<Dim>) -> Result<Vec<Dim>, String> {
    let pick: fn(f64, f64) -> f64 = match call.node.text("keep_aspect_ratio_policy") {
        None | Some("stretch") => return Ok(sizes),
        Some("not_larger") => f64::min,
        Some("not_smaller") => f64::max,
        Some(other) => return Err(format!("`keep_aspect_ratio_policy` is `{other}`")),
    };
    let extents: Option<Vec<i64>> = axes.iter().map(|&axis| shape[axis].number()).collect();
    let (Some(extents), Some(sizes)) = (extents, numbers(&sizes)) else {
        return Ok(vec![Dim::Unknown; axes.len()]);
    };
    let scales = sizes
        .iter()
        .zip(&extents)
        .map(|(size, extent)| *size as f64 / *extent as f64);
    let Some(scale) = scales.reduce(pick) else {
        return Ok(Vec::new());
    };
    let resized = extents
        .into_iter()
        .map(|extent| Dim::Known((scale * extent as f64).round() as i64));
    Ok(resized.collect())
}

fn scaled(extent: &Dim, scale: f32) -> Result<Dim, String> {
    if !(scale > 0.0 && scale.is_finite()) {
        return Err(format!("a scale is {scale}"));
    }
    Ok(match extent {
        Dim::Known(extent) => Dim::Known((*extent as f64 * f64::from(scale)).floor() as i64),
        same if (scale - 1.0).abs() == 0.0 => same.clone(),
        _ => Dim::Unknown,
    })
}
