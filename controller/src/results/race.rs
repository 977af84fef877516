//! Which records have fewer rounds than were planned, since another one was beyond doubt better.

use edgefront_protocol::outcome::{Lead, Stopped};
use edgefront_protocol::results::{LeadRecord, Record, StoppedRecord};

use super::build::{Settled, failed, rounded};

/// Tells of each record who stopped it. `measured` are the jobs of the records, in the same order.
pub(super) fn tell(jobs: &[Settled], measured: &[&Settled], records: &mut [Record]) {
    let told: Vec<Option<StoppedRecord>> = measured
        .iter()
        .zip(&*records)
        .map(|(job, record)| {
            let stopped = job.result.as_ref().ok()?.stopped.as_ref()?;
            let rival = measured.iter().position(|other| other.id == stopped.by);
            let rival = rival.map(|place| &records[place]);
            let by = match rival {
                Some(record) => record.configuration(),
                None => without_record(jobs, stopped),
            };
            let top1 = |record: &Record| record.accuracy.as_ref().map(|accuracy| accuracy.top1);
            let accuracies = top1(record).zip(rival.and_then(top1));
            Some(stopped_record(stopped, by, accuracies))
        })
        .collect();
    for (record, stopped) in records.iter_mut().zip(told) {
        record.stopped = stopped;
    }
}

/// What is known of a rival that failed after its rounds, or is in no batch of the study.
fn without_record(jobs: &[Settled], stopped: &Stopped) -> String {
    let rival = jobs.iter().find(|job| job.id == stopped.by);
    let told = rival.and_then(|job| Some(failed(job, job.result.as_ref().err()?).configuration()));
    told.unwrap_or_else(|| stopped.by.to_string())
}

fn stopped_record(stopped: &Stopped, by: String, accuracies: Option<(f64, f64)>) -> StoppedRecord {
    let lead = |lead: Lead| LeadRecord {
        ratio: rounded(lead.ratio),
        at_least: rounded(lead.at_least),
    };
    StoppedRecord {
        by,
        rounds: stopped.rounds,
        of: stopped.of,
        chance: stopped.chance,
        median: lead(stopped.median),
        mean: lead(stopped.mean),
        energy: stopped.energy.map(lead),
        top1: accuracies.map(|(own, rival)| [own, rival]),
    }
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::{Failure, Stage};

    use super::super::build::{Study, build};
    use super::*;
    use crate::results::build::tests::settled;

    fn job(id: &str, variant: &str, by: Option<&str>) -> Settled {
        let mut job = settled((1..=700).map(|i| i * 100));
        job.id = id.parse().unwrap();
        job.variant = variant.to_owned();
        let lead = Lead {
            ratio: 2.5,
            at_least: 2.25,
        };
        job.result.as_mut().unwrap().stopped = by.map(|by| Stopped {
            by: by.parse().unwrap(),
            rounds: 3,
            of: 10,
            chance: 0.01,
            median: lead,
            mean: lead,
            energy: None,
        });
        job
    }

    fn study(jobs: &[Settled]) -> Study<'_> {
        Study {
            name: "test",
            jobs,
            unmade: &[],
            devices: &[],
            reference: None,
        }
    }

    fn told(jobs: &[Settled]) -> Vec<Option<StoppedRecord>> {
        let results = build(&study(jobs));
        results.records.into_iter().map(|record| record.stopped).collect()
    }

    #[test]
    fn who_stopped_a_record_is_named_with_the_evidence() {
        let mut jobs = [job("j1", "slow", Some("j2")), job("j2", "fast", None)];
        let found = told(&jobs);
        assert_eq!(found[1], None);
        let stopped = found[0].as_ref().unwrap();
        assert_eq!((stopped.by.as_str(), stopped.rounds), ("fast/ort/cpu/t1/b4", 3));
        assert_eq!(stopped.top1, Some([0.75, 0.75]));
        // It may fail when its rounds are over.
        jobs[1].result = Err(Failure {
            stage: Stage::Run,
            error: "lost".to_owned(),
        });
        let found = told(&jobs);
        let stopped = found[0].as_ref().unwrap();
        assert_eq!((stopped.by.as_str(), stopped.top1), ("fast/ort/t1/b4", None));
    }

    #[test]
    fn evidence_that_cannot_be_is_the_failure_of_its_record_alone() {
        let mut jobs = [job("j1", "slow", Some("j2")), job("j2", "fast", None)];
        let stopped = jobs[0].result.as_mut().unwrap().stopped.as_mut().unwrap();
        stopped.mean.at_least = f64::NAN;
        let results = build(&study(&jobs));
        assert_eq!(results.records.len(), 1);
        assert_eq!(
            results.failed[0].error,
            "what the device tells cannot be: at_least is NaN, which is not between 0 and 1e12"
        );
    }
}
