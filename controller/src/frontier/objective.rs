//! What a frontier trades: figures of a record, each with a direction in which it is better.

use edgefront_protocol::results::Record;

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Less is better.
    Minimise,
    /// More is better.
    Maximise,
}

/// One figure of a record that a frontier can trade.
#[derive(Debug)]
pub struct Objective {
    /// Its name on the command line and in `results.json`.
    pub name: &'static str,
    /// What an axis says.
    pub label: &'static str,
    /// The unit of its values.
    pub unit: &'static str,
    /// Which way it is better.
    pub direction: Direction,
    /// The figure, in the unit above; `None` where nothing measured it.
    pub value: fn(&Record) -> Option<f64>,
    /// Its 95 % confidence interval, in the unit above, where one is derived.
    pub interval: fn(&Record) -> Option<[f64; 2]>,
}

impl PartialEq for Objective {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Objective {
    /// Whether it is a share of a whole, whose differences matter and not its ratios.
    pub fn is_share(&self) -> bool {
        self.unit == "%"
    }

    /// Whether it is of a rail, and comparable only with that of another which feeds the same.
    pub fn is_of_energy(&self) -> bool {
        matches!(self.unit, "mJ" | "W")
    }

    /// The figure as a cost: less is better, whatever the direction. `None` where it is missing or not finite.
    pub fn cost(&self, record: &Record) -> Option<f64> {
        let value = (self.value)(record).filter(|value| value.is_finite())?;
        Some(match self.direction {
            Direction::Minimise => value,
            Direction::Maximise => -value,
        })
    }
}

/// The objective called `name`, if there is one.
pub fn named(name: &str) -> Option<&'static Objective> {
    ALL.iter().copied().find(|objective| objective.name == name)
}

fn no_interval(_: &Record) -> Option<[f64; 2]> {
    None
}

/// Every objective.
pub static ALL: [&Objective; 16] = [
    &Objective {
        name: "latency_p50",
        label: "P50 latency",
        unit: "ms",
        direction: Direction::Minimise,
        value: |r| Some(r.latency_ms.p50),
        interval: |r| r.latency_ms.p50_ci95,
    },
    &Objective {
        name: "latency_p90",
        label: "P90 latency",
        unit: "ms",
        direction: Direction::Minimise,
        value: |r| r.latency_ms.p90,
        interval: |r| r.latency_ms.p90_ci95,
    },
    &Objective {
        name: "latency_p99",
        label: "P99 latency",
        unit: "ms",
        direction: Direction::Minimise,
        value: |r| r.latency_ms.p99,
        interval: |r| r.latency_ms.p99_ci95,
    },
    &Objective {
        name: "latency_mean",
        label: "mean latency",
        unit: "ms",
        direction: Direction::Minimise,
        value: |r| Some(r.latency_ms.mean),
        interval: |r| r.latency_ms.mean_ci95,
    },
    &Objective {
        name: "throughput",
        label: "throughput",
        unit: "pictures/s",
        direction: Direction::Maximise,
        value: |r| Some(r.throughput_ips),
        interval: no_interval,
    },
    &Objective {
        name: "top1",
        label: "top-1 accuracy",
        unit: "%",
        direction: Direction::Maximise,
        value: |r| Some(r.accuracy.as_ref()?.top1 * 100.0),
        interval: |r| Some(r.accuracy.as_ref()?.top1_ci95.map(|share| share * 100.0)),
    },
    &Objective {
        name: "top5",
        label: "top-5 accuracy",
        unit: "%",
        direction: Direction::Maximise,
        value: |r| Some(r.accuracy.as_ref()?.top5 * 100.0),
        interval: |r| Some(r.accuracy.as_ref()?.top5_ci95.map(|share| share * 100.0)),
    },
    &Objective {
        name: "agreement",
        label: "agreement with FP32",
        unit: "%",
        direction: Direction::Maximise,
        value: |r| Some(r.accuracy.as_ref()?.agreement_fp32? * 100.0),
        interval: no_interval,
    },
    &Objective {
        name: "size",
        label: "artifact size",
        unit: "MB",
        direction: Direction::Minimise,
        value: |r| Some(r.artifact.bytes as f64 / 1e6),
        interval: no_interval,
    },
    &Objective {
        name: "peak_rss",
        label: "peak memory",
        unit: "MB",
        direction: Direction::Minimise,
        value: |r| r.memory.peak_rss_mb,
        interval: no_interval,
    },
    &Objective {
        name: "load",
        label: "load time",
        unit: "ms",
        direction: Direction::Minimise,
        value: |r| Some(r.load_ms),
        interval: no_interval,
    },
    &Objective {
        name: "cold_load",
        label: "load time from the disk",
        unit: "ms",
        direction: Direction::Minimise,
        value: |r| r.cold_load_ms,
        interval: no_interval,
    },
    &Objective {
        name: "first_inference",
        label: "first inference",
        unit: "ms",
        direction: Direction::Minimise,
        value: |r| r.first_inference_ms,
        interval: no_interval,
    },
    &Objective {
        name: "energy",
        label: "energy per inference",
        unit: "mJ",
        direction: Direction::Minimise,
        value: |r| Some(r.energy.as_ref()?.mj_per_inference),
        interval: |r| r.energy.as_ref()?.mj_ci95,
    },
    &Objective {
        name: "net_energy",
        label: "energy per inference above rest",
        unit: "mJ",
        direction: Direction::Minimise,
        value: |r| r.energy.as_ref()?.net_mj_per_inference,
        interval: |r| r.energy.as_ref()?.net_mj_ci95,
    },
    &Objective {
        name: "power",
        label: "mean power",
        unit: "W",
        direction: Direction::Minimise,
        value: |r| Some(r.energy.as_ref()?.mean_w),
        interval: no_interval,
    },
];

#[cfg(test)]
mod tests {
    use edgefront_protocol::results::DEFAULT_OBJECTIVES;

    use super::*;
    use crate::results::fixture;

    #[test]
    fn the_default_objectives_exist() {
        for name in DEFAULT_OBJECTIVES {
            assert!(named(name).is_some(), "{name}");
        }
        assert_eq!(named("speed"), None);
    }

    #[test]
    fn latencies_have_their_intervals() {
        let record = &fixture::results().records[0];
        let latency = &record.latency_ms;
        for (name, interval) in [
            ("latency_p90", latency.p90_ci95),
            ("latency_mean", latency.mean_ci95),
        ] {
            let objective = named(name).unwrap();
            assert!(interval.is_some());
            assert_eq!((objective.interval)(record), interval, "{name}");
        }
    }
}
