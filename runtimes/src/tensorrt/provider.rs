//! Who computes, in which precision, and the flags that ask for it.

use super::NAME;
use super::said::Version;
use super::tool::Tool;
use crate::Error;
use crate::onnx::Interface;

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    /// The GPU, in the precision that the file says.
    Gpu,
    /// The GPU, in half precision where TensorRT finds that faster.
    GpuInHalf,
    /// The deep learning accelerator of this number, which computes in half precision and in integers. The GPU does not
    /// stand in for it.
    Dla(u32),
}

impl Provider {
    pub(super) const NAMES: [(&str, Self); 4] = [
        ("gpu", Self::Gpu),
        ("fp16", Self::GpuInHalf),
        ("dla0", Self::Dla(0)),
        ("dla1", Self::Dla(1)),
    ];

    /// Those that this version takes and this GPU may have beside it.
    pub(super) fn held(tool: &Tool) -> Vec<String> {
        let is_held = |provider: Self| match provider {
            Self::Gpu => true,
            Self::GpuInHalf => tool.version.major < 11,
            Self::Dla(_) => tool.gpu.may_have_dla(),
        };
        let held = Self::NAMES.into_iter().filter(|&(_, provider)| is_held(provider));
        held.map(|(name, _)| name.to_owned()).collect()
    }

    pub(super) fn named(name: &str) -> Result<Self, Error> {
        let found = Self::NAMES.iter().find(|(own, _)| *own == name);
        found.map(|&(_, provider)| provider).ok_or_else(|| {
            let known = Self::NAMES.map(|(own, _)| own).join(", ");
            refused(name, format!("it is one of {known}"))
        })
    }

    pub(super) fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, provider)| *provider == self);
        found
            .map(|&(name, _)| name)
            .expect("invariant: every provider is listed")
    }

    /// The flags of the build that decide the precision. From 10 on networks are strongly typed: the types of the file
    /// are those of the engine. Before, a flag allows what the file asks for, and TensorRT may leave it.
    pub(super) fn flags(self, version: Version, model: &Interface) -> Result<Vec<String>, Error> {
        let flag = |flag: &str| Some(flag.to_owned());
        let int8 = model.is_quantized.then(|| "--int8".to_owned());
        // Else float32 would be rounded to 10 bits on tensor cores.
        let no_tf32 = flag("--noTF32");
        let flags = match self {
            Self::Gpu if version.major >= 10 => vec![no_tf32, flag("--stronglyTyped")],
            Self::Gpu => vec![no_tf32, int8, model.is_half.then(|| "--fp16".to_owned())],
            Self::GpuInHalf if version.major >= 11 => {
                return Err(refused(
                    self.name(),
                    format!(
                        "TensorRT {version} takes the precision from the file alone; convert it with `edgefront convert` \
                         to .fp16.onnx and measure that on `gpu`"
                    ),
                ));
            }
            Self::GpuInHalf => vec![no_tf32, flag("--fp16"), int8],
            Self::Dla(core) => {
                let core = flag(&format!("--useDLACore={core}"));
                let half = (version.major < 11).then(|| "--fp16".to_owned());
                vec![no_tf32, core, half, int8.filter(|_| version.major < 11)]
            }
        };
        Ok(flags.into_iter().flatten().collect())
    }

    /// Where it may not compute as the file says, what it does instead.
    pub(super) fn remark(self, version: Version, model: &Interface) -> Option<&'static str> {
        match self {
            Self::Gpu if version.major < 10 && model.is_half => {
                Some("layers compute in half or in single precision, as TensorRT chooses")
            }
            Self::Gpu => None,
            Self::GpuInHalf => Some("layers compute in half precision where TensorRT finds that faster"),
            Self::Dla(_) => Some("floats are computed in half precision"),
        }
    }
}

fn refused(provider: &str, reason: String) -> Error {
    Error::Provider {
        runtime: NAME,
        provider: provider.to_owned(),
        reason,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn flags(provider: &str, version: u32, is_quantized: bool, is_half: bool) -> Result<String, String> {
        let banner = format!("&&&& RUNNING TensorRT.trtexec [TensorRT v{version}] #");
        let model = Interface {
            is_quantized,
            is_half,
            ..Interface::default()
        };
        let flags = Provider::named(provider)
            .unwrap()
            .flags(Version::of(&banner).unwrap(), &model);
        flags
            .map(|flags| flags.join(" "))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_file_says_the_precision() {
        for (version, is_quantized, is_half, expected) in [
            (8502, false, false, "--noTF32"),
            (8502, true, false, "--noTF32 --int8"),
            (8601, false, true, "--noTF32 --fp16"),
            (100_300, true, false, "--noTF32 --stronglyTyped"),
            (110_100, false, true, "--noTF32 --stronglyTyped"),
        ] {
            assert_eq!(
                flags("gpu", version, is_quantized, is_half).unwrap(),
                expected,
                "{version}"
            );
        }
    }

    #[test]
    fn what_a_version_no_longer_takes_is_refused_with_the_mend() {
        assert_eq!(
            flags("fp16", 100_300, true, false).unwrap(),
            "--noTF32 --fp16 --int8"
        );
        insta::assert_snapshot!(flags("fp16", 110_100, false, false).unwrap_err(), @"runtime `tensorrt` cannot use provider `fp16`: TensorRT 11.1.0 takes the precision from the file alone; convert it with `edgefront convert` to .fp16.onnx and measure that on `gpu`");
        assert_eq!(
            flags("dla1", 8502, false, false).unwrap(),
            "--noTF32 --useDLACore=1 --fp16"
        );
        assert_eq!(
            flags("dla0", 110_400, true, false).unwrap(),
            "--noTF32 --useDLACore=0"
        );
    }

    #[test]
    fn every_provider_has_a_name_and_others_are_refused() {
        for (name, provider) in Provider::NAMES {
            assert_eq!(
                (Provider::named(name).unwrap(), provider.name()),
                (provider, name)
            );
        }
        insta::assert_snapshot!(Provider::named("int8").unwrap_err(), @"runtime `tensorrt` cannot use provider `int8`: it is one of gpu, fp16, dla0, dla1");
    }
}
