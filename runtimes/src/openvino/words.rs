//! What OpenVINO says of a failure, without where in its own source it says so.

use crate::line::one_line;

/// The reason in one line; `None` where nothing was said.
pub(super) fn reason(said: &str) -> Option<String> {
    let told: Vec<&str> = said.lines().filter(|line| !is_place(line)).collect();
    let line = one_line(&told.join(" "));
    let line = if line.is_empty() { one_line(said) } else { line };
    (!line.is_empty()).then_some(line)
}

fn is_place(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("Exception from ") || line.starts_with("Check '") && line.contains("' failed at ")
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_reason_stands_without_the_places_in_the_source() {
        let said = "Exception from src/inference/src/cpp/core.cpp:84:\n\
                    Check 'false' failed at src/frontends/common_translators/src/unconverted_ops_report.cpp:151:\n\
                    FrontEnd API failed with OpConversionFailure:\nModel wasn't fully converted.\nSummary:\n\
                    -- No conversion rule found for operations: my.own.Foo\n\n";
        let expected = "FrontEnd API failed with OpConversionFailure: Model wasn't fully converted. Summary: \
                        -- No conversion rule found for operations: my.own.Foo";
        assert_eq!(reason(said).as_deref(), Some(expected));
    }

    #[test]
    fn where_there_are_but_places_they_are_told() {
        let said = "Exception from src/core/src/x.cpp:1:\n";
        assert_eq!(
            reason(said).as_deref(),
            Some("Exception from src/core/src/x.cpp:1:")
        );
        assert_eq!(reason("\n"), None);
    }
}
