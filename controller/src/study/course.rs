//! The course of a study: read, find the devices, make the variants, measure, report.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use edgefront_link::BrokerUrl;
use edgefront_optimizer::quantize::ActivationType;
use edgefront_protocol::results::{FailedJob, Results};
use edgefront_protocol::{Batch, BatchId, Device, DeviceId};
use tokio::runtime::Runtime;

use super::plan::{Common, Variant, choose_runtimes, new_batch_id, new_jobs, unique};
use super::prepare::{Prepared, prepare};
use super::variants::{Made, Maker, activations_for};
use super::{Existing, Options, Study, findings};
use crate::fleet::{self, Blobs, Local, Survey, Work};
use crate::report;
use crate::store::{Store, StoredJob};
use crate::ui::{Exit, Ui, UsageError, one_line};

/// How long the devices of a study have to show themselves.
const PRESENCE_PATIENCE: Duration = Duration::from_secs(30);
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
    if findings.results.records.is_empty() && findings.stopped.is_some() {
        return findings.present(ui);
    }
    report::write_all(&options.out, &findings.results)?;
    let exit = findings.present(ui)?;
    ui.note(format_args!(
        "wrote {}",
        options.out.join("report.html").display()
    ));
    Ok(exit)
}

impl Findings {
    /// Prints the results and says how the command ends.
    pub fn present(self, ui: &Ui) -> anyhow::Result<Exit> {
        if ui.json() {
            ui.data_json(&self.results)?;
        } else if !(self.results.records.is_empty() && self.results.failed.is_empty()) {
            ui.data(report::table(&self.results, ui.width()))?;
        }
        if let Some(error) = self.stopped {
            return Err(error);
        }
        Ok(
            match (self.results.records.is_empty(), self.results.failed.is_empty()) {
                (_, true) => Exit::Done,
                (false, false) => Exit::Partial,
                (true, false) => Exit::Failed,
            },
        )
    }
}

/// Makes the variants and has them measured. An error means that nothing was measured; what stopped it later
/// stands beside the results.
pub fn measure(study: &Study, options: &Options, ui: &Ui) -> anyhow::Result<Findings> {
    let prepared = prepare(study, ui)?;
    let runtime = Runtime::new().context("cannot start the threads of the controller")?;
    if let Some(url) = &study.broker {
        // Before anything is written.
        runtime.block_on(Survey::open(url))?;
    }
    fs::create_dir_all(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    let controller = unique("c").parse().expect("invariant: a valid name");
    let mut store = Store::open(&options.out, &controller)?;
    let cancelled = begin(&mut store, &prepared, options)?;
    let state = options.out.join(AGENT_STATE);
    if store.jobs()?.is_empty() {
        remove_folder(&state)?;
    }
    if !store.study()?.is_some_and(|study| study.finished) {
        let course = Course {
            prepared: &prepared,
            options,
            ui,
        };
        let stopped = course.follow(runtime, &mut store, cancelled, &state)?;
        if stopped.is_some() {
            return Ok(Findings {
                results: findings::results(&store, &study.name)?,
                stopped,
            });
        }
    }
    if store.open_batches()?.is_empty() {
        remove_folder(&state)?;
    }
    Ok(Findings {
        results: findings::results(&store, &study.name)?,
        stopped: None,
    })
}

/// Begins the study, or goes on with the one that is there; returns the batches that are to be called off.
fn begin(
    store: &mut Store,
    prepared: &Prepared<'_>,
    options: &Options,
) -> anyhow::Result<Vec<(DeviceId, BatchId)>> {
    let out = options.out.display();
    if let Some(old) = store.study()? {
        if options.existing == Existing::Resume {
            let differences = prepared.definition.differences(&old.definition)?;
            if differences.is_empty() {
                return Ok(Vec::new());
            }
            return Err(UsageError::new(format!(
                "the study in {out} differs in {}; --resume goes on with the same study, --fresh replaces it",
                differences.join(", ")
            )));
        }
        let jobs = store.jobs()?;
        let ended = jobs.iter().filter(|job| job.outcome.is_some()).count();
        if options.existing == Existing::KeepUnfinished && !old.finished && ended > 0 {
            return Err(UsageError::new(format!(
                "{out} holds an unfinished study ({ended} of {} jobs have ended); \
                 go on with --resume, or replace it with --fresh",
                jobs.len()
            )));
        }
    }
    let cancelled = store.open_batches()?;
    store.begin(&prepared.definition.to_json()?)?;
    Ok(cancelled
        .into_iter()
        .map(|(device, batch)| (device, batch.id))
        .collect())
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
        cancelled: Vec<(DeviceId, BatchId)>,
        state: &Path,
    ) -> anyhow::Result<Option<anyhow::Error>> {
        let stopped = runtime.block_on(async {
            match &self.prepared.study.broker {
                Some(url) => self.remotely(store, cancelled, url).await,
                None => self.locally(store, state).await,
            }
        });
        // A variant that is being made while the user interrupts is left alone; it is written whole or not.
        runtime.shutdown_background();
        let Err(error) = stopped else { return Ok(None) };
        let jobs = store.jobs()?;
        if jobs.is_empty() {
            return Err(error);
        }
        let ended = jobs.iter().filter(|job| job.outcome.is_some()).count();
        let kept = format!(
            "{ended} of {} jobs have ended and are kept; go on with --resume",
            jobs.len()
        );
        Ok(Some(anyhow::anyhow!("{}; {kept}", one_line(&error))))
    }

    async fn remotely(
        &self,
        store: &mut Store,
        cancelled: Vec<(DeviceId, BatchId)>,
        url: &BrokerUrl,
    ) -> anyhow::Result<()> {
        tokio::select! {
            ended = self.steps(store, cancelled, url) => ended,
            () = interrupted() => {
                Err(anyhow::anyhow!("interrupted, and devices go on with the jobs that they have"))
            }
        }
    }

    async fn locally(&self, store: &mut Store, state: &Path) -> anyhow::Result<()> {
        let mut local = Local::start(state, self.options.search.runtime_path.as_deref())?;
        let url = local.url();
        let ended = tokio::select! {
            ended = self.steps(store, Vec::new(), &url) => ended,
            error = local.ended() => Err(error),
            () = interrupted() => Err(anyhow::anyhow!("interrupted")),
        };
        let stopped = local.stop().await;
        ended.and(stopped)
    }

    async fn steps(
        &self,
        store: &mut Store,
        cancelled: Vec<(DeviceId, BatchId)>,
        url: &BrokerUrl,
    ) -> anyhow::Result<()> {
        let devices = self.find_devices(url).await?;
        let mut failures = self.absent(&devices);
        let is_complete = failures.is_empty();
        let choices = self.choices(&devices, &mut failures);
        let maker = Maker::new(self.prepared, &self.options.search, &self.options.out)?;
        self.make_jobs(store, &maker, &choices, &mut failures).await?;
        store.set_failures(&failures)?;

        let mut blobs = offered(store, &maker)?;
        let work = Work {
            url,
            devices: devices.keys().collect(),
            blobs: &mut blobs,
            cancelled,
            device_timeout: self.options.device_timeout,
        };
        fleet::run(work, store, self.ui).await?;
        let given_up = findings::open_jobs(store, &devices, &self.patience_lost())?;
        failures.extend(given_up);
        store.set_failures(&failures)?;
        store.set_finished(is_complete && store.open_batches()?.is_empty())?;
        Ok(())
    }

    async fn find_devices(&self, url: &BrokerUrl) -> anyhow::Result<BTreeMap<DeviceId, Device>> {
        let spinner = self.ui.spinner("waiting for devices");
        let wanted = &self.prepared.study.devices;
        let show = |missing: &DeviceId| spinner.set_message(format!("waiting for {missing}"));
        let patience = PRESENCE_PATIENCE.min(self.options.device_timeout);
        let found = fleet::survey(url, wanted, patience, show).await?;
        spinner.finish_and_clear();
        if found.is_empty() {
            anyhow::ensure!(
                self.prepared.study.broker.is_some(),
                "the local agent did not come up"
            );
            let names: Vec<&str> = wanted.iter().map(DeviceId::as_str).collect();
            anyhow::bail!("{}: {}", names.join(", "), absent_mend(url));
        }
        Ok(found)
    }

    /// An entry of the results for each device that is not there.
    fn absent(&self, found: &BTreeMap<DeviceId, Device>) -> Vec<FailedJob> {
        let study = self.prepared.study;
        let (Some(url), missing) = (
            &study.broker,
            study.devices.iter().filter(|id| !found.contains_key(*id)),
        ) else {
            return Vec::new();
        };
        let failed = |device: &DeviceId| FailedJob {
            device: device.to_string(),
            variant: String::new(),
            runtime: String::new(),
            stage: findings::DEVICE.to_owned(),
            error: absent_mend(url),
        };
        let failed: Vec<FailedJob> = missing.map(failed).collect();
        for entry in &failed {
            self.ui.warn(format_args!("{}: {}", entry.device, entry.error));
        }
        failed
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

    /// Makes the variants, once for each type of activations that a device computes fastest with.
    async fn make_variants(
        &self,
        store: &Store,
        maker: &Maker<'_>,
        choices: &[(&Device, Vec<String>)],
        failures: &mut Vec<FailedJob>,
    ) -> anyhow::Result<Vec<(ActivationType, Vec<Variant>)>> {
        let mut kinds: Vec<(ActivationType, Vec<Variant>)> = Vec::new();
        for (device, _) in choices {
            let activations = activations_for(device);
            if kinds.iter().any(|(kind, _)| *kind == activations) {
                continue;
            }
            let Made { variants, mut failed } = maker.make_all(activations, store, self.ui).await?;
            failed.retain(|entry| !failures.contains(entry));
            failures.append(&mut failed);
            kinds.push((activations, variants));
        }
        Ok(kinds)
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
        let kinds = self.make_variants(store, maker, choices, failures).await?;
        let stored = store.jobs()?;
        for (device, runtimes) in choices {
            let activations = activations_for(device);
            let kind = kinds.iter().find(|(kind, _)| *kind == activations);
            let (_, variants) = kind.expect("invariant: variants were made for every device");
            let common = Common {
                study: self.prepared.study,
                variants,
                validation,
                interface: &self.prepared.interface,
            };
            let existing: Vec<&StoredJob> = stored.iter().filter(|job| job.device == device.id).collect();
            let jobs = new_jobs(common, runtimes, &existing);
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

    fn patience_lost(&self) -> String {
        format!(
            "the device was out of reach for {}; start its agent and go on with --resume",
            humantime::format_duration(self.options.device_timeout)
        )
    }
}

/// The files that the open jobs need.
fn offered(store: &Store, maker: &Maker<'_>) -> anyhow::Result<Blobs> {
    let mut blobs = Blobs::default();
    for (_, batch) in store.open_batches()? {
        for job in batch.jobs {
            blobs.offer(job.artifact.blob, maker.path(&job.artifact.blob));
            if let Some(pack) = job.validation {
                blobs.offer(pack, maker.pack_path(&pack));
            }
        }
    }
    Ok(blobs)
}

fn absent_mend(url: &BrokerUrl) -> String {
    format!("the device is not there; is `edgefront-agent --broker {url}` running on it?")
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

fn remove_folder(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
