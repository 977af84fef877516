//! What a model answers on a pack, for devices to set their own answers beside: a message of [`wire`] in
//! a blob of its own.

use serde::{Deserialize, Serialize};

use crate::PackCounts;
use crate::wire::{self, WireError};

/// Bytes of outputs that a reference holds at most.
const MOST_OUTPUTS: usize = 4 << 20;
/// Labels within this many of the highest outputs count as hit.
const TOP: u32 = 5;

/// The answers on all pictures of a pack, in its order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The predicted class of each picture.
    predictions: Vec<u32>,
    /// How many classes have a higher output than the label of each picture; 0 is a hit.
    ranks: Vec<u32>,
    /// Classes of the model.
    classes: u32,
    /// The runtime and its version that computed them, as `ort 1.32.0`.
    by: String,
    /// `[M, classes]`: the outputs for the first `M` pictures.
    outputs: Vec<f32>,
}

/// Bytes that are no reference.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// They are no message of this version.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Its parts do not belong together.
    #[error(
        "the reference has {predictions} predictions, {ranks} ranks and {outputs} outputs of {classes} classes"
    )]
    Parts {
        /// Predictions.
        predictions: usize,
        /// Ranks.
        ranks: usize,
        /// Outputs.
        outputs: usize,
        /// Classes.
        classes: u32,
    },
}

impl Reference {
    /// One of a model with so many classes, without a picture yet, that a runtime of this name and version computes.
    pub fn new(classes: u32, by: String) -> Self {
        Self {
            classes,
            by,
            ..Self::default()
        }
    }

    /// Adds the next picture: the predicted class, the rank of its label, and the outputs, which are kept while there is
    /// room: those of 1,000 classes for 1,048 pictures.
    pub fn push(&mut self, prediction: u32, rank: u32, outputs: &[f32]) {
        let is_gapless = self.outputs.len() == self.predictions.len() * self.classes as usize;
        let has_room = (self.outputs.len() + outputs.len()) * size_of::<f32>() <= MOST_OUTPUTS;
        if is_gapless && has_room && outputs.len() == self.classes as usize {
            self.outputs.extend_from_slice(outputs);
        }
        self.predictions.push(prediction);
        self.ranks.push(rank);
    }

    /// Pictures.
    pub fn len(&self) -> usize {
        self.predictions.len()
    }

    /// Whether there is no picture.
    pub fn is_empty(&self) -> bool {
        self.predictions.is_empty()
    }

    /// Classes of the model.
    pub fn classes(&self) -> u32 {
        self.classes
    }

    /// The runtime and its version that computed it, as `ort 1.32.0`.
    pub fn by(&self) -> &str {
        &self.by
    }

    /// The predicted class of a picture; `None` past the last.
    pub fn prediction(&self, picture: usize) -> Option<u32> {
        self.predictions.get(picture).copied()
    }

    /// Whether the label of a picture has the highest output, and whether one of the five highest.
    pub fn hits(&self, picture: usize) -> [bool; 2] {
        let rank = self.ranks.get(picture).copied();
        [rank == Some(0), rank.is_some_and(|rank| rank < TOP)]
    }

    /// The outputs for a picture, of each class; `None` where they are not kept.
    pub fn outputs(&self, picture: usize) -> Option<&[f32]> {
        let classes = self.classes as usize;
        let first = picture.checked_mul(classes)?;
        let outputs = self.outputs.get(first..first.checked_add(classes)?)?;
        (!outputs.is_empty()).then_some(outputs)
    }

    /// The hits on all pictures.
    pub fn counts(&self) -> PackCounts {
        let count = |top: u32| self.ranks.iter().filter(|rank| **rank < top).count() as u64;
        PackCounts {
            pictures: self.len() as u64,
            top1_hits: count(1),
            top5_hits: count(TOP),
        }
    }

    /// Writes the blob.
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads a blob. Never panics, whatever the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReferenceError> {
        let reference: Self = wire::decode(bytes)?;
        let classes = reference.classes.max(1) as usize;
        let pictures = reference.outputs.len() / classes;
        let fits = reference.ranks.len() == reference.predictions.len()
            && pictures <= reference.predictions.len()
            && reference.outputs.len() == pictures * classes;
        if fits {
            return Ok(reference);
        }
        Err(ReferenceError::Parts {
            predictions: reference.predictions.len(),
            ranks: reference.ranks.len(),
            outputs: reference.outputs.len(),
            classes: reference.classes,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reference(pictures: &[(u32, u32)], classes: u32) -> Reference {
        let mut reference = Reference::new(classes, "tract 0.22.0".to_owned());
        for &(prediction, rank) in pictures {
            reference.push(prediction, rank, &vec![rank as f32; classes as usize]);
        }
        reference
    }

    #[test]
    fn hits_are_counted_by_hand() {
        let reference = reference(&[(3, 0), (1, 1), (0, 4), (2, 5)], 10);
        let counts = PackCounts {
            pictures: 4,
            top1_hits: 1,
            top5_hits: 3,
        };
        assert_eq!(reference.counts(), counts);
        assert_eq!(
            [0, 2, 3, 9].map(|picture| reference.hits(picture)),
            [[true, true], [false, true], [false, false], [false, false]]
        );
        assert_eq!(
            (reference.prediction(1), reference.prediction(4)),
            (Some(1), None)
        );
        assert_eq!(
            (reference.outputs(3), reference.outputs(4)),
            (Some(&[5.0; 10][..]), None)
        );
    }

    #[test]
    fn outputs_are_kept_while_there_is_room() {
        let mut reference = Reference::new(1_000, String::new());
        for _ in 0..1_100 {
            reference.push(0, 0, &[0.5; 1_000]);
        }
        assert!(reference.outputs(1_047).is_some() && reference.outputs(1_048).is_none());
        assert_eq!(reference.len(), 1_100);
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let mut odd = reference(&[(3, 0)], 2);
        odd.ranks.clear();
        let error = Reference::decode(&odd.encode()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the reference has 1 predictions, 0 ranks and 2 outputs of 2 classes"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pictures in prop::collection::vec(any::<(u32, u32)>(), 0..20), classes in 0..6u32) {
            let reference = reference(&pictures, classes);
            prop_assert_eq!(Reference::decode(&reference.encode()).unwrap(), reference);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, picture in 0..9usize) {
            let body = [&[wire::MAJOR, wire::MINOR], bytes.as_slice()].concat();
            for bytes in [bytes, body] {
                if let Ok(reference) = Reference::decode(&bytes) {
                    let _ = (reference.outputs(picture), reference.hits(picture), reference.counts());
                }
            }
        }
    }
}
