//! Statistics derived from stored samples. Nothing here measures; nothing here is stored.
//!
//! A *rank* counts samples in ascending order from 1. A percentile is *reached* where at least one sample
//! lies beyond it, and *certified* where the samples suffice for MLPerf's early-stopping rule.

pub mod blocks;
pub mod certify;
pub mod compare;
pub mod intervals;
mod order;
pub mod rounds;
mod samples;
pub mod wilson;

#[cfg(test)]
pub(crate) use samples::tests::latency_of;
pub use samples::{Corrupted, Samples};
