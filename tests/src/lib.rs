//! What the workspace tests share: brokers as processes, and the programs under test.

pub mod board;
pub mod broker;
pub mod emulator;
pub mod fleet;
pub mod gate;
pub mod jobs;
pub mod observer;
pub mod program;
pub mod transfer;

/// Longest wait for anything that must happen; passing it means that it does not.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);
