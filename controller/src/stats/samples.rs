//! The timed runs of a job, decoded from their histogram.

use edgefront_protocol::Nanos;
use edgefront_protocol::outcome::Latency;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

/// A histogram that does not hold what it should.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Corrupted {
    /// Not a V2 histogram of nanoseconds with five significant digits.
    #[error("the latency histogram is corrupted: {0}")]
    Histogram(&'static str),
    /// A histogram without a single run.
    #[error("the latency histogram holds no timed run")]
    Empty,
}

/// At least one timed run, to five significant digits.
#[derive(Debug, Clone)]
pub struct Samples {
    histogram: Histogram<u64>,
    /// Each recorded latency with the number of runs up to and including it, ascending.
    cumulative: Vec<(u64, u64)>,
}

impl Samples {
    /// Decodes the histogram of a measurement. Never panics, whatever the bytes.
    pub fn decode(latency: &Latency) -> Result<Self, Corrupted> {
        check_encoding(&latency.histogram)?;
        let histogram: Histogram<u64> = Deserializer::new()
            .deserialize(&mut latency.histogram.as_slice())
            .map_err(|_| Corrupted::Histogram("its counts do not fit its range"))?;
        if histogram.is_empty() {
            Err(Corrupted::Empty)
        } else {
            Ok(Self::from(histogram))
        }
    }

    /// Adds the runs of `other`; no run and no digit is lost.
    pub fn merge(&mut self, other: &Self) {
        // Both have five significant digits, so every bucket of the one exists in the other.
        self.histogram.auto(true);
        self.histogram
            .add(&other.histogram)
            .expect("invariant: a resizing histogram takes any other");
    }

    /// Number of runs, at least 1.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The fastest run.
    pub fn min(&self) -> Nanos {
        Nanos(self.histogram.min())
    }

    /// The slowest run.
    pub fn max(&self) -> Nanos {
        Nanos(self.histogram.max())
    }

    /// Arithmetic mean in nanoseconds.
    pub fn mean(&self) -> f64 {
        self.histogram.mean()
    }

    /// The median: the run of rank `ceil(n / 2)`.
    pub fn median(&self) -> Nanos {
        self.at_rank(self.count().div_ceil(2))
    }

    /// The percentile `p` (a fraction between 0 and 1) by the nearest rank, `ceil(p n)`; `None` where no run
    /// lies beyond that rank, since the slowest run then stands for it whatever it is.
    pub fn percentile(&self, p: f64) -> Option<Nanos> {
        let rank = (p * self.count() as f64).ceil().max(1.0) as u64;
        (rank < self.count()).then(|| self.at_rank(rank))
    }

    /// The fewest runs that have the percentile `p`.
    pub fn fewest_for(p: f64) -> u64 {
        // One run in so many lies beyond it; rounded, since 1 - p is not exact.
        (1.0 / (1.0 - p)).round() as u64
    }

    /// The run of rank `ceil(p n)`, whether or not one lies beyond it.
    pub(super) fn at(&self, p: f64) -> Nanos {
        self.at_rank((p * self.count() as f64).ceil().max(1.0) as u64)
    }

    /// The run of this rank, counted from 1.
    pub(super) fn at_rank(&self, rank: u64) -> Nanos {
        let at = self.cumulative.partition_point(|(_, runs)| *runs < rank);
        Nanos(
            self.cumulative
                .get(at)
                .map_or_else(|| self.histogram.max(), |(value, _)| *value),
        )
    }
}

impl From<Histogram<u64>> for Samples {
    fn from(histogram: Histogram<u64>) -> Self {
        let cumulative = accumulate(&histogram);
        Self {
            histogram,
            cumulative,
        }
    }
}

/// One walk over the buckets, of which there are up to a million, instead of one a percentile.
fn accumulate(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let mut runs = 0;
    let recorded = histogram.iter_recorded();
    recorded
        .map(|step| {
            runs += step.count_since_last_iteration();
            (step.value_iterated_to(), runs)
        })
        .collect()
}

/// Refuses all that the decoder would panic on, or allocate without bound for: it negates counts unchecked,
/// trusts the length in the header, and sums counts without a limit.
fn check_encoding(bytes: &[u8]) -> Result<(), Corrupted> {
    const COOKIE: u32 = 0x1c84_9313;
    const HEADER: usize = 40;
    const DIGITS: u32 = 5;
    // Two hours, far beyond any inference; it bounds the memory that a histogram may ask for.
    const HIGHEST: u64 = 7_200_000_000_000;
    let u32_at = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let u64_at = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    if u32_at(0) != Some(COOKIE) {
        return Err(Corrupted::Histogram("it is not in V2 encoding"));
    }
    let payload = bytes
        .get(HEADER..)
        .ok_or(Corrupted::Histogram("its header is cut off"))?;
    if u32_at(4).map(|length| length as usize) != Some(payload.len()) {
        return Err(Corrupted::Histogram("its length is not the one it states"));
    }
    if u32_at(12) != Some(DIGITS) || u64_at(16) != Some(1) {
        return Err(Corrupted::Histogram(
            "it does not count nanoseconds to five significant digits",
        ));
    }
    if !u64_at(24).is_some_and(|highest| (2..=HIGHEST).contains(&highest)) {
        return Err(Corrupted::Histogram(
            "its highest latency is not between 2 ns and two hours",
        ));
    }
    check_counts(payload)
}

/// Walks the ZigZag LEB128 counts: a negative one skips as many empty buckets.
fn check_counts(payload: &[u8]) -> Result<(), Corrupted> {
    let mut runs: u64 = 0;
    let mut rest = payload;
    while !rest.is_empty() {
        let (encoded, used) = varint(rest).ok_or(Corrupted::Histogram("its last count is cut off"))?;
        rest = &rest[used..];
        let count = (encoded >> 1) as i64 ^ -((encoded & 1) as i64);
        if count == i64::MIN {
            return Err(Corrupted::Histogram("it skips more buckets than there are"));
        }
        // Sums of counts times latencies stay far inside 128 bits; ranks must fit 53 bits to be exact.
        runs = runs.saturating_add(count.max(0) as u64);
        if runs >= 1 << 53 {
            return Err(Corrupted::Histogram("it counts more runs than anyone can make"));
        }
    }
    Ok(())
}

/// LEB128 of 64 bits in at most nine bytes, the ninth whole.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, byte) in bytes.iter().take(9).enumerate() {
        if i == 8 {
            return Some((value | u64::from(*byte) << 56, 9));
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use hdrhistogram::serialization::{Serializer, V2Serializer};
    use proptest::prelude::*;

    use super::*;

    /// A latency as an agent sends it.
    pub(crate) fn latency_of(nanos: impl IntoIterator<Item = u64>) -> Latency {
        let mut histogram = Histogram::<u64>::new(5).unwrap();
        for value in nanos {
            histogram.record(value).unwrap();
        }
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&histogram, &mut bytes).unwrap();
        Latency {
            histogram: bytes,
            rounds: Vec::new(),
            warmup_runs: 10,
            ended_early: false,
        }
    }

    fn samples(nanos: impl IntoIterator<Item = u64>) -> Samples {
        Samples::decode(&latency_of(nanos)).unwrap()
    }

    #[test]
    fn a_percentile_is_there_from_its_fewest_runs_on() {
        for p in [0.9, 0.95, 0.99, 0.999] {
            let fewest = Samples::fewest_for(p);
            assert_eq!(samples(1..fewest).percentile(p), None, "{p}");
            assert!(samples(1..=fewest).percentile(p).is_some(), "{p}");
        }
        assert_eq!(Samples::fewest_for(0.99), 100);
    }

    #[test]
    fn of_one_to_a_thousand_has_the_percentiles_of_a_hand_count() {
        let s = samples((1..=1000).map(|v| v * 100));
        assert_eq!(s.count(), 1000);
        assert_eq!(s.median(), Nanos(50_000));
        assert_eq!(s.percentile(0.9), Some(Nanos(90_000)));
        assert_eq!(s.percentile(0.95), Some(Nanos(95_000)));
        assert_eq!(s.percentile(0.99), Some(Nanos(99_000)));
        assert_eq!(s.percentile(0.999), Some(Nanos(99_900)));
        assert_eq!((s.min(), s.max()), (Nanos(100), Nanos(100_000)));
        assert!((s.mean() - 50_050.0).abs() < 1e-6);
    }

    #[test]
    fn reaches_a_percentile_only_with_a_sample_beyond_it() {
        assert_eq!(samples(1..=99).percentile(0.99), None);
        assert_eq!(samples(1..=100).percentile(0.99), Some(Nanos(99)));
        assert_eq!(samples(1..=999).percentile(0.999), None);
        assert_eq!(samples([7]).median(), Nanos(7));
        assert_eq!(samples([7]).percentile(0.9), None);
    }

    #[test]
    fn of_no_runs_are_an_error() {
        assert_eq!(Samples::decode(&latency_of([])).unwrap_err(), Corrupted::Empty);
    }

    #[test]
    fn a_count_that_the_decoder_would_negate_is_an_error() {
        let mut latency = latency_of([]);
        latency.histogram.truncate(40);
        latency.histogram.extend([0xff; 9]);
        latency.histogram[4..8].copy_from_slice(&9_u32.to_be_bytes());
        assert!(matches!(Samples::decode(&latency), Err(Corrupted::Histogram(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn ranks_equal_those_of_the_sorted_values(mut nanos in prop::collection::vec(1_u64..200_000, 1..400)) {
            let s = samples(nanos.iter().copied());
            nanos.sort_unstable();
            prop_assert_eq!(s.median().0, nanos[nanos.len().div_ceil(2) - 1]);
            for p in [0.9, 0.95, 0.99] {
                let rank = (p * nanos.len() as f64).ceil() as usize;
                let expected = (rank < nanos.len()).then(|| Nanos(nanos[rank - 1]));
                prop_assert_eq!(s.percentile(p), expected);
            }
        }

        #[test]
        fn keeps_five_digits_of_any_latency(nanos in 1_u64..1_000_000_000) {
            let median = samples([nanos]).median().0;
            prop_assert!(median.abs_diff(nanos) as f64 <= nanos as f64 * 1e-5);
        }

        #[test]
        fn merging_equals_recording_everything_in_one(
            a in prop::collection::vec(1_u64..1_000_000, 1..60),
            b in prop::collection::vec(1_u64..1_000_000, 1..60),
        ) {
            let mut merged = samples(a.iter().copied());
            merged.merge(&samples(b.iter().copied()));
            let together = samples(a.into_iter().chain(b));
            prop_assert_eq!(merged.histogram, together.histogram);
        }

        #[test]
        fn corrupted_bytes_never_panic(at in 0_usize..200, byte: u8, cut in 0_usize..200) {
            let mut latency = latency_of([1_000, 2_000, 2_000, 5_000]);
            let length = latency.histogram.len();
            latency.histogram[at % length] = byte;
            let _ = Samples::decode(&latency);
            latency.histogram.truncate(cut % length);
            let _ = Samples::decode(&latency);
        }

        #[test]
        fn arbitrary_counts_never_panic(counts in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut latency = latency_of([1_000]);
            latency.histogram.truncate(40);
            latency.histogram.extend(&counts);
            latency.histogram[4..8].copy_from_slice(&(counts.len() as u32).to_be_bytes());
            let _ = Samples::decode(&latency);
        }
    }
}
