//! Windows that give the largest or the mean of what they see, plane by plane.

use rayon::prelude::*;

use crate::train::window::Window;

/// A pooling of planes of `input` rows and columns.
#[derive(Debug, Clone, Copy)]
pub(in crate::train) struct Pooling {
    window: Window,
    input: [usize; 2],
    output: [usize; 2],
}

impl Pooling {
    /// The pooling of planes of these extents; `None` where the window does not fit them.
    pub(in crate::train) fn new(window: Window, input: [usize; 2]) -> Option<Self> {
        Some(Self {
            window,
            input,
            output: [window.count(0, input[0])?, window.count(1, input[1])?],
        })
    }

    /// Rows and columns of the output.
    pub(in crate::train) fn output(&self) -> [usize; 2] {
        self.output
    }

    /// The largest element of each window, and where in its plane it is: the first of equals.
    pub(in crate::train) fn largest(&self, input: &[f32]) -> (Vec<f32>, Vec<i32>) {
        let count = input.len() / self.input_len().max(1);
        let mut output = vec![0.0; count * self.output_len()];
        let mut places = vec![0; output.len()];
        output
            .par_chunks_mut(self.output_len())
            .zip(places.par_chunks_mut(self.output_len()))
            .zip(input.par_chunks(self.input_len()))
            .for_each(|((output, places), input)| {
                for (at, (output, place)) in output.iter_mut().zip(places).enumerate() {
                    let (mut largest, mut from) = (f32::NEG_INFINITY, None);
                    self.each_seen(at, |seen| {
                        let value = input[seen];
                        // What is not a number stays visible.
                        if from.is_none() || value > largest || value.is_nan() {
                            (largest, from) = (value, Some(seen));
                        }
                    });
                    (*output, *place) = (largest, from.unwrap_or(0) as i32);
                }
            });
        (output, places)
    }

    /// Gives the gradient of each output element to the input element that it was.
    pub(in crate::train) fn route(&self, gradient: &[f32], places: &[i32]) -> Vec<f32> {
        let count = gradient.len() / self.output_len().max(1);
        let mut input = vec![0.0; count * self.input_len()];
        input
            .par_chunks_mut(self.input_len())
            .zip(gradient.par_chunks(self.output_len()))
            .zip(places.par_chunks(self.output_len()))
            .for_each(|((input, gradient), places)| {
                for (gradient, &place) in gradient.iter().zip(places) {
                    input[place as usize] += gradient;
                }
            });
        input
    }

    /// The mean of each window, whose count includes the padding if that is wanted.
    pub(in crate::train) fn mean(&self, input: &[f32], count_padding: bool) -> Vec<f32> {
        let count = input.len() / self.input_len().max(1);
        let mut output = vec![0.0; count * self.output_len()];
        output
            .par_chunks_mut(self.output_len())
            .zip(input.par_chunks(self.input_len()))
            .for_each(|(output, input)| {
                for (at, output) in output.iter_mut().enumerate() {
                    let mut sum = 0.0;
                    self.each_seen(at, |seen| sum += input[seen]);
                    *output = sum / self.divisor(at, count_padding);
                }
            });
        output
    }

    /// Shares the gradient of each output element among the input elements that it is the mean of.
    pub(in crate::train) fn share(&self, gradient: &[f32], count_padding: bool) -> Vec<f32> {
        let count = gradient.len() / self.output_len().max(1);
        let mut input = vec![0.0; count * self.input_len()];
        input
            .par_chunks_mut(self.input_len())
            .zip(gradient.par_chunks(self.output_len()))
            .for_each(|(input, gradient)| {
                for (at, gradient) in gradient.iter().enumerate() {
                    let share = gradient / self.divisor(at, count_padding);
                    self.each_seen(at, |seen| input[seen] += share);
                }
            });
        input
    }

    fn input_len(&self) -> usize {
        self.input.iter().product()
    }

    fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    fn divisor(&self, at: usize, count_padding: bool) -> f32 {
        let mut count = 0;
        if count_padding {
            count = self.window.kernel.iter().product();
        } else {
            self.each_seen(at, |_| count += 1);
        }
        count.max(1) as f32
    }

    /// Calls `each` with the input elements that an output element sees.
    #[inline]
    fn each_seen(&self, at: usize, mut each: impl FnMut(usize)) {
        let window = &self.window;
        let place = [at / self.output[1], at % self.output[1]];
        let start = [0, 1].map(|axis| place[axis] * window.stride[axis]);
        for row in 0..window.kernel[0] {
            let row = (start[0] + row * window.dilation[0]).wrapping_sub(window.pads[0]);
            if row >= self.input[0] {
                continue;
            }
            for column in 0..window.kernel[1] {
                let column = (start[1] + column * window.dilation[1]).wrapping_sub(window.pads[1]);
                if column < self.input[1] {
                    each(row * self.input[1] + column);
                }
            }
        }
    }
}
