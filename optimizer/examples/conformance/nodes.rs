//! The cases of single operators: what shape inference says of each output beside what the reference computed.

use std::collections::BTreeMap;
use std::path::Path;

use edgefront_optimizer::Model;
use edgefront_optimizer::check::knows_operator;
use edgefront_optimizer::proto::{ModelProto, TensorProto, TypeValue};
use edgefront_optimizer::shape::{self, Dim, Values};
use prost::Message as _;

/// How cases of one operator came out.
#[derive(Default)]
struct Tally {
    agree: usize,
    /// Cases whose shape was left open in part, which is no error.
    open: Vec<String>,
    wrong: Vec<String>,
}

enum Verdict {
    Agrees,
    Open,
    Wrong(String),
}

/// Prints a row an operator; whether none was wrong.
pub(crate) fn run(folder: &Path) -> bool {
    let mut operators: BTreeMap<String, Tally> = BTreeMap::new();
    let mut passed_over = 0;
    for case in crate::entries(folder) {
        let Some((operator, verdict)) = judge(&case) else {
            passed_over += 1;
            continue;
        };
        let name = case
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let tally = operators.entry(operator).or_default();
        match verdict {
            Verdict::Agrees => tally.agree += 1,
            Verdict::Open => tally.open.push(name),
            Verdict::Wrong(why) => tally.wrong.push(format!("{name}: {why}")),
        }
    }
    println!("\noperators: cases whose shapes agree with the reference, are open in part, are wrong");
    let (mut agree, mut open, mut wrong) = (0, 0, 0);
    for (operator, tally) in &operators {
        println!(
            "{operator:<24} {:>4} {:>4} {:>4}",
            tally.agree,
            tally.open.len(),
            tally.wrong.len()
        );
        tally.open.iter().for_each(|name| println!("    open: {name}"));
        tally.wrong.iter().for_each(|line| println!("    wrong: {line}"));
        agree += tally.agree;
        open += tally.open.len();
        wrong += tally.wrong.len();
    }
    println!(
        "{} operators, {agree} cases agree, {open} open, {wrong} wrong; {passed_over} cases of operators that are not covered",
        operators.len()
    );
    wrong == 0
}

/// The operator of a case and how it came out; `None` where an operator of it is not known.
fn judge(folder: &Path) -> Option<(String, Verdict)> {
    let model = Model::read(&folder.join("model.onnx")).ok()?;
    let nodes = &model.graph().node;
    if !nodes.iter().all(knows_operator)
        || nodes
            .iter()
            .any(|node| node.attribute.iter().any(|a| a.g.is_some()))
    {
        return None;
    }
    let operator = nodes.first()?.op_type().to_owned();
    let data = folder.join("test_data_set_0");
    let expected = tensors(&data, "output")?;
    let names: Vec<String> = model
        .graph()
        .output
        .iter()
        .map(|output| output.name().to_owned())
        .collect();
    let blind = without_outputs(&model, tensors(&data, "input")?)?;
    let verdict = match shape::infer(&blind, &BTreeMap::new()) {
        Ok(values) => compare(&values, &names, &expected),
        Err(error) => Verdict::Wrong(error.to_string()),
    };
    Some((operator, verdict))
}

/// The model without what it declares of its results, so that inference has to find it. Inputs that are not the
/// first are constants, as they are in networks, and so is a first one of integers.
fn without_outputs(model: &Model, inputs: Vec<TensorProto>) -> Option<Model> {
    let mut proto = ModelProto::decode(model.encode().as_slice()).ok()?;
    let graph = proto.graph.as_mut()?;
    graph.value_info.clear();
    for output in &mut graph.output {
        let TypeValue::TensorType(tensor) = output.r#type.as_mut()?.value.as_mut()? else {
            return None;
        };
        tensor.shape = None;
    }
    for (index, (mut tensor, declared)) in inputs.into_iter().zip(&graph.input.clone()).enumerate() {
        if index > 0 || tensor.element_type().is_ok_and(|kind| !kind.is_float()) {
            tensor.name = Some(declared.name().to_owned());
            graph.initializer.push(tensor);
        }
    }
    Model::decode(&proto.encode_to_vec(), None).ok()
}

/// `input_0.pb`, `input_1.pb`, ...; `None` where one is no tensor.
fn tensors(folder: &Path, what: &str) -> Option<Vec<TensorProto>> {
    let mut tensors = Vec::new();
    while let Ok(bytes) = std::fs::read(folder.join(format!("{what}_{}.pb", tensors.len()))) {
        let tensor = TensorProto::decode(bytes.as_slice()).ok()?;
        tensor.validate().ok()?;
        tensors.push(tensor);
    }
    Some(tensors)
}

fn compare(values: &Values, names: &[String], expected: &[TensorProto]) -> Verdict {
    let mut verdict = Verdict::Agrees;
    for (name, expected) in names.iter().zip(expected) {
        let Some(value) = values.get(name) else {
            return Verdict::Wrong(format!("`{name}` has no type"));
        };
        if Ok(value.data_type) != expected.element_type().map_err(|_| ()) {
            return Verdict::Wrong(format!("`{name}` is {}", value.data_type.label()));
        }
        let Some(shape) = &value.shape else {
            verdict = Verdict::Open;
            continue;
        };
        let fits = |(dim, &extent): (&Dim, &i64)| match dim {
            Dim::Known(known) => *known == extent,
            _ => true,
        };
        if shape.len() != expected.dims.len() || !shape.iter().zip(&expected.dims).all(fits) {
            return Verdict::Wrong(format!("`{name}` is {shape:?}, not {:?}", expected.dims));
        }
        if value.extents().is_none() {
            verdict = Verdict::Open;
        }
        if let Some(known) = value.known().filter(|known| !same(known, expected)) {
            return Verdict::Wrong(format!("`{name}` is computed as {known:?}"));
        }
    }
    verdict
}

/// Whether two tensors hold the same numbers, floats up to rounding.
fn same(a: &TensorProto, b: &TensorProto) -> bool {
    let close = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a - b).abs() <= 1e-5 * b.abs().max(1.0);
    match (a.floats(), b.floats()) {
        (Ok(a), Ok(b)) => a.len() == b.len() && a.iter().zip(&b).all(close),
        _ => match (a.integers(), b.integers()) {
            (Ok(a), Ok(b)) => a == b,
            _ => a.raw_data == b.raw_data,
        },
    }
}
