//! The results of a study: built from the stored outcomes of its jobs, read back from files, merged.

mod accuracy;
mod build;
mod conditions;
mod energy;
mod figures;
#[cfg(test)]
pub(crate) mod fixture;
mod kernels;
mod load;
mod machines;
mod race;
mod scenario;
mod sustained;
mod unmeasured;

pub(crate) use build::way;
pub use build::{Settled, Study, build};
pub use load::{LoadError, load, merge, mixes_accuracies};
pub(crate) use scenario::{SERVER, is_in};
pub use unmeasured::{DEVICE, Unmeasured, of_device, unmeasured};
