//! What the agent is told: built-in defaults, below a file, below flags.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use edgefront_link::BrokerUrl;
use edgefront_protocol::{Bytes, DeviceId, PublicKey};
use serde::Deserialize;

use crate::meters::{CpuPower, External, Written};
use crate::{Error, Sources};

/// The commented defaults, as they are shipped for users to copy.
pub const DEFAULTS: &str = include_str!("../../configs/agent.toml");

/// How one agent runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The broker.
    pub broker: BrokerUrl,
    /// Name of the device.
    pub id: DeviceId,
    /// Folder of all that survives a restart.
    pub state_dir: PathBuf,
    /// A runtime's library or a folder of such, looked into first.
    pub runtime_path: Option<PathBuf>,
    /// Largest size of the blobs that no batch needs at the moment.
    pub store_max: Bytes,
    /// Largest size of what each runtime made of models and keeps.
    pub kept_max: Bytes,
    /// Longest time for a worker to load its artifact.
    pub load_timeout: Duration,
    /// Longest silence of a worker that runs.
    pub run_timeout: Duration,
    /// Longest silence of a transfer before the next batch goes first.
    pub fetch_patience: Duration,
    /// The controllers whose jobs are taken; everybody's where there is none.
    pub controllers: Vec<PublicKey>,
    /// Whether jobs may bring machine code of their own. Not without `controllers`.
    pub machine_code: bool,
    /// Where to look for meters.
    pub meters: Sources,
    /// How long to measure the power at rest, before the jobs of a batch and after them.
    pub idle: Duration,
    /// How workers are started.
    pub worker: WorkerCommand,
}

/// The command line that starts a worker process; it must end in [`crate::worker::main`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerCommand {
    /// The program that runs the worker's, with its arguments: `taskset -c 4-7`; empty where none does.
    pub runner: Vec<String>,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

impl WorkerCommand {
    /// The running program with the subcommand `worker`.
    pub fn of_this_program() -> Result<Self, Error> {
        Ok(Self {
            runner: Vec::new(),
            program: std::env::current_exe().map_err(Error::Program)?,
            args: vec!["worker".into()],
        })
    }

    /// What is to be executed, and its arguments.
    pub(crate) fn words(&self) -> (&OsStr, Vec<&OsStr>) {
        let worker =
            std::iter::once(self.program.as_os_str()).chain(self.args.iter().map(OsString::as_os_str));
        let mut words = self.runner.iter().map(OsStr::new).chain(worker);
        let program = words
            .next()
            .expect("invariant: the worker's program is one of them");
        (program, words.collect())
    }
}

/// Settings of one layer: of the defaults, of a file, or of the flags.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// See [`Config::broker`].
    pub broker: Option<String>,
    /// See [`Config::id`].
    pub id: Option<String>,
    /// See [`Config::state_dir`].
    pub state_dir: Option<PathBuf>,
    /// See [`Config::runtime_path`].
    pub runtime_path: Option<PathBuf>,
    /// See [`Config::store_max`].
    pub store_max: Option<ByteSize>,
    /// See [`Config::kept_max`].
    pub kept_max: Option<ByteSize>,
    /// See [`Config::load_timeout`].
    #[serde(default, with = "humantime_serde")]
    pub load_timeout: Option<Duration>,
    /// See [`Config::run_timeout`].
    #[serde(default, with = "humantime_serde")]
    pub run_timeout: Option<Duration>,
    /// See [`Config::fetch_patience`].
    #[serde(default, with = "humantime_serde")]
    pub fetch_patience: Option<Duration>,
    /// See [`Config::controllers`].
    pub controllers: Option<Vec<PublicKey>>,
    /// See [`Config::machine_code`].
    pub machine_code: Option<bool>,
    /// See [`Sources::system`].
    pub system: Option<PathBuf>,
    /// See [`Sources::external`].
    pub meters: Option<Vec<Written>>,
    /// See [`Sources::cpu_power`].
    pub cpu_power: Option<CpuPower>,
    /// See [`Config::idle`].
    #[serde(default, with = "humantime_serde")]
    pub idle: Option<Duration>,
    /// See [`WorkerCommand::runner`].
    pub worker_runner: Option<Vec<String>>,
}

impl Settings {
    /// Reads a file. Unknown keys are refused.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::ConfigFile {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| Error::Setting {
            origin: match error.span() {
                Some(span) => format!("{origin}:{}", text[..span.start].matches('\n').count() + 1),
                None => origin.to_owned(),
            },
            reason: error.message().replace('\n', " "),
        })
    }

    /// These settings, and those of `below` where these are silent.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            broker: self.broker.or(below.broker),
            id: self.id.or(below.id),
            state_dir: self.state_dir.or(below.state_dir),
            runtime_path: self.runtime_path.or(below.runtime_path),
            store_max: self.store_max.or(below.store_max),
            kept_max: self.kept_max.or(below.kept_max),
            load_timeout: self.load_timeout.or(below.load_timeout),
            run_timeout: self.run_timeout.or(below.run_timeout),
            fetch_patience: self.fetch_patience.or(below.fetch_patience),
            controllers: self.controllers.or(below.controllers),
            machine_code: self.machine_code.or(below.machine_code),
            system: self.system.or(below.system),
            meters: self.meters.or(below.meters),
            cpu_power: self.cpu_power.or(below.cpu_power),
            idle: self.idle.or(below.idle),
            worker_runner: self.worker_runner.or(below.worker_runner),
        }
    }
}

impl Config {
    /// The configuration of `settings` over the built-in defaults.
    pub fn new(settings: Settings, worker: WorkerCommand) -> Result<Self, Error> {
        let defaults = Settings::parse(DEFAULTS, "configs/agent.toml")?;
        let all = settings.over(defaults);
        let id = match all.id {
            Some(id) => id.parse().map_err(|error| setting("id", &error))?,
            None => id_of_host(&hostname::get().unwrap_or_default().to_string_lossy()),
        };
        let state_dir = match all.state_dir.or_else(default_state_dir) {
            Some(dir) => absolute(&dir)?,
            None => return Err(setting("state_dir", &"this user has no home; give a folder")),
        };
        let runtime_path = all.runtime_path.as_deref().map(absolute).transpose()?;
        let controllers = required("controllers", all.controllers)?;
        let machine_code = required("machine_code", all.machine_code)?;
        // A loopback address is no exception: a tunnel has one, and so has every user of this machine.
        if machine_code && controllers.is_empty() {
            return Err(setting(
                "machine_code",
                &"lets jobs run programs, so it needs `controllers`, or --controller: whose jobs may, by the key that \
                  `edgefront keys` prints on the workstation",
            ));
        }
        let broker: BrokerUrl = required("broker", all.broker)?.parse()?;
        let written = all.meters.unwrap_or_default().into_iter();
        let external = written.map(|written| External::new(written, &broker));
        let meters = Sources {
            system: absolute(&required("system", all.system)?)?,
            external: external
                .collect::<Result<_, _>>()
                .map_err(|why| setting("meters", &why))?,
            cpu_power: all
                .cpu_power
                .map(CpuPower::checked)
                .transpose()
                .map_err(|why| setting("cpu_power", &why))?,
        };
        Ok(Self {
            broker,
            id,
            state_dir,
            runtime_path,
            store_max: Bytes(required("store_max", all.store_max)?.as_u64()),
            kept_max: Bytes(required("kept_max", all.kept_max)?.as_u64()),
            load_timeout: some_time("load_timeout", all.load_timeout)?,
            run_timeout: some_time("run_timeout", all.run_timeout)?,
            fetch_patience: some_time("fetch_patience", all.fetch_patience)?,
            controllers,
            machine_code,
            meters,
            idle: some_time("idle", all.idle)?,
            worker: WorkerCommand {
                runner: required("worker_runner", all.worker_runner)?,
                ..worker
            },
        })
    }
}

fn setting(name: &str, reason: &impl ToString) -> Error {
    Error::Setting {
        origin: format!("setting `{name}`"),
        reason: reason.to_string(),
    }
}

fn required<T>(name: &str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| setting(name, &"has no value and no default"))
}

/// A time in which something can happen.
fn some_time(name: &str, value: Option<Duration>) -> Result<Duration, Error> {
    let time = required(name, value)?;
    if time.is_zero() {
        return Err(setting(
            name,
            &"is 0, in which nothing can end; give a time, such as 30s",
        ));
    }
    Ok(time)
}

fn default_state_dir() -> Option<PathBuf> {
    let base = dirs::state_dir().or_else(dirs::data_local_dir)?;
    Some(base.join("edgefront").join("agent"))
}

/// Paths travel to workers as text, and a worker may have another working directory.
fn absolute(path: &Path) -> Result<PathBuf, Error> {
    if path.to_str().is_none() {
        return Err(setting(
            "path",
            &format_args!("{} is not UTF-8; use another folder", path.display()),
        ));
    }
    std::path::absolute(path).map_err(|error| setting("path", &format_args!("{}: {error}", path.display())))
}

/// The host name with what no name may hold replaced.
fn id_of_host(host: &str) -> DeviceId {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = host
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(64)
        .collect();
    name.parse()
        .or_else(|_| "device".parse())
        .expect("invariant: `device` is a valid name")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn worker() -> WorkerCommand {
        WorkerCommand {
            runner: Vec::new(),
            program: "worker".into(),
            args: vec!["--job".into()],
        }
    }

    fn config(toml: &str) -> Result<Config, Error> {
        Config::new(Settings::parse(toml, "agent.toml")?, worker())
    }

    #[test]
    fn the_shipped_file_holds_every_default() {
        let config = config("id = 'pi4'\nstate_dir = '/state'").unwrap();
        let expected = Config {
            broker: BrokerUrl::new("localhost", 1883),
            id: "pi4".parse().unwrap(),
            state_dir: "/state".into(),
            runtime_path: None,
            store_max: Bytes(4 << 30),
            kept_max: Bytes(4 << 30),
            load_timeout: Duration::from_mins(5),
            run_timeout: Duration::from_mins(1),
            fetch_patience: Duration::from_secs(30),
            controllers: Vec::new(),
            machine_code: false,
            meters: Sources {
                system: "/".into(),
                ..Sources::default()
            },
            idle: Duration::from_secs(2),
            worker: worker(),
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn every_commented_setting_of_the_shipped_file_is_one() {
        let setting = |line: &&str| line.contains(" = ");
        let text: Vec<_> = DEFAULTS
            .lines()
            .map(|line| line.strip_prefix("# ").unwrap_or(line))
            .filter(setting)
            .collect();
        let all = Settings::parse(&text.join("\n"), "agent.toml").unwrap();
        assert!(all.id.is_some() && all.state_dir.is_some() && all.runtime_path.is_some());
    }

    #[test]
    fn the_upper_layer_wins() {
        let flags = Settings {
            broker: Some("mqtt://flags".to_owned()),
            ..Settings::default()
        };
        let file = Settings::parse("broker = 'mqtt://file'\nstore_max = '64MiB'", "agent.toml").unwrap();
        let config = Config::new(flags.over(file), worker()).unwrap();
        assert_eq!(config.broker, BrokerUrl::new("flags", 1883));
        assert_eq!(config.store_max, Bytes(64 << 20));
    }

    #[test]
    fn the_runner_comes_before_the_worker() {
        let plain = config("").unwrap().worker;
        assert_eq!(plain.words(), (OsStr::new("worker"), vec![OsStr::new("--job")]));
        let pinned = config("worker_runner = ['taskset', '-c', '4-7']").unwrap().worker;
        let rest = ["-c", "4-7", "worker", "--job"].map(OsStr::new);
        assert_eq!(pinned.words(), (OsStr::new("taskset"), rest.to_vec()));
    }

    #[test]
    fn what_is_wrong_is_named_in_one_line() {
        for (toml, message) in [
            ("\nbrokr = 'mqtt://x'", "agent.toml:2: unknown field `brokr`"),
            ("store_max = 'much'", "agent.toml:1: "),
            ("run_timeout = 5", "agent.toml:1: "),
            ("id = 'a b'", "setting `id`: `a b` is not a valid name"),
            ("broker = 'localhost'", "`localhost` is not a broker address"),
            ("load_timeout = '0s'", "setting `load_timeout`: is 0"),
            ("run_timeout = '0ms'", "setting `run_timeout`: is 0"),
            ("fetch_patience = '0s'", "setting `fetch_patience`: is 0"),
            (
                "controllers = ['me']",
                "agent.toml:1: `me` is not the public key of a controller; `edgefront keys` prints it",
            ),
            (
                "meters = [{ name = 'plug' }]",
                "setting `meters`: the meter `plug` needs either a `command`",
            ),
            (
                "cpu_power = { idle_w = -1, core_w = 2 }",
                "setting `cpu_power`: holds watts",
            ),
            (
                "machine_code = true",
                "setting `machine_code`: lets jobs run programs, so it needs `controllers`",
            ),
        ] {
            let error = config(toml).unwrap_err();
            assert!(error.is_usage(), "{error}");
            let text = error.to_string();
            assert!(text.starts_with(message) && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn machine_code_of_named_controllers_is_a_setting() {
        let key = PublicKey::from_bytes([7; 32]);
        let config = config(&format!("machine_code = true\ncontrollers = ['{key}']")).unwrap();
        assert_eq!((config.machine_code, config.controllers), (true, vec![key]));
    }

    #[test]
    fn host_names_become_valid_ids() {
        for (host, id) in [
            ("pi4.lan", "pi4.lan"),
            ("Anna's Mac", "Anna-s-Mac"),
            ("_x", "x"),
            ("", "device"),
            ("---", "device"),
        ] {
            assert_eq!(id_of_host(host).as_str(), id);
        }
        assert_eq!(id_of_host(&"a".repeat(90)).as_str().len(), 64);
    }
}
