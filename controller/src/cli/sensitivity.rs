//! What quantizing each layer costs and what was decided, as text.

use comfy_table::CellAlignment::{Left, Right};
use edgefront_optimizer::sensitivity::{Layer, Measure, Sensitivity};

use crate::ui::{Column, fitted};

/// The layers in the order of the ranking, and what came of them, in at most `width` columns of characters.
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
    decibels(Some(layer.sqnr_db()).filter(|decibels| decibels.is_finite()), "")
}

fn summary(found: &Sensitivity) -> String {
    let percent = |fraction| format!("{} %", percent(fraction));
    let ratio = |value| decibels(value, " dB");
    let at_most = found.max_drop.map(|most| format!("at most {}", percent(most)));
    let at_least = found
        .min_sqnr_db
        .map(|least| format!("at least {}", ratio(Some(least))));
    let mut lines = Vec::new();
    let counted = match found.measure {
        Measure::Top1 => Some(("top-1 accuracy lost", "labelled samples")),
        Measure::Agreement => Some(("predictions that change", "samples")),
        Measure::None => None,
    };
    let mut place = format!("{} samples", found.samples);
    if let Some((counted, samples)) = counted {
        lines.push(bounded(
            format!("{counted} on {} {samples}", found.samples),
            at_most,
        ));
        lines.push(before_and_after(
            found,
            percent(found.drop_all_quantized),
            percent(found.drop),
        ));
        "them".clone_into(&mut place);
    }
    lines.push(bounded(format!("output SQNR on {place}"), at_least));
    lines.push(before_and_after(
        found,
        ratio(found.sqnr_db_all_quantized),
        ratio(found.sqnr_db),
    ));
    if !found.reaches_floor() {
        lines.push("that is out of reach with all layers in float, too".to_owned());
    } else if count_in_float(found) == found.layers.len() {
        lines.push("no layer is left in integers; a lower floor leaves some".to_owned());
    }
    lines.join("\n")
}

fn bounded(counted: String, bound: Option<String>) -> String {
    bound.map_or_else(|| format!("{counted}:"), |bound| format!("{counted} ({bound}):"))
}

fn before_and_after(found: &Sensitivity, before: String, after: String) -> String {
    let (in_float, layers) = (count_in_float(found), found.layers.len());
    format!("{before} with all layers in integers, {after} with {in_float} of {layers} in float")
}

fn count_in_float(found: &Sensitivity) -> usize {
    found.layers.iter().filter(|layer| layer.in_float).count()
}

pub(super) fn decibels(ratio: Option<f64>, unit: &str) -> String {
    ratio.map_or_else(|| "exact".to_owned(), |ratio| format!("{ratio:.1}{unit}"))
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
            max_drop: Some(0.01),
            min_sqnr_db: None,
            drop_all_quantized: 0.035,
            drop: -0.005,
            sqnr_db_all_quantized: Some(20.72),
            sqnr_db: Some(24.58),
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
        output SQNR on them:
        20.7 dB with all layers in integers, 24.6 dB with 1 of 3 in float
        ");
    }

    #[test]
    fn says_what_is_counted_without_labels_and_what_was_asked_for() {
        let found = Sensitivity {
            max_drop: None,
            min_sqnr_db: Some(24.5),
            ..found(Measure::Agreement)
        };
        insta::assert_snapshot!(summary(&found), @"
        predictions that change on 200 samples:
        3.50 % with all layers in integers, -0.50 % with 1 of 3 in float
        output SQNR on them (at least 24.5 dB):
        20.7 dB with all layers in integers, 24.6 dB with 1 of 3 in float
        ");
    }

    #[test]
    fn says_when_nothing_is_left_in_integers() {
        let mut found = Sensitivity {
            min_sqnr_db: Some(90.0),
            sqnr_db: None,
            ..found(Measure::Top1)
        };
        for layer in &mut found.layers {
            layer.in_float = true;
        }
        insta::assert_snapshot!(summary(&found).lines().last().unwrap_or_default(), @"no layer is left in integers; a lower floor leaves some");
        found.sqnr_db = Some(88.0);
        insta::assert_snapshot!(summary(&found).lines().last().unwrap_or_default(), @"that is out of reach with all layers in float, too");
    }
}
