//! The results of a study: built from the stored outcomes of its jobs, read back from files, merged.

mod build;
#[cfg(test)]
pub(crate) mod fixture;
mod load;

pub use build::{Settled, Study, build};
pub use load::{LoadError, load, merge, mixes_accuracies};
