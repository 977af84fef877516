//! What `trtexec` prints: its version, the GPU, and why it failed.
//!
//! The forms are those of its public source, `samples/common` of NVIDIA's repository `TensorRT`: the banner in
//! `logging.h`, the GPU in `sampleDevice`, and the severity in brackets before each line of the log.

use std::fmt;

use crate::line::one_line;

/// The oldest version whose flags and files are known here.
const OLDEST: Version = Version {
    major: 8,
    minor: 5,
    patch: 0,
    build: None,
};

/// A version of TensorRT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u32,
    pub(super) minor: u32,
    patch: u32,
    build: Option<u32>,
}

impl Version {
    /// That of the banner, `&&&& RUNNING TensorRT.trtexec [TensorRT v100900] [b34] # ...`; `None` where there is none.
    /// Up to 9 the number is `major * 1000 + minor * 100 + patch`, from 10 on `major * 10000 + minor * 100 + patch`.
    pub(super) fn of(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("&&&& RUNNING TensorRT.trtexec [TensorRT v")?;
        let (number, rest) = rest.split_once(']')?;
        let number: u32 = number.parse().ok()?;
        let (major, minor) = if number < 10_000 {
            (number / 1000, number / 100 % 10)
        } else {
            (number / 10_000, number / 100 % 100)
        };
        let build = rest.strip_prefix(" [b").and_then(|rest| rest.split_once(']'));
        Some(Self {
            major,
            minor,
            patch: number % 100,
            build: build.and_then(|(build, _)| build.parse().ok()),
        })
    }

    pub(super) fn is_known(self) -> bool {
        self >= OLDEST
    }

    /// What tells engines apart: those of another build are not loaded either.
    pub(super) fn exact(self) -> String {
        match self.build {
            Some(build) => format!("{self} b{build}"),
            None => self.to_string(),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The GPU that `trtexec` selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gpu {
    /// Its name: `Orin`. Boards with chips of different sizes have the same.
    name: String,
    /// Compute capability: `8.7`.
    capability: String,
    /// Number of multiprocessors.
    multiprocessors: String,
}

impl Gpu {
    /// That of the section `Device Information`; `None` where there is none.
    pub(super) fn of(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.split_once(key))?.1.trim();
            Some(line.to_owned()).filter(|value| !value.is_empty())
        };
        Some(Self {
            name: value("Selected Device: ")?,
            capability: value("Compute Capability: ")?,
            multiprocessors: value("SMs: ")?,
        })
    }
}

impl Gpu {
    /// Whether it is of a chip that has deep learning accelerators, Xavier or Orin. The smallest boards of these have none,
    /// which is not told.
    pub(super) fn may_have_dla(&self) -> bool {
        ["7.2", "8.7"].contains(&self.capability.as_str())
    }
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            capability,
            multiprocessors,
        } = self;
        write!(
            f,
            "{name}, compute capability {capability}, {multiprocessors} SMs"
        )
    }
}

/// What follows from other errors.
const NOISE: [&str; 5] = [
    "Engine set up failed",
    "Failed to create engine from model",
    "Engine could not be created from network",
    "Parsing model failed",
    "Failed to parse onnx file",
];

/// The reason of a failure in one line: the errors of the log or, where it has none, its last line.
pub(super) fn reason(text: &str) -> String {
    let errors = errors(text);
    let is_told = |error: &&String| !NOISE.iter().any(|noise| error.contains(noise));
    let told: Vec<&str> = errors.iter().filter(is_told).map(String::as_str).collect();
    let last = text
        .lines()
        .rfind(|line| !line.trim().is_empty() && !line.starts_with("&&&&"));
    let line = match (told.as_slice(), errors.first()) {
        ([], None) => one_line(last.unwrap_or_default()),
        ([], Some(first)) => one_line(first),
        (told, _) => one_line(&told.join("; ")),
    };
    if line.is_empty() {
        "it said nothing".to_owned()
    } else {
        line
    }
}

/// The errors of the log, each with the lines that belong to it. A node in full, between two lines that say so, is left
/// out.
fn errors(text: &str) -> Vec<String> {
    let mut errors: Vec<String> = Vec::new();
    let (mut is_open, mut is_in_node) = (false, false);
    for line in text.lines() {
        let Some((severity, entry)) = entry(line) else {
            if let Some(error) = errors.last_mut().filter(|_| is_open) {
                error.push(' ');
                error.push_str(line);
            }
            continue;
        };
        let begins_node = entry.contains("--- Begin node ---");
        let ends_node = entry.contains("--- End node ---");
        is_open = matches!(severity, 'E' | 'F') && !is_in_node && !begins_node && !ends_node;
        is_in_node = (is_in_node || begins_node) && !ends_node;
        if is_open {
            errors.push(entry.to_owned());
        }
    }
    errors
}

/// The severity and text of a line that begins an entry of the log: `[11/28/2026-10:00:00] [E] [TRT] text`.
fn entry(line: &str) -> Option<(char, &str)> {
    let (time, rest) = line.strip_prefix('[')?.split_once("] [")?;
    let (severity, text) = rest.split_once("] ")?;
    let mut letters = severity.chars();
    let severity = letters
        .next()
        .filter(|_| letters.next().is_none() && time.contains(':'))?;
    Some((severity, text.trim().trim_start_matches("[TRT] ")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JETPACK_5: &str = include_str!("../../fixtures/tensorrt/device-8.5.txt");
    const JETPACK_6: &str = include_str!("../../fixtures/tensorrt/device-10.3.txt");
    const REFUSED: &str = include_str!("../../fixtures/tensorrt/refused-8.6.txt");

    fn version(number: &str) -> Option<String> {
        let banner = format!("&&&& RUNNING TensorRT.trtexec [TensorRT v{number}] # trtexec --help\n");
        Version::of(&banner).map(|version| version.to_string())
    }

    #[test]
    fn the_banner_tells_the_version() {
        for (number, expected) in [
            ("8502", "8.5.2"),
            ("8601", "8.6.1"),
            ("8412", "8.4.12"),
            ("9300", "9.3.0"),
            ("100300", "10.3.0"),
            ("101602", "10.16.2"),
            ("110100", "11.1.0"),
        ] {
            assert_eq!(version(number).as_deref(), Some(expected));
        }
        assert_eq!(version("latest"), None);
        let built = Version::of("&&&& RUNNING TensorRT.trtexec [TensorRT v100900] [b34] # trtexec").unwrap();
        assert_eq!(built.exact(), "10.9.0 b34");
        assert!(
            built.is_known()
                && !Version::of("&&&& RUNNING TensorRT.trtexec [TensorRT v8412] #")
                    .unwrap()
                    .is_known()
        );
    }

    #[test]
    fn the_gpu_is_the_selected_one() {
        let found = |text| {
            (
                Version::of(text).unwrap().exact(),
                Gpu::of(text).unwrap().to_string(),
            )
        };
        let expected = ("8.5.2", "Orin, compute capability 8.7, 16 SMs");
        assert_eq!(found(JETPACK_5), (expected.0.to_owned(), expected.1.to_owned()));
        let expected = ("10.3.0", "Orin, compute capability 8.7, 8 SMs");
        assert_eq!(found(JETPACK_6), (expected.0.to_owned(), expected.1.to_owned()));
        assert!(Gpu::of(JETPACK_5).unwrap().may_have_dla());
        assert!(!Gpu::of(&JETPACK_5.replace("8.7", "8.9")).unwrap().may_have_dla());
        assert_eq!(Gpu::of("Cannot find any available devices (GPUs)!"), None);
    }

    #[test]
    fn a_failure_is_told_by_its_errors() {
        insta::assert_snapshot!(reason(REFUSED), @r#"ModelImporter.cpp:771: While parsing node number 417 [QuantizeLinear -> "weight_quantized"]:; ModelImporter.cpp:777: ERROR: builtin_op_importers.cpp:1197 In function QuantDequantLinearHelper: [6] Assertion failed: scaleAllPositive && "Scale coefficients must all be positive""#);
        insta::assert_snapshot!(reason(JETPACK_5), @"Error opening engine file: /no-engine-is-asked-for");
        let loader = "trtexec: error while loading shared libraries: libnvinfer.so.8: cannot open shared object file\n";
        insta::assert_snapshot!(reason(loader), @"trtexec: error while loading shared libraries: libnvinfer.so.8: cannot open shared object file");
        assert_eq!(reason(""), "it said nothing");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_passed_over(text: String, number: u64) {
            let banner = format!("{text}&&&& RUNNING TensorRT.trtexec [TensorRT v{number}{text}] [b{text}");
            drop((Version::of(&text), Version::of(&banner), Gpu::of(&text)));
            prop_assert!(!reason(&text).contains('\n'));
        }
    }
}
