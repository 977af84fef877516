//! The workstation's side of Edgefront: studies, the fleet, results, reports.

pub mod report;
pub mod results;
