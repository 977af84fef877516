//! The connection against real brokers: what it promises, and what it relies on.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use edgefront_link::{Connection, Event, LinkError, Publisher, Qos, Settings, Will};
use edgefront_protocol::{DeviceId, Topic};
use edgefront_tests::PATIENCE;
use edgefront_tests::broker::{Broker, Kind, free_port};
use tokio::sync::watch;

fn pi() -> DeviceId {
    "pi4".parse().unwrap()
}

fn presence() -> Topic {
    Topic::Presence(pi())
}

fn batch() -> Topic {
    Topic::Batch(pi())
}

fn settings(broker: &Broker, client_id: &str, subscriptions: &[String]) -> Settings {
    Settings {
        url: broker.url(),
        client_id: client_id.to_owned(),
        subscriptions: subscriptions.to_vec(),
        will: None,
    }
}

async fn next(connection: &mut Connection) -> Event {
    tokio::time::timeout(PATIENCE, connection.next())
        .await
        .expect("something happens")
        .expect("the connection is open")
}

async fn until_connected(connection: &mut Connection) {
    while !matches!(next(connection).await, Event::Connected) {}
}

async fn next_message(connection: &mut Connection) -> (Topic, Vec<u8>, bool) {
    loop {
        if let Event::Message {
            topic,
            payload,
            retained,
        } = next(connection).await
        {
            return (topic, payload.to_vec(), retained);
        }
    }
}

async fn open(settings: Settings) -> (Publisher, Connection) {
    let (publisher, mut connection) = Connection::open(settings).await.expect("the broker is there");
    until_connected(&mut connection).await;
    (publisher, connection)
}

async fn publish(publisher: &Publisher, topic: &Topic, payload: &[u8], retain: bool) {
    publisher
        .publish(topic, payload.to_vec(), Qos::AtLeastOnce, retain)
        .await
        .unwrap();
}

async fn presence_is_retained_and_a_crash_publishes_the_will(kind: Kind) {
    let broker = Broker::start(kind);
    let will = Will {
        topic: presence(),
        payload: watch::channel(b"offline".to_vec()).1,
    };
    let (device, device_connection) = open(Settings {
        will: Some(will),
        ..settings(&broker, "device", &[])
    })
    .await;
    publish(&device, &presence(), b"online", true).await;

    let everyone = [Topic::all_presence()];
    let (_early, mut early) = open(settings(&broker, "early", &everyone)).await;
    assert_eq!(next_message(&mut early).await.1, b"online");
    drop(device_connection);
    assert_eq!(
        next_message(&mut early).await,
        (presence(), b"offline".to_vec(), false)
    );
    let (_late, mut late) = Connection::open(settings(&broker, "late", &everyone))
        .await
        .unwrap();
    assert_eq!(
        next_message(&mut late).await,
        (presence(), b"offline".to_vec(), true)
    );
}

async fn an_orderly_leave_delivers_all_and_publishes_no_will(kind: Kind) {
    let broker = Broker::start(kind);
    let (_observer, mut observer) = open(settings(&broker, "observer", &[Topic::all_presence()])).await;
    let will = Will {
        topic: presence(),
        payload: watch::channel(b"crashed".to_vec()).1,
    };
    let (device, connection) = open(Settings {
        will: Some(will),
        ..settings(&broker, "device", &[])
    })
    .await;
    publish(&device, &presence(), b"online", true).await;
    publish(&device, &presence(), b"left", true).await;
    connection.close().await;
    let (other, _other_connection) = open(settings(&broker, "other", &[])).await;
    publish(&other, &presence(), b"later", true).await;
    for expected in [b"online".as_slice(), b"left", b"later"] {
        assert_eq!(next_message(&mut observer).await.1, expected);
    }
}

async fn a_session_keeps_messages_for_a_client_that_is_away(kind: Kind) {
    let broker = Broker::start(kind);
    let subscriptions = Topic::to_device(&pi());
    let (_device, connection) = open(settings(&broker, "device", &subscriptions)).await;
    drop(connection);
    let (controller, controller_connection) = open(settings(&broker, "controller", &[])).await;
    publish(&controller, &batch(), b"one", false).await;
    publish(&controller, &batch(), b"two", false).await;
    controller_connection.close().await;

    let (_device, mut connection) = Connection::open(settings(&broker, "device", &subscriptions))
        .await
        .unwrap();
    assert_eq!(next_message(&mut connection).await.1, b"one");
    assert_eq!(next_message(&mut connection).await.1, b"two");
}

async fn both_sides_connect_again_to_a_broker_that_forgot_them(kind: Kind) {
    let mut broker = Broker::start(kind);
    let (_device, mut device) = open(settings(&broker, "device", &Topic::to_device(&pi()))).await;
    let (controller, mut controller_connection) = open(settings(&broker, "controller", &[])).await;
    broker.kill();
    for connection in [&mut device, &mut controller_connection] {
        assert!(matches!(next(connection).await, Event::Interrupted { .. }));
    }
    // What is published meanwhile is lost, and blocks nobody.
    publish(&controller, &batch(), b"lost", false).await;
    broker.start_again();
    for connection in [&mut device, &mut controller_connection] {
        assert!(matches!(next(connection).await, Event::Connected));
    }
    publish(&controller, &batch(), b"after", false).await;
    assert_eq!(next_message(&mut device).await.1, b"after");
}

async fn messages_of_one_publisher_keep_their_order(kind: Kind) {
    const COUNT: u32 = 2_000;
    let broker = Broker::start(kind);
    let (_device, mut device) = open(settings(&broker, "device", &Topic::to_device(&pi()))).await;
    let (controller, _controller_connection) = open(settings(&broker, "controller", &[])).await;
    let sender = tokio::spawn(async move {
        for number in 0..COUNT {
            publish(&controller, &batch(), &number.to_le_bytes(), false).await;
        }
    });
    for number in 0..COUNT {
        assert_eq!(next_message(&mut device).await.1, number.to_le_bytes());
    }
    sender.await.unwrap();
}

async fn a_message_of_15_mib_passes_and_a_larger_one_is_refused_here(kind: Kind) {
    let broker = Broker::start(kind);
    let (_device, mut device) = open(settings(&broker, "device", &Topic::to_device(&pi()))).await;
    let (controller, _controller_connection) = open(settings(&broker, "controller", &[])).await;
    let large = vec![7; 15 << 20];
    publish(&controller, &batch(), &large, false).await;
    assert!(next_message(&mut device).await.1 == large);
    let refused = controller
        .publish(&batch(), vec![0; 16 << 20], Qos::AtLeastOnce, false)
        .await;
    assert!(matches!(refused, Err(LinkError::TooLarge { .. })));
}

async fn a_second_client_of_the_same_name_takes_over(kind: Kind) {
    let broker = Broker::start(kind);
    let subscriptions = Topic::to_device(&pi());
    let (_first, mut first) = open(settings(&broker, "device", &subscriptions)).await;
    let (_second, mut second) = open(settings(&broker, "device", &subscriptions)).await;
    assert!(matches!(next(&mut first).await, Event::Interrupted { .. }));
    drop(first);
    let (controller, _controller_connection) = open(settings(&broker, "controller", &[])).await;
    publish(&controller, &batch(), b"once", false).await;
    assert_eq!(next_message(&mut second).await.1, b"once");
}

async fn a_patient_connection_waits_for_its_broker(kind: Kind) {
    let mut broker = Broker::start(kind);
    broker.kill();
    let (_device, mut device) = Connection::open_patiently(settings(&broker, "device", &[]));
    assert!(matches!(next(&mut device).await, Event::Interrupted { .. }));
    broker.start_again();
    assert!(matches!(next(&mut device).await, Event::Connected));
}

/// Subscribes to `topic` with QoS 0 and never reads what comes.
fn deaf_subscriber(broker: &Broker, topic: &Topic) -> TcpStream {
    let mut stream = TcpStream::connect(broker.url().address()).unwrap();
    stream
        .write_all(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04deaf")
        .unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    let topic = topic.to_string();
    let length = u8::try_from(topic.len()).unwrap();
    let subscribe = [&[0x82, length + 5, 0, 1, 0, length], topic.as_bytes(), &[0]].concat();
    stream.write_all(&subscribe).unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    stream
}

async fn a_subscriber_that_does_not_read_costs_bounded_memory_and_disturbs_nobody(kind: Kind) {
    const MESSAGES: usize = 4_000;
    let broker = Broker::start(kind);
    let chunks = Topic::Chunk(pi());
    let _deaf = deaf_subscriber(&broker, &chunks);
    let (_device, mut device) = open(settings(&broker, "device", &[batch().to_string()])).await;
    let (controller, _controller_connection) = open(settings(&broker, "controller", &[])).await;
    let chunk = vec![7; 64 << 10];
    for _ in 0..MESSAGES {
        controller
            .publish(&chunks, chunk.clone(), Qos::AtMostOnce, false)
            .await
            .unwrap();
    }
    publish(&controller, &batch(), b"after", false).await;
    assert_eq!(next_message(&mut device).await.1, b"after");
    let published = (MESSAGES * chunk.len()) as u64;
    assert!(broker.peak_rss() < published / 2, "{} bytes", broker.peak_rss());
}

#[tokio::test]
async fn without_a_broker_the_error_says_what_to_do() {
    let settings = Settings {
        url: edgefront_link::BrokerUrl::new("127.0.0.1", free_port()),
        client_id: "device".to_owned(),
        subscriptions: vec![],
        will: None,
    };
    let opened = tokio::time::timeout(Duration::from_secs(30), Connection::open(settings)).await;
    let error = opened.unwrap().unwrap_err().to_string();
    assert!(
        error.contains("Connection refused") && error.contains("`edgefront broker` starts one"),
        "{error}"
    );
}

macro_rules! on_both_brokers {
    ($($name:ident),* $(,)?) => {
        mod built_in {
            $(#[tokio::test] async fn $name() { super::$name(edgefront_tests::broker::Kind::BuiltIn).await; })*
        }
        mod mosquitto {
            $(#[tokio::test] async fn $name() { super::$name(edgefront_tests::broker::Kind::Mosquitto).await; })*
        }
    };
}

on_both_brokers!(
    presence_is_retained_and_a_crash_publishes_the_will,
    an_orderly_leave_delivers_all_and_publishes_no_will,
    a_session_keeps_messages_for_a_client_that_is_away,
    both_sides_connect_again_to_a_broker_that_forgot_them,
    messages_of_one_publisher_keep_their_order,
    a_message_of_15_mib_passes_and_a_larger_one_is_refused_here,
    a_second_client_of_the_same_name_takes_over,
    a_patient_connection_waits_for_its_broker,
    a_subscriber_that_does_not_read_costs_bounded_memory_and_disturbs_nobody,
);
