//! ONNX in, optimized variants out.
//!
//! A [`Model`] is what the file holds. [`check`] refuses what is not valid, [`shape`] infers the type of every
//! value, the [`passes`] change a model through the one mutator, [`graph::Graph`], and say in a
//! [`report::PassReport`] what they did to each node. A [`recipe`] is a named list of passes.

mod answers;
pub mod calibrate;
pub mod check;
pub mod convert;
pub mod cost;
mod error;
mod evaluate;
mod external;
#[cfg(test)]
mod external_tests;
pub mod graph;
mod layer;
mod model;
pub mod obstacles;
pub mod passes;
pub mod proto;
pub mod quantize;
pub mod recipe;
pub mod report;
pub mod sensitivity;
pub mod shape;
mod simd;
mod streamed;
mod tensor;
#[cfg(test)]
mod testing;
pub mod train;

pub use error::Error;
pub use model::Model;
pub use report::{Change, NodeReport, PassReport};
pub use tensor::Element;
