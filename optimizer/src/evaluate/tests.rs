#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::graph::build::Builder;
use crate::model::Model;
use crate::passes::prepare;
use crate::proto::{AttributeProto, DataType};
use crate::shape::infer;
use crate::testing::{int, ints};

/// What `build` returns, computed: its shape and its numbers.
fn value(build: impl FnOnce(&mut Builder) -> String) -> (Vec<usize>, Vec<f32>) {
    let mut b = Builder::new(17);
    let y = build(&mut b);
    let values = infer(&b.finish(&[]), &std::collections::BTreeMap::new()).unwrap();
    let tensor = values.get(&y).unwrap().known().expect("the value is known");
    let numbers = match tensor.element_type().unwrap() {
        DataType::Float => tensor.floats().unwrap(),
        DataType::Bool => tensor
            .raw_data
            .as_ref()
            .unwrap()
            .iter()
            .map(|&byte| f32::from(byte))
            .collect(),
        _ => tensor
            .integers()
            .unwrap()
            .into_iter()
            .map(|value| value as f32)
            .collect(),
    };
    (tensor.shape().unwrap(), numbers)
}

fn six(b: &mut Builder) -> String {
    b.floats(&[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
}

#[test]
fn layouts() {
    let flipped = value(|b| {
        let x = six(b);
        b.op("Transpose", &[&x], &[])
    });
    assert_eq!(flipped, (vec![3, 2], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
    let sliced = value(|b| {
        let (x, starts, ends) = (six(b), b.ints(&[-1, 1]), b.ints(&[-9, 3]));
        let (axes, steps) = (b.ints(&[0, 1]), b.ints(&[-1, 1]));
        b.op("Slice", &[&x, &starts, &ends, &axes, &steps], &[])
    });
    assert_eq!(sliced, (vec![2, 2], vec![4.0, 5.0, 1.0, 2.0]));
    let gathered = value(|b| {
        let (x, at) = (six(b), b.ints(&[2, -3]));
        b.op("Gather", &[&x, &at], &[int("axis", 1)])
    });
    assert_eq!(gathered, (vec![2, 2], vec![2.0, 0.0, 5.0, 3.0]));
    let joined = value(|b| {
        let x = six(b);
        b.op("Concat", &[&x, &x], &[int("axis", -1)])
    });
    assert_eq!(joined.0, [2, 6]);
    assert_eq!(joined.1[..6], [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
    let expanded = value(|b| {
        let (x, to) = (b.floats(&[2, 1], &[1.0, 2.0]), b.ints(&[2, 2]));
        b.op("Expand", &[&x, &to], &[])
    });
    assert_eq!(expanded.1, [1.0, 1.0, 2.0, 2.0]);
    let filled = value(|b| {
        let shape = b.ints(&[2, 2]);
        let fill = AttributeProto::from_tensor("value", TensorProto::of("", &[1], &[0.5_f32]));
        b.op("ConstantOfShape", &[&shape], &[fill])
    });
    assert_eq!(filled, (vec![2, 2], vec![0.5; 4]));
}

#[test]
fn arithmetic_on_scales_and_sizes() {
    let halved = value(|b| {
        let sizes = b.ints(&[4, 7]);
        let to_float = AttributeProto::from_int("to", DataType::Float as i64);
        let x = b.op("Cast", &[&sizes], &[to_float]);
        let half = b.floats(&[], &[0.5]);
        let x = b.op("Mul", &[&x, &half], &[]);
        let x = b.op("Floor", &[&x], &[]);
        b.op("Cast", &[&x], &[int("to", DataType::Int64 as i64)])
    });
    assert_eq!(halved, (vec![2], vec![2.0, 3.0]));
    let chosen = value(|b| {
        let (shape, minus_one, ones) = (b.ints(&[3, -1]), b.ints(&[-1]), b.ints(&[1, 1]));
        let is_open = b.op("Equal", &[&shape, &minus_one], &[]);
        b.op("Where", &[&is_open, &ones, &shape], &[])
    });
    assert_eq!(chosen, (vec![2], vec![3.0, 1.0]));
    let left = value(|b| {
        let (a, by) = (b.ints(&[5, -5, 5, -5, 6]), b.ints(&[3, 3, -3, -3, 3]));
        b.op("Mod", &[&a, &by], &[])
    });
    assert_eq!(left, (vec![5], vec![2.0, 1.0, -1.0, -2.0, 0.0]));
}

#[test]
fn a_float_that_no_integer_holds_is_not_cast() {
    let mut b = Builder::new(17);
    let x = b.floats(&[1], &[f32::INFINITY]);
    let y = b.op("Cast", &[&x], &[int("to", DataType::Int64 as i64)]);
    let values = infer(&b.finish(&[]), &std::collections::BTreeMap::new()).unwrap();
    assert_eq!(values.get(&y).unwrap().known(), None);
}

/// The operators that stay after `prepare`, of a model that multiplies its input with what `build` makes.
fn left(build: impl FnOnce(&mut Builder) -> String) -> (Vec<String>, Model) {
    let mut b = Builder::new(17);
    let x = b.input("x", &["n", "16"]);
    let w = build(&mut b);
    let y = b.op("MatMul", &[&x, &w], &[]);
    let (model, _) = prepare(&b.finish(&[&y])).unwrap();
    let left = model.graph().node.iter().map(|node| node.op_type().to_owned());
    (left.collect(), model)
}

#[test]
fn large_constants_are_computed_by_prepare() {
    let (operators, model) = left(|b| {
        let values: Vec<f32> = (0..160_u8).map(f32::from).collect();
        let w = b.floats(&[10, 16], &values);
        let factor = b.floats(&[], &[2.0]);
        let scaled = b.op("Mul", &[&w, &factor], &[]);
        b.op("Transpose", &[&scaled], &[ints("perm", &[1, 0])])
    });
    assert_eq!(operators, ["MatMul"]);
    let weights = model.graph().initializer[0].floats().unwrap();
    assert_eq!(weights[..3], [0.0, 32.0, 64.0]);
}

#[test]
fn a_constant_beyond_what_a_file_holds_stays_computed() {
    let mut b = Builder::new(17);
    let x = b.input("x", &["64"]);
    let shape = b.ints(&[1 << 20, 16, 64]);
    let w = b.op("ConstantOfShape", &[&shape], &[]);
    let y = b.op("Add", &[&x, &w], &[]);
    let y = b.op("ReduceSum", &[&y], &[]);
    let (model, report) = prepare(&b.finish(&[&y])).unwrap();
    assert!(model.graph().node.iter().any(|node| node.is("ConstantOfShape")));
    assert_eq!(
        report.nodes[0].why,
        "its value would make the model larger than 2 GB"
    );
}

proptest! {
    #[test]
    fn transposing_back_gives_the_same(shape in prop::collection::vec(1_usize..4, 3), order in Just([0_i64, 1, 2]).prop_shuffle()) {
        let count = shape.iter().product::<usize>();
        let numbers: Vec<f32> = (0..count).map(|number| number as f32).collect();
        let mut inverse = [0; 3];
        for (to, &from) in order.iter().enumerate() {
            inverse[from as usize] = to as i64;
        }
        let back = value(|b| {
            let x = b.floats(&shape, &numbers);
            let x = b.op("Transpose", &[&x], &[ints("perm", &order)]);
            b.op("Transpose", &[&x], &[ints("perm", &inverse)])
        });
        prop_assert_eq!(back, (shape, numbers));
    }
}
