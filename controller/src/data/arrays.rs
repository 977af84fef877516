//! Reads every array of an `.npz` as a tensor.

use std::collections::BTreeMap;
use std::path::Path;

use edgefront_runtimes::{Data, Tensor};
use half::f16;

use super::error::{DataError, Problem};
use super::npy::Header;
use super::npz::{Archive, Elements};

/// The arrays of the file by name, of the types that models have.
pub fn arrays(path: &Path) -> Result<BTreeMap<String, Tensor>, DataError> {
    let mut archive = Archive::open(path)?;
    let mut tensors = BTreeMap::new();
    for name in archive.names() {
        let tensor = tensor(&mut archive, &name).map_err(|problem| problem.at(path))?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

fn tensor(archive: &mut Archive, name: &str) -> Result<Tensor, Problem> {
    let found = archive.listed();
    let (header, entry) = archive.array(name)?.ok_or_else(|| Problem::NoArray {
        name: name.to_owned(),
        found,
    })?;
    let array = |why: String| Problem::Array {
        name: name.to_owned(),
        why,
    };
    let Some(size) = size_of_element(&header) else {
        let why = format!(
            "has type `{}`; save float32, float16, integers of 8, 32 or 64 bits, or bool",
            header.descr
        );
        return Err(array(why));
    };
    let (descr, shape) = (header.descr.clone(), header.shape.clone());
    let data = decoded(&descr, &Elements::new(header, entry, name, size)?.all()?);
    Tensor::new(shape, data).map_err(|error| array(error.to_string()))
}

fn size_of_element(header: &Header) -> Option<usize> {
    match header.descr.as_str() {
        "|u1" | "|i1" | "|b1" => Some(1),
        "<f2" => Some(2),
        "<f4" | "<i4" => Some(4),
        "<i8" => Some(8),
        _ => None,
    }
}

fn decoded(descr: &str, bytes: &[u8]) -> Data {
    fn each<const N: usize, T>(bytes: &[u8], decode: fn([u8; N]) -> T) -> Vec<T> {
        bytes
            .as_chunks::<N>()
            .0
            .iter()
            .map(|&chunk| decode(chunk))
            .collect()
    }
    match descr {
        "<f4" => Data::F32(each(bytes, f32::from_le_bytes)),
        "<f2" => Data::F16(each(bytes, f16::from_le_bytes)),
        "<i8" => Data::I64(each(bytes, i64::from_le_bytes)),
        "<i4" => Data::I32(each(bytes, i32::from_le_bytes)),
        "|i1" => Data::I8(each(bytes, i8::from_le_bytes)),
        "|b1" => Data::Bool(each(bytes, |[byte]: [u8; 1]| byte != 0)),
        _ => Data::U8(bytes.to_vec()),
    }
}
