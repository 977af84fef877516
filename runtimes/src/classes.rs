//! Whether a model answers as a classifier does.

/// How many classes an output of this shape tells apart: it is `[batch, classes]`, with any number of axes of extent 1
/// behind. `None` where it holds no scores of classes.
pub fn classes(shape: &[usize], batch: usize) -> Option<usize> {
    match *shape {
        [first, classes, ref rest @ ..]
            if first == batch && classes > 0 && rest.iter().all(|&extent| extent == 1) =>
        {
            Some(classes)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_one_a_class_for_each_picture() {
        for shape in [&[4, 10][..], &[4, 10, 1], &[4, 10, 1, 1]] {
            assert_eq!(classes(shape, 4), Some(10), "{shape:?}");
        }
        for shape in [
            &[][..],
            &[4],
            &[10, 4],
            &[1, 10],
            &[4, 0],
            &[4, 10, 7, 7],
            &[4, 1, 10],
        ] {
            assert_eq!(classes(shape, 4), None, "{shape:?}");
        }
    }
}
