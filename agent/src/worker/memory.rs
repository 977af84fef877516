//! The memory of this process.

use edgefront_protocol::Bytes;

/// Peak resident set of this process; `None` where the system does not tell.
pub(crate) fn peak_rss() -> Option<Bytes> {
    of_this_process("VmHWM:")
}

/// Resident set of this process; `None` where the system does not tell.
pub(crate) fn rss() -> Option<Bytes> {
    of_this_process("VmRSS:")
}

fn of_this_process(field: &str) -> Option<Bytes> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?, field)
}

/// A field of a process status, which counts in units of 1,024 bytes.
fn parse(status: &str, field: &str) -> Option<Bytes> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(Bytes(kibibytes * 1024))
}

/// Where memory runs out, the system is to end workers rather than the agent or the board's other programs.
pub(crate) fn volunteer_for_the_oom_killer() {
    // A system without this file has no such choice.
    drop(std::fs::write("/proc/self/oom_score_adj", "1000"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_status() {
        let status = "Name:\tworker\nVmPeak:\t  9000 kB\nVmHWM:\t    1234 kB\nVmRSS:\t    1000 kB\n";
        assert_eq!(parse(status, "VmHWM:"), Some(Bytes(1234 * 1024)));
        assert_eq!(parse(status, "VmRSS:"), Some(Bytes(1000 * 1024)));
        assert_eq!(parse("Name:\tworker\n", "VmHWM:"), None);
    }
}
