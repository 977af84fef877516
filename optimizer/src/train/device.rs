//! Where training computes: a thing of the machine, not of the recipe.

use std::fmt;
use std::str::FromStr;

use super::program::refused;
use crate::error::Error;

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use burn_cubecl::CubeDevice;

/// A device to train on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by its number.
    Cuda(usize),
    /// A GPU that is reached through Vulkan, Metal or DirectX 12, by its number.
    Wgpu(usize),
}

/// Why a device cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The program was built without it.
    #[error("this program was built without {0}; build it with `--features {0}`, or train on the cpu")]
    NotBuilt(&'static str),
    /// The machine has it not.
    #[error("there is no {device} on this machine: {why}")]
    Absent {
        /// What was asked for.
        device: Device,
        /// What is missing, with the mend.
        why: String,
    },
}

impl From<Unavailable> for Error {
    fn from(why: Unavailable) -> Self {
        refused(why.to_string())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Wgpu(index) => write!(f, "wgpu:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, index) = match text.split_once(':') {
            None => (text, Some(0)),
            Some((kind, index)) => (kind, index.parse().ok()),
        };
        match (kind, index) {
            ("cpu", Some(_)) if text == kind => Ok(Self::Cpu),
            ("cuda", Some(index)) => Ok(Self::Cuda(index)),
            ("wgpu", Some(index)) => Ok(Self::Wgpu(index)),
            _ => Err("a device is cpu, cuda or wgpu, or a further one such as cuda:1".to_owned()),
        }
    }
}

/// A device that is there.
pub(super) enum Found {
    Cpu,
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    Gpu(CubeDevice),
}

impl Device {
    /// Whether this program can train on it, on this machine.
    pub fn check(self) -> Result<(), Unavailable> {
        self.find().map(|_| ())
    }

    pub(super) fn find(self) -> Result<Found, Unavailable> {
        match self {
            Self::Cpu => Ok(Found::Cpu),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => gpu::cuda(index).map(Found::Gpu).map_err(|why| self.absent(why)),
            #[cfg(not(feature = "cuda"))]
            Self::Cuda(_) => Err(Unavailable::NotBuilt("cuda")),
            #[cfg(feature = "wgpu")]
            Self::Wgpu(index) => gpu::wgpu(index).map(Found::Gpu).map_err(|why| self.absent(why)),
            #[cfg(not(feature = "wgpu"))]
            Self::Wgpu(_) => Err(Unavailable::NotBuilt("wgpu")),
        }
    }

    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    fn absent(self, why: String) -> Unavailable {
        Unavailable::Absent { device: self, why }
    }
}

/// GPUs, or what is missing and the mend.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod gpu {
    use super::CubeDevice;

    #[cfg(feature = "cuda")]
    pub(super) fn cuda(index: usize) -> Result<CubeDevice, String> {
        use burn_cubecl::cubecl::cuda::install::cuda_path;
        use burn_cubecl::cubecl::device::DeviceUnavailable;

        let device = CubeDevice::cuda(index).map_err(|error| match error {
            DeviceUnavailable::NoSuchDevice { available, .. } if available > 0 => {
                format!("its driver knows {available}, numbered from 0")
            }
            _ => "install NVIDIA's driver, or train on the cpu".to_owned(),
        })?;
        // Kernels are compiled when they are first needed, by NVRTC with the toolkit's headers.
        match cuda_path() {
            Some(_) => Ok(device),
            None => Err("CUDA's toolkit is missing; install it, and set CUDA_PATH to where it is".to_owned()),
        }
    }

    /// The GPUs that wgpu knows, the fast ones first. A driver that computes on the processor is none, but where
    /// the environment asks for it: for tests.
    #[cfg(feature = "wgpu")]
    pub(super) fn wgpu(index: usize) -> Result<CubeDevice, String> {
        use burn_cubecl::cubecl::device::WgpuDeviceKind;

        let rank = |device: &CubeDevice| match device {
            CubeDevice::Wgpu(device) => match device.kind {
                WgpuDeviceKind::DiscreteGpu(_) => Some(0),
                WgpuDeviceKind::IntegratedGpu(_) => Some(1),
                WgpuDeviceKind::VirtualGpu(_) => Some(2),
                WgpuDeviceKind::Other(_) => Some(3),
                WgpuDeviceKind::Cpu => std::env::var_os(SOFTWARE).map(|_| 4),
                _ => None,
            },
            _ => None,
        };
        let mut found: Vec<CubeDevice> = CubeDevice::enumerate_all();
        found.retain(|device| rank(device).is_some());
        found.sort_by_key(rank);
        if found.is_empty() {
            return Err("install a Vulkan driver of its GPU, or train on the cpu".to_owned());
        }
        let count = found.len();
        let chosen = found.into_iter().nth(index);
        chosen.ok_or_else(|| format!("its drivers know {count}, numbered from 0"))
    }

    /// Names the environment's variable that lets a driver without a GPU pass for one.
    #[cfg(feature = "wgpu")]
    const SOFTWARE: &str = "EDGEFRONT_SOFTWARE_GPU";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for (text, device) in [
            ("cpu", Device::Cpu),
            ("cuda", Device::Cuda(0)),
            ("cuda:1", Device::Cuda(1)),
            ("wgpu:2", Device::Wgpu(2)),
        ] {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        for text in ["", "gpu", "cpu:0", "cuda:", "cuda:x", "CUDA"] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_processor_is_always_there() {
        assert_eq!(Device::default().check(), Ok(()));
    }

    #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
    #[test]
    fn a_device_that_the_build_lacks_is_said_with_the_mend() {
        for device in [Device::Cuda(0), Device::Wgpu(0)] {
            let said = device.check().expect_err("the build lacks it").to_string();
            assert!(said.contains("--features") && !said.contains('\n'), "{said}");
        }
    }
}
