//! The server scenario of one job: which rates are tried, and what is kept of the trials.

use edgefront_protocol::{Nanos, Plan, Probe, Scenario};

use super::rate::Search;
use super::rounds::Turn;
use crate::worker::message::Serve;

/// Fewest queries that certify a P99 by the early-stopping rule of MLPerf.
const FEWEST: u64 = 662;
/// Most queries of a trial that nobody asked to be longer.
const MOST: u64 = 30_000;
/// Most queries of any trial.
const LONGEST: u64 = 1 << 20;
/// Into so many parts the plan's longest time is divided, one for each trial; a search rarely takes more, and many of
/// its trials end early.
const PARTS: f64 = 12.0;

/// Trials of one search that are made again, since they failed while something disturbed them.
const MOST_REPEATS: usize = 6;

/// A search under way.
#[derive(Debug)]
pub(super) struct Serving {
    bound: Nanos,
    seed: u64,
    /// The time of a trial that is not ended early, in seconds.
    seconds: f64,
    /// Fewest queries of such a trial.
    least: u64,
    search: Search,
    probes: Vec<Probe>,
    /// The trial of the highest rate that kept the bound.
    best: Option<Turn>,
    /// Trials that something disturbed, and that failed, each of which was made again.
    aside: Vec<Turn>,
    /// Rates that failed though each of their trials was disturbed.
    doubtful: Vec<f64>,
    /// Whether the longest time ended the search.
    cut: bool,
}

/// A search that is over.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) probes: Vec<Probe>,
    /// The trial of the highest rate that kept the bound.
    pub(super) kept: Turn,
    /// Trials that were made again.
    pub(super) aside: Vec<Turn>,
    /// Rates that failed though each of their trials was disturbed.
    pub(super) doubtful: Vec<f64>,
    /// Whether the longest time ended the search before rates were as near to each other as it wants.
    pub(super) cut: bool,
}

impl Serving {
    /// Begins where one inference takes `service`; `None` in other scenarios. The error says why no rate can keep the
    /// bound.
    pub(super) fn new(plan: &Plan, service: Nanos) -> Result<Option<Self>, String> {
        let Scenario::Server { p99_bound, seed } = plan.scenario else {
            return Ok(None);
        };
        if service > p99_bound {
            return Err(format!(
                "one inference takes {service} after warm-up, so no rate keeps P99 within {p99_bound}; raise --p99-bound"
            ));
        }
        let per_second = 1e9 / service.0.max(1) as f64;
        Ok(Some(Self {
            bound: p99_bound,
            seed,
            seconds: plan.max_time.as_millis_f64() / 1e3 / PARTS,
            least: FEWEST.max(u64::from(plan.min_runs)).min(LONGEST),
            search: Search::new(per_second),
            probes: Vec::new(),
            best: None,
            aside: Vec::new(),
            doubtful: Vec::new(),
            cut: false,
        }))
    }

    /// The next trial, of `left` at most; `None` when the search is over.
    pub(super) fn next(&self, left: Nanos) -> Option<Serve> {
        let rate_qps = self.search.next().filter(|_| !self.cut && left.0 > 0)?;
        let queries = self.queries(rate_qps);
        Some(Serve {
            seed: self.seed,
            rate_qps,
            queries,
            bound: self.bound,
            late: late(queries),
            limit: left,
        })
    }

    /// Queries of a trial that is not ended early.
    fn queries(&self, rate_qps: f64) -> u64 {
        let in_time = (rate_qps * self.seconds) as u64;
        in_time.min(MOST).max(self.least)
    }

    /// Takes a trial.
    pub(super) fn record(&mut self, serve: Serve, turn: Turn) {
        let queries = turn.tally.runs();
        let kept = queries - turn.tally.at_most(self.bound) <= serve.late;
        let p99 = turn.tally.at_rank(queries - late(queries));
        let Some(p99) = p99.filter(|_| !kept || queries == serve.queries) else {
            // What would have come of the rest is not known.
            self.cut = true;
            return;
        };
        let rate_qps = serve.rate_qps;
        if !kept && turn.state.is_disturbed() {
            if self.aside.len() < MOST_REPEATS {
                return self.aside.push(turn);
            }
            self.doubtful.push(rate_qps);
        }
        self.search.record(rate_qps, kept);
        self.probes.push(Probe {
            rate_qps,
            queries,
            p99,
            kept,
        });
        if kept {
            self.best = Some(turn);
        }
    }

    /// Trials done.
    pub(super) fn trials(&self) -> u32 {
        self.probes.len() as u32
    }

    /// What came of it. The error says why no rate was found.
    pub(super) fn finish(self, plan: &Plan) -> Result<Done, String> {
        let cut = self.search.next().is_some();
        if let Some(kept) = self.best {
            return Ok(Done {
                probes: self.probes,
                kept,
                aside: self.aside,
                doubtful: self.doubtful,
                cut,
            });
        }
        let bound = self.bound;
        let Some(rate) = self.search.next() else {
            let last = self.probes.last();
            let last = last.map_or_else(String::new, |probe| {
                format!(": at {:.3} queries a second it is {}", probe.rate_qps, probe.p99)
            });
            return Err(format!(
                "no rate keeps P99 within {bound}{last}; raise --p99-bound"
            ));
        };
        let longest = std::time::Duration::from(plan.max_time);
        Err(format!(
            "the plan's longest time of {longest:?} ended the search before a rate kept P99 within {bound}: {} queries at \
             {rate:.3} a second take {:.0} s; raise --max-time",
            self.queries(rate),
            self.queries(rate) as f64 / rate
        ))
    }
}

/// How many of so many queries may be late for their P99 to be within the bound.
fn late(queries: u64) -> u64 {
    queries / 100
}

#[cfg(test)]
#[path = "serving_tests.rs"]
mod tests;
