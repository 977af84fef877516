//! A model beside reference outputs: inputs and outputs that another program computed, in one `.npz` file.
//!
//! The arrays are named `input_<name>` and `output_<name>` after the model's inputs and outputs; those of a model
//! with one input or output may be called `inputs` and `outputs`. All hold as many samples in their first axis
//! as the model takes, or a multiple of what it is fixed to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edgefront_optimizer::check::{Port, Summary};
use edgefront_optimizer::shape::Dim;
use edgefront_runtimes::{self as runtimes, Data, Options, Registry, Runtime, Tensor};
use serde::Serialize;

use crate::data::{self, DataError};

/// What two runtimes may differ by in float32.
pub const TOLERANCE: f64 = 1e-5;

/// The model's outputs beside the reference's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The runtime that ran the model.
    pub runtime: String,
    /// What each output differs by, in the model's order.
    pub outputs: Vec<Difference>,
    /// The largest difference that is allowed, as a part of the output's largest magnitude where that is above 1.
    pub tolerance: f64,
    /// Whether every output is within the tolerance.
    pub within: bool,
}

/// What one output differs by from its reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Name of the output.
    pub name: String,
    /// The largest absolute difference; infinite where values are not comparable.
    pub max: f64,
    /// The mean absolute difference.
    pub mean: f64,
    /// The largest finite magnitude of the reference.
    pub magnitude: f64,
    /// Values of the output.
    pub values: usize,
    /// Values that the reference has as NaN, with which nothing agrees.
    pub nan: usize,
    /// Values that are NaN or infinite on one side, and something else on the other.
    pub not_finite: usize,
}

/// Why no comparison could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The pair file cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The pair file does not fit the model.
    #[error("{}: {reason}", path.display())]
    Pairs {
        /// The pair file.
        path: PathBuf,
        /// What does not fit and the mend.
        reason: String,
    },
    /// The model does not run.
    #[error(transparent)]
    Runtime(#[from] runtimes::Error),
}

/// Inputs and the outputs that belong to them, in the model's order.
struct Pairs {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    /// Inferences that make up all samples.
    steps: usize,
}

/// Runs the model at `model`, which `summary` describes, on the inputs of the pair file, by `ort` where its
/// library is found and else by `tract`.
pub fn compare(
    model: &Path,
    summary: &Summary,
    pairs: &Path,
    tolerance: f64,
    registry: &Registry,
) -> Result<Comparison, ReferenceError> {
    let mismatch = |reason| ReferenceError::Pairs {
        path: pairs.to_owned(),
        reason,
    };
    let read = Pairs::of(data::arrays(pairs)?, summary).map_err(mismatch)?;
    let runtime = registry.preferred()?;
    let outputs = read.run(runtime, model)?;
    let compared = summary.outputs.iter().zip(outputs.iter().zip(&read.outputs));
    let outputs = compared
        .map(|(port, (found, expected))| found.difference(&port.name, expected))
        .collect::<Result<Vec<_>, _>>()
        .map_err(mismatch)?;
    Ok(Comparison {
        runtime: runtime.name().to_owned(),
        within: outputs.iter().all(|output| output.within(tolerance)),
        outputs,
        tolerance,
    })
}

impl Difference {
    /// Whether the largest difference is at most `tolerance`, or that part of a magnitude above 1: floats are as
    /// exact as they are large.
    pub fn within(&self, tolerance: f64) -> bool {
        self.nan == 0 && self.not_finite == 0 && self.max <= self.allowed(tolerance)
    }

    fn allowed(&self, tolerance: f64) -> f64 {
        tolerance * self.magnitude.max(1.0)
    }

    /// What is wrong, where the output is not within the tolerance.
    pub fn failure(&self, tolerance: f64) -> Option<String> {
        let Self {
            name, values, nan, ..
        } = self;
        if self.within(tolerance) {
            None
        } else if *nan > 0 {
            Some(format!(
                "the reference of output `{name}` holds NaN ({nan} of {values} values), which proves nothing; \
                 give weights and inputs for which every output is a number"
            ))
        } else if self.not_finite > 0 {
            Some(format!(
                "output `{name}` and its reference are not NaN or infinite alike ({} of {values} values)",
                self.not_finite
            ))
        } else {
            Some(format!(
                "output `{name}` differs from its reference by {:.3e}, more than {:.3e}",
                self.max,
                self.allowed(tolerance)
            ))
        }
    }

    /// What is to be known of a reference that any model without an effect would agree with.
    pub fn warning(&self) -> Option<String> {
        let none = self.nan == 0 && self.magnitude == 0.0;
        none.then(|| {
            format!(
                "the reference of output `{}` holds no number but 0, so that it agrees proves little; \
                 give weights and inputs for which it is others",
                self.name
            )
        })
    }
}

impl Pairs {
    fn of(mut arrays: BTreeMap<String, Tensor>, summary: &Summary) -> Result<Self, String> {
        let inputs = take(&mut arrays, &summary.inputs, "input")?;
        let outputs = take(&mut arrays, &summary.outputs, "output")?;
        if let Some(name) = arrays.keys().next() {
            return Err(format!(
                "array `{name}` belongs to no input and no output of the model"
            ));
        }
        let first_axis = summary
            .inputs
            .first()
            .and_then(|port| port.shape.as_ref()?.first());
        let samples = inputs.first().and_then(|input| input.shape().first().copied());
        let steps = match (samples, first_axis.and_then(Dim::extent)) {
            (Some(samples), Some(fixed)) if fixed > 0 && samples > fixed && samples % fixed == 0 => {
                samples / fixed
            }
            _ => 1,
        };
        let divides = |input: &Tensor| input.shape().first().is_some_and(|samples| samples % steps == 0);
        if steps > 1 && !inputs.iter().all(divides) {
            return Err(format!(
                "its inputs hold {steps} times the samples that the model takes at once; save one inference"
            ));
        }
        Ok(Self {
            inputs,
            outputs,
            steps,
        })
    }

    /// The model's outputs on all samples.
    fn run(&self, runtime: &dyn Runtime, model: &Path) -> Result<Vec<Output>, runtimes::Error> {
        let part = |step: usize| -> Vec<Tensor> {
            let of_input = |input: &Tensor| slice(input, step, self.steps);
            self.inputs.iter().map(of_input).collect()
        };
        let shapes: Vec<Vec<usize>> = part(0).iter().map(|input| input.shape().to_vec()).collect();
        let options = Options {
            provider: "cpu".to_owned(),
            threads: std::thread::available_parallelism().map_or(1, Into::into),
            batch: shapes
                .first()
                .and_then(|shape| shape.first().copied())
                .unwrap_or(1),
            inputs: shapes,
            spin: true,
            profile: false,
        };
        let loaded = runtime.load(model, &options)?;
        let mut session = loaded.session()?;
        let mut outputs = vec![Output::default(); loaded.outputs().len()];
        for step in 0..self.steps {
            session.bind(&part(step))?;
            session.run()?;
            for (output, tensor) in outputs.iter_mut().zip(session.fetch()?) {
                output.append(&tensor);
            }
        }
        Ok(outputs)
    }
}

/// What the model returned for one output, all inferences one after another.
#[derive(Debug, Clone, Default)]
struct Output {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Output {
    fn append(&mut self, tensor: &Tensor) {
        match (self.shape.first_mut(), tensor.shape().first()) {
            (Some(samples), Some(more)) => *samples += more,
            _ => self.shape = tensor.shape().to_vec(),
        }
        self.values.extend(numbers(tensor.data()));
    }

    fn difference(&self, name: &str, expected: &Tensor) -> Result<Difference, String> {
        if self.shape != expected.shape() {
            return Err(format!(
                "output `{name}` has shape {:?} and its reference {:?}",
                self.shape,
                expected.shape()
            ));
        }
        let expected = numbers(expected.data());
        let (mut max, mut sum, mut nan, mut not_finite) = (0.0_f64, 0.0, 0, 0);
        for (a, b) in self.values.iter().zip(&expected) {
            let difference = (a - b).abs();
            let one = if b.is_nan() {
                nan += 1;
                f64::INFINITY
            } else if difference.is_finite() {
                difference
            } else if a.total_cmp(b).is_eq() {
                0.0
            } else {
                not_finite += 1;
                f64::INFINITY
            };
            max = max.max(one);
            sum += one;
        }
        let finite = expected
            .iter()
            .map(|value| value.abs())
            .filter(|value| value.is_finite());
        Ok(Difference {
            name: name.to_owned(),
            max,
            mean: sum / expected.len().max(1) as f64,
            magnitude: finite.fold(0.0, f64::max),
            values: expected.len(),
            nan,
            not_finite,
        })
    }
}

fn numbers(data: &Data) -> Vec<f64> {
    match data {
        Data::F32(values) => values.iter().map(|&value| value.into()).collect(),
        Data::F16(values) => values.iter().map(|&value| value.into()).collect(),
        Data::I64(values) => values.iter().map(|&value| value as f64).collect(),
        Data::I32(values) => values.iter().map(|&value| value.into()).collect(),
        Data::I8(values) => values.iter().map(|&value| value.into()).collect(),
        Data::U8(values) => values.iter().map(|&value| value.into()).collect(),
        Data::Bool(values) => values.iter().map(|&value| f64::from(u8::from(value))).collect(),
        _ => Vec::new(),
    }
}

/// The arrays of these ports, `input_<name>`, or `inputs` for a single one.
fn take(arrays: &mut BTreeMap<String, Tensor>, ports: &[Port], what: &str) -> Result<Vec<Tensor>, String> {
    let one = |port: &Port| {
        let own = format!("{what}_{}", port.name);
        let short = format!("{what}s");
        let found = arrays.remove(&own);
        let found = found.or_else(|| (ports.len() == 1).then(|| arrays.remove(&short)).flatten());
        found.ok_or_else(|| {
            let alternative = if ports.len() == 1 {
                format!(" or `{short}`")
            } else {
                String::new()
            };
            format!(
                "has no array `{own}`{alternative} for {what} `{}` of the model",
                port.name
            )
        })
    };
    ports.iter().map(one).collect()
}

/// The part of an input that one of `steps` inferences takes.
fn slice(tensor: &Tensor, step: usize, steps: usize) -> Tensor {
    let mut shape = tensor.shape().to_vec();
    let Some(samples) = shape.first_mut().filter(|_| steps > 1) else {
        return tensor.clone();
    };
    *samples /= steps;
    let count = tensor.data().len() / steps;
    let range = step * count..(step + 1) * count;
    let part = match tensor.data() {
        Data::F32(values) => Data::F32(values[range].to_vec()),
        Data::F16(values) => Data::F16(values[range].to_vec()),
        Data::I64(values) => Data::I64(values[range].to_vec()),
        Data::I32(values) => Data::I32(values[range].to_vec()),
        Data::I8(values) => Data::I8(values[range].to_vec()),
        Data::U8(values) => Data::U8(values[range].to_vec()),
        Data::Bool(values) => Data::Bool(values[range].to_vec()),
        _ => return tensor.clone(),
    };
    Tensor::new(shape, part).expect("invariant: a part has as many elements as its shape")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)] // What is said of given numbers is exact.

    use super::*;

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::new(shape.to_vec(), Data::F32(values.to_vec())).unwrap()
    }

    fn difference(found: &[f32], expected: &[f32]) -> Difference {
        let mut output = Output::default();
        output.append(&tensor(&[found.len()], found));
        output
            .difference("y", &tensor(&[expected.len()], expected))
            .unwrap()
    }

    #[test]
    fn differences_are_absolute_and_compared_to_the_magnitude() {
        let small = difference(&[0.5, 0.25], &[0.5, 0.5]);
        assert_eq!((small.max, small.mean, small.magnitude), (0.25, 0.125, 0.5));
        assert!(small.within(0.25) && !small.within(0.2));
        let large = difference(&[100.0, 8.0], &[100.5, 8.0]);
        assert!(large.within(0.005) && !large.within(0.004));
    }

    #[test]
    fn infinity_agrees_with_its_like_and_nan_with_nothing() {
        let (nan, infinity) = (f32::NAN, f32::INFINITY);
        assert!(difference(&[1.0, infinity], &[1.0, infinity]).within(0.0));
        let failure = |found, expected| {
            difference(&[1.0, found], &[1.0, expected])
                .failure(f64::INFINITY)
                .unwrap()
        };
        let pairs = [(nan, nan), (0.0, nan), (nan, 0.0), (-infinity, infinity)];
        insta::assert_snapshot!(
            pairs.map(|(found, expected)| failure(found, expected)).join("\n"),
            @r"
        the reference of output `y` holds NaN (1 of 2 values), which proves nothing; give weights and inputs for which every output is a number
        the reference of output `y` holds NaN (1 of 2 values), which proves nothing; give weights and inputs for which every output is a number
        output `y` and its reference are not NaN or infinite alike (1 of 2 values)
        output `y` and its reference are not NaN or infinite alike (1 of 2 values)
        "
        );
    }

    #[test]
    fn a_reference_of_zeros_alone_is_told() {
        for nothing in [&[0.0, 0.0][..], &[]] {
            let same = difference(nothing, nothing);
            assert!(same.within(0.0) && same.warning().is_some());
        }
        assert_eq!(difference(&[0.0, 1.0], &[0.0, 1.0]).warning(), None);
    }

    #[test]
    fn shapes_must_agree() {
        let mut output = Output::default();
        output.append(&tensor(&[1, 2], &[0.0, 0.0]));
        output.append(&tensor(&[1, 2], &[0.0, 0.0]));
        let error = output.difference("y", &tensor(&[4], &[0.0; 4])).unwrap_err();
        assert_eq!(error, "output `y` has shape [2, 2] and its reference [4]");
    }
}
