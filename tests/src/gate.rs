//! A wire between a client and a broker that can be stopped after so many bytes, so that a test acts in the
//! middle of a transfer and not near it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use edgefront_link::BrokerUrl;

use crate::PATIENCE;

/// The wire. What the broker sends is counted; what the client sends passes freely.
#[derive(Debug)]
pub struct Gate {
    port: u16,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug)]
struct State {
    passed: u64,
    limit: u64,
    is_held_up: bool,
}

impl Gate {
    /// A wire to `broker` that stops after `limit` bytes.
    ///
    /// # Panics
    /// If the loopback has no free port.
    pub fn closing_after(limit: u64, broker: &BrokerUrl) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback has free ports");
        let port = listener.local_addr().expect("a listener has an address").port();
        let state = State {
            passed: 0,
            limit,
            is_held_up: false,
        };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let (shared, address) = (Arc::clone(&state), broker.address());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Without a broker behind it the client is turned away, as a broker that is down does.
                if let Ok(broker) = TcpStream::connect(&address) {
                    connect(&client, &broker, &shared);
                }
            }
        });
        Self { port, state }
    }

    /// Where the client connects.
    pub fn url(&self) -> BrokerUrl {
        BrokerUrl::new(Ipv4Addr::LOCALHOST.to_string(), self.port)
    }

    /// Waits until the limit holds something up.
    ///
    /// # Panics
    /// If it does not come to that.
    pub fn wait_until_closed(&self) {
        let (state, changed) = &*self.state;
        let guard = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (_guard, waited) = changed
            .wait_timeout_while(guard, PATIENCE, |state| !state.is_held_up)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "so much was never sent");
    }

    /// Takes the limit away.
    pub fn open(&self) {
        let (state, changed) = &*self.state;
        state.lock().unwrap_or_else(PoisonError::into_inner).limit = u64::MAX;
        changed.notify_all();
    }

    /// Bytes that the broker sent and the client got or will get.
    pub fn passed(&self) -> u64 {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner).passed
    }
}

fn connect(client: &TcpStream, broker: &TcpStream, state: &Arc<(Mutex<State>, Condvar)>) {
    for stream in [client, broker] {
        stream.set_nodelay(true).ok();
    }
    let ends = || Some((client.try_clone().ok()?, broker.try_clone().ok()?));
    let (Some((from_client, to_broker)), Some((to_client, from_broker))) = (ends(), ends()) else {
        return;
    };
    let shared = Arc::clone(state);
    thread::spawn(move || pass(from_client, to_broker, |_| {}));
    thread::spawn(move || pass(from_broker, to_client, |bytes| wait_for_room(&shared, bytes)));
}

/// Copies until either end closes, and then closes the other.
fn pass(mut from: TcpStream, mut to: TcpStream, before: impl Fn(u64)) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        before(count as u64);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}

fn wait_for_room((state, changed): &(Mutex<State>, Condvar), bytes: u64) {
    let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
    while guard.passed + bytes > guard.limit {
        guard.is_held_up = true;
        changed.notify_all();
        guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
    }
    guard.passed += bytes;
}
