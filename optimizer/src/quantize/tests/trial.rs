//! The choice between methods, where none is asked for.

use super::*;
use crate::calibrate::run::Source as Running;
use crate::calibrate::{Extremes, Statistics};
use crate::quantize::trial::{METHODS, choose};

/// What is chosen where the first method covers `first` of each range and the second one `second` of it.
fn chosen(first: f32, second: f32) -> (Calibrated, Choice) {
    let minmax = Options {
        method: Some(Method::Minmax),
        ..options(true, Activations::U8)
    };
    let pictures = PICTURES(40);
    let mut calibrated = calibrated(&resnet(), &minmax, &pictures).unwrap();
    let narrowed = |part: f32| {
        let mut statistics: Statistics = calibrated.statistics.clone();
        for Extremes { min, max } in statistics.ranges.values_mut() {
            *min *= part;
            *max *= part;
        }
        statistics
    };
    let candidates = METHODS
        .into_iter()
        .zip([narrowed(first), narrowed(second)])
        .collect();
    let source = Running {
        samples: &pictures,
        total: 40,
        runtimes: &Registry::built_in(),
        threads: 1,
    };
    let choice = choose(&mut calibrated, candidates, &resnet(), &source).unwrap();
    (calibrated, choice.unwrap())
}

#[test]
fn the_ranges_that_keep_the_outputs_are_taken_and_the_report_says_so() {
    let all = chosen(1.0, 1.0).0.statistics.ranges;
    for (first, second, method) in [
        (1.0, 0.3, Method::Mse),
        (0.3, 1.0, Method::Minmax),
        (1.0, 1.0, Method::Mse),
    ] {
        let (calibrated, choice) = chosen(first, second);
        assert_eq!((choice.method, choice.samples), (method, 32), "{choice:?}");
        assert_eq!(calibrated.statistics.ranges, all, "{choice:?}");
    }
    let (_, report) = quantized(&resnet(), &options(true, Activations::U8), &PICTURES(3)).unwrap();
    let choice = report.choice.unwrap();
    assert_eq!(choice.samples, 3);
    assert!(
        choice.trials.iter().all(|trial| trial.sqnr_db.unwrap() > 25.0),
        "{choice:?}"
    );
}

#[test]
fn a_method_that_is_asked_for_is_not_tried() {
    let mse = Options {
        method: Some(Method::Mse),
        ..options(true, Activations::U8)
    };
    let (_, report) = quantized(&resnet(), &mse, &PICTURES(3)).unwrap();
    assert_eq!(report.choice, None);
}
