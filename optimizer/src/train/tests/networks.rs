//! Networks that between them have every operator.

use super::*;
use crate::proto::{DataType, TensorProto, node};

/// A network that begins with a convolution, and the value that it gives: `[batch, 4, 6, 6]`.
fn started() -> (Builder, String) {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "4", "6", "6"]);
    let weights = b.floats(&[4, 4, 1, 1], &Noise(2).take(16));
    let y = b.op("Conv", &[&x, &weights], &[]);
    (b, y)
}

/// Logits of a value with so many channels.
fn tail(b: &mut Builder, x: &str, channels: usize) -> String {
    let pooled = b.op("GlobalAveragePool", &[x], &[]);
    let flat = b.op("Flatten", &[&pooled], &[]);
    let weights = b.floats(&[channels, 3], &Noise(4).take(channels * 3));
    b.op("MatMul", &[&flat, &weights], &[])
}

/// Networks that between them have every operator, of inputs `[batch, 4, 6, 6]`.
pub(super) fn networks() -> Vec<(&'static str, Model)> {
    let mut made = Vec::new();
    for operator in [
        "Relu",
        "LeakyRelu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Erf",
        "Exp",
        "Neg",
    ] {
        let (mut b, y) = started();
        let y = b.op(operator, &[&y], &[]);
        let y = tail(&mut b, &y, 4);
        made.push((operator, b.finish(&[&y])));
    }
    let (mut b, y) = started();
    let (low, high) = (b.floats(&[], &[-0.5]), b.floats(&[], &[0.6]));
    let limited = b.op("Clip", &[&y, &low, &high], &[]);
    let gate = b.op("GlobalAveragePool", &[&y], &[]);
    let gate = b.op("Sigmoid", &[&gate], &[]);
    let gated = b.op("Mul", &[&limited, &gate], &[]);
    let by_channel = b.floats(&[4, 1, 1], &Noise(7).take(4));
    let scaled = b.op("Mul", &[&gated, &by_channel], &[]);
    let divisor = b.floats(&[], &[0.5]);
    let scaled = b.op("Div", &[&scaled, &divisor], &[]);
    let difference = b.op("Sub", &[&scaled, &y], &[]);
    let joined = b.op("Concat", &[&difference, &y], &[int("axis", 1)]);
    let y = tail(&mut b, &joined, 8);
    made.push(("gates", b.finish(&[&y])));

    let window = [
        ints("kernel_shape", &[3, 3]),
        ints("strides", &[2, 2]),
        ints("pads", &[1; 4]),
    ];
    let counted = [&window[..], &[int("count_include_pad", 1)]].concat();
    for (operator, attributes) in [
        ("MaxPool", &window[..]),
        ("AveragePool", &window),
        ("AveragePool", &counted),
    ] {
        let (mut b, y) = started();
        let y = b.op(operator, &[&y], attributes);
        let y = tail(&mut b, &y, 4);
        made.push((operator, b.finish(&[&y])));
    }

    let (mut b, y) = started();
    let target = b.ints(&[0, 4, 36]);
    let tokens = b.op("Reshape", &[&y, &target], &[]);
    let tokens = b.op("Transpose", &[&tokens], &[ints("perm", &[0, 2, 1])]);
    let weights = b.floats(&[4, 4], &Noise(8).take(16));
    let keys = b.op("MatMul", &[&tokens, &weights], &[]);
    let keys = b.op("Transpose", &[&keys], &[ints("perm", &[0, 2, 1])]);
    let scores = b.op("MatMul", &[&tokens, &keys], &[]);
    let scores = b.op("Softmax", &[&scores], &[int("axis", -1)]);
    let seen = b.op("MatMul", &[&scores, &tokens], &[]);
    let mean = b.op("ReduceMean", &[&seen], &[ints("axes", &[1]), int("keepdims", 0)]);
    let (weights, bias) = (
        b.floats(&[3, 4], &Noise(1).take(12)),
        b.floats(&[3], &Noise(6).take(3)),
    );
    let factors = [
        AttributeProto::from_float("alpha", 0.5),
        AttributeProto::from_float("beta", 2.0),
    ];
    let attributes = [&factors[..], &[int("transB", 1)]].concat();
    let y = b.op("Gemm", &[&mean, &weights, &bias], &attributes);
    made.push(("attention", b.finish(&[&y])));
    made.extend(moving());
    made.extend(pooling());
    made.extend(choosing());
    made
}

/// Networks that move elements.
fn moving() -> Vec<(&'static str, Model)> {
    let mut made = Vec::new();

    // The channel shuffle of ShuffleNet.
    let (mut b, y) = started();
    let [left, right] = ["left", "right"];
    let mut split = node("Split", "split", &[&y], &[left, right]);
    split.attribute = vec![int("axis", -3)];
    b.node(split);
    let turned = b.op("Sigmoid", &[right], &[]);
    let joined = b.op("Concat", &[left, &turned], &[int("axis", 1)]);
    let target = b.ints(&[0, 2, 2, 6, 6]);
    let grouped = b.op("Reshape", &[&joined, &target], &[]);
    let swapped = b.op("Transpose", &[&grouped], &[ints("perm", &[0, 2, 1, 3, 4])]);
    let target = b.ints(&[-1, 4, 6, 6]);
    let shuffled = b.op("Reshape", &[&swapped, &target], &[]);
    let y = tail(&mut b, &shuffled, 4);
    made.push(("shuffle", b.finish(&[&y])));

    let (mut b, y) = started();
    let sizes = b.ints(&[1, 3]);
    b.node(node("Split", "split", &[&y, &sizes], &["a", "b"]));
    b.proto_mut().node.last_mut().unwrap().attribute = vec![int("axis", 1)];
    // Of two outputs one may be read by nothing.
    let y = tail(&mut b, "b", 3);
    made.push(("uneven split", b.finish(&[&y])));

    for (name, [starts, ends, axes, steps]) in [
        ("slice", [&[1, -5][..], &[i64::MAX, 100], &[1, -1], &[1, 1]]),
        ("steps", [&[3, 0], &[-5, 6], &[1, 3], &[-1, 2]]),
        ("whole", [&[0, 2], &[i64::MAX, 3], &[0, 1], &[1, 1]]),
    ] {
        let (mut b, y) = started();
        let bounds = [starts, ends, axes, steps].map(|bounds| b.ints(bounds));
        let [starts, ends, axes, steps] = &bounds;
        let sliced = b.op("Slice", &[&y, starts, ends, axes, steps], &[]);
        let channels = match name {
            "slice" => 3,
            "steps" => 4,
            _ => 1,
        };
        let y = tail(&mut b, &sliced, channels);
        made.push((name, b.finish(&[&y])));
    }

    let (mut b, y) = started();
    let indices = b.ints(&[2, -1, 2]);
    let some = b.op("Gather", &[&y, &indices], &[int("axis", 1)]);
    let first = b.initializer(TensorProto::of("first", &[], &[1_i64]));
    let row = b.op("Gather", &[&some, &first], &[int("axis", -2)]);
    let square = b.initializer(TensorProto::of("square", &[2, 2], &[0_i64, 3, 5, 5]));
    let spread = b.op("Gather", &[&row, &square], &[int("axis", 2)]);
    let y = tail(&mut b, &spread, 3);
    made.push(("gather", b.finish(&[&y])));

    let (mut b, y) = started();
    let pads = b.ints(&[0, 1, 0, 2, 0, 0, 3, 0]);
    let filling = b.floats(&[], &[0.7]);
    let padded = b.op("Pad", &[&y, &pads, &filling], &[]);
    let turned = b.op("Sigmoid", &[&padded], &[]);
    let y = tail(&mut b, &turned, 5);
    made.push(("pad", b.finish(&[&y])));

    // The target depends on the batch in a way that no symbol follows.
    let (mut b, y) = started();
    let shape = b.op("Shape", &[&y], &[]);
    let first = b.ints(&[0]);
    let batch = b.op("Gather", &[&shape, &first], &[]);
    let minus = b.ints(&[-1]);
    let is_any = b.op("Equal", &[&batch, &minus], &[]);
    let batch = b.op("Where", &[&is_any, &minus, &batch], &[]);
    let (by, rest) = (b.ints(&[1]), b.ints(&[4, 36]));
    let batch = b.op("Mul", &[&batch, &by], &[]);
    let target = b.op("Concat", &[&batch, &rest], &[int("axis", 0)]);
    let tokens = b.op("Reshape", &[&y, &target], &[]);
    let (starts, ends, axes) = (b.ints(&[1]), b.ints(&[-1]), b.ints(&[1]));
    let some = b.op("Slice", &[&tokens, &starts, &ends, &axes], &[]);
    let y = tail(&mut b, &some, 2);
    made.push(("computed target", b.finish(&[&y])));

    let (mut b, y) = started();
    let pooled = b.op("GlobalMaxPool", &[&y], &[]);
    let target = b.ints(&[1, 4, 3, 2]);
    let repeated = b.op("Expand", &[&pooled, &target], &[]);
    let by_place = b.floats(&[3, 2], &Noise(12).take(6));
    let scaled = b.op("Mul", &[&repeated, &by_place], &[]);
    let y = tail(&mut b, &scaled, 4);
    made.push(("expand", b.finish(&[&y])));

    let (mut b, y) = started();
    let twice = b.floats(&[2, 1, 1, 1, 1], &[0.5, -2.0]);
    let both = b.op("Mul", &[&y, &twice], &[]);
    let axes = b.ints(&[0]);
    let sum = b.op("ReduceSum", &[&both, &axes], &[int("keepdims", 0)]);
    let (high, low) = (b.floats(&[], &[0.2]), b.floats(&[], &[0.4]));
    let crossed = b.op("Clip", &[&sum, &low, &high], &[]);
    let joined = b.op("Concat", &[&sum, &crossed], &[int("axis", 1)]);
    let y = tail(&mut b, &joined, 8);
    made.push(("axes in front", b.finish(&[&y])));
    made
}

/// Networks that pool with windows over the end, and that sum.
fn pooling() -> Vec<(&'static str, Model)> {
    let mut made = Vec::new();
    let window = |kernel: i64, stride: i64, pads: &[i64; 4]| {
        vec![
            ints("kernel_shape", &[kernel; 2]),
            ints("strides", &[stride; 2]),
            ints("pads", pads),
            int("ceil_mode", 1),
        ]
    };
    for (name, operator, attributes) in [
        ("ceil", "MaxPool", window(3, 2, &[0; 4])),
        ("ceil with pads", "MaxPool", window(2, 3, &[1; 4])),
        ("ceil of means", "AveragePool", window(3, 2, &[0; 4])),
        (
            "ceil of means with pads",
            "AveragePool",
            window(3, 2, &[1, 1, 0, 0]),
        ),
        ("nothing over", "MaxPool", window(2, 2, &[0; 4])),
    ] {
        let (mut b, y) = started();
        let y = b.op(operator, &[&y], &attributes);
        let y = tail(&mut b, &y, 4);
        made.push((name, b.finish(&[&y])));
    }

    let (mut b, y) = started();
    let axes = b.ints(&[-1]);
    let sums = b.op("ReduceSum", &[&y, &axes], &[int("keepdims", 0)]);
    let most = b.op("ReduceMax", &[&sums], &[ints("axes", &[2]), int("keepdims", 0)]);
    let weights = b.floats(&[4, 3], &Noise(4).take(12));
    let y = b.op("MatMul", &[&most, &weights], &[]);
    made.push(("sums", b.finish(&[&y])));

    let (mut b, y) = started();
    let tokens = b.op("Transpose", &[&y], &[ints("perm", &[0, 2, 3, 1])]);
    let (scale, shift) = (
        b.floats(&[4], &Noise(13).take(4)),
        b.floats(&[4], &Noise(14).take(4)),
    );
    let normal = b.op("LayerNormalization", &[&tokens, &scale, &shift], &[]);
    let pictures = b.op("Transpose", &[&normal], &[ints("perm", &[0, 3, 1, 2])]);
    let scale = b.floats(&[4, 6, 6], &Noise(15).take(144));
    let epsilon = AttributeProto::from_float("epsilon", 0.01);
    let normal = b.op(
        "LayerNormalization",
        &[&pictures, &scale],
        &[int("axis", 1), epsilon],
    );
    let y = tail(&mut b, &normal, 4);
    made.push(("layers", b.finish(&[&y])));
    made
}

/// Networks of functions that choose, and of powers.
fn choosing() -> Vec<(&'static str, Model)> {
    let mut made = Vec::new();
    for exponent in [2.0, 3.0, 0.5, -1.5] {
        let (mut b, y) = started();
        let positive = b.op("Exp", &[&y], &[]);
        let base = if exponent > 1.0 { y } else { positive };
        let exponent = b.floats(&[], &[exponent]);
        let y = b.op("Pow", &[&base, &exponent], &[]);
        let y = tail(&mut b, &y, 4);
        made.push(("powers", b.finish(&[&y])));
    }

    let (mut b, y) = started();
    let (high, low) = (b.floats(&[], &[0.6]), b.floats(&[1], &[-0.5]));
    let by_channel = b.floats(&[4, 1, 1], &[0.2, -0.1, 0.3, 9.0]);
    let limited = b.op("Min", &[&y, &high], &[]);
    let limited = b.op("Max", &[&low, &limited], &[]);
    let largest = b.op("Max", &[&limited, &by_channel, &y], &[]);
    let smallest = b.op("Min", &[&y, &by_channel], &[]);
    let joined = b.op("Concat", &[&largest, &smallest], &[int("axis", 1)]);
    let y = tail(&mut b, &joined, 8);
    made.push(("extremes", b.finish(&[&y])));

    let (mut b, y) = started();
    let mut condition = TensorProto::of("condition", &[6, 1], &[1_u8, 0, 0, 1, 1, 0]);
    condition.data_type = Some(DataType::Bool.into());
    let condition = b.initializer(condition);
    let lowest = b.floats(&[], &[f32::NEG_INFINITY]);
    let masked = b.op("Where", &[&condition, &y, &lowest], &[]);
    let scores = b.op("Softmax", &[&masked], &[int("axis", 2)]);
    let chosen = b.op("Where", &[&condition, &scores, &y], &[]);
    let y = tail(&mut b, &chosen, 4);
    made.push(("where", b.finish(&[&y])));
    made
}

/// What is as it is only since opset 20, or what tract computes otherwise.
pub(super) fn recent() -> Vec<(&'static str, Model)> {
    let over = vec![
        ints("kernel_shape", &[3, 3]),
        ints("strides", &[2, 2]),
        ints("pads", &[1, 0, 1, 2]),
        int("ceil_mode", 1),
        int("count_include_pad", 1),
    ];
    let tanh = AttributeProto::from_text("approximate", "tanh");
    let of = |(operator, attributes): (&'static str, Vec<AttributeProto>)| {
        let (mut b, y) = started();
        let y = b.op(operator, &[&y], &attributes);
        let y = tail(&mut b, &y, 4);
        let mut model = b.finish(&[&y]);
        model.set_opset(20);
        (operator, model)
    };
    [
        ("AveragePool", over),
        ("Gelu", vec![]),
        ("Gelu", vec![tanh]),
        ("Mish", vec![]),
        ("Softplus", vec![]),
    ]
    .map(of)
    .to_vec()
}
