//! Fitting the parameters of a program to labelled samples.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use burn_backend::ops::FloatTensorOps as _;
use burn_backend::tensor::FloatTensor;
use burn_backend::{AutodiffBackend as _, Shape};
use burn_flex::{Flex, FlexTensor};
use rayon::ThreadPool;

use super::DIVERGED;
use super::batch::{Batch, Epoch};
use super::descent::{Memory, schedule};
use super::kernels::Statistics;
use super::loss::{Loss, Taught, best, loss};
use super::options::Options;
use super::parameter::Parameter;
use super::program::{Program, Shapes, refused};
use super::run::{Mode, Run, Seen, answer, rows};
use super::tape::{Tape as _, Taped, elements, packed, tensor};
use crate::calibrate::{Samples, read};
use crate::error::Error;

/// How far training is, and how well it goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Samples that were seen in this epoch.
    pub done: usize,
    /// Samples of an epoch.
    pub total: usize,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Part of the epoch's samples that were recognised, between 0 and 1.
    pub accuracy: f64,
    /// Samples a second.
    pub per_second: f64,
    /// Part of the validation samples that were recognised, at the end of an epoch.
    pub validation: Option<f64>,
}

/// Samples over which the statistics of new batch normalizations are taken.
const OBSERVED: usize = 512;

/// What keeps a batch normalization from dividing by zero, by default of the operator.
const EPSILON: f32 = 1e-5;

/// A program whose parameters move.
pub(super) struct Fit<'a> {
    pub(super) program: Program,
    options: &'a Options,
    teacher: Option<Fixed>,
    data: &'a dyn Samples,
    pool: Arc<ThreadPool>,
    /// The parameters' elements.
    values: Vec<FlexTensor>,
    memories: Vec<Memory>,
    shapes: Cache,
    /// Classes that the model tells apart.
    classes: usize,
}

/// A program whose parameters stay, such as a teacher.
struct Fixed {
    program: Program,
    values: Vec<FlexTensor>,
    shapes: Cache,
}

/// Inferred extents by batch.
type Cache = HashMap<usize, Shapes>;

impl<'a> Fit<'a> {
    /// The data must have samples whose labels the model's answer has classes for.
    pub(super) fn new(
        program: Program,
        teacher: Option<Program>,
        data: &'a dyn Samples,
        options: &'a Options,
        threads: usize,
    ) -> Result<Self, Error> {
        if data.is_empty() {
            return Err(refused(
                "there are no samples to train on; give some with `--train`",
            ));
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .build();
        let mut fit = Self {
            options,
            data,
            pool: Arc::new(
                pool.map_err(|error| refused(format!("cannot start {threads} threads: {error}")))?,
            ),
            values: program.parameters.iter().map(elements_of).collect(),
            memories: program.parameters.iter().map(Memory::of).collect(),
            teacher: teacher.map(|program| Fixed {
                values: program.parameters.iter().map(elements_of).collect(),
                program,
                shapes: Cache::new(),
            }),
            program,
            shapes: Cache::new(),
            classes: 0,
        };
        fit.classes = fit.count_classes()?;
        fit.check_labels(data, "training")?;
        Ok(fit)
    }

    /// Samples of a step.
    fn batch(&self) -> usize {
        self.options.batch.min(self.data.len())
    }

    /// Steps of an epoch.
    fn steps(&self) -> usize {
        self.data.len() / self.batch()
    }

    /// How many elements stay zero.
    pub(super) fn masked(&self, parameter: usize) -> usize {
        self.memories[parameter].masked()
    }

    /// Refuses what the last step of an epoch made, whose loss nobody has looked at.
    fn check_finite(&self) -> Result<(), Error> {
        let is_finite = |values: &FlexTensor| elements(values).iter().all(|value| value.is_finite());
        if self.values.iter().all(is_finite) {
            Ok(())
        } else {
            Err(refused(DIVERGED))
        }
    }

    /// Labels must be classes of the model. `kind` calls the samples.
    pub(super) fn check_labels(&self, data: &dyn Samples, kind: &str) -> Result<(), Error> {
        let classes = self.classes;
        for index in 0..data.len() {
            match data.class(index) {
                Some(class) if class < classes => {}
                Some(class) => {
                    return Err(refused(format!(
                        "label {class} of {kind} sample {index} is out of range: the model tells {classes} classes apart"
                    )));
                }
                None => {
                    return Err(refused(format!(
                        "{kind} sample {index} has no label; every one needs a class"
                    )));
                }
            }
        }
        Ok(())
    }

    fn count_classes(&mut self) -> Result<usize, Error> {
        let batch = self.batch();
        let sample = read(self.data, 0)?;
        let inputs: Vec<Vec<usize>> = sample
            .iter()
            .map(|tensor| {
                let mut shape = tensor.shape().to_vec();
                if let Some(first) = shape.first_mut() {
                    *first = batch;
                }
                shape
            })
            .collect();
        let shapes = shapes(&mut self.shapes, &self.program, &inputs)?;
        let classes = classes(&self.program, shapes, batch)?;
        if let Some(teacher) = &mut self.teacher {
            let shapes = self::shapes(&mut teacher.shapes, &teacher.program, &inputs)?;
            let taught = self::classes(&teacher.program, shapes, batch)?;
            if taught != classes {
                return Err(refused(format!(
                    "the teacher tells {taught} classes apart and the model {classes}"
                )));
            }
        }
        Ok(classes)
    }

    /// One epoch, the `number`th from 0.
    pub(super) fn epoch(&mut self, number: usize, progress: &dyn Fn(Progress)) -> Result<Progress, Error> {
        let (batch, steps) = (self.batch(), self.steps());
        let Options {
            seed,
            augment,
            epochs,
            warm_up,
            ..
        } = *self.options;
        let epoch = Epoch::shuffled(self.data.len(), seed, number, augment);
        let begin = Instant::now();
        let (mut sum, mut right) = (0.0, 0);
        let mut so_far = None;
        for step in 0..steps {
            let at = number * steps + step;
            let made = self.step(
                &epoch,
                step * batch..(step + 1) * batch,
                at,
                schedule(at, epochs * steps, warm_up),
            )?;
            (sum, right) = (sum + made.sum, right + made.right);
            let done = (step + 1) * batch;
            let current = Progress {
                epoch: number + 1,
                epochs,
                done,
                total: steps * batch,
                loss: sum / done as f64,
                accuracy: right as f64 / done as f64,
                per_second: done as f64 / begin.elapsed().as_secs_f64(),
                validation: None,
            };
            progress(current);
            so_far = Some(current);
        }
        self.check_finite()?;
        Ok(so_far.expect("an epoch has a step"))
    }

    fn step(
        &mut self,
        epoch: &Epoch,
        places: std::ops::Range<usize>,
        number: usize,
        rate: f32,
    ) -> Result<Loss, Error> {
        let pool = Arc::clone(&self.pool);
        pool.install(|| {
            let batch = epoch.batch(self.data, places)?;
            let extents = batch.extents();
            shapes(&mut self.shapes, &self.program, &extents)?;
            if let Some(teacher) = &mut self.teacher {
                shapes(&mut teacher.shapes, &teacher.program, &extents)?;
            }
            let (made, gradients, seen) = self.gradients(batch);
            if !made.sum.is_finite() {
                return Err(refused(format!(
                    "the loss is not finite any more at step {number}; use a smaller learning rate"
                )));
            }
            for (index, gradient) in gradients.iter().enumerate() {
                let Some(gradient) = gradient else { continue };
                let values = self.values[index].storage_mut();
                let parameter = &self.program.parameters[index];
                self.memories[index].step(
                    parameter,
                    values,
                    elements(gradient),
                    (number, rate),
                    self.options,
                );
            }
            for seen in seen {
                self.collect(seen);
            }
            Ok(made)
        })
    }

    /// The loss of a batch, the gradients of the parameters, and the statistics of the batch.
    fn gradients(&self, batch: Batch) -> (Loss, Vec<Option<FlexTensor>>, Vec<Seen>) {
        let count = batch.labels.len();
        let inputs: Vec<FlexTensor> = inputs(batch.inputs);
        let taught = self.teacher.as_ref().map(|teacher| {
            let outcome = Run::<Flex>::new(
                &teacher.program,
                &teacher.shapes[&count],
                &teacher.values,
                Mode::Infer,
            )
            .run(inputs.clone());
            answer(&outcome)
        });
        let taught = taught.as_ref().map(|answer| Taught {
            logits: elements(answer),
            options: self.options.distil.unwrap_or_default(),
        });

        let leaves: Vec<FloatTensor<Taped>> = self
            .program
            .parameters
            .iter()
            .zip(&self.values)
            .map(|(parameter, values)| {
                let leaf = Taped::constant(values.clone());
                Taped::float_set_require_grad(leaf, parameter.is_trained())
            })
            .collect();
        let outcome =
            Run::<Taped>::new(&self.program, &self.shapes[&count], &leaves, Mode::Train).run(inputs);
        let logits = answer(&outcome);
        let made = loss(elements(&logits), self.classes, &batch.labels, taught);
        // The sum of logits times constants has these constants as its gradient.
        let slope = Taped::constant(tensor(made.gradient.clone(), [count, self.classes]));
        let root = Taped::float_sum(Taped::float_mul(outcome.answer, slope));
        let mut gradients = Taped::backward(root);
        let of = |leaf: &FloatTensor<Taped>| {
            Taped::grad_remove(leaf, &mut gradients).map(|gradient| packed(&gradient))
        };
        let found = leaves.iter().map(of).collect();
        (made, found, outcome.seen)
    }

    /// Moves the running statistics of a batch normalization towards those of a batch.
    fn collect(&mut self, seen: Seen) {
        let [_, _, mean, variance] = seen.parameters;
        let (kept, new) = (seen.momentum, 1.0 - seen.momentum);
        for (index, seen) in [(mean, seen.statistics.mean), (variance, seen.statistics.variance)] {
            let running: &mut [f32] = self.values[index].storage_mut();
            for (running, seen) in running.iter_mut().zip(seen) {
                *running = kept * *running + new * seen;
            }
        }
    }

    /// Gives batch normalizations that change nothing the statistics of what they see, as mean and variance and as
    /// shift and scale, so that they still change nothing but can be trained.
    pub(super) fn adopt_statistics(&mut self) -> Result<(), Error> {
        let epoch = Epoch::in_order(self.data.len());
        let (batch, count) = (self.batch(), (OBSERVED / self.batch()).clamp(1, self.steps()));
        let mut sums: Vec<([usize; 4], Vec<f32>, Vec<f32>)> = Vec::new();
        for step in 0..count {
            let pool = Arc::clone(&self.pool);
            let seen = pool.install(|| {
                let batch = epoch.batch(self.data, step * batch..(step + 1) * batch)?;
                let shapes = shapes(&mut self.shapes, &self.program, &batch.extents())?;
                let run = Run::<Flex>::new(&self.program, shapes, &self.values, Mode::Observe);
                Ok::<_, Error>(run.run(inputs(batch.inputs)).seen)
            })?;
            if sums.is_empty() {
                let empty = |seen: &Seen| {
                    let zeros = vec![0.0; seen.statistics.mean.len()];
                    (seen.parameters, zeros.clone(), zeros)
                };
                sums = seen.iter().map(empty).collect();
            }
            for ((_, means, squares), seen) in sums.iter_mut().zip(seen) {
                let Statistics { mean, variance } = seen.statistics;
                let channels = means.iter_mut().zip(squares).zip(mean.into_iter().zip(variance));
                for ((sum, square), (mean, variance)) in channels {
                    *sum += mean / count as f32;
                    *square += (variance + mean * mean) / count as f32;
                }
            }
        }
        for ([scale, shift, mean, variance], means, squares) in sums {
            let pairs = means.iter().zip(&squares);
            let variances: Vec<f32> = pairs
                .map(|(mean, square)| (square - mean * mean).max(0.0))
                .collect();
            let scales = variances
                .iter()
                .map(|variance| (variance + EPSILON).sqrt())
                .collect();
            for (index, values) in [
                (scale, scales),
                (shift, means.clone()),
                (mean, means),
                (variance, variances),
            ] {
                let shape = self.program.parameters[index].shape.clone();
                self.values[index] = tensor(values, shape);
            }
        }
        Ok(())
    }

    /// Part of the samples that are recognised.
    pub(super) fn accuracy(&mut self, data: &dyn Samples) -> Result<f64, Error> {
        let epoch = Epoch::in_order(data.len());
        let mut right = 0;
        for start in (0..data.len()).step_by(self.options.batch) {
            let places = start..data.len().min(start + self.options.batch);
            let pool = Arc::clone(&self.pool);
            let (answered, labels) = pool.install(|| {
                let batch = epoch.batch(data, places)?;
                let shapes = shapes(&mut self.shapes, &self.program, &batch.extents())?;
                let run = Run::<Flex>::new(&self.program, shapes, &self.values, Mode::Infer);
                Ok::<_, Error>((answer(&run.run(inputs(batch.inputs))), batch.labels))
            })?;
            let pairs = rows(&answered).zip(&labels);
            right += pairs.filter(|(logits, label)| best(logits) == **label).count();
        }
        Ok(right as f64 / data.len().max(1) as f64)
    }

    /// What is kept between steps: the parameters' elements and the memory of each.
    pub(super) fn state(&self) -> impl Iterator<Item = (&[f32], &[f32])> {
        let memories = self.memories.iter().map(|memory| &memory.values[..]);
        self.values.iter().map(elements).zip(memories)
    }

    /// Goes on from a state of this program.
    pub(super) fn restore(&mut self, state: Vec<(Vec<f32>, Vec<f32>)>) {
        for (index, (values, memory)) in state.into_iter().enumerate() {
            self.values[index] = tensor(values, self.program.parameters[index].shape.clone());
            self.memories[index].values = memory;
        }
    }

    /// The program's parameters as they are now.
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let trained = self.program.parameters.iter().zip(&self.values);
        trained
            .map(|(parameter, values)| Parameter {
                values: elements(values).to_vec(),
                ..parameter.clone()
            })
            .collect()
    }
}

fn elements_of(parameter: &Parameter) -> FlexTensor {
    tensor(parameter.values.clone(), parameter.shape.clone())
}

fn inputs(inputs: Vec<(Vec<usize>, Vec<f32>)>) -> Vec<FlexTensor> {
    let inputs = inputs.into_iter();
    inputs
        .map(|(shape, values)| tensor(values, Shape::from(shape)))
        .collect()
}

fn shapes<'a>(cache: &'a mut Cache, program: &Program, inputs: &[Vec<usize>]) -> Result<&'a Shapes, Error> {
    use std::collections::hash_map::Entry;
    let batch = inputs
        .first()
        .and_then(|shape| shape.first())
        .copied()
        .unwrap_or(0);
    Ok(match cache.entry(batch) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => new.insert(program.shapes(inputs)?),
    })
}

/// The classes of an answer of one axis a sample and one of classes.
fn classes(program: &Program, shapes: &Shapes, batch: usize) -> Result<usize, Error> {
    match shapes[program.answer].as_deref() {
        Some(&[samples, classes]) if samples == batch && classes > 0 => Ok(classes),
        _ => Err(refused(
            "the model's output is not one logit a class; only classifiers can be trained",
        )),
    }
}
