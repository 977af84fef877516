//! Texts of libraries, of which some are long and of many lines.

/// The longest text of a library that is passed on; some print whole graphs.
const LONGEST: usize = 400;

/// The text on one line, cut where it is very long.
pub(crate) fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let line = one_line(&"é".repeat(1000));
        assert_eq!(line.chars().count(), LONGEST + 4);
        assert_eq!(one_line(" a\n\t b "), "a b");
    }
}
