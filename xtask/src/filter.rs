//! Which tests need what: a test that needs a prerequisite has its word in its path, as in
//! `transfers_through_mosquitto` or `ort::tests::threads_are_taken`.

/// Whether `word` stands alone in the path of a test, between `::`, `_` or its ends.
pub(crate) fn names(test: &str, word: &str) -> bool {
    test.split([':', '_']).any(|part| part == word)
}

/// The same rule as a filter of nextest: every test but those that name one of `words`.
pub(crate) fn nextest_without(words: &[&str]) -> String {
    format!("not test(/(^|[:_])({})([:_]|$)/)", words.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_only_where_it_stands_alone() {
        for test in ["ort::tests::loads", "runs_on_ort", "kill::ort_session", "ort"] {
            assert!(names(test, "ort"), "{test}");
        }
        for test in [
            "report::tests::draws",
            "sort_is_stable",
            "tests::port",
            "export_torch",
            "",
        ] {
            assert!(!names(test, "ort"), "{test}");
        }
    }

    #[test]
    fn the_filter_names_all_words() {
        assert_eq!(
            nextest_without(&["ort", "mosquitto"]),
            "not test(/(^|[:_])(ort|mosquitto)([:_]|$)/)"
        );
    }
}
