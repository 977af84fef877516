//! Quantization-aware training: what is trained is what an integer runtime computes.

use super::*;
use crate::proto::DataType;
use crate::testing::{difference, run_on};

fn options() -> Options {
    Options {
        qat: Some(quantize::Options::default()),
        ..short()
    }
}

pub(super) fn quantized(model: &Model) -> Model {
    let context = Context {
        calibration: Some(&Spots(16)),
        training: None,
        runtimes: &Registry::built_in(),
        threads: 1,
        device: Device::Cpu,
        activations: ActivationType::U8,
        progress: &|_| {},
    };
    quantize::quantize(model, &quantize::Options::default(), &context)
        .unwrap()
        .0
}

#[test]
fn it_has_the_structure_of_quantization_after_training_and_other_weights() {
    let model = network(false);
    let (made, progress) = train_on(
        &model,
        &Spots(64),
        &Options {
            epochs: 8,
            ..options()
        },
        &Extras::default(),
    );
    let (trained, report) = made.unwrap();
    let after = quantized(&model);
    assert_eq!(trained.graph().node, after.graph().node);
    let kinds = |model: &Model| -> Vec<(String, Option<i32>, Vec<i64>)> {
        let tensors = model.graph().initializer.iter();
        tensors
            .map(|tensor| (tensor.name().to_owned(), tensor.data_type, tensor.dims.clone()))
            .collect()
    };
    assert_eq!(kinds(&trained), kinds(&after));
    assert_ne!(trained, after);
    assert!(progress.last().unwrap().accuracy > 0.9);
    assert!(
        report
            .nodes
            .iter()
            .any(|node| node.why == "its scale was trained")
    );
}

#[test]
fn a_runtime_answers_as_the_training_did() {
    answers_as_trained(&network(false));
}

/// Squeeze-excite and `HardSwish`, whose gates are the integers of their inputs, read by another scale.
#[test]
fn a_runtime_answers_as_the_training_of_gates_did() {
    let mut noise = Noise(5);
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "2", "6", "6"]);
    let mut conv = |b: &mut Builder, x: &str, shape: [usize; 4]| {
        let weights: Vec<f32> = noise
            .take(shape.iter().product())
            .iter()
            .map(|w| 0.5 * w)
            .collect();
        let weights = b.floats(&shape, &weights);
        let bias = b.floats(&[shape[0]], &noise.take(shape[0]));
        b.op("Conv", &[x, &weights, &bias], &[])
    };
    let wide = conv(&mut b, &x, [8, 2, 3, 3]);
    let wide = b.op("HardSwish", &[&wide], &[]);
    let squeezed = b.op("GlobalAveragePool", &[&wide], &[]);
    let excited = conv(&mut b, &squeezed, [8, 8, 1, 1]);
    let gate = b.op("HardSigmoid", &[&excited], &[]);
    // What moves a gate's values keeps the scale that they are read by.
    let moved = b.op("MaxPool", &[&gate], &[ints("kernel_shape", &[1, 1])]);
    let gated = b.op("Mul", &[&wide, &moved], &[]);
    // A layer that reads a gate: its bias is stored by the gate's scale.
    let read = conv(&mut b, &gate, [8, 8, 1, 1]);
    let sum = b.op("Add", &[&gated, &read], &[]);
    let logits = conv(&mut b, &sum, [2, 8, 4, 4]);
    let logits = b.op("Flatten", &[&logits], &[]);
    let model = b.finish(&[&logits]);
    let after = quantized(&model);
    let nodes = &after.graph().node;
    let of_gates: Vec<&str> = nodes
        .iter()
        .filter(|read| read.is("DequantizeLinear"))
        .filter(|read| {
            let written = nodes.iter().find(|node| node.output[0] == read.input[0]);
            written.is_some_and(|written| written.input[1..] != read.input[1..])
        })
        .map(|read| read.input[1].as_str())
        .collect();
    assert!(!of_gates.is_empty(), "no gate is read by a scale of its own");
    let trained = answers_as_trained(&model);
    // What a gate makes of its integers holds for its scale alone.
    let scale = |model: &Model, name: &str| {
        let mut stored = model.graph().initializer.iter();
        stored
            .find(|tensor| tensor.name() == name)
            .unwrap()
            .floats()
            .unwrap()
    };
    for name in of_gates {
        assert_eq!(scale(&trained, name), scale(&after, name), "{name}");
    }
}

fn answers_as_trained(model: &Model) -> Model {
    let trained = train_on(model, &Spots(32), &options(), &Extras::default())
        .0
        .unwrap()
        .0;
    assert_eq!(trained.graph().node, quantized(model).graph().node);
    assert_ne!(trained, quantized(model));
    // Without further steps, the program of the trained model is what was trained.
    let validation = Spots(40);
    for index in 0..4 {
        let input = validation.sample(index).unwrap().remove(0);
        let own = answer_to(&trained, &input);
        let theirs = run_on("tract", &trained, &[input]).swap_remove(0);
        assert!(difference(&own, &theirs) < 0.02, "{own:?} {theirs:?}");
    }
    trained
}

/// A network for [`Spots`] that shuffles channels as ShuffleNet does.
fn shuffling() -> Model {
    let mut noise = Noise(21);
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "2", "6", "6"]);
    let mut conv = |b: &mut Builder, x: &str, shape: [usize; 4], attributes: &[AttributeProto]| {
        let weights = noise.take(shape.iter().product());
        let weights = b.floats(&shape, &weights);
        let bias = noise.take(shape[0]);
        let bias = b.floats(&[shape[0]], &bias);
        let made = b.op("Conv", &[x, &weights, &bias], attributes);
        b.op("Relu", &[&made], &[])
    };
    let same = ints("pads", &[1; 4]);
    let wide = conv(&mut b, &x, [8, 2, 3, 3], std::slice::from_ref(&same));
    b.node(crate::proto::node(
        "Split",
        "split",
        &[&wide],
        &["kept", "turned"],
    ));
    b.proto_mut().node.last_mut().unwrap().attribute = vec![int("axis", 1)];
    let turned = conv(&mut b, "turned", [4, 1, 3, 3], &[same, int("group", 4)]);
    let turned = conv(&mut b, &turned, [4, 4, 1, 1], &[]);
    let joined = b.op("Concat", &["kept", &turned], &[int("axis", 1)]);
    let target = b.ints(&[-1, 2, 4, 6, 6]);
    let grouped = b.op("Reshape", &[&joined, &target], &[]);
    let swapped = b.op("Transpose", &[&grouped], &[ints("perm", &[0, 2, 1, 3, 4])]);
    let target = b.ints(&[-1, 8, 6, 6]);
    let shuffled = b.op("Reshape", &[&swapped, &target], &[]);
    let (starts, ends, axes) = (b.ints(&[2]), b.ints(&[i64::MAX]), b.ints(&[1]));
    let sliced = b.op("Slice", &[&shuffled, &starts, &ends, &axes], &[]);
    let last = conv(&mut b, &sliced, [8, 6, 1, 1], &[]);
    let ceil = [
        ints("kernel_shape", &[3, 3]),
        ints("strides", &[2, 2]),
        int("ceil_mode", 1),
    ];
    let pooled = b.op("MaxPool", &[&last], &ceil);
    let pooled = b.op("GlobalAveragePool", &[&pooled], &[]);
    let flat = b.op("Flatten", &[&pooled], &[]);
    let weights = b.floats(&[2, 8], &Noise(9).take(16));
    let bias = b.floats(&[2], &[0.1, -0.1]);
    let logits = b.op("Gemm", &[&flat, &weights, &bias], &[int("transB", 1)]);
    b.finish(&[&logits])
}

#[test]
fn ort_answers_as_the_training_of_shuffled_channels_did() {
    let options = Options {
        epochs: 8,
        ..options()
    };
    let (made, progress) = train_on(&shuffling(), &Spots(64), &options, &Extras::default());
    let trained = made.unwrap().0;
    assert!(last_loss(&progress) < 0.5 * progress[0].loss, "{progress:?}");
    let is_stored = |name: &str| {
        let graph = Graph::new(trained.clone()).unwrap();
        let mut nodes = graph.nodes().filter(|(_, node)| node.is(name));
        nodes.all(|(_, node)| {
            let producer = graph.producer(node.input_name(0).unwrap());
            producer.is_some_and(|id| graph.node(id).is("DequantizeLinear"))
        })
    };
    assert!(["Split", "Concat", "Slice"].iter().all(|name| is_stored(name)));
    let samples = Spots(40);
    for index in 0..4 {
        let input = samples.sample(index).unwrap().remove(0);
        let own = answer_to(&trained, &input);
        for runtime in ["ort", "tract"] {
            let theirs = run_on(runtime, &trained, std::slice::from_ref(&input)).swap_remove(0);
            assert!(difference(&own, &theirs) < 0.02, "{runtime}: {own:?} {theirs:?}");
        }
    }
}

/// What a program of the model answers.
fn answer_to(model: &Model, input: &Tensor) -> Tensor {
    let loaded = run::Loaded::<Flex>::new(Program::of(model, None).unwrap(), &FlexDevice);
    let shapes = loaded.program.shapes(&[vec![1, 2, 6, 6]]).unwrap();
    let given = Flex::upload(input.as_f32().unwrap().to_vec(), [1, 2, 6, 6], &FlexDevice);
    let run = run::Run::<Flex>::new(&loaded, &shapes, &loaded.parameters(), run::Mode::Infer);
    let own = run::answer(&run.run(vec![given])).unwrap();
    Tensor::new(vec![1, 2], Data::F32(own)).unwrap()
}

#[test]
fn weights_begin_with_what_rounding_lost() {
    let model = network(false);
    let after = quantized(&model);
    let program = Program::of(&after, Some(&model)).unwrap();
    let stored: Vec<&parameter::Parameter> = program
        .parameters
        .iter()
        .filter(|parameter| matches!(parameter.role, parameter::Role::Weights(_)))
        .collect();
    assert_eq!(stored.len(), 4);
    for parameter in stored {
        let is_float = |tensor: &&crate::proto::TensorProto| {
            tensor.element_type().unwrap() == DataType::Float && tensor.floats().unwrap() == parameter.values
        };
        assert!(model.graph().initializer.iter().any(|tensor| is_float(&tensor)));
    }
    let alone = Program::of(&after, None).unwrap();
    assert_ne!(alone.parameters, program.parameters);
}

#[test]
fn untrained_parameters_go_back_as_they_came() {
    let after = quantized(&network(false));
    let program = Program::of(&after, None).unwrap();
    let mut graph = Graph::new(after.clone()).unwrap();
    parameter::write_back(&mut graph, &program.parameters);
    let back = graph.finish().unwrap();
    for (before, after) in after.graph().initializer.iter().zip(&back.graph().initializer) {
        if let (Ok(before), Ok(after)) = (before.integers(), after.integers()) {
            assert_eq!(before, after);
        } else {
            let pairs = before.floats().unwrap().into_iter().zip(after.floats().unwrap());
            assert!(
                pairs.into_iter().all(|(a, b)| (a - b).abs() <= 1e-6 * a.abs()),
                "{}",
                before.name()
            );
        }
    }
}
