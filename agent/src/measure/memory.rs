//! How many models stay loaded at once.

use edgefront_protocol::Bytes;
use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System};

/// What a worker takes before its model, of which the pages of the program are shared.
const WORKER: u64 = 48 << 20;
/// Memory of a loaded model in units of its file's size: the file, the weights packed for the processor, and
/// the activations.
const MODEL: u64 = 3;
/// One part in this of the memory is left to the rest of the system.
const RESERVE: u64 = 8;

/// The memory at one moment: the machine's, or that of the agent's control group where its limit is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) total: Bytes,
    pub(crate) available: Bytes,
}

impl Memory {
    /// As the system tells it now; `None` where it does not.
    pub(crate) fn now() -> Option<Self> {
        let what = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let mut system = System::new_with_specifics(what).ok()?;
        let machine = Self {
            total: Bytes(system.total_memory()),
            available: Bytes(system.available_memory()),
        };
        Some(match Self::of_group(&mut system) {
            Some(group) => machine.within(group),
            None => machine,
        })
    }

    /// What the limit of this process's control group leaves; cached pages of files give way.
    fn of_group(system: &mut System) -> Option<Self> {
        let own = sysinfo::get_current_pid().ok()?;
        let only_own = ProcessesToUpdate::Some(&[own]);
        system.refresh_processes_specifics(only_own, false, ProcessRefreshKind::nothing());
        let limits = system.process(own)?.cgroup_limits()?;
        Some(Self {
            total: Bytes(limits.total_memory),
            available: Bytes(limits.total_memory.saturating_sub(limits.rss)),
        })
    }

    fn within(self, group: Self) -> Self {
        Self {
            total: self.total.min(group.total),
            available: self.available.min(group.available),
        }
    }

    /// Whether one more artifact may be loaded.
    pub(crate) fn has_room_for(self, artifact: Bytes) -> bool {
        let need = WORKER.saturating_add(artifact.0.saturating_mul(MODEL));
        self.available.0.saturating_sub(self.total.0 / RESERVE) >= need
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_of_a_gigabyte_loads_some_models_of_45_megabytes_but_not_all() {
        let artifact = Bytes(45_000_000);
        let mut memory = Memory {
            total: Bytes(1 << 30),
            available: Bytes(800 << 20),
        };
        let mut loaded = 0;
        while memory.has_room_for(artifact) {
            memory.available.0 -= 180 << 20;
            loaded += 1;
        }
        assert_eq!(loaded, 3);
    }

    #[test]
    fn a_group_with_a_limit_has_no_more_than_that() {
        let memory = |total: u64, available: u64| Memory {
            total: Bytes(total),
            available: Bytes(available),
        };
        let machine = memory(8 << 30, 4 << 30);
        let limited = machine.within(memory(140 << 20, 120 << 20));
        assert_eq!(limited, memory(140 << 20, 120 << 20));
        assert!(machine.has_room_for(Bytes(9_000_000)) && limited.has_room_for(Bytes(9_000_000)));
        assert!(!memory(140 << 20, 70 << 20).has_room_for(Bytes(9_000_000)));
        // No limit is a limit beyond the machine's memory.
        assert_eq!(machine.within(memory(u64::MAX, u64::MAX)), machine);
    }

    #[test]
    fn a_size_that_no_artifact_has_does_not_fit() {
        let memory = Memory {
            total: Bytes(u64::MAX),
            available: Bytes(u64::MAX),
        };
        assert!(!memory.has_room_for(Bytes(u64::MAX)));
    }
}
