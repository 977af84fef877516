//! Empty until a library is compiled.
