//! The envelope of every message and stored state: two version bytes, then postcard.
//!
//! A new field is appended at the end of a top-level message and raises `MINOR`. An older reader ignores the bytes
//! that it does not know; a newer one reads zeros where an older message has none, so a field must mean "not told"
//! when it is zero: 0, false, empty, `None`, an enum's first variant. Any other change raises `MAJOR`, which others
//! refuse.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Wire format generation; readers refuse any other.
pub const MAJOR: u8 = 1;
/// Additions within the generation.
pub const MINOR: u8 = 5;

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
    let [major, minor, body @ ..] = bytes else {
        return Err(WireError::Short(bytes.len()));
    };
    if *major != MAJOR {
        return Err(WireError::Version { found: *major });
    }
    let (message, surplus) = if *minor < MINOR {
        let completed = [body, &[0; APPENDED]].concat();
        let (message, left) = take(&completed)?;
        (message, left.saturating_sub(APPENDED))
    } else {
        take(body)?
    };
    let may_have_unknown_fields = *minor > MINOR;
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
