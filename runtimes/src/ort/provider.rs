//! Execution providers: which ones a library holds, how each is asked for, and which took the nodes of a session, as
//! ONNX Runtime itself reports it.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int};
use std::num::NonZeroUsize;
use std::path::Path;
use std::ptr;

use ort::AsPointer as _;
use ort::ep::{self, ExecutionProviderDispatch};
use ort::session::Session;
use ort::sys::{OrtApi, OrtEpAssignedNode, OrtEpAssignedSubgraph};

use crate::handle::Handle;
use crate::{Error, Options, port};

use super::version::api;
use super::{NAME, tensorrt};

/// The session option that makes ONNX Runtime keep the assignment; it costs nothing once the session is made.
pub(super) const RECORD: (&str, &str) = ("session.record_ep_graph_assignment_info", "1");

pub(super) const TENSORRT: &str = "tensorrt";

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    Cpu,
    Xnnpack,
    OneDnn,
    OpenVino,
    Cuda,
    TensorRt,
}

impl Provider {
    /// Our names, and ONNX Runtime's.
    const ALL: [(&str, &str, Self); 6] = [
        (port::CPU, "CPUExecutionProvider", Self::Cpu),
        ("xnnpack", "XnnpackExecutionProvider", Self::Xnnpack),
        ("onednn", "DnnlExecutionProvider", Self::OneDnn),
        ("openvino", "OpenVINOExecutionProvider", Self::OpenVino),
        ("cuda", "CUDAExecutionProvider", Self::Cuda),
        (TENSORRT, "TensorrtExecutionProvider", Self::TensorRt),
    ];

    pub(super) fn named(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.iter().find(|(own, ..)| *own == name);
        found.map(|&(.., provider)| provider).ok_or_else(|| {
            let known = Self::ALL.map(|(own, ..)| own).join(", ");
            refused(name, format!("it is one of {known}"))
        })
    }

    fn names(self) -> (&'static str, &'static str) {
        let found = Self::ALL.iter().find(|(.., provider)| *provider == self);
        found
            .map(|&(own, theirs, _)| (own, theirs))
            .expect("invariant: every provider is listed")
    }

    /// How ONNX Runtime, from this library, is asked for it to load `model`; `None` for the CPU's, which is always there.
    /// The error is one line.
    pub(super) fn dispatch(
        self,
        model: &Path,
        library: &Path,
        options: &Options,
    ) -> Result<Option<ExecutionProviderDispatch>, String> {
        let threads = NonZeroUsize::new(options.threads).unwrap_or(NonZeroUsize::MIN);
        let asked = match self {
            Self::Cpu => return Ok(None),
            Self::Xnnpack => ep::XNNPACK::default().with_intra_op_num_threads(threads).build(),
            Self::OneDnn => ep::OneDNN::default().build(),
            // Else it computes float32 in bf16 where the processor has that.
            Self::OpenVino => ep::OpenVINO::default()
                .with_device_type("CPU")
                .with_precision("ACCURACY")
                .with_num_threads(options.threads)
                .with_num_streams(1)
                .build(),
            // Tensor cores would round float32 to 10 bits.
            Self::Cuda => ep::CUDA::default().with_tf32(false).build(),
            Self::TensorRt => tensorrt::dispatch(model, library, options)?,
        };
        Ok(Some(asked.error_on_failure()))
    }

    /// Where it may not compute as the file says, what it does instead.
    pub(super) fn remark(self) -> Option<&'static str> {
        (self == Self::TensorRt).then_some(tensorrt::REMARK)
    }

    /// The threads of ONNX Runtime's own pool: a provider with one of its own would fight for the cores.
    pub(super) fn own_threads(self, options: &Options) -> usize {
        match self {
            Self::Xnnpack | Self::OpenVino => 1,
            _ => options.threads,
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

/// Those of our providers that the library was built with; whether one can be used here shows when it is asked for.
pub(super) fn held(library: &Handle) -> Result<Vec<&'static str>, String> {
    let listed = listed(api(library)?)?;
    let ours = Provider::ALL.iter();
    let held = ours.filter(|(_, theirs, _)| listed.iter().any(|name| name == theirs));
    Ok(held.map(|(own, ..)| *own).collect())
}

#[expect(unsafe_code, reason = "a C library is asked")]
fn listed(api: &OrtApi) -> Result<Vec<String>, String> {
    let mut names: *mut *mut c_char = ptr::null_mut();
    let mut count: c_int = 0;
    // SAFETY: the function writes both of its outputs or returns an error.
    unsafe {
        let status = (api.GetAvailableProviders)(&raw mut names, &raw mut count);
        if !status.0.is_null() {
            (api.ReleaseStatus)(status.0);
            return Err("it does not tell its providers".to_owned());
        }
    }
    let length = usize::try_from(count).unwrap_or(0);
    if names.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: ONNX Runtime gave `count` null-terminated texts, which it takes back once, after they are copied.
    unsafe {
        let texts = std::slice::from_raw_parts(names, length);
        let copied = texts
            .iter()
            .map(|&text| CStr::from_ptr(text).to_string_lossy().into_owned());
        let copied = copied.collect();
        let status = (api.ReleaseAvailableProviders)(names, count);
        if !status.0.is_null() {
            (api.ReleaseStatus)(status.0);
        }
        Ok(copied)
    }
}

/// How many nodes each provider took, under ONNX Runtime's names; empty where the whole graph was folded into
/// constants.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Assignment(BTreeMap<String, usize>);

impl Assignment {
    /// That of a session which was made with [`RECORD`].
    #[expect(unsafe_code, reason = "the wrapper has no call for it")]
    pub(super) fn of(session: &Session) -> Result<Self, ort::Error> {
        let mut subgraphs: *const *const OrtEpAssignedSubgraph = ptr::null();
        let mut count = 0;
        // SAFETY: the session is alive; the function exists since API 24, which the loaded library has, and writes
        // both of its outputs or returns an error.
        unsafe {
            let status = (ort::api().Session_GetEpGraphAssignmentInfo)(
                session.ptr(),
                &raw mut subgraphs,
                &raw mut count,
            );
            ort::Error::result_from_status(status)?;
        }
        if subgraphs.is_null() {
            return Ok(Self::default());
        }
        // SAFETY: ONNX Runtime gave `count` pointers, which it owns as long as the session.
        let subgraphs = unsafe { std::slice::from_raw_parts(subgraphs, count) };
        let mut nodes = BTreeMap::new();
        for &subgraph in subgraphs {
            *nodes.entry(name(subgraph)?).or_default() += size(subgraph)?;
        }
        Ok(Self(nodes))
    }

    /// What readers must know of who computes, if the provider is not alone; an error where it took nothing, or where
    /// one took nodes that was not asked for.
    pub(super) fn check(&self, provider: Provider) -> Result<Option<String>, String> {
        let ((own, theirs), (_, cpu)) = (provider.names(), Provider::Cpu.names());
        if let Some(other) = self.0.keys().find(|name| *name != theirs && *name != cpu) {
            return Err(format!("{other} took nodes instead of `{own}`"));
        }
        let nodes = |name: &str| self.0.get(name).copied().unwrap_or(0);
        match (nodes(theirs), nodes(cpu)) {
            (_, 0) => Ok(None),
            _ if provider == Provider::Cpu => Ok(None),
            (0, _) => Err("it took no node of the model, which the CPU would compute alone".to_owned()),
            (taken, left) => Ok(Some(format!(
                "`{own}` took {taken} of {} nodes; the CPU's provider computes the others",
                taken + left
            ))),
        }
    }
}

#[expect(unsafe_code, reason = "the wrapper has no call for it")]
fn name(subgraph: *const OrtEpAssignedSubgraph) -> Result<String, ort::Error> {
    let mut name: *const c_char = ptr::null();
    // SAFETY: the pointer is one of the session's own; the name is null-terminated and lives as long as it.
    unsafe {
        let status = (ort::api().EpAssignedSubgraph_GetEpName)(subgraph, &raw mut name);
        ort::Error::result_from_status(status)?;
        Ok(CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// Number of the nodes of a subgraph.
#[expect(unsafe_code, reason = "the wrapper has no call for it")]
fn size(subgraph: *const OrtEpAssignedSubgraph) -> Result<usize, ort::Error> {
    let mut nodes: *const *const OrtEpAssignedNode = ptr::null();
    let mut count = 0;
    // SAFETY: the pointer is one of the session's own; the function writes both of its outputs or returns an error.
    unsafe {
        let status = (ort::api().EpAssignedSubgraph_GetNodes)(subgraph, &raw mut nodes, &raw mut count);
        ort::Error::result_from_status(status)?;
    }
    Ok(count)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn assignment(nodes: &[(&str, usize)]) -> Assignment {
        Assignment(
            nodes
                .iter()
                .map(|&(name, count)| (name.to_owned(), count))
                .collect(),
        )
    }

    #[test]
    fn every_provider_has_a_name_and_others_are_refused() {
        for (own, _, provider) in Provider::ALL {
            assert_eq!(Provider::named(own).unwrap(), provider);
        }
        let error = Provider::named("coreml").unwrap_err().to_string();
        assert_eq!(
            error,
            "runtime `ort` cannot use provider `coreml`: it is one of cpu, xnnpack, onednn, openvino, cuda, tensorrt"
        );
    }

    #[test]
    fn who_did_not_take_the_model_is_not_reported_as_who_did() {
        let (cpu, cuda) = ("CPUExecutionProvider", "CUDAExecutionProvider");
        let none = assignment(&[(cpu, 12)]);
        assert!(none.check(Provider::Cuda).unwrap_err().contains("took no node"));
        assert_eq!(none.check(Provider::Cpu), Ok(None));
        let some = assignment(&[(cpu, 2), (cuda, 10)]);
        let remark = some.check(Provider::Cuda).unwrap().unwrap();
        assert_eq!(
            remark,
            "`cuda` took 10 of 12 nodes; the CPU's provider computes the others"
        );
        let other = some.check(Provider::Cpu).unwrap_err();
        assert_eq!(other, "CUDAExecutionProvider took nodes instead of `cpu`");
        assert_eq!(assignment(&[(cuda, 12)]).check(Provider::Cuda), Ok(None));
        assert_eq!(assignment(&[]).check(Provider::Cuda), Ok(None));
    }
}
