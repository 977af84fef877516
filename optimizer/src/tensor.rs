//! Constants: reading a [`TensorProto`] as numbers and making one.

use half::{bf16, f16};
use prost::bytes::Bytes;

use crate::error::Error;
use crate::proto::{DataLocation, DataType, TensorProto, onnx};

/// A number that a tensor can hold, in the form in which `raw_data` has it.
pub trait Element: Copy {
    /// Its type in the file.
    const TYPE: DataType;
    /// Bytes of one.
    const SIZE: usize;
    /// From little-endian bytes, [`Self::SIZE`] of them.
    fn read(bytes: &[u8]) -> Self;
    /// Appends little-endian bytes.
    fn write(self, to: &mut Vec<u8>);
    /// The typed field of the message that may hold the numbers in place of `raw_data`.
    fn typed(tensor: &onnx::TensorProto) -> Vec<Self>;
}

macro_rules! element {
    ($type:ty, $name:ident, $field:ident, $convert:expr) => {
        impl Element for $type {
            const TYPE: DataType = DataType::$name;
            const SIZE: usize = size_of::<$type>();

            fn read(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("the caller cuts elements"))
            }

            fn write(self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }

            fn typed(tensor: &onnx::TensorProto) -> Vec<Self> {
                tensor.$field.iter().map(|&value| $convert(value)).collect()
            }
        }
    };
}

element!(f32, Float, float_data, |value: f32| value);
element!(f64, Double, double_data, |value: f64| value);
element!(i8, Int8, int32_data, |value: i32| value as i8);
element!(u8, Uint8, int32_data, |value: i32| value as u8);
element!(i16, Int16, int32_data, |value: i32| value as i16);
element!(u16, Uint16, int32_data, |value: i32| value as u16);
element!(i32, Int32, int32_data, |value: i32| value);
element!(i64, Int64, int64_data, |value: i64| value);
element!(u32, Uint32, uint64_data, |value: u64| value as u32);
element!(u64, Uint64, uint64_data, |value: u64| value);
element!(f16, Float16, int32_data, |value: i32| f16::from_bits(
    value as u16
));
element!(bf16, Bfloat16, int32_data, |value: i32| bf16::from_bits(
    value as u16
));

impl TensorProto {
    /// A tensor of these numbers, in `raw_data`.
    pub fn of<T: Element>(name: &str, shape: &[usize], values: &[T]) -> Self {
        debug_assert_eq!(
            shape.iter().product::<usize>(),
            values.len(),
            "shape and values fit"
        );
        let mut raw = Vec::with_capacity(values.len() * T::SIZE);
        for &value in values {
            value.write(&mut raw);
        }
        onnx::TensorProto {
            name: Some(name.to_owned()),
            data_type: Some(T::TYPE.into()),
            dims: shape.iter().map(|&extent| extent as i64).collect(),
            raw_data: Some(Bytes::from(raw)),
            ..Default::default()
        }
        .into()
    }

    /// A tensor without axes.
    pub fn scalar<T: Element>(name: &str, value: T) -> Self {
        Self::of(name, &[], &[value])
    }

    /// The element type; an error where the file names none that this build knows.
    pub fn element_type(&self) -> Result<DataType, Error> {
        match DataType::try_from(self.data_type.unwrap_or_default()) {
            Ok(DataType::Undefined) | Err(_) => {
                let number = self.data_type.unwrap_or_default();
                Err(self.error(format!("unknown element type {number}")))
            }
            Ok(known) => Ok(known),
        }
    }

    /// The extents; an error where one is negative.
    pub fn shape(&self) -> Result<Vec<usize>, Error> {
        self.dims
            .iter()
            .map(|&dim| usize::try_from(dim).map_err(|_| self.error(format!("extent {dim} is negative"))))
            .collect()
    }

    /// How many elements the extents stand for; an error where that exceeds memory.
    pub fn count(&self) -> Result<usize, Error> {
        self.shape()?
            .iter()
            .try_fold(1_usize, |count, &extent| count.checked_mul(extent))
            .filter(|&count| isize::try_from(count).is_ok())
            .ok_or_else(|| self.error("the extents exceed the memory of any machine"))
    }

    /// The numbers, if the tensor is of this type.
    pub fn values<T: Element>(&self) -> Result<Vec<T>, Error> {
        let found = self.element_type()?;
        if found != T::TYPE {
            return Err(self.error(format!("expected {}, got {}", T::TYPE.label(), found.label())));
        }
        self.validate()?;
        Ok(match &self.raw_data {
            Some(raw) => raw.chunks_exact(T::SIZE).map(T::read).collect(),
            None => T::typed(self),
        })
    }

    /// The numbers as `f32`, of any floating type.
    pub fn floats(&self) -> Result<Vec<f32>, Error> {
        match self.element_type()? {
            DataType::Float16 => Ok(self.values::<f16>()?.into_iter().map(f16::to_f32).collect()),
            DataType::Bfloat16 => Ok(self.values::<bf16>()?.into_iter().map(bf16::to_f32).collect()),
            DataType::Double => Ok(self
                .values::<f64>()?
                .into_iter()
                .map(|value| value as f32)
                .collect()),
            _ => self.values(),
        }
    }

    /// The numbers as `i64`, of any integer type of up to 64 bits but unsigned 64.
    pub fn integers(&self) -> Result<Vec<i64>, Error> {
        fn widen<T: Element + Into<i64>>(tensor: &TensorProto) -> Result<Vec<i64>, Error> {
            Ok(tensor.values::<T>()?.into_iter().map(Into::into).collect())
        }
        match self.element_type()? {
            DataType::Int8 => widen::<i8>(self),
            DataType::Uint8 => widen::<u8>(self),
            DataType::Int16 => widen::<i16>(self),
            DataType::Uint16 => widen::<u16>(self),
            DataType::Int32 => widen::<i32>(self),
            DataType::Uint32 => widen::<u32>(self),
            _ => self.values(),
        }
    }

    /// The truth values.
    pub fn flags(&self) -> Result<Vec<bool>, Error> {
        let found = self.element_type()?;
        if found != DataType::Bool {
            return Err(self.error(format!(
                "expected {}, got {}",
                DataType::Bool.label(),
                found.label()
            )));
        }
        self.validate()?;
        Ok(match &self.raw_data {
            Some(raw) => raw.iter().map(|&byte| byte != 0).collect(),
            None => self.int32_data.iter().map(|&value| value != 0).collect(),
        })
    }

    /// Checks that the data is there and as long as type and extents say.
    pub fn validate(&self) -> Result<(), Error> {
        if self.data_location() == DataLocation::External {
            return Err(self.error("its data lies in another file and was not read"));
        }
        if self.segment.is_some() {
            return Err(self.error("it is a segment of a larger tensor; merge the segments"));
        }
        let kind = self.element_type()?;
        if self.fields_set() > 1 {
            return Err(self.error("its data lies in more than one field; keep one"));
        }
        let count = self.count()?;
        let (expected, found, unit) = match (&self.raw_data, kind.bits()) {
            (Some(_), None) => return Err(self.error("text cannot lie in raw_data")),
            (Some(raw), Some(bits)) => {
                let expected = (count as u128 * u128::from(bits)).div_ceil(8);
                (expected, raw.len(), "bytes")
            }
            (None, _) => (Self::typed_count(kind, count), self.typed_len(kind), "elements"),
        };
        if expected == found as u128 {
            return Ok(());
        }
        let dims = &self.dims;
        Err(self.error(format!(
            "shape {dims:?} of {} needs {expected} {unit}, the file holds {found}",
            kind.label()
        )))
    }

    /// How many of the fields that can hold data do.
    fn fields_set(&self) -> usize {
        let fields = [
            self.raw_data.as_ref().is_some_and(|raw| !raw.is_empty()),
            !self.float_data.is_empty(),
            !self.double_data.is_empty(),
            !self.int32_data.is_empty(),
            !self.int64_data.is_empty(),
            !self.uint64_data.is_empty(),
            !self.string_data.is_empty(),
        ];
        fields.into_iter().filter(|&is_set| is_set).count()
    }

    /// How many entries of the typed field hold `count` elements.
    fn typed_count(kind: DataType, count: usize) -> u128 {
        match (kind, kind.bits()) {
            (DataType::Complex64 | DataType::Complex128, _) => 2 * count as u128,
            (_, Some(bits @ (2 | 4))) => (count as u128 * u128::from(bits)).div_ceil(8),
            _ => count as u128,
        }
    }

    fn typed_len(&self, kind: DataType) -> usize {
        match kind {
            DataType::Float | DataType::Complex64 => self.float_data.len(),
            DataType::Double | DataType::Complex128 => self.double_data.len(),
            DataType::Int64 => self.int64_data.len(),
            DataType::Uint32 | DataType::Uint64 => self.uint64_data.len(),
            DataType::String => self.string_data.len(),
            _ => self.int32_data.len(),
        }
    }

    fn error(&self, reason: impl Into<String>) -> Error {
        Error::tensor(self.name(), reason)
    }
}

impl DataType {
    /// Bits of one element; `None` for text.
    pub fn bits(self) -> Option<u32> {
        Some(match self {
            Self::Undefined | Self::String => return None,
            Self::Uint2 | Self::Int2 => 2,
            Self::Uint4 | Self::Int4 | Self::Float4e2m1 => 4,
            Self::Float6e2m3 | Self::Float6e3m2 => 6,
            Self::Uint8
            | Self::Int8
            | Self::Bool
            | Self::Float8e4m3fn
            | Self::Float8e4m3fnuz
            | Self::Float8e5m2
            | Self::Float8e5m2fnuz
            | Self::Float8e8m0 => 8,
            Self::Uint16 | Self::Int16 | Self::Float16 | Self::Bfloat16 => 16,
            Self::Float | Self::Int32 | Self::Uint32 => 32,
            Self::Double | Self::Int64 | Self::Uint64 | Self::Complex64 => 64,
            Self::Complex128 => 128,
        })
    }

    /// The type as messages name it: `float32`.
    pub fn label(self) -> String {
        match self {
            Self::Float => "float32".to_owned(),
            Self::Double => "float64".to_owned(),
            other => other.as_str_name().to_lowercase(),
        }
    }

    /// Whether it is a floating-point type that networks compute in.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float | Self::Float16 | Self::Bfloat16 | Self::Double)
    }
}
