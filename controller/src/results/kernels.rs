//! Devices that answer differently though they ran the same file on the same runtime: their kernels differ.

use edgefront_protocol::Score;

use super::accuracy::same_predictions;
use super::build::Settled;

/// A line for each pair of devices that predicted a picture differently with the same artifact and target.
pub(super) fn findings(jobs: &[Settled]) -> Vec<String> {
    let mut findings = Vec::new();
    for (place, job) in jobs.iter().enumerate() {
        for other in &jobs[place + 1..] {
            let is_same = job.artifact == other.artifact && job.target == other.target;
            if !is_same || job.device == other.device {
                continue;
            }
            let finding = scores(job)
                .zip(scores(other))
                .and_then(|pair| finding(job, other, pair));
            findings.extend(finding.filter(|finding| !findings.contains(finding)));
        }
    }
    findings
}

fn scores(job: &Settled) -> Option<&Score> {
    job.result.as_ref().ok()?.score.as_ref()
}

fn finding(job: &Settled, other: &Settled, (own, others): (&Score, &Score)) -> Option<String> {
    let (same, all) = same_predictions(own, others)?;
    let differ = all - same;
    let [top1, others_top1] = [own, others].map(|score| {
        let pictures = score.predictions.len().max(1) as f64;
        100.0 * score.top1_hits as f64 / pictures
    });
    (differ > 0).then(|| {
        format!(
            "{} on {}: {} and {} differ on {differ} of {all} pictures ({:.2} %), with {top1:.2} and {others_top1:.2} % right; \
             it is the same file, so their kernels differ",
            job.variant,
            job.target.written(),
            job.device,
            other.device,
            100.0 * differ as f64 / all as f64
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::build::tests::settled;

    fn on(device: &str, predictions: &[u32]) -> Settled {
        let mut job = settled([1_000]);
        job.device = device.parse().unwrap();
        let score = job.result.as_mut().unwrap().score.as_mut().unwrap();
        score.predictions = predictions.to_vec();
        job
    }

    #[test]
    fn devices_that_answer_differently_are_told() {
        let jobs = [
            on("nuc", &[1, 2, 3, 4]),
            on("pi", &[1, 2, 3, 9]),
            on("orin", &[1, 2, 3, 4]),
        ];
        assert_eq!(
            findings(&jobs),
            [
                "fp32 on ort: nuc and pi differ on 1 of 4 pictures (25.00 %), with 75.00 and 75.00 % right; it is the same \
                 file, so their kernels differ",
                "fp32 on ort: pi and orin differ on 1 of 4 pictures (25.00 %), with 75.00 and 75.00 % right; it is the same \
                 file, so their kernels differ",
            ]
        );
        let mut other = on("pi", &[9, 9, 9, 9]);
        other.target.threads = 7;
        assert_eq!(findings(&[on("nuc", &[1, 2, 3, 4]), other]), [""; 0]);
    }
}
