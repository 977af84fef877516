//! Matrix products.

use crate::proto::DataType;
use crate::shape::Value;
use crate::shape::call::{Call, Outcome};
use crate::shape::dim::{Dim, broadcast, display};

/// `Gemm`: `alpha * A' * B' + beta * C`.
pub(crate) fn gemm(call: &Call) -> Outcome {
    let data_type = call.same_type([1, 2])?;
    let (Some(a), Some(b)) = (call.shaped(0)?.1, call.shaped(1)?.1) else {
        return Call::unshaped(data_type);
    };
    let ([a0, a1], [b0, b1]) = (a, b) else {
        return Err(format!(
            "{} x {} is no product of two matrices",
            display(a),
            display(b)
        ));
    };
    let (rows, inner_a) = if call.int("transA", 0)? == 0 {
        (a0, a1)
    } else {
        (a1, a0)
    };
    let (inner_b, columns) = if call.int("transB", 0)? == 0 {
        (b0, b1)
    } else {
        (b1, b0)
    };
    fit(inner_a, inner_b, a, b)?;
    let shape = vec![rows.clone(), columns.clone()];
    if let Some(c) = call.optional(2).and_then(|c| c.shape.as_deref()) {
        let joined = broadcast(&shape, c)?;
        let widened = joined
            .iter()
            .zip(&shape)
            .any(|(a, b)| matches!((a, b), (Dim::Known(a), Dim::Known(b)) if a != b));
        if widened || joined.len() != 2 {
            return Err(format!(
                "the addend {} does not broadcast to {}",
                display(c),
                display(&shape)
            ));
        }
    }
    Ok(vec![Value::new(data_type, shape)])
}

/// `MatMul`, which is NumPy's `matmul`.
pub(crate) fn matmul(call: &Call) -> Outcome {
    product(call, call.same_type([1])?)
}

/// `MatMulInteger`: bytes in, 32-bit integers out.
pub(crate) fn matmul_integer(call: &Call) -> Outcome {
    product(call, DataType::Int32)
}

fn product(call: &Call, data_type: DataType) -> Outcome {
    let (Some(a), Some(b)) = (call.shaped(0)?.1, call.shaped(1)?.1) else {
        return Call::unshaped(data_type);
    };
    let (Some((last, rows)), Some((last_b, columns))) = (a.split_last(), b.split_last()) else {
        return Err("a scalar cannot be multiplied".to_owned());
    };
    let (inner, batch_b) = columns
        .split_last()
        .map_or((last_b, &[][..]), |(inner, batch)| (inner, batch));
    fit(last, inner, a, b)?;
    let (row, batch_a) = rows
        .split_last()
        .map_or((None, &[][..]), |(row, batch)| (Some(row), batch));
    let mut shape = broadcast(batch_a, batch_b)?;
    shape.extend(row.cloned());
    if !columns.is_empty() {
        shape.push(last_b.clone());
    }
    Ok(vec![Value::new(data_type, shape)])
}

fn fit(inner_a: &Dim, inner_b: &Dim, a: &[Dim], b: &[Dim]) -> Result<(), String> {
    match (inner_a, inner_b) {
        (Dim::Known(left), Dim::Known(right)) if left != right => Err(format!(
            "{} x {}: the inner axes {left} and {right} differ",
            display(a),
            display(b)
        )),
        _ => Ok(()),
    }
}
