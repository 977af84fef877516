//! Where the axes of a value lie in the tensor that holds it.
//!
//! Pictures are `[N, C, H, W]` for callers and `[N, H, W, C]` in a file that was converted from ONNX: the list
//! `[0, 2, 3, 1]`, which gives for each axis of the tensor the axis of the value that it is.

/// For each axis of a tensor, which axis of the value it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axes(Vec<usize>);

impl Axes {
    /// `None` where it is no order of `rank` axes.
    pub(super) fn new(list: Vec<usize>, rank: usize) -> Option<Self> {
        let has_each = (0..rank).all(|axis| list.contains(&axis));
        (list.len() == rank && has_each).then_some(Self(list))
    }

    /// How many there are.
    pub(super) fn rank(&self) -> usize {
        self.0.len()
    }

    /// Whether the tensor lies as the value does.
    pub(super) fn is_plain(&self) -> bool {
        self.0.iter().enumerate().all(|(place, &axis)| place == axis)
    }

    /// What belongs to each axis of the value, given what belongs to each of the tensor.
    pub(super) fn in_model<T: Clone>(&self, tensor: &[T]) -> Vec<T> {
        let place = |axis| self.0.iter().position(|&found| found == axis);
        let found = (0..self.0.len()).filter_map(place);
        found.map(|place| tensor[place].clone()).collect()
    }

    /// What belongs to each axis of the tensor, given what belongs to each of the value.
    pub(super) fn in_tensor<T: Clone>(&self, value: &[T]) -> Vec<T> {
        self.0.iter().map(|&axis| value[axis].clone()).collect()
    }

    /// Puts the elements of a value of `shape` where the tensor has them.
    pub(super) fn scatter<T: Copy>(&self, shape: &[usize], value: &[T], tensor: &mut [T]) {
        let steps = self.in_tensor(&strides(shape));
        walk(&self.in_tensor(shape), &steps, |place, from| {
            tensor[place] = value[from];
        });
    }

    /// The elements of a value of `shape`, taken from where the tensor has them.
    pub(super) fn gather<T: Copy>(&self, shape: &[usize], tensor: &[T]) -> Vec<T> {
        let steps = self.in_model(&strides(&self.in_tensor(shape)));
        let mut value = Vec::with_capacity(tensor.len());
        walk(shape, &steps, |_, from| value.push(tensor[from]));
        value
    }
}

/// How many elements lie between neighbours along each axis.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Calls `visit` for each element of `shape` in order, with its number and where it lies by `steps`.
fn walk(shape: &[usize], steps: &[usize], mut visit: impl FnMut(usize, usize)) {
    let count = shape.iter().product();
    let mut index = vec![0; shape.len()];
    let mut from = 0;
    for place in 0..count {
        visit(place, from);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            from += steps[axis];
            if index[axis] < shape[axis] {
                break;
            }
            from -= steps[axis] * shape[axis];
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn channels_lie_last_in_the_tensor() {
        let axes = Axes::new(vec![0, 2, 3, 1], 4).unwrap();
        assert!(!axes.is_plain());
        let shape = [1, 2, 1, 3];
        assert_eq!(axes.in_tensor(&shape), [1, 1, 3, 2]);
        assert_eq!(axes.in_model(&[1, 1, 3, 2]), shape);
        let mut tensor = [0; 6];
        axes.scatter(&shape, &[1, 2, 3, 11, 12, 13], &mut tensor);
        assert_eq!(tensor, [1, 11, 2, 12, 3, 13]);
        assert_eq!(axes.gather(&shape, &tensor), [1, 2, 3, 11, 12, 13]);
    }

    #[test]
    fn any_order_is_undone() {
        let shape = [2, 3, 4, 5];
        let value: Vec<usize> = (0..120).collect();
        for list in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [0, 3, 1, 2]] {
            let axes = Axes::new(list.to_vec(), 4).unwrap();
            let mut tensor = vec![0; 120];
            axes.scatter(&shape, &value, &mut tensor);
            assert_eq!(axes.gather(&shape, &tensor), value);
            assert_eq!(tensor == value, axes.is_plain());
        }
    }

    #[test]
    fn scalars_and_nothing_have_an_order() {
        let scalar = Axes::new(Vec::new(), 0).unwrap();
        assert_eq!(scalar.gather(&[], &[7]), [7]);
        let axes = Axes::new(vec![1, 0], 2).unwrap();
        assert_eq!(axes.gather::<u8>(&[0, 3], &[]), [0; 0]);
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for (list, rank) in [(vec![0, 0], 2), (vec![0, 2], 2), (vec![0], 2), (vec![0, 1], 1)] {
            assert_eq!(Axes::new(list, rank), None);
        }
    }
}
