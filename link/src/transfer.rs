//! The credit-based blob transfer, free of I/O: both halves are state machines.
