//! The functions of OpenVINO's C API that are used.
//!
//! Declarations are those of `openvino/c/*.h` at OpenVINO 2026.4.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::ptr;

use super::words;
use crate::handle::Handle;

pub(super) type Raw = *mut c_void;
pub(super) type Status = c_int;
/// `INVALID_C_PARAM`.
pub(super) const INVALID_PARAMETER: Status = -14;

/// `ov_version_t`.
#[repr(C)]
pub(super) struct Version {
    build: *const c_char,
    description: *const c_char,
}

/// `ov_dimension_t`, from the least to the most that an extent may be.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Dimension {
    pub(super) least: i64,
    pub(super) most: i64,
}

/// `ov_partial_shape_t`.
#[repr(C)]
pub(super) struct PartialShape {
    pub(super) rank: Dimension,
    pub(super) dimensions: *mut Dimension,
}

/// `ov_shape_t`.
#[repr(C)]
pub(super) struct Shape {
    pub(super) rank: i64,
    pub(super) extents: *mut i64,
}

/// `ov_profiling_info_t`.
#[repr(C)]
pub(super) struct ProfilingInfo {
    pub(super) status: c_int,
    /// Microseconds.
    pub(super) real_time: i64,
    pub(super) cpu_time: i64,
    pub(super) node_name: *const c_char,
    pub(super) exec_type: *const c_char,
    pub(super) node_type: *const c_char,
}

/// `ov_profiling_info_list_t`.
#[repr(C)]
pub(super) struct ProfilingList {
    pub(super) infos: *mut ProfilingInfo,
    pub(super) count: usize,
}

/// `ov_core_compile_model`: pairs of names and values of properties follow.
pub(super) type CompileModel = unsafe extern "C" fn(Raw, Raw, *const c_char, usize, *mut Raw, ...) -> Status;

/// `ov_core_set_property`: pairs of names and values of properties follow.
pub(super) type SetProperty = unsafe extern "C" fn(Raw, *const c_char, ...) -> Status;

/// Declares a table of functions, each found by its name in the library.
macro_rules! functions {
    ($($field:ident: $symbol:literal ($($argument:ty),*) $(-> $result:ty)?;)*) => {
        pub(super) struct Functions {
            pub(super) compile_model: CompileModel,
            pub(super) set_property: SetProperty,
            $(pub(super) $field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Functions {
            #[expect(unsafe_code, reason = "a C library is asked")]
            fn find(library: &Handle) -> Result<Self, String> {
                Ok(Self {
                    // SAFETY: the signatures are those of OpenVINO's headers.
                    compile_model: *unsafe { library.symbol("ov_core_compile_model") }?,
                    // SAFETY: as above.
                    set_property: *unsafe { library.symbol("ov_core_set_property") }?,
                    // SAFETY: as above.
                    $($field: *unsafe { library.symbol($symbol) }?,)*
                })
            }
        }
    };
}

functions! {
    version: "ov_get_openvino_version" (*mut Version) -> Status;
    free_version: "ov_version_free" (*mut Version);
    last_error: "ov_get_last_err_msg" () -> *const c_char;
    free_text: "ov_free" (*const c_char);
    create_core: "ov_core_create" (*mut Raw) -> Status;
    free_core: "ov_core_free" (Raw);
    device_property: "ov_core_get_property" (Raw, *const c_char, *const c_char, *mut *mut c_char) -> Status;
    read_model: "ov_core_read_model" (Raw, *const c_char, *const c_char, *mut Raw) -> Status;
    free_model: "ov_model_free" (Raw);
    input_count: "ov_model_inputs_size" (Raw, *mut usize) -> Status;
    output_count: "ov_model_outputs_size" (Raw, *mut usize) -> Status;
    input_port: "ov_model_const_input_by_index" (Raw, usize, *mut Raw) -> Status;
    output_port: "ov_model_const_output_by_index" (Raw, usize, *mut Raw) -> Status;
    reshape: "ov_model_reshape_by_port_indexes" (Raw, *const usize, *const PartialShape, usize) -> Status;
    port_name: "ov_port_get_any_name" (Raw, *mut *mut c_char) -> Status;
    port_element: "ov_port_get_element_type" (Raw, *mut c_int) -> Status;
    port_shape: "ov_port_get_partial_shape" (Raw, *mut PartialShape) -> Status;
    free_partial_shape: "ov_partial_shape_free" (*mut PartialShape);
    free_port: "ov_output_const_port_free" (Raw);
    property: "ov_compiled_model_get_property" (Raw, *const c_char, *mut *mut c_char) -> Status;
    free_compiled: "ov_compiled_model_free" (Raw);
    create_request: "ov_compiled_model_create_infer_request" (Raw, *mut Raw) -> Status;
    free_request: "ov_infer_request_free" (Raw);
    input_tensor: "ov_infer_request_get_input_tensor_by_index" (Raw, usize, *mut Raw) -> Status;
    output_tensor: "ov_infer_request_get_output_tensor_by_index" (Raw, usize, *mut Raw) -> Status;
    infer: "ov_infer_request_infer" (Raw) -> Status;
    profiling: "ov_infer_request_get_profiling_info" (Raw, *mut ProfilingList) -> Status;
    free_profiling: "ov_profiling_info_list_free" (*mut ProfilingList);
    tensor_element: "ov_tensor_get_element_type" (Raw, *mut c_int) -> Status;
    tensor_shape: "ov_tensor_get_shape" (Raw, *mut Shape) -> Status;
    tensor_bytes: "ov_tensor_get_byte_size" (Raw, *mut usize) -> Status;
    tensor_data: "ov_tensor_data" (Raw, *mut Raw) -> Status;
    free_tensor: "ov_tensor_free" (Raw);
    free_shape: "ov_shape_free" (*mut Shape) -> Status;
}

/// OpenVINO, loaded. It is never unmapped: threads of its pool may still run its code.
pub(super) struct Library {
    pub(super) functions: Functions,
    path: PathBuf,
    _mapped: ManuallyDrop<Handle>,
}

impl Library {
    pub(super) fn new(mapped: Handle) -> Result<Self, String> {
        Ok(Self {
            functions: Functions::find(&mapped)?,
            path: mapped.path().to_owned(),
            _mapped: ManuallyDrop::new(mapped),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the library states, as `2026.4.1-22982-e213a147257-releases/2026/4`.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn build(&self) -> Result<String, String> {
        let mut version = Version {
            build: ptr::null(),
            description: ptr::null(),
        };
        // SAFETY: the call fills the struct or fails; its texts are read before they are freed, once.
        unsafe {
            self.checked((self.functions.version)(&raw mut version))?;
            let build = read(version.build);
            (self.functions.free_version)(&raw mut version);
            Ok(build)
        }
    }

    /// What was the matter, in the library's words.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn checked(&self, status: Status) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the function gives a text of its own or null; it is read before it is freed, once.
        let said = unsafe {
            let text = (self.functions.last_error)();
            let said = read(text);
            (self.functions.free_text)(text);
            said
        };
        Err(words::reason(&said).unwrap_or_else(|| format!("OpenVINO failed with status {status}")))
    }

    /// A handle that `make` writes and `free` frees.
    pub(super) fn owned(
        &'static self,
        free: unsafe extern "C" fn(Raw),
        make: impl FnOnce(*mut Raw) -> Status,
    ) -> Result<Owned, String> {
        let mut raw = ptr::null_mut();
        self.checked(make(&raw mut raw))?;
        if raw.is_null() {
            return Err("OpenVINO gave no handle".to_owned());
        }
        Ok(Owned {
            library: self,
            raw,
            free,
        })
    }

    /// A text that `make` writes.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn text(&self, make: impl FnOnce(*mut *mut c_char) -> Status) -> Result<String, String> {
        let mut text = ptr::null_mut();
        self.checked(make(&raw mut text))?;
        // SAFETY: the text is OpenVINO's and ends in a zero; it is read before it is freed, once.
        unsafe {
            let said = read(text);
            (self.functions.free_text)(text);
            Ok(said)
        }
    }
}

/// A copy of the text; empty where there is none.
///
/// # Safety
///
/// It must be null or end in a zero.
#[expect(unsafe_code, reason = "a C library's text is read")]
pub(super) unsafe fn read(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A handle, freed with its owner.
pub(super) struct Owned {
    pub(super) library: &'static Library,
    pub(super) raw: Raw,
    free: unsafe extern "C" fn(Raw),
}

// SAFETY: OpenVINO binds no handle to a thread; each is a pointer to an object that it shares and counts itself.
#[expect(unsafe_code, reason = "the handle is a pointer")]
unsafe impl Send for Owned {}

impl Owned {
    pub(super) fn functions(&self) -> &'static Functions {
        &self.library.functions
    }
}

impl Drop for Owned {
    #[expect(unsafe_code, reason = "a C library is called")]
    fn drop(&mut self) {
        // SAFETY: the handle is alive and freed once, by the function of its kind.
        unsafe { (self.free)(self.raw) }
    }
}

/// A slice that may be of nothing at null.
///
/// # Safety
///
/// Where `count` is not 0, that many values must lie at `start`.
#[expect(unsafe_code, reason = "a C library's memory is read")]
pub(super) unsafe fn slice<'a, T>(start: *const T, count: usize) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(start, count) }
}
