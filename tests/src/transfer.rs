//! The two sides of a blob transfer over a real broker, as small as they can be.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use edgefront_link::transfer::{Accepted, Fetch, Serve};
use edgefront_link::{BrokerUrl, Connection, Event, Qos, Settings};
use edgefront_protocol::blob::{Chunk, Want};
use edgefront_protocol::{BlobRef, ControllerId, DeviceId, Topic, wire};

/// The controller of these transfers.
///
/// # Panics
/// Never.
pub fn controller() -> ControllerId {
    "controller".parse().expect("it is a valid name")
}

/// Serves `file`, whose content is `blob`, until the connection or the task ends.
///
/// # Panics
/// If the broker is not there or the file cannot be read.
pub async fn serve(url: BrokerUrl, blob: BlobRef, file: &Path) {
    let file = File::open(file).expect("the blob's file is there");
    let (publisher, mut connection) = Connection::open(Settings {
        url,
        client_id: "controller".to_owned(),
        subscriptions: vec![Topic::to_controller(&controller())],
        will: None,
    })
    .await
    .expect("the broker is there");
    let mut serve = Serve::new();
    serve.offer(blob);
    loop {
        let event = tokio::select! {
            biased;
            event = connection.next() => event,
            () = std::future::ready(()), if serve.is_waiting() => {
                let delivery = serve.next().expect("one is waiting");
                let mut data = vec![0; delivery.bytes as usize];
                file.read_exact_at(&mut data, delivery.offset).expect("the file is whole");
                let chunk = Chunk::new(delivery.digest, delivery.index, data);
                let sent = publisher.publish(&delivery.topic, wire::encode(&chunk), Qos::AtMostOnce, false);
                sent.await.expect("the connection is open");
                continue;
            }
        };
        match event {
            None => return,
            Some(Event::Message {
                topic: Topic::Want(_, device),
                payload,
                ..
            }) => {
                let want: Want = wire::decode(&payload).expect("a want arrives whole");
                serve.on_want(&device, &want).expect("the want is right");
            }
            Some(_) => {}
        }
    }
}

/// Connects as `device` and is ready to fetch.
///
/// # Panics
/// If the broker is not there.
pub async fn device(url: BrokerUrl, device: &DeviceId) -> (edgefront_link::Publisher, Connection) {
    let (publisher, mut connection) = Connection::open(Settings {
        url,
        client_id: device.to_string(),
        subscriptions: Topic::to_device(device),
        will: None,
    })
    .await
    .expect("the broker is there");
    while !matches!(connection.next().await, Some(Event::Connected)) {}
    (publisher, connection)
}

/// Fetches into `file`; returns when all chunks are written.
///
/// # Panics
/// If the connection ends or the file cannot be written.
pub async fn fetch(
    publisher: &edgefront_link::Publisher,
    connection: &mut Connection,
    device: &DeviceId,
    mut fetch: Fetch,
    file: &Path,
) {
    let file = File::create(file).expect("the file can be made");
    let wants = Topic::Want(controller(), device.clone());
    while !fetch.is_complete() {
        if let Some(want) = fetch.want(Instant::now()) {
            let sent = publisher.publish(&wants, wire::encode(&want), Qos::AtLeastOnce, false);
            sent.await.expect("the connection is open");
        }
        let deadline = fetch.deadline().expect("something is asked for");
        let Ok(event) = tokio::time::timeout_at(deadline.into(), connection.next()).await else {
            continue;
        };
        match event.expect("the connection is open") {
            Event::Message {
                topic: Topic::Chunk(_),
                payload,
                ..
            } => {
                let chunk: Chunk = wire::decode(&payload).expect("a chunk arrives whole");
                if let Accepted::New { offset } = fetch.accept(&chunk, Instant::now()) {
                    file.write_all_at(&chunk.data, offset)
                        .expect("the file can be written");
                }
            }
            Event::Connected => fetch.reconnected(),
            _ => {}
        }
    }
}
