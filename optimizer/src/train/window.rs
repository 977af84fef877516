//! The geometry of windows that slide over the rows and columns of a picture.

/// A window of a convolution or a pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Rows and columns.
    pub(super) kernel: [usize; 2],
    /// Steps down and to the right.
    pub(super) stride: [usize; 2],
    /// Zeros around the picture: top, left, bottom, right.
    pub(super) pads: [usize; 4],
    /// Distance between neighbours within the window.
    pub(super) dilation: [usize; 2],
}

impl Window {
    /// How often the window fits along `axis` (0 down, 1 right) of a picture of that extent; `None` where it does
    /// not fit at all.
    pub(super) fn count(&self, axis: usize, extent: usize) -> Option<usize> {
        let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
        let padded = extent + self.pads[axis] + self.pads[axis + 2];
        Some(padded.checked_sub(reach)? / self.stride[axis] + 1)
    }

    /// The window with as much more padding after pictures of these extents as a last step takes that reaches over
    /// their end; it is taken if it begins in the picture or in the padding before it.
    pub(super) fn rounded_up(mut self, extents: [usize; 2]) -> Self {
        for (axis, extent) in extents.into_iter().enumerate() {
            let Some(count) = self.count(axis, extent) else {
                continue;
            };
            let (stride, begun) = (self.stride[axis], extent + self.pads[axis]);
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            let padded = begun + self.pads[axis + 2];
            let leaves_some = (count - 1) * stride + reach < padded;
            if leaves_some && count * stride < begun {
                self.pads[axis + 2] += count * stride + reach - padded;
            }
        }
        self
    }

    /// Positions within the window, in row-major order.
    pub(super) fn taps(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let [rows, columns] = self.kernel;
        (0..rows).flat_map(move |row| (0..columns).map(move |column| [row, column]))
    }

    /// Whether each output element sees exactly the input element at its place.
    pub(super) fn is_point(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.pads == [0; 4]
    }
}
