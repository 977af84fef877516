//! Where the axes of an ONNX value lie in the tensor that holds it.
//!
//! A list of axes gives for each axis of the tensor, from the outermost, the axis of the ONNX value that it is.
//! Pictures are `[N, C, H, W]` in ONNX and `[N, H, W, C]` in TFLite, which is the list `[0, 2, 3, 1]`. With any
//! order allowed, a `Transpose` moves nothing, and a `Reshape` only what it mixes.

/// Pictures as TFLite's kernels take them.
pub(super) const CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];

/// The axes in ONNX's own order.
pub(super) fn plain(rank: usize) -> Vec<usize> {
    (0..rank).collect()
}

/// Elements of `shape`, one for each ONNX axis, in the order of the tensor.
pub(super) fn arranged<T: Clone>(shape: &[T], layout: &[usize]) -> Vec<T> {
    layout.iter().map(|&axis| shape[axis].clone()).collect()
}

/// The tensor's axis that is ONNX's `axis`.
pub(super) fn place(layout: &[usize], axis: usize) -> usize {
    layout
        .iter()
        .position(|&found| found == axis)
        .expect("a list of axes has each of them")
}

/// How a tensor's axes must be permuted to lie as `to` where they lie as `from`.
pub(super) fn permutation(from: &[usize], to: &[usize]) -> Vec<usize> {
    to.iter().map(|&axis| place(from, axis)).collect()
}

/// Whether the elements are in the same order both ways: only axes of one element lie elsewhere.
pub(super) fn same_order(shape: &[usize], a: &[usize], b: &[usize]) -> bool {
    let long = |layout: &[usize]| -> Vec<usize> {
        layout.iter().copied().filter(|&axis| shape[axis] != 1).collect()
    };
    long(a) == long(b)
}

/// What an ONNX transposition makes of the axes; no element moves.
pub(super) fn transposed(layout: &[usize], order: &[usize]) -> Vec<usize> {
    layout.iter().map(|&axis| place(order, axis)).collect()
}

/// A `Reshape`: runs of axes whose elements become those of a run of other axes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reshape {
    blocks: Vec<Block>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    from: Vec<usize>,
    to: Vec<usize>,
}

impl Reshape {
    /// From one shape to another of as many elements, none of them 0.
    pub(super) fn between(from: &[usize], to: &[usize]) -> Self {
        let mut blocks: Vec<Block> = Vec::new();
        let (mut at, mut until) = (0, 0);
        while at < from.len() || until < to.len() {
            if at == from.len() || until == to.len() {
                // What is left has one element along each axis.
                let rest = Block {
                    from: (at..from.len()).collect(),
                    to: (until..to.len()).collect(),
                };
                match blocks.last_mut() {
                    Some(last) => {
                        last.from.extend(rest.from);
                        last.to.extend(rest.to);
                    }
                    None => blocks.push(rest),
                }
                break;
            }
            let mut block = Block {
                from: vec![at],
                to: vec![until],
            };
            let (mut before, mut after) = (from[at], to[until]);
            at += 1;
            until += 1;
            while before != after {
                if before < after && at < from.len() {
                    before *= from[at];
                    block.from.push(at);
                    at += 1;
                } else if until < to.len() {
                    after *= to[until];
                    block.to.push(until);
                    until += 1;
                } else {
                    break;
                }
            }
            blocks.push(block);
        }
        Self { blocks }
    }

    /// The order nearest to `axes` in which the value of shape `from` must lie for this, and how the result then
    /// lies: the axes of each block are neighbours in ONNX's order.
    pub(super) fn nearest(&self, from: &[usize], layout: &[usize]) -> (Vec<usize>, Vec<usize>) {
        let mut order: Vec<&Block> = Vec::new();
        // A block lies where the first axis of it lies that has more than one element.
        let is_long = |axis: &usize| from[*axis] != 1;
        for axis in layout {
            let block = self.blocks.iter().find(|block| block.from.contains(axis));
            let leads = |block: &Block| is_long(axis) || !block.from.iter().any(is_long);
            if let Some(block) = block.filter(|block| leads(block))
                && !order.contains(&block)
            {
                order.push(block);
            }
        }
        order.extend(self.blocks.iter().filter(|block| block.from.is_empty()));
        let before = order.iter().flat_map(|block| block.from.clone()).collect();
        let after = order.iter().flat_map(|block| block.to.clone()).collect();
        (before, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearest(from: &[usize], to: &[usize], layout: &[usize]) -> (Vec<usize>, Vec<usize>) {
        Reshape::between(from, to).nearest(from, layout)
    }

    #[test]
    fn a_transposition_moves_nothing() {
        // NCHW to NHWC of a picture that lies as NHWC.
        assert_eq!(transposed(&CHANNELS_LAST, &[0, 2, 3, 1]), plain(4));
        assert_eq!(transposed(&plain(4), &[0, 3, 1, 2]), CHANNELS_LAST);
        assert_eq!(permutation(&plain(4), &CHANNELS_LAST), [0, 2, 3, 1]);
        assert_eq!(permutation(&CHANNELS_LAST, &plain(4)), [0, 3, 1, 2]);
    }

    #[test]
    fn axes_of_one_element_lie_anywhere() {
        assert!(same_order(&[1, 8, 1, 1], &plain(4), &CHANNELS_LAST));
        assert!(!same_order(&[1, 8, 2, 1], &plain(4), &CHANNELS_LAST));
    }

    #[test]
    fn pooled_pictures_are_flat_already() {
        let (before, after) = nearest(&[1, 8, 1, 1], &[1, 8], &CHANNELS_LAST);
        assert!(same_order(&[1, 8, 1, 1], &before, &CHANNELS_LAST));
        assert_eq!(after, [0, 1]);
    }

    #[test]
    fn a_flat_picture_needs_its_channels_first() {
        let (before, after) = nearest(&[1, 8, 2, 2], &[1, 32], &CHANNELS_LAST);
        assert_eq!((before, after), (plain(4), plain(2)));
    }

    #[test]
    fn splitting_channels_moves_nothing_and_a_shuffle_once() {
        let picture = [1, 8, 3, 3];
        let (before, after) = nearest(&picture, &[1, 2, 4, 3, 3], &CHANNELS_LAST);
        assert_eq!(before, CHANNELS_LAST);
        assert_eq!(after, [0, 3, 4, 1, 2]);
        let shuffled = transposed(&after, &[0, 2, 1, 3, 4]);
        assert_eq!(shuffled, [0, 3, 4, 2, 1]);
        let (before, after) = nearest(&[1, 4, 2, 3, 3], &picture, &shuffled);
        assert_eq!(before, [0, 3, 4, 1, 2]);
        assert_eq!(after, CHANNELS_LAST);
    }

    #[test]
    fn patches_become_a_sequence() {
        let (before, after) = nearest(&[1, 8, 3, 3], &[1, 8, 9], &CHANNELS_LAST);
        assert_eq!(before, CHANNELS_LAST);
        assert_eq!(transposed(&after, &[0, 2, 1]), plain(3));
    }

    #[test]
    fn scalars_and_single_elements_have_a_form() {
        assert_eq!(nearest(&[], &[1, 1], &[]).1, [0, 1]);
        assert_eq!(nearest(&[1, 1], &[], &[1, 0]).1, Vec::<usize>::new());
        assert_eq!(nearest(&[1, 1, 4], &[4], &[2, 0, 1]).1, [0]);
    }
}
