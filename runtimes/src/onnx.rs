//! What an ONNX file declares, for runtimes that do not say it themselves: its inputs and outputs, and which kinds of
//! numbers it computes with.
//!
//! Numbers are those of fields in `onnx.proto`. The file is walked once; weights are passed over, not read. Of graphs
//! within nodes (`If`, `Loop`) nothing is told.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};

use crate::port::Declared;
use crate::protobuf::{Field, field};
use crate::{DataType, Port, digest};

/// Longer ones are no names, shapes or entries.
const SHORT: u64 = 1 << 16;
/// `TensorProto.FLOAT16`.
const FLOAT16: u64 = 10;

/// What a file declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Interface {
    /// The inputs in order, without those that have a value in the file.
    pub(crate) inputs: Vec<ValueInfo>,
    /// The outputs in order.
    pub(crate) outputs: Vec<ValueInfo>,
    /// Whether it has nodes that quantize or dequantize.
    pub(crate) is_quantized: bool,
    /// Whether it computes in half precision: an input, an output, or a cast says so. Halves that are stored alone do
    /// not count.
    pub(crate) is_half: bool,
    /// Files beside it that hold weights.
    pub(crate) external: Vec<PathBuf>,
}

impl Interface {
    /// That of a file. The error is one line.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut found = Self::of(BufReader::new(file)).map_err(|_| "it is no ONNX file that can be read")?;
        for file in &mut found.external {
            *file = folder.join(&file);
        }
        Ok(found)
    }

    /// The inputs, for a runtime that is given them. The error names one of a type that no runtime here takes.
    pub(crate) fn declared_inputs(&self) -> Result<Vec<Declared>, String> {
        self.inputs.iter().map(|input| input.declared("input")).collect()
    }

    /// The outputs, for a runtime whose outputs are read as such. The error is as that of the inputs.
    pub(crate) fn declared_outputs(&self) -> Result<Vec<Declared>, String> {
        let outputs = self.outputs.iter();
        outputs.map(|output| output.declared("output")).collect()
    }

    /// The shapes of those inputs that leave axes open, as `TensorRT` wants them; `None` where none does. `ports` are the
    /// inputs with every axis known.
    pub(crate) fn open_shapes(&self, ports: &[Port]) -> Option<String> {
        let inputs = self.inputs.iter().zip(ports);
        let open = inputs.filter(|(input, _)| input.axes.contains(&None));
        let shapes: Vec<String> = open.map(|(_, port)| port.text()).collect();
        (!shapes.is_empty()).then(|| shapes.join(","))
    }

    /// SHA-256 of the file at `path`, of which this was read, and of those that hold its weights.
    pub(crate) fn digest(&self, path: &Path) -> io::Result<String> {
        let files = std::iter::once(path).chain(self.external.iter().map(PathBuf::as_path));
        let digests: io::Result<Vec<_>> = files.map(digest::of_file).collect();
        Ok(digests?.join(" "))
    }

    pub(crate) fn of(file: impl BufRead + Seek) -> io::Result<Self> {
        let mut walk = Walk { file };
        let mut graph = Graph::default();
        while let Some((number, value)) = field(&mut walk.file)? {
            match (number, value) {
                // `ModelProto.graph`.
                (7, Field::Length(length)) => graph.read(&mut walk, length)?,
                (_, Field::Length(length)) => walk.skip(length)?,
                _ => {}
            }
        }
        Ok(graph.interface())
    }
}

/// A `GraphProto` as far as it was read.
#[derive(Default)]
struct Graph {
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
    initialized: HashSet<String>,
    external: Vec<PathBuf>,
    is_quantized: bool,
    casts_to_half: bool,
}

impl Graph {
    fn read(&mut self, walk: &mut Walk<impl BufRead + Seek>, length: u64) -> io::Result<()> {
        let end = walk.end(length)?;
        while let Some((number, value)) = walk.field_before(end)? {
            match (number, value) {
                (1, Field::Length(length)) => self.read_node(walk, length)?,
                (5, Field::Length(length)) => self.read_initializer(walk, length)?,
                (11, Field::Length(length)) => self.inputs.push(ValueInfo::of(&walk.bytes(length)?)?),
                (12, Field::Length(length)) => self.outputs.push(ValueInfo::of(&walk.bytes(length)?)?),
                (_, Field::Length(length)) => walk.skip(length)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// A `NodeProto`.
    fn read_node(&mut self, walk: &mut Walk<impl BufRead + Seek>, length: u64) -> io::Result<()> {
        let end = walk.end(length)?;
        let (mut kind, mut to) = (Vec::new(), None);
        while let Some((number, value)) = walk.field_before(end)? {
            match (number, value) {
                (4, Field::Length(length)) => kind = walk.bytes(length)?,
                (5, Field::Length(length)) if length <= SHORT => {
                    to = to.or(target_of_cast(&walk.bytes(length)?)?);
                }
                (_, Field::Length(length)) => walk.skip(length)?,
                _ => {}
            }
        }
        self.is_quantized |= kind == b"QuantizeLinear" || kind == b"DequantizeLinear";
        self.casts_to_half |= kind == b"Cast" && to == Some(FLOAT16);
        Ok(())
    }

    /// A `TensorProto`.
    fn read_initializer(&mut self, walk: &mut Walk<impl BufRead + Seek>, length: u64) -> io::Result<()> {
        let end = walk.end(length)?;
        while let Some((number, value)) = walk.field_before(end)? {
            match (number, value) {
                (8, Field::Length(length)) => drop(self.initialized.insert(text(walk.bytes(length)?)?)),
                (13, Field::Length(length)) => {
                    if let Some(file) = location(&walk.bytes(length)?)?.map(PathBuf::from)
                        && !self.external.contains(&file)
                    {
                        self.external.push(file);
                    }
                }
                (_, Field::Length(length)) => walk.skip(length)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn interface(self) -> Interface {
        let is_half = |value: &ValueInfo| value.element == FLOAT16;
        let is_half = self.casts_to_half || self.inputs.iter().chain(&self.outputs).any(is_half);
        let inputs = self.inputs.into_iter();
        let inputs = inputs.filter(|input| !self.initialized.contains(&input.name));
        Interface {
            inputs: inputs.collect(),
            outputs: self.outputs,
            is_quantized: self.is_quantized,
            is_half,
            external: self.external,
        }
    }
}

/// A `ValueInfoProto`, of a tensor or else of type 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ValueInfo {
    name: String,
    element: u64,
    /// Extents, `None` where the file leaves them open.
    pub(crate) axes: Vec<Option<usize>>,
}

impl ValueInfo {
    fn of(bytes: &[u8]) -> io::Result<Self> {
        let mut info = Self::default();
        each(bytes, |number, value| match (number, value) {
            (1, Value::Bytes(name)) => text(name.to_vec()).map(|name| info.name = name),
            // `TypeProto` and its `Tensor`.
            (2, Value::Bytes(kind)) => each(kind, |number, value| match (number, value) {
                (1, Value::Bytes(tensor)) => info.read_tensor(tensor),
                _ => Ok(()),
            }),
            _ => Ok(()),
        })?;
        Ok(info)
    }

    fn read_tensor(&mut self, bytes: &[u8]) -> io::Result<()> {
        each(bytes, |number, value| match (number, value) {
            (1, Value::Number(element)) => {
                self.element = element;
                Ok(())
            }
            // `TensorShapeProto` and its dimensions.
            (2, Value::Bytes(shape)) => each(shape, |number, value| {
                if let (1, Value::Bytes(dimension)) = (number, value) {
                    self.axes.push(extent(dimension)?);
                }
                Ok(())
            }),
            _ => Ok(()),
        })
    }

    /// What it is to the model comes into the error.
    fn declared(&self, what: &str) -> Result<Declared, String> {
        let (name, element) = (&self.name, self.element);
        let data_type = data_type(element).ok_or_else(|| {
            format!(
                "{what} `{name}` is of the unsupported type {}",
                type_name(element)
            )
        })?;
        Ok(Declared {
            data_type,
            name: name.clone(),
            axes: self.axes.clone(),
        })
    }
}

/// `TensorProto.DataType`.
fn data_type(element: u64) -> Option<DataType> {
    Some(match element {
        1 => DataType::F32,
        2 => DataType::U8,
        3 => DataType::I8,
        6 => DataType::I32,
        7 => DataType::I64,
        9 => DataType::Bool,
        FLOAT16 => DataType::F16,
        _ => return None,
    })
}

/// What people call a `TensorProto.DataType` that is none of ours.
fn type_name(element: u64) -> String {
    let known = match element {
        0 => "none, for it is no tensor",
        4 => "uint16",
        5 => "int16",
        8 => "string",
        11 => "float64",
        12 => "uint32",
        13 => "uint64",
        14 => "complex64",
        15 => "complex128",
        16 => "bfloat16",
        17..=20 => "float8",
        21 => "uint4",
        22 => "int4",
        _ => return format!("{element} of ONNX"),
    };
    known.to_owned()
}

/// The size of a dimension, `None` where it has a name or nothing.
fn extent(dimension: &[u8]) -> io::Result<Option<usize>> {
    let mut extent = None;
    each(dimension, |number, value| {
        if let (1, Value::Number(size)) = (number, value) {
            extent = i64::try_from(size)
                .ok()
                .and_then(|size| usize::try_from(size).ok());
        }
        Ok(())
    })?;
    Ok(extent)
}

/// The integer of an `AttributeProto` named `to`.
fn target_of_cast(attribute: &[u8]) -> io::Result<Option<u64>> {
    let (mut is_to, mut integer) = (false, None);
    each(attribute, |number, value| {
        match (number, value) {
            (1, Value::Bytes(name)) => is_to = name == b"to",
            (3, Value::Number(value)) => integer = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    Ok(integer.filter(|_| is_to))
}

/// The value of a `StringStringEntryProto` whose key is `location`.
fn location(entry: &[u8]) -> io::Result<Option<String>> {
    let (mut is_location, mut value) = (false, None);
    each(entry, |number, field| {
        match (number, field) {
            (1, Value::Bytes(key)) => is_location = key == b"location",
            (2, Value::Bytes(bytes)) => value = Some(text(bytes.to_vec())?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(value.filter(|_| is_location))
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// A field of a message in memory.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Calls `read` with each field of a message.
fn each(mut message: &[u8], mut read: impl FnMut(u64, Value<'_>) -> io::Result<()>) -> io::Result<()> {
    while let Some((number, value)) = field(&mut message)? {
        match value {
            Field::Number(value) => read(number, Value::Number(value))?,
            Field::Length(length) => {
                let length = usize::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?;
                let bytes = message.split_off(..length).ok_or(io::ErrorKind::UnexpectedEof)?;
                read(number, Value::Bytes(bytes))?;
            }
        }
    }
    Ok(())
}

/// A file on the way.
struct Walk<F> {
    file: F,
}

impl<F: BufRead + Seek> Walk<F> {
    /// Where a message of this length, which begins here, ends.
    fn end(&mut self, length: u64) -> io::Result<u64> {
        Ok(self.file.stream_position()?.saturating_add(length))
    }

    fn field_before(&mut self, end: u64) -> io::Result<Option<(u64, Field)>> {
        if self.file.stream_position()? < end {
            field(&mut self.file)
        } else {
            Ok(None)
        }
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        self.file
            .seek_relative(i64::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?)
    }

    fn bytes(&mut self, length: u64) -> io::Result<Vec<u8>> {
        if length > SHORT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length as usize];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../tests/fixtures/models")
            .join(name)
    }

    #[test]
    fn a_network_declares_its_pictures_and_classes() {
        let found = Interface::read(&fixture("tiny.onnx")).unwrap();
        let inputs = found.declared_inputs().unwrap();
        let [input] = inputs.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(input.data_type, DataType::F32);
        assert_eq!(input.axes[1..], [Some(3), Some(8), Some(8)]);
        assert_eq!(found.outputs.len(), 1);
        assert!(!found.is_quantized && !found.is_half && found.external.is_empty());
    }

    #[test]
    fn what_is_no_model_is_told_in_one_line() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let error = Interface::read(&manifest).unwrap_err();
        assert_eq!(error, "it is no ONNX file that can be read");
        assert!(Interface::read(Path::new("/nowhere.onnx")).is_err());
    }

    /// A message: its fields, each a key and bytes with their length before them.
    pub(crate) fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let field = |(number, bytes): &(u8, &[u8])| {
            let head = [number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
            [&head, *bytes].concat()
        };
        fields.iter().flat_map(field).collect()
    }

    #[test]
    fn integers_halves_and_files_beside_it_are_noticed() {
        let initializer = message(&[
            (8, b"w"),
            (13, &message(&[(1, b"location"), (2, b"weights.bin")])),
        ]);
        // Type FLOAT16 of no dimensions.
        let half = message(&[(1, &[1 << 3, 10])]);
        let graph = message(&[
            (1, &message(&[(4, b"DequantizeLinear")])),
            (5, &initializer),
            (11, &message(&[(1, b"w"), (2, &half)])),
            (11, &message(&[(1, b"x"), (2, &half)])),
        ]);
        let found = Interface::of(Cursor::new(message(&[(7, &graph)]))).unwrap();
        assert!(found.is_quantized && found.is_half);
        assert_eq!(found.external, [PathBuf::from("weights.bin")]);
        let names: Vec<_> = found.inputs.iter().map(|input| input.name.as_str()).collect();
        assert_eq!(names, ["x"], "an input with a value in the file is none");
    }

    #[test]
    fn a_type_that_is_not_supported_is_named_and_hides_nothing_else() {
        let of = |element: u8| message(&[(1, &[1 << 3, element])]);
        let graph = message(&[
            (11, &message(&[(1, b"mask"), (2, &of(4))])),
            (12, &message(&[(1, b"exact"), (2, &of(11))])),
            (12, &message(&[(1, b"short"), (2, &of(16))])),
        ]);
        let found = Interface::of(Cursor::new(message(&[(7, &graph)]))).unwrap();
        let said = found.declared_inputs().unwrap_err();
        assert_eq!(said, "input `mask` is of the unsupported type uint16");
        let said = found.declared_outputs().unwrap_err();
        assert_eq!(said, "output `exact` is of the unsupported type float64");
        assert_eq!(
            found.outputs[1].declared("output").unwrap_err(),
            "output `short` is of the unsupported type bfloat16"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(Interface::of(Cursor::new(bytes)));
        }

        #[test]
        fn a_damaged_file_is_read_or_refused(at in 0..1000usize, byte: u8) {
            let mut bytes = std::fs::read(fixture("tiny.onnx")).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            drop(Interface::of(Cursor::new(bytes)));
        }
    }
}
