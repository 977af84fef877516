//! Axes and their arithmetic.

use std::fmt;

/// Longer axes than this are refused, so that sums of a few never overflow.
pub(super) const LARGEST_EXTENT: i64 = 1 << 40;

/// The extent of an axis, or an element of a small integer tensor that is computed from extents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A number.
    Known(i64),
    /// Not known, but the same wherever it has this name.
    Symbol(String),
    /// Not known.
    Unknown,
}

impl Dim {
    /// The extent, if it is known and one.
    pub fn extent(&self) -> Option<usize> {
        match self {
            Self::Known(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The number, if it is known.
    pub(super) fn number(&self) -> Option<i64> {
        match self {
            Self::Known(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn out_of_range(&self) -> bool {
        matches!(self, Self::Known(number) if !(0..=LARGEST_EXTENT).contains(number))
    }

    /// Both by `combine`, unknown where one is, or where it overflows.
    pub(super) fn combine(&self, other: &Self, combine: impl Fn(i64, i64) -> Option<i64>) -> Self {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => combine(*a, *b).map_or(Self::Unknown, Self::Known),
            _ => Self::Unknown,
        }
    }

    /// The product; one is neutral.
    pub(super) fn times(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Known(1), dim) | (dim, Self::Known(1)) => dim.clone(),
            _ => self.combine(other, i64::checked_mul),
        }
    }
}

impl From<usize> for Dim {
    fn from(extent: usize) -> Self {
        i64::try_from(extent).map_or(Self::Unknown, Self::Known)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(number) => write!(f, "{number}"),
            Self::Symbol(name) => f.write_str(name),
            Self::Unknown => f.write_str("?"),
        }
    }
}

/// A shape as messages show it: `[batch, 3, 64, 64]`.
pub(super) fn display(shape: &[Dim]) -> String {
    let axes: Vec<String> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", axes.join(", "))
}

/// The shape of an elementwise operation on both, by ONNX's (NumPy's) multidirectional broadcasting.
pub(super) fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, String> {
    let rank = a.len().max(b.len());
    let axis = |shape: &[Dim], index: usize| match index.checked_sub(rank - shape.len()) {
        Some(index) => shape[index].clone(),
        None => Dim::Known(1),
    };
    let join = |index| match (axis(a, index), axis(b, index)) {
        (Dim::Known(1), dim) | (dim, Dim::Known(1)) => Ok(dim),
        (a, b) if a == b => Ok(a),
        (Dim::Known(_), Dim::Known(_)) => Err(format!(
            "shapes {} and {} do not broadcast",
            display(a),
            display(b)
        )),
        (known @ Dim::Known(_), _) | (_, known @ Dim::Known(_)) => Ok(known),
        _ => Ok(Dim::Unknown),
    };
    (0..rank).map(join).collect()
}

/// `-1` in a target of `Reshape`: what is left of the volume of `from`. Symbols on both sides cancel out.
pub(super) fn remainder<'a>(
    from: impl IntoIterator<Item = &'a Dim>,
    taken: impl IntoIterator<Item = &'a Dim>,
) -> Result<Dim, String> {
    let (mut volume, mut symbols) = (1_i64, Vec::new());
    for dim in from {
        match dim {
            Dim::Known(extent) => volume = volume.checked_mul(*extent).ok_or("the volume overflows")?,
            other => symbols.push(other),
        }
    }
    let mut divisor = 1_i64;
    let mut cancelled = true;
    for dim in taken {
        match dim {
            Dim::Known(extent) => divisor = divisor.checked_mul(*extent).ok_or("the volume overflows")?,
            Dim::Unknown => cancelled = false,
            symbol @ Dim::Symbol(_) => match symbols.iter().position(|other| *other == symbol) {
                Some(index) => drop(symbols.remove(index)),
                None => cancelled = false,
            },
        }
    }
    match symbols.as_slice() {
        _ if !cancelled => Ok(Dim::Unknown),
        [] if divisor == 0 => Ok(Dim::Unknown),
        [] if volume % divisor == 0 => Ok(Dim::Known(volume / divisor)),
        [] => Err(format!("{volume} elements cannot be divided by {divisor}")),
        [symbol] if volume == divisor => Ok((*symbol).clone()),
        _ => Ok(Dim::Unknown),
    }
}

/// A number, a name, or nothing.
impl serde::Serialize for Dim {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(number) => serializer.serialize_i64(*number),
            Self::Symbol(name) => serializer.serialize_str(name),
            Self::Unknown => serializer.serialize_none(),
        }
    }
}
