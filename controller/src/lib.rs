//! The workstation's side of Edgefront: studies, the fleet, results, reports.

pub mod broker;
pub mod bundle;
pub mod cli;
pub mod compare;
pub mod data;
pub mod demo;
pub mod fleet;
pub mod frontier;
pub mod keys;
pub mod reference;
pub mod report;
pub mod results;
pub mod runtime_install;
pub mod select;
pub mod stats;
pub mod store;
pub mod study;
pub mod torch_export;
pub mod tvm_compile;
pub mod ui;
