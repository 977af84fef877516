//! What users may set of the runtime that does nothing: how long that takes.

use std::time::Duration;

use crate::settings;

const EXAMPLE: &str = "cpu+delay=2ms+stall=100ms@500";

/// Units of durations, the largest first.
const UNITS: [(&str, u64); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];

/// How long inferences take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// How long each takes.
    pub(super) delay: Duration,
    pub(super) stall: Option<Stall>,
}

/// Some inferences take longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stall {
    /// By how much.
    pub(super) time: Duration,
    /// Every how many, at least 1.
    pub(super) every: u64,
}

impl Settings {
    /// Splits a provider as it is written into its name and the settings behind it. The error says what is not known.
    pub(super) fn split(written: &str) -> Result<(&str, Self), String> {
        let (name, parts) = settings::split(written, EXAMPLE)?;
        let mut known = Self::default();
        for (key, value) in parts {
            match key {
                "delay" => known.delay = duration(key, value)?,
                "stall" => known.stall = Some(stall(key, value)?),
                _ => return Err(settings::unknown(&format!("{key}={value}"), EXAMPLE)),
            }
        }
        Ok((name, known))
    }

    /// The provider with these settings behind it, in one order and without those that are so by default.
    pub(super) fn behind(self, provider: &str) -> String {
        let delay = (!self.delay.is_zero()).then(|| format!("+delay={}", written(self.delay)));
        let stall = self
            .stall
            .map(|Stall { time, every }| format!("+stall={}@{every}", written(time)));
        [Some(provider.to_owned()), delay, stall]
            .into_iter()
            .flatten()
            .collect()
    }

    /// How long the inference of this number takes; the first is number 1.
    pub(super) fn time(self, inference: u64) -> Duration {
        let stalled = self.stall.filter(|stall| inference.is_multiple_of(stall.every));
        self.delay
            .saturating_add(stalled.map_or(Duration::ZERO, |stall| stall.time))
    }
}

fn stall(key: &str, value: &str) -> Result<Stall, String> {
    let every = |(_, every): (&str, &str)| every.parse().ok().filter(|every| *every > 0);
    let parts = value.split_once('@');
    match (parts, parts.and_then(every)) {
        (Some((time, _)), Some(every)) => Ok(Stall {
            time: duration(key, time)?,
            every,
        }),
        _ => Err(format!(
            "`{key}` is a duration and every how many inferences it comes, as in 100ms@500, not `{value}`"
        )),
    }
}

fn duration(key: &str, text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let nanos = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .and_then(|(_, nanos)| number.parse::<u64>().ok()?.checked_mul(*nanos));
    nanos.map(Duration::from_nanos).ok_or_else(|| {
        format!("`{key}` is a duration in s, ms, us or ns without a fraction, as in 1500us, not `{text}`")
    })
}

/// A duration in the largest unit that needs no fraction.
fn written(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let fits = UNITS
        .iter()
        .find(|(_, unit)| nanos.is_multiple_of(u128::from(*unit)));
    let (name, unit) = fits.expect("invariant: a nanosecond fits");
    format!("{}{name}", nanos / u128::from(*unit))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_written_in_one_way() {
        let canonical = |text| {
            let (name, settings) = Settings::split(text).unwrap();
            settings.behind(name)
        };
        assert_eq!(canonical("cpu"), "cpu");
        assert_eq!(canonical("cpu+delay=0s"), "cpu");
        assert_eq!(canonical("cpu+delay=2000us"), "cpu+delay=2ms");
        let all = "cpu+delay=2060us+stall=100ms@500";
        assert_eq!(canonical("cpu+stall=100000us@500+delay=2060us"), all);
        assert_eq!(canonical(all), all);
        assert_eq!(Settings::split("gpu").unwrap().0, "gpu");
    }

    #[test]
    fn what_is_not_known_or_set_twice_is_refused() {
        let duration = "`delay` is a duration in s, ms, us or ns without a fraction, as in 1500us, not";
        let stall = "`stall` is a duration and every how many inferences it comes, as in 100ms@500, not";
        for (written, why) in [
            ("cpu+", "`` is no setting of it".to_owned()),
            ("cpu+delay", "`delay` is no setting of it".to_owned()),
            ("cpu+wait=2ms", "`wait=2ms` is no setting of it".to_owned()),
            ("cpu+delay=2ms+delay=2ms", "`delay` is set twice".to_owned()),
            ("cpu+delay=1.5ms", format!("{duration} `1.5ms`")),
            ("cpu+delay=2", format!("{duration} `2`")),
            ("cpu+delay=-2ms", format!("{duration} `-2ms`")),
            (
                "cpu+delay=99999999999999s",
                format!("{duration} `99999999999999s`"),
            ),
            ("cpu+stall=100ms", format!("{stall} `100ms`")),
            ("cpu+stall=100ms@0", format!("{stall} `100ms@0`")),
            (
                "cpu+stall=ms@5",
                "`stall` is a duration in s, ms, us or ns".to_owned(),
            ),
        ] {
            let error = Settings::split(written).unwrap_err();
            assert!(error.starts_with(&why), "{written}: {error}");
        }
    }

    #[test]
    fn every_nth_inference_stalls() {
        let (_, settings) = Settings::split("cpu+delay=2ms+stall=100ms@3").unwrap();
        let times: Vec<u128> = (1..=6).map(|number| settings.time(number).as_millis()).collect();
        assert_eq!(times, [2, 2, 102, 2, 2, 102]);
    }
}
