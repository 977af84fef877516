//! The results of a study: built from the stored outcomes of its jobs, read back from files, merged.

mod build;

pub use build::{Settled, Study, build};
