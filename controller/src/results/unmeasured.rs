//! Devices that took part and have no measurement, and why.

use edgefront_protocol::results::{FailedJob, Results};

/// The stage of what failed because its device was not there.
pub const DEVICE: &str = "device";

/// A device without a measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmeasured<'a> {
    /// The device.
    pub device: &'a str,
    /// Why, in one line.
    pub why: String,
    /// What failed, where that is not all told by `why`.
    pub failed: Vec<&'a FailedJob>,
}

/// The devices that the results know and have no record of, in the order in which they are named.
pub fn unmeasured(results: &Results) -> Vec<Unmeasured<'_>> {
    let known = results.devices.iter().map(|device| device.id.as_str());
    let failed = results.failed.iter().map(|failed| failed.device.as_str());
    let mut devices: Vec<&str> = Vec::new();
    for device in known.chain(failed).filter(|device| !device.is_empty()) {
        let is_measured = results.records.iter().any(|record| record.device == device);
        if !is_measured && !devices.contains(&device) {
            devices.push(device);
        }
    }
    devices
        .into_iter()
        .map(|device| explained(device, of_device(results, device)))
        .collect()
}

/// What failed on a device.
pub fn of_device<'a>(results: &'a Results, device: &str) -> Vec<&'a FailedJob> {
    let failed = results.failed.iter();
    failed.filter(|failed| failed.device == device).collect()
}

fn explained<'a>(device: &'a str, failed: Vec<&'a FailedJob>) -> Unmeasured<'a> {
    let (why, failed) = match failed[..] {
        [] => ("none of its jobs has ended".to_owned(), Vec::new()),
        // A lost device loses all its jobs for one reason.
        [first, ..]
            if failed
                .iter()
                .all(|other| is_of_device(other) && other.error == first.error) =>
        {
            (first.error.clone(), Vec::new())
        }
        _ => ("everything failed".to_owned(), failed),
    };
    Unmeasured { device, why, failed }
}

/// Whether the device itself failed, and not one of its jobs.
fn is_of_device(failed: &FailedJob) -> bool {
    failed.stage == DEVICE || failed.variant.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    fn failed(device: &str, variant: &str, error: &str) -> FailedJob {
        FailedJob {
            study: None,
            device: device.into(),
            variant: variant.into(),
            runtime: "tract".into(),
            threads: None,
            batch: None,
            scenario: None,
            cpus: None,
            stage: if error == "out of reach" { DEVICE } else { "run" }.into(),
            error: error.into(),
        }
    }

    #[test]
    fn a_device_is_listed_once_with_its_reason_and_measured_ones_are_not() {
        let mut results = fixture::results();
        results.records.retain(|record| record.device == "local");
        results.failed = vec![
            failed("local", "fp16", "no such operator"),
            failed("orin", "fp32", "out of reach"),
            failed("orin", "fp16", "out of reach"),
            failed("nano", "fp32", "out of memory"),
            failed("nano", "fp16", "no such operator"),
            failed("", "prune50", "cannot be made"),
        ];
        let found = unmeasured(&results);
        let told: Vec<(&str, &str, usize)> = found
            .iter()
            .map(|device| (device.device, device.why.as_str(), device.failed.len()))
            .collect();
        assert_eq!(
            told,
            [
                ("pi-kitchen", "none of its jobs has ended", 0),
                ("orin", "out of reach", 0),
                ("nano", "everything failed", 2),
            ]
        );
    }
}
