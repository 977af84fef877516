//! Reads the header of NumPy's `.npy` format, strictly.
//!
//! The published readers evaluate the header as a Python literal by recursion and multiply its extents
//! unchecked, so that a hostile file overflows the stack or the sum. What NumPy writes is one flat dictionary
//! of three known keys, and nothing else is read here.

use std::io::{self, Read};

/// More than NumPy itself accepts (`max_header_size`).
const MAX_HEADER: usize = 10_000;
const MAGIC: &[u8] = b"\x93NUMPY";

/// Type and extents of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// `|u1`, `<f4`, ...
    pub descr: String,
    pub fortran_order: bool,
    pub shape: Vec<usize>,
}

/// Reads a header; the reader then stands at the first element.
pub(super) fn read_header(reader: &mut impl Read) -> io::Result<Header> {
    let mut preamble = [0; 8];
    reader.read_exact(&mut preamble)?;
    let (magic, version) = preamble.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(invalid("is not in .npy form"));
    }
    let length = if version[0] == 1 {
        let mut length = [0; 2];
        reader.read_exact(&mut length)?;
        usize::from(u16::from_le_bytes(length))
    } else {
        let mut length = [0; 4];
        reader.read_exact(&mut length)?;
        u32::from_le_bytes(length) as usize
    };
    if length > MAX_HEADER {
        return Err(invalid("has an overlong header"));
    }
    let mut text = vec![0; length];
    reader.read_exact(&mut text)?;
    std::str::from_utf8(&text)
        .ok()
        .and_then(parse)
        .ok_or_else(|| invalid("has a header that NumPy does not write; is it a structured array?"))
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// `{'descr': '|u1', 'fortran_order': False, 'shape': (4, 3), }`, keys in any order.
fn parse(text: &str) -> Option<Header> {
    let mut rest = Cursor(text);
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    rest.eat("{")?;
    while rest.eat("}").is_none() {
        let key = rest.string()?;
        rest.eat(":")?;
        match key {
            "descr" => descr = Some(rest.string()?.to_owned()),
            "fortran_order" => fortran_order = Some(rest.truth()?),
            "shape" => shape = Some(rest.extents()?),
            _ => return None,
        }
        if rest.eat(",").is_none() {
            rest.eat("}")?;
            break;
        }
    }
    let whole = rest.0.trim().is_empty();
    whole.then_some(Header {
        descr: descr?,
        fortran_order: fortran_order?,
        shape: shape?,
    })
}

/// What is left of the header.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn eat(&mut self, token: &str) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let quoted = self.0.trim_start();
        let quote = quoted.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (string, rest) = quoted[1..].split_once(quote)?;
        self.0 = rest;
        Some(string)
    }

    fn truth(&mut self) -> Option<bool> {
        match self.eat("True") {
            Some(()) => Some(true),
            None => self.eat("False").map(|()| false),
        }
    }

    fn extents(&mut self) -> Option<Vec<usize>> {
        self.eat("(")?;
        let (list, rest) = self.0.split_once(')')?;
        self.0 = rest;
        let extents = list.trim().trim_end_matches(',');
        if extents.is_empty() {
            return Some(Vec::new());
        }
        extents
            .split(',')
            .map(|extent| extent.trim().parse().ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(text: &str) -> Vec<u8> {
        let length = (text.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0], &length, text.as_bytes()].concat()
    }

    #[test]
    fn reads_what_numpy_writes() {
        let bytes = file("{'descr': '|u1', 'fortran_order': False, 'shape': (1000, 64, 64, 3), }      \n");
        let header = read_header(&mut &bytes[..]).unwrap();
        assert_eq!(header.descr, "|u1");
        assert!(!header.fortran_order);
        assert_eq!(header.shape, [1000, 64, 64, 3]);
    }

    #[test]
    fn a_vector_and_a_scalar_have_their_extents() {
        let shape = |text: &str| {
            parse(&format!(
                "{{'shape': {text}, 'descr': '<i8', 'fortran_order': True}}"
            ))
            .unwrap()
            .shape
        };
        assert_eq!(shape("(7,)"), [7]);
        assert!(shape("()").is_empty());
    }

    #[test]
    fn what_numpy_does_not_write_is_refused() {
        for text in [
            "",
            "{}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} and more",
            &"(".repeat(9000),
        ] {
            assert!(read_header(&mut &file(text)[..]).is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_is_not_taken_at_its_word_about_its_length() {
        let bytes = [MAGIC, &[2, 0], &u32::MAX.to_le_bytes()].concat();
        let error = read_header(&mut &bytes[..]).unwrap_err();
        assert_eq!(error.to_string(), "has an overlong header");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in "\\PC{0,80}") {
            let _ = read_header(&mut &file(&text)[..]);
        }
    }
}
