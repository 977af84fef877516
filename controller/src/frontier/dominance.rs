//! Dominance between points of costs, where less is better in every coordinate.
//!
//! A dominates B when it is no worse in all coordinates and better in at least one; so equal points do not
//! dominate each other, and ties stay on the frontier together. No coordinate may be NaN.

use std::cmp::Ordering;

/// Whether `a` dominates `b`; both have the same number of coordinates.
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a <= b) && a.iter().zip(b).any(|(a, b)| a < b)
}

/// For each point of two costs, whether no other dominates it, in O(n log n): in the order of the first cost
/// a point stands where its second cost is the least of its equals in the first, and less than that of all
/// before them.
#[allow(clippy::float_cmp)] // Equal costs are equal bits; a margin would let near points dominate.
pub fn frontier_of_two(points: &[[f64; 2]]) -> Vec<bool> {
    let mut order: Vec<u32> = (0..points.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| compare(&points[a as usize], &points[b as usize]));
    let mut stands = vec![false; points.len()];
    let mut least_before: Option<f64> = None;
    for equals in order.chunk_by(|&a, &b| points[a as usize][0] == points[b as usize][0]) {
        let least = points[equals[0] as usize][1];
        if least_before.is_none_or(|before| least < before) {
            for &at in equals.iter().take_while(|&&at| points[at as usize][1] == least) {
                stands[at as usize] = true;
            }
        }
        least_before = Some(least_before.map_or(least, |before| before.min(least)));
    }
    stands
}

/// For each point of any number of costs, whether no other dominates it, in O(n f) for a frontier of f points:
/// in lexicographic order a point can be dominated only by one before it, hence by one of the frontier so far.
pub fn frontier_of_many(points: &[Vec<f64>]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_unstable_by(|&a, &b| compare(&points[a], &points[b]));
    let mut frontier: Vec<usize> = Vec::new();
    for at in order {
        if !frontier
            .iter()
            .any(|&member| dominates(&points[member], &points[at]))
        {
            frontier.push(at);
        }
    }
    let mut stands = vec![false; points.len()];
    for at in frontier {
        stands[at] = true;
    }
    stands
}

fn compare(a: &[f64], b: &[f64]) -> Ordering {
    a.partial_cmp(b).expect("invariant: no cost is NaN")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(points: &[Vec<f64>]) -> Vec<bool> {
        points
            .iter()
            .map(|b| !points.iter().any(|a| dominates(a, b)))
            .collect()
    }

    /// Few distinct values, so that ties and equal points abound; some are infinite.
    fn points(dimensions: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
        let cost = (0_i32..8).prop_map(|v| match v {
            0 => f64::NEG_INFINITY,
            7 => f64::INFINITY,
            v => f64::from(v) - 4.0,
        });
        prop::collection::vec(prop::collection::vec(cost, dimensions), 0..40)
    }

    #[test]
    fn a_point_no_worse_and_somewhere_better_dominates() {
        assert!(dominates(&[1.0, 1.0], &[1.0, 2.0]));
        assert!(!dominates(&[1.0, 1.0], &[1.0, 1.0]));
        assert!(!dominates(&[0.0, 2.0], &[1.0, 1.0]));
    }

    #[test]
    fn ties_stay_together() {
        assert_eq!(
            frontier_of_two(&[[1.0, 1.0], [1.0, 1.0], [1.0, 2.0], [2.0, 1.0]]),
            [true, true, false, false]
        );
    }

    proptest! {
        #[test]
        fn two_costs_agree_with_the_definition(points in points(2)) {
            let pairs: Vec<[f64; 2]> = points.iter().map(|p| [p[0], p[1]]).collect();
            prop_assert_eq!(frontier_of_two(&pairs), naive(&points));
        }

        #[test]
        fn many_costs_agree_with_the_definition(points in (1_usize..5).prop_flat_map(points)) {
            prop_assert_eq!(frontier_of_many(&points), naive(&points));
        }
    }
}
