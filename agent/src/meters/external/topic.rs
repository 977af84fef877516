//! Messages on an MQTT topic.

use std::thread::JoinHandle;

use edgefront_link::BrokerUrl;
use tokio::sync::oneshot;

/// A thread with a connection of its own. Dropped, it ends both.
pub(crate) struct Listening {
    /// Dropped, it ends the thread.
    alive: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    pub(super) fn start(
        broker: BrokerUrl,
        filter: String,
        mut heard: impl FnMut(Result<&[u8], String>) + Send + 'static,
    ) -> Self {
        let (alive, ended) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return heard(Err(error.to_string())),
            };
            runtime.block_on(async {
                tokio::select! {
                    () = edgefront_link::listen(&broker, &filter, |line| heard(line.map_err(|error| error.to_string()))) => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            alive: Some(alive),
            thread: Some(thread),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
