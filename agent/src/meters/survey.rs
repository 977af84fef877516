//! What the meters of this device show, and what it costs to read them.

use std::fmt;
use std::time::Duration;

use edgefront_protocol::{Bytes, Microjoules, Nanos, Scope, Window};
use serde::Serialize;

use super::{Channel, Found, Meter, Quantity, Sampler, Sources, find};
use crate::clock::{Stretch, monotonic, of_this_process};
use crate::worker;

/// All that was found.
#[derive(Debug, Serialize)]
pub(crate) struct Survey {
    rails: Vec<Shown>,
    /// Why other meters or rails are not read, a line each.
    faults: Vec<String>,
    cost: Cost,
}

/// One rail while it was read.
#[derive(Debug, Serialize)]
struct Shown {
    meter: String,
    rail: Option<String>,
    scope: Scope,
    total: bool,
    estimated: bool,
    /// `None` where it gave too few values.
    mean_w: Option<f64>,
    readings_per_s: Option<f64>,
    /// Mean power less that while nothing was sampled, in milliwatts; `None` for what does not count energy.
    sampling_mw: Option<f64>,
}

/// What this process took of the device.
#[derive(Debug, Serialize)]
struct Cost {
    /// Percent of one processor while meters were read at their own rates.
    cpu_percent_sampling: f64,
    /// The same while none was.
    cpu_percent_idle: f64,
    rss_mb: Option<f64>,
}

/// Is at rest for `time` without reading, and for as long again while every meter is read.
pub(crate) fn survey(sources: &Sources, time: Duration) -> Survey {
    let mut found = find(sources);
    let channels = found.channels();
    let mut faults: Vec<String> = found.faults.iter().map(ToString::to_string).collect();
    let (before, cpu_percent_idle, after) = (values(&mut found), timed(time).1, values(&mut found));
    let quiet = before
        .into_iter()
        .zip(after)
        .map(|(before, after)| watts(before?, after?));
    let sampler = Sampler::start(found);
    sampler.wait_past(0);
    let (stretch, cpu_percent_sampling) = timed(time);
    sampler.wait_past(stretch.1);
    let energies = sampler.energies(&[Some(stretch)], [None, None]);
    faults.extend(sampler.faults(&[Some(stretch)]));
    let window = |channel: &Channel| {
        let energy = energies.iter().find(|energy| energy.rail == channel.rail);
        energy.and_then(|energy| energy.rounds[0])
    };
    // Meters outside give no values when they are asked.
    let quiet = quiet.chain(std::iter::repeat(None));
    Survey {
        rails: channels
            .iter()
            .zip(quiet)
            .map(|(channel, quiet)| shown(channel, window(channel), quiet))
            .collect(),
        faults,
        cost: Cost {
            cpu_percent_sampling,
            cpu_percent_idle,
            rss_mb: worker::rss().map(Bytes::as_megabytes),
        },
    }
}

/// The time now and the energy so far of each rail that is read, `None` for what tells power.
fn values(found: &mut Found) -> Vec<Option<(u64, u64)>> {
    let read = |meter: &mut Box<dyn Meter>| {
        let (at, values) = (monotonic(), meter.read().unwrap_or_default());
        let values = values.into_iter().map(Some).chain(std::iter::repeat(None));
        let energies = meter.rails().iter().zip(values).map(|(channel, value)| {
            let is_energy = channel.quantity == Quantity::Energy;
            value.filter(|_| is_energy).map(|value| (at, value))
        });
        energies.collect::<Vec<_>>()
    };
    found.meters.iter_mut().flat_map(read).collect()
}

/// Mean power between two readings of an energy.
fn watts((from, first): (u64, u64), (to, last): (u64, u64)) -> Option<f64> {
    let energy = Microjoules(last.checked_sub(first)?);
    let time = Nanos(to.checked_sub(from)?);
    let window = Window {
        time,
        energy,
        readings: 2,
    };
    (time.0 > 0).then(|| window.mean_watts())
}

/// Lets `time` pass; gives when that was, and how much of a processor this process took meanwhile, in percent.
fn timed(time: Duration) -> (Stretch, f64) {
    let (from, busy) = (monotonic(), of_this_process());
    std::thread::sleep(time);
    let (to, busy) = (monotonic(), of_this_process() - busy);
    ((from, to), 100.0 * busy as f64 / (to - from).max(1) as f64)
}

fn shown(channel: &Channel, window: Option<Window>, quiet: Option<f64>) -> Shown {
    let rail = &channel.rail;
    let mean_w = window.map(|window| window.mean_watts());
    Shown {
        meter: rail.meter.clone(),
        rail: rail.name.clone(),
        scope: rail.scope,
        total: rail.is_total,
        estimated: rail.is_estimate,
        mean_w,
        readings_per_s: window.map(|window| f64::from(window.readings) * 1e9 / window.time.0 as f64),
        sampling_mw: mean_w
            .zip(quiet)
            .map(|(sampling, quiet)| (sampling - quiet) * 1e3),
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rails.is_empty() {
            writeln!(f, "No meter was found.")?;
        }
        for rail in &self.rails {
            let name = rail.rail.as_deref().unwrap_or_default();
            let figures = match (rail.mean_w, rail.readings_per_s) {
                (Some(watts), Some(rate)) => format!("{watts:.3} W, {rate:.1} readings a second"),
                _ => "no value".to_owned(),
            };
            let marks = [(rail.total, ", all of it"), (rail.estimated, ", estimated")];
            let marks = marks.into_iter().filter_map(|(is, mark)| is.then_some(mark));
            let scope = marks.fold(rail.scope.to_string(), |scope, mark| scope + mark);
            writeln!(f, "{} {name} ({scope}): {figures}", rail.meter)?;
            if let Some(more) = rail.sampling_mw {
                writeln!(f, "  {more:+.1} mW while it was read many times, against twice")?;
            }
        }
        for fault in &self.faults {
            writeln!(f, "not read: {fault}")?;
        }
        write!(
            f,
            "This process took {:.2} % of one processor while it read, {:.2} % while it did not",
            self.cost.cpu_percent_sampling, self.cost.cpu_percent_idle
        )?;
        match self.cost.rss_mb {
            Some(megabytes) => write!(f, ", and {megabytes:.1} MB of memory."),
            None => write!(f, "."),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_rail_is_shown_with_what_reading_it_costs() {
        let root = tempfile::tempdir().unwrap();
        let put = |file: &str, text: &str| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("sys/class/hwmon/hwmon0/name", "amdgpu\n");
        put("sys/class/hwmon/hwmon0/power1_average", "9000000\n");
        put("sys/class/powercap/intel-rapl:0/name", "package-0\n");
        put(
            "sys/class/powercap/intel-rapl:0/max_energy_range_uj",
            "262143328850\n",
        );
        put("sys/class/powercap/intel-rapl:0/energy_uj", "5000\n");
        let sources = Sources {
            system: root.path().to_owned(),
            ..Sources::default()
        };
        let survey = survey(&sources, Duration::from_millis(300));
        let [rapl, gpu] = &survey.rails[..] else {
            panic!("{:?}", survey.rails)
        };
        // It stands still, which is no power of 0 W.
        assert_eq!(
            (rapl.meter.as_str(), rapl.mean_w, rapl.sampling_mw),
            ("rapl", None, None)
        );
        let still = "rapl package-0 gave no value, or none that changed";
        assert!(
            survey.faults.iter().any(|fault| fault == still),
            "{:?}",
            survey.faults
        );
        // To a millionth of a joule.
        assert!(
            (gpu.mean_w.unwrap() - 9.0).abs() < 1e-4 && gpu.sampling_mw.is_none(),
            "{gpu:?}"
        );
        let said = survey.to_string();
        assert!(
            said.contains("amdgpu power1 (gpu, all of it): 9.000 W, "),
            "{said}"
        );
        assert!(said.contains("This process took "), "{said}");
    }

    #[test]
    fn a_machine_without_a_meter_says_so() {
        let sources = Sources {
            system: "/nowhere".into(),
            ..Sources::default()
        };
        let said = survey(&sources, Duration::from_millis(1)).to_string();
        assert!(said.starts_with("No meter was found.\n"), "{said}");
    }

    #[test]
    fn a_counter_tells_mean_power() {
        assert_eq!(watts((0, 1_000_000), (500_000_000, 3_000_000)), Some(4.0));
        assert_eq!(watts((5, 1), (5, 1)), None);
        assert_eq!(watts((0, 7), (1, 6)), None);
    }
}
