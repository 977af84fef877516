//! The worker: a child process of the agent that runs one job.
//!
//! It does one order after the other and is blocked reading standard input in between, so that a worker whose
//! turn it is not takes no processor time. It ends when its input ends, or when its parent does.

pub(crate) mod classify;
mod emulation;
mod inputs;
mod memory;
pub(crate) mod message;
mod paired;
mod processors;
mod score;
pub(crate) mod server;
mod session;
mod steady;

use std::fs::File;
use std::io;
use std::path::PathBuf;

use edgefront_protocol::outcome::Stage;
use edgefront_protocol::{Pack, Reference};
use edgefront_runtimes::{Registry, Search};

pub(crate) use classify::picture_batch;
pub(crate) use memory::rss;
use message::{Answer, Order};
use session::{Bench, Trouble, Voice, failure};

/// Serves the agent's orders on standard input until it closes. Standard output carries nothing but answers:
/// what a library prints there goes to standard error.
pub fn main() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    memory::volunteer_for_the_oom_killer();
    say_panics_in_one_line();
    let answers = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    serve(&mut io::stdin().lock(), Voice::new(Box::new(answers)))
}

fn serve(orders: &mut impl io::Read, mut voice: Voice) -> io::Result<()> {
    let mut bench = None;
    while let Some(order) = message::read(orders)? {
        match follow(order, &mut bench, &mut voice) {
            Ok(answer) => voice.say(&answer)?,
            Err(Trouble::NotCold) => return voice.say(&Answer::NotCold),
            Err(Trouble::Job(failure)) => return voice.say(&Answer::Failed(failure)),
            Err(Trouble::Agent(error)) => return Err(error),
        }
    }
    Ok(())
}

fn follow(order: Order, bench: &mut Option<Bench>, voice: &mut Voice) -> Result<Answer, Trouble> {
    match order {
        Order::Probe {
            runtime,
            runtime_path,
        } => probe(&runtime, runtime_path),
        Order::Load(order) => {
            // Before a library starts threads, which are bound as this one is.
            let bound = processors::bind(&order.processors).map_err(|error| {
                let numbers = edgefront_protocol::processors::list(&order.processors);
                failure(
                    Stage::Load,
                    &format!("cannot run on the processors {numbers}: {error}"),
                )
            })?;
            #[cfg(any(feature = "ort", feature = "tensorrt"))]
            edgefront_runtimes::keep_at_most(order.kept_max.0);
            let registry = registry(order.runtime_path.clone());
            let runtime = registry.get(&order.target.runtime);
            let runtime = runtime.map_err(|error| failure(Stage::Load, &error))?;
            let (loaded_bench, mut loaded) = Bench::load(&order, runtime)?;
            loaded.processors = bound;
            *bench = Some(loaded_bench);
            Ok(Answer::Loaded(loaded))
        }
        Order::WarmUp(order) => loaded(bench)?.warm_up(order, voice),
        Order::Round(span) => loaded(bench)?.round(span, voice),
        Order::Profile { inferences } => loaded(bench)?.profile(inferences),
        Order::Serve(order) => loaded(bench)?.serve(order, voice),
        Order::Score(order) => score_pack(loaded(bench)?, &order, voice),
    }
}

fn registry(runtime_path: Option<String>) -> Registry {
    Registry::new(&Search {
        runtime_path: runtime_path.map(PathBuf::from),
    })
}

fn loaded(bench: &mut Option<Bench>) -> Result<&mut Bench, Trouble> {
    bench.as_mut().ok_or_else(|| {
        failure(
            Stage::Load,
            &"the agent gave an order before the artifact was loaded",
        )
    })
}

fn probe(runtime: &str, runtime_path: Option<String>) -> Result<Answer, Trouble> {
    let probe = registry(runtime_path)
        .get(runtime)
        .and_then(edgefront_runtimes::Runtime::probe)
        .map_err(|error| failure(Stage::Load, &error))?;
    Ok(Answer::Probed {
        version: probe.version,
        providers: probe.providers,
    })
}

fn score_pack(bench: &mut Bench, order: &message::Scoring, voice: &mut Voice) -> Result<Answer, Trouble> {
    let failed = |error: &dyn std::fmt::Display| failure(Stage::Score, &format_args!("data set: {error}"));
    let file = std::fs::read(&order.pack).map_err(|error| failed(&error))?;
    let pack = Pack::decode(file).map_err(|error| failed(&error))?;
    let beside = order
        .reference
        .as_ref()
        .map(|path| read_reference(path))
        .transpose();
    let beside = beside.map_err(|error| failure(Stage::Score, &format_args!("reference: {error}")))?;
    let course = score::Course::new(pack.len(), beside, order.margin, order.seed);
    let course = course.map_err(|error| failure(Stage::Score, &error))?;
    let alive = || voice.keep_alive().map_err(|error| error.to_string());
    let (session, ports, batch) = match &mut bench.scoring {
        Some(scoring) => (&mut *scoring.session, scoring.inputs.as_slice(), scoring.batch),
        None => (&mut *bench.session, bench.model.inputs(), bench.batch),
    };
    score::score(session, ports, batch, &pack, course, alive)
        .map(Answer::Score)
        .map_err(|error| failure(Stage::Score, &error))
}

fn read_reference(path: &str) -> Result<Reference, String> {
    let file = std::fs::read(path).map_err(|error| error.to_string())?;
    Reference::decode(&file).map_err(|error| error.to_string())
}

/// The agent quotes the last line of a worker that died.
fn say_panics_in_one_line() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        eprintln!("{}", text.split_whitespace().collect::<Vec<_>>().join(" "));
    }));
}
