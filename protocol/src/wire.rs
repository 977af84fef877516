//! The envelope of every message and stored state: two version bytes, then postcard.
//!
//! A new field is appended at the end of a top-level message and raises `MINOR`. An older reader ignores the bytes
//! that it does not know; a newer one reads zeros where an older message has none, so a field must mean "not told"
//! when it is zero: 0, false, empty, `None`, an enum's first variant. Any other change raises `MAJOR`, which others
//! refuse.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Wire format generation; readers refuse any other.
pub const MAJOR: u8 = 3;
/// Additions within the generation.
pub const MINOR: u8 = 0;

/// Zero bytes that all fields which were ever appended to one message may take.
const APPENDED: usize = 16;

/// Bytes that are not a message of this version.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Fewer bytes than the envelope has.
    #[error("message of {0} bytes is too short")]
    Short(usize),
    /// The sender speaks another generation of the format.
    #[error("message has wire version {found}, this program reads version {MAJOR}; update the older side")]
    Version {
        /// The major version in the message.
        found: u8,
    },
    /// The body is not the message it should be.
    #[error("message is malformed")]
    Malformed(#[source] postcard::Error),
    /// Bytes follow the message though its version has no more fields.
    #[error("message has {0} surplus bytes")]
    Surplus(usize),
}

/// Writes the envelope and `message`.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    // Not `to_extend`, which goes byte by byte: a chunk is long.
    let body = postcard::to_stdvec(message).expect("messages hold only types that postcard can write");
    [&[MAJOR, MINOR], body.as_slice()].concat()
}

/// Reads a message. Never panics, whatever the bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    decode_counted(bytes).map(|(message, _)| message)
}

/// As [`decode`], with how many bytes follow that are fields of a newer version.
pub(crate) fn decode_counted<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), WireError> {
    decode_as(bytes, MINOR)
}

/// What a reader of minor version `own` makes of it.
fn decode_as<T: DeserializeOwned>(bytes: &[u8], own: u8) -> Result<(T, usize), WireError> {
    let [major, minor, body @ ..] = bytes else {
        return Err(WireError::Short(bytes.len()));
    };
    if *major != MAJOR {
        return Err(WireError::Version { found: *major });
    }
    let (message, surplus) = if *minor < own {
        let completed = [body, &[0; APPENDED]].concat();
        let (message, left) = take(&completed)?;
        (message, left.saturating_sub(APPENDED))
    } else {
        take(body)?
    };
    let may_have_unknown_fields = *minor > own;
    if !may_have_unknown_fields && surplus > 0 {
        return Err(WireError::Surplus(surplus));
    }
    Ok((message, surplus))
}

/// The message at the beginning of `body`, and how many bytes follow it.
fn take<T: DeserializeOwned>(body: &[u8]) -> Result<(T, usize), WireError> {
    let (message, rest) = postcard::take_from_bytes(body).map_err(WireError::Malformed)?;
    Ok((message, rest.len()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message of minor version 3.
    type Before = (u32, String);
    /// The same of minor version 5, with a field that came in 4 and one that came in 5.
    type After = (u32, String, Option<bool>, Vec<u8>);

    fn message(minor: u8, message: &impl Serialize) -> Vec<u8> {
        let mut bytes = encode(message);
        bytes[1] = minor;
        bytes
    }

    proptest! {
        #[test]
        fn fields_that_an_older_message_lacks_are_zero(number: u32, text: String, told: Option<bool>) {
            let before: Before = (number, text.clone());
            let (read, left) = decode_as::<After>(&message(3, &before), 5).unwrap();
            prop_assert_eq!((read, left), ((number, text.clone(), None, Vec::new()), 0));
            let between = (number, text.clone(), told);
            let (read, left) = decode_as::<After>(&message(4, &between), 5).unwrap();
            prop_assert_eq!((read, left), ((number, text, told, Vec::new()), 0));
        }

        #[test]
        fn fields_of_a_newer_message_are_counted(after: After) {
            let (read, left) = decode_as::<Before>(&message(5, &after), 3).unwrap();
            let own = encode(&read).len();
            prop_assert_eq!(left, encode(&after).len() - own);
            prop_assert_eq!(read, (after.0, after.1));
        }

        #[test]
        fn what_follows_an_older_message_is_surplus(before: Before) {
            let mut bytes = message(3, &before);
            bytes.push(1);
            prop_assert!(matches!(decode_as::<Before>(&bytes, 5), Err(WireError::Surplus(1))));
        }
    }
}
