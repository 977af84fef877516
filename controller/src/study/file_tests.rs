use edgefront_optimizer::passes::prune::Method;
use edgefront_optimizer::recipe::{self, Step};
use edgefront_protocol::Nanos;

use super::*;
use crate::ui::one_line;

fn read(text: &str) -> Result<Study, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("night.toml");
    std::fs::write(&path, text).unwrap();
    Study::read(&path).map_err(|error| {
        let usage = error.chain().any(<dyn std::error::Error>::is::<UsageError>);
        assert!(usage, "{error:#}");
        one_line(&error).replace(&format!("{}/", dir.path().display()), "")
    })
}

#[test]
fn the_shipped_study_loads_and_states_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/study.toml");
    let study = Study::read(&path).unwrap();
    let folder = path.parent().unwrap();
    let expected = Study {
        written: Written::File,
        validation: Some(folder.join("val.npz")),
        calibration: Some(folder.join("calib.npz")),
        ..Study::new("study", folder.join("model.onnx"))
    };
    assert_eq!(study, expected);
}

#[test]
fn every_commented_setting_of_the_shipped_study_is_one() {
    let text = include_str!("../../../configs/study.toml");
    let mut settings = String::new();
    for line in text.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let is_setting = line.contains(" = ")
            || line.starts_with('[')
            || line.starts_with("    ")
            || line.starts_with(']');
        if is_setting {
            settings.push_str(line);
            settings.push('\n');
        }
    }
    let study = read(&settings).unwrap();
    assert!(study.broker.is_some() && study.devices.len() == 2, "{study:?}");
    assert!(
        study
            .variants
            .iter()
            .any(|variant| recipe::named(&variant.name).is_none())
    );
}

#[test]
fn recipes_and_names_may_be_mixed() {
    let study = read(
        "model = 'm.onnx'\n\
         variants = ['fp32', { name = 'prune30', steps = [{ pass = 'prune', amount = 0.3 }] }]\n\
         threads = [1, 4]\n\
         plan.min_time = '500ms'",
    )
    .unwrap();
    assert_eq!(study.name, "night");
    assert_eq!(study.variants[0], recipe::named("fp32").unwrap());
    assert!(
        matches!(study.variants[1].steps[..], [Step::Prune(Method::Weights { amount, .. })] if amount < 0.31)
    );
    assert_eq!(study.threads, [1, 4]);
    assert_eq!(study.plan.min_time, Nanos(500_000_000));
}

#[test]
fn a_plan_may_ask_for_a_cool_device_and_a_governor() {
    let study = read(
        "model = 'm.onnx'\nvariants = ['fp32']\n\
         plan = { cool_to = '50C', max_load = 25, governor = 'performance' }",
    )
    .unwrap();
    let wait = CoolDown {
        to_c: 50,
        limit: Nanos(120_000_000_000),
    };
    assert_eq!(study.plan.cool_down, Some(wait));
    assert_eq!(study.plan.governor, Some(Governor::Performance));
    assert_eq!(study.plan.max_load, 25);
    for written in ["50", "50C", "50 °C", " 50C "] {
        assert_eq!(celsius(written), Ok(50), "{written}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let wrong = [
        "modl = 'm.onnx'",
        "name = 'x'",
        "model = 'm.onnx'\nthreads = [0]",
        "model = 'm.onnx'\nthreads = 'two'",
        "model = 'm.onnx'\n\n[plan]\nmin_time = 'soon'",
        "model = 'm.onnx'\n[plan]\nmin_tme = '2s'",
        "model = 'm.onnx'\n[plan]\ncool_to = 'cold'",
        "model = 'm.onnx'\n[plan]\ncool_limit = '2m'",
        "model = 'm.onnx'\n[plan]\ngovernor = 'turbo'",
        "model = 'm.onnx'\nvariants = ['fp32', 'fp31']",
        "model = 'm.onnx'\nvariants = [{ name = 'x', steps = [{ pass = 'prun' }] }]",
        "model = 'm.onnx'\nvariants = [{ name = 'x', steps = [{ pass = 'prune', amont = 1 }] }]",
        "model = 'm.onnx'\nvariants = [{ name = ' ', steps = [{ pass = 'fp16' }] }]",
        "model = 'm.onnx'\nvariants = ['fp32']\nname = \"re\\u001B[31md\"",
        "model = 'm.onnx'\nvariants = [{ name = 'fp32', steps = [{ pass = 'fp16' }] }]",
        "model = 'm.onnx'\nbroker = 'localhost'",
        "model = 'm.onnx'\nvariants = ['fp32']\ndevices = ['a b']",
        "model = 'm.onnx'\nvariants = ['fp32']\ndevices = ['pi']",
        "model = 'm.onnx'",
        "model = 'm.onnx'\nvalidation = 'v.npz'\nvariants = ['fp32', 'prune50-ft']",
        "model = 'm.onnx'\nvariants = ['fp32']\nplan.max_time = '1s'",
        "model = ",
    ];
    let said: Vec<String> = wrong.iter().map(|text| read(text).unwrap_err()).collect();
    insta::assert_snapshot!(said.join("\n"));
}
