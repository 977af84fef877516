//! What other processes take of the processors, from the kernel's own counters.
//!
//! Busy is what is neither idle nor stolen. What the worker and this agent took themselves is subtracted from it, and the
//! rest is foreign. The kernel tells in ticks, so a stretch has to be some ticks long to say anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use edgefront_protocol::ForeignLoad;
use rustix::time::{ClockId, clock_gettime};

use crate::clock;
use crate::stat::Counters;

/// Nanoseconds of a tick, in which Linux counts for programs on every processor that Edgefront runs on.
const TICK: u64 = 10_000_000;
/// By how many ticks a difference of counters may be wrong: idle time and stolen time are each cut to whole ones.
const UNSURE: u64 = 2;
/// Shortest stretch that is judged; of a shorter one the ticks say nothing.
const SHORTEST: u64 = 10 * TICK;
/// What may be stolen, as a part of what others may take: the worker's own thread is what it is stolen from.
const STOLEN_PART: f32 = 0.5;

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usage {
    /// By [`clock::monotonic`].
    at: u64,
    system: Counters,
    /// Processor time of this agent in nanoseconds.
    agent: u64,
    worker: Tree,
}

/// A process and those that it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tree {
    /// Processor time in ticks, that of ended threads and children included.
    ticks: u64,
    /// Of each thread, in nanoseconds: how long it ran, and how long it was ready and waited for a processor.
    threads: BTreeMap<u32, (u64, u64)>,
}

impl Usage {
    /// The counters of the system below `root`, and of a worker of this one; `None` where they are not told.
    pub(super) fn now(root: &Path, worker: Option<u32>) -> Option<Self> {
        let mut tree = Tree::default();
        tree.add(worker?);
        let stat = fs::read_to_string(root.join("proc/stat")).ok()?;
        let own = clock_gettime(ClockId::ProcessCPUTime);
        Some(Self {
            at: clock::monotonic(),
            system: Counters::parse(&stat)?,
            agent: own.tv_sec as u64 * 1_000_000_000 + own.tv_nsec as u64,
            worker: tree,
        })
    }

    /// The load between two moments, of which others may take `most` cores; `None` where the stretch is too short, or
    /// the kernel does not count.
    pub(super) fn until(&self, end: &Self, most: f32) -> Option<ForeignLoad> {
        let wall = end.at.checked_sub(self.at)?;
        let spent = end.system.since(&self.system)?;
        let capacity = wall * self.system.processors;
        if wall < SHORTEST || spent.all * TICK < capacity / 2 {
            return None;
        }
        let busy = capacity.saturating_sub((spent.idle + spent.stolen) * TICK);
        let (ran, waited) = end.worker.since(&self.worker);
        let foreign = busy.saturating_sub(ran + end.agent.saturating_sub(self.agent));
        let cores = |nanos: u64| nanos as f32 / wall as f32;
        let surely = |nanos: u64| cores(nanos.saturating_sub(UNSURE * TICK));
        Some(ForeignLoad {
            cores: cores(foreign),
            stolen: cores(spent.stolen * TICK),
            waiting: waited.map(cores),
            is_excessive: surely(foreign) > most || surely(spent.stolen * TICK) > most * STOLEN_PART,
        })
    }
}

impl Tree {
    fn add(&mut self, process: u32) {
        let folder = Path::new("/proc").join(process.to_string());
        let stat = fs::read_to_string(folder.join("stat")).unwrap_or_default();
        self.ticks += ticks(&stat).unwrap_or_default();
        let threads = fs::read_dir(folder.join("task"));
        for thread in threads.into_iter().flatten().flatten() {
            let read = |file: &str| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
            let id = thread.file_name().to_string_lossy().parse();
            if let (Ok(id), Some(times)) = (id, times(&read("schedstat"))) {
                self.threads.insert(id, times);
            }
            for child in read("children").split_whitespace() {
                child.parse().into_iter().for_each(|child| self.add(child));
            }
        }
    }

    /// How long it ran, and how long its threads waited for a processor, where the kernel tells that.
    fn since(&self, begin: &Self) -> (u64, Option<u64>) {
        let (mut ran, mut waited) = (0, 0);
        for (id, (now_ran, now_waited)) in &self.threads {
            let (then_ran, then_waited) = begin.threads.get(id).copied().unwrap_or_default();
            ran += now_ran.saturating_sub(then_ran);
            waited += now_waited.saturating_sub(then_waited);
        }
        // Threads that ended meanwhile are in the ticks alone.
        let at_least = self.ticks.saturating_sub(begin.ticks).saturating_sub(UNSURE) * TICK;
        (ran.max(at_least), (!self.threads.is_empty()).then_some(waited))
    }
}

/// The ticks of a process and of its children that ended: `utime`, `stime`, `cutime`, `cstime` of its `stat`.
pub(crate) fn ticks(stat: &str) -> Option<u64> {
    // The name in brackets may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<u64> = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let sum = |sum: u64, &part: &u64| sum.checked_add(part);
    (fields.len() == 4).then(|| fields.iter().try_fold(0, sum))?
}

/// How long a thread ran and how long it waited, of its `schedstat`.
pub(crate) fn times(schedstat: &str) -> Option<(u64, u64)> {
    let mut fields = schedstat.split_whitespace().map(str::parse);
    Some((fields.next()?.ok()?, fields.next()?.ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A machine of two processors after `at` ms: idle and stolen ticks, and the worker's nanoseconds.
    fn usage(at: u64, idle: u64, stolen: u64, ran: u64) -> Usage {
        Usage {
            at: at * 1_000_000,
            system: Counters {
                processors: 2,
                idle,
                stolen,
                all: at / 5,
            },
            agent: 0,
            worker: Tree {
                ticks: 0,
                threads: [(7, (ran, at))].into(),
            },
        }
    }

    #[test]
    fn what_the_worker_does_not_take_is_foreign() {
        let begin = usage(1_000, 100, 0, 0);
        // In a second one of two processors was idle for 60 ticks of 100 while the worker filled the other.
        let load = begin.until(&usage(2_000, 160, 0, 1_000_000_000), 0.1).unwrap();
        assert!((load.cores - 0.4).abs() < 1e-6 && load.stolen == 0.0, "{load:?}");
        assert!(load.is_excessive);
        let load = begin.until(&usage(2_000, 160, 0, 1_000_000_000), 0.4).unwrap();
        assert!(!load.is_excessive);
        let load = begin.until(&usage(2_000, 188, 0, 1_000_000_000), 0.1).unwrap();
        assert!((load.cores - 0.12).abs() < 1e-6);
        assert!(!load.is_excessive, "two ticks of a second are in doubt");
    }

    #[test]
    fn what_the_hypervisor_takes_is_told_apart() {
        let begin = usage(1_000, 100, 0, 0);
        let load = begin.until(&usage(2_000, 200, 8, 920_000_000), 0.1).unwrap();
        assert!((load.stolen - 0.08).abs() < 1e-6 && load.cores < 1e-6, "{load:?}");
        assert!(load.is_excessive);
        assert!(
            !begin
                .until(&usage(2_000, 200, 6, 940_000_000), 0.1)
                .unwrap()
                .is_excessive
        );
    }

    #[test]
    fn what_cannot_be_told_is_not() {
        let begin = usage(1_000, 100, 0, 0);
        assert_eq!(begin.until(&usage(1_099, 109, 0, 99), 0.1), None);
        // Counters that stand still, as some containers show them.
        let mut stopped = usage(2_000, 100, 0, 0);
        stopped.system = begin.system;
        assert_eq!(begin.until(&stopped, 0.1), None);
        let mut plugged = usage(2_000, 200, 0, 0);
        plugged.system.processors = 4;
        assert_eq!(begin.until(&plugged, 0.1), None);
        assert_eq!(Usage::now(Path::new("/nowhere"), Some(std::process::id())), None);
        assert_eq!(Usage::now(Path::new("/"), None), None);
    }

    #[test]
    fn threads_that_ended_are_counted_by_ticks() {
        let tree = |ticks, threads: &[(u32, (u64, u64))]| Tree {
            ticks,
            threads: threads.iter().copied().collect(),
        };
        let begin = tree(10, &[(1, (5, 1)), (2, (90_000_000, 0))]);
        assert_eq!(begin.since(&begin), (0, Some(0)));
        let end = tree(110, &[(1, (7, 4))]);
        assert_eq!(end.since(&begin), (98 * TICK, Some(3)));
        assert_eq!(tree(110, &[]).since(&tree(10, &[])), (98 * TICK, None));
    }

    #[test]
    fn the_kernels_texts_are_read() {
        let stat = "71 (a) b) (c) S 1 71 71 0 -1 4 9 0 0 0 12 3 4 5 20 0 1";
        assert_eq!(ticks(stat), Some(24));
        assert_eq!(ticks("71 (a) S 1 71"), None);
        assert_eq!(times("120 30 4\n"), Some((120, 30)));
        assert_eq!(times(""), None);
    }

    #[test]
    fn this_process_is_seen_to_run() {
        let now = || Usage::now(Path::new("/"), Some(std::process::id())).unwrap();
        let begin = now();
        let mut end = now();
        while end.worker.since(&begin.worker).0 < 3 * TICK {
            end = now();
        }
        assert!(end.agent > begin.agent && end.system.processors >= 1);
    }
}
