//! Which axes of a tensor become which when it is reshaped.

use crate::shape::Dim;

/// Neighbouring axes that together hold the same elements before and after, without those of extent 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) from: Vec<usize>,
    pub(super) to: Vec<usize>,
}

/// The blocks of a reshape in order; `None` where an extent that is needed is not known.
pub(super) fn blocks(from: &[Dim], to: &[Dim]) -> Option<Vec<Block>> {
    let (mut left, mut right) = (Side::new(from), Side::new(to));
    let mut blocks = Vec::new();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        if a == b && *a != Dim::Unknown {
            left.taken.push(left.open.remove(0));
            right.taken.push(right.open.remove(0));
        } else {
            let (mut volume, mut other) = (left.take()?, right.take()?);
            while volume != other {
                if volume < other {
                    volume = volume.checked_mul(left.take()?)?;
                } else {
                    other = other.checked_mul(right.take()?)?;
                }
            }
        }
        blocks.push(Block {
            from: std::mem::take(&mut left.taken),
            to: std::mem::take(&mut right.taken),
        });
    }
    (left.open.is_empty() && right.open.is_empty()).then_some(blocks)
}

/// The axes before or after.
struct Side<'a> {
    shape: &'a [Dim],
    open: Vec<usize>,
    taken: Vec<usize>,
}

impl<'a> Side<'a> {
    fn new(shape: &'a [Dim]) -> Self {
        let open = (0..shape.len()).filter(|&axis| shape[axis] != Dim::Known(1));
        Self {
            shape,
            open: open.collect(),
            taken: Vec::new(),
        }
    }

    fn peek(&self) -> Option<&'a Dim> {
        self.open.first().map(|&axis| &self.shape[axis])
    }

    /// The extent of the next axis, at least 2.
    fn take(&mut self) -> Option<usize> {
        let extent = self.peek()?.extent().filter(|&extent| extent > 1)?;
        self.taken.push(self.open.remove(0));
        Some(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(from: &[i64], to: &[i64]) -> Option<String> {
        let dims = |extents: &[i64]| -> Vec<Dim> {
            let dim = |&extent: &i64| match extent {
                -1 => Dim::Symbol("batch".to_owned()),
                -2 => Dim::Unknown,
                known => Dim::Known(known),
            };
            extents.iter().map(dim).collect()
        };
        let block = |block: Block| format!("{:?}>{:?} ", block.from, block.to);
        Some(blocks(&dims(from), &dims(to))?.into_iter().map(block).collect())
    }

    #[test]
    fn axes_are_matched_from_the_front() {
        assert_eq!(
            shown(&[-1, 8, 3, 3], &[-1, 72]).unwrap(),
            "[0]>[0] [1, 2, 3]>[1] "
        );
        assert_eq!(shown(&[2, 8, 1, 1], &[2, 8]).unwrap(), "[0]>[0] [1]>[1] ");
        assert_eq!(shown(&[1, 8], &[1, 1, 8, 1]).unwrap(), "[1]>[2] ");
        assert_eq!(
            shown(&[-1, 12, 5], &[-1, 3, 4, 5]).unwrap(),
            "[0]>[0] [1]>[1, 2] [2]>[3] "
        );
        assert_eq!(shown(&[4, 6], &[6, 4]).unwrap(), "[0, 1]>[0, 1] ");
        assert_eq!(shown(&[1, 1], &[1]).unwrap(), "");
    }

    #[test]
    fn what_is_not_known_is_not_matched() {
        assert_eq!(shown(&[-2, 8], &[-2, 8]), None);
        assert_eq!(shown(&[-1, 8], &[8, -1]), None);
        assert_eq!(shown(&[0, 8], &[8, 0]), None);
        assert_eq!(shown(&[8, 3], &[8]), None);
    }
}
