//! Whole conversions, read again by a reader that shares nothing with the writer.

mod integers;
mod parsed;
mod pictures;
mod random;
