//! `cargo xtask cross`: the agent for the processors of boards, held to what boards have.

mod needs;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};

use crate::count::Count;
use crate::step;
use needs::{Glibc, Needs};
pub(crate) use tools::Tools;

/// The oldest glibc that the agent starts on, that of Debian 10; Ubuntu 20.04 of the Jetsons has a newer one. ONNX
/// Runtime's own library needs this one, too.
const FLOOR: Glibc = Glibc(2, 28);

/// A processor that the agent is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arch {
    /// As users say it.
    name: &'static str,
    /// As the compiler does.
    target: &'static str,
}

/// 64-bit ARM: Raspberry Pi 3 and later, Jetson.
pub(crate) const AARCH64: Arch = Arch {
    name: "aarch64",
    target: "aarch64-unknown-linux-gnu",
};

const ARMV7: Arch = Arch {
    name: "armv7",
    target: "armv7-unknown-linux-gnueabihf",
};

/// What is built of the agent, and how large it may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Build {
    /// Name of the program in `target/cross/ARCH`.
    name: &'static str,
    /// What decides the features.
    flags: &'static [&'static str],
    /// Most bytes.
    budget: u64,
}

const WITH_TRACT: Build = Build {
    name: "edgefront-agent",
    flags: &[],
    budget: 15_000_000,
};

/// Its runtimes are libraries beside it.
const WITHOUT_TRACT: Build = Build {
    name: "edgefront-agent-without-tract",
    flags: &[
        "--no-default-features",
        "--features",
        "ort,openvino,tflite,tensorrt",
    ],
    budget: 5_000_000,
};

/// What ships.
pub(crate) const BUILDS: [Build; 2] = [WITHOUT_TRACT, WITH_TRACT];

/// The builds for the processors that the user names; `None` where the arguments are wrong.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<Option<ExitCode>> {
    let processor = |name: &&str| [AARCH64, ARMV7].into_iter().find(|arch| arch.name == *name);
    let (builds, names) = match arguments {
        [names @ .., "--without-tract"] => (&BUILDS[..1], names),
        names => (&BUILDS[..], names),
    };
    let archs: Option<Vec<Arch>> = names.iter().map(processor).collect();
    let Some(archs) = archs.filter(|archs| !archs.is_empty()) else {
        return Ok(None);
    };
    let mut kept = true;
    for arch in archs {
        kept &= check(arch, builds)?;
    }
    Ok(Some(if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }))
}

/// Makes the builds and says whether boards can take all of them.
pub(crate) fn check(arch: Arch, builds: &[Build]) -> anyhow::Result<bool> {
    let tools = Tools::set_up(arch)?;
    let mut kept = true;
    for build in builds {
        kept &= checked(arch, build, &tools)?;
    }
    Ok(kept)
}

/// Builds, prints what came of it, and says whether a board can take it.
fn checked(arch: Arch, build: &Build, tools: &Tools) -> anyhow::Result<bool> {
    println!("== {} for {}", build.name, arch.name);
    let (count, source) = program(arch, "edge", build.flags, tools)?;
    ensure!(count.failed == 0, "the agent does not compile for {}", arch.name);
    let place = Path::new("target/cross").join(arch.name).join(build.name);
    let copied = place.parent().map_or(Ok(()), std::fs::create_dir_all);
    copied
        .and_then(|()| std::fs::copy(&source, &place))
        .with_context(|| format!("cannot copy {} to {}", source.display(), place.display()))?;

    let content = std::fs::read(&place).with_context(|| format!("cannot read {}", place.display()))?;
    let needs = Needs::of(&content).with_context(|| format!("cannot read {}", place.display()))?;
    let glibc = needs
        .glibc
        .map_or_else(|| "none".to_owned(), |glibc| glibc.to_string());
    println!(
        "{}: {:.2} MB (at most {:.0}), glibc {glibc} (at most {FLOOR}), libraries {}",
        place.display(),
        megabytes(content.len() as u64),
        megabytes(build.budget),
        needs.libraries.join(", "),
    );
    let fits = content.len() as u64 <= build.budget;
    if !fits {
        println!("!! {} is larger than its budget", place.display());
    }
    let starts = needs.run_on(FLOOR);
    if !starts {
        println!("!! {} does not start on glibc {FLOOR}", place.display());
    }
    Ok(fits && starts)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Builds the agent; gives how that went, and the file.
pub(crate) fn program(
    arch: Arch,
    profile: &str,
    flags: &[&str],
    tools: &Tools,
) -> anyhow::Result<(Count, PathBuf)> {
    let mut command = tools.zigbuild();
    command.args(["--package", "edgefront-agent", "--profile", profile, "--target"]);
    // The suffix makes the linker take the symbols of that glibc.
    command.arg(format!("{}.{FLOOR}", arch.target)).args(flags);
    let count = step::check(
        &format!("edgefront-agent, {}, {profile}", arch.name),
        &mut command,
    )?;
    let folder = Path::new("target").join(arch.target).join(profile);
    Ok((count, folder.join("edgefront-agent")))
}
