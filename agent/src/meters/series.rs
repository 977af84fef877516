//! What one rail gave over time, and the energy of a part of it.

use edgefront_protocol::{Microjoules, Nanos, Window};

use super::Quantity;

/// Fewest readings within a window whose power is told: with fewer, most of it would be guessed from outside.
pub(super) const LEAST_READINGS: u32 = 3;
/// A gap within a window of more than this many times the usual one means that the sensor failed meanwhile.
const LONGEST_GAP: u64 = 10;

/// A clock of a meter that is set jumps by more than this, in nanoseconds; lines are late by less.
const CLOCK_STEP: i128 = 1_000_000_000;

/// The values of one rail in order of time.
#[derive(Debug, Clone)]
pub(super) struct Series {
    quantity: Quantity,
    /// Time in nanoseconds, and power in microwatts or energy in microjoules.
    readings: Vec<(u64, u64)>,
    /// What is to be added to their times for those of our clock.
    offset: i128,
}

impl Series {
    pub(super) fn new(quantity: Quantity) -> Self {
        Self {
            quantity,
            readings: Vec::new(),
            offset: 0,
        }
    }

    /// Adds a value that was read at `at`. What is not later than the last one is dropped.
    pub(super) fn push(&mut self, at: u64, value: u64) {
        if self.readings.last().is_none_or(|(last, _)| at > *last) {
            self.readings.push((at, value));
        }
    }

    /// Adds a value of `time` on the clock of its meter that came here at `arrival` on ours. What is not later than the
    /// last one is dropped.
    ///
    /// Each value was on its way for a while, so that the true offset of the clocks is at most the least difference
    /// of arrival and time so far, which is taken: it is too large by the shortest way of all (the minimum filter of
    /// one-way delays, as in V. Paxson, On Calibrating Measurements of Packet Transit Times, 1998). A clock that was set
    /// begins anew: what was before is not told, for it would be of another time.
    pub(super) fn push_from_afar(&mut self, time: u64, arrival: u64, value: u64) {
        let difference = i128::from(arrival) - i128::from(time);
        let was_set_on = difference + CLOCK_STEP < self.offset;
        let was_set_back = self
            .readings
            .last()
            .is_some_and(|(last, _)| i128::from(time) + CLOCK_STEP < i128::from(*last));
        if was_set_on || was_set_back {
            self.readings.clear();
        }
        let is_first = self.readings.is_empty();
        self.offset = if is_first {
            difference
        } else {
            self.offset.min(difference)
        };
        self.push(time, value);
    }

    /// Values so far, and the mean time from one to the next in nanoseconds. A counter has one more with each change.
    pub(super) fn rate(&self) -> (usize, u64) {
        let values = match self.quantity {
            Quantity::Power => self.readings.len(),
            Quantity::Energy => 1 + changes(&self.readings),
        };
        let span = self.usual_gap() * (self.readings.len() as u64).saturating_sub(1);
        (values, span / (values as u64).saturating_sub(1).max(1))
    }

    /// Whether there is a value of `at` or later.
    pub(super) fn reaches(&self, at: u64) -> bool {
        let last = self.readings.last();
        last.is_some_and(|(last, _)| i128::from(*last) + self.offset >= i128::from(at))
    }

    /// Readings so far where all of them are equal, though they are many.
    pub(super) fn stuck_after(&self, least: usize) -> Option<usize> {
        let (_, first) = self.readings.first()?;
        let count = self.readings.len();
        (count >= least && self.readings.iter().all(|(_, value)| value == first)).then_some(count)
    }

    /// The energy from `from` to `to`; `None` where the sensor gave too little in that time.
    ///
    /// Power is taken to change linearly from one reading to the next (trapezoidal rule), energy to flow evenly.
    pub(super) fn window(&self, from: u64, to: u64) -> Option<Window> {
        let theirs = |ours: u64| u64::try_from(i128::from(ours) - self.offset).ok();
        self.window_of_theirs(theirs(from)?, theirs(to)?)
    }

    /// The same by the clock of the readings.
    fn window_of_theirs(&self, from: u64, to: u64) -> Option<Window> {
        let start = self
            .readings
            .partition_point(|(at, _)| *at <= from)
            .checked_sub(1)?;
        let end = self.readings.partition_point(|(at, _)| *at < to);
        let around = self.readings.get(start..=end)?;
        let within = around.iter().filter(|(at, _)| (from..=to).contains(at)).count() as u32;
        let has_gap = around
            .windows(2)
            .any(|pair| pair[1].0 - pair[0].0 > self.usual_gap().saturating_mul(LONGEST_GAP));
        // A counter that was set back, as by a driver that was loaded anew.
        let is_set_back =
            self.quantity == Quantity::Energy && around.windows(2).any(|pair| pair[1].1 < pair[0].1);
        // One that moves less often than that tells its own step more than what flowed.
        let is_coarse = self.quantity == Quantity::Energy && changes(around) < LEAST_READINGS as usize;
        if to <= from || within < LEAST_READINGS || has_gap || is_set_back || is_coarse {
            return None;
        }
        let energy = match self.quantity {
            Quantity::Power => around
                .windows(2)
                .map(|pair| trapezoid(pair[0], pair[1], from, to))
                .sum(),
            Quantity::Energy => value_at(around, to)? - value_at(around, from)?,
        };
        Some(Window {
            time: Nanos(to - from),
            energy: Microjoules(energy.round().max(0.0) as u64),
            readings: within,
        })
    }

    /// Mean time from one reading to the next: some sensors take longer than they say.
    fn usual_gap(&self) -> u64 {
        let ends = self.readings.first().zip(self.readings.last());
        let span = ends.map_or(0, |((first, _), (last, _))| last - first);
        span / (self.readings.len() as u64).saturating_sub(1).max(1)
    }
}

/// How often a counter moved.
fn changes(readings: &[(u64, u64)]) -> usize {
    readings.windows(2).filter(|pair| pair[1].1 > pair[0].1).count()
}

/// Microjoules between two readings of power, as far as they lie from `from` to `to`.
fn trapezoid(a: (u64, u64), b: (u64, u64), from: u64, to: u64) -> f64 {
    let (start, end) = (a.0.max(from), b.0.min(to));
    if end <= start {
        return 0.0;
    }
    let mean = f64::midpoint(between(a, b, start), between(a, b, end));
    mean * (end - start) as f64 / 1e9
}

/// The value at `at`, on the line through two readings.
fn between(a: (u64, u64), b: (u64, u64), at: u64) -> f64 {
    let share = (at - a.0) as f64 / (b.0 - a.0).max(1) as f64;
    a.1 as f64 + (b.1 as f64 - a.1 as f64) * share
}

fn value_at(readings: &[(u64, u64)], at: u64) -> Option<f64> {
    let pair = readings
        .windows(2)
        .find(|pair| pair[0].0 <= at && at <= pair[1].0)?;
    Some(between(pair[0], pair[1], at))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn power(readings: &[(u64, u64)]) -> Series {
        let mut series = Series::new(Quantity::Power);
        for &(at, value) in readings {
            series.push(at, value);
        }
        series
    }

    #[test]
    fn constant_power_is_power_times_time() {
        let series = power(&[0, 10, 20, 30, 40].map(|ms| (ms * MS, 5_000_000)));
        let window = series.window(5 * MS, 37 * MS).unwrap();
        // 5 W for 32 ms.
        assert_eq!((window.energy, window.readings), (Microjoules(160_000), 3));
        assert!((window.mean_watts() - 5.0).abs() < 1e-9);
    }

    #[test]
    fn a_ramp_is_integrated_exactly() {
        let series = power(&[0, 10, 20, 30, 40].map(|ms| (ms * MS, ms * 100_000)));
        // 0.1 W more each millisecond: 2.5 W at 25 ms, the middle of 30 ms.
        assert_eq!(
            series.window(10 * MS, 40 * MS).unwrap().energy,
            Microjoules(75_000)
        );
    }

    #[test]
    fn what_the_readings_do_not_cover_is_not_told() {
        let times = (1..50).chain(70..100).map(|step| (step * 10 * MS, 1_000_000));
        let series = power(&times.collect::<Vec<_>>());
        assert!(series.window(10 * MS, 40 * MS).is_some());
        assert_eq!(series.window(9 * MS, 40 * MS), None, "before the first");
        assert_eq!(series.window(900 * MS, 991 * MS), None, "after the last");
        assert_eq!(series.window(11 * MS, 29 * MS), None, "one reading within");
        assert_eq!(series.window(400 * MS, 800 * MS), None, "a gap of 21 readings");
        assert_eq!(series.window(40 * MS, 10 * MS), None, "backwards");
    }

    #[test]
    fn a_counter_tells_the_energy_between_its_readings() {
        let mut series = Series::new(Quantity::Energy);
        for (ms, value) in [(0, 500), (10, 20_500), (20, 40_500), (30, 60_500)] {
            series.push(ms * MS, value);
        }
        // 20,000 uJ each 10 ms: 2 W.
        assert_eq!(series.window(0, 30 * MS).unwrap().energy, Microjoules(60_000));
        assert_eq!(
            series.window(5 * MS, 30 * MS).unwrap().energy,
            Microjoules(50_000)
        );
        series.push(40 * MS, 7);
        assert_eq!(series.window(5 * MS, 40 * MS), None, "it was set back");
    }

    #[test]
    fn a_value_that_never_changes_is_noticed() {
        assert_eq!(power(&[(0, 7), (1, 7), (2, 7)]).stuck_after(3), Some(3));
        assert_eq!(power(&[(0, 7), (1, 7), (2, 7)]).stuck_after(4), None);
        assert_eq!(power(&[(0, 7), (1, 8), (2, 7)]).stuck_after(3), None);
        assert_eq!(power(&[]).stuck_after(0), None);
    }

    #[test]
    fn a_counter_that_hardly_moves_tells_no_energy() {
        let mut series = Series::new(Quantity::Energy);
        for step in 1..60 {
            // 1 Wh each 20 readings.
            series.push(step * 1_000 * MS, 3_600_000_000 * (step / 20));
        }
        assert_eq!(series.window(2_000 * MS, 18_000 * MS), None);
        assert_eq!(series.window(2_000 * MS, 55_000 * MS), None);
        assert_eq!(series.rate(), (3, 29_000 * MS));
    }

    #[test]
    fn a_meter_whose_clock_is_set_begins_anew() {
        let mut series = Series::new(Quantity::Power);
        for step in 1..20 {
            series.push_from_afar(step * 100 * MS, (step * 100 + 5) * MS, 4_000_000);
        }
        assert!(series.window(500 * MS, 1_500 * MS).is_some());
        // It was two seconds behind.
        for step in 20..40 {
            series.push_from_afar((step * 100 + 2_000) * MS, (step * 100 + 5) * MS, 5_000_000);
        }
        assert_eq!(series.window(500 * MS, 1_500 * MS), None);
        assert!((series.window(2_200 * MS, 3_500 * MS).unwrap().mean_watts() - 5.0).abs() < 1e-9);
        series.push(3, 7);
        assert_eq!(
            series.rate().0,
            20,
            "what is earlier than the last one is dropped"
        );
    }

    proptest! {
        /// A meter whose clock is years away, and whose values take at least 30 ms to come here.
        #[test]
        fn the_offset_of_a_clock_is_known_but_for_the_shortest_way(
            ways in prop::collection::vec(30..400u64, 20..60),
            ahead in 0..2_000_000_000_000u64,
        ) {
            let mut series = Series::new(Quantity::Power);
            for (index, way) in ways.iter().enumerate() {
                let at = (index as u64 + 1) * 500 * MS;
                series.push_from_afar(at + ahead * MS, at + way * MS, 1_000_000 * index as u64);
            }
            let shortest = i128::from(*ways.iter().min().unwrap());
            prop_assert_eq!(series.offset, (shortest - i128::from(ahead)) * i128::from(MS));
            // 1 W more each half second from 0 W at 0.5 s on: 6 W at 3.5 s, the middle of 3 s.
            let shift = shortest as u64 * MS;
            let window = series.window(2_000 * MS + shift, 5_000 * MS + shift).unwrap();
            prop_assert!((window.mean_watts() - 6.0).abs() < 1e-6);
        }

        #[test]
        fn windows_that_meet_add_up(
            values in prop::collection::vec(1..50_000_000u64, 12..40),
            cut in 35..65u64,
            counts: bool,
        ) {
            let mut series = Series::new(if counts { Quantity::Energy } else { Quantity::Power });
            let mut sum = 0;
            for (index, value) in values.into_iter().enumerate() {
                sum += value;
                series.push(index as u64 * 10 * MS, if counts { sum } else { value });
            }
            let energy = |from, to| series.window(from * MS, to * MS).map(|window| window.energy.0);
            let (parts, whole) = (energy(3, cut).zip(energy(cut, 107)), energy(3, 107));
            let (first, second) = parts.unwrap();
            prop_assert!((first + second).abs_diff(whole.unwrap()) <= 1);
        }

        #[test]
        fn no_window_of_any_readings_panics(
            values in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20),
            from: u64,
            to: u64,
        ) {
            let mut sorted = values;
            sorted.sort_unstable();
            for quantity in [Quantity::Power, Quantity::Energy] {
                let mut series = Series::new(quantity);
                let mut afar = series.clone();
                for &(at, value) in &sorted {
                    series.push(at, value);
                    afar.push_from_afar(value, at, at);
                }
                series.window(from, to);
                afar.window(from, to);
                afar.reaches(to);
            }
        }
    }
}
