//! What is trained: constants of the model, as floats, and how they go back into it.

use crate::error::Error;
use crate::graph::Graph;
use crate::proto::{DataType, TensorProto};

/// Weights in 8 bits leave -128 unused, so that the grid is symmetric.
const LARGEST: f32 = 127.0;

/// The largest integer of a bias, which leaves the accumulator room for the products.
const LARGEST_BIAS: f32 = (1_u32 << 30) as f32;

/// Of integers, more than this part are zero where weights were pruned; fewer may be what rounding made.
const PRUNED: f64 = 0.1;

/// A trained constant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parameter {
    /// The initializer that holds it.
    pub(super) name: String,
    /// Its extents.
    pub(super) shape: Vec<usize>,
    /// Its elements as floats, also where the model holds integers.
    pub(super) values: Vec<f32>,
    /// How it is trained and goes back into the model.
    pub(super) role: Role,
    /// Whether large values are punished.
    pub(super) decays: bool,
}

/// How a parameter is trained and goes back into the model.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Role {
    /// As it is.
    Float,
    /// Weights that the model holds in 8 bits.
    Weights(Stored),
    /// A bias that the model holds in 32 bits.
    Bias {
        /// The initializer of its scales.
        scale: String,
        /// What multiplies to its scales: the input's scale, and those of the weights that are this parameter.
        factors: Option<(InputScale, usize)>,
    },
    /// The natural logarithm of the scale of an activation.
    LogScale,
    /// Mean or variance that a batch normalization collects; not trained by gradients.
    Statistic,
}

/// The scale of a layer's input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum InputScale {
    /// That of this parameter, which is trained.
    Trained(usize),
    /// This one.
    Fixed(f32),
}

impl InputScale {
    fn value(self, parameters: &[Parameter]) -> f32 {
        match self {
            Self::Trained(index) => parameters[index].values[0].exp(),
            Self::Fixed(scale) => scale,
        }
    }
}

/// Weights in 8 bits, symmetric around zero.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    /// The initializer of the scales.
    scale: String,
    /// Channels with a scale each, and elements from one channel to the next; one channel is the whole tensor.
    pub(super) channels: (usize, usize),
    /// The largest integer.
    pub(super) largest: f32,
    /// Whether the floats that the integers were rounded from are not known.
    pub(super) alone: bool,
}

impl Stored {
    /// The finest scales that hold the weights.
    fn scales(&self, weights: &[f32]) -> Vec<f32> {
        let (count, stride) = self.channels;
        let mut scales = vec![0.0_f32; count];
        for (index, run) in weights.chunks(stride).enumerate() {
            let scale = &mut scales[index % count];
            *scale = run.iter().fold(*scale, |most, weight| most.max(weight.abs()));
        }
        for scale in &mut scales {
            *scale /= self.largest;
            if *scale < f32::MIN_POSITIVE {
                *scale = 1.0;
            }
        }
        scales
    }

    fn integers<'a>(
        &self,
        weights: &'a [f32],
        scales: &'a [f32],
    ) -> impl Iterator<Item = (f32, f32)> + use<'a> {
        let ((count, stride), largest) = (self.channels, self.largest);
        weights.chunks(stride).enumerate().flat_map(move |(index, run)| {
            let scale = scales[index % count];
            let integer = move |weight: &f32| (weight / scale).round_ties_even().clamp(-largest, largest);
            run.iter().map(move |weight| (integer(weight), scale))
        })
    }

    /// What the weights are once they are stored.
    pub(super) fn rounded(&self, weights: &[f32]) -> Vec<f32> {
        let scales = self.scales(weights);
        let integers = self.integers(weights, &scales);
        integers.map(|(integer, scale)| integer * scale).collect()
    }
}

impl Parameter {
    /// A float initializer.
    pub(super) fn float(tensor: &TensorProto, role: Role, decays: bool) -> Result<Self, Error> {
        Ok(Self {
            name: tensor.name().to_owned(),
            shape: tensor.shape()?,
            values: finite(tensor)?,
            role,
            decays,
        })
    }

    /// The scale of an activation, which must be one positive number.
    pub(super) fn log_scale(tensor: &TensorProto) -> Result<Self, Error> {
        match tensor.floats()?[..] {
            [scale] if scale.is_finite() && scale > 0.0 => Ok(Self {
                name: tensor.name().to_owned(),
                shape: vec![1],
                values: vec![scale.ln()],
                role: Role::LogScale,
                decays: false,
            }),
            _ => Err(Error::tensor(
                tensor.name(),
                "the scale of an activation must be one positive number to be trained",
            )),
        }
    }

    /// Integers that a `DequantizeLinear` makes floats of; `None` where they are of another kind than weights and
    /// biases are. `masters` are float tensors, one of which may be what the integers were rounded from.
    pub(super) fn integers(
        tensor: &TensorProto,
        scale: &TensorProto,
        axis: i64,
        masters: &[&TensorProto],
    ) -> Result<Option<Self>, Error> {
        let kind = tensor.element_type()?;
        if !matches!(kind, DataType::Int8 | DataType::Int32) {
            return Ok(None);
        }
        let (shape, integers, scales) = (tensor.shape()?, tensor.integers()?, scale.floats()?);
        let channels = if scales.len() == 1 {
            (1, integers.len().max(1))
        } else {
            let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
            let axis = usize::try_from(axis)
                .ok()
                .filter(|&axis| shape.get(axis) == Some(&scales.len()));
            let axis = axis.ok_or_else(|| Error::tensor(scale.name(), "it is not one scale a channel"))?;
            (scales.len(), shape[axis + 1..].iter().product::<usize>().max(1))
        };
        let largest = integers
            .iter()
            .map(|integer| integer.unsigned_abs())
            .max()
            .unwrap_or(0);
        let steps = |at: usize| scales[at / channels.1 % channels.0];
        let dequantized = integers
            .iter()
            .enumerate()
            .map(|(at, &integer)| integer as f32 * steps(at));
        let dequantized: Vec<f32> = dequantized.collect();
        let master = master(&shape, &dequantized, steps, masters)?;
        let stored = Stored {
            alone: master.is_none(),
            scale: scale.name().to_owned(),
            channels,
            largest: if largest == 0 {
                LARGEST
            } else {
                (largest as f32).min(LARGEST)
            },
        };
        let values = master.unwrap_or(dequantized);
        let is_weights = kind == DataType::Int8;
        Ok(Some(Self {
            name: tensor.name().to_owned(),
            shape,
            values,
            decays: is_weights,
            role: if is_weights {
                Role::Weights(stored)
            } else {
                Role::Bias {
                    scale: stored.scale,
                    factors: None,
                }
            },
        }))
    }

    /// Whether gradients change it.
    pub(super) fn is_trained(&self) -> bool {
        self.role != Role::Statistic
    }

    /// Which elements stay zero: weights that are. A float weight is hardly ever exactly zero unless it was pruned;
    /// where all are, as in a new classifier, nothing has been learnt yet.
    pub(super) fn mask(&self) -> Option<Vec<bool>> {
        let zeros = self.values.iter().filter(|&&value| value == 0.0).count();
        let least = match &self.role {
            Role::Weights(stored) if stored.alone => PRUNED * self.values.len() as f64,
            _ => 0.0,
        };
        let pruned = self.decays && zeros as f64 > least && zeros < self.values.len();
        pruned.then(|| self.values.iter().map(|&value| value == 0.0).collect())
    }
}

/// The float tensor that rounds to what is stored, if there is one. It keeps what rounding lost.
fn master(
    shape: &[usize],
    stored: &[f32],
    step: impl Fn(usize) -> f32,
    masters: &[&TensorProto],
) -> Result<Option<Vec<f32>>, Error> {
    for tensor in masters {
        if tensor.shape()? != shape || tensor.element_type()? != DataType::Float {
            continue;
        }
        let values: Vec<f32> = tensor.values()?;
        let rounds = |(at, (value, stored)): (usize, (&f32, &f32))| {
            (value - stored).abs() <= 0.501 * step(at) + value.abs() * 1e-6
        };
        if values.iter().zip(stored).enumerate().all(rounds) {
            return Ok(Some(values));
        }
    }
    Ok(None)
}

fn finite(tensor: &TensorProto) -> Result<Vec<f32>, Error> {
    let values = tensor.floats()?;
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => {
            let reason = format!("it holds {value}, which cannot be trained; repair the model");
            Err(Error::tensor(tensor.name(), reason))
        }
        None => Ok(values),
    }
}

/// Puts all parameters back into the graph that they were taken from.
pub(super) fn write_back(graph: &mut Graph, parameters: &[Parameter]) {
    for parameter in parameters {
        let Parameter {
            name, shape, values, ..
        } = parameter;
        match &parameter.role {
            Role::Float | Role::Statistic => graph.add_initializer(TensorProto::of(name, shape, values)),
            Role::LogScale => {
                let extents = extents_of(graph, name);
                let scale: Vec<f32> = values.iter().map(|log| log.exp()).collect();
                graph.add_initializer(TensorProto::of(name, &extents, &scale));
            }
            Role::Weights(stored) => {
                let bias = parameters.iter().find_map(|other| match &other.role {
                    Role::Bias {
                        factors: Some((input, weights)),
                        ..
                    } if parameters[*weights].name == *name => Some((other, input.value(parameters))),
                    _ => None,
                });
                write_weights(graph, parameter, stored, bias);
            }
            // Written with its weights, whose scales it needs.
            Role::Bias { factors: Some(_), .. } => {}
            Role::Bias { scale, factors: None } => {
                let scales = graph.initializer(scale).and_then(|tensor| tensor.floats().ok());
                let scales = scales.expect("it was read from there");
                write_bias(graph, parameter, &scales);
            }
        }
    }
}

fn write_weights(graph: &mut Graph, weights: &Parameter, stored: &Stored, bias: Option<(&Parameter, f32)>) {
    let mut scales = stored.scales(&weights.values);
    if let Some((bias, input)) = bias {
        let count = scales.len();
        for (channel, value) in bias.values.iter().enumerate() {
            let scale = &mut scales[channel % count];
            *scale = scale.max(value.abs() / LARGEST_BIAS / input);
        }
    }
    let integers: Vec<i8> = stored
        .integers(&weights.values, &scales)
        .map(|(integer, _)| integer as i8)
        .collect();
    graph.add_initializer(TensorProto::of(&weights.name, &weights.shape, &integers));
    let extents = extents_of(graph, &stored.scale);
    graph.add_initializer(TensorProto::of(&stored.scale, &extents, &scales));
    if let Some((bias, input)) = bias {
        let scales: Vec<f32> = scales.iter().map(|scale| scale * input).collect();
        let Role::Bias { scale, .. } = &bias.role else {
            unreachable!("it was found by its role")
        };
        let extents = extents_of(graph, scale);
        graph.add_initializer(TensorProto::of(scale, &extents, &scales));
        write_bias(graph, bias, &scales);
    }
}

fn write_bias(graph: &mut Graph, bias: &Parameter, scales: &[f32]) {
    let integer = |(channel, value): (usize, &f32)| {
        let scale = f64::from(scales[channel % scales.len()]);
        (f64::from(*value) / scale).round_ties_even() as i32
    };
    let integers: Vec<i32> = bias.values.iter().enumerate().map(integer).collect();
    graph.add_initializer(TensorProto::of(&bias.name, &bias.shape, &integers));
}

fn extents_of(graph: &Graph, name: &str) -> Vec<usize> {
    let tensor = graph.initializer(name).expect("it was read from there");
    tensor.shape().expect("it was read before")
}
