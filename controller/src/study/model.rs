//! What a study must know of a model: its one input and how many classes it tells apart.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use anyhow::Context as _;
use edgefront_optimizer::Model;
use edgefront_optimizer::proto::{DataType, DimensionValue, TypeValue, ValueInfoProto};
use edgefront_optimizer::shape::{self, Dim};
use edgefront_protocol::Shape;
use edgefront_protocol::pack::{Head, PictureShape};
use edgefront_runtimes::{Declared, classes};

use super::{Study, Written};
use crate::data::{self, DataError};
use crate::ui::{Ui, UsageError, one_line};

/// Largest input tensor of one inference, in bytes: some 400 pictures of 224x224. A device holds it several
/// times over and the values between the layers beside it, so a larger one is a mistake that could exhaust it.
const LARGEST_INPUT: u64 = 256 << 20;

/// What is left to do with a model that data sets do not fit.
const WITHOUT_DATA: &str = "`edgefront bench` measures the latency of any model";

/// An extent of a model's input or output; `None` is dynamic.
type Extent = Option<u64>;

/// Inputs and outputs of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    inputs: Vec<Port>,
    /// The first output, which accuracy is counted on; `None` where its shape is not known.
    scores: Option<Port>,
    /// Number of classes, where that output tells it.
    pub(crate) classes: Option<usize>,
    /// The shape that the user gave for the one input.
    given: Option<Shape>,
    /// Whether rows and columns of the one input are those of the data set.
    is_sized_by_data: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Port {
    name: String,
    is_float: bool,
    /// Bytes of one element.
    width: u64,
    shape: Vec<Extent>,
}

impl Interface {
    /// What a TensorFlow Lite file declares; nothing is said of its scores, for no data set is laid out as it wants.
    pub(super) fn declared(inputs: &[Declared], given: Option<Shape>) -> Self {
        let port = |input: &Declared| Port {
            name: input.name.clone(),
            is_float: input.data_type == edgefront_runtimes::DataType::F32,
            width: input.data_type.width() as u64,
            shape: input
                .axes
                .iter()
                .map(|extent| extent.map(|extent| extent as u64))
                .collect(),
        };
        Self {
            inputs: inputs.iter().map(port).collect(),
            given,
            ..Self::default()
        }
    }

    /// Reads it from the graph. Initializers that are also listed as inputs are not inputs.
    pub(crate) fn of(model: &Model, given: Option<Shape>) -> Self {
        let graph = model.graph();
        let constants: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name()).collect();
        let inputs = graph
            .input
            .iter()
            .filter(|value| !constants.contains(value.name()));
        let scores = scores(model);
        // Where the axis of the classes may be one of no known extent, nothing is said.
        let tells = |port: &Port| {
            let mut behind = port.shape.iter().skip(1);
            behind.clone().all(Option::is_some)
                || behind.any(|extent| extent.is_some_and(|extent| extent > 1))
        };
        Self {
            inputs: inputs.map(port).collect(),
            classes: scores.as_ref().filter(|port| tells(port)).and_then(Port::classes),
            scores,
            given,
            is_sized_by_data: false,
        }
    }

    /// Takes open rows and columns from the data set at `path`; a model without any stays as it is.
    pub(crate) fn take_size_of(&mut self, path: &Path, preprocess: Option<&str>) -> Result<(), DataError> {
        if self.takes_any_size() {
            self.take_size(data::picture(path, preprocess)?);
        }
        Ok(())
    }

    /// Whether the model takes pictures of any size and the user gave none.
    fn takes_any_size(&self) -> bool {
        let open = |input: &Port| {
            matches!(
                input.shape[..],
                [_, None, _, _] | [_, _, None, _] | [_, _, _, None]
            )
        };
        self.given.is_none() && matches!(&self.inputs[..], [input] if open(input))
    }

    /// Takes the open channels, rows and columns from the pictures of a data set.
    pub(crate) fn take_size(&mut self, picture: PictureShape) {
        for input in &mut self.inputs {
            if let [_, channels, height, width] = &mut input.shape[..] {
                channels.get_or_insert(picture.channels as u64);
                height.get_or_insert(picture.height as u64);
                width.get_or_insert(picture.width as u64);
            }
        }
        self.is_sized_by_data = true;
    }

    /// Refuses batches and shapes that the model cannot have.
    pub(super) fn check_target(&self, study: &Study) -> anyhow::Result<()> {
        for &batch in &study.batch {
            self.check_batch(batch, study.written)?;
        }
        self.check_all_axes()?;
        study.batch.iter().try_for_each(|&batch| self.check_bytes(batch))
    }

    /// Every axis but the first of every input is known, from the model or from the shape that was given.
    pub(crate) fn check_all_axes(&self) -> anyhow::Result<()> {
        self.inputs.iter().try_for_each(|input| self.check_axes(input))
    }

    fn check_batch(&self, batch: u32, place: Written) -> anyhow::Result<()> {
        for input in &self.inputs {
            if let Some(&Some(fixed)) = input.shape.first()
                && fixed != u64::from(batch)
            {
                return Err(UsageError::new(format!(
                    "input `{}` takes {fixed} pictures per inference and the study wants {batch}; \
                     {}, or export the model with a dynamic batch",
                    input.name,
                    place.mend(&format!("batch {fixed}"), &format!("batch = [{fixed}]"))
                )));
            }
        }
        match &self.given {
            Some(given) if given.first() != Some(&u64::from(batch)) => Err(UsageError::new(format!(
                "--shape {} does not begin with the batch, {batch}",
                written(given)
            ))),
            _ => Ok(()),
        }
    }

    /// Every input tensor is one that devices can be asked to hold.
    fn check_bytes(&self, batch: u32) -> anyhow::Result<()> {
        for input in &self.inputs {
            let own = input.shape.iter().skip(1).map(|extent| extent.unwrap_or(1));
            let given = self.given.iter().flatten().skip(1).copied();
            let picture = if self.given.is_some() {
                bytes_of(input.width, given)
            } else {
                bytes_of(input.width, own)
            };
            if picture.saturating_mul(u64::from(batch)) > LARGEST_INPUT {
                return Err(UsageError::new(format!(
                    "a batch of {batch} makes input `{}` larger than {} MiB; at most {} pictures of {} bytes are measured \
                     together",
                    input.name,
                    LARGEST_INPUT >> 20,
                    LARGEST_INPUT / picture.max(1),
                    picture,
                )));
            }
        }
        Ok(())
    }

    fn check_axes(&self, input: &Port) -> anyhow::Result<()> {
        let Some(given) = &self.given else {
            if input.shape.iter().skip(1).any(Option::is_none) {
                return Err(UsageError::new(format!(
                    "input `{}` has dynamic axes, {}; give --shape",
                    input.name,
                    shape_of(input)
                )));
            }
            return Ok(());
        };
        if self.inputs.len() > 1 {
            return Err(UsageError::new("--shape needs a model with one input"));
        }
        let fits = given.len() == input.shape.len()
            && given
                .iter()
                .zip(&input.shape)
                .all(|(given, own)| own.is_none_or(|own| own == *given));
        if fits {
            return Ok(());
        }
        Err(UsageError::new(format!(
            "--shape {} does not fit input `{}`, {}",
            written(given),
            input.name,
            shape_of(input)
        )))
    }

    /// Refuses a model whose answers have no accuracy.
    pub(crate) fn check_scores(&self) -> anyhow::Result<()> {
        match &self.scores {
            Some(output) if output.classes().is_none() => anyhow::bail!(
                "output `{}` is {}, and accuracy is counted on scores of shape [batch, classes], the first output; give a \
                 classifier; {WITHOUT_DATA}",
                output.name,
                shape_of(output)
            ),
            _ => Ok(()),
        }
    }

    /// As [`Self::check_labels`], and warns where the data set names fewer classes than the model tells apart: its
    /// labels are then likely to be others than the model's.
    pub(crate) fn require_labels(&self, head: &Head, path: &Path, ui: &Ui) -> anyhow::Result<()> {
        let named = head.classes().len();
        if let Some(wanted) = self.classes.filter(|wanted| (1..*wanted).contains(&named)) {
            ui.warn(format_args!(
                "{} has {named} classes and the model {wanted}; classes are numbered from 0 by the order of their \
                 names, so labels are wrong unless those are the model's first {named}",
                path.display()
            ));
        }
        self.check_labels(head, path)
    }

    /// Refuses the data set at `path` where it has no labels, or one that is no class of the model.
    fn check_labels(&self, head: &Head, path: &Path) -> anyhow::Result<()> {
        let Err(error) = head.labels_for(self.classes.unwrap_or(usize::MAX)) else {
            return Ok(());
        };
        match (head.classes().len(), self.classes) {
            (named, Some(wanted)) if named > wanted => anyhow::bail!(
                "{} has {named} classes and the model {wanted}; take out those that the model does not know",
                path.display()
            ),
            _ => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Says of calibration data with labels that are no classes of the model that they do not count.
    pub(crate) fn warn_of_labels(&self, head: &Head, path: &Path, ui: &Ui) {
        if head.labels().is_some()
            && let Err(error) = self.check_labels(head, path)
        {
            ui.warn(format_args!(
                "{}, so its labels do not count, and an accuracy to keep is one of unchanged predictions",
                one_line(&error)
            ));
        }
    }

    /// The pictures that the model takes; an error where it takes no pictures.
    pub(crate) fn picture(&self) -> anyhow::Result<PictureShape> {
        let [input] = &self.inputs[..] else {
            anyhow::bail!(
                "the model has {} inputs, and data sets feed models with one; {WITHOUT_DATA}",
                self.inputs.len()
            );
        };
        let known: Option<Vec<usize>> = match &self.given {
            Some(given) => given.iter().map(|&extent| usize::try_from(extent).ok()).collect(),
            None => input
                .shape
                .iter()
                .map(|extent| Some(extent.unwrap_or(1) as usize))
                .collect(),
        };
        match known.as_deref() {
            Some(&[_, channels, height, width]) if input.is_float => Ok(PictureShape {
                channels,
                height,
                width,
            }),
            _ => anyhow::bail!(
                "input `{}` is {}, and data sets feed float inputs of shape [batch, channels, height, width]; \
                 {WITHOUT_DATA}",
                input.name,
                shape_of(input)
            ),
        }
    }

    /// The shapes of all inputs for a batch, which an open first axis is.
    pub(super) fn all_shapes(&self, batch: u32) -> Vec<Shape> {
        let told = self.shapes(batch);
        if !told.is_empty() {
            return told;
        }
        let extent = |(axis, extent): (usize, &Extent)| match axis {
            0 => extent.unwrap_or(u64::from(batch)),
            _ => extent.unwrap_or(1),
        };
        let shape = |input: &Port| input.shape.iter().enumerate().map(extent).collect();
        self.inputs.iter().map(shape).collect()
    }

    /// The shapes of the inputs for a job; empty where the model's own are enough.
    pub(super) fn shapes(&self, batch: u32) -> Vec<Shape> {
        let with_batch = |mut shape: Shape| {
            shape[0] = u64::from(batch);
            shape
        };
        if self.is_sized_by_data {
            let known = |input: &Port| input.shape.iter().map(|extent| extent.unwrap_or(1)).collect();
            return self.inputs.iter().map(known).map(with_batch).collect();
        }
        self.given.iter().cloned().map(with_batch).collect()
    }
}

impl Port {
    /// How many classes this output tells apart, with 1 for each extent that is not known.
    fn classes(&self) -> Option<usize> {
        let extent = |extent: &Extent| extent.map_or(Some(1), |extent| usize::try_from(extent).ok());
        let shape: Vec<usize> = self.shape.iter().map(extent).collect::<Option<_>>()?;
        classes(&shape, *shape.first()?)
    }
}

/// The first output, with what follows of its shape from the graph where it does not declare it.
fn scores(model: &Model) -> Option<Port> {
    let mut output = port(model.graph().output.first()?);
    let values = shape::infer(model, &BTreeMap::new()).ok();
    let inferred = values
        .as_ref()
        .and_then(|values| values.get(&output.name)?.shape.as_deref());
    if let Some(inferred) = inferred {
        let declared = output.shape.iter().copied().chain(std::iter::repeat(None));
        let extent = |(dim, declared): (&Dim, Extent)| dim.extent().map(|extent| extent as u64).or(declared);
        output.shape = inferred.iter().zip(declared).map(extent).collect();
    }
    (inferred.is_some() || !output.shape.is_empty()).then_some(output)
}

fn port(value: &ValueInfoProto) -> Port {
    let tensor = match value.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
        Some(TypeValue::TensorType(tensor)) => Some(tensor),
        _ => None,
    };
    let extent = |value: Option<&DimensionValue>| match value {
        Some(DimensionValue::DimValue(extent)) => u64::try_from(*extent).ok(),
        _ => None,
    };
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
    Port {
        name: value.name().to_owned(),
        is_float: tensor.is_some_and(|tensor| tensor.elem_type() == DataType::Float as i32),
        width: tensor.map_or(1, |tensor| width(tensor.elem_type())),
        shape: shape.map_or_else(Vec::new, |shape| {
            shape.dim.iter().map(|dim| extent(dim.value.as_ref())).collect()
        }),
    }
}

/// Bytes of one element of an ONNX type; of what is not a number, 1.
fn width(elem_type: i32) -> u64 {
    match DataType::try_from(elem_type) {
        Ok(DataType::Double | DataType::Int64 | DataType::Uint64) => 8,
        Ok(DataType::Float | DataType::Int32 | DataType::Uint32) => 4,
        Ok(DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16) => 2,
        _ => 1,
    }
}

fn bytes_of(width: u64, extents: impl Iterator<Item = u64>) -> u64 {
    extents.fold(width, u64::saturating_mul)
}

/// `1x3x64x64`.
fn written(shape: &[u64]) -> String {
    let extents: Vec<String> = shape.iter().map(ToString::to_string).collect();
    extents.join("x")
}

/// `[?, 3, 64, 64]`.
fn shape_of(port: &Port) -> String {
    let extent = |extent: &Extent| extent.map_or_else(|| "?".to_owned(), |extent| extent.to_string());
    format!(
        "[{}]",
        port.shape.iter().map(extent).collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tiny.onnx`: one float input of [batch, 3, 8, 8], ten classes.
    fn tiny(given: Option<Shape>) -> Interface {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/tiny.onnx");
        Interface::of(&Model::read(&path).unwrap(), given)
    }

    fn study(batch: u32) -> Study {
        Study {
            batch: vec![batch],
            ..Study::new("test", "tiny.onnx")
        }
    }

    #[test]
    fn the_interface_is_read_from_the_graph() {
        let interface = tiny(None);
        assert_eq!(interface.classes, Some(10));
        let picture = PictureShape {
            channels: 3,
            height: 8,
            width: 8,
        };
        assert_eq!(interface.picture().unwrap(), picture);
        assert!(interface.check_target(&study(4)).is_ok());
        assert!(interface.shapes(4).is_empty());
        assert_eq!(interface.all_shapes(4), [vec![4, 3, 8, 8]]);
        // 768 bytes a picture.
        assert!(interface.check_target(&study(349_525)).is_ok());
        assert!(interface.check_target(&study(349_526)).is_err());
    }

    #[test]
    fn a_given_shape_is_taken_where_it_fits() {
        let interface = tiny(Some(vec![1, 3, 8, 8]));
        assert!(interface.check_target(&study(1)).is_ok());
        assert_eq!(interface.shapes(1), [vec![1, 3, 8, 8]]);
        assert_eq!(interface.all_shapes(1), interface.shapes(1));
    }

    #[test]
    fn open_channels_rows_and_columns_come_from_the_data() {
        let picture = PictureShape {
            channels: 3,
            height: 24,
            width: 32,
        };
        for open in [
            [None, Some(3), None, None],
            [None, None, Some(24), Some(32)],
            [None; 4],
        ] {
            let mut interface = tiny(None);
            assert!(!interface.takes_any_size());
            interface.inputs[0].shape = open.to_vec();
            assert!(interface.takes_any_size());
            assert!(interface.check_target(&study(2)).is_err());
            interface.take_size(picture);
            assert!(interface.check_target(&study(2)).is_ok());
            assert_eq!(interface.picture().unwrap(), picture);
            assert_eq!(interface.shapes(2), [vec![2, 3, 24, 32]]);
        }
    }

    #[test]
    fn what_does_not_fit_is_said_with_the_mend() {
        let mut fixed = tiny(None);
        fixed.inputs[0].shape[0] = Some(1);
        let mut dynamic = tiny(None);
        dynamic.inputs[0].shape[2] = None;
        let mut two = tiny(None);
        two.inputs.push(two.inputs[0].clone());
        let mut bytes = tiny(None);
        bytes.inputs[0].is_float = false;
        let said = [
            fixed.check_target(&study(4)).unwrap_err(),
            tiny(None).check_target(&study(1_000_000)).unwrap_err(),
            tiny(None).check_target(&study(u32::MAX)).unwrap_err(),
            dynamic.check_target(&study(1)).unwrap_err(),
            tiny(Some(vec![2, 3, 8, 8])).check_target(&study(1)).unwrap_err(),
            tiny(Some(vec![1, 3, 16, 16]))
                .check_target(&study(1))
                .unwrap_err(),
            two.picture().unwrap_err(),
            bytes.picture().unwrap_err(),
        ];
        let said: Vec<String> = said.iter().map(one_line).collect();
        insta::assert_snapshot!(said.join("\n"));
    }
}
