//! Weights that lie in files beside the model.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Component, Path, PathBuf};

use crate::error::Error;
use crate::proto::{DataLocation, GraphProto, StringStringEntryProto, TensorProto, onnx};

/// Bytes of a tensor for which a place of its own is worth while; shapes stay where every reader sees them.
const SMALLEST: usize = 4096;

/// Where each tensor begins, so that vector loads do not straddle cache lines.
const ALIGNMENT: usize = 64;

/// Reads every external tensor of the graph's initializers and of its nodes' attributes into the model, and
/// returns the files that they were in. `room` is how many bytes may be added in all.
pub(crate) fn inline(
    graph: &mut GraphProto,
    dir: Option<&Path>,
    mut room: u64,
) -> Result<BTreeSet<PathBuf>, Error> {
    let mut files = BTreeSet::new();
    for tensor in &mut graph.initializer {
        files.extend(inline_tensor(tensor, dir, &mut room)?);
    }
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        if let Some(tensor) = &mut attribute.t {
            files.extend(inline_tensor(tensor, dir, &mut room)?);
        }
    }
    Ok(files)
}

/// Moves the graph's large initializers into the file `name` of the folder `dir`. A runtime then maps those that
/// it needs, where it would hold two copies of what lies in the model.
pub(crate) fn move_out(graph: &mut GraphProto, dir: &Path, name: &str) -> io::Result<()> {
    let mut file = BufWriter::new(File::create_new(dir.join(name))?);
    let mut offset = 0;
    for tensor in &mut graph.initializer {
        let Some(data) = tensor.raw_data.take_if(|data| data.len() >= SMALLEST) else {
            continue;
        };
        file.write_all(&data)?;
        let padding = data.len().next_multiple_of(ALIGNMENT) - data.len();
        file.write_all(&[0; ALIGNMENT][..padding])?;
        let place = [
            ("location", name.to_owned()),
            ("offset", offset.to_string()),
            ("length", data.len().to_string()),
        ];
        tensor.data_location = Some(DataLocation::External.into());
        tensor.external_data = place.map(|(key, value)| pair(key, value)).into();
        offset += data.len() + padding;
    }
    file.flush()
}

fn pair(key: &str, value: String) -> StringStringEntryProto {
    onnx::StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value),
    }
    .into()
}

fn inline_tensor(
    tensor: &mut TensorProto,
    dir: Option<&Path>,
    room: &mut u64,
) -> Result<Option<PathBuf>, Error> {
    if tensor.data_location() != DataLocation::External {
        return Ok(None);
    }
    let (data, file) = read(tensor, dir, *room).map_err(|reason| Error::External {
        tensor: tensor.name().to_owned(),
        reason,
    })?;
    *room -= data.len() as u64;
    tensor.raw_data = Some(data.into());
    tensor.external_data.clear();
    tensor.data_location = None;
    Ok(Some(file))
}

/// The bytes that a tensor's `location`, `offset` and `length` stand for, and the file that holds them.
fn read(tensor: &TensorProto, dir: Option<&Path>, room: u64) -> Result<(Vec<u8>, PathBuf), String> {
    let dir = dir.ok_or("there is no folder to read it from; read the model from its file")?;
    let path = locate(dir, entry(tensor, "location").ok_or("`location` is missing")?)?;
    let named = |error| format!("{}: {error}", path.display());
    let offset = number(tensor, "offset")?.unwrap_or(0);
    let metadata = path.metadata().map_err(named)?;
    if !metadata.is_file() {
        return Err(format!(
            "{} is no regular file; put the weights there",
            path.display()
        ));
    }
    let size = metadata.len();
    let left = size.saturating_sub(offset);
    let length = number(tensor, "length")?.unwrap_or(left);
    if length > left {
        return Err(format!(
            "{}: {length} bytes at {offset} are outside the file's {size}; copy it again, or export the model again",
            path.display()
        ));
    }
    if length > room {
        return Err(
            "the weights exceed the 2 GB that one ONNX file can hold; use a smaller model".to_owned(),
        );
    }
    let mut file = File::open(&path).map_err(named)?;
    file.seek(SeekFrom::Start(offset)).map_err(named)?;
    let mut data = vec![0; length as usize];
    file.read_exact(&mut data).map_err(named)?;
    Ok((data, path))
}

/// A file below `dir`, also after links are followed.
fn locate(dir: &Path, location: &str) -> Result<PathBuf, String> {
    let relative = Path::new(location);
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !relative.components().all(inside) {
        return Err(format!(
            "`{location}` leaves the model's folder; put the file beside the model"
        ));
    }
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let path = dir.join(relative);
    let real = path
        .canonicalize()
        .map_err(|error| format!("{}: put the file beside the model: {error}", path.display()))?;
    let real_dir = dir
        .canonicalize()
        .map_err(|error| format!("{}: {error}", dir.display()))?;
    if !real.starts_with(real_dir) {
        return Err(format!(
            "`{location}` links out of the model's folder; put the file beside the model"
        ));
    }
    Ok(real)
}

fn number(tensor: &TensorProto, key: &str) -> Result<Option<u64>, String> {
    entry(tensor, key)
        .map(|text| {
            text.parse()
                .map_err(|_| format!("`{key}` is `{text}`, not a number of bytes"))
        })
        .transpose()
}

fn entry<'a>(tensor: &'a TensorProto, key: &str) -> Option<&'a str> {
    tensor
        .external_data
        .iter()
        .find(|entry| entry.key() == key)
        .map(|entry| entry.value())
}
