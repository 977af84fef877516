//! Keeps tract from a wrong rewriting of `Softmax` in integer models.
//!
//! tract 0.23 takes `Softmax` for a function of single elements. One that stands between `DequantizeLinear` and
//! `QuantizeLinear` becomes a table of 256 bytes, namely the softmax of all integers at once, and the model answers
//! something else without a word. Spelled out in sums and exponentials it is left as it is.

use tract_onnx::prelude::{OutletId, TractResult, TypedModel, TypedModelPatch};
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, Softmax, SoftmaxKind};
use tract_onnx::tract_core::ops::quant::DequantizeLinearF32;

/// Spells out every `Softmax` of a model that holds integers: `exp(x - max) / sum(exp(x - max))`, or its logarithm.
pub(super) fn spell_out(model: &mut TypedModel) -> TractResult<()> {
    let mut operators = model.nodes().iter().map(|node| &node.op);
    if !operators.any(|op| op.is::<DequantizeLinearF32>()) {
        return Ok(());
    }
    for id in 0..model.nodes().len() {
        let Some(softmax) = model.node(id).op_as::<Softmax>().cloned() else {
            continue;
        };
        let mut patch = TypedModelPatch::default();
        let x = patch.tap_model(model, model.node(id).inputs[0])?;
        let y = wire(&mut patch, &model.node(id).name, &softmax, x)?;
        patch.shunt_outside(model, id.into(), y)?;
        patch.apply(model)?;
    }
    Ok(())
}

fn wire(patch: &mut TypedModelPatch, name: &str, softmax: &Softmax, x: OutletId) -> TractResult<OutletId> {
    let reduce = |patch: &mut TypedModelPatch, part: &str, reducer, input| {
        let reduce = Reduce::new(softmax.axes.clone(), reducer);
        Ok::<_, tract_onnx::prelude::TractError>(
            patch.wire_node(format!("{name}.{part}"), reduce, &[input])?[0],
        )
    };
    let max = reduce(patch, "max", Reducer::Max, x)?;
    let below = patch.wire_node(format!("{name}.below"), math::sub(), &[x, max])?[0];
    let exp = patch.wire_node(format!("{name}.exp"), math::exp(), &[below])?[0];
    let sum = reduce(patch, "sum", Reducer::Sum, exp)?;
    let result = match softmax.kind {
        SoftmaxKind::Softmax => patch.wire_node(format!("{name}.share"), math::div(), &[exp, sum])?,
        SoftmaxKind::LogSoftmax => {
            let log = patch.wire_node(format!("{name}.log"), math::ln(), &[sum])?[0];
            patch.wire_node(format!("{name}.share"), math::sub(), &[below, log])?
        }
    };
    Ok(result[0])
}
