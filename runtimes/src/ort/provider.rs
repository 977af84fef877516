//! Which execution providers took the nodes of a session, as ONNX Runtime itself reports it.

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char};
use std::ptr;

use ort::AsPointer as _;
use ort::session::Session;
use ort::sys::OrtEpAssignedSubgraph;

/// The session option that makes ONNX Runtime keep the assignment; it costs nothing once the session is made.
pub(super) const RECORD: (&str, &str) = ("session.record_ep_graph_assignment_info", "1");

/// Names of the providers that some node was given to, as ONNX Runtime spells them; none where the whole graph
/// was folded into constants. The session must have been made with [`RECORD`].
#[expect(unsafe_code, reason = "the wrapper has no call for it")]
pub(super) fn providers(session: &Session) -> Result<BTreeSet<String>, ort::Error> {
    let mut subgraphs: *const *const OrtEpAssignedSubgraph = ptr::null();
    let mut count = 0;
    // SAFETY: the session is alive; the function exists since API 24, which the loaded library has, and writes
    // both of its outputs or returns an error.
    unsafe {
        let status =
            (ort::api().Session_GetEpGraphAssignmentInfo)(session.ptr(), &raw mut subgraphs, &raw mut count);
        ort::Error::result_from_status(status)?;
    }
    if subgraphs.is_null() {
        return Ok(BTreeSet::new());
    }
    // SAFETY: ONNX Runtime gave `count` pointers, which it owns as long as the session.
    let subgraphs = unsafe { std::slice::from_raw_parts(subgraphs, count) };
    subgraphs.iter().map(|&subgraph| name(subgraph)).collect()
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
