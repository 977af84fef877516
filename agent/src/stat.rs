//! What `/proc/stat` tells of all processors together (proc(5)).

/// Time since the start, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) processors: u64,
    /// With nothing to do, or waiting for a disk.
    pub(crate) idle: u64,
    /// A processor was wanted while a hypervisor had it.
    pub(crate) stolen: u64,
    pub(crate) all: u64,
}

impl Counters {
    /// The first line of the file and how many processors follow it.
    pub(crate) fn parse(stat: &str) -> Option<Self> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        // What guests take is in the first two already.
        let ticks: Vec<u64> = fields.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[_, _, _, idle, waits, _, _, stolen] = ticks.as_slice() else {
            return None;
        };
        let is_processor = |line: &&str| {
            let number = line.strip_prefix("cpu").unwrap_or_default();
            number.starts_with(|c: char| c.is_ascii_digit())
        };
        Some(Self {
            processors: stat.lines().filter(is_processor).count() as u64,
            idle: idle.checked_add(waits)?,
            stolen,
            all: ticks
                .iter()
                .try_fold(0, |sum: u64, &part| sum.checked_add(part))?,
        })
    }

    /// `None` where processors came or went, or a counter fell.
    pub(crate) fn since(&self, begin: &Self) -> Option<Self> {
        Some(Self {
            processors: (self.processors == begin.processors).then_some(self.processors)?,
            // The time that a processor waits for a disk may fall (proc(5)).
            idle: self.idle.saturating_sub(begin.idle),
            stolen: self.stolen.saturating_sub(begin.stolen),
            all: self.all.checked_sub(begin.all)?,
        })
    }

    /// Ticks that processors were at work, or would have been but for a hypervisor.
    pub(crate) fn at_work(&self) -> u64 {
        self.all - self.idle
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_of_all_processors_and_the_others_how_many_they_are() {
        let stat = "cpu  8129295 3031639 1065649 2724038 31949 0 8758 7667 0 0\n\
                    cpu0 4049192 1511661 502342 1420672 10192 0 795 3800 0 0\ncpu1 1 2 3 4\nintr 5\n";
        let expected = Counters {
            processors: 2,
            idle: 2_755_987,
            stolen: 7_667,
            all: 14_998_995,
        };
        assert_eq!(Counters::parse(stat), Some(expected));
    }

    #[test]
    fn time_at_work_is_that_of_all_processors_but_waiting() {
        let text = "cpu  100 20 30 4000 500 6 7 8 0 0\ncpu0 1 1 1 1\nintr 5\n";
        let counters = Counters::parse(text).unwrap();
        assert_eq!(counters.at_work(), 100 + 20 + 30 + 6 + 7 + 8);
    }

    #[test]
    fn what_is_no_such_line_tells_nothing() {
        for text in [
            "",
            "cpu0 1 2 3 4 5 6 7 8",
            "cpu  1 2 x 4 5 6 7 8",
            "cpu  1 2 3",
            "cpu  -1 2 3 4 5 6 7 8",
        ] {
            assert_eq!(Counters::parse(text), None, "{text}");
        }
    }
}
