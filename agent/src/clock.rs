//! The clock by which what one process does is held against what another one reads.

use rustix::time::ClockId;

/// A stretch of time: its beginning and end by [`monotonic`].
pub(crate) type Stretch = (u64, u64);

/// Nanoseconds for which processors ran this process.
pub(crate) fn of_this_process() -> u64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

/// Nanoseconds of the clock that all processes of the device share and that nobody sets.
pub(crate) fn monotonic() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = rustix::time::clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
