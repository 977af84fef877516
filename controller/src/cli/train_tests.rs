use std::fs;

use edgefront_protocol::pack::Pack;

use super::*;
use crate::ui::one_line;

/// Arguments for the fixture `tiny.onnx` and twelve labelled pictures.
fn args(dir: &Path) -> Args {
    let picture = PictureShape {
        channels: 3,
        height: 8,
        width: 8,
    };
    let values: Vec<f32> = (0..12 * picture.volume()).map(|i| (i % 7) as f32 / 7.0).collect();
    let pack = Pack::from_floats(12, picture, &values).unwrap();
    let labelled = pack
        .with_labels((0..12).map(|index| index % 3).collect())
        .unwrap();
    let train = dir.join("train.safetensors");
    fs::write(&train, labelled.encode()).unwrap();
    Args {
        model: Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/models/tiny.onnx"),
        output: dir.join("out.onnx"),
        val: Some(train.clone()),
        train,
        qat: false,
        calib: None,
        teacher: None,
        epochs: 2,
        batch: 4,
        learning_rate: Some(0.01),
        flip: false,
        shift: 0,
        seed: 0,
        threads: Some(1),
        device: Device::Cpu,
        checkpoint: None,
        resume: false,
        preprocess: None,
        runtime: RuntimeArgs::default(),
    }
}

#[test]
fn writes_a_valid_model_in_float_and_in_integers() {
    let dir = tempfile::tempdir().unwrap();
    for qat in [false, true] {
        let mut args = args(dir.path());
        (args.qat, args.teacher) = (qat, Some(args.model.clone()));
        let output = args.output.clone();
        assert_eq!(run(args, &Ui::new(true)).unwrap(), Exit::Done);
        let summary = check::check(&Model::read(&output).unwrap()).unwrap();
        assert_eq!(summary.operators.contains_key("QuantizeLinear"), qat);
    }
}

#[test]
fn what_does_not_fit_is_said_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let said = |change: &dyn Fn(&mut Args)| {
        let mut args = args(dir.path());
        change(&mut args);
        let error = run(args, &Ui::new(true)).unwrap_err();
        one_line(&error)
            .replace(env!("CARGO_MANIFEST_DIR"), "")
            .replace(&dir.path().display().to_string(), "DIR")
    };
    let said = [
        said(&|args| {
            args.checkpoint = Some(args.train.with_extension("state"));
            args.resume = true;
        }),
        said(&|args| args.checkpoint = Some(args.train.clone())),
        said(&|args| args.teacher = Some(args.train.clone())),
    ];
    insta::assert_snapshot!(said.join("\n"));
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_device_that_the_build_lacks_is_a_mistake_of_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut args = args(dir.path());
    args.device = Device::Cuda(0);
    let output = args.output.clone();
    let error = run(args, &Ui::new(true)).unwrap_err();
    assert!(error.is::<UsageError>(), "{error}");
    assert!(error.to_string().contains("--features cuda"), "{error}");
    assert!(!output.exists());
}

#[test]
fn rates_that_train_nothing_are_refused() {
    assert_eq!(rate("0.01"), Ok(0.01));
    for text in ["0", "-1", "inf", "nan", "x"] {
        assert!(rate(text).is_err(), "{text}");
    }
}

#[test]
fn an_epoch_is_said_in_a_line() {
    let epoch = Epoch {
        number: 2,
        loss: 0.12345,
        accuracy: 0.9712,
        validation: Some(0.95),
        images_per_second: 123.4,
    };
    assert_eq!(
        epoch.describe(3),
        "epoch 2 of 3: loss 0.1235, training 97.1 %, validation 95.0 %, 123 pictures/s"
    );
}
