//! Short names of records: what all of them share is said once, and the names hold what they differ in.

use edgefront_protocol::processors::list;
use edgefront_protocol::results::Record;

/// A part of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Study,
    Variant,
    Runtime,
    Provider,
    Threads,
    Batch,
    Cpus,
    Scenario,
}

/// The parts by which some records differ; the variant is always one of them.
pub(super) struct Names(Vec<Part>);

impl Part {
    /// In the order of [`Record::configuration`].
    pub(super) const ALL: [Self; 8] = [
        Self::Study,
        Self::Variant,
        Self::Runtime,
        Self::Provider,
        Self::Threads,
        Self::Batch,
        Self::Cpus,
        Self::Scenario,
    ];

    /// As a configuration has it.
    fn text(self, record: &Record) -> String {
        match self {
            Self::Study => record.study.clone().unwrap_or_default(),
            Self::Variant => record.variant.clone(),
            Self::Runtime => record.runtime.clone(),
            Self::Provider => record.provider.clone(),
            Self::Threads => format!("t{}", record.threads),
            Self::Batch => format!("b{}", record.batch),
            Self::Cpus => match &record.cpus[..] {
                [] => "cpus-all".to_owned(),
                cpus => format!("cpus{}", list(cpus)),
            },
            Self::Scenario => record.way().unwrap_or_else(|| "single".to_owned()),
        }
    }

    /// As people say it; `None` where there is nothing to say.
    fn words(self, record: &Record) -> Option<String> {
        match self {
            Self::Study => record.study.as_ref().map(|study| format!("study {study}")),
            Self::Variant => Some(record.variant.clone()),
            Self::Runtime => Some(format!("runtime {}", record.runtime)),
            Self::Provider => Some(format!("provider {}", record.provider)),
            Self::Threads if record.threads == 1 => Some("1 thread".to_owned()),
            Self::Threads => Some(format!("{} threads", record.threads)),
            Self::Batch => Some(format!("batch {}", record.batch)),
            Self::Cpus if record.cpus.is_empty() => None,
            Self::Cpus => Some(format!("processors {}", list(&record.cpus))),
            Self::Scenario => record.way().map(|way| format!("scenario {way}")),
        }
    }
}

impl Names {
    pub(super) fn of(records: &[&Record]) -> Self {
        let differs = |part: &Part| {
            *part == Part::Variant
                || records
                    .windows(2)
                    .any(|pair| part.text(pair[0]) != part.text(pair[1]))
        };
        Self(Part::ALL.into_iter().filter(differs).collect())
    }

    /// Those of `parts` that tell the record from the others.
    pub(super) fn short(&self, record: &Record, parts: &[Part]) -> Vec<String> {
        let told = parts.iter().filter(|part| self.0.contains(part));
        told.map(|part| part.text(record)).collect()
    }

    /// What all the records share, read from one of them.
    pub(super) fn shared(&self, record: &Record) -> String {
        let shared = Part::ALL.into_iter().filter(|part| !self.0.contains(part));
        let words: Vec<String> = shared.filter_map(|part| part.words(record)).collect();
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn what_differs_is_in_the_name_and_the_rest_is_said_once() {
        let mut results = fixture::results();
        results.records.truncate(4);
        results.records[3].threads = 2;
        let records: Vec<&Record> = results.records.iter().collect();
        let names = Names::of(&records);
        assert_eq!(names.short(records[3], &Part::ALL), ["fp16", "tract", "t2"]);
        assert_eq!(names.short(records[3], &[Part::Variant, Part::Batch]), ["fp16"]);
        assert_eq!(names.shared(records[0]), "provider cpu, batch 1");
    }
}
