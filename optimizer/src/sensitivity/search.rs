//! Which layers to keep in float so that a model keeps what it must.

/// The layers that stay in float.
///
/// `ranked` are the layers, in the order in which they are to stay in float; with all of them in float the floor
/// is taken to hold. `holds` says whether it does with a set of them. The fewest first ones of the ranking with
/// which it holds are found one by one, since more layers do not always help: bisection passed by small sets that
/// do, between larger and smaller ones that do not. Then each of them, the last one first, goes back to integers
/// where the floor allows it.
pub(super) fn fewest_in_float<E>(
    ranked: &[usize],
    mut holds: impl FnMut(&[usize]) -> Result<bool, E>,
) -> Result<Vec<usize>, E> {
    let mut enough = 0;
    while enough < ranked.len() && !holds(&ranked[..enough])? {
        enough += 1;
    }
    let mut float = ranked[..enough].to_vec();
    // Without the last one the floor is missed already.
    for index in (0..enough.saturating_sub(1)).rev() {
        let layer = float.remove(index);
        if !holds(&float)? {
            float.insert(index, layer);
        }
    }
    Ok(float)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// Layers by damage, and what the search finds where `drop` tells the drop of a set of float layers.
    fn search(damages: &[u32], max_drop: u32, drop: impl Fn(&[usize]) -> u32) -> (Vec<usize>, usize) {
        let mut ranked: Vec<usize> = (0..damages.len()).collect();
        ranked.sort_by_key(|&layer| std::cmp::Reverse(damages[layer]));
        let mut calls = 0;
        let found = fewest_in_float(&ranked, |float| {
            calls += 1;
            Ok::<_, Infallible>(drop(float) <= max_drop)
        });
        (found.unwrap(), calls)
    }

    /// The sum of the damages of the layers in integers.
    fn additive(damages: &[u32], float: &[usize]) -> u32 {
        let quantized = (0..damages.len()).filter(|layer| !float.contains(layer));
        quantized.map(|layer| damages[layer]).sum()
    }

    #[test]
    fn a_model_that_loses_little_enough_stays_in_integers() {
        let (float, calls) = search(&[3, 1, 2], 6, |float| additive(&[3, 1, 2], float));
        assert_eq!((float, calls), (vec![], 1));
        assert_eq!(search(&[], 0, |_| 9), (vec![], 0));
    }

    #[test]
    fn a_layer_that_needs_not_be_in_float_goes_back() {
        // The two of one residual stream only help together; the layer ranked between them does not matter.
        let pair = |float: &[usize]| {
            if float.contains(&0) && float.contains(&2) {
                0
            } else {
                5
            }
        };
        assert_eq!(search(&[9, 8, 7, 1], 0, pair).0, [0, 2]);
    }

    proptest! {
        #[test]
        fn damages_that_add_up_get_the_smallest_set(
            damages in prop::collection::vec(0_u32..50, 0..40),
            max_drop in 0_u32..400,
        ) {
            let (float, calls) = search(&damages, max_drop, |float| additive(&damages, float));
            prop_assert!(additive(&damages, &float) <= max_drop);
            let mut falling = damages.clone();
            falling.sort_unstable_by(|a, b| b.cmp(a));
            let smallest = (0..=damages.len()).find(|&k| falling[k..].iter().sum::<u32>() <= max_drop);
            prop_assert_eq!(Some(float.len()), smallest);
            prop_assert!(calls <= 2 * float.len() + 1, "a call each to add and to keep a layer");
        }

        #[test]
        fn regions_that_only_help_whole_are_kept_whole(
            damages in prop::collection::vec(1_u32..50, 1..30),
            regions in prop::collection::vec((0_usize..30, 1_usize..6, 1_u32..50), 1..5),
            max_drop in 0_u32..100,
        ) {
            // A region costs its damage until all of its layers are in float.
            let drop = |float: &[usize]| -> u32 {
                let broken = regions.iter().filter(|(first, count, _)| {
                    (*first..first + count).any(|layer| layer < damages.len() && !float.contains(&layer))
                });
                broken.map(|(_, _, damage)| damage).sum()
            };
            let (float, _) = search(&damages, max_drop, drop);
            prop_assert!(drop(&float) <= max_drop);
            for index in 0..float.len() {
                let mut fewer = float.clone();
                fewer.remove(index);
                prop_assert!(drop(&fewer) > max_drop, "{float:?} does not need {}", float[index]);
            }
        }

        #[test]
        fn the_floor_is_kept_however_the_drops_lie(
            count in 1_usize..12,
            drops in prop::collection::vec(0_u32..10, 1 << 12),
            max_drop in 0_u32..10,
        ) {
            let drop = |float: &[usize]| match float.iter().fold(0, |set, layer| set | 1 << layer) {
                all if all == (1 << count) - 1 => 0,
                set => drops[set],
            };
            let damages: Vec<u32> = (0..count as u32).collect();
            let (float, _) = search(&damages, max_drop, drop);
            prop_assert!(drop(&float) <= max_drop);
        }
    }
}
