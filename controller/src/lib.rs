//! The workstation's side of Edgefront: studies, the fleet, results, reports.

pub mod cli;
pub mod report;
pub mod results;
pub mod ui;
