//! Which tests need what: a test that needs a prerequisite has its word in its own name or in that of the module which
//! directly holds it, as in `transfers_through_mosquitto` or `ort::on_ort::threads_are_taken`. Modules further out are
//! named after what they are about, and most tests in them need nothing.

/// Whether `word` stands alone, between `_` or the ends, in the name of a test or of the module that holds it.
pub(crate) fn names(test: &str, word: &str) -> bool {
    let own_and_holder = test.rsplit("::").take(2);
    own_and_holder
        .flat_map(|name| name.split('_'))
        .any(|part| part == word)
}

/// The same rule as a filter of nextest: every test but those that name one of `words`.
pub(crate) fn nextest_without(words: &[&str]) -> String {
    format!("not test(/(^|[:_])({})(_[^:]*)?(::[^:]*)?$/)", words.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_only_where_it_stands_alone() {
        for test in [
            "ort::on_ort::loads",
            "tests::ort::loads",
            "runs_on_ort",
            "kill::ort_session",
            "ort",
        ] {
            assert!(names(test, "ort"), "{test}");
        }
        for test in [
            "report::tests::draws",
            "sort_is_stable",
            "tests::port",
            "export_torch",
            "ort::tests::loads",
            "ort_options::tests::loads",
            "ort::version::tests::loads",
            "",
        ] {
            assert!(!names(test, "ort"), "{test}");
        }
    }

    #[test]
    fn the_filter_names_all_words() {
        assert_eq!(
            nextest_without(&["ort", "mosquitto"]),
            "not test(/(^|[:_])(ort|mosquitto)(_[^:]*)?(::[^:]*)?$/)"
        );
    }
}
