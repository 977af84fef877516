//! `results.json`: the results as they are.

use edgefront_protocol::results::Results;

use super::Rendered;

pub(super) fn render(results: &Results) -> Rendered {
    let mut text = serde_json::to_vec_pretty(results)?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn one_record_has_the_documented_form() {
        let mut results = fixture::results();
        results.records.truncate(1);
        insta::assert_snapshot!(String::from_utf8(render(&results).unwrap()).unwrap());
    }
}
