//! Entrances for fuzz targets to decoders that are nobody else's.

use edgefront_protocol::{BatchId, BlobRef, Bytes, DeviceId, Digest, wire};

use crate::conditions;
use crate::machine::{Event, Machine, Memory, Saved};
use crate::meters;
use crate::store::Partial;
use crate::worker::message::{self, Answer, Order};

/// Reads all that a worker, or the agent, may find on its pipe.
pub fn worker_frames(bytes: &[u8]) {
    let (mut orders, mut answers) = (bytes, bytes);
    while let Ok(Some(_)) = message::read::<Order>(&mut orders) {}
    while let Ok(Some(_)) = message::read::<Answer>(&mut answers) {}
}

/// Goes on from what a restarted agent may find on its disk: a batch, and the names of those that are settled. The
/// same batch comes again under the name `next`.
pub fn stored_state(device: &DeviceId, next: &BatchId, batch: &[u8], settled: &[u8]) {
    let saved = wire::decode::<Saved>(batch).ok();
    let memory = Memory {
        batches: saved.clone().into_iter().collect(),
        outcomes: Vec::new(),
        settled: wire::decode::<Vec<BatchId>>(settled).unwrap_or_default(),
    };
    let (mut machine, _) = Machine::restore(device.clone(), memory);
    machine.handle(Event::Started);
    machine.handle(Event::Connected);
    if let Some(Saved { mut batch, .. }) = saved {
        batch.id = next.clone();
        machine.handle(Event::Batch(batch, None));
    }
}

/// Reads the journal of a partial blob in `folder`, and goes on from it.
///
/// # Panics
/// If a journal of any content is an error, or is still there after it was cleared.
pub fn journal(folder: &std::path::Path, bytes: &[u8]) {
    let blob = BlobRef {
        digest: Digest::of(b"partial"),
        bytes: Bytes(7),
    };
    let open = || Partial::open(folder, blob).expect("the folder can be written to");
    let (mut fresh, _) = open();
    fresh.clear().expect("the folder can be written to");
    std::fs::write(folder.join(format!("{}.chunks", blob.digest)), bytes)
        .expect("the folder can be written to");
    let (mut partial, held) = open();
    partial
        .write(3, 0, b"partial")
        .expect("the folder can be written to");
    drop(partial);
    let (mut again, now) = open();
    assert_eq!(now.split_last(), Some((&(3, 4), held.as_slice())));
    again.clear().expect("the folder can be written to");
    assert_eq!(open().1, []);
}

/// Reads what programs, files and messages of meters may say.
pub fn meter(text: &[u8]) {
    meters::fuzz(text);
}

/// Reads what a kernel's counters, a firmware's tool or a list of modes may say.
pub fn device_state(text: &str) {
    conditions::parse_all(text);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use edgefront_link::transfer::CHUNK_BYTES;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_on_a_pipe_does_no_harm(mut bytes in vec(any::<u8>(), 0..256), length in 0..256u32) {
            worker_frames(&bytes);
            // As a frame, and with the version that a reader takes.
            bytes.splice(0..0, [wire::MAJOR, wire::MINOR]);
            bytes.splice(0..0, length.to_le_bytes());
            worker_frames(&bytes);
        }

        #[test]
        fn whatever_is_stored_does_no_harm(mut batch in vec(any::<u8>(), 0..256), mut settled in vec(any::<u8>(), 0..64)) {
            // With the version that a reader takes.
            batch.splice(0..0, [wire::MAJOR, wire::MINOR]);
            settled.splice(0..0, [wire::MAJOR, wire::MINOR]);
            stored_state(&"device".parse().unwrap(), &"next".parse().unwrap(), &batch, &settled);
        }

        #[test]
        fn whatever_a_meter_says_does_no_harm(bytes in vec(any::<u8>(), 0..256), text in "(cpu |[A-Z0-9_]+_[AV] (current|volt)=)?[-0-9.eAV \\n{}:\"/]*") {
            meter(&bytes);
            meter(text.as_bytes());
        }

        #[test]
        fn whatever_a_device_says_of_itself_does_no_harm(text in "(?s).{0,64}", numbers in vec(any::<u64>(), 0..12)) {
            device_state(&text);
            // In the forms that are read.
            let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
            let numbers = numbers.join(" ");
            device_state(&format!("cpu  {numbers}\ncpu0 1"));
            device_state(&format!("1 ({text}) S 1 1 1 0 -1 0 0 0 0 0 {numbers}"));
            device_state(&format!("pmode:{numbers}"));
            device_state(&format!("throttled=0x{numbers}"));
        }

        #[test]
        fn whatever_is_in_a_journal_does_no_harm(bytes in vec(any::<u8>(), 0..64), is_one in any::<bool>()) {
            let dir = tempfile::tempdir().unwrap();
            let head = if is_one { CHUNK_BYTES.to_le_bytes().to_vec() } else { Vec::new() };
            journal(dir.path(), &[head, bytes].concat());
        }
    }
}
