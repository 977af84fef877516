//! From a study and a device to the device's jobs.

use edgefront_protocol::results::FailedJob;
use edgefront_protocol::{
    Artifact, BatchId, BlobRef, Device, Format, Job, JobId, Nanos, Plan, Precision, RuntimeState, Stage,
    Target,
};

use super::model::Interface;
use super::{REFERENCE, Study, provider_name, runtime_and_provider};
use crate::store::StoredJob;

/// A variant as it was made for a device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Variant {
    pub(super) name: String,
    pub(super) precision: Precision,
    /// As its recipe made it.
    pub(super) artifact: Artifact,
    /// What was converted from that, and the batch for which it was.
    pub(super) converted: Vec<(u32, Artifact)>,
}

impl Variant {
    /// The file in this format for this batch; `None` where it could not be made.
    fn file(&self, format: Format, batch: u32) -> Option<Artifact> {
        if self.artifact.format == format {
            return Some(self.artifact);
        }
        let fits = |(own, artifact): &&(u32, Artifact)| *own == batch && artifact.format == format;
        self.converted.iter().find(fits).map(|(_, artifact)| *artifact)
    }
}

/// What the jobs of a device have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Common<'a> {
    pub(super) study: &'a Study,
    /// The runtimes that it measures, as they are written, each with the variants that were made for it.
    pub(super) runtimes: &'a [(&'a str, &'a [Variant])],
    pub(super) validation: Option<BlobRef>,
    /// What the model answers on that, as this machine computed it.
    pub(super) reference: Option<BlobRef>,
    pub(super) interface: &'a Interface,
}

/// The runtimes of a device that a study measures, and those that it cannot.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Choice {
    /// Names of those that can run.
    pub(super) ready: Vec<String>,
    /// One entry for each that was asked for and cannot.
    pub(super) failed: Vec<FailedJob>,
    /// What the user should know of those that nobody asked for.
    pub(super) notes: Vec<String>,
}

/// Chooses the runtimes of a device. What was asked for and is missing fails; what is missing of the default
/// is said.
pub(super) fn choose_runtimes(study: &Study, device: &Device) -> Choice {
    let mut choice = Choice::default();
    let by_default = study.default_runtimes();
    for name in study.wanted_runtimes() {
        match (absence(device, &name), &study.runtimes) {
            (None, _) => choice.ready.push(name),
            (Some(reason), None) => {
                choice
                    .notes
                    .push(format!("{} measures without {name}: {reason}", device.id));
            }
            (Some(reason), Some(_)) => choice.failed.push(missing(device, &name, &reason)),
        }
    }
    if choice.ready.is_empty() && study.runtimes.is_none() {
        let reason = match by_default {
            [name] => format!("it does not have the runtime {name}"),
            names => format!("it has none of the runtimes {}", names.join(" and ")),
        };
        choice.failed.push(missing(device, "", &reason));
    }
    choice
}

/// Why the device cannot run the runtime; `None` if it can.
fn absence(device: &Device, written: &str) -> Option<String> {
    let (name, provider) = runtime_and_provider(written);
    let provider = provider_name(&provider);
    match device.runtimes.iter().find(|status| status.name == name) {
        Some(status) => match &status.state {
            RuntimeState::Ready { providers, .. } if !providers.iter().any(|own| own == provider) => {
                Some(format!(
                    "its {name} has no provider {provider}, but {}",
                    providers.join(", ")
                ))
            }
            RuntimeState::Ready { .. } => None,
            RuntimeState::Absent(absence) => Some(absence.reason.clone()),
        },
        None => Some(format!(
            "its agent (version {}) does not know this runtime; update it",
            device.agent_version
        )),
    }
}

fn missing(device: &Device, runtime: &str, reason: &str) -> FailedJob {
    FailedJob {
        study: None,
        device: device.id.to_string(),
        variant: String::new(),
        runtime: runtime.to_owned(),
        threads: None,
        batch: None,
        scenario: None,
        cpus: None,
        stage: Stage::Load.to_string(),
        error: reason.to_owned(),
    }
}

/// The jobs that the device does not have yet, in the order in which the results list them.
pub(super) fn new_jobs(common: Common<'_>, existing: &[&StoredJob]) -> Vec<Job> {
    let study = common.study;
    let mut jobs = Vec::new();
    let mut sustained = Vec::new();
    for recipe in &study.variants {
        for &(written, variants) in common.runtimes {
            let Some(variant) = variants.iter().find(|variant| variant.name == recipe.name) else {
                continue;
            };
            let (runtime, provider) = runtime_and_provider(written);
            let format = study.format_for(written);
            for &threads in &study.threads {
                for &batch in &study.batch {
                    let Some(artifact) = variant.file(format, batch) else {
                        continue;
                    };
                    let target = Target {
                        runtime: runtime.to_owned(),
                        provider: provider.clone(),
                        precision: variant.precision,
                        threads,
                        batch,
                    };
                    let in_rounds = job(common, &variant.name, artifact, target);
                    sustained.extend(study.plan.sustained.map(|time| without_pause(&in_rounds, time)));
                    jobs.push(in_rounds);
                }
            }
        }
    }
    // The device measures them after the others, too.
    jobs.append(&mut sustained);
    jobs.retain(|job| !existing.iter().any(|stored| is_same(&stored.job, job)));
    jobs
}

/// Whether both measure the same in the same way.
fn is_same(a: &Job, b: &Job) -> bool {
    let way = |plan: &Plan| (plan.scenario, plan.processors, plan.sustained);
    a.variant == b.variant && a.target == b.target && way(&a.plan) == way(&b.plan)
}

/// The same for so long without a pause.
fn without_pause(in_rounds: &Job, time: Nanos) -> Job {
    let mut job = in_rounds.clone();
    job.id = new_job_id();
    job.plan.sustained = Some(time);
    job.plan.race = false;
    job.plan.layers = false;
    job
}

fn job(common: Common<'_>, variant: &str, artifact: Artifact, target: Target) -> Job {
    Job {
        id: new_job_id(),
        variant: variant.to_owned(),
        artifact,
        inputs: common.interface.shapes(target.batch),
        validation: common.validation,
        reference: common.reference,
        plan: Plan {
            // Every round has a run of its own, so more would make the job longer than its plan.
            rounds: common.study.plan.rounds.min(common.study.plan.min_runs),
            // The others are compared with it.
            sustained: None,
            race: common.study.plan.race && variant != REFERENCE,
            ..common.study.plan
        },
        target,
    }
}

/// A name that no other job has.
fn new_job_id() -> JobId {
    unique("j").parse().expect("invariant: a valid name")
}

/// A name that no other batch has.
pub(super) fn new_batch_id() -> BatchId {
    unique("b").parse().expect("invariant: a valid name")
}

/// 64 random bits after a letter.
pub(super) fn unique(kind: &str) -> String {
    format!("{kind}{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::{Absence, BatchId, Bytes, Digest, RuntimeStatus};

    use super::*;
    use crate::store::fixture;

    fn device() -> Device {
        let mut device = fixture::device("pi");
        let reason = "libonnxruntime.so is missing; run `edgefront runtimes install ort`".to_owned();
        device.runtimes.push(RuntimeStatus {
            name: "ort".into(),
            state: RuntimeState::Absent(Absence { reason }),
        });
        device
    }

    fn asking(runtimes: &[&str]) -> Study {
        let runtimes = runtimes.iter().map(|name| (*name).to_owned()).collect();
        Study {
            runtimes: Some(runtimes),
            ..Study::new("test", "m.onnx")
        }
    }

    #[test]
    fn a_default_runtime_that_is_missing_is_said_and_one_that_was_asked_for_fails() {
        let by_default = choose_runtimes(&Study::new("test", "m.onnx"), &device());
        assert_eq!(by_default.ready, ["tract"]);
        assert!(by_default.failed.is_empty());
        assert_eq!(
            by_default.notes,
            ["pi measures without ort: libonnxruntime.so is missing; run `edgefront runtimes install ort`"]
        );
        let asked = choose_runtimes(&asking(&["ort", "tract", "tflite"]), &device());
        assert_eq!(asked.ready, ["tract"]);
        let failed: Vec<_> = asked.failed.iter().map(|entry| entry.runtime.as_str()).collect();
        assert_eq!(failed, ["ort", "tflite"]);
        assert!(asked.notes.is_empty());
    }

    #[test]
    fn a_device_with_none_of_the_default_runtimes_fails() {
        let mut device = device();
        device.runtimes.retain(|status| status.name == "ort");
        let choice = choose_runtimes(&Study::new("test", "m.onnx"), &device);
        assert!(choice.ready.is_empty());
        assert_eq!(choice.failed.len(), 1);
    }

    fn variant(name: &str) -> Variant {
        let blob = BlobRef {
            digest: Digest::of(name.as_bytes()),
            bytes: Bytes(7),
        };
        Variant {
            name: name.into(),
            precision: Precision::Fp32,
            artifact: Artifact {
                blob,
                format: Format::Onnx,
            },
            converted: Vec::new(),
        }
    }

    #[test]
    fn every_combination_becomes_one_job_and_none_twice() {
        let study = Study {
            threads: vec![1, 2],
            batch: vec![1, 8],
            ..Study::new("test", "m.onnx")
        };
        let variants = [variant("fp32"), variant("prune50")];
        let interface = Interface::default();
        let common = Common {
            study: &study,
            runtimes: &[("tract", &variants), ("ort", &variants)],
            validation: None,
            reference: None,
            interface: &interface,
        };
        let jobs = new_jobs(common, &[]);
        assert_eq!(jobs.len(), 16);
        let ids: std::collections::BTreeSet<_> = jobs.iter().map(|job| &job.id).collect();
        assert_eq!(ids.len(), 16);

        let batch: BatchId = fixture::id("b1");
        let stored = |job: &Job| StoredJob {
            device: fixture::id("pi"),
            batch: batch.clone(),
            seed: 0,
            job: job.clone(),
            outcome: None,
        };
        let existing: Vec<StoredJob> = jobs[..5].iter().map(stored).collect();
        let rest = new_jobs(common, &existing.iter().collect::<Vec<_>>());
        let targets = |jobs: &[Job]| -> Vec<_> {
            jobs.iter()
                .map(|job| (job.variant.clone(), job.target.clone()))
                .collect()
        };
        assert_eq!(targets(&rest), targets(&jobs[5..]));
    }

    #[test]
    fn a_sustained_run_follows_all_others_and_the_model_itself_is_never_stopped() {
        let mut study = Study::new("test", "m.onnx");
        study.plan.sustained = Some(Nanos(600_000_000_000));
        study.plan.layers = true;
        let interface = Interface::default();
        let common = Common {
            study: &study,
            runtimes: &[("tract", &[variant("fp32"), variant("prune50")])],
            validation: None,
            reference: None,
            interface: &interface,
        };
        let jobs = new_jobs(common, &[]);
        let told: Vec<_> = jobs
            .iter()
            .map(|job| {
                (
                    job.variant.as_str(),
                    job.plan.sustained.is_some(),
                    job.plan.race,
                    job.plan.layers,
                )
            })
            .collect();
        let expected = [
            ("fp32", false, false, true),
            ("prune50", false, true, true),
            ("fp32", true, false, false),
            ("prune50", true, false, false),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_runtime_gets_the_file_of_its_format_and_batch() {
        let file = |name: &str| Artifact {
            blob: BlobRef {
                digest: Digest::of(name.as_bytes()),
                bytes: Bytes(7),
            },
            format: Format::Tflite,
        };
        let mut converted = variant("fp32");
        converted.converted = vec![(1, file("one")), (8, file("eight"))];
        let study = Study {
            batch: vec![1, 8],
            ..Study::new("test", "m.onnx")
        };
        let variants = [converted, variant("prune50")];
        let common = Common {
            study: &study,
            runtimes: &[("tflite:builtin", &variants), ("ort", &variants)],
            validation: None,
            reference: None,
            interface: &Interface::default(),
        };
        let jobs = new_jobs(common, &[]);
        let of = |job: &Job| (job.target.provider.clone(), job.target.batch, job.artifact);
        let own = |name: &str| variant(name).artifact;
        let expected = [
            ("builtin".to_owned(), 1, file("one")),
            ("builtin".to_owned(), 8, file("eight")),
            ("cpu".to_owned(), 1, own("fp32")),
            ("cpu".to_owned(), 8, own("fp32")),
            ("cpu".to_owned(), 1, own("prune50")),
            ("cpu".to_owned(), 8, own("prune50")),
        ];
        assert_eq!(jobs.iter().map(of).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn there_are_no_more_rounds_than_runs() {
        let rounds_of = |min_runs, rounds| {
            let study = Study {
                plan: Plan {
                    min_runs,
                    rounds,
                    ..Plan::default()
                },
                ..Study::new("test", "m.onnx")
            };
            let common = Common {
                study: &study,
                runtimes: &[("tract", &[variant("fp32")])],
                validation: None,
                reference: None,
                interface: &Interface::default(),
            };
            new_jobs(common, &[])[0].plan.rounds
        };
        assert_eq!((rounds_of(200, 100_000), rounds_of(200, 10)), (200, 10));
    }
}
