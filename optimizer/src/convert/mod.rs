//! Models in the file formats of other frameworks.

pub mod tflite;
