//! Passes over a model: each takes one, returns another, and reports what it did.
