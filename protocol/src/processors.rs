//! On which processors of a device a model runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which processors are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Processors {
    /// All that the system gives.
    #[default]
    All,
    /// Those of the highest capacity, where some have less.
    Big,
    /// Those of the lowest capacity, where some have more.
    Little,
    /// Those of these numbers, both ends included.
    Range {
        /// The first.
        first: u32,
        /// The last.
        last: u32,
    },
}

impl Processors {
    /// What tells a job that is bound to some; `None` where it is not bound.
    pub fn named(self) -> Option<String> {
        (self != Self::All).then(|| self.to_string())
    }
}

impl FromStr for Processors {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Self::All),
            "big" => return Ok(Self::Big),
            "little" => return Ok(Self::Little),
            _ => {}
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self::Range { first, last }),
            _ => Err(format!(
                "processors are all, big, little, a number or numbers as in 0-3, not `{text}`"
            )),
        }
    }
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Big => f.write_str("big"),
            Self::Little => f.write_str("little"),
            Self::Range { first, last } if first == last => write!(f, "{first}"),
            Self::Range { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

/// Ascending numbers as Linux writes lists of processors: `0-3,6`.
pub fn list(numbers: &[u32]) -> String {
    let runs = numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let texts: Vec<String> = runs
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            run => run.iter().map(ToString::to_string).collect(),
        })
        .collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_all_else_refused() {
        for text in ["all", "big", "little", "3", "0-3"] {
            assert_eq!(
                text.parse::<Processors>().map(|p| p.to_string()).as_deref(),
                Ok(text)
            );
        }
        for text in ["", "4-2", "-1", "medium", "0-", "0,2"] {
            assert!(text.parse::<Processors>().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_in_a_row_become_a_range() {
        assert_eq!(list(&[0, 1, 2, 3, 6]), "0-3,6");
        assert_eq!(list(&[4]), "4");
        assert_eq!(list(&[]), "");
    }
}
