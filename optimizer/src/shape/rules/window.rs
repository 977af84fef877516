//! Convolutions and pools: operators that slide a window over the spatial axes.

use crate::proto::DataType;
use crate::shape::Value;
use crate::shape::call::{Call, Outcome};
use crate::shape::dim::{Dim, display};

/// `Conv`. Weights are `[out, in / group, ...]`.
pub(crate) fn conv(call: &Call) -> Outcome {
    let data_type = call.same_type([1, 2])?;
    if let Some(weights) = call.shaped(1)?.1 {
        bias(call, weights.first().unwrap_or(&Dim::Unknown))?;
    }
    convolved(call, data_type)
}

/// `ConvInteger`: bytes in, 32-bit integers out; its third and fourth inputs are zero points.
pub(crate) fn conv_integer(call: &Call) -> Outcome {
    convolved(call, DataType::Int32)
}

fn convolved(call: &Call, data_type: DataType) -> Outcome {
    let (x, w) = (call.shaped(0)?.1, call.shaped(1)?.1);
    let (Some(x), Some(w)) = (x, w) else {
        return Call::unshaped(data_type);
    };
    let spatial = check_ranks(x, w)?;
    let group = group(call)?;
    agree(
        &x[1],
        &w[1].times(&Dim::Known(group)),
        "channels of the input",
        "of the weights",
    )?;
    if let Some(rest) = w[0].number().map(|out| out % group).filter(|&rest| rest != 0) {
        return Err(format!("output channels divided by group {group} leave {rest}"));
    }
    let kernel = kernel(call, &w[2..])?;
    let window = Window::read(call, spatial)?;
    let mut shape = vec![x[0].clone(), w[0].clone()];
    for axis in 0..spatial {
        shape.push(window.shrink(&x[axis + 2], &kernel[axis], axis, false)?);
    }
    Ok(vec![Value::new(data_type, shape)])
}

/// `ConvTranspose`. Weights are `[in, out / group, ...]`.
pub(crate) fn conv_transpose(call: &Call) -> Outcome {
    let data_type = call.same_type([1, 2])?;
    let (x, w) = (call.shaped(0)?.1, call.shaped(1)?.1);
    let (Some(x), Some(w)) = (x, w) else {
        return Call::unshaped(data_type);
    };
    let spatial = check_ranks(x, w)?;
    let out = w[1].times(&Dim::Known(group(call)?));
    agree(&x[1], &w[0], "channels of the input", "of the weights")?;
    bias(call, &out)?;
    let kernel = kernel(call, &w[2..])?;
    let window = Window::read(call, spatial)?;
    let extra = call.per_axis("output_padding", spatial, 0)?;
    let fixed = call.ints("output_shape")?;
    let mut shape = vec![x[0].clone(), out];
    for axis in 0..spatial {
        let grown = match &fixed {
            Some(extents) => extents
                .get(axis)
                .copied()
                .map(Dim::Known)
                .ok_or("`output_shape` is too short")?,
            None => window.grow(&x[axis + 2], &kernel[axis], axis, extra[axis]),
        };
        shape.push(grown);
    }
    Ok(vec![Value::new(data_type, shape)])
}

/// `MaxPool`, `AveragePool`, `LpPool`.
pub(crate) fn pool(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let indices = DataType::Int64;
    let Some(x) = shape else {
        return Ok(vec![Value::unshaped(input.data_type), Value::unshaped(indices)]);
    };
    let spatial = x
        .len()
        .checked_sub(2)
        .ok_or("the input needs a batch and a channel axis")?;
    let kernel = call.ints("kernel_shape")?.ok_or("`kernel_shape` is missing")?;
    if kernel.len() != spatial {
        return Err(format!(
            "`kernel_shape` has {} entries, {spatial} expected",
            kernel.len()
        ));
    }
    let window = Window::read(call, spatial)?;
    let ceil = call.int("ceil_mode", 0)? != 0;
    let mut shape = x[..2].to_vec();
    for axis in 0..spatial {
        shape.push(window.shrink(&x[axis + 2], &Dim::Known(kernel[axis]), axis, ceil)?);
    }
    Ok(vec![
        Value::new(input.data_type, shape.clone()),
        Value::new(indices, shape),
    ])
}

/// `GlobalAveragePool` and its kin.
pub(crate) fn global_pool(call: &Call) -> Outcome {
    let (input, shape) = call.shaped(0)?;
    let Some(x) = shape else {
        return Call::unshaped(input.data_type);
    };
    if x.len() < 3 {
        return Err(format!("the input {} has no spatial axes", display(x)));
    }
    let mut shape = x[..2].to_vec();
    shape.resize(x.len(), Dim::Known(1));
    Ok(vec![Value::new(input.data_type, shape)])
}

fn check_ranks(x: &[Dim], w: &[Dim]) -> Result<usize, String> {
    if x.len() < 3 || x.len() != w.len() {
        return Err(format!(
            "input {} and weights {} do not fit",
            display(x),
            display(w)
        ));
    }
    Ok(x.len() - 2)
}

fn group(call: &Call) -> Result<i64, String> {
    match call.int("group", 1)? {
        group @ 1.. => Ok(group),
        group => Err(format!("`group` is {group}")),
    }
}

fn kernel(call: &Call, weights: &[Dim]) -> Result<Vec<Dim>, String> {
    if let Some(declared) = call.ints("kernel_shape")? {
        let declared: Vec<Dim> = declared.into_iter().map(Dim::Known).collect();
        let fits = |(a, b): (&Dim, &Dim)| agree(a, b, "`kernel_shape`", "in the weights");
        if declared.len() != weights.len() {
            return Err(format!(
                "`kernel_shape` has {} entries, not {}",
                declared.len(),
                weights.len()
            ));
        }
        declared.iter().zip(weights).try_for_each(fits)?;
    }
    Ok(weights.to_vec())
}

fn bias(call: &Call, channels: &Dim) -> Result<(), String> {
    match call.optional(2).and_then(|bias| bias.shape.as_deref()) {
        Some([extent]) => agree(extent, channels, "length of the bias", "output channels"),
        Some(other) => Err(format!(
            "the bias has shape {}, one axis expected",
            display(other)
        )),
        None => Ok(()),
    }
}

/// An error where both are numbers and differ.
fn agree(a: &Dim, b: &Dim, what: &str, other: &str) -> Result<(), String> {
    match (a, b) {
        (Dim::Known(a), Dim::Known(b)) if a != b => Err(format!("{what}: {a}, {other}: {b}")),
        _ => Ok(()),
    }
}

enum Padding {
    Same,
    Valid,
    Explicit(Vec<i64>),
}

/// How a window moves.
struct Window {
    strides: Vec<i64>,
    dilations: Vec<i64>,
    padding: Padding,
}

impl Window {
    fn read(call: &Call, spatial: usize) -> Result<Self, String> {
        let padding = match call.node.text("auto_pad").unwrap_or("NOTSET") {
            "SAME_UPPER" | "SAME_LOWER" => Padding::Same,
            "VALID" => Padding::Valid,
            _ => Padding::Explicit(call.per_axis("pads", 2 * spatial, 0)?),
        };
        Ok(Self {
            strides: call.positive("strides", spatial)?,
            dilations: call.positive("dilations", spatial)?,
            padding,
        })
    }

    fn pads(&self, axis: usize) -> (i64, i64) {
        match &self.padding {
            Padding::Explicit(pads) => (pads[axis], pads[pads.len() / 2 + axis]),
            _ => (0, 0),
        }
    }

    /// The output's extent: `floor((in + pads - dilated kernel) / stride) + 1` by ONNX's `Conv` and `MaxPool`.
    fn shrink(&self, input: &Dim, kernel: &Dim, axis: usize, ceil: bool) -> Result<Dim, String> {
        let (Dim::Known(input), Dim::Known(kernel)) = (input, kernel) else {
            return Ok(Dim::Unknown);
        };
        if *kernel < 1 {
            return Err(format!("the kernel has an extent of {kernel}"));
        }
        let stride = self.strides[axis];
        if matches!(self.padding, Padding::Same) {
            return Ok(Dim::Known((input + stride - 1) / stride));
        }
        let (before, after) = self.pads(axis);
        let dilated = (kernel - 1)
            .saturating_mul(self.dilations[axis])
            .saturating_add(1);
        let room = (input + before + after).saturating_sub(dilated);
        if room < 0 {
            let padded = input + before + after;
            return Err(format!(
                "the kernel of {dilated} is larger than the padded input of {padded}"
            ));
        }
        let mut extent = room / stride + 1;
        // The last window of a rounded-up pool must start inside the input or the padding before it.
        if ceil && room % stride != 0 && extent.saturating_mul(stride) < input + before {
            extent += 1;
        }
        Ok(Dim::Known(extent))
    }

    /// The output's extent by ONNX's `ConvTranspose`.
    fn grow(&self, input: &Dim, kernel: &Dim, axis: usize, extra: i64) -> Dim {
        let (Dim::Known(input), Dim::Known(kernel)) = (input, kernel) else {
            return Dim::Unknown;
        };
        let stride = self.strides[axis];
        if matches!(self.padding, Padding::Same) {
            return Dim::Known(input.saturating_mul(stride));
        }
        let (before, after) = self.pads(axis);
        let dilated = (kernel - 1)
            .saturating_mul(self.dilations[axis])
            .saturating_add(1);
        let moved = (input - 1).saturating_mul(stride);
        Dim::Known(
            moved
                .saturating_add(extra - before - after)
                .saturating_add(dilated),
        )
    }
}
