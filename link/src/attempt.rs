//! What a failed attempt to connect tells of the other end.

use std::time::Duration;

use rumqttc::{ConnectionError, StateError};
use tokio::net::TcpStream;

use crate::connection::NETWORK_TIMEOUT;
use crate::{BrokerUrl, LinkError};

/// Longest wait for a TCP connection that shall tell whether anything listens.
const PROBE_TIME: Duration = Duration::from_secs(1);

/// Why no connection to `url` came about, given what the client library says of it.
pub(crate) async fn failure(url: &BrokerUrl, error: ConnectionError) -> LinkError {
    let address = url.address();
    let not_mqtt = |reason: String| LinkError::NotMqtt {
        address: address.clone(),
        reason,
    };
    match error {
        ConnectionError::ConnectionRefused(code) => LinkError::Refused {
            address,
            reason: format!("{code:?}"),
        },
        ConnectionError::NotConnAck(_) => not_mqtt("it greets in another way".to_owned()),
        ConnectionError::MqttState(StateError::Deserialization(error)) => {
            not_mqtt(format!("its answer cannot be read ({error})"))
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            not_mqtt("it closed the connection without an answer".to_owned())
        }
        // The library's time-out is one for TCP and MQTT.
        ConnectionError::NetworkTimeout if is_listening(&address).await => not_mqtt(format!(
            "it takes connections and is silent for {NETWORK_TIMEOUT:?}"
        )),
        error => LinkError::Unreachable {
            address,
            reason: unreachable(&error),
        },
    }
}

async fn is_listening(address: &str) -> bool {
    let connected = tokio::time::timeout(PROBE_TIME, TcpStream::connect(address)).await;
    matches!(connected, Ok(Ok(_)))
}

fn unreachable(error: &ConnectionError) -> String {
    match error {
        ConnectionError::NetworkTimeout => format!("no answer within {NETWORK_TIMEOUT:?}"),
        ConnectionError::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{Connection, Event, Settings};

    /// CONNACK that accepts.
    const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

    /// A server that gives each client `answers`, one whenever it hears something, and closes the connection then.
    async fn server(answers: &'static [&'static [u8]]) -> BrokerUrl {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = BrokerUrl::new("127.0.0.1", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                for answer in answers {
                    if let Ok(1..) = client.read(&mut [0; 1024]).await {
                        client.write_all(answer).await.unwrap();
                    }
                }
            }
        });
        url
    }

    fn settings(url: &BrokerUrl, subscriptions: &[&str]) -> Settings {
        Settings {
            url: url.clone(),
            client_id: "device".to_owned(),
            subscriptions: subscriptions.iter().map(|&filter| filter.to_owned()).collect(),
            will: None,
        }
    }

    async fn error(url: &BrokerUrl, subscriptions: &[&str]) -> String {
        let opened = Connection::open(settings(url, subscriptions)).await;
        opened.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_does_not_speak_mqtt_is_called_so() {
        const GREETINGS: [&[&[u8]]; 5] = [
            &[b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"],
            &[b"SSH-2.0-OpenSSH_9.2\r\n"],
            // A TLS alert.
            &[&[0x15, 3, 3, 0, 2, 2, 10]],
            // PINGRESP is MQTT and no greeting.
            &[&[0xd0, 0]],
            &[b""],
        ];
        for greeting in GREETINGS {
            let url = server(greeting).await;
            let said = error(&url, &[]).await;
            let expected = format!("what answers at {} does not speak MQTT: ", url.address());
            assert!(said.starts_with(&expected), "{said}");
            assert!(!said.contains('\n'), "{said}");
        }
    }

    #[tokio::test]
    async fn who_is_silent_is_told_from_who_is_not_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = BrokerUrl::new("127.0.0.1", listener.local_addr().unwrap().port());
        let silent = failure(&url, ConnectionError::NetworkTimeout).await;
        assert!(matches!(silent, LinkError::NotMqtt { .. }), "{silent}");
        drop(listener);
        let absent = failure(&url, ConnectionError::NetworkTimeout).await;
        assert!(matches!(absent, LinkError::Unreachable { .. }), "{absent}");
    }

    #[tokio::test]
    async fn a_refused_subscription_is_an_error_that_names_it() {
        // SUBACK of packet 1: the first filter is granted, the second is not. Then the server waits.
        let url = server(&[&CONNACK, &[0x90, 4, 0, 1, 1, 0x80], b""]).await;
        let said = error(&url, &["a", "b"]).await;
        assert!(
            said.contains("refuses the subscription to `b`") && said.contains(&url.address()),
            "{said}"
        );
        let (_publisher, mut patient) = Connection::open_patiently(settings(&url, &["a", "b"]));
        let event = patient.next().await.unwrap();
        assert!(matches!(
            event,
            Event::Interrupted {
                error: LinkError::Denied { .. }
            }
        ));
    }
}
