//! Means, sums and extremes over axes.

use super::{Lowering, Step};
use crate::convert::tflite::axes::place;
use crate::convert::tflite::schema::{Code, Kind, Options};
use crate::error::Error;

impl Lowering<'_> {
    /// `ReduceMean` and its like.
    pub(super) fn reduce(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        let code = match node.op_type() {
            "ReduceMean" => Code::Mean,
            "ReduceSum" => Code::Sum,
            "ReduceMax" => Code::ReduceMax,
            "ReduceMin" => Code::ReduceMin,
            _ => Code::ReduceProd,
        };
        let keep_axes = node.int("keepdims").unwrap_or(1) != 0;
        let input = self.input(step, 0)?;
        let layout = self.axes(&input)?;
        let rank = layout.len();
        let listed = match node.input_name(1) {
            Some(_) => self.numbers(step, 1)?,
            None => node.ints("axes").unwrap_or_default().to_vec(),
        };
        if listed.is_empty() && node.int("noop_with_empty_axes").unwrap_or(0) != 0 {
            return Err(Error::node(node, "it reduces nothing; remove it"));
        }
        let listed: Vec<usize> = if listed.is_empty() {
            (0..rank).collect()
        } else {
            let found = listed.into_iter().map(|axis| self.axis(step.id, axis, rank));
            found.collect::<Result<_, _>>()?
        };
        let mut places: Vec<i32> = listed.iter().map(|&axis| place(&layout, axis) as i32).collect();
        places.sort_unstable();
        let value = self.read(&input, &layout)?;
        let places = self.program.ints(&places);
        let left = if keep_axes {
            layout
        } else {
            without(&layout, &listed)
        };
        self.emit(
            step,
            &left,
            code,
            vec![value, places],
            Options::Reducer { keep_axes },
        )
    }

    /// `ArgMax` and `ArgMin`, of equal ones the first.
    pub(super) fn arg(&mut self, step: &Step) -> Result<(), Error> {
        let node = self.graph.node(step.id);
        if node.int("select_last_index").unwrap_or(0) != 0 {
            return Err(Error::node(
                node,
                "of equal ones it takes the last, and TFLite the first; export it without `select_last_index`",
            ));
        }
        let (code, options) = if node.is("ArgMax") {
            (Code::ArgMax, Options::ArgMax(Kind::Int64))
        } else {
            (Code::ArgMin, Options::ArgMin(Kind::Int64))
        };
        let (value, layout) = self.first(step)?;
        let axis = self.axis(step.id, node.int("axis").unwrap_or(0), layout.len())?;
        let along = place(&layout, axis) as i32;
        let along = self
            .program
            .constant("axis", Kind::Int32, &[], along.to_le_bytes().to_vec());
        let call = vec![value, along];
        if node.int("keepdims").unwrap_or(1) == 0 {
            return self.emit(step, &without(&layout, &[axis]), code, call, options);
        }
        let output = self.place(&step.outputs[0], &layout)?;
        let mut shape = self.program.tensor(output).shape.clone();
        shape.remove(place(&layout, axis));
        let found = self.between(output, "found", shape);
        self.push(code, call, found, options);
        self.push_reshape(found, output);
        self.done(step, code);
        Ok(())
    }

    /// The integers of a constant input that sets up a node.
    pub(super) fn numbers(&self, step: &Step, index: usize) -> Result<Vec<i64>, Error> {
        let constant = self.graph.constant_input(step.id, index).ok_or_else(|| {
            let node = self.graph.node(step.id);
            Error::node(node, format!("input {index} is computed, and TFLite takes a constant; export the model with fixed shapes"))
        })?;
        constant.integers()
    }
}

/// A list of axes without some, which then count anew.
pub(super) fn without(layout: &[usize], gone: &[usize]) -> Vec<usize> {
    let left = layout.iter().filter(|axis| !gone.contains(axis));
    let renamed = left.map(|&axis| axis - gone.iter().filter(|&&other| other < axis).count());
    renamed.collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_axes_that_are_left_count_anew() {
        assert_eq!(super::without(&[0, 2, 3, 1], &[2, 3]), [0, 1]);
        assert_eq!(super::without(&[0, 2, 3, 1], &[1]), [0, 1, 2]);
    }
}
