//! Training learns, the same way every time, and says what it cannot do.

use super::*;
use crate::passes::prepare;
use crate::passes::prune::{Method, Scope, prune};
use crate::testing::{difference, run_on};

fn operators(model: &Model) -> Vec<&str> {
    model.graph().node.iter().map(|node| node.op_type()).collect()
}

/// Weights and biases in the order of the nodes.
fn weights(model: &Model) -> Vec<Vec<f32>> {
    let graph = Graph::new(model.clone()).unwrap();
    let constants = graph
        .ids()
        .into_iter()
        .flat_map(|id| [1, 2].map(|index| (id, index)));
    let tensors = constants.filter_map(|(id, index)| graph.constant_input(id, index));
    tensors.map(|tensor| tensor.floats().unwrap()).collect()
}

/// The network without the smallest of its weights.
fn pruned(amount: f64) -> Model {
    let scope = Scope::Layer;
    prune(&network(false), &Method::Weights { amount, scope })
        .unwrap()
        .0
}

#[test]
fn a_small_network_learns_and_keeps_its_structure() {
    for normalized in [false, true] {
        let model = network(normalized);
        let options = Options { epochs: 8, ..short() };
        let validation = Spots(21);
        let extras = Extras {
            validation: Some(&validation),
            ..Extras::default()
        };
        let (made, progress) = train_on(&model, &Spots(64), &options, &extras);
        let (trained, report) = made.unwrap();
        assert!(
            last_loss(&progress) < 0.5 * progress[0].loss,
            "normalized: {normalized}"
        );
        assert!(progress.last().unwrap().validation.unwrap() > 0.9);
        assert_eq!(operators(&trained), operators(&model));
        assert_ne!(weights(&trained), weights(&model));
        assert_eq!(report.count_applied(), if normalized { 7 } else { 4 });
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let model = network(true);
    let trained = |seed| {
        let augment = Augment { flip: true, shift: 1 };
        let options = Options {
            seed,
            augment,
            ..short()
        };
        train_on(&model, &Spots(24), &options, &Extras::default())
            .0
            .unwrap()
            .0
            .encode()
    };
    assert_eq!(trained(1), trained(1));
    assert_ne!(trained(1), trained(2));
}

#[test]
fn training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let (model, data) = (network(true), Spots(24));
    let options = Options {
        qat: Some(quantize::Options::default()),
        ..short()
    };
    let (whole, _) = train_on(&model, &data, &options, &Extras::default());

    /// Fails at the third epoch, as a machine may.
    struct Failing<'a>(&'a Spots, std::sync::atomic::AtomicUsize);
    impl Samples for Failing<'_> {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn sample(&self, index: usize) -> std::io::Result<Vec<Tensor>> {
            let read = self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            // The data is read once before the epochs, for the checkpoint.
            if read > 24 * 3 + 8 {
                Ok(Vec::new())
            } else {
                self.0.sample(index)
            }
        }
        fn class(&self, index: usize) -> Option<usize> {
            self.0.class(index)
        }
    }
    let with = |resume| Extras {
        checkpoint: Some(Checkpoint { path: &path, resume }),
        ..Extras::default()
    };
    let failing = Failing(&data, 0.into());
    assert!(train_on(&model, &failing, &options, &with(false)).0.is_err());
    let again = train_on(&model, &data, &options, &with(false)).0.unwrap_err();
    assert!(again.to_string().contains("--resume"), "{again}");
    let (resumed, progress) = train_on(&model, &data, &options, &with(true));
    assert_eq!(progress[0].epoch, 3);
    assert_eq!(resumed.unwrap().0.encode(), whole.unwrap().0.encode());

    let other = Options { seed: 9, ..options };
    let error = train_on(&model, &data, &other, &with(true)).0.unwrap_err();
    assert!(error.to_string().contains("other options"), "{error}");
    let other = Options { seed: 0, ..other };
    for (model, data) in [(&pruned(0.5), &data), (&model, &Spots(25))] {
        let error = train_on(model, data, &other, &with(true)).0.unwrap_err();
        assert!(error.to_string().contains("another model, other data"), "{error}");
    }
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = train_on(&model, &data, &other, &with(true)).0.unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
    std::fs::write(&path, b"no checkpoint").unwrap();
    let error = train_on(&model, &data, &other, &with(true)).0.unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn pruned_weights_stay_zero() {
    for amount in [0.5, 0.05] {
        stays_zero(&pruned(amount));
    }
}

fn stays_zero(pruned: &Model) {
    let (trained, report) = {
        let (made, _) = train_on(pruned, &Spots(24), &short(), &Extras::default());
        made.unwrap()
    };
    for (before, after) in weights(pruned).iter().zip(weights(&trained)) {
        let mut pairs = before.iter().zip(&after);
        let kept = pairs.all(|(before, after)| (*before == 0.0) == (*after == 0.0));
        assert!(kept, "{before:?} {after:?}");
    }
    assert!(report.nodes.iter().any(|node| node.why.contains("stayed zero")));
}

#[test]
fn a_student_comes_nearer_to_its_teacher() {
    let (teacher, student) = (network(false), pruned(0.3));
    let options = Options {
        distil: Some(Distil {
            alpha: 1.0,
            temperature: 2.0,
        }),
        ..short()
    };
    let extras = Extras {
        teacher: Some(&teacher),
        ..Extras::default()
    };
    let (made, progress) = train_on(&student, &Spots(32), &options, &extras);
    made.unwrap();
    assert!(last_loss(&progress) < 0.5 * progress[0].loss, "{progress:?}");
}

#[test]
fn what_cannot_be_trained_is_said_with_the_mend() {
    let model = network(false);
    let none = Extras::default();
    let of = |model: &Model, data: &dyn Samples, options: &Options| {
        train_on(model, data, options, &none).0.unwrap_err().to_string()
    };
    struct Odd;
    impl Samples for Odd {
        fn len(&self) -> usize {
            4
        }
        fn sample(&self, index: usize) -> std::io::Result<Vec<Tensor>> {
            Spots(4).sample(index)
        }
        fn class(&self, index: usize) -> Option<usize> {
            (index < 4).then_some(index)
        }
    }
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "2", "6", "6"]);
    let lost = b.op("Cos", &[&x], &[]);
    let unknown = b.finish(&[&lost]);
    let mut b = Builder::new(17);
    let x = b.input("x", &["1", "2", "6", "6"]);
    let weights = b.floats(&[2, 2, 1, 1], &[1.0; 4]);
    let y = b.op("Conv", &[&x, &weights], &[]);
    let fixed = b.finish(&[&y]);
    let dynamic = {
        let mut b = Builder::new(17);
        let x = b.input("x", &["batch", "2", "6", "6"]);
        let weights = b.floats(&[2, 2, 1, 1], &[f32::NAN; 4]);
        let y = b.op("Conv", &[&x, &weights], &[]);
        b.finish(&[&y])
    };
    let said = [
        of(&model, &Spots(0), &short()),
        of(&model, &Odd, &short()),
        of(&model, &Spots(8), &Options { epochs: 0, ..short() }),
        of(
            &model,
            &Spots(8),
            &Options {
                learning_rate: Some(1e30),
                ..short()
            },
        ),
        of(
            &model,
            &Spots(8),
            &Options {
                distil: Some(Distil::default()),
                ..short()
            },
        ),
        of(
            &model,
            &Spots(8),
            &Options {
                epochs: 1,
                warm_up: 0.0,
                learning_rate: Some(f32::MAX),
                ..short()
            },
        ),
        of(&prepare(&unknown).unwrap().0, &Spots(8), &short()),
        of(&fixed, &Spots(8), &short()),
        of(&dynamic, &Spots(8), &short()),
    ];
    insta::assert_snapshot!(said.join("\n"));
}

/// What is said of a network whose picture goes through one node.
fn said_of(made: impl FnOnce(&mut Builder, &str) -> String) -> String {
    let mut b = Builder::new(17);
    let x = b.input("x", &["batch", "2", "6", "6"]);
    let y = made(&mut b, &x);
    let y = b.op("GlobalAveragePool", &[&y], &[]);
    let model = b.finish(&[&y]);
    match Program::of(&model, None) {
        Ok(program) => match program.shapes(&[vec![2, 2, 6, 6]]) {
            Ok(_) => "it can be trained".to_owned(),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    }
}

#[test]
fn odd_nodes_are_said_by_name() {
    let sliced = |starts: i64, ends: i64, axes: i64, steps: i64| {
        said_of(|b, x| {
            let bounds = [starts, ends, axes, steps].map(|bound| b.ints(&[bound]));
            let [starts, ends, axes, steps] = &bounds;
            b.op("Slice", &[x, starts, ends, axes, steps], &[])
        })
    };
    let gathered = |indices: &[i64], axis: i64| {
        said_of(|b, x| {
            let indices = b.ints(indices);
            b.op("Gather", &[x, &indices], &[int("axis", axis)])
        })
    };
    let split = |sizes: &[i64], axis: i64| {
        said_of(|b, x| {
            let sizes = b.ints(sizes);
            b.node(crate::proto::node("Split", "split", &[x, &sizes], &["a", "b"]));
            b.proto_mut().node.last_mut().unwrap().attribute = vec![int("axis", axis)];
            "a".to_owned()
        })
    };
    let pooled = |attributes: &[AttributeProto]| said_of(|b, x| b.op("MaxPool", &[x], attributes));
    let kernel = ints("kernel_shape", &[2, 2]);
    let said = [
        sliced(4, 2, 2, 1),
        sliced(-1, i64::MIN, -1, -2),
        sliced(0, 3, 7, 1),
        sliced(0, 3, 2, 0),
        sliced(0, 1, 0, 1),
        sliced(100, 200, 2, 1),
        said_of(|b, x| {
            let (starts, ends, axes) = (b.ints(&[0, 1]), b.ints(&[2, 3]), b.ints(&[2, -2]));
            b.op("Slice", &[x, &starts, &ends, &axes], &[])
        }),
        said_of(|b, x| {
            let starts = b.ints(&[0]);
            let ends = b.op("Cast", &[x], &[int("to", 7)]);
            b.op("Slice", &[x, &starts, &ends], &[])
        }),
        gathered(&[0, 2], 1),
        gathered(&[-3], 1),
        gathered(&[], 1),
        gathered(&[0], 0),
        gathered(&[0], -5),
        split(&[0, 2], 1),
        split(&[1, 2], 1),
        split(&[1, 1], 0),
        split(&[1, 1], 4),
        pooled(&[kernel.clone(), int("ceil_mode", 1), ints("pads", &[-1, 0, 0, 0])]),
        pooled(&[kernel, int("ceil_mode", 1), ints("strides", &[9, 9])]),
        said_of(|b, x| {
            let pads = b.ints(&[0, 0, -1, 0, 0, 0, 0, 0]);
            b.op("Pad", &[x, &pads], &[])
        }),
        said_of(|b, x| {
            let pads = b.ints(&[0, 0, 1, 0, 0, 0, 0, 0]);
            b.op(
                "Pad",
                &[x, &pads],
                &[AttributeProto::from_text("mode", "reflect")],
            )
        }),
        said_of(|b, x| b.op("Pow", &[x, x], &[])),
        said_of(|b, x| {
            let condition = b.op("Greater", &[x, x], &[]);
            b.op("Where", &[&condition, x, x], &[])
        }),
        said_of(|b, x| {
            let scale = b.floats(&[6], &[1.0; 6]);
            let outputs = ["y", "mean"];
            b.node(crate::proto::node(
                "LayerNormalization",
                "norm",
                &[x, &scale],
                &outputs,
            ));
            "y".to_owned()
        }),
        said_of(|b, x| {
            let scale = b.floats(&[5], &[1.0; 5]);
            b.op("LayerNormalization", &[x, &scale], &[])
        }),
        said_of(|b, x| {
            let scale = b.floats(&[1, 1, 1, 1, 6], &[1.0; 6]);
            b.op("LayerNormalization", &[x, &scale], &[])
        }),
        said_of(|b, x| {
            let target = b.ints(&[1, 3, 6, 6]);
            b.op("Expand", &[x, &target], &[])
        }),
        said_of(|b, x| {
            let axes = b.ints(&[4]);
            b.op("ReduceSum", &[x, &axes], &[])
        }),
        said_of(|b, x| {
            let vector = b.floats(&[6], &[1.0; 6]);
            b.op("MatMul", &[x, &vector], &[])
        }),
    ];
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn scores_may_have_axes_of_one_element_behind() {
    let classifier = |kernel: usize| {
        let mut b = Builder::new(17);
        let x = b.input("x", &["batch", "2", "6", "6"]);
        let weights = Noise(5).take(4 * kernel * kernel);
        let weights = b.floats(&[2, 2, kernel, kernel], &weights);
        let y = b.op("Conv", &[&x, &weights], &[]);
        b.finish(&[&y])
    };
    let validation = Spots(21);
    let extras = || Extras {
        validation: Some(&validation),
        ..Extras::default()
    };
    let (made, progress) = train_on(&classifier(6), &Spots(64), &short(), &extras());
    made.unwrap();
    assert!(last_loss(&progress) < progress[0].loss);
    assert!(progress.last().unwrap().validation.is_some());

    let (made, _) = train_on(&classifier(3), &Spots(64), &short(), &extras());
    assert_eq!(
        made.unwrap_err().to_string(),
        "train: the output of shape [8, 2, 4, 4] is not one logit a class, as [8, classes] would be; give a classifier"
    );
}

/// Running statistics of the last few steps would be those of a few pictures.
#[test]
fn steps_of_few_samples_leave_statistics_of_many() {
    let model = network(false);
    for batch in [2, 3, 8] {
        let options = Options {
            epochs: 1,
            batch,
            learning_rate: Some(1e-9),
            ..Options::default()
        };
        let trained = train_on(&model, &Spots(200), &options, &Extras::default()).0;
        let trained = trained.unwrap().0;
        for index in 200..204 {
            let input = Spots(300).sample(index).unwrap();
            let [before, after] =
                [&model, &trained].map(|model| run_on("tract", model, &input).swap_remove(0));
            let apart = difference(&before, &after);
            assert!(apart < 0.003, "batch {batch}: {apart}");
        }
    }
}
