#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

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

/// A change of a graph, by positions that are taken modulo what there is.
#[derive(Debug, Clone, Copy)]
enum Change {
    Add(usize, usize),
    Remove(usize),
    SetInput(usize, usize),
    SetOutput(usize),
    Replace(usize, usize),
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = || 0_usize..50;
    prop_oneof![
        (at(), at()).prop_map(|(a, b)| Change::Add(a, b)),
        at().prop_map(Change::Remove),
        (at(), at()).prop_map(|(node, value)| Change::SetInput(node, value)),
        at().prop_map(Change::SetOutput),
        (at(), at()).prop_map(|(old, new)| Change::Replace(old, new)),
        at().prop_map(Change::Cut),
    ]
}

/// Values from which a node may read without a cycle: the input, and what nodes before it made.
fn values(graph: &Graph) -> Vec<String> {
    let made = graph.nodes().flat_map(|(_, node)| node.output.clone());
    std::iter::once("x".to_owned()).chain(made).collect()
}

fn apply(graph: &mut Graph, change: Change) {
    let (ids, values) = (graph.ids(), values(graph));
    let value = |index: usize| values[index % values.len()].clone();
    let Some(id) = (match change {
        Change::Remove(at) | Change::SetInput(at, _) | Change::SetOutput(at) | Change::Cut(at) => {
            ids.get(at % ids.len().max(1)).copied()
        }
        Change::Add(..) | Change::Replace(..) => ids.first().copied(),
    }) else {
        return;
    };
    match change {
        Change::Add(a, b) => {
            let output = graph.fresh_name("made");
            graph.add_node(node("Add", &output, &[&value(a), &value(b)], &[&output]));
        }
        Change::Remove(_) => drop(graph.remove_node(id)),
        Change::SetInput(_, at) => graph.set_input(id, at % 3, &value(at)),
        Change::SetOutput(_) => {
            let output = graph.fresh_name("renamed");
            graph.set_output(id, 0, &output);
        }
        Change::Replace(old, new) => graph.replace_uses(&value(old), &value(new)),
        Change::Cut(_) => graph.truncate_inputs(id, 1),
    }
}

proptest! {
    #[test]
    fn the_index_is_always_what_the_nodes_say(changes in proptest::collection::vec(change(), 0..40)) {
        let mut graph = Graph::new(forked()).unwrap();
        for change in changes {
            apply(&mut graph, change);
        }
        for name in &graph.names {
            let producer = graph.nodes().find(|(_, node)| !name.is_empty() && node.output.contains(name));
            prop_assert_eq!(graph.producer(name), producer.map(|(id, _)| id));
            let mut uses = graph.consumers(name).to_vec();
            uses.sort_unstable();
            let reads = |(id, node): (NodeId, &NodeProto)| {
                let inputs = node.input.clone().into_iter().enumerate();
                let matching = inputs.filter(|(_, input)| !name.is_empty() && input == name);
                matching.map(move |(index, _)| (id, index)).collect::<Vec<_>>()
            };
            prop_assert_eq!(uses, graph.nodes().flat_map(reads).collect::<Vec<_>>());
        }
    }
}
