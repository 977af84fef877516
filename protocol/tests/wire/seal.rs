//! What a device takes as a batch of its controller, and what not.

use edgefront_protocol::seal::{self, Unsealed};
use edgefront_protocol::wire::{self, MINOR, WireError};
use edgefront_protocol::{Batch, DeviceId, PublicKey, SignedBatch, SigningKey};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::{samples, strategies};

fn key() -> SigningKey {
    SigningKey::from_pkcs8(&SigningKey::generate()).unwrap()
}

/// What a device of this name that trusts `key` alone makes of a message.
fn opened(message: &[u8], device: &DeviceId, key: &SigningKey) -> Result<Batch, Refused> {
    let (batch, signer) = seal::open(message, device).map_err(|_| Refused::Unread)?;
    match signer {
        Ok(signer) if signer == key.public() => Ok(batch),
        Ok(signer) => Err(Refused::OtherKey(signer)),
        Err(why) => Err(Refused::Unsealed(why)),
    }
}

#[derive(Debug, PartialEq)]
enum Refused {
    Unread,
    OtherKey(PublicKey),
    Unsealed(Unsealed),
}

const ALTERED: Refused = Refused::Unsealed(Unsealed::Altered);

proptest! {
    #[test]
    fn who_signed_is_known(batch in strategies::batch(), device in strategies::device_id()) {
        let key = key();
        let message = key.seal(&batch, &device);
        prop_assert_eq!(seal::open(&message, &device).unwrap(), (batch, Ok(key.public())));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused(batch in strategies::batch(), position in any::<Index>(), bit in 0..8u32) {
        let (key, device) = (key(), "pi4".parse().unwrap());
        let mut message = key.seal(&batch, &device);
        let position = position.index(message.len());
        message[position] ^= 1u8 << bit;
        prop_assert!(opened(&message, &device, &key).is_err(), "byte {position}");
    }

    #[test]
    fn a_flipped_bit_of_the_seal_is_refused(batch in strategies::batch(), from_end in 1..=97usize, bit in 0..8u32) {
        let (key, device) = (key(), "pi4".parse().unwrap());
        let mut message = key.seal(&batch, &device);
        let position = message.len() - from_end;
        message[position] ^= 1u8 << bit;
        let refused = opened(&message, &device, &key);
        match from_end {
            1..=96 => prop_assert_eq!(refused, Err(ALTERED)),
            // Whether there is a seal at all.
            _ => prop_assert!(refused.is_err()),
        }
    }

    #[test]
    fn a_batch_of_one_device_is_refused_by_another(
        batch in strategies::batch(),
        device in strategies::device_id(),
        other in strategies::device_id(),
    ) {
        prop_assume!(device != other);
        let key = key();
        let message = key.seal(&batch, &device);
        prop_assert_eq!(opened(&message, &other, &key), Err(ALTERED));
    }

    #[test]
    fn another_key_is_refused_by_name(batch in strategies::batch()) {
        let (ours, other, device) = (key(), key(), "pi4".parse().unwrap());
        let message = other.seal(&batch, &device);
        prop_assert_eq!(opened(&message, &device, &ours), Err(Refused::OtherKey(other.public())));
        // Another's signature under our name.
        let SignedBatch { batch, seal } = wire::decode(&message).unwrap();
        let seal = seal.map(|seal| seal::Seal { key: ours.public(), ..seal });
        let forged = wire::encode(&SignedBatch { batch, seal });
        prop_assert_eq!(opened(&forged, &device, &ours), Err(ALTERED));
    }

    #[test]
    fn a_batch_without_its_seal_is_not_signed(batch in strategies::batch()) {
        let (key, device) = (key(), "pi4".parse().unwrap());
        let message = wire::encode(&SignedBatch { batch, seal: None });
        prop_assert_eq!(opened(&message, &device, &key), Err(Refused::Unsealed(Unsealed::NotSigned)));
    }

    /// To whom the seal is a field that it does not know.
    #[test]
    fn an_older_reader_finds_the_batch_in_a_signed_one(batch in strategies::batch()) {
        let mut message = key().seal(&batch, &"pi4".parse().unwrap());
        message[1] = MINOR + 1;
        prop_assert_eq!(wire::decode::<Batch>(&message).unwrap(), batch);
    }

    /// A later version signs as this one does, and what it appends is signed too.
    #[test]
    fn fields_of_a_newer_version_are_covered(
        batch in strategies::batch(),
        fields in proptest::collection::vec(any::<u8>(), 1..64),
        position in any::<Index>(),
    ) {
        let (key, device) = (samples::key(), "pi4".parse().unwrap());
        let mut message = key.seal(&batch, &device);
        let signature = message.len() - 64..message.len();
        message[1] = MINOR + 1;
        message.extend_from_slice(&fields);
        prop_assert_eq!(opened(&message, &device, &key), Err(ALTERED));
        samples::sign_as_rfc_8032(&mut message, signature.clone(), "pi4");
        prop_assert_eq!(opened(&message, &device, &key), Ok(batch));
        message[signature.end + position.index(fields.len())] ^= 1;
        prop_assert_eq!(opened(&message, &device, &key), Err(ALTERED));
    }

    #[test]
    fn a_message_that_is_cut_is_refused(batch in strategies::batch(), keep in any::<Index>()) {
        let (key, device) = (key(), "pi4".parse().unwrap());
        let mut message = key.seal(&batch, &device);
        message.truncate(keep.index(message.len()));
        prop_assert!(opened(&message, &device, &key).is_err());
    }

    #[test]
    fn whatever_bytes_come_are_no_trusted_batch(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let (key, device) = (key(), "pi4".parse().unwrap());
        prop_assert!(opened(&bytes, &device, &key).is_err());
        let headed = [&[wire::MAJOR, MINOR][..], &bytes].concat();
        prop_assert!(opened(&headed, &device, &key).is_err());
    }

    #[test]
    fn a_key_is_the_key_of_its_text(bytes in any::<[u8; 32]>()) {
        let key = PublicKey::from_bytes(bytes);
        prop_assert_eq!(key.to_string().parse::<PublicKey>(), Ok(key));
        let json = serde_json::to_string(&key).unwrap();
        prop_assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), key);
    }
}

#[test]
fn a_newer_major_version_is_refused_by_name() {
    let mut message = key().seal(&samples::batch(), &"pi4".parse().unwrap());
    message[0] += 1;
    let error = seal::open(&message, &"pi4".parse().unwrap()).unwrap_err();
    assert!(
        matches!(error, WireError::Version { found } if found == wire::MAJOR + 1),
        "{error}"
    );
}

#[test]
fn what_is_no_key_is_said_with_the_mend() {
    let hex = "0".repeat(64);
    for text in [
        "",
        "ed25519:",
        &hex,
        &format!("ed25519:{hex}0"),
        &format!("rsa:{hex}"),
    ] {
        let error = text.parse::<PublicKey>().unwrap_err().to_string();
        assert!(error.contains("`edgefront keys` prints it"), "{error}");
    }
    assert!(SigningKey::from_pkcs8(b"-----BEGIN PRIVATE KEY-----").is_err());
    let mut secret = SigningKey::generate();
    secret[20] ^= 1;
    assert!(SigningKey::from_pkcs8(&secret).is_err(), "it is damaged");
}
