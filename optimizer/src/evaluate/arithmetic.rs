//! Operators that compute element by element, on the types that shapes and weights have.

use half::f16;

use super::array::{Array, Walk, broadcast_steps};
use crate::proto::DataType;

const BINARY: [&str; 11] = [
    "Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Pow", "Equal", "Greater", "Less",
];
const UNARY: [&str; 9] = [
    "Neg",
    "Abs",
    "Sqrt",
    "Exp",
    "Log",
    "Floor",
    "Ceil",
    "Reciprocal",
    "Not",
];

/// Whether [`unary`] or [`binary`] knows the operator.
pub(super) fn knows(operator: &str) -> bool {
    BINARY.contains(&operator) || UNARY.contains(&operator)
}

/// An operator of one input.
pub(super) fn unary(operator: &str, input: &Array) -> Option<Array> {
    if operator == "Not" {
        let bytes: Vec<u8> = input.flags()?.into_iter().map(|flag| u8::from(!flag)).collect();
        return Array::from_bytes(DataType::Bool, input.shape.clone(), bytes);
    }
    let shape = input.shape.clone();
    if input.kind == DataType::Int64 {
        let compute: fn(i64) -> i64 = match operator {
            "Neg" => i64::wrapping_neg,
            "Abs" => i64::wrapping_abs,
            _ => return None,
        };
        return Array::from_numbers(shape, input.numbers::<i64>()?.into_iter().map(compute));
    }
    let compute: fn(f32) -> f32 = match operator {
        "Neg" => |x| -x,
        "Abs" => f32::abs,
        "Sqrt" => f32::sqrt,
        "Exp" => f32::exp,
        "Log" => f32::ln,
        "Floor" => f32::floor,
        "Ceil" => f32::ceil,
        "Reciprocal" => f32::recip,
        _ => return None,
    };
    Array::from_numbers(shape, input.numbers::<f32>()?.into_iter().map(compute))
}

/// An operator of two inputs of one type, broadcast to `shape`.
pub(super) fn binary(operator: &str, a: &Array, b: &Array, shape: Vec<usize>) -> Option<Array> {
    match (a.kind, b.kind) {
        (DataType::Float, DataType::Float) => floats(operator, a, b, shape),
        (DataType::Int64, DataType::Int64) | (DataType::Int32, DataType::Int32) => {
            integers(operator, a, b, shape)
        }
        _ => None,
    }
}

fn floats(operator: &str, a: &Array, b: &Array, shape: Vec<usize>) -> Option<Array> {
    let pairs = paired(&a.numbers::<f32>()?, a, &b.numbers::<f32>()?, b, &shape)?;
    let compare: Option<fn(f32, f32) -> bool> = match operator {
        "Equal" => Some(|a, b| a.total_cmp(&b).is_eq() || a - b == 0.0),
        "Greater" => Some(|a, b| a > b),
        "Less" => Some(|a, b| a < b),
        _ => None,
    };
    if let Some(compare) = compare {
        let bytes: Vec<u8> = pairs.into_iter().map(|(a, b)| u8::from(compare(a, b))).collect();
        return Array::from_bytes(DataType::Bool, shape, bytes);
    }
    let compute: fn(f32, f32) -> f32 = match operator {
        "Add" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        "Div" => |a, b| a / b,
        "Max" => f32::max,
        "Min" => f32::min,
        "Pow" => f32::powf,
        _ => return None,
    };
    Array::from_numbers(shape, pairs.into_iter().map(|(a, b)| compute(a, b)))
}

fn integers(operator: &str, a: &Array, b: &Array, shape: Vec<usize>) -> Option<Array> {
    let pairs = paired(&a.integers()?, a, &b.integers()?, b, &shape)?;
    let compare: Option<fn(&i64, &i64) -> bool> = match operator {
        "Equal" => Some(i64::eq),
        "Greater" => Some(i64::gt),
        "Less" => Some(i64::lt),
        _ => None,
    };
    if let Some(compare) = compare {
        let bytes: Vec<u8> = pairs.iter().map(|(a, b)| u8::from(compare(a, b))).collect();
        return Array::from_bytes(DataType::Bool, shape, bytes);
    }
    let compute: fn(i64, i64) -> Option<i64> = match operator {
        "Add" => i64::checked_add,
        "Sub" => i64::checked_sub,
        "Mul" => i64::checked_mul,
        "Div" => i64::checked_div,
        "Mod" => modulo,
        "Max" => |a, b| Some(a.max(b)),
        "Min" => |a, b| Some(a.min(b)),
        _ => return None,
    };
    let made: Option<Vec<i64>> = pairs.into_iter().map(|(a, b)| compute(a, b)).collect();
    if a.kind == DataType::Int64 {
        return Array::from_numbers(shape, made?);
    }
    let narrow: Result<Vec<i32>, _> = made?.into_iter().map(i32::try_from).collect();
    Array::from_numbers(shape, narrow.ok()?)
}

/// What a division leaves, with the sign of the divisor.
fn modulo(a: i64, b: i64) -> Option<i64> {
    let left = a.checked_rem(b)?;
    Some(if left != 0 && (left < 0) != (b < 0) {
        left + b
    } else {
        left
    })
}

/// The elements of two arrays that meet each other.
fn paired<T: Copy>(xs: &[T], a: &Array, ys: &[T], b: &Array, shape: &[usize]) -> Option<Vec<(T, T)>> {
    let steps = (
        broadcast_steps(&a.shape, shape)?,
        broadcast_steps(&b.shape, shape)?,
    );
    let walks = Walk::new(shape, 0, &steps.0)?.zip(Walk::new(shape, 0, &steps.1)?);
    walks
        .map(|(left, right)| Some((*xs.get(left)?, *ys.get(right)?)))
        .collect()
}

/// `Where`.
pub(super) fn choose(condition: &Array, a: &Array, b: &Array, shape: Vec<usize>) -> Option<Array> {
    let flags = condition.flags()?;
    if a.kind != b.kind {
        return None;
    }
    let steps = [
        broadcast_steps(&condition.shape, &shape)?,
        broadcast_steps(&a.shape, &shape)?,
        broadcast_steps(&b.shape, &shape)?,
    ];
    let walk = |index: usize| Walk::new(&shape, 0, &steps[index]);
    let mut bytes = Vec::new();
    for ((flag, left), right) in walk(0)?.zip(walk(1)?).zip(walk(2)?) {
        let (from, at) = if *flags.get(flag)? { (a, left) } else { (b, right) };
        let at = at.checked_mul(a.size)?;
        bytes.extend_from_slice(from.bytes.get(at..at + a.size)?);
    }
    Array::from_bytes(a.kind, shape, bytes)
}

/// `Range`: from `start` by `step`, as many as `shape` says.
pub(super) fn range(start: &Array, step: &Array, shape: Vec<usize>) -> Option<Array> {
    let count = *shape.first()?;
    if start.kind == DataType::Float {
        let (start, step) = (
            *start.numbers::<f32>()?.first()?,
            *step.numbers::<f32>()?.first()?,
        );
        return Array::from_numbers(shape, (0..count).map(|index| start + index as f32 * step));
    }
    let (start, step) = (
        *start.numbers::<i64>()?.first()?,
        *step.numbers::<i64>()?.first()?,
    );
    let at = |index: usize| start.checked_add(step.checked_mul(index as i64)?);
    Array::from_numbers(shape, (0..count).map(at).collect::<Option<Vec<i64>>>()?)
}

/// `Cast` between the numeric types that shapes and weights have. What an integer cannot hold is undefined in
/// ONNX and is not computed.
pub(super) fn cast(input: &Array, to: DataType) -> Option<Array> {
    let shape = input.shape.clone();
    match to {
        same if same == input.kind => Some(input.clone()),
        DataType::Bool => {
            let bytes: Vec<u8> = wide(input)?.iter().map(|&value| u8::from(value != 0.0)).collect();
            Array::from_bytes(to, shape, bytes)
        }
        DataType::Int64 => Array::from_numbers(shape, whole(input)?),
        DataType::Int32 => {
            let narrow: Result<Vec<i32>, _> = whole(input)?.into_iter().map(i32::try_from).collect();
            Array::from_numbers(shape, narrow.ok()?)
        }
        DataType::Float => Array::from_numbers(shape, wide(input)?.into_iter().map(|value| value as f32)),
        DataType::Double => Array::from_numbers(shape, wide(input)?),
        DataType::Float16 => Array::from_numbers(shape, wide(input)?.into_iter().map(f16::from_f64)),
        _ => None,
    }
}

/// The numbers as integers: exactly, or rounded towards zero where they are floats.
fn whole(input: &Array) -> Option<Vec<i64>> {
    const LARGEST: f64 = (1_u64 << 62) as f64;
    match input.kind {
        DataType::Bool => Some(input.flags()?.into_iter().map(i64::from).collect()),
        DataType::Uint8 => Some(input.numbers::<u8>()?.into_iter().map(i64::from).collect()),
        DataType::Int8 => Some(input.numbers::<i8>()?.into_iter().map(i64::from).collect()),
        DataType::Int32 | DataType::Int64 => input.integers(),
        _ => {
            let fits = |value: f64| (value.abs() <= LARGEST).then_some(value as i64);
            wide(input)?.into_iter().map(fits).collect()
        }
    }
}

/// The numbers in double precision.
fn wide(input: &Array) -> Option<Vec<f64>> {
    Some(match input.kind {
        DataType::Float => input.numbers::<f32>()?.into_iter().map(f64::from).collect(),
        DataType::Double => input.numbers()?,
        DataType::Float16 => input.numbers::<f16>()?.into_iter().map(f16::to_f64).collect(),
        DataType::Bool | DataType::Uint8 | DataType::Int8 | DataType::Int32 | DataType::Int64 => {
            whole(input)?.into_iter().map(|value| value as f64).collect()
        }
        _ => return None,
    })
}
