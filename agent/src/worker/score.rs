//! Top-1 and top-5 over a pack.

use std::cmp::Ordering;

use edgefront_protocol::{Pack, PictureShape, Score};
use edgefront_runtimes::{Data, Port, Session, Tensor, classes};

use super::inputs;

/// Labels within this many of the highest outputs count as hit.
const TOP: usize = 5;

/// Runs every picture of `pack` through the session; the first output holds one value a class. The last batch
/// is filled up with its last picture. `alive` is called after each batch. The error is one line.
pub(crate) fn score(
    session: &mut dyn Session,
    ports: &[Port],
    batch: usize,
    pack: &Pack,
    mut alive: impl FnMut() -> Result<(), String>,
) -> Result<Score, String> {
    let mut score = Score {
        top1_hits: 0,
        top5_hits: 0,
        predictions: Vec::with_capacity(pack.len()),
        ..Score::default()
    };
    let mut known = None;
    for start in (0..pack.len()).step_by(batch) {
        let count = batch.min(pack.len() - start);
        let input = picture_batch(pack, start, batch);
        let PictureShape {
            channels,
            height,
            width,
        } = pack.picture();
        let input = inputs::pictures([channels, height, width], input, ports).map_err(|e| e.to_string())?;
        session.bind(&[input]).map_err(|e| e.to_string())?;
        session.run().map_err(|e| e.to_string())?;
        let outputs = session.fetch().map_err(|e| e.to_string())?;
        let (classes, values) = class_values(outputs.into_iter().next(), batch)?;
        let labels = match known {
            // That looks at every label, so it is done once and not for each batch.
            Some((for_classes, labels)) if for_classes == classes => labels,
            _ => pack.labels_for(classes).map_err(|e| e.to_string())?,
        };
        known = Some((classes, labels));
        for (index, values) in (start..start + count).zip(values.chunks_exact(classes)) {
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(format!(
                    "the model's output for picture {index} holds {value}, so its classes have no order; look \
                     for weights that are no numbers with `edgefront check`, or for an overflow in half precision"
                ));
            }
            let label = labels[index] as usize;
            let rank = rank_of(values, label);
            score.top1_hits += u64::from(rank == 0);
            score.top5_hits += u64::from(rank < TOP);
            score.predictions.push(highest(values) as u32);
        }
        alive()?;
    }
    Ok(score)
}

/// `batch` pictures from `start` on; past the end the last one is repeated.
pub(crate) fn picture_batch(pack: &Pack, start: usize, batch: usize) -> Vec<f32> {
    let mut values = pack.input(start..start + batch);
    let volume = pack.picture().volume();
    let last = values.len().saturating_sub(volume)..values.len();
    while values.len() < batch * volume {
        values.extend_from_within(last.clone());
    }
    values
}

/// How many classes the output has, and it as `[batch, classes]` in `f32`.
fn class_values(output: Option<Tensor>, batch: usize) -> Result<(usize, Vec<f32>), String> {
    let (shape, data) = output.ok_or("the model has no output")?.into_parts();
    let wrong = |what: &str| {
        Err(format!(
            "the model's first output is {what}, and accuracy is counted on floats of shape [batch, classes]; \
             give a classifier"
        ))
    };
    let Some(classes) = classes(&shape, batch) else {
        return wrong(&format!("{shape:?} for a batch of {batch}"));
    };
    match data {
        Data::F32(values) => Ok((classes, values)),
        Data::F16(values) => Ok((classes, values.into_iter().map(half::f16::to_f32).collect())),
        other => wrong(&format!("of {}", other.data_type())),
    }
}

/// How many classes come before `label`: those with a higher output, and equal ones with a lower index.
fn rank_of(values: &[f32], label: usize) -> usize {
    let before = |(class, value): &(usize, &f32)| match value.partial_cmp(&&values[label]) {
        Some(Ordering::Greater) => true,
        Some(Ordering::Equal) => *class < label,
        Some(Ordering::Less) | None => false,
    };
    values.iter().enumerate().filter(before).count()
}

/// The class with the highest output, the lowest of equal ones.
fn highest(values: &[f32]) -> usize {
    let better = |best: usize, class: usize| if values[class] > values[best] { class } else { best };
    (1..values.len()).fold(0, better)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use edgefront_runtimes::{DataType, Error, Floats};
    use proptest::prelude::*;

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

    #[test]
    fn an_output_that_is_no_score_of_classes_is_refused() {
        let zeros = |data_type, shape: &[usize]| Tensor::zeros(data_type, shape.to_vec());
        let values = class_values(zeros(DataType::F32, &[2, 6, 1, 1]), 2).unwrap();
        assert_eq!(values, (6, vec![0.0; 12]));
        let said = [
            zeros(DataType::F32, &[2, 6, 4, 4]),
            zeros(DataType::F32, &[2]),
            zeros(DataType::I64, &[2, 6]),
            None,
        ];
        let said = said.map(|output| class_values(output, 2).unwrap_err());
        insta::assert_snapshot!(said.join("\n"));
    }

    const CLASSES: usize = 6;

    fn score_of(pictures: &[[f32; CLASSES]], labels: &[i64], batch: usize) -> Result<Score, String> {
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
        score(&mut Echo(None), &ports, batch, &pack, || Ok(()))
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

    proptest! {
        #[test]
        fn the_prediction_is_the_class_of_rank_0(values in prop::collection::vec(-3i8..3, 1..12)) {
            let values: Vec<f32> = values.into_iter().map(f32::from).collect();
            prop_assert_eq!(rank_of(&values, highest(&values)), 0);
            let mut ranks: Vec<_> = (0..values.len()).map(|class| rank_of(&values, class)).collect();
            ranks.sort_unstable();
            prop_assert_eq!(ranks, (0..values.len()).collect::<Vec<_>>());
        }
    }
}
