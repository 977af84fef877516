//! Which wheel holds which library: versions and digests that were tested.

use edgefront_protocol::Bytes;

use super::InstallError;
use crate::tvm_compile;

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
    /// The folder in the wheel that holds it.
    folder: &'static str,
    /// Paths in the wheel of the licences that go with it.
    licences: &'static [&'static str],
    wheels: &'static [Wheel],
    /// Another project whose library this one loads from its own folder.
    pub(super) needs: Option<&'static Source>,
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
    /// Names of the files that the library loads from its own folder.
    beside: &'static [&'static str],
}

static SOURCES: [Source; 4] = [ORT, OPENVINO, TFLITE, TVM];

const ORT: Source = Source {
    name: "ort",
    title: "ONNX Runtime",
    project: "onnxruntime",
    version: "1.32.0",
    library: "libonnxruntime.so.1.32.0",
    folder: "onnxruntime/capi",
    licences: &["onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"],
    wheels: &[
        Wheel {
            arch: "x86_64",
            platform: "manylinux_2_28_x86_64",
            sha256: "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
            bytes: Bytes(27_773_237),
            beside: &[],
        },
        Wheel {
            arch: "aarch64",
            platform: "manylinux_2_28_aarch64",
            sha256: "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c",
            bytes: Bytes(23_195_070),
            beside: &[],
        },
    ],
    needs: None,
};

const OPENVINO: Source = Source {
    name: "openvino",
    title: "OpenVINO",
    project: "openvino",
    version: "2026.4.1",
    library: "libopenvino_c.so.2641",
    folder: "openvino/libs",
    licences: &[
        "openvino-2026.4.1.dist-info/licenses/LICENSE",
        "openvino-2026.4.1.dist-info/licenses/licensing/onednn_third-party-programs.txt",
        "openvino-2026.4.1.dist-info/licenses/licensing/onetbb_third-party-programs.txt",
        "openvino-2026.4.1.dist-info/licenses/licensing/runtime-third-party-programs.txt",
    ],
    // Of its devices the CPU, of its formats ONNX.
    wheels: &[
        Wheel {
            arch: "x86_64",
            platform: "manylinux_2_28_x86_64",
            sha256: "2d22b1da03f7caf74df30e9f6417d0ab2f637e4a38e08e1dcd294d2c37407aaf",
            bytes: Bytes(59_130_756),
            beside: &[
                "libopenvino.so.2641",
                "libopenvino_onnx_frontend.so.2641",
                "libopenvino_intel_cpu_plugin.so",
                "libtbb.so.12",
                "libtbbmalloc.so.2",
                "libtbbbind_2_5.so.3",
                "libhwloc.so.15",
            ],
        },
        Wheel {
            arch: "aarch64",
            platform: "manylinux_2_35_aarch64",
            sha256: "bea1eb3733c34ef331adc945da0ccda5937865031139073663be84c517ffda22",
            bytes: Bytes(30_348_540),
            beside: &[
                "libopenvino.so.2641",
                "libopenvino_onnx_frontend.so.2641",
                "libopenvino_arm_cpu_plugin.so",
                "libtbb.so.12",
                "libtbbmalloc.so.2",
                "libtbbbind_2_5.so.3",
                "libhwloc.so.15",
            ],
        },
    ],
    needs: None,
};

const TFLITE: Source = Source {
    name: "tflite",
    title: "LiteRT",
    project: "ai-edge-litert",
    version: "2.3.0",
    library: "libLiteRt.so",
    folder: "ai_edge_litert",
    licences: &["ai_edge_litert-2.3.0.dist-info/licenses/LICENSE"],
    wheels: &[
        Wheel {
            arch: "x86_64",
            platform: "manylinux_2_27_x86_64",
            sha256: "1f15078a6725d2357d9de9221664c29afa0545d807559c5f7199ce5e40b96b23",
            bytes: Bytes(21_778_233),
            beside: &[],
        },
        Wheel {
            arch: "aarch64",
            platform: "manylinux_2_27_aarch64",
            sha256: "853fc608f96da87bd5f3458465dfb9abbf18d5ae6b94eceacead407146f175ae",
            bytes: Bytes(14_379_387),
            beside: &[],
        },
    ],
    needs: None,
};

const TVM: Source = Source {
    name: "tvm",
    title: "TVM",
    project: "apache-tvm",
    version: tvm_compile::VERSION,
    library: "libtvm_runtime.so",
    folder: "tvm/lib",
    licences: &["apache_tvm-0.27.0.post1.dist-info/licenses/LICENSE"],
    wheels: &[
        Wheel {
            arch: "x86_64",
            platform: "manylinux_2_28_x86_64",
            sha256: "f503fc903b6e16fda5daacac6698ecb8bc38937f57da7aa29f6c7ab169d08657",
            bytes: Bytes(100_544_100),
            beside: &[],
        },
        Wheel {
            arch: "aarch64",
            platform: "manylinux_2_28_aarch64",
            sha256: "4acfdb7653e4e1ba7a707bdf2833db72eb8fda7d04d99141f2a4e1da43171fb7",
            bytes: Bytes(94_643_021),
            beside: &[],
        },
    ],
    needs: Some(&TVM_FFI),
};

/// 0.1.15, which TVM would take, ends the process where TVM writes down what it found by a search.
static TVM_FFI: Source = Source {
    name: "tvm-ffi",
    title: "TVM's interface",
    project: "apache-tvm-ffi",
    version: tvm_compile::INTERFACE_VERSION,
    library: "libtvm_ffi.so",
    folder: "tvm_ffi/lib",
    licences: &["apache_tvm_ffi-0.1.14.post1.dist-info/licenses/NOTICE"],
    wheels: &[
        Wheel {
            arch: "x86_64",
            platform: "manylinux_2_28_x86_64",
            sha256: "4b01a5a3fa07ed3315d5ef1e05d3542dae57a119ef7e77c54bc062414e242f65",
            bytes: Bytes(3_286_429),
            beside: &[],
        },
        Wheel {
            arch: "aarch64",
            platform: "manylinux_2_28_aarch64",
            sha256: "c7a759781d4fbf2b99fa12f2741f250b882b06acc2747bb02831d491d1ac7d3c",
            bytes: Bytes(3_084_932),
            beside: &[],
        },
    ],
    needs: None,
};

/// Names of the runtimes that can be installed.
pub fn installable() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().map(|source| source.name)
}

/// What no registry has, and what brings it.
const ELSEWHERE: [(&str, &str); 1] = [("tensorrt", "NVIDIA's JetPack, or TensorRT's own package,")];

pub(super) fn source(name: &str) -> Result<&'static Source, InstallError> {
    if let Some(&(name, source_of)) = ELSEWHERE.iter().find(|(own, _)| *own == name) {
        return Err(InstallError::Elsewhere { name, source_of });
    }
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

    /// File names of the library and of those beside it.
    pub(super) fn libraries(&self, wheel: &Wheel) -> Vec<&'static str> {
        [&[self.library], wheel.beside].concat()
    }

    /// Paths in the wheel of all that is installed.
    pub(super) fn files(&self, wheel: &Wheel) -> Vec<String> {
        let libraries = self.libraries(wheel).into_iter();
        let licences = self.licences.iter().map(|&path| path.to_owned());
        libraries
            .map(|name| format!("{}/{name}", self.folder))
            .chain(licences)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use edgefront_protocol::Digest;

    use super::*;

    #[test]
    fn every_pin_is_a_digest() {
        let needed = SOURCES.iter().filter_map(|source| source.needs);
        for wheel in SOURCES.iter().chain(needed).flat_map(|source| source.wheels) {
            wheel.sha256.parse::<Digest>().unwrap();
        }
    }

    #[test]
    fn libraries_that_lie_together_are_taken_together_with_their_licences() {
        let source = source("openvino").unwrap();
        let wheel = source.wheel("aarch64").unwrap();
        let libraries = source.libraries(wheel);
        assert_eq!(libraries[..2], ["libopenvino_c.so.2641", "libopenvino.so.2641"]);
        let files = source.files(wheel);
        assert_eq!(files[3], "openvino/libs/libopenvino_arm_cpu_plugin.so");
        assert_eq!(files.len(), libraries.len() + source.licences.len());
    }

    #[test]
    fn what_cannot_be_installed_is_told_from_what_can() {
        let unknown = source("tract").unwrap_err().to_string();
        assert_eq!(
            unknown,
            "`tract` cannot be installed; there is ort, openvino, tflite, tvm"
        );
        let other = source("ort").unwrap().wheel("riscv64").unwrap_err().to_string();
        assert!(
            other.starts_with("no ONNX Runtime is known for riscv64"),
            "{other}"
        );
    }
}
