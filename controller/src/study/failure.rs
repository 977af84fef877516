//! A runtime's words about a job, for people: the name of the variant instead of a device's file, and the
//! operator that the runtime does not have.

use edgefront_protocol::{Failure, Job, Stage};

/// What stands before the name of an operator in the words of a runtime that does not have it.
const NOT_THERE: [&str; 2] = [
    // ONNX Runtime
    "No Op registered for ",
    // tract
    "Unimplemented(",
];

/// The failure of `job` as the results tell it.
pub(super) fn explained(failure: &Failure, job: &Job) -> Failure {
    let error = match (failure.stage, missing_operator(&failure.error)) {
        (Stage::Load, Some(operator)) => format!(
            "`{}` has the operator `{operator}`, which the runtime `{}` does not have; express it by others, or \
             measure on another runtime",
            job.variant, job.target.runtime
        ),
        _ => without_paths(
            &failure.error,
            &job.artifact.blob.digest.to_string(),
            &job.variant,
        ),
    };
    Failure {
        stage: failure.stage,
        error,
    }
}

fn missing_operator(error: &str) -> Option<&str> {
    NOT_THERE.iter().find_map(|mark| {
        let (_, after) = error.split_once(mark)?;
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
        (end > 0).then_some(&after[..end])
    })
}

/// A device keeps a file under its digest; the variant's name takes the place of each path to it.
fn without_paths(error: &str, digest: &str, variant: &str) -> String {
    let is_edge = |c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\'' | '`' | '(' | ')');
    let mut text = String::new();
    let mut rest = error;
    while let Some(at) = rest.find(digest) {
        let begin = rest[..at].rfind(is_edge).map_or(0, |edge| edge + 1);
        text.push_str(&rest[..begin]);
        text.push_str(variant);
        rest = &rest[at + digest.len()..];
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;

    fn told(stage: Stage, words: &str) -> String {
        let job = fixture::job("j1");
        let blob = format!("/var/lib/edgefront/blobs/{}", job.artifact.blob.digest);
        let failure = Failure {
            stage,
            error: words.replace("BLOB", &blob),
        };
        explained(&failure, &job).error
    }

    #[test]
    fn an_operator_that_a_runtime_does_not_have_is_named() {
        let words = [
            "runtime `tract` cannot load BLOB: Translating node #9 \"/4/Fold\" Unimplemented(Fold) \
             ToTypedTranslator: Operator can not be made a TypedOp.",
            "runtime `ort` cannot load BLOB: Load model from BLOB failed:This is an invalid model. In Node, \
             (\"/4/Fold\", Fold, \"\", -1) : (\"x\": tensor(float),) -> (\"output\": tensor(float),) , Error No Op \
             registered for Fold with domain_version of 17",
        ];
        for words in words {
            let told = told(Stage::Load, words);
            assert!(
                told.starts_with("`fp32` has the operator `Fold`, which the runtime `tract` does not have"),
                "{told}"
            );
        }
    }

    #[test]
    fn a_devices_file_is_called_by_the_variants_name() {
        let told = told(
            Stage::Load,
            "runtime `ort` cannot load BLOB: Load model from \"BLOB\" failed:Protobuf parsing failed.",
        );
        assert_eq!(
            told,
            "runtime `ort` cannot load fp32: Load model from \"fp32\" failed:Protobuf parsing failed."
        );
    }

    #[test]
    fn other_words_stay_as_they_are() {
        for words in ["no memory", "", "No Op registered for "] {
            assert_eq!(told(Stage::Run, words), words);
            assert_eq!(told(Stage::Load, words), words);
        }
    }
}
