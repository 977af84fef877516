//! A constant as bytes with a shape, whatever its element type.

use prost::bytes::Bytes;

use crate::proto::{DataType, TensorProto, onnx};
use crate::tensor::Element;

/// A constant whose elements have whole bytes.
#[derive(Debug, Clone)]
pub(super) struct Array {
    pub(super) kind: DataType,
    pub(super) shape: Vec<usize>,
    /// Row-major, little-endian.
    pub(super) bytes: Bytes,
    /// Bytes of one element.
    pub(super) size: usize,
}

impl Array {
    /// `None` for text, for elements of less than a byte, and for tensors that are not valid.
    pub(super) fn of(tensor: &TensorProto) -> Option<Self> {
        tensor.validate().ok()?;
        let kind = tensor.element_type().ok()?;
        let bytes = match (&tensor.raw_data, kind) {
            (Some(raw), _) => raw.clone(),
            (None, DataType::Float) => encoded::<f32>(tensor)?,
            (None, DataType::Double) => encoded::<f64>(tensor)?,
            (None, DataType::Int64) => encoded::<i64>(tensor)?,
            (None, DataType::Int32) => encoded::<i32>(tensor)?,
            (None, DataType::Uint8) => encoded::<u8>(tensor)?,
            (None, DataType::Int8) => encoded::<i8>(tensor)?,
            (None, DataType::Float16) => encoded::<half::f16>(tensor)?,
            (None, DataType::Bool) => tensor
                .int32_data
                .iter()
                .map(|&flag| u8::from(flag != 0))
                .collect(),
            _ => return None,
        };
        let size = byte_size(kind)?;
        Some(Self {
            kind,
            shape: tensor.shape().ok()?,
            bytes,
            size,
        })
    }

    /// These elements in this shape; `None` where there are not as many.
    pub(super) fn from_bytes(kind: DataType, shape: Vec<usize>, bytes: impl Into<Bytes>) -> Option<Self> {
        let (size, bytes) = (byte_size(kind)?, bytes.into());
        (volume(&shape)?.checked_mul(size)? == bytes.len()).then_some(Self {
            kind,
            shape,
            bytes,
            size,
        })
    }

    /// These numbers in this shape; `None` where there are not as many.
    pub(super) fn from_numbers<T: Element>(
        shape: Vec<usize>,
        numbers: impl IntoIterator<Item = T>,
    ) -> Option<Self> {
        let mut bytes = Vec::new();
        numbers.into_iter().for_each(|number| number.write(&mut bytes));
        Self::from_bytes(T::TYPE, shape, bytes)
    }

    /// The same elements in another shape of as many.
    pub(super) fn reshaped(self, shape: Vec<usize>) -> Option<Self> {
        Self::from_bytes(self.kind, shape, self.bytes)
    }

    /// The elements, if they are of this type.
    pub(super) fn numbers<T: Element>(&self) -> Option<Vec<T>> {
        (self.kind == T::TYPE).then(|| self.bytes.chunks_exact(T::SIZE).map(T::read).collect())
    }

    /// The elements of an array of indices.
    pub(super) fn integers(&self) -> Option<Vec<i64>> {
        match self.kind {
            DataType::Int32 => Some(self.numbers::<i32>()?.into_iter().map(i64::from).collect()),
            _ => self.numbers(),
        }
    }

    /// Truth values.
    pub(super) fn flags(&self) -> Option<Vec<bool>> {
        (self.kind == DataType::Bool).then(|| self.bytes.iter().map(|&byte| byte != 0).collect())
    }

    pub(super) fn count(&self) -> usize {
        self.bytes.len() / self.size
    }

    pub(super) fn into_tensor(self) -> Option<TensorProto> {
        let dims = self.shape.iter().map(|&extent| i64::try_from(extent).ok());
        let tensor = onnx::TensorProto {
            name: Some(String::new()),
            data_type: Some(self.kind.into()),
            dims: dims.collect::<Option<_>>()?,
            raw_data: Some(self.bytes),
            ..Default::default()
        };
        Some(tensor.into())
    }
}

/// The number of elements; `None` where it exceeds memory.
pub(super) fn volume(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |volume, &extent| volume.checked_mul(extent))
}

/// How many elements lie between neighbours along each axis.
pub(super) fn strides(shape: &[usize]) -> Option<Vec<usize>> {
    volume(shape)?;
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1].max(1);
    }
    Some(strides)
}

/// Strides over an array of `shape` that is broadcast to `target`: 0 along repeated axes.
pub(super) fn broadcast_strides(shape: &[usize], target: &[usize]) -> Option<Vec<usize>> {
    let missing = target.len().checked_sub(shape.len())?;
    let own = strides(shape)?;
    let along = |axis: usize| match axis.checked_sub(missing) {
        None => Some(0),
        Some(inner) if shape[inner] == target[axis] => Some(own[inner]),
        Some(inner) => (shape[inner] == 1).then_some(0),
    };
    (0..target.len()).map(along).collect()
}

/// For each element of an array of `shape`, in order: `start` plus the sum of its indices times `steps`.
pub(super) struct Walk<'a> {
    shape: &'a [usize],
    steps: &'a [isize],
    index: Vec<usize>,
    at: isize,
    left: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(shape: &'a [usize], start: usize, steps: &'a [isize]) -> Option<Self> {
        Some(Self {
            shape,
            steps,
            index: vec![0; shape.len()],
            at: isize::try_from(start).ok()?,
            left: volume(shape)?,
        })
    }
}

impl Iterator for Walk<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let found = self.at;
        for axis in (0..self.shape.len()).rev() {
            self.index[axis] += 1;
            self.at = self.at.wrapping_add(self.steps[axis]);
            if self.index[axis] < self.shape[axis] {
                break;
            }
            let all = self.steps[axis].wrapping_mul(self.shape[axis] as isize);
            self.at = self.at.wrapping_sub(all);
            self.index[axis] = 0;
        }
        usize::try_from(found).ok()
    }
}

/// [`Walk`] over the elements of an array of `shape` that is broadcast to `target`.
pub(super) fn broadcast_steps(shape: &[usize], target: &[usize]) -> Option<Vec<isize>> {
    signed(&broadcast_strides(shape, target)?)
}

pub(super) fn signed(strides: &[usize]) -> Option<Vec<isize>> {
    strides
        .iter()
        .map(|&stride| isize::try_from(stride).ok())
        .collect()
}

fn encoded<T: Element>(tensor: &TensorProto) -> Option<Bytes> {
    let mut bytes = Vec::new();
    for number in tensor.values::<T>().ok()? {
        number.write(&mut bytes);
    }
    Some(bytes.into())
}

fn byte_size(kind: DataType) -> Option<usize> {
    let bits = kind.bits()? as usize;
    bits.is_multiple_of(8).then_some(bits / 8)
}
