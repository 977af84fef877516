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
use edgefront_protocol::{Beside, ClassCount, PackBounds, Score, Worst};

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
    let of_classes: u64 = score.classes.iter().map(|class| u64::from(class.pictures)).sum();
    if !score.classes.is_empty() && of_classes != scored {
        return Err(format!(
            "the device counted {of_classes} pictures by their classes and scored {scored}"
        ));
    }
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
        reference: None,
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
    let pack = beside.pack;
    if let Some(why) = unsound(beside, own.samples) {
        return Err(format!(
            "what the device set beside a reference of {} pictures is no count: {why}",
            pack.pictures
        ));
    }
    let drop = (beside.lost as f64 - beside.won as f64) / own.samples as f64;
    let told = AccuracyRecord {
        agreement_reference: Some(rounded(beside.agreeing as f64 / own.samples as f64)),
        reference: Some(beside.by.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|by| !by.is_empty()),
        top1_drop: Some(rounded(drop)),
        top1_drop_ci95: Some(paired(beside.lost, beside.won, own.samples).map(rounded)),
        worst_output: beside.worst.as_ref().map(worst_output),
        ..own
    };
    match beside.bounds {
        Some(bounds) if told.samples < pack.pictures => Ok(of_part(&told, score, beside, bounds)),
        _ => Ok(told),
    }
}

/// The accuracy on the pack, of which a part was scored.
fn of_part(told: &AccuracyRecord, score: &Score, beside: &Beside, bounds: PackBounds) -> AccuracyRecord {
    let (pack, scored) = (beside.pack, score.predictions.len() as u64);
    let top1 = OfPack::new(
        pack.top1_hits,
        pack.pictures,
        beside.lost,
        beside.won,
        scored,
        lost(bounds.top1),
    );
    let top5 = OfPack::new(
        pack.top5_hits,
        pack.pictures,
        beside.top5_lost,
        beside.top5_won,
        scored,
        lost(bounds.top5),
    );
    // They are estimated apart.
    let top5_share = top5.share.max(top1.share);
    AccuracyRecord {
        top1: rounded(top1.share),
        top1_ci95: top1.ci95.map(rounded),
        top5: rounded(top5_share),
        top5_ci95: [top5.ci95[0], top5.ci95[1].max(top5_share)].map(rounded),
        pack_samples: Some(pack.pictures),
        top1_drop_ci95: Some(lost(bounds.top1).map(rounded)),
        // A class has too few pictures in a part, and each part has others.
        recall: Vec::new(),
        mean_recall: None,
        worst_recall: None,
        ..told.clone()
    }
}

/// What is lost where a difference is within these bounds.
fn lost([low, high]: [f64; 2]) -> [f64; 2] {
    [-high, -low]
}

/// A share on the whole pack by the difference estimator.
struct OfPack {
    share: f64,
    ci95: [f64; 2],
}

impl OfPack {
    /// Of a reference with so many `hits`, of which `scored` pictures lose and win some; `drop` bounds what the whole pack
    /// loses. The interval holds what of the pack is not known, and what the pack does not say of other pictures.
    fn new(hits: u64, pictures: u64, lost: u64, won: u64, scored: u64, drop: [f64; 2]) -> Self {
        let all = pictures as f64;
        let share = (hits as f64 / all - (lost as f64 - won as f64) / scored as f64).clamp(0.0, 1.0);
        let hits_at = |drop: f64| (hits as f64 - drop * all).round().clamp(0.0, all) as u64;
        let interval = |drop: f64| wilson::interval(hits_at(drop), pictures).unwrap_or([0.0, 1.0]);
        Self {
            share,
            ci95: [interval(drop[1])[0].min(share), interval(drop[0])[1].max(share)],
        }
    }
}

/// Why the counts of `scored` pictures cannot be; `None` where they can.
fn unsound(beside: &Beside, scored: u64) -> Option<&'static str> {
    let pack = beside.pack;
    let parts = [
        beside.lost,
        beside.won,
        beside.top5_lost,
        beside.top5_won,
        beside.agreeing,
    ];
    let is_bound =
        |[low, high]: [f64; 2]| low <= high && [low, high].iter().all(|end| end.abs() <= 1.0 + 1e-9);
    let is_finite = |worst: &Worst| {
        [worst.output, worst.reference, worst.magnitude]
            .iter()
            .all(|value| value.is_finite())
    };
    match () {
        () if parts.iter().any(|part| *part > scored) => Some("more pictures changed than were scored"),
        () if scored > pack.pictures => Some("more pictures were scored than the pack has"),
        () if pack.top1_hits > pack.top5_hits || pack.top5_hits > pack.pictures => {
            Some("the hits are more than the pictures")
        }
        () if beside
            .bounds
            .is_some_and(|of| !is_bound(of.top1) || !is_bound(of.top5)) =>
        {
            Some("the bounds are none")
        }
        () if beside.worst.as_ref().is_some_and(|worst| !is_finite(worst)) => Some("an output is not finite"),
        () => None,
    }
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
    classes.min_by(|a, b| a.recall.total_cmp(&b.recall).then(b.pictures.cmp(&a.pictures)))
}

fn worst_output(worst: &Worst) -> WorstOutputRecord {
    WorstOutputRecord {
        difference: rounded((f64::from(worst.output) - f64::from(worst.reference)).abs()),
        magnitude: rounded(f64::from(worst.magnitude)),
        picture: worst.picture,
        class: worst.class,
        pictures: worst.pictures,
    }
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::PackCounts;
    use proptest::prelude::*;

    use super::super::figures::impossible;
    use super::*;
    use crate::results::fixture;

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
            top5_lost: 3,
            top5_won: 1,
            agreeing: 7,
            pack: PackCounts {
                pictures: 1_000,
                top1_hits: 900,
                top5_hits: 990,
            },
            bounds: Some(PackBounds {
                top1: [-0.15, -0.05],
                top5: [-0.3, -0.1],
            }),
            worst: None,
            by: "ort\n 1.32.0".to_owned(),
        });
        let found = accuracy(&part, None).unwrap();
        // Half of these were hit, but they were hard for the reference, too.
        // Top-5 loses more of these, and cannot be below top-1.
        assert!(is(found.top1, 0.8) && is(found.top5, 0.8), "{found:?}");
        assert!(found.top5_ci95[0] <= 0.8 && found.top5_ci95[1] >= 0.8 && found.recall.is_empty());
        // Of the thousand, 690 to 890 are near by the bounds; the rest of the interval is what other pictures may do.
        assert!((0.65..0.69).contains(&found.top5_ci95[0]) && (0.89..0.92).contains(&found.top5_ci95[1]));
        assert_eq!(found.reference.as_deref(), Some("ort 1.32.0"));
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

    proptest! {
        #[test]
        fn every_part_of_a_pack_gives_figures_that_can_be(
            pictures in 20..2_000u64,
            shares in prop::array::uniform5(0.0..1.0f64),
            bounds in prop::array::uniform4(-1.0..1.0f64),
        ) {
            let part = |of: u64, share: f64| (of as f64 * share) as u64;
            let scored = part(pictures, shares[0]).max(1);
            let top5_hits = part(pictures, shares[1]);
            let lost = part(scored, shares[3]);
            let mut part_score = score(scored / 2, vec![0; scored as usize], (0..scored as u32).collect());
            part_score.beside = Some(Beside {
                lost,
                won: part(scored - lost, shares[4]),
                top5_lost: lost / 2,
                agreeing: scored / 3,
                pack: PackCounts {
                    pictures,
                    top1_hits: part(top5_hits, shares[2]),
                    top5_hits,
                },
                bounds: Some(PackBounds {
                    top1: [bounds[0].min(bounds[1]), bounds[0].max(bounds[1])],
                    top5: [bounds[2].min(bounds[3]), bounds[2].max(bounds[3])],
                }),
                ..Beside::default()
            });
            let mut results = fixture::results();
            results.records[0].accuracy = Some(accuracy(&part_score, None).unwrap());
            prop_assert_eq!(impossible(&results), None);
        }
    }

    #[test]
    fn classes_hold_each_picture_once() {
        let mut counted = score(1, vec![0; 4], Vec::new());
        let of = |pictures, hits| ClassCount { pictures, hits };
        counted.classes = vec![of(3, 1), of(1, 0)];
        assert!(accuracy(&counted, None).is_ok());
        counted.classes = vec![of(3, 1), of(2, 0)];
        assert_eq!(
            accuracy(&counted, None).unwrap_err(),
            "the device counted 5 pictures by their classes and scored 4"
        );
    }

    #[test]
    fn what_a_device_cannot_have_counted_is_refused() {
        let with = |change: &dyn Fn(&mut Beside)| {
            let mut scored = score(1, vec![0; 4], Vec::new());
            let mut beside = Beside {
                pack: PackCounts {
                    pictures: 4,
                    top1_hits: 2,
                    top5_hits: 3,
                },
                ..Beside::default()
            };
            change(&mut beside);
            scored.beside = Some(beside);
            accuracy(&scored, None)
        };
        assert!(with(&|_| {}).is_ok());
        assert!(with(&|beside| beside.won = 5).is_err());
        let bounds = |top1, top5| Some(PackBounds { top1, top5 });
        assert!(with(&|beside| beside.bounds = bounds([f64::NAN, 0.5], [0.0; 2])).is_err());
        assert!(with(&|beside| beside.bounds = bounds([0.0; 2], [0.5, -0.5])).is_err());
        assert!(with(&|beside| beside.pack.top1_hits = 9).is_err());
        let worst = Worst {
            pictures: 1,
            picture: 0,
            class: 0,
            output: f32::MAX,
            reference: f32::MIN,
            magnitude: f32::MAX,
        };
        let far = with(&|beside| beside.worst = Some(worst)).unwrap();
        assert!(far.worst_output.unwrap().difference.is_finite());
        assert!(
            with(&|beside| beside.worst = Some(Worst {
                output: f32::INFINITY,
                ..worst
            }))
            .is_err()
        );
    }

    #[test]
    fn a_margin_that_took_the_whole_pack_says_what_a_whole_pack_says() {
        let mut whole = score(3, vec![0; 4], vec![2, 0, 3, 1]);
        whole.beside = Some(Beside {
            lost: 1,
            agreeing: 3,
            pack: PackCounts {
                pictures: 4,
                top1_hits: 4,
                top5_hits: 4,
            },
            bounds: Some(PackBounds {
                top1: [-0.25, -0.25],
                top5: [0.0, 0.0],
            }),
            ..Beside::default()
        });
        let found = accuracy(&whole, None).unwrap();
        assert_eq!((found.top1, found.pack_samples), (0.75, None));
        let [low, high] = found.top1_drop_ci95.unwrap();
        assert!(low < 0.25 && high > 0.25, "{low} {high}");
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
