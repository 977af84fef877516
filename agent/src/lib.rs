//! The daemon that measures on the device.
//!
//! An agent connects to a broker, tells what device it is, takes *batches* of jobs, fetches the blobs that
//! they need, and measures all jobs of a batch in interleaved rounds, each in a *worker*: a child process of
//! its own, so that a crash, a hang or a lack of memory costs one job. Outcomes are kept until the controller
//! has acknowledged them.

mod admission;
mod answers;
mod board;
pub mod cli;
mod clock;
mod conditions;
mod config;
mod device;
mod dispatcher;
mod error;
mod fetch;
#[doc(hidden)]
pub mod fuzzing;
mod governor;
mod machine;
pub mod measure;
mod meters;
mod presence;
mod service;
mod stat;
mod store;
mod vcgencmd;
pub mod worker;

pub use answers::Loaded;
pub use config::{Config, DEFAULTS, Settings, WorkerCommand};
pub use error::Error;
pub use meters::Sources;

use std::path::Path;

use conditions::Observer;
use dispatcher::Dispatcher;
use store::Store;

/// Puts back what an agent on this state folder changed of its system and left so, for it was killed. What fails is told
/// in the log.
pub fn put_back(state_dir: &Path) {
    governor::put_back(state_dir);
}

/// Runs an agent until `shutdown` ends: then it leaves in order, and a later run on the same state folder
/// goes on where this one was.
///
/// A broker that does not answer is tried again for ever; the log tells of it. Workers die with the thread that
/// started them, so this must run on one that lives as long: a runtime's own, or the main thread.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let store = Store::open(&config.state_dir)?;
    put_back(&config.state_dir);
    admission::warn_of_everybody(&config);
    let device = device::describe(&config).await;
    let board = board::read(Path::new("/"));
    let meters = meters::announce(&config.meters);
    let observer = Observer::new(&config.meters.system).await;
    let (dispatcher, mended) = Dispatcher::start(config, (device, board, meters, observer), store)?;
    dispatcher.run(mended, std::pin::pin!(shutdown)).await
}
