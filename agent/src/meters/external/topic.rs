//! Messages on an MQTT topic.

use std::thread::JoinHandle;

use edgefront_link::BrokerUrl;
use tokio::runtime::{Builder, Runtime};
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
        match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => Self::on(runtime, async move {
                let heard = |line: Result<&[u8], edgefront_link::LinkError>| {
                    heard(line.map_err(|error| error.to_string()));
                };
                edgefront_link::listen(&broker, &filter, heard).await;
            }),
            Err(error) => {
                heard(Err(error.to_string()));
                Self {
                    alive: None,
                    thread: None,
                }
            }
        }
    }

    /// Does this until it is dropped.
    fn on(runtime: Runtime, work: impl Future<Output = ()> + Send + 'static) -> Self {
        let (alive, ended) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = work => {}
                    _ = ended => {}
                }
            });
            // A name that is being looked up cannot be called back, and may take long to fail.
            runtime.shutdown_background();
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_name_that_does_not_resolve_does_not_keep_it() {
        let (begun, begins) = mpsc::channel::<()>();
        let (answer, waits) = mpsc::channel::<()>();
        let (gone, ends) = mpsc::channel();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        // As the look-up of a name, it blocks a thread that nobody can stop.
        let listening = Listening::on(runtime, async move {
            let look_up = move || {
                begun.send(()).unwrap();
                waits.recv().ok();
                gone.send(()).ok();
            };
            tokio::task::spawn_blocking(look_up).await.ok();
        });
        begins.recv().unwrap();
        drop(listening);
        assert!(ends.try_recv().is_err(), "the look-up goes on");
        drop(answer);
        ends.recv().unwrap();
    }
}
