//! The processors on which this process runs.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Binds this thread, and those that it starts from now on, to the processors of these numbers, unless there are none.
/// Returns those that the system gave.
pub(crate) fn bind(numbers: &[u32]) -> io::Result<Vec<u32>> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let mut set = CpuSet::new();
    for number in numbers
        .iter()
        .filter(|number| (**number as usize) < CpuSet::MAX_CPU)
    {
        set.set(*number as usize);
    }
    sched_setaffinity(None, &set)?;
    let given = sched_getaffinity(None)?;
    let given: Vec<u32> = (0..CpuSet::MAX_CPU)
        .filter(|number| given.is_set(*number))
        .map(|number| number as u32)
        .collect();
    if given == numbers {
        Ok(given)
    } else {
        Err(io::Error::other(
            "the system gives this process only some of them",
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rustix::thread::sched_getcpu;

    use super::*;

    #[test]
    fn a_thread_and_what_it_starts_run_where_they_are_bound() {
        let allowed = sched_getaffinity(None).unwrap();
        let last = (0..CpuSet::MAX_CPU)
            .rev()
            .find(|number| allowed.is_set(*number))
            .unwrap();
        let bound = std::thread::spawn(move || {
            assert_eq!(bind(&[last as u32]).unwrap(), [last as u32]);
            std::thread::spawn(sched_getcpu).join().unwrap()
        });
        assert_eq!(bound.join().unwrap(), last);
    }

    #[test]
    fn a_processor_that_is_not_there_is_an_error() {
        std::thread::spawn(|| assert!(bind(&[CpuSet::MAX_CPU as u32 - 1]).is_err()))
            .join()
            .unwrap();
    }
}
