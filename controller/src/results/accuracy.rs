//! Accuracy and its error, from what a device counted.
//!
//! Where a part of the pack was scored, its top-1 is the *difference estimator* (Cochran, Sampling Techniques, 7.9): the
//! reference's on the whole pack, which is known, and the mean difference to it on that part. So variants that were scored
//! on different parts are compared by their differences, and not by how hard their pictures were.
//!
//! The interval of the difference of two shares of the same `n` pictures, of which one model alone has `b` right and the
//! other alone `c`, is that of A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched
//! proportions", Statistics in Medicine 24 (2005): with half a picture in each of the four cells, `d ± 1.96 s`, where
//! `d = (b - c) / n` and `s = sqrt(b + c - (b - c)^2 / n) / n`.

use std::collections::HashMap;

use edgefront_protocol::results::{AccuracyRecord, ClassRecord, WorstOutputRecord};
use edgefront_protocol::{Beside, ClassCount, Score, Worst};

use super::build::rounded;
use crate::stats::wilson;

/// 97.5 % quantile of the normal distribution.
const Z95: f64 = 1.959_964;

/// The accuracy of a score, with how far it agrees with `fp32`, which a device scored as well. The error is one line.
pub(super) fn accuracy(score: &Score, fp32: Option<&Score>) -> Result<AccuracyRecord, String> {
    let scored = score.predictions.len() as u64;
    let rate = |hits: u64| {
        let interval = wilson::interval(hits, scored)
            .ok_or_else(|| format!("the device counted {hits} hits on {scored} pictures"))?;
        Ok::<_, String>((rounded(hits as f64 / scored as f64), interval.map(rounded)))
    };
    let (top1, top1_ci95) = rate(score.top1_hits)?;
    let (top5, top5_ci95) = rate(score.top5_hits)?;
    let agreement_fp32 = fp32.map(|fp32| agreement(score, fp32)).transpose()?;
    let recall = score.classes.iter().copied().map(recall).collect::<Vec<_>>();
    let whole = AccuracyRecord {
        top1,
        top5,
        samples: scored,
        top1_ci95,
        top5_ci95,
        agreement_fp32,
        pack_samples: None,
        agreement_reference: None,
        top1_drop: None,
        top1_drop_ci95: None,
        mean_recall: mean(&recall),
        recall,
        worst_recall: worst_recall(&score.classes),
        worst_output: None,
    };
    match &score.beside {
        Some(beside) => compared(whole, score, beside),
        None => Ok(whole),
    }
}

/// The same with what the reference says.
fn compared(own: AccuracyRecord, score: &Score, beside: &Beside) -> Result<AccuracyRecord, String> {
    let (scored, pack) = (own.samples as f64, beside.pack);
    let is_sound =
        beside.lost.max(beside.won).max(beside.agreeing) <= own.samples && own.samples <= pack.pictures;
    if !is_sound {
        return Err(format!(
            "the device set {} answers beside a reference of {} pictures and counted {} of them as changed",
            own.samples,
            pack.pictures,
            beside.lost.saturating_add(beside.won)
        ));
    }
    let drop = (beside.lost as f64 - beside.won as f64) / scored;
    let told = AccuracyRecord {
        agreement_reference: Some(rounded(beside.agreeing as f64 / scored)),
        top1_drop: Some(rounded(drop)),
        top1_drop_ci95: Some(paired(beside.lost, beside.won, own.samples).map(rounded)),
        worst_output: beside.worst.as_ref().map(worst_output),
        ..own
    };
    let (false, Some([low, high])) = (score.pictures.is_empty(), beside.bounds) else {
        return Ok(told);
    };
    let rate = |hits: u64| hits as f64 / pack.pictures as f64;
    let share = |share: f64| rounded(share.clamp(0.0, 1.0));
    let top1 = rate(pack.top1_hits);
    let top5 = rate(pack.top5_hits) + (score.top5_hits as f64 - beside.top5_hits as f64) / scored;
    // What the pack's top-1 may be, and what that says of pictures like those of the pack.
    let ends = [low, high]
        .map(|end| (((top1 + end) * pack.pictures as f64).round().max(0.0) as u64).min(pack.pictures));
    let ends = ends.map(|hits| wilson::interval(hits, pack.pictures).unwrap_or([0.0, 1.0]));
    Ok(AccuracyRecord {
        top1: share(top1 - drop),
        top5: share(top5),
        top1_ci95: [rounded(ends[0][0]), rounded(ends[1][1])],
        pack_samples: Some(pack.pictures),
        top1_drop_ci95: Some([-high, -low].map(rounded)),
        ..told
    })
}

/// The interval of the share of pictures that were lost less that of those that were won.
fn paired(lost: u64, won: u64, pictures: u64) -> [f64; 2] {
    let (lost, won, pictures) = (lost as f64 + 0.5, won as f64 + 0.5, pictures as f64 + 2.0);
    let middle = (lost - won) / pictures;
    let half = Z95 * (lost + won - (lost - won).powi(2) / pictures).sqrt() / pictures;
    [(middle - half).max(-1.0), (middle + half).min(1.0)]
}

/// The share of pictures with the same prediction, of those that both have.
fn agreement(score: &Score, fp32: &Score) -> Result<f64, String> {
    let same = same_predictions(score, fp32).ok_or_else(|| {
        format!(
            "the device predicted {} pictures and the FP32 model {}",
            score.predictions.len(),
            fp32.predictions.len()
        )
    })?;
    Ok(rounded(same.0 as f64 / same.1 as f64))
}

/// Of the pictures that both predicted, those with the same prediction and all; `None` where they cannot be told, or there
/// is none.
pub(super) fn same_predictions(a: &Score, b: &Score) -> Option<(usize, usize)> {
    let pairs: Vec<(u32, u32)> = if a.pictures.is_empty() && b.pictures.is_empty() {
        if a.predictions.len() != b.predictions.len() {
            return None;
        }
        a.predictions
            .iter()
            .copied()
            .zip(b.predictions.iter().copied())
            .collect()
    } else {
        let of_b: HashMap<u32, u32> = numbered(b)?.collect();
        numbered(a)?
            .filter_map(|(picture, own)| Some((own, *of_b.get(&picture)?)))
            .collect()
    };
    let same = pairs.iter().filter(|(a, b)| a == b).count();
    (!pairs.is_empty()).then_some((same, pairs.len()))
}

/// Each picture's number with its prediction; `None` where there is not one number a prediction.
fn numbered(score: &Score) -> Option<impl Iterator<Item = (u32, u32)>> {
    let numbers: Vec<u32> = if score.pictures.is_empty() {
        (0..score.predictions.len() as u32).collect()
    } else {
        score.pictures.clone()
    };
    let fits = numbers.len() == score.predictions.len();
    fits.then(|| numbers.into_iter().zip(score.predictions.iter().copied()))
}

fn recall(class: ClassCount) -> Option<f64> {
    (class.pictures > 0).then(|| rounded(f64::from(class.hits) / f64::from(class.pictures)))
}

fn mean(recall: &[Option<f64>]) -> Option<f64> {
    let known: Vec<f64> = recall.iter().flatten().copied().collect();
    (!known.is_empty()).then(|| rounded(known.iter().sum::<f64>() / known.len() as f64))
}

fn worst_recall(classes: &[ClassCount]) -> Option<ClassRecord> {
    let classes = classes.iter().copied().enumerate();
    let classes = classes.filter_map(|(class, count)| {
        Some(ClassRecord {
            class: class as u32,
            recall: recall(count)?,
            pictures: count.pictures,
        })
    });
    classes.min_by(|a, b| a.recall.total_cmp(&b.recall))
}

fn worst_output(worst: &Worst) -> WorstOutputRecord {
    WorstOutputRecord {
        difference: rounded(f64::from((worst.output - worst.reference).abs())),
        magnitude: rounded(f64::from(worst.magnitude)),
        picture: worst.picture,
        class: worst.class,
        pictures: worst.pictures,
    }
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::PackCounts;

    use super::*;

    fn score(hits: u64, predictions: Vec<u32>, pictures: Vec<u32>) -> Score {
        Score {
            top1_hits: hits,
            top5_hits: hits,
            predictions,
            pictures,
            ..Score::default()
        }
    }

    fn is(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-6
    }

    #[test]
    fn the_interval_of_matched_shares_is_that_of_the_paper() {
        // Lost 16, won 10 of 100: by hand (16.5 - 10.5) / 102 and sqrt(27 - 36 / 102) / 102.
        let [low, high] = paired(16, 10, 100);
        assert!(
            is(low, 6.0 / 102.0 - Z95 * 0.050_608_6) && is(high, 6.0 / 102.0 + Z95 * 0.050_608_6),
            "{low} {high}"
        );
        assert_eq!(paired(1, 1, 1).map(|end| end.abs() <= 1.0), [true, true]);
    }

    #[test]
    fn a_part_of_the_pack_is_compared_with_the_reference_on_the_same_part() {
        let mut part = score(5, vec![0; 10], (0..10).collect());
        part.beside = Some(Beside {
            top1_hits: 6,
            top5_hits: 7,
            lost: 2,
            won: 1,
            agreeing: 7,
            pack: PackCounts {
                pictures: 1_000,
                top1_hits: 900,
                top5_hits: 990,
            },
            bounds: Some([-0.15, -0.05]),
            worst: None,
        });
        let found = accuracy(&part, None).unwrap();
        // Half of these were hit, but they were hard for the reference, too.
        assert!(is(found.top1, 0.8) && is(found.top5, 0.79), "{found:?}");
        assert_eq!((found.samples, found.pack_samples), (10, Some(1_000)));
        assert!(is(found.top1_drop.unwrap(), 0.1) && is(found.agreement_reference.unwrap(), 0.7));
        assert_eq!(found.top1_drop_ci95, Some([0.05, 0.15]));
        let [low, high] = found.top1_ci95;
        assert!(
            (0.71..0.75).contains(&low) && (0.85..0.88).contains(&high),
            "{low} {high}"
        );
        part.beside.as_mut().unwrap().lost = 11;
        assert!(accuracy(&part, None).is_err());
    }

    #[test]
    fn predictions_are_paired_by_picture() {
        let whole = score(0, vec![3, 1, 4, 1, 5], Vec::new());
        assert_eq!(
            same_predictions(&whole, &score(0, vec![5, 9, 3], vec![4, 2, 0])),
            Some((2, 3))
        );
        assert_eq!(same_predictions(&whole, &whole), Some((5, 5)));
        assert_eq!(same_predictions(&whole, &score(0, vec![3, 1], Vec::new())), None);
        assert_eq!(same_predictions(&whole, &score(0, vec![3, 1], vec![0])), None);
        assert_eq!(same_predictions(&whole, &score(0, vec![3], vec![9])), None);
    }

    #[test]
    fn recall_is_told_of_classes_that_have_pictures() {
        let mut scored = score(3, vec![0; 6], Vec::new());
        let class = |pictures, hits| ClassCount { pictures, hits };
        scored.classes = vec![class(4, 3), class(0, 0), class(2, 0)];
        let found = accuracy(&scored, None).unwrap();
        assert_eq!(found.recall, [Some(0.75), None, Some(0.0)]);
        assert_eq!(found.mean_recall, Some(0.375));
        let worst = ClassRecord {
            class: 2,
            recall: 0.0,
            pictures: 2,
        };
        assert_eq!(found.worst_recall, Some(worst));
    }
}
