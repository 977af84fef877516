//! What a study found, read from its store alone.

use std::collections::BTreeMap;

use edgefront_protocol::results::{FailedJob, Results};
use edgefront_protocol::{DeviceId, Score};

use super::Options;
use super::explain;
use super::failure::explained;
use crate::fleet::Lost;
use crate::results::{self, Settled};
use crate::store::{self, Store, StoredJob};

/// The variant whose predictions the others are compared with.
pub(super) const REFERENCE: &str = "fp32";
/// Where it is taken from, best first: one runtime for all, so that runtimes can be compared too.
const REFERENCE_RUNTIMES: [&str; 2] = ["ort", "tract"];

/// The results of the jobs that have ended. Those that have not are not failures: they may still be measured.
pub(super) fn results(store: &Store, name: &str) -> Result<Results, store::Error> {
    let jobs = store.jobs()?;
    let settled: Vec<Settled> = jobs.iter().filter_map(settled).collect();
    let mut results = results::build(&results::Study {
        name,
        jobs: &settled,
        unmade: &store.failures()?,
        devices: &store.devices()?,
        reference: reference(&settled),
    });
    results.unfinished = store.study()?.is_some_and(|study| !study.finished);
    explain::add(&mut results, &store.makings()?);
    Ok(results)
}

/// An entry of the results for every open job of the devices that were given up.
pub(super) fn open_jobs(
    store: &Store,
    lost: &BTreeMap<DeviceId, Lost>,
    options: &Options,
) -> Result<Vec<FailedJob>, store::Error> {
    let jobs = store.jobs()?;
    let open = jobs.iter().filter(|job| job.outcome.is_none());
    let failed = |stored: &StoredJob| {
        Some(FailedJob {
            study: None,
            device: stored.device.to_string(),
            variant: stored.job.variant.clone(),
            runtime: stored.job.target.written(),
            threads: Some(stored.job.target.threads),
            batch: Some(stored.job.target.batch),
            scenario: results::way(stored.job.plan.scenario, stored.job.plan.sustained),
            cpus: stored.job.plan.processors.named(),
            stage: results::DEVICE.to_owned(),
            error: why_lost(*lost.get(&stored.device)?, options),
        })
    };
    Ok(open.filter_map(failed).collect())
}

fn why_lost(lost: Lost, options: &Options) -> String {
    let timeout = humantime::format_duration(options.device_timeout);
    let again = if options.resumable {
        "go on with --resume"
    } else {
        "run the command again"
    };
    match lost {
        Lost::OutOfReach => {
            format!("the device was out of reach for {timeout}; start its agent and {again}")
        }
        Lost::NoBroker => format!("the broker was out of reach for {timeout}; start it and {again}"),
        Lost::Silent => format!(
            "the device is connected, was asked how its jobs are and did not answer for {timeout}; see its \
             agent's log, start it again and {again}"
        ),
    }
}

fn settled(stored: &StoredJob) -> Option<Settled> {
    let outcome = stored.outcome.as_ref()?;
    Some(Settled {
        id: stored.job.id.clone(),
        device: stored.device.clone(),
        variant: stored.job.variant.clone(),
        artifact: stored.job.artifact,
        target: stored.job.target.clone(),
        seed: stored.seed,
        scenario: stored.job.plan.scenario,
        sustained: stored.job.plan.sustained,
        processors: stored.job.plan.processors,
        result: outcome
            .result
            .clone()
            .map_err(|failure| explained(&failure, &stored.job)),
    })
}

/// What was scored of the FP32 variant, by the best runtime that measured it, first device first.
fn reference(jobs: &[Settled]) -> Option<&Score> {
    let rank = |job: &Settled| {
        REFERENCE_RUNTIMES
            .iter()
            .position(|name| *name == job.target.runtime)
            .unwrap_or(REFERENCE_RUNTIMES.len())
    };
    jobs.iter()
        .filter(|job| job.variant == REFERENCE)
        .filter_map(|job| Some((rank(job), job.result.as_ref().ok()?.score.as_ref()?)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, score)| score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_kept_goes_on() {
        for (resumable, mend) in [(true, "go on with --resume"), (false, "run the command again")] {
            let options = Options {
                resumable,
                ..Options::new("out")
            };
            for lost in [Lost::OutOfReach, Lost::NoBroker, Lost::Silent] {
                let said = why_lost(lost, &options);
                assert!(said.ends_with(mend), "{said}");
            }
        }
    }
}
