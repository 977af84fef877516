//! How many checks passed, failed and were skipped, as the test runners say in their summaries.

use std::fmt;
use std::ops::AddAssign;

/// A sum over checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Count {
    /// One check.
    pub(crate) fn of(success: bool) -> Self {
        Self {
            passed: u64::from(success),
            failed: u64::from(!success),
            skipped: 0,
        }
    }

    /// Reads one line of a runner's output: the `Summary` of nextest or the `test result` of libtest, which is not indented.
    /// `None` for every other line.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let figures = if line.trim_start().starts_with("Summary [") {
            line.split_once(" run: ")?.1
        } else {
            line.strip_prefix("test result: ")?.split_once(". ")?.1
        };
        let mut count = Self::default();
        for figure in without_remarks(figures).split([',', ';']) {
            let Some((number, word)) = figure.trim().split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match word.trim() {
                "passed" => count.passed += number,
                "failed" | "timed out" | "exec failed" => count.failed += number,
                "skipped" | "ignored" | "filtered out" => count.skipped += number,
                _ => {}
            }
        }
        Some(count)
    }
}

/// Drops what stands in parentheses: `30 passed (1 slow, 1 leaky), 2 failed`.
fn without_remarks(figures: &str) -> String {
    let mut depth = 0u32;
    figures
        .chars()
        .filter(|c| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        })
        .collect()
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextest_summaries_are_read() {
        let plain = "     Summary [   1.608s] 32 tests run: 32 passed, 0 skipped";
        assert_eq!(
            Count::from_line(plain),
            Some(Count {
                passed: 32,
                failed: 0,
                skipped: 0
            })
        );
        let rich = "     Summary [  61.2s] 36 tests run: 30 passed (1 slow, 2 flaky), 4 failed, 2 timed out, 3 skipped";
        assert_eq!(
            Count::from_line(rich),
            Some(Count {
                passed: 30,
                failed: 6,
                skipped: 3
            })
        );
        let single = "Summary [   0.1s] 1 test run: 1 passed, 9 skipped";
        assert_eq!(
            Count::from_line(single),
            Some(Count {
                passed: 1,
                failed: 0,
                skipped: 9
            })
        );
    }

    #[test]
    fn libtest_results_are_read() {
        let line = "test result: FAILED. 5 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.01s";
        assert_eq!(
            Count::from_line(line),
            Some(Count {
                passed: 5,
                failed: 1,
                skipped: 5
            })
        );
    }

    #[test]
    fn other_lines_are_not_counted() {
        for line in [
            "",
            "PASS [   0.035s] ( 1/32) a::b",
            "running 5 tests",
            "5 passed",
            "Summary of 3 passed",
            // A failed test's own output, which nextest repeats and has counted.
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 16 filtered out; finished in 0.60s",
        ] {
            assert_eq!(Count::from_line(line), None, "{line}");
        }
    }
}
