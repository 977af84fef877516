//! What a data set is, without its pixels.

use super::{Normalization, PackError, PictureShape, normalization};

/// All of a data set but its pixels. Its parts agree with one another.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    count: usize,
    picture: PictureShape,
    form: Form,
    labels: Option<Vec<i64>>,
    classes: Vec<String>,
}

/// How pixels are stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// Bytes, `[N, H, W, C]`; without a normalization, 0..255 enter the model as they are.
    Bytes(Option<Normalization>),
    /// Little-endian `f32`, `[N, C, H, W]`, ready for the model.
    Floats,
}

impl Head {
    /// A data set of `count` pictures without labels.
    pub fn new(count: usize, picture: PictureShape, form: Form) -> Result<Self, PackError> {
        if let Form::Bytes(Some(normalization)) = &form
            && !normalization.fits(picture.channels)
        {
            return Err(PackError::Normalization {
                channels: picture.channels,
            });
        }
        let head = Self {
            count,
            picture,
            form,
            labels: None,
            classes: Vec::new(),
        };
        let shape = head.shape();
        if shape.contains(&0) {
            return Err(PackError::Empty(shape.to_vec()));
        }
        let volume = shape
            .iter()
            .try_fold(head.bytes_of_value(), |n, &extent| n.checked_mul(extent));
        match volume {
            Some(_) => Ok(head),
            None => Err(PackError::TooLarge(shape.to_vec())),
        }
    }

    /// The same pictures with one label each. Classes are counted from 0.
    pub fn with_labels(self, labels: Vec<i64>) -> Result<Self, PackError> {
        let labelled = Self {
            labels: Some(labels),
            ..self
        };
        labelled.validate_labels()?;
        Ok(labelled)
    }

    /// The same pictures with the names of the classes, in the order of the labels.
    pub fn with_classes(self, classes: Vec<String>) -> Result<Self, PackError> {
        let named = Self { classes, ..self };
        named.validate_labels()?;
        Ok(named)
    }

    /// The first `count` pictures, at least one, or all where there are fewer.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.count = self.count.min(count.max(1));
        if let Some(labels) = &mut self.labels {
            labels.truncate(self.count);
        }
        self
    }

    /// Number of pictures, at least 1.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Never true; a data set holds at least one picture.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Extents of every picture.
    pub fn picture(&self) -> PictureShape {
        self.picture
    }

    /// How the pixels are stored.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// One class a picture, where they are known.
    pub fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    /// Names of the classes, empty where they are not known.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The labels for a model with `classes` outputs; an error where there are none or one does not fit.
    pub fn labels_for(&self, classes: usize) -> Result<&[i64], PackError> {
        let labels = self.labels().ok_or(PackError::NoLabels)?;
        check_range(labels, classes)?;
        Ok(labels)
    }

    /// Bytes of one stored picture.
    pub fn bytes_of_picture(&self) -> usize {
        self.picture.volume() * self.bytes_of_value()
    }

    /// Stored pictures as model input in `[N, C, H, W]` order.
    pub fn input(&self, pixels: &[u8]) -> Vec<f32> {
        match &self.form {
            Form::Bytes(normalization) => normalization::planar(pixels, self.picture, normalization.as_ref()),
            Form::Floats => {
                let values = pixels.as_chunks().0.iter();
                values.map(|&value| f32::from_le_bytes(value)).collect()
            }
        }
    }

    /// Axes of the stored pictures.
    pub(super) fn shape(&self) -> [usize; 4] {
        let PictureShape {
            channels,
            height,
            width,
        } = self.picture;
        match self.form {
            Form::Bytes(_) => [self.count, height, width, channels],
            Form::Floats => [self.count, channels, height, width],
        }
    }

    /// The error of pixels of `found` bytes, which are not those of the pictures.
    pub(super) fn pixel_count(&self, found: usize) -> PackError {
        PackError::PixelCount {
            shape: self.shape().to_vec(),
            found: found / self.bytes_of_value(),
        }
    }

    fn bytes_of_value(&self) -> usize {
        match self.form {
            Form::Bytes(_) => 1,
            Form::Floats => size_of::<f32>(),
        }
    }

    fn validate_labels(&self) -> Result<(), PackError> {
        let Some(labels) = &self.labels else {
            return Ok(());
        };
        if labels.len() != self.count {
            return Err(PackError::LabelCount {
                labels: labels.len(),
                pictures: self.count,
            });
        }
        if let Some(index) = labels.iter().position(|&label| label < 0) {
            return Err(PackError::LabelNegative {
                index,
                label: labels[index],
            });
        }
        if self.classes.is_empty() {
            Ok(())
        } else {
            check_range(labels, self.classes.len())
        }
    }
}

fn check_range(labels: &[i64], classes: usize) -> Result<(), PackError> {
    let outside = |label: i64| usize::try_from(label).map_or(true, |label| label >= classes);
    match labels.iter().position(|&label| outside(label)) {
        Some(index) => Err(PackError::LabelRange {
            index,
            label: labels[index],
            classes,
        }),
        None => Ok(()),
    }
}
