//! Which channels leave.

use super::follow::Channels;
use super::groups::Group;
use super::slots::Slot;
use crate::error::Error;
use crate::passes::prune::options::Scope;
use crate::passes::prune::refused;

/// For each slot that is a root, whether its channel leaves.
pub(super) type Leaving = Vec<bool>;

/// Chooses the channels that matter least, so many that `amount` of each group, or of the model's
/// multiplications, leaves.
pub(super) fn select(
    channels: &Channels,
    groups: &[Group],
    amount: f64,
    scope: Scope,
    multiple: usize,
) -> Result<Leaving, Error> {
    match scope {
        Scope::Layer => {
            let least = groups.iter().map(|group| share(group.channels.len(), amount));
            Ok(leaving(channels, groups, &least.collect::<Vec<_>>(), multiple))
        }
        Scope::Global => global(channels, groups, amount, multiple),
    }
}

/// How many channels of a group are to leave; a hair more than `amount * count` rounds down to it.
fn share(count: usize, amount: f64) -> usize {
    (count as f64 * amount + 1e-9) as usize
}

/// The channels that leave when `counts` of each group are to, with what stays rounded up.
fn leaving(channels: &Channels, groups: &[Group], counts: &[usize], multiple: usize) -> Leaving {
    let mut leaving = vec![false; channels.slots.len()];
    for (group, &count) in groups.iter().zip(counts) {
        for &channel in &group.channels[..group.channels.len() - group.kept(count, multiple)] {
            leaving[channel] = true;
        }
    }
    leaving
}

/// Takes the channels that matter least of the whole model, until enough multiplications are gone.
fn global(channels: &Channels, groups: &[Group], amount: f64, multiple: usize) -> Result<Leaving, Error> {
    let Some(before) = macs(channels, &vec![false; channels.slots.len()]) else {
        return Err(refused(
            "the model's multiplications are not known, because an axis is dynamic; prune each layer by the same amount",
        ));
    };
    let mut order: Vec<(f64, usize)> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        order.extend(group.scores.iter().map(|&score| (score, index)));
    }
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let of_first = |count: usize| {
        let mut counts = vec![0; groups.len()];
        for &(_, group) in &order[..count] {
            counts[group] += 1;
        }
        leaving(channels, groups, &counts, multiple)
    };
    let gone = |count| 1.0 - macs(channels, &of_first(count)).unwrap_or(before) / before.max(1.0);
    let most = gone(order.len());
    if most < amount {
        return Err(refused(format!(
            "at most {:.1} % of the multiplications can leave this model, not {:.1} %",
            most * 100.0,
            amount * 100.0
        )));
    }
    // The more channels leave, the fewer multiplications stay: bisect.
    let (mut low, mut high) = (0, order.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if gone(middle) < amount {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(of_first(low))
}

/// Multiplications of the model without the channels that leave.
fn macs(channels: &Channels, leaving: &Leaving) -> Option<f64> {
    let work = channels.work.as_ref()?;
    let left = |axis: &Vec<Slot>| kept(channels, leaving, axis) as f64 / axis.len().max(1) as f64;
    let of = |work: &super::follow::Work| work.macs as f64 * work.axes.iter().map(left).product::<f64>();
    Some(work.iter().map(of).sum())
}

/// How many slots of an axis stay.
pub(super) fn kept(channels: &Channels, leaving: &Leaving, axis: &[Slot]) -> usize {
    axis.iter()
        .filter(|&&slot| !leaving[channels.slots.root(slot)])
        .count()
}

impl Group {
    /// How many channels stay when `count` are to leave: rounded up so that every axis they lie along has a
    /// multiple of `multiple`, and never none.
    fn kept(&self, count: usize, multiple: usize) -> usize {
        let step = multiple / gcd(multiple, self.width);
        let all = self.channels.len();
        ((all - count).max(1).div_ceil(step) * step).min(all)
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
