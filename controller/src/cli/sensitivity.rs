//! What quantizing each layer costs and what was decided, as text.

use comfy_table::CellAlignment::{Left, Right};
use edgefront_optimizer::sensitivity::{Layer, Measure, Sensitivity};

use crate::ui::{Column, fitted};

/// The layers, the most damaging first, and what came of them, in at most `width` columns of characters.
pub(super) fn describe(found: &Sensitivity, width: u16) -> String {
    let columns = [
        column("layer", Left, |layer| layer.node.clone()),
        column("SQNR dB alone", Right, sqnr),
        column("decision", Left, |layer| {
            (if layer.in_float { "float" } else { "int8" }).to_owned()
        }),
    ];
    let table = fitted(&found.layers, &columns, width);
    format!("{table}\n{}", summary(found))
}

fn column(head: &'static str, side: comfy_table::CellAlignment, cell: fn(&Layer) -> String) -> Column<Layer> {
    Column {
        head,
        side,
        gives_way: None,
        cell,
    }
}

fn sqnr(layer: &Layer) -> String {
    let decibels = layer.sqnr_db();
    if decibels.is_finite() {
        format!("{decibels:.1}")
    } else {
        "exact".to_owned()
    }
}

fn summary(found: &Sensitivity) -> String {
    let (counted, samples) = match found.measure {
        Measure::Top1 => ("top-1 accuracy lost", "labelled samples"),
        Measure::Agreement => ("predictions that change", "samples"),
    };
    let in_float = found.layers.iter().filter(|layer| layer.in_float).count();
    format!(
        "{counted} on {} {samples} (at most {} %):\n{} % with all layers in integers, {} % with {in_float} of {} in float",
        found.samples,
        percent(found.max_drop),
        percent(found.drop_all_quantized),
        percent(found.drop),
        found.layers.len(),
    )
}

/// Two digits, and no sign on what rounds to zero.
fn percent(fraction: f64) -> String {
    let text = format!("{:.2}", 100.0 * fraction);
    if text == "-0.00" { "0.00".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(measure: Measure) -> Sensitivity {
        let layer = |node: &str, noise, in_float| Layer {
            node: node.to_owned(),
            noise,
            in_float,
        };
        Sensitivity {
            measure,
            samples: 200,
            max_drop: 0.01,
            drop_all_quantized: 0.035,
            drop: -0.005,
            layers: vec![
                layer("/features/features.9/block/Conv", 0.02, true),
                layer("/classifier/Gemm", 1e-4, false),
                layer("/spare/Conv", 0.0, false),
            ],
        }
    }

    #[test]
    fn lists_layer_damage_and_decision() {
        insta::assert_snapshot!(describe(&found(Measure::Top1), 80), @"
        layer                            SQNR dB alone  decision
        ────────────────────────────────────────────────────────
        /features/features.9/block/Conv           17.0  float
        /classifier/Gemm                          40.0  int8
        /spare/Conv                              exact  int8
        top-1 accuracy lost on 200 labelled samples (at most 1.00 %):
        3.50 % with all layers in integers, -0.50 % with 1 of 3 in float
        ");
    }

    #[test]
    fn says_what_is_counted_without_labels() {
        let text = describe(&found(Measure::Agreement), 80);
        let counted = text.lines().nth_back(1);
        assert_eq!(
            counted,
            Some("predictions that change on 200 samples (at most 1.00 %):")
        );
    }
}
