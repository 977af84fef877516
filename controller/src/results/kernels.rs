//! Devices that answer differently though they ran the same file on the same target.

use edgefront_protocol::Measurement;

use super::accuracy::same_predictions;
use super::build::Settled;

/// A line for each artifact and target that devices predict a picture differently with than the first of them does.
pub(super) fn findings(jobs: &[Settled]) -> Vec<String> {
    let mut findings = Vec::new();
    // One that failed says nothing, and must not stand for its group.
    let jobs: Vec<&Settled> = jobs.iter().filter(|job| is_scored(job)).collect();
    for (place, &first) in jobs.iter().enumerate() {
        let is_same = |other: &&&Settled| other.artifact == first.artifact && other.target == first.target;
        if jobs[..place].iter().any(|earlier| is_same(&earlier)) {
            continue;
        }
        let others = jobs[place + 1..]
            .iter()
            .filter(is_same)
            .filter(|other| other.device != first.device);
        let mut differing: Vec<String> = Vec::new();
        for told in others.filter_map(|other| difference(first, other)) {
            if !differing.contains(&told) {
                differing.push(told);
            }
        }
        if !differing.is_empty() {
            findings.push(format!(
                "{} on {}: the same file does not answer alike everywhere. Beside {}: {}",
                first.variant,
                first.target.written(),
                first.device,
                differing.join("; ")
            ));
        }
    }
    findings
}

fn is_scored(job: &Settled) -> bool {
    job.result
        .as_ref()
        .is_ok_and(|measurement| measurement.score.is_some())
}

/// On how many pictures the other device differs, and why that may be; `None` where it does not, or is not scored.
fn difference(first: &Settled, other: &Settled) -> Option<String> {
    let [own, others] = [first, other].map(|job| job.result.as_ref().ok());
    let (own, others) = own.zip(others)?;
    let (same, all) = same_predictions(own.score.as_ref()?, others.score.as_ref()?)?;
    let ways = |measurement: &Measurement| {
        let (version, provider) = (&measurement.runtime_version, &measurement.provider);
        [format!("version {version}"), format!("provider {provider}")]
    };
    let mut ways = ways(own).into_iter().zip(ways(others));
    let why = match ways.find(|(own, others)| own != others) {
        Some((own, others)) => format!("{own} here, {others} there"),
        None => "kernels may differ between processors".to_owned(),
    };
    (same < all).then(|| {
        format!(
            "{} on {} of {all} pictures ({:.2} %; {why})",
            other.device,
            all - same,
            100.0 * (all - same) as f64 / all as f64
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
                "fp32 on ort: the same file does not answer alike everywhere. Beside nuc: pi on 1 of 4 pictures (25.00 %; kernels \
                 may differ between processors)"
            ]
        );
        let mut failed = on("nuc", &[1]);
        failed.result = Err(edgefront_protocol::Failure {
            stage: edgefront_protocol::Stage::Run,
            error: "lost".to_owned(),
        });
        let told = findings(&[failed, on("pi", &[1, 2, 3, 9]), on("orin", &[1, 2, 3, 4])]);
        assert!(told[0].contains("Beside pi: orin on 1 of 4"), "{told:?}");
        let mut newer = on("pi", &[1, 2, 3, 9]);
        newer.result.as_mut().unwrap().runtime_version = "1.33.0".to_owned();
        let told = findings(&[on("nuc", &[1, 2, 3, 4]), newer]);
        assert!(
            told[0].ends_with("pi on 1 of 4 pictures (25.00 %; version 1.32.0 here, version 1.33.0 there)"),
            "{told:?}"
        );
        let mut other = on("pi", &[9, 9, 9, 9]);
        other.target.threads = 7;
        assert_eq!(findings(&[on("nuc", &[1, 2, 3, 4]), other]), [""; 0]);
    }
}
