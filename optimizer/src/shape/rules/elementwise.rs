//! Operators that work element by element.

use crate::proto::DataType;
use crate::shape::Value;
use crate::shape::call::{Call, Outcome, data_type};
use crate::shape::dim::{Dim, broadcast};

/// The output is as the input: activations and the like.
pub(crate) fn unary(call: &Call) -> Outcome {
    Ok(vec![call.input(0)?.of_unknown_elements()])
}

/// `Identity`.
pub(crate) fn identity(call: &Call) -> Outcome {
    Ok(vec![call.input(0)?.clone()])
}

/// `Clip`: the bounds are attributes before version 11 and inputs since.
pub(crate) fn clip(call: &Call) -> Outcome {
    call.same_type([1, 2])?;
    unary(call)
}

/// Any number of inputs of one type, broadcast.
pub(crate) fn arithmetic(call: &Call) -> Outcome {
    let data_type = call.same_type(1..call.inputs.len())?;
    let mut output = Value {
        data_type,
        ..broadcast_all(call)?
    };
    output.elements = elements(call);
    Ok(vec![output])
}

/// `Pow`, whose exponent may be of another type.
pub(crate) fn power(call: &Call) -> Outcome {
    let data_type = call.input(0)?.data_type;
    call.input(1)?;
    let output = broadcast_all(call)?;
    Ok(vec![Value { data_type, ..output }])
}

/// Comparisons and logic.
pub(crate) fn predicate(call: &Call) -> Outcome {
    call.same_type(1..call.inputs.len())?;
    let mut output = broadcast_all(call)?;
    if call.node.is("Equal") {
        output.elements = elements(call);
    }
    Ok(vec![Value {
        data_type: DataType::Bool,
        ..output
    }])
}

/// `Where`.
pub(crate) fn choose(call: &Call) -> Outcome {
    if call.input(0)?.data_type != DataType::Bool {
        return Err("the condition must be bool".to_owned());
    }
    let (a, b) = (call.input(1)?, call.input(2)?);
    if a.data_type != b.data_type {
        return Err(format!(
            "cannot choose between {} and {}",
            a.data_type.label(),
            b.data_type.label()
        ));
    }
    let mut output = broadcast_all(call)?;
    output.elements = chosen(call);
    Ok(vec![Value {
        data_type: a.data_type,
        ..output
    }])
}

/// `PRelu`, whose slope must broadcast to the input and not widen it.
pub(crate) fn prelu(call: &Call) -> Outcome {
    call.same_type([1])?;
    let (Some(input), Some(slope)) = (&call.input(0)?.shape, &call.input(1)?.shape) else {
        return unary(call);
    };
    let joined = broadcast(input, slope)?;
    if joined.len() != input.len() {
        return Err("the slope has more axes than the input".to_owned());
    }
    unary(call)
}

/// `Dropout`, whose second output is a mask.
pub(crate) fn dropout(call: &Call) -> Outcome {
    let output = call.input(0)?.of_unknown_elements();
    let mask = Value {
        data_type: DataType::Bool,
        ..output.clone()
    };
    Ok(vec![output, mask])
}

/// `Cast`.
pub(crate) fn cast(call: &Call) -> Outcome {
    let input = call.input(0)?;
    let number = call.node.int("to").ok_or("`to` is missing")?;
    let data_type = data_type(number)?;
    let integer = matches!(data_type, DataType::Int64 | DataType::Int32);
    Ok(vec![Value {
        data_type,
        elements: input.elements.clone().filter(|_| integer),
        ..input.of_unknown_elements()
    }])
}

/// `CastLike`: the type of the second input.
pub(crate) fn cast_like(call: &Call) -> Outcome {
    Ok(vec![Value {
        data_type: call.input(1)?.data_type,
        ..call.input(0)?.of_unknown_elements()
    }])
}

/// `IsNaN`: a truth value for each element.
pub(crate) fn test(call: &Call) -> Outcome {
    Ok(vec![Value {
        data_type: DataType::Bool,
        ..call.input(0)?.of_unknown_elements()
    }])
}

/// All inputs' shapes joined; the element type is the first input's.
fn broadcast_all(call: &Call) -> Result<Value, String> {
    let first = call.input(0)?;
    let mut shape = first.shape.clone();
    for index in 1..call.inputs.len() {
        shape = match (shape, &call.input(index)?.shape) {
            (Some(a), Some(b)) => Some(broadcast(&a, b)?),
            _ => None,
        };
    }
    Ok(Value {
        shape,
        ..Value::unshaped(first.data_type)
    })
}

/// The result on two small integer tensors.
fn elements(call: &Call) -> Option<Vec<Dim>> {
    let [Some(a), Some(b)] = call.inputs.as_slice() else {
        return None;
    };
    let (a, b) = (a.elements.as_ref()?, b.elements.as_ref()?);
    let combine = |index| {
        let (a, b) = (at(a, index), at(b, index));
        match call.node.op_type() {
            "Equal" => equal(&a, &b),
            "Add" => a.combine(&b, i64::checked_add),
            "Sub" => a.combine(&b, i64::checked_sub),
            "Mul" => a.times(&b),
            "Div" if b == Dim::Known(1) => a,
            "Div" => a.combine(&b, i64::checked_div),
            _ => Dim::Unknown,
        }
    };
    Some((0..common_length(&[a, b])?).map(combine).collect())
}

/// The elements that a `Where` chooses among small integers, as `expand(batch, -1, -1)` does in PyTorch's exports.
fn chosen(call: &Call) -> Option<Vec<Dim>> {
    let [Some(condition), Some(a), Some(b)] = call.inputs.as_slice() else {
        return None;
    };
    let [condition, a, b] = [condition, a, b].map(|input| input.elements.as_deref());
    let (condition, a, b) = (condition?, a?, b?);
    let choose = |index| match (at(condition, index), at(a, index), at(b, index)) {
        (Dim::Known(0), _, b) => b,
        (Dim::Known(_), a, _) => a,
        (_, a, b) if a == b => a,
        _ => Dim::Unknown,
    };
    Some((0..common_length(&[condition, a, b])?).map(choose).collect())
}

/// Whether two elements are alike, as 0 or 1: an extent is no negative number.
fn equal(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Known(a), Dim::Known(b)) => Dim::Known(i64::from(a == b)),
        (Dim::Symbol(a), Dim::Symbol(b)) if a == b => Dim::Known(1),
        (Dim::Symbol(_), Dim::Known(..0)) | (Dim::Known(..0), Dim::Symbol(_)) => Dim::Known(0),
        _ => Dim::Unknown,
    }
}

/// The length to which lists broadcast.
fn common_length(lists: &[&[Dim]]) -> Option<usize> {
    let longest = lists.iter().map(|list| list.len()).max()?;
    let fits = |list: &&[Dim]| list.len() == 1 || list.len() == longest;
    lists.iter().all(fits).then_some(longest)
}

fn at(list: &[Dim], index: usize) -> Dim {
    list[if list.len() == 1 { 0 } else { index }].clone()
}
