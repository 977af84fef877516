//! Dense row-major tensors, the common tongue of all runtimes.

use std::fmt;

use half::f16;

/// A dense tensor in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

/// A dense tensor of 32-bit floats that something else owns.
#[derive(Debug, Clone, PartialEq)]
pub struct Floats<'a> {
    /// Extents.
    pub shape: Vec<usize>,
    /// Elements in row-major order.
    pub values: &'a [f32],
}

/// The elements of a tensor.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Data {
    /// 32-bit floating point.
    F32(Vec<f32>),
    /// 16-bit floating point.
    F16(Vec<f16>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// 32-bit integers.
    I32(Vec<i32>),
    /// Signed bytes.
    I8(Vec<i8>),
    /// Unsigned bytes.
    U8(Vec<u8>),
    /// Truth values.
    Bool(Vec<bool>),
}

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataType {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point.
    F16,
    /// 64-bit integers.
    I64,
    /// 32-bit integers.
    I32,
    /// Signed bytes.
    I8,
    /// Unsigned bytes.
    U8,
    /// Truth values.
    Bool,
}

impl DataType {
    /// Bytes of one element.
    pub fn width(self) -> usize {
        match self {
            Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::Bool => "bool",
        })
    }
}

/// A shape that does not hold as many elements as there are.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("shape {shape:?} does not hold {elements} elements")]
pub struct ShapeMismatch {
    /// The shape.
    pub shape: Vec<usize>,
    /// The elements given.
    pub elements: usize,
}

impl Tensor {
    /// A tensor of `shape` with these elements.
    pub fn new(shape: Vec<usize>, data: Data) -> Result<Self, ShapeMismatch> {
        let wanted = shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
        if wanted == Some(data.len()) {
            Ok(Self { shape, data })
        } else {
            Err(ShapeMismatch {
                shape,
                elements: data.len(),
            })
        }
    }

    /// A tensor of zeros, or `None` where the shape overflows.
    pub fn zeros(data_type: DataType, shape: Vec<usize>) -> Option<Self> {
        let n = shape
            .iter()
            .try_fold(1usize, |n, &extent| n.checked_mul(extent))?;
        let data = match data_type {
            DataType::F32 => Data::F32(vec![0.0; n]),
            DataType::F16 => Data::F16(vec![f16::ZERO; n]),
            DataType::I64 => Data::I64(vec![0; n]),
            DataType::I32 => Data::I32(vec![0; n]),
            DataType::I8 => Data::I8(vec![0; n]),
            DataType::U8 => Data::U8(vec![0; n]),
            DataType::Bool => Data::Bool(vec![false; n]),
        };
        Some(Self { shape, data })
    }

    /// Extents.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Element type.
    pub fn data_type(&self) -> DataType {
        self.data.data_type()
    }

    /// The elements where they are `f32`.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            Data::F32(values) => Some(values),
            _ => None,
        }
    }

    /// Shape and elements, lent, where they are `f32`.
    pub fn floats(&self) -> Option<Floats<'_>> {
        let values = self.as_f32()?;
        Some(Floats {
            shape: self.shape.clone(),
            values,
        })
    }

    /// Shape and elements, taken apart.
    pub fn into_parts(self) -> (Vec<usize>, Data) {
        (self.shape, self.data)
    }
}

impl Data {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F16(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::U8(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::F32(_) => DataType::F32,
            Self::F16(_) => DataType::F16,
            Self::I64(_) => DataType::I64,
            Self::I32(_) => DataType::I32,
            Self::I8(_) => DataType::I8,
            Self::U8(_) => DataType::U8,
            Self::Bool(_) => DataType::Bool,
        }
    }
}
