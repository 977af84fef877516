//! Energy per inference and its error, from what the rails took in each round.
//!
//! Of a rail's windows `E_r` (energy), `T_r` (time) and `n_r` (inferences, of which a query may have several) it derives
//! - gross energy `e = sum E_r / sum n_r`, the ratio of means;
//! - its standard error between rounds, that of a ratio (Cochran, Sampling Techniques, 6.4):
//!   `sqrt(sum (E_r - e n_r)^2 / (R (R - 1))) / mean n_r`, widened by Student's t of `R - 1` degrees of freedom;
//! - the error of the sensor's step `s`, evenly spread over one step, hence `s / sqrt(12)` (GUM 4.3.7): in watts for a
//!   sensor of power, at both ends of every window for a counter. It is the same in all rounds, so that rounds do not
//!   show it;
//! - net energy `e - P_idle T / n`, where `P_idle` is the mean of the rests before and after, whose difference is taken
//!   as evenly spread, too.

use std::cmp::Reverse;

use edgefront_protocol::outcome::Measurement;
use edgefront_protocol::results::EnergyRecord;
use edgefront_protocol::{RailEnergy, Scope, Step, Target, Window};
use edgefront_stats::t95;

/// 97.5 % quantile of the normal distribution.
const Z95: f64 = 1.959_964;

/// The rounds whose energy is known: their energy in millijoules, time in seconds and inferences.
struct Rounds(Vec<[f64; 3]>);

/// The energy of the rail that says most of the job.
pub(super) fn energy(measurement: &Measurement, target: &Target) -> Option<EnergyRecord> {
    let rail = told(&measurement.energy, target)?;
    let per_query = measurement.scenario.inferences_per_query(target).ok()?;
    let rounds = Rounds::of(rail, measurement, per_query);
    if rounds.0.is_empty() {
        return None;
    }
    let [energy, time, runs] = rounds.sums();
    let gross = energy / runs;
    let idle = idle(rail);
    let net = idle.map(|(watts, _)| gross - watts * 1e3 * time / runs);
    let of_sensor = rounds.error_of_step(rail.rail.step);
    let interval = |about: f64, more: f64| {
        let between = rounds.error_between()?;
        let half = [between, Z95 * of_sensor, more]
            .iter()
            .map(|error| error * error)
            .sum::<f64>()
            .sqrt();
        Some([about - half, about + half])
    };
    let of_idle = idle
        .and_then(|(_, error)| error)
        .map(|error| Z95 * error * 1e3 * time / runs);
    Some(EnergyRecord {
        mj_per_inference: gross,
        mean_w: energy / 1e3 / time,
        idle_w: idle.map(|(watts, _)| watts),
        meter: rail.rail.meter.clone(),
        rail: rail.rail.name.clone(),
        scope: rail.rail.scope.to_string(),
        estimated: rail.rail.is_estimate,
        mj_ci95: interval(gross, 0.0),
        net_mj_per_inference: net,
        net_mj_ci95: net.zip(of_idle).and_then(|(net, of_idle)| interval(net, of_idle)),
    })
}

/// The rail that is told. By weight: it is of no graphics card where the job runs on none; it is no estimate; it was read
/// in every round; it is a card's where the job runs on one; it holds all that its meter measures; its scope is the
/// widest. Of equal ones it is the first of the agent's list.
fn told<'a>(rails: &'a [RailEnergy], target: &Target) -> Option<&'a RailEnergy> {
    let on_card = is_on_card(target);
    let rank = |rail: &&RailEnergy| {
        let is_partly_read = rail.rounds.iter().any(Option::is_none);
        let own = &rail.rail;
        let is_of_card = own.scope == Scope::Gpu;
        (
            is_of_card && !on_card,
            own.is_estimate,
            is_partly_read,
            on_card && !is_of_card,
            !own.is_total,
            Reverse(own.scope),
        )
    };
    let read = rails
        .iter()
        .filter(|rail| rail.rounds.iter().any(Option::is_some));
    read.min_by_key(rank)
}

/// Whether the job runs on a graphics card.
fn is_on_card(target: &Target) -> bool {
    const PROVIDERS: [&str; 2] = ["cuda", "tensorrt"];
    let provider = target.provider.split('+').next().unwrap_or_default();
    target.runtime == "tensorrt" || PROVIDERS.contains(&provider)
}

/// Watts at rest and their standard error, which two rests show.
fn idle(rail: &RailEnergy) -> Option<(f64, Option<f64>)> {
    let before = rail.idle_before.as_ref().map(Window::mean_watts);
    let after = rail.idle_after.as_ref().map(Window::mean_watts);
    match (before, after) {
        (Some(before), Some(after)) => Some((
            f64::midpoint(before, after),
            Some((before - after).abs() / 12f64.sqrt()),
        )),
        (before, after) => Some((before.or(after)?, None)),
    }
}

impl Rounds {
    /// `per_query` are the inferences of a query; a round counts queries.
    fn of(rail: &RailEnergy, measurement: &Measurement, per_query: u32) -> Self {
        let rounds = rail.rounds.iter().zip(&measurement.latency.rounds);
        let known = rounds.filter_map(|(window, round)| {
            let window = window.as_ref()?;
            Some([
                window.energy.0 as f64 / 1e3,
                window.time.0 as f64 / 1e9,
                round.runs as f64 * f64::from(per_query),
            ])
        });
        Self(
            known
                .filter(|[_, time, runs]| *time > 0.0 && *runs > 0.0)
                .collect(),
        )
    }

    fn sums(&self) -> [f64; 3] {
        let sum = |index: usize| self.0.iter().map(|round| round[index]).sum();
        [sum(0), sum(1), sum(2)]
    }

    /// Half of the interval that the rounds among themselves give, in millijoules; `None` for fewer than two.
    fn error_between(&self) -> Option<f64> {
        let rounds = self.0.len() as f64;
        let freedom = u32::try_from(self.0.len())
            .ok()?
            .checked_sub(1)
            .filter(|freedom| *freedom > 0)?;
        let [energy, _, runs] = self.sums();
        let ratio = energy / runs;
        let squares: f64 = self
            .0
            .iter()
            .map(|[energy, _, runs]| (energy - ratio * runs).powi(2))
            .sum();
        let standard = (squares / (rounds * f64::from(freedom))).sqrt() / (runs / rounds);
        Some(t95(freedom) * standard)
    }

    /// Standard error by the sensor's step, in millijoules an inference.
    fn error_of_step(&self, step: Option<Step>) -> f64 {
        let [_, time, runs] = self.sums();
        match step {
            Some(Step::Power(step)) => step.as_watts() / 12f64.sqrt() * 1e3 * time / runs,
            Some(Step::Energy(step)) => step.as_joules() * 1e3 * (self.0.len() as f64 / 6.0).sqrt() / runs,
            None => 0.0,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use edgefront_protocol::outcome::{Conditions, Harness, Latency, Memory, Round, Startup};
    use edgefront_protocol::{Microjoules, Microwatts, Nanos, Precision, Rail, Scenario, UnixMillis};

    use super::*;

    fn window(millijoules: u64, milliseconds: u64) -> Window {
        Window {
            time: Nanos(milliseconds * 1_000_000),
            energy: Microjoules(millijoules * 1_000),
            readings: 10,
        }
    }

    fn rail(name: &str, is_total: bool, rounds: Vec<Option<Window>>) -> RailEnergy {
        RailEnergy {
            rail: Rail {
                meter: "ina3221".to_owned(),
                name: Some(name.to_owned()),
                scope: Scope::Module,
                is_total,
                is_estimate: false,
                step: Some(Step::Power(Microwatts(40_000))),
            },
            rounds,
            idle_before: Some(window(1_000, 1_000)),
            idle_after: Some(window(1_200, 1_000)),
        }
    }

    fn target(runtime: &str, provider: &str) -> Target {
        Target {
            runtime: runtime.to_owned(),
            provider: provider.to_owned(),
            precision: Precision::Fp32,
            threads: 1,
            batch: 2,
        }
    }

    /// On the processor.
    fn energy_of(measurement: &Measurement) -> Option<EnergyRecord> {
        energy(measurement, &target("ort", "cpu"))
    }

    fn measurement(energy: Vec<RailEnergy>) -> Measurement {
        let round = Round {
            position: 0,
            runs: 100,
            total: Nanos(500_000_000),
            p50: Nanos(5_000_000),
            started: UnixMillis(0),
            process: 0,
            below: [50, 90, 95, 99, 100],
        };
        Measurement {
            runtime_version: String::new(),
            provider: "cpu".to_owned(),
            latency: Latency {
                histogram: Vec::new(),
                rounds: vec![round; 2],
                warmup_runs: 0,
                ended_early: false,
            },
            load: Nanos(0),
            peak_rss: None,
            memory: Memory::default(),
            startup: Startup::default(),
            score: None,
            conditions: Conditions::default(),
            energy,
            harness: Harness::default(),
            layers: Vec::new(),
            scenario: Scenario::Single,
            probes: Vec::new(),
            processors: Vec::new(),
            stopped: None,
            sustained: None,
        }
    }

    #[test]
    fn energy_is_per_inference_gross_and_net_with_their_errors() {
        // 2.0 and 2.2 J in half a second each, of 100 inferences each.
        let rounds = vec![Some(window(2_000, 500)), Some(window(2_200, 500))];
        let record = energy_of(&measurement(vec![rail("VDD_IN", true, rounds)])).unwrap();
        assert!((record.mj_per_inference - 21.0).abs() < 1e-9);
        assert!((record.mean_w - 4.2).abs() < 1e-9);
        assert!((record.idle_w.unwrap() - 1.1).abs() < 1e-9);
        // 1.1 W for 5 ms are 5.5 mJ.
        assert!((record.net_mj_per_inference.unwrap() - 15.5).abs() < 1e-9);
        // Between rounds sqrt((100^2 + 100^2) / 2) / 100 = 1 mJ, times t of one degree, 12.706; the step of 40 mW is
        // 11.547 mW or 0.0577 mJ in 5 ms, times 1.96.
        let [low, high] = record.mj_ci95.unwrap();
        let half = (12.706_f64.powi(2) + (1.96_f64 * 0.057_735).powi(2)).sqrt();
        assert!(((high - low) / 2.0 - half).abs() < 1e-3, "{low} {high}");
        let [low, high] = record.net_mj_ci95.unwrap();
        assert!((high - low) / 2.0 > half);
    }

    #[test]
    fn the_total_is_told_and_a_rail_that_was_read_throughout_before_one_that_was_not() {
        let whole = || vec![Some(window(2_000, 500)); 2];
        let part = || vec![Some(window(900, 500)), None];
        let chosen = |rails| energy_of(&measurement(rails)).and_then(|record: EnergyRecord| record.rail);
        let rails = vec![rail("VDD_SOC", false, whole()), rail("VDD_IN", true, whole())];
        assert_eq!(chosen(rails).as_deref(), Some("VDD_IN"));
        let rails = vec![rail("VDD_IN", true, part()), rail("VDD_SOC", false, whole())];
        assert_eq!(chosen(rails).as_deref(), Some("VDD_SOC"));
        assert_eq!(chosen(vec![rail("VDD_IN", true, vec![None, None])]), None);
        assert_eq!(chosen(Vec::new()), None);
    }

    #[test]
    fn the_widest_total_is_told_and_a_card_where_the_job_runs_on_one() {
        let of = |name: &str, scope, is_total| {
            let mut rail = rail(name, is_total, vec![Some(window(2_000, 500)); 2]);
            rail.rail.scope = scope;
            rail
        };
        let chosen = |rails: &[RailEnergy], runtime, provider| {
            told(rails, &target(runtime, provider)).and_then(|rail| rail.rail.name.clone())
        };
        let mut rails = vec![
            of("GPU", Scope::Gpu, true),
            of("package", Scope::Soc, true),
            of("core", Scope::Soc, false),
            of("board", Scope::Board, false),
        ];
        assert_eq!(chosen(&rails, "ort", "cpu+arena=off").as_deref(), Some("package"));
        assert_eq!(chosen(&rails, "ort", "cuda").as_deref(), Some("GPU"));
        assert_eq!(chosen(&rails, "tensorrt", "gpu").as_deref(), Some("GPU"));
        rails.push(of("plug", Scope::Wall, true));
        assert_eq!(chosen(&rails, "tract", "cpu").as_deref(), Some("plug"));
        rails[4].rail.is_estimate = true;
        assert_eq!(chosen(&rails, "tract", "cpu").as_deref(), Some("package"));
        assert_eq!(chosen(&rails[..1], "tract", "cpu").as_deref(), Some("GPU"));
        // Where all others are estimates or were missed in a round, a card still tells nothing of a processor.
        let beside_card = [rails[0].clone(), rails[4].clone()];
        assert_eq!(chosen(&beside_card, "tract", "cpu").as_deref(), Some("plug"));
        assert_eq!(chosen(&beside_card, "ort", "cuda").as_deref(), Some("GPU"));
        rails[1].rounds[0] = None;
        assert_eq!(chosen(&rails[..2], "tract", "cpu").as_deref(), Some("package"));
    }

    #[test]
    fn a_query_of_several_inferences_shares_its_energy_among_them() {
        let rounds = vec![Some(window(2_000, 500)), Some(window(2_200, 500))];
        let mut measurement = measurement(vec![rail("VDD_IN", true, rounds)]);
        let of_one = energy_of(&measurement).unwrap();
        // Eight samples in batches of two.
        measurement.scenario = Scenario::Multi { samples: 8 };
        let of_four = energy_of(&measurement).unwrap();
        let figures = |record: &EnergyRecord| {
            let ends = [record.mj_ci95.unwrap(), record.net_mj_ci95.unwrap()];
            let mut figures = ends.concat();
            figures.extend([record.mj_per_inference, record.net_mj_per_inference.unwrap()]);
            figures
        };
        for (one, four) in figures(&of_one).into_iter().zip(figures(&of_four)) {
            assert!((one / 4.0 - four).abs() < 1e-9, "{one} {four}");
        }
        assert!((of_one.mean_w - of_four.mean_w).abs() < 1e-9);
    }

    #[test]
    fn one_rest_alone_gives_a_net_without_an_interval() {
        let mut rail = rail("VDD_IN", true, vec![Some(window(2_000, 500)); 2]);
        rail.idle_after = None;
        let record = energy_of(&measurement(vec![rail])).unwrap();
        // 1.0 W for 5 ms are 5 mJ.
        assert!((record.net_mj_per_inference.unwrap() - 15.0).abs() < 1e-9);
        assert!(record.mj_ci95.is_some() && record.net_mj_ci95.is_none());
    }

    #[test]
    fn one_round_has_no_interval() {
        let record = energy_of(&measurement(vec![rail(
            "VDD_IN",
            true,
            vec![Some(window(2_000, 500)), None],
        )]))
        .unwrap();
        assert_eq!((record.mj_ci95, record.net_mj_ci95), (None, None));
        assert!((record.mj_per_inference - 20.0).abs() < 1e-9);
    }
}
