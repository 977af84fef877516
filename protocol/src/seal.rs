//! By what a device knows which controller sent a batch: an Ed25519 signature.
//!
//! Signed are the bytes that travel, with zeros where the signature itself stands: so it covers the version before it,
//! and fields that later versions append. Before them stand a name of this use of the key, with a version, and the
//! device's name, so that no other message passes for a batch and no batch of one device for another's:
//!
//! ```text
//! "edgefront batch 1\n"    length of the device's name, one byte    the device's name    the message
//! ```
//!
//! A batch names its blobs by their SHA-256, so who signs it vouches for every byte that runs.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::wire::{self, WireError};
use crate::{Batch, DeviceId, digest};

/// What the key signs here. Anything else that it may come to sign begins otherwise.
const USE: &[u8] = b"edgefront batch 1\n";
/// What the text form of a key begins with.
const KIND: &str = "ed25519:";
/// Bytes of a signature.
const SIGNATURE: usize = 64;

/// By which a controller is known. Its text form is `ed25519:` and 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// A text that is not the public key of a controller.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not the public key of a controller; `edgefront keys` prints it, `{KIND}` and 64 hexadecimal digits"
)]
pub struct InvalidKey(String);

/// The controller's secret.
#[derive(Debug)]
pub struct SigningKey(Ed25519KeyPair);

/// Bytes that are not the secret of a controller.
#[derive(Debug, thiserror::Error)]
#[error("it holds no Ed25519 key in PKCS#8 of version 2: {0}")]
pub struct InvalidSecret(ring::error::KeyRejected);

/// A batch as it travels. [`open`] finds the signature at the end of the fields that it knows: whoever appends one after the
/// seal must look before that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignedBatch {
    /// What is asked.
    pub batch: Batch,
    /// Who asks; `None` from a controller of before there were signatures.
    pub seal: Option<Seal>,
}

/// A signature and whose it claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The controller's key.
    pub key: PublicKey,
    /// The two halves of its Ed25519 signature.
    pub signature: [[u8; SIGNATURE / 2]; 2],
}

/// Why nobody vouches for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsealed {
    /// It has no signature.
    NotSigned,
    /// These are not the bytes that the key signed, or not for this device.
    Altered,
}

/// Reads a batch, and who signed it for `device`. Never panics, whatever the bytes.
pub fn open(payload: &[u8], device: &DeviceId) -> Result<(Batch, Result<PublicKey, Unsealed>), WireError> {
    let (SignedBatch { batch, seal }, unknown) = wire::decode_counted(payload)?;
    let seal = seal.ok_or(Unsealed::NotSigned);
    let signer = seal.and_then(|seal| verify(payload, unknown, device, &seal));
    Ok((batch, signer))
}

fn verify(payload: &[u8], unknown: usize, device: &DeviceId, seal: &Seal) -> Result<PublicKey, Unsealed> {
    let end = payload.len().checked_sub(unknown);
    let start = end.and_then(|end| end.checked_sub(SIGNATURE));
    // A message of an older version that ends within its signature was completed with zeros, and has no such place.
    let (Some(start), Some(end)) = (start, end) else {
        return Err(Unsealed::Altered);
    };
    let signed = statement(payload, start..end, device);
    UnparsedPublicKey::new(&ED25519, seal.key.0)
        .verify(&signed, seal.signature.as_flattened())
        .map(|()| seal.key)
        .map_err(|_| Unsealed::Altered)
}

/// The bytes that are signed.
fn statement(payload: &[u8], signature: Range<usize>, device: &DeviceId) -> Vec<u8> {
    let device = device.as_str().as_bytes();
    let length = u8::try_from(device.len()).expect("invariant: a name has at most 64 bytes");
    let mut signed = [USE, &[length], device, payload].concat();
    let message = signed.len() - payload.len();
    signed[message + signature.start..message + signature.end].fill(0);
    signed
}

impl SigningKey {
    /// A new secret as it is kept in a file: PKCS#8 of version 2, which holds the public key too.
    ///
    /// # Panics
    /// If the system has no random numbers.
    pub fn generate() -> Vec<u8> {
        let secret = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        secret.expect("the system has random numbers").as_ref().to_vec()
    }

    /// Reads a secret that was [generated](Self::generate).
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, InvalidSecret> {
        Ed25519KeyPair::from_pkcs8(bytes).map(Self).map_err(InvalidSecret)
    }

    /// By which devices know it.
    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref();
        PublicKey(
            bytes
                .try_into()
                .expect("invariant: a key of Ed25519 has 32 bytes"),
        )
    }

    /// The message that brings `batch` to `device`, signed.
    pub fn seal(&self, batch: &Batch, device: &DeviceId) -> Vec<u8> {
        let unsigned = Seal {
            key: self.public(),
            signature: [[0; SIGNATURE / 2]; 2],
        };
        // As `SignedBatch` is written, without a copy of the batch.
        let mut message = wire::encode(&(batch, Some(unsigned)));
        let place = message.len() - SIGNATURE..message.len();
        let signature = self.0.sign(&statement(&message, place.clone(), device));
        message[place].copy_from_slice(signature.as_ref());
        message
    }
}

impl PublicKey {
    /// Wraps the 32 raw bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(KIND)?;
        digest::write_hex(&self.0, f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let bytes = text.strip_prefix(KIND).and_then(digest::from_hex);
        bytes.map(Self).ok_or_else(|| InvalidKey(text.to_owned()))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?
                .parse()
                .map_err(serde::de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}
