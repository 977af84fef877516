//! The range that holds a given part of the values.

/// The number of bins, from the first one on, beyond which no more than `tail` values lie.
///
/// `counts` are by magnitude, of values of one sign.
pub(super) fn within(counts: &[u64], tail: f64) -> usize {
    let mut beyond = 0;
    let cut = counts.iter().rev().take_while(|&&count| {
        beyond += count;
        beyond as f64 <= tail
    });
    counts.len() - cut.count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tail_of_nothing_keeps_all() {
        assert_eq!(within(&[], 0.0), 0);
        assert_eq!(within(&[5, 0, 1], 0.0), 3);
        assert_eq!(within(&[5, 0, 1], 1.0), 1);
        assert_eq!(within(&[5, 0, 1], 6.0), 0);
    }

    proptest! {
        #[test]
        fn no_more_is_cut_than_the_tail_and_one_bin_more_would_be(
            counts in prop::collection::vec(0_u64..100, 1..50), tail in 0.0_f64..3000.0,
        ) {
            let kept = within(&counts, tail);
            let beyond = |from: usize| counts[from..].iter().sum::<u64>() as f64;
            prop_assert!(beyond(kept) <= tail);
            prop_assert!(kept == 0 || beyond(kept - 1) > tail);
        }
    }
}
