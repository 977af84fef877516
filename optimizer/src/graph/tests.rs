#![allow(clippy::unwrap_used)]

use super::build::Builder;
use super::*;
use crate::proto::node;

/// x -> Relu -> Sigmoid -> y, and Relu -> Tanh -> z.
fn forked() -> Model {
    let mut b = Builder::new(17);
    let x = b.input("x", &["2"]);
    let rectified = b.op("Relu", &[&x], &[]);
    let y = b.op("Sigmoid", &[&rectified], &[]);
    let z = b.op("Tanh", &[&rectified], &[]);
    b.finish(&[&y, &z])
}

#[test]
fn an_untouched_model_comes_back_the_same() {
    let model = forked();
    assert_eq!(Graph::new(model.clone()).unwrap().finish().unwrap(), model);
}

#[test]
fn edges_follow_what_is_changed() {
    let mut graph = Graph::new(forked()).unwrap();
    let relu = graph.producer("v0").unwrap();
    assert_eq!(graph.consumers("v0").len(), 2);
    assert_eq!(graph.sole_consumer("v0"), None);

    let between = graph.fresh_name("v0");
    graph.replace_uses("v0", &between);
    let added = graph.add_node(node("Identity", "", &["v0"], &[&between]));
    assert_eq!(graph.sole_consumer("v0"), Some(added));
    assert_eq!(graph.producer(&between), Some(added));

    graph.replace_uses("v0", "x");
    graph.remove_node(relu);
    assert_eq!(graph.producer("v0"), None);
    let operators: Vec<String> = graph
        .finish()
        .unwrap()
        .graph()
        .node
        .iter()
        .map(|node| node.op_type().to_owned())
        .collect();
    assert_eq!(operators, ["Identity", "Sigmoid", "Tanh"]);
}

#[test]
fn fresh_names_are_never_taken() {
    let mut graph = Graph::new(forked()).unwrap();
    assert_eq!(graph.fresh_name("new"), "new");
    assert_eq!(graph.fresh_name("new"), "new_1");
    assert_eq!(graph.fresh_name("v0"), "v0_1");
    assert_eq!(graph.fresh_name("x"), "x_1");
}

#[test]
fn a_cycle_is_refused_by_name() {
    let mut graph = Graph::new(forked()).unwrap();
    let relu = graph.producer("v0").unwrap();
    graph.set_input(relu, 0, "v1");
    let error = graph.finish().unwrap_err();
    assert_eq!(
        error.to_string(),
        "node `relu_0` (Relu): it depends on its own output"
    );
}

#[test]
fn two_producers_of_a_value_are_refused() {
    let mut b = Builder::new(17);
    b.input("x", &["2"]);
    b.node(node("Relu", "a", &["x"], &["y"]));
    b.node(node("Tanh", "b", &["x"], &["y"]));
    let error = Graph::new(b.finish(&["y"])).unwrap_err();
    assert_eq!(error.to_string(), "node `b` (Tanh): `y` is already produced");
}

#[test]
fn dead_nodes_go_with_what_only_they_read() {
    let mut graph = Graph::new(forked()).unwrap();
    let x = graph.fresh_name("dead");
    let y = graph.fresh_name("dead");
    graph.add_node(node("Exp", "", &["x"], &[&x]));
    graph.add_node(node("Exp", "", &[&x], &[&y]));
    graph.remove_dead_nodes();
    assert_eq!(graph.nodes().count(), 3);
}

#[test]
fn cut_inputs_and_outputs_are_forgotten() {
    let mut b = Builder::new(17);
    b.input("x", &["2"]);
    b.node(node("Dropout", "d", &["x", "r", "t"], &["y", "mask"]));
    let mut graph = Graph::new(b.finish(&["y"])).unwrap();
    let id = graph.producer("mask").unwrap();
    graph.truncate_outputs(id, 1);
    graph.truncate_inputs(id, 1);
    assert_eq!(graph.producer("mask"), None);
    assert!(graph.consumers("t").is_empty());
    assert_eq!(graph.node(id).input, ["x"]);
}
