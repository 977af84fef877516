//! Walking a protobuf without its schema: keys, numbers and lengths, without the bytes that lengths announce.

use std::io::{self, BufRead, Read};

/// One field, its value not read where it has a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// A number.
    Number(u64),
    /// The length of the bytes that follow.
    Length(u64),
}

/// The number of the next field and what it holds; `None` at the end. Fields of fixed width are passed over.
pub(crate) fn field(file: &mut impl BufRead) -> io::Result<Option<(u64, Field)>> {
    while !file.fill_buf()?.is_empty() {
        let key = varint(file)?;
        match key & 7 {
            0 => return Ok(Some((key >> 3, Field::Number(varint(file)?)))),
            1 => file.read_exact(&mut [0; 8])?,
            2 => return Ok(Some((key >> 3, Field::Length(varint(file)?)))),
            5 => file.read_exact(&mut [0; 4])?,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Ok(None)
}

/// The number and length of the next field that has a length; `None` at the end. Others are passed over.
#[cfg(feature = "openvino")]
pub(crate) fn next(file: &mut impl BufRead) -> io::Result<Option<(u64, u64)>> {
    while let Some((number, value)) = field(file)? {
        if let Field::Length(length) = value {
            return Ok(Some((number, length)));
        }
    }
    Ok(None)
}

pub(crate) fn varint(file: &mut impl Read) -> io::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        value |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            return Ok(value);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}
