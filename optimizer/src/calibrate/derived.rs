//! Values that need not be observed, because they follow from others.

/// A value and what it follows from.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// Its name.
    pub value: String,
    /// What it follows from.
    pub origin: Origin,
}

/// What a value follows from.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// It has the elements of these values.
    Parts(Vec<String>),
    /// Its elements are `1 / (1 + exp(-x))` of this value's.
    Sigmoid(String),
    /// Its elements are `x / (1 + exp(-x))` of this value's.
    Silu(String),
}

impl Origin {
    /// The values that it follows from.
    pub fn values(&self) -> impl Iterator<Item = &String> {
        match self {
            Self::Parts(parts) => parts.iter(),
            Self::Sigmoid(value) | Self::Silu(value) => std::slice::from_ref(value).iter(),
        }
    }
}
