//! The course of a study: read, find the devices, make the variants, measure, report.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use edgefront_link::BrokerUrl;
use edgefront_protocol::results::{FailedJob, Results};
use edgefront_protocol::{Batch, BatchId, Device, DeviceId, SigningKey};
use tokio::runtime::Runtime;

use super::form::Group;
use super::place::Place;
use super::plan::{Common, Variant, choose_runtimes, new_batch_id, new_jobs};
use super::prepare::{Prepared, prepare};
use super::reach::Reach;
use super::variants::{Made, Maker};
use super::{Options, Study, findings, reach, reference};
use crate::fleet::{self, Blobs, Local, Work};
use crate::store::{Store, StoredJob};
use crate::ui::{Exit, Ui, one_line};
use crate::{keys, report};

/// What the local agent knows, in the study's directory; removed when nothing is left to do.
const AGENT_STATE: &str = ".agent";

/// What came of a study.
#[derive(Debug)]
pub struct Findings {
    /// All that is measured so far.
    pub results: Results,
    /// Why it ended before its end, if it did.
    pub stopped: Option<anyhow::Error>,
}

/// Makes the variants, has them measured, writes the report, prints the results.
pub fn run(study: &Study, options: &Options, ui: &Ui) -> anyhow::Result<Exit> {
    let findings = measure(study, options, ui)?;
    if !findings.are_none() {
        match report::write_all(&options.out, &findings.results) {
            Ok(()) => ui.note(format_args!(
                "wrote {}",
                options.out.join("report.html").display()
            )),
            // What stopped the study has the mend, and may be what keeps the report from being written.
            Err(error) if findings.stopped.is_some() => ui.warn(one_line(&error.into())),
            Err(error) => return Err(error.into()),
        }
    }
    findings.present(ui)
}

/// Whether the study can be read and may start in its directory. Changes nothing.
pub fn check(study: &Study, options: &Options, ui: &Ui) -> anyhow::Result<()> {
    let prepared = prepare(study, ui)?;
    Place::look(options, &prepared.definition).map(drop)
}

impl Findings {
    /// Whether there is nothing to report.
    fn are_none(&self) -> bool {
        self.results.records.is_empty() && self.results.failed.is_empty()
    }

    /// Prints the results and says how the command ends; without any measurement that is an error.
    pub fn present(self, ui: &Ui) -> anyhow::Result<Exit> {
        let is_empty = self.are_none();
        if ui.json() && !(is_empty && self.stopped.is_some()) {
            ui.data_json(&self.results)?;
        } else if !is_empty {
            ui.data(report::table(&self.results, ui.width()))?;
        }
        if let Some(error) = self.stopped {
            return Err(error);
        }
        anyhow::ensure!(
            !self.results.records.is_empty(),
            "no measurement: every job failed"
        );
        Ok(if self.results.failed.is_empty() {
            Exit::Done
        } else {
            Exit::Partial
        })
    }
}

/// Makes the variants and has them measured. An error means that nothing was measured; what stopped it later
/// stands beside the results.
pub fn measure(study: &Study, options: &Options, ui: &Ui) -> anyhow::Result<Findings> {
    let prepared = prepare(study, ui)?;
    let place = Place::look(options, &prepared.definition)?;
    let is_finished = place.is_finished();
    if place.begins() {
        reference::ensure_it_runs_here(&prepared, &options.search)?;
    }
    let course = Course {
        prepared: &prepared,
        options,
        ui,
    };
    let runtime = Runtime::new().context("cannot start the threads of the controller")?;
    // Before anything is written.
    let found = match &study.broker {
        Some(url) if !is_finished => {
            let key = keys::of_user()?;
            let reach = runtime.block_on(reach::find(study, options, url, key.public(), ui))?;
            Some((key, reach))
        }
        _ => None,
    };
    let (mut store, cancelled) = place.start(&prepared.definition, ui)?;
    let state = options.out.join(AGENT_STATE);
    if store.jobs()?.is_empty() {
        remove_agent(&state)?;
    }
    let mut stopped = None;
    if is_finished {
        runtime.block_on(course.mend(&store))?;
    } else {
        let fleet = match (&study.broker, &found) {
            (Some(url), Some((key, reach))) => Fleet::Remote {
                to: To { url, key, reach },
                cancelled,
            },
            _ => Fleet::Local { state: &state },
        };
        stopped = course.follow(runtime, &mut store, fleet)?;
    }
    if stopped.is_none() && store.open_batches()?.is_empty() {
        remove_agent(&state)?;
    }
    Ok(Findings {
        results: findings::results(&store, &study.name)?,
        stopped,
    })
}

/// Where a study is measured.
enum Fleet<'a> {
    /// On the devices that were found at a broker; `cancelled` are batches to call off.
    Remote {
        to: To<'a>,
        cancelled: Vec<(DeviceId, BatchId)>,
    },
    /// On this machine, by an agent that keeps its state in a folder.
    Local { state: &'a Path },
}

/// Whom the jobs go to.
#[derive(Clone, Copy)]
struct To<'a> {
    url: &'a BrokerUrl,
    /// By which the devices know who asks.
    key: &'a SigningKey,
    reach: &'a Reach,
}

/// One process's part of a study.
struct Course<'a> {
    prepared: &'a Prepared<'a>,
    options: &'a Options,
    ui: &'a Ui,
}

impl Course<'_> {
    /// Goes on until every job has ended, its device is given up, or something stops it; returns what did.
    fn follow(
        &self,
        runtime: Runtime,
        store: &mut Store,
        fleet: Fleet<'_>,
    ) -> anyhow::Result<Option<anyhow::Error>> {
        let stopped = runtime.block_on(async {
            match fleet {
                Fleet::Remote { to, cancelled } => self.remotely(store, to, cancelled).await,
                Fleet::Local { state } => self.locally(store, state).await,
            }
        });
        // A variant that is being made while the user interrupts is left alone; it is written whole or not.
        runtime.shutdown_background();
        let Err(error) = stopped else { return Ok(None) };
        if !self.options.resumable {
            return Ok(Some(error));
        }
        let jobs = store.jobs()?;
        let ended = jobs.iter().filter(|job| job.outcome.is_some()).count();
        let kept = match jobs.len() {
            0 => "no job has begun; go on with --resume".to_owned(),
            all => format!("{ended} of {all} jobs have ended and are kept; go on with --resume"),
        };
        Ok(Some(anyhow::anyhow!("{}; {kept}", one_line(&error))))
    }

    async fn remotely(
        &self,
        store: &mut Store,
        to: To<'_>,
        cancelled: Vec<(DeviceId, BatchId)>,
    ) -> anyhow::Result<()> {
        tokio::select! {
            ended = self.steps(store, to, cancelled) => return ended,
            () = interrupted() => {}
        }
        if self.options.resumable {
            anyhow::bail!("interrupted, and devices go on with the jobs that they have");
        }
        // Nobody could collect their outcomes.
        let called_off = fleet::call_off(to.url, store).await;
        called_off.context("interrupted, and devices go on with the jobs that they have")?;
        anyhow::bail!("interrupted, and the jobs were called off");
    }

    async fn locally(&self, store: &mut Store, state: &Path) -> anyhow::Result<()> {
        let key = keys::of_study(state)?;
        let runtime_path = self.options.search.runtime_path.as_deref();
        let mut local = Local::start(state, key.public(), runtime_path)?;
        let url = local.url();
        let measured = async {
            let reach = reach::find(self.prepared.study, self.options, &url, key.public(), self.ui).await?;
            let to = To {
                url: &url,
                key: &key,
                reach: &reach,
            };
            self.steps(store, to, Vec::new()).await
        };
        let ended = tokio::select! {
            ended = measured => ended,
            error = local.ended() => Err(error),
            () = interrupted() => Err(anyhow::anyhow!("interrupted")),
        };
        let stopped = local.stop().await;
        ended.and(stopped)
    }

    async fn steps(
        &self,
        store: &mut Store,
        to: To<'_>,
        cancelled: Vec<(DeviceId, BatchId)>,
    ) -> anyhow::Result<()> {
        let Reach { devices, failed } = to.reach;
        for entry in failed {
            self.ui.warn(format_args!("{}: {}", entry.device, entry.error));
        }
        // One on which nothing runs is known by its machine, too.
        for device in devices.values() {
            store.put_device(device)?;
        }
        let mut failures = failed.clone();
        let is_complete = failures.is_empty();
        let choices = self.choices(devices, &mut failures);
        let maker = Maker::new(self.prepared, self.options)?;
        self.make_jobs(store, &maker, &choices, &mut failures).await?;
        store.set_failures(&failures)?;

        let mut blobs = offered(store, &maker)?;
        let work = Work {
            url: to.url,
            devices: devices.keys().collect(),
            blobs: &mut blobs,
            key: to.key,
            cancelled,
            device_timeout: self.options.device_timeout,
        };
        let lost = fleet::run(work, store, self.ui).await?;
        failures.extend(findings::open_jobs(store, &lost, self.options)?);
        store.set_failures(&failures)?;
        store.set_finished(is_complete && store.open_batches()?.is_empty())?;
        Ok(())
    }

    /// Each device with the runtimes that it measures.
    fn choices<'d>(
        &self,
        devices: &'d BTreeMap<DeviceId, Device>,
        failures: &mut Vec<FailedJob>,
    ) -> Vec<(&'d Device, Vec<String>)> {
        let mut choices = Vec::new();
        for device in devices.values() {
            let choice = choose_runtimes(self.prepared.study, device);
            for note in &choice.notes {
                self.ui.warn(note);
            }
            failures.extend(choice.failed);
            if !choice.ready.is_empty() {
                choices.push((device, choice.ready));
            }
        }
        choices
    }

    /// Makes the variants, once for each group of devices and runtimes.
    async fn make_variants<'d>(
        &self,
        store: &Store,
        maker: &Maker<'_>,
        choices: &'d [(&'d Device, Vec<String>)],
        failures: &mut Vec<FailedJob>,
    ) -> anyhow::Result<Vec<(Group<'d>, Vec<Variant>)>> {
        let mut groups = Vec::new();
        for group in Group::all(self.prepared.study, choices) {
            let Made { variants, mut failed } = maker.make_all(&group, store, self.ui).await?;
            failed.retain(|entry| !failures.contains(entry));
            failures.append(&mut failed);
            groups.push((group, variants));
        }
        Ok(groups)
    }

    /// Makes the files of a finished study again that were cut, altered or removed since.
    async fn mend(&self, store: &Store) -> anyhow::Result<()> {
        let maker = Maker::new(self.prepared, self.options)?;
        maker.write_validation()?;
        let jobs = store.jobs()?;
        maker.mend_reference(&jobs, self.ui).await?;
        let damaged = maker.damaged(&jobs);
        if damaged.is_empty() {
            return Ok(());
        }
        let devices = store.devices()?;
        let runtimes = self.prepared.study.wanted_runtimes();
        let choices: Vec<(&Device, Vec<String>)> =
            devices.iter().map(|device| (device, runtimes.clone())).collect();
        self.make_variants(store, &maker, &choices, &mut Vec::new())
            .await?;
        let left = maker.damaged(&jobs);
        for variant in &left {
            self.ui.warn(format_args!(
                "the file of {variant} is damaged and could not be made again as it was measured; --fresh measures it anew"
            ));
        }
        let made: Vec<&str> = damaged.difference(&left).map(String::as_str).collect();
        if !made.is_empty() {
            self.ui.note(format_args!(
                "made again, for their files were damaged: {}",
                made.join(", ")
            ));
        }
        Ok(())
    }

    /// Stores the jobs that the devices do not have yet.
    async fn make_jobs(
        &self,
        store: &mut Store,
        maker: &Maker<'_>,
        choices: &[(&Device, Vec<String>)],
        failures: &mut Vec<FailedJob>,
    ) -> anyhow::Result<()> {
        let validation = maker.write_validation()?;
        let reference = maker.reference(&store.jobs()?, self.ui).await?;
        let groups = self.make_variants(store, maker, choices, failures).await?;
        let stored = store.jobs()?;
        for (device, runtimes) in choices {
            let made = |written: &'_ str| {
                let made = groups.iter().find(|(group, _)| group.has(&device.id, written));
                let (_, variants) = made.expect("invariant: variants were made for every runtime");
                variants.as_slice()
            };
            let runtimes: Vec<(&str, &[Variant])> = runtimes
                .iter()
                .map(|written| (written.as_str(), made(written)))
                .collect();
            let common = Common {
                study: self.prepared.study,
                runtimes: &runtimes,
                validation,
                reference,
                interface: &self.prepared.interface,
            };
            let existing: Vec<&StoredJob> = stored.iter().filter(|job| job.device == device.id).collect();
            let jobs = new_jobs(common, &existing);
            if jobs.is_empty() {
                continue;
            }
            let batch = Batch {
                id: new_batch_id(),
                controller: store.controller().clone(),
                seed: self.prepared.study.seed,
                jobs,
            };
            store.put_batch(device, &batch)?;
        }
        Ok(())
    }
}

/// The files that the open jobs need.
fn offered(store: &Store, maker: &Maker<'_>) -> anyhow::Result<Blobs> {
    let mut blobs = Blobs::default();
    for (_, batch) in store.open_batches()? {
        for job in batch.jobs {
            blobs.offer(job.artifact.blob, maker.path(&job.artifact));
            if let Some(pack) = job.validation {
                blobs.offer(pack, maker.pack_path(&pack));
            }
            if let Some(reference) = job.reference {
                blobs.offer(reference, maker.reference_path(&reference));
            }
        }
    }
    Ok(blobs)
}

/// Ends when the user or the system asks the process to.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// Removes the state of a local agent that runs no more.
fn remove_agent(path: &Path) -> anyhow::Result<()> {
    edgefront_agent::put_back(path);
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
