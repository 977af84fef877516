//! What people see of a running study: one progress bar a device; without a terminal, a line a job.

use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal as _;

use edgefront_protocol::{Bytes, DeviceId, JobId, JobState, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use super::machine::Lost;
use super::steps::Steps;
use crate::store::StoredJob;
use crate::ui::Ui;

/// Leaves half of a line of 80 columns to the message.
const BAR: &str = "{prefix:12!} [{bar:16}] {percent:>3}% {wide_msg:.dim}";

#[derive(Debug)]
pub(super) struct View {
    boards: BTreeMap<DeviceId, Board>,
    names: HashMap<JobId, String>,
    /// Whether bars cannot be seen.
    lines: bool,
    /// Devices of which it was said that they are out of reach.
    away: Vec<DeviceId>,
}

/// What is shown of one device.
#[derive(Debug)]
struct Board {
    steps: Steps,
    bar: ProgressBar,
}

impl View {
    pub(super) fn new(ui: &Ui, jobs: &[StoredJob]) -> Self {
        let mut devices: BTreeMap<&DeviceId, Steps> = BTreeMap::new();
        for stored in jobs {
            let steps = devices.entry(&stored.device).or_default();
            steps.add(
                stored.job.id.clone(),
                stored.job.plan.rounds,
                stored.outcome.is_some(),
            );
        }
        let board = |(device, steps): (&DeviceId, Steps)| {
            let bar = ui.bar(steps.all(), device.to_string());
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_position(steps.done());
            bar.set_message("waiting for the device");
            (device.clone(), Board { steps, bar })
        };
        Self {
            boards: devices.into_iter().map(board).collect(),
            names: jobs
                .iter()
                .map(|stored| (stored.job.id.clone(), name(stored)))
                .collect(),
            lines: !std::io::stderr().is_terminal() && !ui.json(),
            away: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, device: &DeviceId, progress: &Progress) {
        let Some(board) = self.boards.get_mut(device) else {
            return;
        };
        board.steps.on_state(&progress.job, progress.state);
        board.bar.set_position(board.steps.done());
        let name = self.names.get(&progress.job).map_or("", String::as_str);
        // What changes stands first: the end may be cut off.
        board.bar.set_message(match progress.state {
            JobState::Queued => "jobs are on the device".to_owned(),
            JobState::Fetching { have, total } => {
                format!("{} of {} sent: {name}", Bytes(have), Bytes(total))
            }
            JobState::Loading => format!("loading {name}"),
            JobState::Measuring { .. } => board.steps.rounds(),
            JobState::Scoring => format!("scoring {name}"),
            _ => return,
        });
    }

    pub(super) fn ended(&mut self, ui: &Ui, device: &DeviceId, job: &JobId, measured: bool) {
        let Some(board) = self.boards.get_mut(device) else {
            return;
        };
        board.steps.end(job);
        board.bar.set_position(board.steps.done());
        if self.lines {
            let name = self.names.get(job).map_or("a job", String::as_str);
            let how = if measured { "measured" } else { "failed" };
            let (ended, all) = board.steps.ended();
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

    pub(super) fn gave_up(&mut self, ui: &Ui, device: &DeviceId, lost: Lost) {
        let how = match lost {
            Lost::OutOfReach => "was out of reach",
            Lost::NoBroker => "was out of reach, as the broker was,",
            Lost::Silent => "did not answer",
        };
        ui.warn(format_args!(
            "{device} {how} for too long; its open jobs are given up"
        ));
        self.tell(device, "given up");
    }

    fn tell(&self, device: &DeviceId, message: &'static str) {
        if let Some(board) = self.boards.get(device) {
            board.bar.set_message(message);
        }
    }
}

/// What people call a job.
fn name(stored: &StoredJob) -> String {
    let target = &stored.job.target;
    let name = format!("{} on {}", stored.job.variant, target.written());
    let details = [(target.threads, "threads"), (target.batch, "pictures")];
    let several = details.iter().filter(|(count, _)| *count > 1);
    several.fold(name, |name, (count, of)| format!("{name}, {count} {of}"))
}

impl Drop for View {
    fn drop(&mut self) {
        for board in self.boards.values() {
            board.bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{id, job};

    #[test]
    fn the_bar_moves_with_the_rounds() {
        let stored = ["j1", "j2"].map(|name| StoredJob {
            device: id("pi"),
            batch: id("b1"),
            seed: 0,
            job: job(name),
            outcome: None,
        });
        let ui = Ui::new(true);
        let mut view = View::new(&ui, &stored);
        let pi = id("pi");
        view.step(
            &pi,
            &Progress {
                batch: id("b1"),
                job: id("j1"),
                state: JobState::Measuring { done: 7, rounds: 10 },
            },
        );
        let bar = view.boards[&pi].bar.clone();
        assert_eq!((bar.position(), bar.length()), (7, Some(22)));
        assert_eq!(bar.message(), "1 job in turns, 7 of 10 rounds");
        view.ended(&ui, &pi, &id("j1"), true);
        view.ended(&ui, &pi, &id("j2"), false);
        assert_eq!(bar.position(), 22);
    }
}
