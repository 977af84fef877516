//! Distribution functions that the device needs to end a race and the controller to derive intervals. Nothing here
//! knows what is measured.

mod beta;
mod student;

pub use beta::regularized_incomplete;
pub use student::{f_exceeds, t_within, t95};
