//! Some of what lies along an axis, as `Slice`, `Gather` and `Split` take it.

use super::attributes::Attributes;
use crate::error::Error;

/// Places along an axis, in the order in which they are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pick {
    pub(super) axis: usize,
    pub(super) places: Vec<usize>,
}

impl Pick {
    /// Whether the places follow each other.
    pub(super) fn is_run(&self) -> bool {
        self.places.windows(2).all(|pair| pair[0] + 1 == pair[1])
    }
}

/// The picks of a `Slice`, without axes that it keeps whole.
pub(super) fn of_slice(node: &Attributes) -> Result<Vec<Pick>, Error> {
    let extents = node.extents(0)?;
    let required = |index, what| {
        let found = node.integers(index, what)?;
        found.ok_or_else(|| node.error(format!("its {what} are missing")))
    };
    let (starts, ends) = (required(1, "starts")?, required(2, "ends")?);
    let along = node.integers(3, "axes")?;
    let along = along.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = node
        .integers(4, "steps")?
        .unwrap_or_else(|| vec![1; starts.len()]);
    let mut picks: Vec<Pick> = Vec::new();
    for (((axis, &start), &end), &step) in along.into_iter().zip(&starts).zip(&ends).zip(&steps) {
        let axis = position(node, axis, extents.len())?;
        // Of an axis of any extent, such as the batch, all may be taken.
        if (start, step) == (0, 1) && end >= i64::from(i32::MAX) {
            continue;
        }
        if picks.iter().any(|pick| pick.axis == axis) {
            return Err(node.error(format!("it slices axis {axis} twice; slice it once")));
        }
        let places = sliced(extent(node, &extents, axis)?, start, end, step);
        if places.is_empty() {
            return Err(node.error(format!(
                "from {start} to {end} by {step} nothing of axis {axis} is left to train through"
            )));
        }
        picks.push(Pick { axis, places });
    }
    Ok(picks)
}

/// The places from `start` to before `end`, both limited to the axis as NumPy does.
fn sliced(extent: usize, start: i64, end: i64, step: i64) -> Vec<usize> {
    let extent = extent as i64;
    let (low, high) = if step < 0 { (-1, extent - 1) } else { (0, extent) };
    let limited = |bound: i64| {
        let from_front = if bound < 0 {
            bound.saturating_add(extent)
        } else {
            bound
        };
        from_front.clamp(low, high)
    };
    let end = limited(end);
    let within = |&at: &i64| if step < 0 { at > end } else { at < end };
    let next = |&at: &i64| at.checked_add(step).filter(|_| step != 0);
    let places = std::iter::successors(Some(limited(start)), next).take_while(within);
    places.filter_map(|at| usize::try_from(at).ok()).collect()
}

/// The pick of a `Gather` with constant indices.
pub(super) fn of_gather(node: &Attributes) -> Result<Pick, Error> {
    let extents = node.extents(0)?;
    let axis = position(node, node.node.int("axis").unwrap_or(0), extents.len())?;
    let extent = extent(node, &extents, axis)?;
    let indices = node.integers(1, "indices")?.unwrap_or_default();
    if indices.is_empty() {
        return Err(node.error("it gathers nothing, which cannot be trained through"));
    }
    let place = |index: i64| {
        let from_front = if index < 0 { index + extent as i64 } else { index };
        let place = usize::try_from(from_front).ok().filter(|&place| place < extent);
        place.ok_or_else(|| {
            node.error(format!(
                "index {index} lies outside of axis {axis}, which has {extent} places"
            ))
        })
    };
    let places = indices.into_iter().map(place).collect::<Result<_, _>>()?;
    Ok(Pick { axis, places })
}

/// The picks of a `Split`, one for each output.
pub(super) fn of_split(node: &Attributes) -> Result<Vec<Pick>, Error> {
    let rank = node.extents(0)?.len();
    let axis = position(node, node.node.int("axis").unwrap_or(0), rank)?;
    let mut start = 0;
    let mut picks = Vec::with_capacity(node.node.output.len());
    for output in &node.node.output {
        let shape = node.types.get(output).and_then(|value| value.shape.as_ref());
        let count = shape.and_then(|shape| shape.get(axis)?.extent());
        let count = count.ok_or_else(|| {
            node.error(
                "the sizes of its parts are not known; export the model with fixed shapes but for the batch",
            )
        })?;
        if count == 0 {
            return Err(node.error(format!(
                "its part `{output}` is empty, which cannot be trained through"
            )));
        }
        let places = (start..start + count).collect();
        picks.push(Pick { axis, places });
        start += count;
    }
    Ok(picks)
}

/// An axis that may be counted from the end.
fn position(node: &Attributes, axis: i64, rank: usize) -> Result<usize, Error> {
    let from_front = if axis < 0 { axis + rank as i64 } else { axis };
    let position = usize::try_from(from_front).ok().filter(|&axis| axis < rank);
    position.ok_or_else(|| node.error(format!("axis {axis} is none of its input's {rank}")))
}

fn extent(node: &Attributes, extents: &[Option<usize>], axis: usize) -> Result<usize, Error> {
    extents[axis].ok_or_else(|| {
        node.error(format!(
            "the extent of axis {axis} is not known; export the model with fixed shapes but for the batch"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_numpy() {
        for (bounds, expected) in [
            ((1, 3, 1), vec![1, 2]),
            ((-2, i64::MAX, 1), vec![3, 4]),
            ((i64::MIN, i64::MAX, 2), vec![0, 2, 4]),
            ((-1, i64::MIN, -1), vec![4, 3, 2, 1, 0]),
            ((9, -4, -2), vec![4, 2]),
            ((3, 1, 1), vec![]),
            ((0, 5, i64::MAX), vec![0]),
            ((4, 0, i64::MIN), vec![4]),
        ] {
            assert_eq!(sliced(5, bounds.0, bounds.1, bounds.2), expected, "{bounds:?}");
        }
        assert!(sliced(0, 0, 5, 1).is_empty());
    }
}
