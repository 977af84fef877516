//! What the passes did to each variant, node by node, in parts of the page that unfold.

use std::fmt::{Result, Write as _};

use edgefront_protocol::results::{
    CostRecord, PassRecord, RangesRecord, Results, SensitivityRecord, TrialRecord, VariantRecord,
};

use super::escaped;
use crate::report::figure;

/// One unfolding part a variant; nothing where it is not known how the variants were made.
pub(super) fn section(page: &mut String, results: &Results) -> Result {
    let with_passes = |variant: &&VariantRecord| !variant.passes.is_empty();
    let variants: Vec<&VariantRecord> = results.variants.iter().filter(with_passes).collect();
    if variants.is_empty() {
        return Ok(());
    }
    page.push_str("<h2>How the variants were made</h2>\n");
    for variant in variants {
        let name = escaped(&variant.variant);
        let passes: Vec<String> = variant.passes.iter().map(summary).collect();
        let digest = escaped(variant.sha256.get(..12).unwrap_or(&variant.sha256));
        writeln!(
            page,
            "<details><summary><b>{name}</b> <small>{} · {digest}</small></summary>",
            passes.join(" · ")
        )?;
        for pass in &variant.passes {
            table(page, pass)?;
        }
        page.push_str("</details>\n");
    }
    Ok(())
}

/// `quantize 21, 2 left`.
fn summary(pass: &PassRecord) -> String {
    let applied = pass.nodes.iter().filter(|node| node.applied).count();
    let name = escaped(&pass.pass);
    match pass.nodes.len() - applied {
        0 => format!("{name} {applied}"),
        left => format!("{name} {applied}, {left} left"),
    }
}

fn table(page: &mut String, pass: &PassRecord) -> Result {
    writeln!(page, "<h3>{}</h3>", escaped(&pass.pass))?;
    if let Some([before, after]) = &pass.cost {
        writeln!(page, "<p>{}</p>", costs(before, after))?;
    }
    if let Some(chosen) = &pass.ranges {
        ranges(page, chosen)?;
    }
    if let Some(found) = &pass.sensitivity {
        layers(page, found)?;
    }
    if pass.nodes.is_empty() {
        page.push_str("<p>It found nothing to do.</p>\n");
        return Ok(());
    }
    page.push_str(
        "<div class=\"wide\"><table class=\"nodes\"><thead><tr><th><button>node</button></th>\
         <th><button>result</button></th><th><button>what was done, or why nothing was</button></th>\
         </tr></thead><tbody>\n",
    );
    for node in &pass.nodes {
        let (class, result) = if node.applied {
            ("", "done")
        } else {
            ("pale", "left")
        };
        let (name, why) = (escaped(&node.node), escaped(&node.why));
        writeln!(
            page,
            "<tr class=\"{class}\"><td>{name}</td><td>{result}</td><td>{why}</td></tr>"
        )?;
    }
    page.push_str("</tbody></table></div>\n");
    Ok(())
}

/// How the method that gave the ranges was chosen.
fn ranges(page: &mut String, chosen: &RangesRecord) -> Result {
    let trial = |trial: &TrialRecord| format!("{} {}", escaped(&trial.method), decibels(trial.sqnr_db));
    let trials: Vec<String> = chosen.trials.iter().map(trial).collect();
    writeln!(
        page,
        "<p>Ranges by {}. Output SQNR on {} samples: {}.</p>",
        escaped(&chosen.method),
        chosen.samples,
        trials.join(", ")
    )
}

/// A ratio of which nothing means that there is no noise.
fn decibels(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "exact".to_owned(), |ratio| format!("{ratio:.1} dB"))
}

/// What each layer's quantization costs, and what was decided.
fn layers(page: &mut String, found: &SensitivityRecord) -> Result {
    let counted = match found.measure.as_str() {
        "none" => None,
        "top1" => Some("Top-1 accuracy lost"),
        "agreement" => Some("Predictions that change"),
        other => Some(other),
    };
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let bound = |words: &str, bound: Option<String>| {
        bound.map_or_else(String::new, |bound| format!(" ({words} {bound})"))
    };
    if let Some(counted) = counted {
        writeln!(
            page,
            "<p>{} on {} samples: {} with all layers in integers, {} as it is{}.</p>",
            escaped(counted),
            found.samples,
            percent(found.drop_all_quantized),
            percent(found.drop),
            bound("at most", found.max_drop.map(percent)),
        )?;
    }
    writeln!(
        page,
        "<p>Output SQNR on {} samples: {} with all layers in integers, {} as it is{}.</p>",
        found.samples,
        decibels(found.sqnr_db_all_quantized),
        decibels(found.sqnr_db),
        bound("at least", found.min_sqnr_db.map(|least| decibels(Some(least)))),
    )?;
    page.push_str(
        "<div class=\"wide\"><table class=\"nodes\"><thead><tr><th><button>layer</button></th>\
         <th><button>SQNR dB with it alone in integers</button></th><th><button>decision</button></th>\
         </tr></thead><tbody>\n",
    );
    for layer in &found.layers {
        let (name, decision) = (
            escaped(&layer.node),
            if layer.in_float { "float" } else { "int8" },
        );
        let decibels = layer
            .sqnr_db
            .map_or_else(|| "exact".to_owned(), |decibels| format!("{decibels:.1}"));
        writeln!(
            page,
            "<tr><td>{name}</td><td>{decibels}</td><td>{decision}</td></tr>"
        )?;
    }
    page.push_str("</tbody></table></div>\n");
    Ok(())
}

/// What the pass saved, in millions.
fn costs(before: &CostRecord, after: &CostRecord) -> String {
    let millions = |count: u64| figure(count as f64 / 1e6);
    let percent = |cost: &CostRecord| match cost.weights {
        0 => "0".to_owned(),
        weights => figure(cost.zeros as f64 / weights as f64 * 100.0),
    };
    let mut text = format!(
        "Parameters {} → {} M; zero weights {} → {} %",
        millions(before.parameters),
        millions(after.parameters),
        percent(before),
        percent(after)
    );
    if let (Some(before), Some(after)) = (before.macs, after.macs) {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "; multiplications a picture {} → {} M",
            millions(before),
            millions(after)
        );
    }
    text + "."
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn each_pass_has_its_nodes_and_what_it_saved() {
        let mut page = String::new();
        section(&mut page, &fixture::results()).unwrap();
        insta::assert_snapshot!(page);
    }

    #[test]
    fn results_of_unknown_making_have_no_such_part() {
        let mut results = fixture::results();
        results.variants.clear();
        let mut page = String::new();
        section(&mut page, &results).unwrap();
        assert!(page.is_empty());
    }
}
