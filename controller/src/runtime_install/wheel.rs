//! Which wheel holds which library: versions and digests that were tested.

use edgefront_protocol::Bytes;

use super::InstallError;

/// A runtime and where its library comes from.
#[derive(Debug)]
pub(super) struct Source {
    /// Edgefront's name of it.
    pub(super) name: &'static str,
    /// Its own name.
    pub(super) title: &'static str,
    /// The project on PyPI.
    pub(super) project: &'static str,
    /// Version of the wheel and of the library.
    pub(super) version: &'static str,
    /// File name of the library.
    pub(super) library: &'static str,
    /// Paths in the wheel: the library and the licences that go with it.
    files: &'static [&'static str],
    wheels: &'static [Wheel],
}

/// One wheel, for one processor.
#[derive(Debug)]
pub(super) struct Wheel {
    arch: &'static str,
    /// The platform by which pip finds it.
    pub(super) platform: &'static str,
    /// Its digest.
    pub(super) sha256: &'static str,
    /// Its size.
    pub(super) bytes: Bytes,
}

static SOURCES: [Source; 2] = [ORT, TFLITE];

const ORT: Source = Source {
    name: "ort",
    title: "ONNX Runtime",
    project: "onnxruntime",
    version: "1.32.0",
    library: "libonnxruntime.so.1.32.0",
    files: &[
        "onnxruntime/capi/libonnxruntime.so.1.32.0",
        "onnxruntime/LICENSE",
        "onnxruntime/ThirdPartyNotices.txt",
    ],
    wheels: &[
        Wheel {
            arch: "x86_64",
            platform: "manylinux_2_28_x86_64",
            sha256: "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
            bytes: Bytes(27_773_237),
        },
        Wheel {
            arch: "aarch64",
            platform: "manylinux_2_28_aarch64",
            sha256: "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c",
            bytes: Bytes(23_195_070),
        },
    ],
};

const TFLITE: Source = Source {
    name: "tflite",
    title: "LiteRT",
    project: "ai-edge-litert",
    version: "2.3.0",
    library: "libLiteRt.so",
    files: &[
        "ai_edge_litert/libLiteRt.so",
        "ai_edge_litert-2.3.0.dist-info/licenses/LICENSE",
    ],
    wheels: &[
        Wheel {
            arch: "x86_64",
            platform: "manylinux_2_27_x86_64",
            sha256: "1f15078a6725d2357d9de9221664c29afa0545d807559c5f7199ce5e40b96b23",
            bytes: Bytes(21_778_233),
        },
        Wheel {
            arch: "aarch64",
            platform: "manylinux_2_27_aarch64",
            sha256: "853fc608f96da87bd5f3458465dfb9abbf18d5ae6b94eceacead407146f175ae",
            bytes: Bytes(14_379_387),
        },
    ],
};

/// Names of the runtimes that can be installed.
pub fn installable() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().map(|source| source.name)
}

pub(super) fn source(name: &str) -> Result<&'static Source, InstallError> {
    SOURCES
        .iter()
        .find(|source| source.name == name)
        .ok_or_else(|| InstallError::Unknown {
            name: name.to_owned(),
            known: installable().collect::<Vec<_>>().join(", "),
        })
}

impl Source {
    pub(super) fn wheel(&self, arch: &str) -> Result<&'static Wheel, InstallError> {
        self.wheels
            .iter()
            .find(|wheel| wheel.arch == arch)
            .ok_or_else(|| InstallError::Architecture {
                title: self.title,
                arch: arch.to_owned(),
            })
    }

    pub(super) fn files(&self) -> &'static [&'static str] {
        self.files
    }
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::Digest;

    use super::*;

    #[test]
    fn every_pin_is_a_digest_and_every_library_is_in_its_wheel() {
        for source in &SOURCES {
            assert!(source.files.iter().any(|file| file.ends_with(source.library)));
            for wheel in source.wheels {
                wheel.sha256.parse::<Digest>().unwrap();
            }
        }
    }

    #[test]
    fn what_cannot_be_installed_is_told_from_what_can() {
        let unknown = source("tract").unwrap_err().to_string();
        assert_eq!(unknown, "`tract` cannot be installed; there is ort, tflite");
        let other = source("ort").unwrap().wheel("riscv64").unwrap_err().to_string();
        assert!(
            other.starts_with("no ONNX Runtime is known for riscv64"),
            "{other}"
        );
    }
}
