//! The memory of this process, and of the system for files that it has read.

use std::fs::{self, File};
use std::io::{self, IoSliceMut};
use std::path::Path;

use edgefront_protocol::Bytes;
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// Peak resident set of this process; `None` where the system does not tell.
pub(crate) fn peak_rss() -> Option<Bytes> {
    of_this_process("VmHWM:")
}

/// Resident set of this process; `None` where the system does not tell.
pub(crate) fn rss() -> Option<Bytes> {
    of_this_process("VmRSS:")
}

/// Proportional set size of this process: what it shares with others counts for each by its part.
pub(crate) fn pss() -> Option<Bytes> {
    parse(&fs::read_to_string("/proc/self/smaps_rollup").ok()?, "Pss:")
}

/// Has the system forget what it keeps of a file, so that the next one who reads it waits for the disk. Gives whether it has:
/// not for a file that lies in memory alone, nor where the system does not tell.
pub(crate) fn forget(path: &Path) -> bool {
    let is_forgotten = || {
        let file = File::open(path)?;
        // What is not yet on the disk could not be forgotten.
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        let mut byte = [0];
        let read = preadv2(
            &file,
            &mut [IoSliceMut::new(&mut byte)],
            0,
            ReadWriteFlags::NOWAIT,
        );
        io::Result::Ok(read == Err(Errno::AGAIN))
    };
    is_forgotten().unwrap_or(false)
}

fn of_this_process(field: &str) -> Option<Bytes> {
    parse(&fs::read_to_string("/proc/self/status").ok()?, field)
}

/// A field of what the system tells of a process, which counts in units of 1,024 bytes.
fn parse(status: &str, field: &str) -> Option<Bytes> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(Bytes(kibibytes * 1024))
}

/// Where memory runs out, the system is to end workers rather than the agent or the board's other programs.
pub(crate) fn volunteer_for_the_oom_killer() {
    // A system without this file has no such choice.
    drop(fs::write("/proc/self/oom_score_adj", "1000"));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// This program's own file is mapped, and stays.
    #[test]
    fn what_stays_in_memory_is_not_said_to_be_forgotten() {
        assert!(!forget(&std::env::current_exe().unwrap()));
        assert!(!forget(Path::new("/no/such/file")));
    }

    #[test]
    fn the_proportional_set_is_no_larger_than_the_resident_one() {
        let (Some(pss), Some(rss)) = (pss(), rss()) else {
            return assert!(!Path::new("/proc/self/smaps_rollup").exists());
        };
        // Both change while they are read.
        assert!(pss.0 > 0 && pss.0 <= rss.0 + (1 << 20), "{pss} {rss}");
    }

    #[test]
    fn figures_are_read_from_the_status() {
        let status = "Name:\tworker\nVmPeak:\t  9000 kB\nVmHWM:\t    1234 kB\nVmRSS:\t    1000 kB\n";
        assert_eq!(parse(status, "VmHWM:"), Some(Bytes(1234 * 1024)));
        assert_eq!(parse(status, "VmRSS:"), Some(Bytes(1000 * 1024)));
        assert_eq!(parse("Name:\tworker\n", "VmHWM:"), None);
    }
}
