//! Whether an ONNX file computes in half precision, which its inputs and outputs need not show.
//!
//! Numbers are those of fields in `onnx.proto`. Of a protobuf only the keys and lengths on the way are read.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _};
use std::path::Path;

use crate::protobuf::{next, varint};

/// `TensorProto.FLOAT16`.
const FLOAT16: u64 = 10;
/// Lengths above this are no name of an operator and no attribute of a `Cast`.
const SHORT: u64 = 4096;

/// Whether an operator `Cast` of the outermost graph makes halves. Halves that are only stored, as weights that are
/// cast to single precision, are not computed with. False where the file cannot be read: who loads it says why.
pub(super) fn is_computed(model: &Path) -> bool {
    search(model).unwrap_or(false)
}

fn search(model: &Path) -> io::Result<bool> {
    let mut file = BufReader::new(File::open(model)?);
    while let Some((field, length)) = next(&mut file)? {
        if field != 7 {
            skip(&mut file, length)?;
            continue;
        }
        // `ModelProto.graph`: what follows are its fields.
        let end = file.stream_position()?.saturating_add(length);
        while file.stream_position()? < end
            && let Some((field, length)) = next(&mut file)?
        {
            if field == 1 && length <= SHORT {
                let mut node = vec![0; length as usize];
                file.read_exact(&mut node)?;
                if makes_halves(&node)? {
                    return Ok(true);
                }
            } else {
                skip(&mut file, length)?;
            }
        }
    }
    Ok(false)
}

/// Whether a `NodeProto` is a `Cast` to half precision.
fn makes_halves(mut node: &[u8]) -> io::Result<bool> {
    let (mut is_cast, mut to_half) = (false, false);
    while let Some((field, length)) = next(&mut node)? {
        let value = node
            .split_off(..usize::try_from(length).unwrap_or(usize::MAX))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        match field {
            4 => is_cast = value == b"Cast",
            5 => to_half |= attribute(value)? == Some(FLOAT16),
            _ => {}
        }
    }
    Ok(is_cast && to_half)
}

/// The integer that an `AttributeProto` of the name `to` holds.
fn attribute(mut attribute: &[u8]) -> io::Result<Option<u64>> {
    let (mut is_to, mut integer) = (false, None);
    while !attribute.is_empty() {
        let key = varint(&mut attribute)?;
        match (key >> 3, key & 7) {
            (3, 0) => integer = Some(varint(&mut attribute)?),
            (_, 0) => drop(varint(&mut attribute)?),
            (field, 2) => {
                let length = varint(&mut attribute)?;
                let value = attribute
                    .split_off(..usize::try_from(length).unwrap_or(usize::MAX))
                    .ok_or(io::ErrorKind::UnexpectedEof)?;
                is_to |= field == 1 && value == b"to";
            }
            _ => return Ok(None),
        }
    }
    Ok(integer.filter(|_| is_to))
}

fn skip(file: &mut BufReader<File>, length: u64) -> io::Result<()> {
    file.seek_relative(i64::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?)
}
