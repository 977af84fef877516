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

/// Longest time for which a runtime keeps the device from telling that it is there.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// Every runtime, each probed in a process of its own: a library that is broken must not take the agent along.
async fn runtimes(config: &Config) -> Vec<RuntimeStatus> {
    let limits = Limits::of(config);
    let registry = Registry::new(&Search {
        runtime_path: config.runtime_path.clone(),
    });
    let names: Vec<&str> = registry.iter().map(Runtime::name).collect();
    let mut statuses = Vec::new();
    for name in names {
        let brings_code = registry
            .get(name)
            .is_ok_and(|runtime| runtime.formats() == [Format::So.as_str()]);
        let state = if brings_code && !config.machine_code {
            absent(NO_MACHINE_CODE.to_owned())
        } else {
            probe(name, &limits).await
        };
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
        worker
            .ask(&order, Stage::Load, limits.load.min(PROBE_TIMEOUT))
            .await
    };
    match answer.await {
        Ok(Answer::Probed { version, providers }) => RuntimeState::Ready { version, providers },
        Ok(other) => absent(format!("the worker answered {other:?}")),
        Err(failure) => absent(failure.error),
    }
}

fn absent(reason: String) -> RuntimeState {
    RuntimeState::Absent(Absence { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

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
