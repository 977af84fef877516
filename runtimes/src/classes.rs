//! Whether a model answers as a classifier does.

/// How many classes an output of this shape tells apart: it is `[batch, classes]`, with any number of axes of extent 1
/// between and behind, which leave the scores in the same order. `None` where it holds no scores of classes.
pub fn classes(shape: &[usize], batch: usize) -> Option<usize> {
    let (&first, rest) = shape.split_first()?;
    let wide = rest.iter().filter(|&&extent| extent != 1).count();
    let classes = rest.iter().copied().max()?;
    (first == batch && wide <= 1 && !rest.contains(&0)).then_some(classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_one_a_class_for_each_picture() {
        for shape in [
            &[4, 10][..],
            &[4, 10, 1],
            &[4, 10, 1, 1],
            &[4, 1, 10],
            &[4, 1, 1, 10],
        ] {
            assert_eq!(classes(shape, 4), Some(10), "{shape:?}");
        }
        for shape in [
            &[][..],
            &[4],
            &[10, 4],
            &[1, 10],
            &[4, 0],
            &[4, 10, 7, 7],
            &[4, 10, 1, 7],
        ] {
            assert_eq!(classes(shape, 4), None, "{shape:?}");
        }
    }
}
