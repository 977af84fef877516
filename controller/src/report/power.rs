//! Where energies were measured, for what one rail feeds another one may not.

use std::collections::BTreeSet;

use edgefront_protocol::results::{EnergyRecord, Record, Results};

use crate::frontier::objective::Objective;

/// The rails that the energies of these records are of: `VDD_IN of ina3221, which feeds the module`.
pub(super) fn rails(records: &[&Record]) -> Vec<String> {
    let energies = records.iter().filter_map(|record| record.energy.as_ref());
    let rails: BTreeSet<String> = energies.map(rail).collect();
    rails.into_iter().collect()
}

fn rail(energy: &EnergyRecord) -> String {
    let meter = match &energy.rail {
        Some(rail) => format!("{rail} of {}", energy.meter),
        None => energy.meter.clone(),
    };
    let kind = if energy.estimated {
        "estimated as"
    } else {
        "measured at"
    };
    format!("{kind} {meter} ({})", energy.scope)
}

/// An axis' title: the objective with its unit, and what the power of its energies feeds.
pub(super) fn axis_title(objective: &Objective, records: &[&Record]) -> String {
    let plain = format!("{} ({})", objective.label, objective.unit);
    if !objective.is_of_energy() {
        return plain;
    }
    match &kinds(records.iter().copied())[..] {
        [] => plain,
        [kind] => format!("{} of the {kind} ({})", objective.label, objective.unit),
        kinds => format!(
            "{} ({}) of {}: not comparable",
            objective.label,
            objective.unit,
            kinds.join(" and of ")
        ),
    }
}

/// What must be said where energies of several kinds stand side by side; `None` where they do not.
pub(crate) fn mixture(results: &Results) -> Option<String> {
    let kinds = kinds(results.records.iter());
    (kinds.len() > 1).then(|| {
        let of = |kind: &String| {
            let of_kind = |record: &&Record| {
                record
                    .energy
                    .as_ref()
                    .is_some_and(|energy| self::kind(energy) == *kind)
            };
            let devices: BTreeSet<&str> = results
                .records
                .iter()
                .filter(of_kind)
                .map(|record| record.device.as_str())
                .collect();
            format!("{kind} of {}", devices.into_iter().collect::<Vec<_>>().join(", "))
        };
        let each: Vec<String> = kinds.iter().map(of).collect();
        format!(
            "energies of different scopes stand side by side ({}); compare only those of one",
            each.join("; ")
        )
    })
}

/// Every scope of these records' energies; those of a model apart.
fn kinds<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<String> {
    let kinds: BTreeSet<String> = records
        .filter_map(|record| record.energy.as_ref())
        .map(kind)
        .collect();
    kinds.into_iter().collect()
}

fn kind(energy: &EnergyRecord) -> String {
    let estimated = if energy.estimated { ", estimated" } else { "" };
    format!("{}{estimated}", energy.scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontier::objective;
    use crate::results::fixture;

    fn energy(scope: &str, rail: Option<&str>, estimated: bool) -> EnergyRecord {
        EnergyRecord {
            rail: rail.map(str::to_owned),
            scope: scope.into(),
            estimated,
            ..fixture::energy()
        }
    }

    #[test]
    fn energies_of_one_scope_share_an_axis_and_of_two_are_warned_of() {
        let mut results = fixture::results();
        let energies = objective::named("energy").unwrap();
        let title = |results: &Results| axis_title(energies, &results.records.iter().collect::<Vec<_>>());
        assert_eq!(title(&results), "energy per inference (mJ)");
        for record in &mut results.records {
            record.energy = Some(energy("module", Some("VDD_IN"), false));
        }
        assert_eq!(title(&results), "energy per inference of the module (mJ)");
        assert_eq!(mixture(&results), None);
        results.records[0].energy = Some(energy("wall", None, false));
        assert_eq!(
            title(&results),
            "energy per inference (mJ) of module and of wall: not comparable"
        );
        let said = mixture(&results).unwrap();
        assert!(
            said.starts_with("energies of different scopes stand side by side (module of "),
            "{said}"
        );
        let latency = objective::named("latency_p50").unwrap();
        assert_eq!(axis_title(latency, &[&results.records[0]]), "P50 latency (ms)");
    }

    #[test]
    fn an_estimate_is_no_measurement() {
        let mut results = fixture::results();
        results.records.truncate(2);
        results.records[0].energy = Some(energy("board", None, false));
        results.records[1].energy = Some(energy("board", None, true));
        assert!(mixture(&results).unwrap().contains("board, estimated of "));
        assert_eq!(
            rails(&results.records.iter().collect::<Vec<_>>()),
            ["estimated as ina3221 (board)", "measured at ina3221 (board)"]
        );
    }
}
