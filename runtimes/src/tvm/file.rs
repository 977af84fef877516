//! What a compiled library says of itself. The system loads a shared object by its headers and lets what lies behind it
//! be, so this lies at its end: JSON, its length in 8 bytes, the lower ones first, and a mark of 8 bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::Deserialize;

use super::ffi::Element;
use crate::DataType;
use crate::line::one_line;
use crate::port::Declared;
use crate::{digest, elf};

/// The last bytes of a library that Edgefront had compiled.
const MARK: &[u8; 8] = b"EDGE:TVM";
/// Bytes of the length and the mark.
const FOOT: usize = 16;
/// A longer record is none.
const LONGEST: u64 = 1 << 20;

/// What a library says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Record {
    /// Version of TVM that compiled it.
    pub(super) tvm: String,
    /// The level of instructions that its code needs, as LLVM calls it: `x86-64-v3`; `generic` for any.
    pub(super) cpu: String,
    /// Why its code is not tuned; `None` where it is.
    pub(super) untuned: Option<String>,
    /// SHA-256 of the code that all this is said of.
    code: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Port {
    name: String,
    /// As numpy calls it.
    #[serde(rename = "type")]
    data_type: String,
    shape: Vec<usize>,
}

/// Inputs or outputs.
type Ports = Vec<Declared>;

impl Record {
    /// Reads it from the library at `path`, which may be one for another processor. The error is a reason in one line.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| one_line(&error.to_string());
        if elf::architecture(path).map_err(failed)?.is_none() {
            return Err("it is no shared library".to_owned());
        }
        let text = foot(path).map_err(failed)?.ok_or(
            "it says nothing of itself at its end; make it anew with `edgefront convert`, or copy it anew",
        )?;
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| {
            format!("what it says of itself cannot be read: {error}; make it anew with `edgefront convert`")
        })
    }

    /// Refuses other code than what the record is of. The error is a reason in one line.
    pub(super) fn check_code(&self, path: &Path) -> Result<(), String> {
        let code = elf::code(path).map_err(|error| one_line(&error.to_string()))?;
        if digest::of(&code) == self.code {
            return Ok(());
        }
        Err(
            "what it says of itself is not of its code, or the code is damaged; make it anew with `edgefront convert`, \
             or copy it anew"
                .to_owned(),
        )
    }

    pub(super) fn inputs(&self) -> Result<Ports, String> {
        self.inputs.iter().map(Port::declared).collect()
    }

    pub(super) fn outputs(&self) -> Result<Ports, String> {
        self.outputs.iter().map(Port::declared).collect()
    }
}

impl Port {
    fn declared(&self) -> Result<Declared, String> {
        let data_type = TYPES.iter().find(|(_, name, _)| *name == self.data_type);
        let &(data_type, ..) = data_type
            .ok_or_else(|| format!("`{}` is of the unsupported type {}", self.name, self.data_type))?;
        Ok(Declared {
            name: self.name.clone(),
            data_type,
            axes: self.shape.iter().copied().map(Some).collect(),
        })
    }
}

/// Refuses code for another processor than this machine's. The error is a reason in one line.
pub(super) fn check_architecture(path: &Path) -> Result<(), String> {
    let found = elf::architecture(path).map_err(|error| one_line(&error.to_string()))?;
    let own = std::env::consts::ARCH;
    match found {
        Some(found) if found != own => Err(format!("it is compiled for {found}, and this machine is {own}")),
        _ => Ok(()),
    }
}

/// `DLDataTypeCode`.
mod code {
    pub(super) const SIGNED: u8 = 0;
    pub(super) const UNSIGNED: u8 = 1;
    pub(super) const FLOAT: u8 = 2;
    pub(super) const TRUTH: u8 = 6;
}

const fn element(code: u8, bits: u8) -> Element {
    Element { code, bits, lanes: 1 }
}

/// Each type with numpy's name and TVM's code of it.
const TYPES: [(DataType, &str, Element); 7] = [
    (DataType::F32, "float32", element(code::FLOAT, 32)),
    (DataType::F16, "float16", element(code::FLOAT, 16)),
    (DataType::I64, "int64", element(code::SIGNED, 64)),
    (DataType::I32, "int32", element(code::SIGNED, 32)),
    (DataType::I8, "int8", element(code::SIGNED, 8)),
    (DataType::U8, "uint8", element(code::UNSIGNED, 8)),
    (DataType::Bool, "bool", element(code::TRUTH, 8)),
];

/// TVM's code of a type.
pub(super) fn element_of(data_type: DataType) -> Element {
    let found = TYPES.iter().find(|(known, ..)| *known == data_type);
    found.expect("invariant: every type has a line").2
}

/// The type of TVM's code.
pub(super) fn type_of(element: Element) -> Option<DataType> {
    let found = TYPES.iter().find(|(_, _, known)| *known == element);
    found.map(|&(data_type, ..)| data_type)
}

/// What lies before the foot of the file; `None` where it has no foot.
fn foot(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    let Some(end) = file.metadata()?.len().checked_sub(FOOT as u64) else {
        return Ok(None);
    };
    let mut foot = [0; FOOT];
    file.read_exact_at(&mut foot, end)?;
    let (length, mark) = foot.split_at(FOOT - MARK.len());
    let length = length
        .iter()
        .rfold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    if mark != MARK || !(1..=LONGEST.min(end)).contains(&length) {
        return Ok(None);
    }
    let mut text = vec![0; length as usize];
    file.read_exact_at(&mut text, end - length)?;
    Ok(Some(text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    const TEXT: &str = r#"{"tvm": "0.27.0", "cpu": "generic", "untuned": "no budget", "code": "CODE",
        "inputs": [{"name": "image", "type": "float32", "shape": [1, 3, 8, 8]}],
        "outputs": [{"name": "scores", "type": "int8", "shape": [1, 10]}]}"#;

    /// An ELF image, this test, with `foot` behind it.
    fn library(foot: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let image = fs::read(std::env::current_exe().unwrap()).unwrap();
        fs::write(file.path(), [&image, foot].concat()).unwrap();
        file
    }

    fn with_length(text: &[u8], length: u64) -> Vec<u8> {
        [text, &length.to_le_bytes(), MARK].concat()
    }

    #[test]
    fn a_library_tells_its_inputs_and_outputs() {
        let file = library(&with_length(TEXT.as_bytes(), TEXT.len() as u64));
        let record = Record::read(file.path()).unwrap();
        assert_eq!((record.tvm.as_str(), record.cpu.as_str()), ("0.27.0", "generic"));
        let inputs = record.inputs().unwrap();
        assert_eq!(inputs[0].axes, [Some(1), Some(3), Some(8), Some(8)]);
        assert_eq!(record.outputs().unwrap()[0].data_type, DataType::I8);
    }

    #[test]
    fn what_is_no_library_of_ours_is_told() {
        let read = |file: &tempfile::NamedTempFile| Record::read(file.path()).unwrap_err();
        let nothing =
            "it says nothing of itself at its end; make it anew with `edgefront convert`, or copy it anew";
        for foot in [
            &b""[..],
            &with_length(b"{}", u64::MAX),
            &with_length(b"{}", 1 << 40),
            &MARK[..],
        ] {
            assert_eq!(read(&library(foot)), nothing);
        }
        let damaged = read(&library(&with_length(b"{}", 2)));
        assert!(
            damaged.starts_with("what it says of itself cannot be read: "),
            "{damaged}"
        );
        let other = tempfile::NamedTempFile::new().unwrap();
        fs::write(other.path(), TEXT).unwrap();
        assert_eq!(read(&other), "it is no shared library");
    }

    #[test]
    fn a_library_for_another_processor_is_refused_before_it_is_loaded() {
        let file = library(&with_length(TEXT.as_bytes(), TEXT.len() as u64));
        let mut image = fs::read(file.path()).unwrap();
        // `e_machine` of RISC-V.
        image[18] = 243;
        assert_eq!(check_architecture(file.path()), Ok(()));
        fs::write(file.path(), &image).unwrap();
        assert!(
            Record::read(file.path()).is_ok(),
            "what it takes and gives is known all the same"
        );
        let refused = check_architecture(file.path()).unwrap_err();
        assert_eq!(
            refused,
            format!(
                "it is compiled for machine 243, and this machine is {}",
                std::env::consts::ARCH
            )
        );
    }

    #[test]
    fn a_record_behind_other_code_is_refused() {
        let image = elf::code(&std::env::current_exe().unwrap()).unwrap();
        assert!(!image.is_empty());
        let checked = |text: &str| {
            let file = library(&with_length(text.as_bytes(), text.len() as u64));
            Record::read(file.path()).unwrap().check_code(file.path())
        };
        assert_eq!(checked(&TEXT.replace("CODE", &digest::of(&image))), Ok(()));
        let refused = checked(TEXT).unwrap_err();
        assert!(
            refused.starts_with("what it says of itself is not of its code"),
            "{refused}"
        );
    }

    #[test]
    fn a_type_of_no_runtime_is_refused() {
        let text = TEXT.replace("int8", "float64");
        let record = Record::parse(text.as_bytes()).unwrap();
        assert_eq!(
            record.outputs().unwrap_err(),
            "`scores` is of the unsupported type float64"
        );
    }

    #[test]
    fn types_are_told_by_their_codes() {
        for (data_type, _, element) in TYPES {
            assert_eq!(usize::from(element.bits), 8 * data_type.width());
            assert_eq!(type_of(element_of(data_type)), Some(data_type));
        }
    }
}
