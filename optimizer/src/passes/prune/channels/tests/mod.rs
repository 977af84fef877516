#![allow(clippy::unwrap_used)]

mod exact;
mod reasons;

use super::follow::follow;
use super::groups::groups;
use super::select::select;
use crate::cost;
use crate::graph::Graph;
use crate::model::Model;
use crate::passes::finish;
use crate::passes::prune::{Method, Scope, prune};
use crate::proto::TensorProto;
use crate::report::PassReport;

fn channels(amount: f64, scope: Scope, multiple: usize) -> Method {
    Method::Channels {
        amount,
        scope,
        multiple,
    }
}

fn by_layer(amount: f64, multiple: usize) -> Method {
    channels(amount, Scope::Layer, multiple)
}

fn pruned(model: &Model, method: &Method) -> (Model, PassReport) {
    prune(model, method).unwrap()
}

/// The model with zeros in every slice that pruning by the same method takes out.
fn zeroed(model: &Model, method: &Method) -> Model {
    let Method::Channels {
        amount,
        scope,
        multiple,
    } = *method
    else {
        panic!("{method:?}");
    };
    let mut graph = Graph::new(model.clone()).unwrap();
    let found = follow(&graph, &cost::infer_single(model).unwrap()).unwrap();
    let groups = groups(&graph, &found).unwrap();
    let leaving = select(&found, &groups, amount, scope, multiple).unwrap();
    for (slot, place) in found.slots.placed() {
        if !leaving[found.slots.root(slot)] {
            continue;
        }
        let tensor = graph.initializer(&found.tensors[place.tensor]).unwrap();
        let (shape, mut values) = (tensor.shape().unwrap(), tensor.floats().unwrap());
        let inner: usize = shape[place.axis + 1..].iter().product();
        for (index, value) in values.iter_mut().enumerate() {
            if index / inner % shape[place.axis] == place.index {
                *value = 0.0;
            }
        }
        let tensor = TensorProto::of(tensor.name(), &shape, &values);
        graph.add_initializer(tensor);
    }
    finish("zeroed", graph).unwrap()
}
