//! What people see of a running study: one progress bar a device; without a terminal, a line a job.

use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal as _;

use edgefront_protocol::{Bytes, DeviceId, JobId, JobState, Progress};
use indicatif::ProgressBar;

use crate::store::StoredJob;
use crate::ui::Ui;

#[derive(Debug)]
pub(super) struct View {
    bars: BTreeMap<DeviceId, ProgressBar>,
    names: HashMap<JobId, String>,
    /// Whether bars cannot be seen.
    lines: bool,
    /// Devices of which it was said that they are out of reach.
    away: Vec<DeviceId>,
}

impl View {
    pub(super) fn new(ui: &Ui, jobs: &[StoredJob]) -> Self {
        let mut counts: BTreeMap<&DeviceId, (u64, u64)> = BTreeMap::new();
        for job in jobs {
            let (ended, all) = counts.entry(&job.device).or_default();
            *ended += u64::from(job.outcome.is_some());
            *all += 1;
        }
        let bar = |(device, (ended, all)): (&DeviceId, (u64, u64))| {
            let bar = ui.bar(all, device.to_string());
            bar.set_position(ended);
            bar.set_message("waiting for the device");
            (device.clone(), bar)
        };
        let name = |job: &StoredJob| {
            let target = &job.job.target;
            let name = format!("{} on {}", job.job.variant, target.runtime);
            let details = [(target.threads, "threads"), (target.batch, "pictures")];
            let several = details.iter().filter(|(count, _)| *count > 1);
            let name = several.fold(name, |name, (count, of)| format!("{name}, {count} {of}"));
            (job.job.id.clone(), name)
        };
        Self {
            bars: counts.into_iter().map(bar).collect(),
            names: jobs.iter().map(name).collect(),
            lines: !std::io::stderr().is_terminal() && !ui.json(),
            away: Vec::new(),
        }
    }

    pub(super) fn step(&self, device: &DeviceId, progress: &Progress) {
        let name = self.names.get(&progress.job).map_or("", String::as_str);
        let text = match progress.state {
            JobState::Queued => "jobs are on the device".to_owned(),
            JobState::Fetching { have, total } => {
                format!("sending {name}: {} of {}", Bytes(have), Bytes(total))
            }
            JobState::Loading => format!("loading {name}"),
            JobState::Measuring { done, rounds } => format!("measuring {name}: round {done} of {rounds}"),
            JobState::Scoring => format!("scoring {name}"),
            _ => return,
        };
        if let Some(bar) = self.bars.get(device) {
            bar.set_message(text);
        }
    }

    pub(super) fn ended(&self, ui: &Ui, device: &DeviceId, job: &JobId, measured: bool) {
        let Some(bar) = self.bars.get(device) else { return };
        bar.inc(1);
        if self.lines {
            let name = self.names.get(job).map_or("a job", String::as_str);
            let how = if measured { "measured" } else { "failed" };
            let (ended, all) = (bar.position(), bar.length().unwrap_or_default());
            ui.note(format_args!("{device}: {how} {name} ({ended} of {all})"));
        }
    }

    pub(super) fn away(&mut self, ui: &Ui, device: &DeviceId) {
        ui.warn(format_args!("{device} is out of reach; waiting for it"));
        self.away.push(device.clone());
        self.tell(device, "out of reach");
    }

    pub(super) fn back(&mut self, ui: &Ui, device: &DeviceId) {
        if self.away.contains(device) {
            self.away.retain(|away| away != device);
            ui.note(format_args!("{device} is back"));
        }
        self.tell(device, "");
    }

    pub(super) fn gave_up(&mut self, ui: &Ui, device: &DeviceId) {
        ui.warn(format_args!(
            "{device} was out of reach for too long; its open jobs are given up"
        ));
        self.tell(device, "given up");
    }

    fn tell(&self, device: &DeviceId, message: &'static str) {
        if let Some(bar) = self.bars.get(device) {
            bar.set_message(message);
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        for bar in self.bars.values() {
            bar.finish_and_clear();
        }
    }
}
