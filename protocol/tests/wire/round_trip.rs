//! What is written is what is read.

use std::fmt::Debug;

use edgefront_protocol::{Digest, Topic, wire};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::strategies;

fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &T) -> Result<(), TestCaseError> {
    let read: T = wire::decode(&wire::encode(message)).map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert_eq!(&read, message);
    Ok(())
}

proptest! {
    #[test]
    fn batch(message in strategies::batch()) {
        survives(&message)?;
    }

    #[test]
    fn signed_batch(message in strategies::signed_batch()) {
        survives(&message)?;
    }

    #[test]
    fn ack(message in strategies::ack()) {
        survives(&message)?;
    }

    #[test]
    fn cancel(message in strategies::cancel()) {
        survives(&message)?;
    }

    #[test]
    fn want(message in strategies::want()) {
        survives(&message)?;
    }

    #[test]
    fn chunk(message in strategies::chunk()) {
        survives(&message)?;
    }

    #[test]
    fn presence(message in strategies::presence()) {
        survives(&message)?;
    }

    #[test]
    fn progress(message in strategies::progress()) {
        survives(&message)?;
    }

    #[test]
    fn outcome(message in strategies::outcome()) {
        survives(&message)?;
    }

    #[test]
    fn topic(topic in strategies::topic()) {
        prop_assert_eq!(topic.to_string().parse::<Topic>(), Ok(topic));
    }

    #[test]
    fn digest_as_text_and_as_json(bytes in any::<[u8; 32]>()) {
        let digest = Digest::from_bytes(bytes);
        prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        let json = serde_json::to_string(&digest).unwrap();
        prop_assert_eq!(&json, &format!("\"{digest}\""));
        prop_assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    }
}
