//! A classifier's answers on the pictures of a pack.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use edgefront_protocol::{Pack, PictureShape};
use edgefront_runtimes::{Data, Port, Session, Tensor, classes};

use super::inputs;

/// What a model answers on one picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    /// The picture's number in its pack.
    pub(crate) picture: usize,
    pub(crate) label: usize,
    /// One output a class, all of them finite.
    pub(crate) outputs: &'a [f32],
}

/// Runs the pictures of `order`, numbers within `pack`, through the session, whose first output holds one value a class,
/// and gives each answer to `take` until that breaks. The last batch is filled up with its last picture. `alive` is called
/// after each batch. The error is one line.
pub(crate) fn classify(
    session: &mut dyn Session,
    ports: &[Port],
    batch: usize,
    pack: &Pack,
    order: &[u32],
    mut take: impl FnMut(Answer<'_>) -> Result<ControlFlow<()>, String>,
    mut alive: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let mut known = None;
    for numbers in order.chunks(batch) {
        let input = picture_batch(pack, numbers.iter().map(|&number| number as usize), batch);
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
        for (&number, outputs) in numbers.iter().zip(values.chunks_exact(classes)) {
            let picture = number as usize;
            if let Some(value) = outputs.iter().find(|value| !value.is_finite()) {
                return Err(format!(
                    "the model's output for picture {picture} holds {value}, so its classes have no order; look \
                     for weights that are no numbers with `edgefront check`, or for an overflow in half precision"
                ));
            }
            let answer = Answer {
                picture,
                label: labels[picture] as usize,
                outputs,
            };
            if take(answer)?.is_break() {
                return Ok(());
            }
        }
        alive()?;
    }
    Ok(())
}

impl Answer<'_> {
    /// How many classes come before the label: those with a higher output, and equal ones with a lower index.
    pub(crate) fn rank(&self) -> usize {
        rank_of(self.outputs, self.label)
    }

    /// The class with the highest output, the lowest of equal ones.
    pub(crate) fn prediction(&self) -> usize {
        highest(self.outputs)
    }
}

/// These pictures as input of a batch; where they are fewer, the last is repeated.
pub(crate) fn picture_batch(pack: &Pack, pictures: impl Iterator<Item = usize>, batch: usize) -> Vec<f32> {
    let volume = pack.picture().volume();
    let mut values = Vec::with_capacity(batch * volume);
    for picture in pictures.take(batch) {
        values.extend(pack.input(picture..picture + 1));
    }
    let last = values.len().saturating_sub(volume)..values.len();
    while !last.is_empty() && values.len() < batch * volume {
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
    use edgefront_runtimes::DataType;
    use proptest::prelude::*;

    use super::*;

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
