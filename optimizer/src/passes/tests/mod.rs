#![allow(clippy::unwrap_used)]

mod few_bits;
mod fold_batch_norm;
mod fp16;
mod networks;
mod prepare;
mod prune;
mod random;

use crate::report::PassReport;

/// `node: why` of each node, with `+` where the pass changed it.
pub(crate) fn lines(report: &PassReport) -> String {
    let line = |node: &crate::NodeReport| {
        format!(
            "{}{}: {}\n",
            if node.applied { "+" } else { "-" },
            node.node,
            node.why
        )
    };
    report.nodes.iter().map(line).collect()
}

/// The operators of a model in order.
fn operators(model: &crate::Model) -> Vec<&str> {
    model.graph().node.iter().map(|node| node.op_type()).collect()
}
