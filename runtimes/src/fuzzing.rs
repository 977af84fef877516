//! Entrances for fuzz targets to decoders that are nobody else's.

use std::io::Cursor;

use crate::onnx::Interface;
use crate::tensorrt;

/// Reads what an ONNX file declares.
pub fn onnx_interface(bytes: &[u8]) {
    if let Ok(found) = Interface::of(Cursor::new(bytes)) {
        drop((found.declared_inputs(), found.declared_outputs()));
    }
}

/// Reads what `trtexec` prints and writes.
pub fn trtexec(text: &str) {
    tensorrt::read_all(text);
}
