//! Fitting the parameters of a program to labelled samples.

mod running;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use burn_backend::ops::FloatTensorOps as _;
use burn_backend::tensor::FloatTensor;
use burn_backend::{AutodiffBackend as _, TensorMetadata as _};
use edgefront_runtimes::classes;
use rayon::ThreadPool;

use super::DIVERGED;
use super::batch::{Batch, Epoch};
use super::descent::{Memory, schedule};
use super::kernels::Kernels;
use super::loss::{Loss, Taught, best, loss};
use super::options::Options;
use super::parameter::Parameter;
use super::program::{Program, Shapes, refused};
use super::run::{Loaded, Mode, Outcome, Run, Seen, answer};
use super::tape::{Tape as _, Taped};
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

/// A program whose parameters move.
pub(super) struct Fit<'a, B: Kernels> {
    loaded: Loaded<B>,
    options: &'a Options,
    teacher: Option<Fixed<B>>,
    data: &'a dyn Samples,
    pool: Arc<ThreadPool>,
    /// The parameters' elements.
    values: Vec<FloatTensor<B>>,
    memories: Vec<Memory<B>>,
    shapes: Cache,
    /// Classes that the model tells apart.
    classes: usize,
}

/// A program whose parameters stay, such as a teacher.
struct Fixed<B: Kernels> {
    loaded: Loaded<B>,
    values: Vec<FloatTensor<B>>,
    shapes: Cache,
}

impl<B: Kernels> Fixed<B> {
    fn new(program: Program, device: &B::Device) -> Self {
        let loaded = Loaded::new(program, device);
        Self {
            values: loaded.parameters(),
            loaded,
            shapes: Cache::new(),
        }
    }
}

/// Elements and memory of each parameter.
pub(super) type State = Vec<(Vec<f32>, Vec<f32>)>;

/// What a step needs of a batch: its loss, the gradient of each parameter that has one, and what was seen.
type Gradients<B> = (Loss, Vec<Option<FloatTensor<B>>>, Vec<Seen<B>>);

/// Inferred extents by batch.
type Cache = HashMap<usize, Shapes>;

impl<'a, B: Kernels> Fit<'a, B> {
    /// The data must have samples whose labels the model's answer has classes for.
    pub(super) fn new(
        program: Program,
        teacher: Option<Program>,
        data: &'a dyn Samples,
        options: &'a Options,
        threads: usize,
        device: &B::Device,
    ) -> Result<Self, Error> {
        if data.is_empty() {
            return Err(refused(
                "there are no samples to train on; give some with `--train`",
            ));
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .build();
        let loaded = Loaded::new(program, device);
        let parameters = loaded.program.parameters.iter();
        let mut fit = Self {
            options,
            data,
            pool: Arc::new(
                pool.map_err(|error| refused(format!("cannot start {threads} threads: {error}")))?,
            ),
            values: loaded.parameters(),
            memories: parameters
                .map(|parameter| Memory::of(parameter, device))
                .collect(),
            teacher: teacher.map(|program| Fixed::new(program, device)),
            loaded,
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

    /// What is trained.
    pub(super) fn program(&self) -> &Program {
        &self.loaded.program
    }

    /// How many elements stay zero.
    pub(super) fn masked(&self, parameter: usize) -> usize {
        self.memories[parameter].masked
    }

    /// Refuses what the last step of an epoch made, whose loss nobody has looked at.
    fn check_finite(&self) -> Result<(), Error> {
        for values in &self.values {
            if !B::download(values)?.iter().all(|value| value.is_finite()) {
                return Err(refused(DIVERGED));
            }
        }
        Ok(())
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
        let program = &self.loaded.program;
        let shapes = shapes(&mut self.shapes, program, &inputs)?;
        let classes = count(program, shapes, batch)?;
        if let Some(teacher) = &mut self.teacher {
            let program = &teacher.loaded.program;
            let shapes = self::shapes(&mut teacher.shapes, program, &inputs)?;
            let taught = count(program, shapes, batch)
                .map_err(|error| refused(format!("the teacher cannot teach: {error}")))?;
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
        let batch = pool.install(|| epoch.batch(self.data, places))?;
        B::compute(&pool, || {
            let extents = batch.extents();
            shapes(&mut self.shapes, &self.loaded.program, &extents)?;
            if let Some(teacher) = &mut self.teacher {
                shapes(&mut teacher.shapes, &teacher.loaded.program, &extents)?;
            }
            let (made, gradients, seen) = self.gradients(batch)?;
            if !made.sum.is_finite() {
                return Err(refused(format!(
                    "the loss is not finite any more at step {number}; use a smaller learning rate"
                )));
            }
            for (index, gradient) in gradients.iter().enumerate() {
                let Some(gradient) = gradient else { continue };
                let parameter = &self.loaded.program.parameters[index];
                self.memories[index].step(
                    parameter,
                    &mut self.values[index],
                    gradient,
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
    fn gradients(&self, batch: Batch) -> Result<Gradients<B>, Error> {
        let count = batch.labels.len();
        let inputs = self.upload(batch.inputs);
        let taught = self.teacher.as_ref().map(|teacher| {
            let run = Run::<B>::new(
                &teacher.loaded,
                &teacher.shapes[&count],
                &teacher.values,
                Mode::Infer,
            );
            answer(&run.run(inputs.clone()))
        });
        let taught = taught.transpose()?;
        let taught = taught.as_deref().map(|logits| Taught {
            logits,
            options: self.options.distil.unwrap_or_default(),
        });

        let parameters = self.loaded.program.parameters.iter();
        let leaves: Vec<FloatTensor<Taped<B>>> = parameters
            .zip(&self.values)
            .map(|(parameter, values)| {
                let leaf = Taped::<B>::constant(values.clone());
                Taped::<B>::float_set_require_grad(leaf, parameter.is_trained())
            })
            .collect();
        let outcome =
            Run::<Taped<B>>::new(&self.loaded, &self.shapes[&count], &leaves, Mode::Train).run(inputs);
        let made = loss(&answer(&outcome)?, self.classes, &batch.labels, taught);
        // The sum of logits times constants has these constants as its gradient.
        let slope = B::upload(made.gradient.clone(), outcome.answer.shape(), &self.loaded.device);
        let slope = Taped::<B>::constant(slope);
        let root = Taped::<B>::float_sum(Taped::<B>::float_mul(outcome.answer, slope));
        let mut gradients = Taped::<B>::backward(root);
        let of = |leaf: &FloatTensor<Taped<B>>| Taped::<B>::grad_remove(leaf, &mut gradients);
        let found = leaves.iter().map(of).collect();
        Ok((made, found, outcome.seen))
    }

    fn upload(&self, inputs: Vec<(Vec<usize>, Vec<f32>)>) -> Vec<FloatTensor<B>> {
        let inputs = inputs.into_iter();
        inputs
            .map(|(shape, values)| B::upload(values, shape, &self.loaded.device))
            .collect()
    }

    /// Part of the samples that are recognised.
    pub(super) fn accuracy(&mut self, data: &dyn Samples) -> Result<f64, Error> {
        let epoch = Epoch::in_order(data.len());
        let mut right = 0;
        for start in (0..data.len()).step_by(self.options.batch) {
            let places = start..data.len().min(start + self.options.batch);
            let pool = Arc::clone(&self.pool);
            let Batch { inputs, labels } = pool.install(|| epoch.batch(data, places))?;
            let answered = B::compute(&pool, || answer(&self.run(inputs, labels.len(), Mode::Infer)?))?;
            let pairs = answered.chunks(self.classes).zip(&labels);
            right += pairs.filter(|(logits, label)| best(logits) == **label).count();
        }
        Ok(right as f64 / data.len().max(1) as f64)
    }

    /// Runs the inputs of so many samples, without a tape.
    fn run(
        &mut self,
        inputs: Vec<(Vec<usize>, Vec<f32>)>,
        count: usize,
        mode: Mode,
    ) -> Result<Outcome<B>, Error> {
        let extents: Vec<Vec<usize>> = inputs.iter().map(|(extents, _)| extents.clone()).collect();
        shapes(&mut self.shapes, &self.loaded.program, &extents)?;
        let run = Run::<B>::new(&self.loaded, &self.shapes[&count], &self.values, mode);
        Ok(run.run(self.upload(inputs)))
    }

    /// What is kept between steps: the parameters' elements and the memory of each.
    pub(super) fn state(&self) -> Result<State, Error> {
        let pairs = self.values.iter().zip(&self.memories);
        pairs
            .map(|(values, memory)| Ok((B::download(values)?, memory.values()?)))
            .collect()
    }

    /// Goes on from a state of this program.
    pub(super) fn restore(&mut self, state: State) {
        for (index, (values, memory)) in state.into_iter().enumerate() {
            let parameter = &self.loaded.program.parameters[index];
            self.memories[index].restore(memory, parameter, &self.loaded.device);
            self.values[index] = self.loaded.parameter(index, values);
        }
    }

    /// The program's parameters as they are now.
    pub(super) fn parameters(&self) -> Result<Vec<Parameter>, Error> {
        let trained = self.loaded.program.parameters.iter().zip(&self.values);
        trained
            .map(|(parameter, values)| {
                Ok(Parameter {
                    values: B::download(values)?,
                    ..parameter.clone()
                })
            })
            .collect()
    }
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

/// The classes that a program's answer tells apart.
fn count(program: &Program, shapes: &Shapes, batch: usize) -> Result<usize, Error> {
    let shape = shapes[program.answer].as_deref().unwrap_or_default();
    classes(shape, batch).ok_or_else(|| {
        refused(format!(
            "the output of shape {shape:?} is not one logit a class, as [{batch}, classes] would be; give a classifier"
        ))
    })
}
