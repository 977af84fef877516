//! A node with what is known of its inputs, as rules see it.

use super::dim::Dim;
use super::{DataType, Value};
use crate::proto::NodeProto;

/// The outputs of a node, those that it may leave out included; or what is wrong with it.
pub(super) type Outcome = Result<Vec<Value>, String>;

/// Attributes beyond this are refused, so that sums and products of two never overflow.
const LARGEST_ATTRIBUTE: i64 = i32::MAX as i64;

/// The axes that a node works on.
pub(super) enum Axes {
    NotGiven,
    /// Computed from what is not known.
    Unknown,
    Given(Vec<i64>),
}

pub(super) struct Call<'a> {
    pub(super) node: &'a NodeProto,
    pub(super) opset: i64,
    pub(super) inputs: Vec<Option<&'a Value>>,
}

impl<'a> Call<'a> {
    pub(super) fn optional(&self, index: usize) -> Option<&'a Value> {
        self.inputs.get(index).copied().flatten()
    }

    pub(super) fn input(&self, index: usize) -> Result<&'a Value, String> {
        self.optional(index)
            .ok_or_else(|| format!("input {index} is missing"))
    }

    /// Input `index` and its shape, which is `None` where the outputs' shapes cannot be known either.
    pub(super) fn shaped(&self, index: usize) -> Result<(&'a Value, Option<&'a [Dim]>), String> {
        let value = self.input(index)?;
        Ok((value, value.shape.as_deref()))
    }

    /// Checks that the named inputs, where given, have the type of the first.
    pub(super) fn same_type(&self, indices: impl IntoIterator<Item = usize>) -> Result<DataType, String> {
        let first = self.input(0)?.data_type;
        for index in indices {
            match self.optional(index) {
                Some(other) if other.data_type != first => {
                    let (a, b) = (first.label(), other.data_type.label());
                    return Err(format!(
                        "input 0 is {a} and input {index} is {b}; they must be the same"
                    ));
                }
                _ => {}
            }
        }
        Ok(first)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, String> {
        bounded(name, self.node.int(name).unwrap_or(default))
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        let ints = self.node.ints(name);
        ints.map(|ints| ints.iter().map(|&value| bounded(name, value)).collect())
            .transpose()
    }

    /// A list with an entry for each of `count` axes.
    pub(super) fn per_axis(&self, name: &str, count: usize, default: i64) -> Result<Vec<i64>, String> {
        match self.ints(name)? {
            None => Ok(vec![default; count]),
            Some(ints) if ints.len() == count => Ok(ints),
            Some(ints) => Err(format!("`{name}` has {} entries, {count} expected", ints.len())),
        }
    }

    /// As [`Self::per_axis`], where each entry is at least 1.
    pub(super) fn positive(&self, name: &str, count: usize) -> Result<Vec<i64>, String> {
        let ints = self.per_axis(name, count, 1)?;
        match ints.iter().find(|&&value| value < 1) {
            Some(value) => Err(format!("`{name}` has an entry of {value}")),
            None => Ok(ints),
        }
    }

    /// An axis attribute, counted from the front.
    pub(super) fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize, String> {
        axis(self.int(name, default)?, rank)
    }

    /// Axes from input `index`, or from the attribute that older versions have.
    pub(super) fn axes(&self, index: usize) -> Result<Axes, String> {
        Ok(match self.optional(index) {
            Some(value) => value
                .elements
                .as_deref()
                .and_then(numbers)
                .map_or(Axes::Unknown, Axes::Given),
            None => self.ints("axes")?.map_or(Axes::NotGiven, Axes::Given),
        })
    }

    /// The node's outputs if no shape can be known.
    #[allow(clippy::unnecessary_wraps, reason = "rules end with it")]
    pub(super) fn unshaped(data_type: DataType) -> Outcome {
        Ok(vec![Value::unshaped(data_type)])
    }
}

fn bounded(name: &str, value: i64) -> Result<i64, String> {
    if (-LARGEST_ATTRIBUTE..=LARGEST_ATTRIBUTE).contains(&value) {
        Ok(value)
    } else {
        Err(format!("`{name}` is {value}, which no model needs"))
    }
}

/// The element type of this number.
pub(super) fn data_type(number: i64) -> Result<DataType, String> {
    let known = i32::try_from(number)
        .ok()
        .and_then(|number| DataType::try_from(number).ok());
    known
        .filter(|&known| known != DataType::Undefined)
        .ok_or_else(|| format!("{number} is no element type that is known"))
}

/// `index` counted from the front.
pub(super) fn axis(index: i64, rank: usize) -> Result<usize, String> {
    let from_front = if index < 0 {
        index.saturating_add(rank as i64)
    } else {
        index
    };
    usize::try_from(from_front)
        .ok()
        .filter(|&axis| axis < rank)
        .ok_or_else(|| format!("axis {index} does not exist among {rank}"))
}

/// The elements, if all are numbers.
pub(crate) fn numbers(elements: &[Dim]) -> Option<Vec<i64>> {
    elements.iter().map(Dim::number).collect()
}
