//! Ranges that follow from others.

use super::*;
use crate::calibrate::{Derived, Extremes, observe};
use crate::quantize::derived::{Derivation, derive};

/// Dense blocks, whose parts are joined again and again, and a `SiLU`.
fn dense() -> Model {
    let (mut n, x) = Network::new(17);
    let mut parts = vec![n.conv(&x, [4, 3, 3], 1)];
    let axis = [AttributeProto::from_int("axis", 1)];
    for _ in 0..2 {
        let joined = n.b.op(
            "Concat",
            &parts.iter().map(String::as_str).collect::<Vec<_>>(),
            &axis,
        );
        let y = n.conv(&joined, [4, 4 * parts.len(), 3], 1);
        let gate = n.b.op("Sigmoid", &[&y], &[]);
        parts.push(n.b.op("Mul", &[&gate, &y], &[]));
    }
    let nested = n.b.op("Concat", &[&parts[2], &parts[0], &parts[2]], &axis);
    let y = n.conv(&nested, [4, 12, 3], 1);
    n.b.finish(&[&y])
}

fn statistics(model: &Model, observed: &[String], derived: &[Derived], method: Method) -> Statistics {
    let calibration = Calibration {
        samples: &PICTURES(5) as &dyn Samples,
        limit: None,
        methods: &[method],
        percentile: 99.0,
        means: HashSet::new(),
        step: &|Extremes { min, max }| (max - min) / 255.0,
        runtimes: &Registry::built_in(),
        threads: 1,
        progress: &|_, _| {},
    };
    observe(model, observed, derived, &calibration).unwrap().remove(0)
}

#[test]
fn ranges_that_follow_are_those_that_would_be_observed() {
    let model = dense();
    let graph = Graph::new(model.clone()).unwrap();
    let all: Vec<String> = graph.nodes().map(|(_, node)| node.output[0].clone()).collect();
    let Derivation { observed, derived } = derive(&graph, all.clone(), &HashSet::new());
    assert_eq!(
        (observed.len(), derived.len()),
        (4, 7),
        "{observed:?} {derived:?}"
    );
    for method in [Method::Minmax, Method::Entropy, Method::Percentile, Method::Mse] {
        let direct = statistics(&model, &all, &[], method).ranges;
        let followed = statistics(&model, &observed, &derived, method).ranges;
        assert_eq!(direct.len(), followed.len());
        for (value, Extremes { min, max }) in direct {
            let other = followed[&value];
            let apart = (min - other.min).abs().max((max - other.max).abs());
            assert!(
                apart <= 0.05 * (max - min),
                "{method:?} of `{value}`: {min} to {max}, {other:?}"
            );
        }
    }
    let kept: HashSet<String> = all.iter().cloned().collect();
    let Derivation { observed, derived } = derive(&graph, all.clone(), &kept);
    assert!(derived.is_empty() && observed.len() == all.len());
}

#[test]
fn a_function_alone_is_observed_itself_and_parts_are_observed_for_what_joins_them() {
    let model = dense();
    let graph = Graph::new(model).unwrap();
    let of = |operator: &str| {
        let mut nodes = graph.nodes().filter(|(_, node)| node.is(operator));
        nodes.by_ref().last().unwrap().1.output[0].clone()
    };
    let (product, nested) = (of("Mul"), of("Concat"));
    let Derivation { observed, derived } = derive(&graph, vec![product.clone()], &HashSet::new());
    assert_eq!((observed, derived), (vec![product], vec![]));
    let Derivation { observed, derived } = derive(&graph, vec![nested.clone()], &HashSet::new());
    assert_eq!(observed.len(), 2);
    assert_eq!(derived[0].value, nested);
}
