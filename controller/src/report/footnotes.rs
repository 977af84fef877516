//! Remarks on records, numbered: a sign beside a record, and its text below the table.

use edgefront_protocol::results::{AccuracyRecord, FlaggedRounds, Record, StoppedRecord};

/// The remarks of some records, each text once, in the order in which they first stand.
pub(super) struct Footnotes {
    texts: Vec<String>,
    /// Whether it is worth saying that a record is not ranked: not where none is.
    some_are_ranked: bool,
}

impl Footnotes {
    pub(super) fn of(records: &[&Record]) -> Self {
        let mut notes = Self {
            texts: Vec::new(),
            some_are_ranked: records.iter().any(|record| record.not_ranked.is_none()),
        };
        for record in records {
            for remark in notes.remarks(record) {
                if !notes.texts.contains(&remark) {
                    notes.texts.push(remark);
                }
            }
        }
        notes
    }

    /// The numbers of a record's remarks, from 1.
    pub(super) fn numbers(&self, record: &Record) -> Vec<usize> {
        let mut numbers: Vec<usize> = self
            .remarks(record)
            .iter()
            .filter_map(|remark| self.texts.iter().position(|text| text == remark))
            .map(|at| at + 1)
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// Each number and its text.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.texts.iter().map(String::as_str))
    }

    /// What is to be said of a record's figures, and what they come from.
    fn remarks(&self, record: &Record) -> Vec<String> {
        let mut remarks = conditions(record);
        let why = record.not_ranked.as_ref().filter(|_| self.some_are_ranked);
        remarks.extend(why.map(|why| format!("not ranked: {why}")));
        remarks.extend(record.explanation.clone());
        remarks
    }
}

/// What a reader should know before using the record's figures; an explanation of them is no such thing.
pub(crate) fn conditions(record: &Record) -> Vec<String> {
    let conditions = &record.conditions;
    let mut remarks = conditions.notes.clone();
    let ran = record.latency_ms.rounds.len();
    remarks.extend(record.stopped.as_ref().map(|told| stopped(told, ran)));
    remarks.extend(record.accuracy.as_ref().and_then(partly));
    if conditions.throttled == Some(true) {
        remarks.push("the device throttled".to_owned());
    }
    let is_sustained = record.sustained.is_some();
    remarks.extend(
        conditions
            .flagged_rounds
            .as_ref()
            .map(|flagged| disturbed(flagged, is_sustained)),
    );
    remarks.extend(
        conditions.cpu_limit_mhz.map(|[allowed, possible]| {
            format!("the device caps its processors at {allowed} of {possible} MHz")
        }),
    );
    let warm = conditions.cool_down.as_ref().map_or(0, |waits| waits.warm_rounds);
    if warm > 0 {
        remarks.push(format!(
            "{warm} rounds began warmer than was asked for, since the limit of the wait came first"
        ));
    }
    // Who writes this says by how much, too.
    if !conditions.valid && conditions.notes.is_empty() && conditions.flagged_rounds.is_none() {
        remarks.push("the rounds disagree too much to be compared".to_owned());
    }
    remarks
}

/// That a part of the pack was scored.
fn partly(accuracy: &AccuracyRecord) -> Option<String> {
    let (pack, [low, high]) = (accuracy.pack_samples?, accuracy.top1_drop_ci95?);
    Some(format!(
        "scored on {} of {pack} pictures, which show that its top-1 is {:.2} to {:.2} points below the model's own on the \
         whole pack",
        accuracy.samples,
        100.0 * low,
        100.0 * high
    ))
}

/// Who stopped it and on what evidence.
fn stopped(stopped: &StoppedRecord, ran: usize) -> String {
    let StoppedRecord {
        by,
        rounds,
        of,
        median,
        ..
    } = stopped;
    let accuracy = stopped.top1.map_or_else(String::new, |top1| {
        let [own, other] = top1.map(|share| share * 100.0);
        format!(", with a top-1 of {other:.2} % beside {own:.2} %")
    });
    let energy = stopped.energy.map_or_else(String::new, |energy| {
        format!(
            ", takes 1/{:.2} of the energy (at most 1/{:.2})",
            energy.ratio, energy.at_least
        )
    });
    format!(
        "stopped after {ran} of {of} rounds: in the {rounds} that both have, {by} is {:.2} times as fast (at least \
         {:.2}){energy}{accuracy}",
        median.ratio, median.at_least
    )
}

/// What became of rounds that were disturbed.
fn disturbed(flagged: &FlaggedRounds, is_sustained: bool) -> String {
    let FlaggedRounds { count, of, .. } = flagged;
    let causes = flagged.causes.join(", ");
    if is_sustained {
        format!("{count} of {of} windows were disturbed ({causes}): compare these figures with care")
    } else if flagged.used {
        format!(
            "{count} of {of} rounds were disturbed ({causes}), too many to do without: compare these figures with care"
        )
    } else {
        format!("{count} of {of} rounds were disturbed ({causes}), measured again and left out")
    }
}

/// Whether there is such a thing.
pub(super) fn is_noted(record: &Record) -> bool {
    !conditions(record).is_empty()
}

/// `¹²`.
pub(crate) fn superscript(number: usize) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digits = number.to_string();
    let digits = digits.bytes().map(|digit| DIGITS[usize::from(digit - b'0')]);
    digits.collect()
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::results::LeadRecord;

    use super::*;
    use crate::results::fixture;

    #[test]
    fn equal_remarks_share_a_number() {
        let mut results = fixture::results();
        results.records.truncate(3);
        results.records[0].conditions.notes = vec!["warm".into()];
        results.records[1].conditions.notes = vec!["cold".into()];
        results.records[1].not_ranked = Some("top-1 was not measured".into());
        results.records[2].conditions.notes = vec!["cold".into(), "warm".into()];
        let records: Vec<&Record> = results.records.iter().collect();
        let notes = Footnotes::of(&records);
        let numbers: Vec<Vec<usize>> = records.iter().map(|r| notes.numbers(r)).collect();
        assert_eq!(numbers, [vec![1], vec![2, 3], vec![1, 2]]);
        let texts: Vec<&str> = notes.iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["warm", "cold", "not ranked: top-1 was not measured"]);
    }

    #[test]
    fn disturbed_rounds_are_told_in_words() {
        let mut results = fixture::results();
        let record = &mut results.records[0];
        record.conditions.notes.clear();
        let mut flagged = FlaggedRounds {
            count: 2,
            of: 12,
            causes: vec!["throttling".into(), "other load".into()],
            used: false,
        };
        record.conditions.flagged_rounds = Some(flagged.clone());
        let told = "2 of 12 rounds were disturbed (throttling, other load), measured again and left out";
        assert_eq!(conditions(record), [told]);
        flagged.used = true;
        record.conditions.flagged_rounds = Some(flagged);
        record.conditions.valid = false;
        let [told] = &conditions(record)[..] else {
            panic!("one remark: {:?}", conditions(record));
        };
        assert!(told.ends_with("compare these figures with care"), "{told}");
    }

    #[test]
    fn who_stopped_a_record_stands_below_the_table() {
        let mut results = fixture::results();
        let record = &mut results.records[0];
        record.conditions.notes.clear();
        let lead = |ratio, at_least| LeadRecord { ratio, at_least };
        record.stopped = Some(StoppedRecord {
            by: "ptq-int8/ort/cpu/t1/b1".to_owned(),
            rounds: 2,
            of: 10,
            chance: 0.01,
            median: lead(2.414, 2.2),
            mean: lead(2.4, 2.1),
            energy: Some(lead(2.0, 1.8)),
            top1: Some([0.884, 0.885]),
        });
        assert_eq!(
            conditions(record),
            [
                "stopped after 2 of 10 rounds: in the 2 that both have, ptq-int8/ort/cpu/t1/b1 is 2.41 times as fast (at least \
                 2.20), takes 1/2.00 of the energy (at most 1/1.80), with a top-1 of 88.50 % beside 88.40 %"
            ]
        );
    }

    #[test]
    fn where_nothing_is_ranked_nobody_needs_to_be_told() {
        let mut results = fixture::results();
        results.records.truncate(2);
        for record in &mut results.records {
            record.conditions.notes.clear();
            record.not_ranked = Some("top-1 was not measured".into());
        }
        let records: Vec<&Record> = results.records.iter().collect();
        assert_eq!(Footnotes::of(&records).iter().count(), 0);
    }

    #[test]
    fn numbers_are_raised() {
        assert_eq!([1, 12, 305].map(superscript), ["¹", "¹²", "³⁰⁵"]);
    }
}
