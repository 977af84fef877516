//! What the agent says of its device.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edgefront_protocol::outcome::Stage;
use edgefront_protocol::{
    Absence, Bytes, Device, Format, Incarnation, RuntimeState, RuntimeStatus, UnixMillis,
};
use edgefront_runtimes::{Registry, Runtime, Search};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::Config;
use crate::measure::{Limits, NO_MACHINE_CODE, Worker};
use crate::worker::message::{Answer, Order};

/// Instruction set extensions that decide how fast INT8, FP16 and FP32 run, as `/proc/cpuinfo` names them.
const FEATURES: [&str; 20] = [
    "sse4_1",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "neon",
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
];

/// The device as it is now.
pub(crate) async fn describe(config: &Config) -> Device {
    let what = RefreshKind::nothing()
        .with_memory(MemoryRefreshKind::nothing().with_ram())
        .with_cpu(CpuRefreshKind::nothing());
    // A system that does not tell leaves its figures empty.
    let system = System::new_with_specifics(what).ok();
    let cpus = system.as_ref().map_or(&[][..], System::cpus);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Device {
        id: config.id.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        os: operating_system(),
        cpu: cpus
            .first()
            .map_or_else(|| "unknown".to_owned(), |cpu| cpu.brand().trim().to_owned()),
        cores: cpus.len() as u32,
        memory: Bytes(system.as_ref().map_or(0, System::total_memory)),
        cpu_features: features(&cpuinfo),
        runtimes: runtimes(config).await,
        incarnation: Incarnation {
            since: UnixMillis(since.as_millis() as u64),
            nonce: rand::random(),
        },
    }
}

fn operating_system() -> String {
    let name = System::long_os_version().unwrap_or_else(|_| std::env::consts::OS.to_owned());
    match System::kernel_version() {
        Ok(kernel) => format!("{name}, kernel {kernel}"),
        Err(_) => name,
    }
}

/// The first processor's extensions: `flags` on x86, `Features` on ARM.
fn features(cpuinfo: &str) -> Vec<String> {
    let flags = cpuinfo.lines().find_map(|line| {
        let (key, flags) = line.split_once(':')?;
        matches!(key.trim(), "flags" | "Features").then_some(flags)
    });
    let flags: Vec<&str> = flags.unwrap_or_default().split_whitespace().collect();
    let known = FEATURES.iter().filter(|feature| flags.contains(feature));
    known.map(|&feature| feature.to_owned()).collect()
}

/// Longest time for which runtimes keep the device from telling that it is there, less than studies wait for it.
const PROBE_TIMEOUT: Duration = Duration::from_secs(25);

/// Every runtime, each probed in a process of its own: a library that is broken must not take the agent along.
async fn runtimes(config: &Config) -> Vec<RuntimeStatus> {
    let limits = Limits::of(config);
    let registry = Registry::new(&Search {
        runtime_path: config.runtime_path.clone(),
    });
    // All at the same time, so that those that hang keep the device from its fleet no longer than one.
    let probe = |runtime: &dyn Runtime| {
        let (name, limits) = (runtime.name(), limits.clone());
        let brings_code = runtime.formats() == [Format::So.as_str()];
        let probed = tokio::spawn(async move {
            if brings_code && !limits.machine_code {
                absent(NO_MACHINE_CODE.to_owned())
            } else {
                probe(name, &limits).await
            }
        });
        (name, probed)
    };
    let probes: Vec<_> = registry.iter().map(probe).collect();
    let mut statuses = Vec::new();
    for (name, probed) in probes {
        let state = probed
            .await
            .unwrap_or_else(|error| absent(format!("probing it ended early: {error}")));
        // A wrong path must not take the device from its fleet: what needs no library can still be measured.
        if let RuntimeState::Absent(Absence { reason }) = &state {
            tracing::info!("{name} is left out: {reason}");
        }
        statuses.push(RuntimeStatus {
            name: name.to_owned(),
            state,
        });
    }
    statuses
}

async fn probe(name: &str, limits: &Limits) -> RuntimeState {
    let answer = async {
        let mut worker = Worker::start(&limits.worker)?;
        let order = Order::Probe {
            runtime: name.to_owned(),
            runtime_path: limits.runtime_path.as_deref().map(crate::measure::utf8),
        };
        worker.ask(&order, Stage::Load, limits.load).await
    };
    match tokio::time::timeout(PROBE_TIMEOUT, answer).await {
        Ok(Ok(Answer::Probed { version, providers })) => RuntimeState::Ready { version, providers },
        Ok(Ok(other)) => absent(format!("the worker answered {other:?}")),
        Ok(Err(failure)) => absent(failure.error),
        Err(_) => absent(format!(
            "it did not tell its version within {PROBE_TIMEOUT:?}; start the agent again when the device has less to do"
        )),
    }
}

fn absent(reason: String) -> RuntimeState {
    RuntimeState::Absent(Absence { reason })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::Command;

    use super::*;
    use crate::config::{Settings, WorkerCommand};

    /// Workers that wait until as many as there are runtimes have begun: one after the other, none would end.
    #[tokio::test]
    async fn runtimes_are_probed_at_the_same_time_and_listed_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let [arrived, go] = ["arrived", "go"].map(|name| folder.path().join(name));
        assert!(
            Command::new("mkfifo")
                .args([&arrived, &go])
                .status()
                .unwrap()
                .success()
        );
        let script = format!(
            "echo > {}; read word < {}; echo all are here >&2",
            arrived.display(),
            go.display()
        );
        let registry = Registry::new(&Search::default());
        let names: Vec<&str> = registry.iter().map(Runtime::name).collect();
        let count = names.len();
        let meeting = std::thread::spawn(move || {
            // Opened in both directions, a pipe waits for nobody to open it.
            let open = |path| {
                std::fs::File::options()
                    .read(true)
                    .write(true)
                    .open(path)
                    .unwrap()
            };
            let (mut arrived, mut go) = (open(arrived), open(go));
            arrived.read_exact(&mut vec![0; count]).unwrap();
            go.write_all(&vec![b'\n'; count]).unwrap();
            (arrived, go)
        });
        let settings = Settings {
            machine_code: Some(true),
            controllers: Some(vec![edgefront_protocol::PublicKey::from_bytes([7; 32])]),
            ..Settings::default()
        };
        let worker = WorkerCommand {
            runner: Vec::new(),
            program: "sh".into(),
            args: vec!["-c".into(), script.into()],
        };
        let statuses = runtimes(&Config::new(settings, worker).unwrap()).await;
        let listed: Vec<&str> = statuses.iter().map(|status| status.name.as_str()).collect();
        assert_eq!(listed, names);
        for RuntimeStatus { name, state } in &statuses {
            let RuntimeState::Absent(Absence { reason }) = state else {
                panic!("{name}: {state:?}");
            };
            assert!(reason.ends_with("it last said: all are here"), "{name}: {reason}");
        }
        drop(meeting.join().unwrap());
    }

    #[test]
    fn extensions_are_read_on_x86_and_arm() {
        let x86 =
            "processor\t: 0\nflags\t\t: fpu avx avx2 avx512_vnni rdrand\nprocessor\t: 1\nflags\t\t: fpu\n";
        assert_eq!(features(x86), ["avx", "avx2", "avx512_vnni"]);
        let arm = "processor\t: 0\nFeatures\t: fp asimd evtstrm asimdhp asimddp\nCPU part\t: 0xd0b\n";
        assert_eq!(features(arm), ["asimd", "asimdhp", "asimddp"]);
        assert_eq!(features(""), Vec::<String>::new());
    }
}
