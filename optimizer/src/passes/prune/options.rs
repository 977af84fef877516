//! How a model is pruned, as a user says it and as the pass takes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::refused;
use crate::error::Error;

/// Channels are rounded to this where nothing else is asked for: kernels work on 8 or 16 at a time.
pub const MULTIPLE: usize = 8;

/// How a model is pruned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Options", into = "Options")]
pub enum Method {
    /// Sets the weights of least magnitude to zero.
    Weights {
        /// Fraction of the weights, between 0 and 1.
        amount: f64,
        /// Of each layer, or of all together.
        scope: Scope,
    },
    /// Leaves so many weights of each few neighbours.
    Pattern(Pattern),
    /// Takes whole channels out of the tensors.
    Channels {
        /// With [`Scope::Layer`] the fraction of channels that leaves each group of layers that share them,
        /// with [`Scope::Global`] the fraction of the model's multiplications; between 0 and 1.
        amount: f64,
        /// Of each group, or of the whole model.
        scope: Scope,
        /// Kept channels are rounded up to a multiple of this, which is at least 1.
        multiple: usize,
    },
}

/// What the amount is a fraction of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Of each layer.
    #[default]
    Layer,
    /// Of the whole model, so that layers which matter less lose more.
    Global,
}

/// `N:M`: of each M neighbours along the input channels, at most N weights are not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    keep: usize,
    of: usize,
}

/// The settings as a study's TOML and the command line have them; those that contradict each other are refused
/// where they become a [`Method`].
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Fraction to prune; needed where there is no pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<f64>,
    /// What the amount is a fraction of; of each layer by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Whole channels instead of single weights.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub structured: bool,
    /// `2:4`, for sparse tensor cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// What kept channels are rounded up to; [`MULTIPLE`] by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiple: Option<usize>,
}

impl TryFrom<Options> for Method {
    type Error = Error;

    fn try_from(options: Options) -> Result<Self, Error> {
        let scope = options.scope.unwrap_or_default();
        if options.multiple.is_some() && !options.structured {
            return Err(refused(
                "`multiple` rounds numbers of channels, so it needs `structured`",
            ));
        }
        if let Some(pattern) = options.pattern {
            return pattern.method(&options);
        }
        let Some(amount) = options.amount else {
            return Err(refused("`amount` is missing, the fraction to prune, such as 0.5"));
        };
        let method = if options.structured {
            Self::Channels {
                amount,
                scope,
                multiple: options.multiple.unwrap_or(MULTIPLE),
            }
        } else {
            Self::Weights { amount, scope }
        };
        method.check().map(|()| method)
    }
}

impl Method {
    /// Refuses figures that are out of range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match *self {
            Self::Weights { amount, .. } | Self::Channels { amount, .. }
                if !(0.0..=1.0).contains(&amount) =>
            {
                Err(refused(format!(
                    "the amount is {amount}; it is a fraction between 0 and 1"
                )))
            }
            Self::Channels { multiple: 0, .. } => Err(refused("`multiple` is 0; it is at least 1")),
            _ => Ok(()),
        }
    }
}

impl From<Method> for Options {
    fn from(method: Method) -> Self {
        match method {
            Method::Weights { amount, scope } => Self {
                amount: Some(amount),
                scope: Some(scope),
                ..Self::default()
            },
            Method::Pattern(pattern) => Self {
                pattern: Some(pattern),
                ..Self::default()
            },
            Method::Channels {
                amount,
                scope,
                multiple,
            } => Self {
                amount: Some(amount),
                scope: Some(scope),
                structured: true,
                multiple: Some(multiple),
                ..Self::default()
            },
        }
    }
}

impl Pattern {
    /// Two weights of four, which the sparse tensor cores of NVIDIA's GPUs compute with.
    pub const TWO_OF_FOUR: Self = Self { keep: 2, of: 4 };

    /// How many weights of a run may be other than zero.
    pub fn keep(self) -> usize {
        self.keep
    }

    /// Length of a run.
    pub fn of(self) -> usize {
        self.of
    }

    /// The fraction of the weights that becomes zero.
    pub fn amount(self) -> f64 {
        1.0 - self.keep as f64 / self.of as f64
    }

    /// The method, unless other options contradict the pattern.
    fn method(self, options: &Options) -> Result<Method, Error> {
        if options.structured {
            return Err(refused(format!(
                "`structured` takes whole channels and the pattern {self} single weights; choose one"
            )));
        }
        if options.scope == Some(Scope::Global) {
            return Err(refused(format!(
                "the pattern {self} holds in every layer, so it has no global scope"
            )));
        }
        let own = self.amount();
        if options.amount.is_some_and(|amount| (amount - own).abs() > 0.001) {
            return Err(refused(format!(
                "the pattern {self} sets {own:.3} of the weights to zero; leave `amount` out"
            )));
        }
        Ok(Method::Pattern(self))
    }
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text
            .split_once(':')
            .and_then(|(keep, of)| Some((keep.parse().ok()?, of.parse().ok()?)));
        match parsed {
            Some((keep, of)) if 0 < keep && keep < of && of <= 64 => Ok(Self { keep, of }),
            _ => Err(refused(format!(
                "`{text}` is no pattern; `2:4` keeps two weights of each four"
            ))),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.keep, self.of)
    }
}
