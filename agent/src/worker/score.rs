//! What a pack says of a model: hits, each class's recall, and how its answers differ from a reference's.

use std::ops::ControlFlow;

use edgefront_protocol::{Beside, ClassCount, Pack, PackBounds, Ppm, Reference, Score, Worst};
use edgefront_runtimes::{Port, Session};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::classify::{Answer, classify};
use super::paired::Sequence;

/// Labels within this many of the highest outputs count as hit.
const TOP: usize = 5;

/// Which pictures are scored, in which order, and what their answers are set beside.
pub(crate) struct Course {
    order: Vec<u32>,
    beside: Option<Reference>,
    /// What is known of the differences to it of top-1 and top-5, and within what the first is to be known.
    until: Option<([Sequence; 2], f64)>,
}

impl Course {
    /// All pictures in their order; or, with a margin, pictures in an order shuffled by `seed` until the difference of
    /// top-1 to the reference's is known within it.
    pub(crate) fn new(
        pictures: usize,
        beside: Option<Reference>,
        margin: Option<Ppm>,
        seed: u64,
    ) -> Result<Self, String> {
        if let Some(reference) = beside.as_ref().filter(|reference| reference.len() != pictures) {
            return Err(format!(
                "the reference has {} pictures and the data set {pictures}",
                reference.len()
            ));
        }
        let mut order: Vec<u32> = (0..pictures as u32).collect();
        let until = match (margin, &beside) {
            (None, _) => None,
            (Some(_), None) => {
                return Err(
                    "accuracy within a margin is that beside a reference, and the job has none".to_owned(),
                );
            }
            (Some(margin), Some(reference)) => {
                order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
                let counts = reference.counts();
                let of = |hits| Sequence::new(counts.pictures, hits);
                let sequences = [counts.top1_hits, counts.top5_hits].map(of);
                Some((sequences, margin.as_fraction()))
            }
        };
        Ok(Self { order, beside, until })
    }
}

/// Runs the pictures of `course` through the session. The error is one line.
pub(crate) fn score(
    session: &mut dyn Session,
    ports: &[Port],
    batch: usize,
    pack: &Pack,
    course: Course,
    alive: impl FnMut() -> Result<(), String>,
) -> Result<Score, String> {
    let Course {
        order,
        beside,
        until: mut known,
    } = course;
    let mut score = Score::default();
    let mut comparison = beside.as_ref().map(Comparison::new);
    let take = |answer: Answer<'_>| {
        let [is_hit, is_near] = count(&mut score, &answer);
        if let Some(comparison) = &mut comparison {
            comparison.take(&answer, [is_hit, is_near])?;
        }
        let (Some(([top1, top5], margin)), Some(reference)) = (&mut known, &beside) else {
            return Ok(ControlFlow::Continue(()));
        };
        score.pictures.push(answer.picture as u32);
        let [was_hit, was_near] = reference.hits(answer.picture);
        top1.take(is_hit, was_hit);
        top5.take(is_near, was_near);
        Ok(if top1.doubt() <= *margin {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    };
    classify(session, ports, batch, pack, &order, take, alive)?;
    score.beside = comparison.map(|comparison| comparison.beside);
    if let (Some(beside), Some(([top1, top5], _))) = (&mut score.beside, known) {
        beside.bounds = Some(PackBounds {
            top1: top1.bounds(),
            top5: top5.bounds(),
        });
    }
    Ok(score)
}

/// Counts the answer; whether the label has the highest output, and one of the five highest.
fn count(score: &mut Score, answer: &Answer<'_>) -> [bool; 2] {
    let rank = answer.rank();
    score.top1_hits += u64::from(rank == 0);
    score.top5_hits += u64::from(rank < TOP);
    score.predictions.push(answer.prediction() as u32);
    score.classes.resize(answer.outputs.len(), ClassCount::default());
    let class = &mut score.classes[answer.label];
    class.pictures += 1;
    class.hits += u32::from(rank == 0);
    [rank == 0, rank < TOP]
}

/// Answers beside those of a reference.
struct Comparison<'a> {
    reference: &'a Reference,
    beside: Beside,
}

impl<'a> Comparison<'a> {
    fn new(reference: &'a Reference) -> Self {
        Self {
            reference,
            beside: Beside {
                pack: reference.counts(),
                by: reference.by().to_owned(),
                ..Beside::default()
            },
        }
    }

    fn take(&mut self, answer: &Answer<'_>, [is_hit, is_near]: [bool; 2]) -> Result<(), String> {
        let Self { reference, beside } = self;
        if answer.outputs.len() != reference.classes() as usize {
            return Err(format!(
                "the model has {} classes and its reference {}",
                answer.outputs.len(),
                reference.classes()
            ));
        }
        let [was_hit, was_near] = reference.hits(answer.picture);
        beside.top1_hits += u64::from(was_hit);
        beside.top5_hits += u64::from(was_near);
        beside.lost += u64::from(was_hit && !is_hit);
        beside.won += u64::from(is_hit && !was_hit);
        beside.top5_lost += u64::from(was_near && !is_near);
        beside.top5_won += u64::from(is_near && !was_near);
        let is_same = reference.prediction(answer.picture) == Some(answer.prediction() as u32);
        beside.agreeing += u64::from(is_same);
        if let Some(outputs) = reference.outputs(answer.picture) {
            beside.worst = Some(worse(beside.worst, answer, outputs));
        }
        Ok(())
    }
}

/// The worst so far, or one of this picture.
fn worse(so_far: Option<Worst>, answer: &Answer<'_>, outputs: &[f32]) -> Worst {
    let mut worst = so_far.unwrap_or(Worst {
        pictures: 0,
        picture: answer.picture as u32,
        class: 0,
        output: answer.outputs[0],
        reference: outputs[0],
        magnitude: 0.0,
    });
    worst.pictures += 1;
    for (class, (&output, &reference)) in answer.outputs.iter().zip(outputs).enumerate() {
        worst.magnitude = worst.magnitude.max(reference.abs());
        // In a wider type, for logits may be as large as the type.
        let difference = |a: f32, b: f32| (f64::from(a) - f64::from(b)).abs();
        if difference(output, reference) > difference(worst.output, worst.reference) {
            worst = Worst {
                picture: answer.picture as u32,
                class: class as u32,
                output,
                reference,
                ..worst
            };
        }
    }
    worst
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use edgefront_protocol::PictureShape;
    use edgefront_runtimes::{DataType, Error, Floats, Tensor};

    use super::*;

    /// A model whose output is its input: pictures of one pixel with a channel a class.
    struct Echo(Option<Tensor>);

    impl Session for Echo {
        fn bind(&mut self, inputs: &[Tensor]) -> Result<(), Error> {
            self.0 = Some(inputs[0].clone());
            Ok(())
        }

        fn run(&mut self) -> Result<(), Error> {
            Ok(())
        }

        fn fetch(&mut self) -> Result<Vec<Tensor>, Error> {
            Ok(self.0.clone().into_iter().collect())
        }

        fn floats(&self, output: usize) -> Option<Floats<'_>> {
            self.0.iter().nth(output)?.floats()
        }
    }

    const CLASSES: usize = 6;

    fn score_of(pictures: &[[f32; CLASSES]], labels: &[i64], batch: usize) -> Result<Score, String> {
        score_in(pictures, labels, batch, |pack| {
            Course::new(pack.len(), None, None, 0)
        })
    }

    fn score_in(
        pictures: &[[f32; CLASSES]],
        labels: &[i64],
        batch: usize,
        course: impl FnOnce(&Pack) -> Result<Course, String>,
    ) -> Result<Score, String> {
        let picture = PictureShape {
            channels: CLASSES,
            height: 1,
            width: 1,
        };
        let pack = Pack::from_floats(pictures.len(), picture, pictures.as_flattened())
            .and_then(|pack| pack.with_labels(labels.to_vec()))
            .unwrap();
        let ports = [Port {
            name: "x".to_owned(),
            data_type: DataType::F32,
            shape: vec![batch, CLASSES, 1, 1],
        }];
        let course = course(&pack)?;
        score(&mut Echo(None), &ports, batch, &pack, course, || Ok(()))
    }

    #[test]
    fn hits_are_counted_by_hand() {
        let falling = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0];
        let labels = [0, 1, 4, 5];
        for batch in 1..6 {
            let score = score_of(&[falling; 4], &labels, batch).unwrap();
            assert_eq!((score.top1_hits, score.top5_hits), (1, 3), "batch {batch}");
            assert_eq!(score.predictions, [0; 4]);
        }
    }

    #[test]
    fn recall_is_counted_by_class() {
        let falling = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0];
        let score = score_of(&[falling; 4], &[0, 0, 2, 0], 3).unwrap();
        let of = |pictures, hits| ClassCount { pictures, hits };
        let none = of(0, 0);
        assert_eq!(score.classes, [of(3, 3), none, of(1, 0), none, none, none]);
    }

    /// Answers of a class each, with a 1 for it and 0 for the others.
    fn answers(predictions: &[usize]) -> Vec<[f32; CLASSES]> {
        let one = |&class: &usize| {
            let mut outputs = [0.0; CLASSES];
            outputs[class] = 1.0;
            outputs
        };
        predictions.iter().map(one).collect()
    }

    /// What a model with these predictions says of pictures with these labels.
    fn reference(predictions: &[usize], labels: &[i64]) -> Reference {
        let mut reference = Reference::new(CLASSES as u32, "ort 1.32.0".to_owned());
        for ((outputs, &prediction), &label) in answers(predictions).iter().zip(predictions).zip(labels) {
            let rank = u32::from(prediction as i64 != label) * 5;
            reference.push(prediction as u32, rank, outputs);
        }
        reference
    }

    #[test]
    fn answers_are_set_beside_those_of_the_reference() {
        let labels = [0, 1, 2, 3];
        let beside = reference(&[0, 1, 5, 5], &labels);
        // Loses the second, wins the third, and shares the mistake of the last.
        let mut pictures = answers(&[0, 4, 2, 5]);
        pictures[3][1] = -3.5;
        let course = |pack: &Pack| Course::new(pack.len(), Some(beside.clone()), None, 0);
        let beside = score_in(&pictures, &labels, 3, course).unwrap().beside.unwrap();
        assert_eq!(
            (beside.top1_hits, beside.lost, beside.won, beside.agreeing),
            (2, 1, 1, 2)
        );
        assert_eq!(beside.by, "ort 1.32.0");
        assert_eq!(
            (beside.pack.pictures, beside.pack.top1_hits, beside.bounds),
            (4, 2, None)
        );
        let worst = Worst {
            pictures: 4,
            picture: 3,
            class: 1,
            output: -3.5,
            reference: 0.0,
            magnitude: 1.0,
        };
        assert_eq!(beside.worst, Some(worst));
    }

    #[test]
    fn scoring_ends_where_the_difference_is_known() {
        let labels: Vec<i64> = (0..2_000).map(|picture| picture % CLASSES as i64).collect();
        let predictions: Vec<usize> = labels.iter().map(|&label| label as usize).collect();
        let beside = reference(&predictions, &labels);
        let within = |margin, seed| {
            let course = |pack: &Pack| Course::new(pack.len(), Some(beside.clone()), Some(Ppm(margin)), seed);
            score_in(&answers(&predictions), &labels, 7, course).unwrap()
        };
        let score = within(50_000, 3);
        assert!(
            (50..1_000).contains(&score.predictions.len()),
            "{}",
            score.predictions.len()
        );
        assert_eq!(score.pictures.len(), score.predictions.len());
        let bounds = score.beside.as_ref().unwrap().bounds.unwrap();
        for [low, high] in [bounds.top1, bounds.top5] {
            assert!(low <= 0.0 && high >= 0.0 && high - low <= 0.1, "{low} {high}");
        }
        // The order is the seed's.
        assert_eq!(score, within(50_000, 3));
        assert_ne!(score.pictures, within(50_000, 4).pictures);
        let mut all = within(0, 3).pictures;
        all.sort_unstable();
        assert_eq!(all, (0..2_000).collect::<Vec<u32>>());
    }

    #[test]
    fn a_reference_that_does_not_fit_is_refused() {
        let labels = [0, 1];
        let refused = |beside: Option<Reference>, margin| {
            let course = |pack: &Pack| Course::new(pack.len(), beside, margin, 0);
            score_in(&answers(&[0, 1]), &labels, 1, course).unwrap_err()
        };
        let mut narrow = Reference::new(3, String::new());
        narrow.push(0, 0, &[0.0; 3]);
        narrow.push(0, 0, &[0.0; 3]);
        let said = [
            refused(Some(reference(&[0], &labels)), None),
            refused(Some(narrow), None),
            refused(None, Some(Ppm(5))),
        ];
        insta::assert_snapshot!(said.join("\n"), @"
        the reference has 1 pictures and the data set 2
        the model has 6 classes and its reference 3
        accuracy within a margin is that beside a reference, and the job has none
        ");
    }

    #[test]
    fn of_equal_outputs_the_lowest_class_comes_first() {
        let score = score_of(&[[0.0; CLASSES]; 2], &[0, 5], 1).unwrap();
        assert_eq!((score.top1_hits, score.top5_hits), (1, 1));
        assert_eq!(score.predictions, [0, 0]);
    }

    #[test]
    fn a_label_beyond_the_classes_is_an_error() {
        let error = score_of(&[[0.0; CLASSES]; 2], &[0, 6], 1).unwrap_err();
        assert!(
            error.starts_with("label 6 of picture 1 is out of range"),
            "{error}"
        );
    }

    #[test]
    fn an_output_that_is_not_finite_is_an_error() {
        for (value, shown) in [
            (f32::NAN, "NaN"),
            (f32::INFINITY, "inf"),
            (f32::NEG_INFINITY, "-inf"),
        ] {
            let mut pictures = [[0.0; CLASSES]; 3];
            pictures[2][3] = value;
            let error = score_of(&pictures, &[0; 3], 2).unwrap_err();
            let begin = format!("the model's output for picture 2 holds {shown}, ");
            assert!(error.starts_with(&begin), "{error}");
        }
    }
}
