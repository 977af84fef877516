//! Windows that run over a picture: how much of it they reach beyond, and whether TFLite says so by a word.

use super::schema::{Padding, Steps};

/// A window along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Extent of the input.
    pub(super) input: usize,
    /// Extent of the output.
    pub(super) output: usize,
    /// Extent of the window.
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    /// Elements that ONNX adds before the first one.
    pub(super) before: usize,
}

impl Window {
    /// How far the window reaches.
    pub(super) fn reach(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// Elements that windows see behind the last one. The ones that ONNX adds beyond these are never seen.
    pub(super) fn after(&self) -> usize {
        let seen = (self.output - 1) * self.stride + self.reach();
        seen.saturating_sub(self.input + self.before)
    }

    /// What TFLite's `SAME` adds before and after, and the extent that it gives.
    fn same(&self) -> (usize, usize, usize) {
        let output = self.input.div_ceil(self.stride);
        let seen = (output - 1) * self.stride + self.reach();
        let added = seen.saturating_sub(self.input);
        (added / 2, added - added / 2, output)
    }

    fn is_same(&self) -> bool {
        let (before, after, output) = self.same();
        (before, output) == (self.before, self.output) && after == self.after()
    }

    fn is_valid(&self) -> bool {
        (self.before, self.after()) == (0, 0)
    }
}

/// Both axes of a picture, height first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Windows(pub(super) [Window; 2]);

impl Windows {
    /// The word for the pads, or `None` where they must be added before.
    pub(super) fn padding(&self) -> Option<Padding> {
        if self.0.iter().all(Window::is_valid) {
            Some(Padding::Valid)
        } else if self.0.iter().all(Window::is_same) {
            Some(Padding::Same)
        } else {
            None
        }
    }

    /// Elements to add before and after each axis of the picture's tensor.
    pub(super) fn pads(&self) -> [[usize; 2]; 4] {
        let [height, width] = self.0;
        let pads = |window: Window| [window.before, window.after()];
        [[0, 0], pads(height), pads(width), [0, 0]]
    }

    pub(super) fn strides(&self) -> Steps {
        self.0.map(|window| window.stride as i32)
    }

    pub(super) fn dilations(&self) -> Steps {
        self.0.map(|window| window.dilation as i32)
    }

    pub(super) fn kernels(&self) -> Steps {
        self.0.map(|window| window.kernel as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(input: usize, kernel: usize, stride: usize, before: usize, after: usize) -> Window {
        let output = (input + before + after - kernel) / stride + 1;
        Window {
            input,
            output,
            kernel,
            stride,
            dilation: 1,
            before,
        }
    }

    fn padding(window: Window) -> Option<Padding> {
        Windows([window, window]).padding()
    }

    #[test]
    fn stride_one_with_pads_on_both_sides_is_same() {
        assert_eq!(padding(window(7, 3, 1, 1, 1)), Some(Padding::Same));
        assert_eq!(padding(window(8, 5, 1, 2, 2)), Some(Padding::Same));
    }

    #[test]
    fn stride_two_pads_at_the_end_in_tflite_and_on_both_sides_in_onnx() {
        assert_eq!(padding(window(8, 3, 2, 1, 1)), None);
        // With an odd extent both are the same.
        assert_eq!(padding(window(7, 3, 2, 1, 1)), Some(Padding::Same));
        assert_eq!(padding(window(8, 3, 2, 0, 1)), Some(Padding::Same));
    }

    #[test]
    fn a_pad_that_no_window_sees_is_not_added() {
        let seen = window(8, 3, 2, 1, 1);
        assert_eq!((seen.before, seen.after()), (1, 0));
        assert_eq!(padding(window(8, 2, 2, 0, 1)), Some(Padding::Valid));
    }

    #[test]
    fn axes_that_differ_have_no_common_word() {
        let (same, odd) = (window(7, 3, 1, 1, 1), window(8, 3, 2, 1, 1));
        assert_eq!(Windows([same, odd]).padding(), None);
        let valid = window(7, 1, 1, 0, 0);
        assert_eq!(Windows([same, valid]).padding(), Some(Padding::Same));
        assert_eq!(Windows([same, odd]).pads(), [[0, 0], [1, 1], [1, 0], [0, 0]]);
    }
}
