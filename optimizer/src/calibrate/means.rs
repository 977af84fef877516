//! Means of the channels of a stream of values.

/// Sums of the channels along axis 1, and how many values each has.
#[derive(Debug, Clone, Default)]
pub(super) struct Means {
    sums: Vec<f64>,
    count: usize,
}

impl Means {
    /// Adds the values of a tensor of this shape, or the first rows of one.
    pub(super) fn add(&mut self, shape: &[usize], values: &[f32]) {
        let &[_, channels, ref inner @ ..] = shape else {
            return;
        };
        let inner: usize = inner.iter().product();
        if values.is_empty() {
            return;
        }
        self.sums.resize(channels, 0.0);
        for (index, values) in values.chunks(inner).enumerate() {
            // Sums of one row lose little in single precision.
            self.sums[index % channels] += f64::from(values.iter().sum::<f32>());
        }
        self.count += values.len() / channels;
    }

    /// The mean of each channel; none where nothing was seen or values have no channels.
    pub(super) fn finish(&self) -> Vec<f32> {
        let count = self.count.max(1) as f64;
        self.sums.iter().map(|sum| (sum / count) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_have_means_of_their_own() {
        let mut means = Means::default();
        means.add(&[2, 2, 2], &[1.0, 3.0, 10.0, 20.0, 5.0, 7.0, 30.0, 40.0]);
        means.add(&[1, 2, 2], &[0.0, 8.0, 10.0, 10.0]);
        assert_eq!(means.finish(), [4.0, 20.0]);
        assert!(Means::default().finish().is_empty());
        let mut scalar = Means::default();
        scalar.add(&[3], &[1.0, 2.0, 3.0]);
        assert!(scalar.finish().is_empty());
    }
}
