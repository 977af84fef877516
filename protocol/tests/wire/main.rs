//! Tests of the wire format: every message survives a round trip, its bytes are pinned by fixtures, and no
//! bytes whatever make a decoder panic.
#![allow(clippy::unwrap_used)]

mod envelope;
mod golden;
mod hostile;
mod round_trip;
mod samples;
mod seal;
mod strategies;
