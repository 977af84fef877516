//! From a job to a worker that is loaded and warm.

use std::time::{Duration, Instant};

use edgefront_protocol::outcome::{Failure, LayerTime, Stage};
use edgefront_protocol::{Format, Job, Nanos, Plan, Scenario};
use edgefront_runtimes::{Registry, Search};

use super::child::{Worker, failure};
use super::{Assignment, Limits, NO_MACHINE_CODE, processors, utf8};
use crate::worker::message::{Answer, Feed, Load, Loaded, Order, WarmUp};

/// A worker that is loaded and warm.
pub(super) struct Ready {
    pub(super) worker: Worker,
    pub(super) loaded: Loaded,
    pub(super) runs: u32,
    pub(super) steady: bool,
    /// Of the last runs of the warm-up.
    pub(super) median: Nanos,
    pub(super) first_run: Option<Nanos>,
    /// From the start of the process on.
    pub(super) time: Duration,
}

/// A worker with a loaded artifact; `None` where it was to come from the disk and could not.
async fn start(order: &Load, limits: &Limits) -> Result<Option<(Worker, Loaded)>, Failure> {
    let mut worker = Worker::start(&limits.worker)?;
    let order = Order::Load(Box::new(order.clone()));
    match worker.ask(&order, Stage::Load, limits.load).await? {
        Answer::Loaded(loaded) => Ok(Some((worker, loaded))),
        Answer::NotCold => Ok(None),
        other => Err(surprise(Stage::Load, &other)),
    }
}

/// The time of each layer, in a worker of its own: what tells them may slow inferences down.
pub(super) async fn layers(
    order: &Load,
    inferences: u32,
    limits: &Limits,
) -> Result<Vec<LayerTime>, Failure> {
    let (mut worker, _) = start(order, limits).await?.ok_or_else(not_asked)?;
    let ask = Order::Profile { inferences };
    match worker.ask(&ask, Stage::Run, limits.run).await? {
        Answer::Layers(Some(layers)) => Ok(layers),
        Answer::Layers(None) => Err(failure(
            Stage::Run,
            format!("{} does not tell them", order.target.runtime),
        )),
        other => Err(surprise(Stage::Run, &other)),
    }
}

/// Refuses what no worker should be started for.
pub(super) fn allow(job: &Job, limits: &Limits) -> Result<(), String> {
    let positive = [job.target.threads, job.target.batch, job.plan.rounds];
    if positive.contains(&0) {
        return Err("threads, batch and rounds must be at least 1".to_owned());
    }
    let windows = job.plan.sustained.map(Plan::windows);
    if windows.is_some_and(|windows| windows < Plan::LEAST_WINDOWS) {
        return Err(format!(
            "a sustained run takes at least {} s",
            Plan::LEAST_WINDOWS
        ));
    }
    if windows.is_some() && matches!(job.plan.scenario, Scenario::Server { .. }) {
        return Err("a search for a rate has no sustained run".to_owned());
    }
    job.plan.scenario.inferences_per_query(&job.target)?;
    let registry = Registry::new(&Search {
        runtime_path: limits.runtime_path.clone(),
    });
    let runtime = registry
        .get(&job.target.runtime)
        .map_err(|error| error.to_string())?;
    // Before the next check, which believes the format: a runtime runs its artifact whatever the job calls it.
    let (formats, format) = (runtime.formats(), job.artifact.format.as_str());
    if !formats.contains(&format) {
        return Err(format!(
            "{} loads .{} files and no .{format}",
            runtime.name(),
            formats.join(", .")
        ));
    }
    if job.artifact.format == Format::So && !limits.machine_code {
        return Err(NO_MACHINE_CODE.to_owned());
    }
    Ok(())
}

/// How a job's artifact is loaded.
pub(super) fn order(assignment: &Assignment, feed: Feed, limits: &Limits) -> Result<Load, Failure> {
    let processors = processors::resolve(&limits.meters.system, assignment.job.plan.processors);
    Ok(Load {
        artifact: utf8(&assignment.artifact),
        target: assignment.job.target.clone(),
        inputs: assignment.job.inputs.clone(),
        runtime_path: limits.runtime_path.as_deref().map(utf8),
        kept_max: limits.kept_max,
        feed,
        scenario: assignment.job.plan.scenario,
        processors: processors.map_err(|why| failure(Stage::Load, why))?,
        cold: false,
        profile: false,
    })
}

/// A worker that says that its artifact was to come from the disk, where that was not asked for.
pub(super) fn not_asked() -> Failure {
    surprise(Stage::Load, &Answer::NotCold)
}

/// Starts a worker, loads the artifact and warms it up; `None` where it was to come from the disk and could not.
pub(super) async fn ready(order: &Load, warm_up: WarmUp, limits: &Limits) -> Result<Option<Ready>, Failure> {
    let begun = Instant::now();
    let Some((mut worker, loaded)) = start(order, limits).await? else {
        return Ok(None);
    };
    let warm = Order::WarmUp(warm_up);
    match worker.ask(&warm, Stage::Run, limits.run).await? {
        Answer::Warm {
            runs,
            steady,
            first,
            median,
        } => Ok(Some(Ready {
            worker,
            loaded,
            runs,
            steady,
            median,
            first_run: first,
            time: begun.elapsed(),
        })),
        other => Err(surprise(Stage::Run, &other)),
    }
}

pub(super) fn surprise(stage: Stage, answer: &Answer) -> Failure {
    failure(
        stage,
        format!("the worker answered an order with another's answer: {answer:?}"),
    )
}
