//! Listening on a topic of somebody else's, as of a smart plug.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, SubscribeReasonCode};

use crate::connection::NETWORK_TIMEOUT;
use crate::{BrokerUrl, LinkError, attempt};

const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Wait between two attempts to connect.
const BACKOFF: Duration = Duration::from_secs(1);
/// What a meter says is short.
const MAX_PACKET_BYTES: usize = 64 << 10;

/// Gives each payload on `filter` to `heard`, and why there is none for a while; goes on until it is dropped. What the
/// broker kept from before is not given, since nobody knows of when it is.
pub async fn listen(url: &BrokerUrl, filter: &str, mut heard: impl FnMut(Result<&[u8], LinkError>)) {
    let mut options = MqttOptions::new("", &url.host, url.port);
    options
        .set_keep_alive(KEEP_ALIVE)
        .set_clean_session(true)
        .set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES);
    if let Some((user, password)) = &url.credentials {
        options.set_credentials(user, password);
    }
    let (client, mut eventloop) = AsyncClient::new(options, 8);
    eventloop
        .network_options
        .set_connection_timeout(NETWORK_TIMEOUT.as_secs());
    loop {
        match eventloop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                // The queue is empty after each connect, so that this does not wait.
                client.try_subscribe(filter, QoS::AtMostOnce).ok();
            }
            Ok(Event::Incoming(Packet::SubAck(ack)))
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) =>
            {
                heard(Err(LinkError::Denied {
                    address: url.address(),
                    filter: filter.to_owned(),
                }));
            }
            Ok(Event::Incoming(Packet::Publish(publish))) if !publish.retain => heard(Ok(&publish.payload)),
            Ok(_) => {}
            Err(error) => {
                heard(Err(attempt::failure(url, error).await));
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}
