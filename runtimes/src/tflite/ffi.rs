//! The part of LiteRT's C API that is used, with its handles owned.
//!
//! Declarations are those of `litert/c/*.h` at LiteRT 2.3.

mod profiler;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use super::memory::{ALIGNMENT, Memory};
use crate::handle::Handle;
use profiler::RawEvent;

type Raw = *mut c_void;
type Status = c_int;

/// `LITERT_TENSOR_MAX_RANK`.
const MAX_RANK: usize = 8;
/// `kLiteRtHwAcceleratorCpu`.
const CPU: c_int = 1;
/// `LiteRtCpuOptions` go by this name.
const CPU_OPTIONS: &CStr = c"xnnpack";
/// `LiteRtRuntimeOptions` go by this name.
const RUNTIME_OPTIONS: &CStr = c"runtime_options_string";
/// Only the first signature is run.
const SIGNATURE: usize = 0;

/// `LiteRtLayout`. The lowest seven bits of `head` are the rank, the eighth says whether there are strides.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Layout {
    head: u32,
    dimensions: [i32; MAX_RANK],
    strides: [u32; MAX_RANK],
}

/// `LiteRtRankedTensorType`.
#[repr(C)]
struct RankedType {
    element: c_int,
    layout: Layout,
}

const _: () = assert!(size_of::<RankedType>() == 72, "as the header asserts");

/// `LiteRtEnvOption`, its value an integer.
#[repr(C)]
struct EnvironmentOption {
    tag: c_int,
    value: Any,
}

/// `LiteRtAny` of an integer, whose union is as aligned as its widest member.
#[repr(C)]
struct Any {
    kind: c_int,
    value: i64,
}

/// Declares a table of functions, each found by its name in the library.
macro_rules! functions {
    ($($field:ident: $symbol:literal ($($argument:ty),*) $(-> $result:ty)?;)*) => {
        struct Functions {
            $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Functions {
            #[expect(unsafe_code, reason = "a C library is asked")]
            fn find(library: &Handle) -> Result<Self, String> {
                Ok(Self {
                    // SAFETY: the signatures are those of LiteRT's headers at the version that `Api::new` requires.
                    $($field: *unsafe { library.symbol($symbol) }?,)*
                })
            }
        }
    };
}

functions! {
    create_environment: "LiteRtCreateEnvironment" (c_int, *const EnvironmentOption, *mut Raw) -> Status;
    create_options: "LiteRtCreateOptions" (*mut Raw) -> Status;
    destroy_options: "LiteRtDestroyOptions" (Raw);
    set_accelerators: "LiteRtSetOptionsHardwareAccelerators" (Raw, c_int) -> Status;
    create_opaque: "LiteRtCreateOpaqueOptions" (*const c_char, Raw, unsafe extern "C" fn(Raw), *mut Raw) -> Status;
    add_opaque: "LiteRtAddOpaqueOptions" (Raw, Raw) -> Status;
    model_from_buffer: "LiteRtCreateModelFromBuffer" (Raw, *const c_void, usize, *mut Raw) -> Status;
    destroy_model: "LiteRtDestroyModel" (Raw);
    create_compiled: "LiteRtCreateCompiledModel" (Raw, Raw, Raw, *mut Raw) -> Status;
    destroy_compiled: "LiteRtDestroyCompiledModel" (Raw);
    is_accelerated: "LiteRtCompiledModelIsFullyAccelerated" (Raw, *mut bool) -> Status;
    resize_input: "LiteRtCompiledModelResizeInputTensor" (Raw, usize, usize, *const c_int, usize) -> Status;
    input_layout: "LiteRtGetCompiledModelInputTensorLayout" (Raw, usize, usize, *mut Layout) -> Status;
    output_layouts: "LiteRtGetCompiledModelOutputTensorLayouts" (Raw, usize, usize, *mut Layout, bool) -> Status;
    buffer_from_memory: "LiteRtCreateTensorBufferFromHostMemory"
        (*const RankedType, Raw, usize, Option<unsafe extern "C" fn(Raw)>, *mut Raw) -> Status;
    destroy_buffer: "LiteRtDestroyTensorBuffer" (Raw);
    run: "LiteRtRunCompiledModel" (Raw, usize, usize, *const Raw, usize, *const Raw) -> Status;
    profiler: "LiteRtCompiledModelGetProfiler" (Raw, *mut Raw) -> Status;
    start_profiler: "LiteRtStartProfiler" (Raw) -> Status;
    reset_profiler: "LiteRtResetProfiler" (Raw) -> Status;
    count_events: "LiteRtGetNumProfilerEvents" (Raw, *mut c_int) -> Status;
    events: "LiteRtGetProfilerEvents" (Raw, c_int, *mut RawEvent) -> Status;
}

/// LiteRT, loaded, with its environment. It stays until the process ends.
pub(super) struct Api {
    functions: Functions,
    environment: Raw,
    /// LiteRT does not say that its environment may be used by two threads at a time.
    making: Mutex<()>,
    _library: Handle,
}

// SAFETY: the functions are code; the environment is only used while `making` is locked.
#[expect(unsafe_code, reason = "the handle is a pointer")]
unsafe impl Send for Api {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "the handle is a pointer")]
unsafe impl Sync for Api {}

/// Whether the library is a LiteRT that can be used. The error is a reason in one line.
pub(super) fn check(library: &Handle) -> Result<(), String> {
    // LiteRT states no version. Before 2.3 functions of the same names took other arguments; this one came with 2.3.
    const NEWEST: &str = "LiteRtCompiledModelIsNonCpuFullyAccelerated";
    #[expect(unsafe_code, reason = "a C library is asked")]
    // SAFETY: the function is not called.
    let newest = unsafe { library.symbol::<unsafe extern "C" fn(Raw, *mut bool) -> Status>(NEWEST) };
    newest.map(drop).map_err(|_| {
        format!(
            "{} is no LiteRT of 2.3 or newer; `edgefront runtimes install tflite` gets one",
            library.path().display()
        )
    })
}

impl Api {
    /// Makes the environment.
    pub(super) fn new(library: Handle) -> Result<Self, String> {
        check(&library)?;
        let functions = Functions::find(&library)?;
        // `kLiteRtEnvOptionTagAutoRegisterAccelerators` to the CPU's alone, so that no driver of a GPU is looked for,
        // and `kLiteRtEnvOptionTagMinLoggerSeverity` to errors. The values are of `kLiteRtAnyTypeInt`.
        let option = |tag, value| EnvironmentOption {
            tag,
            value: Any { kind: 2, value },
        };
        let options = [option(24, i64::from(CPU)), option(25, 3)];
        let mut environment = ptr::null_mut();
        #[expect(unsafe_code, reason = "a C library is called")]
        // SAFETY: the options are as many as is said and outlive the call, which writes the handle or fails.
        let status = unsafe {
            (functions.create_environment)(options.len() as c_int, options.as_ptr(), &raw mut environment)
        };
        checked(status, "make its environment")?;
        Ok(Self {
            functions,
            environment,
            making: Mutex::new(()),
            _library: library,
        })
    }
}

/// A model, verified, and made ready to run.
pub(super) struct Compiled {
    api: &'static Api,
    raw: Raw,
    model: Raw,
    /// To which the other two refer.
    file: Memory,
}

// SAFETY: LiteRT binds no handle to a thread; each call that changes anything takes `&mut self`.
#[expect(unsafe_code, reason = "the handles are pointers")]
unsafe impl Send for Compiled {}

impl Compiled {
    /// Loads `file`, to run on the CPU as `asked` says. Before this, every index in the file must have been checked:
    /// LiteRT checks the rest.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn new(api: &'static Api, file: Memory, asked: Asked) -> Result<Self, String> {
        let functions = &api.functions;
        let mut made = Self {
            api,
            raw: ptr::null_mut(),
            model: ptr::null_mut(),
            file,
        };
        // Locked after that is there, so that it is free again when a failure drops it.
        let _making = api.making.lock().unwrap_or_else(PoisonError::into_inner);
        let options = Options::new(api, asked)?;
        let (start, length) = (made.file.start().cast_const().cast(), made.file.len());
        // SAFETY: the memory lies where it is as long as `made`, which destroys the handle before it.
        let status =
            unsafe { (functions.model_from_buffer)(api.environment, start, length, &raw mut made.model) };
        checked(status, "read it")?;
        // SAFETY: environment, model and options are alive; the options are not kept.
        let status = unsafe {
            (functions.create_compiled)(api.environment, made.model, options.raw, &raw mut made.raw)
        };
        checked(
            status,
            "make it ready to run; what it says of it stands on its standard error",
        )?;
        Ok(made)
    }

    /// Whether delegates, of which the CPU has XNNPACK alone, took every operator.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn is_accelerated(&self) -> Result<bool, String> {
        let mut accelerated = false;
        // SAFETY: the handle is alive and the result outlives the call.
        let status = unsafe { (self.api.functions.is_accelerated)(self.raw, &raw mut accelerated) };
        checked(status, "tell who took its operators")?;
        Ok(accelerated)
    }

    /// Gives an input another shape; open axes alone can change.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn resize(&mut self, input: usize, shape: &[usize]) -> Result<(), String> {
        let extents: Result<Vec<c_int>, _> = shape.iter().map(|&extent| c_int::try_from(extent)).collect();
        let extents = extents.map_err(|_| format!("the shape {shape:?} is too large"))?;
        // SAFETY: the handle is alive, the extents are as many as is said and are copied.
        let status = unsafe {
            (self.api.functions.resize_input)(self.raw, SIGNATURE, input, extents.as_ptr(), extents.len())
        };
        checked(status, &format!("give input {input} the shape {shape:?}"))
    }

    /// The shape that an input has.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn input_shape(&self, input: usize) -> Result<Vec<usize>, String> {
        let mut layout = Layout::default();
        // SAFETY: the handle is alive and the result outlives the call.
        let status =
            unsafe { (self.api.functions.input_layout)(self.raw, SIGNATURE, input, &raw mut layout) };
        checked(status, &format!("tell the shape of input {input}"))?;
        extents(&layout)
    }

    /// The shapes that `count` outputs have once the inputs have theirs.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn output_shapes(&mut self, count: usize) -> Result<Vec<Vec<usize>>, String> {
        let mut layouts = vec![Layout::default(); count];
        // SAFETY: the handle is alive, and the layouts are as many as is said.
        let status = unsafe {
            (self.api.functions.output_layouts)(self.raw, SIGNATURE, count, layouts.as_mut_ptr(), true)
        };
        checked(status, "tell the shapes of its outputs")?;
        layouts.iter().map(extents).collect()
    }

    /// One inference, from `inputs` into `outputs`.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn run(&mut self, inputs: &[Buffer], outputs: &mut [Buffer]) -> Result<(), String> {
        let raw = |buffers: &[Buffer]| -> Vec<Raw> { buffers.iter().map(|buffer| buffer.raw).collect() };
        let (inputs, outputs) = (raw(inputs), raw(outputs));
        // SAFETY: all handles are alive; LiteRT compares their numbers and sizes with what the model has, reads the
        // memory of the inputs and writes that of the outputs, which are borrowed for as long.
        let status = unsafe {
            (self.api.functions.run)(
                self.raw,
                SIGNATURE,
                inputs.len(),
                inputs.as_ptr(),
                outputs.len(),
                outputs.as_ptr(),
            )
        };
        checked(status, "run")
    }
}

impl Drop for Compiled {
    #[expect(unsafe_code, reason = "a C library is called")]
    fn drop(&mut self) {
        let _making = self.api.making.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: each handle is null or alive and destroyed once, the one that refers to the other first.
        unsafe {
            if !self.raw.is_null() {
                (self.api.functions.destroy_compiled)(self.raw);
            }
            if !self.model.is_null() {
                (self.api.functions.destroy_model)(self.model);
            }
        }
    }
}

/// What is asked of LiteRT, in its TOML.
pub(super) struct Asked {
    /// How the CPU computes.
    pub(super) cpu: CString,
    /// Whether the operators of its inferences are timed.
    pub(super) profile: bool,
}

struct Options {
    api: &'static Api,
    raw: Raw,
}

impl Options {
    #[expect(unsafe_code, reason = "a C library is called")]
    fn new(api: &'static Api, asked: Asked) -> Result<Self, String> {
        let functions = &api.functions;
        let mut made = Self {
            api,
            raw: ptr::null_mut(),
        };
        // SAFETY: the call writes the handle or fails.
        let status = unsafe { (functions.create_options)(&raw mut made.raw) };
        checked(status, "make options")?;
        // SAFETY: the handle is alive.
        let status = unsafe { (functions.set_accelerators)(made.raw, CPU) };
        checked(status, "choose the CPU")?;
        made.add(CPU_OPTIONS, asked.cpu)?;
        if asked.profile {
            made.add(RUNTIME_OPTIONS, c"enable_profiling = true\n".to_owned())?;
        }
        Ok(made)
    }

    /// Adds the options of this name.
    #[expect(unsafe_code, reason = "a C library is called")]
    fn add(&mut self, name: &CStr, text: CString) -> Result<(), String> {
        /// Frees what [`CString::into_raw`] gave away.
        unsafe extern "C" fn free(text: Raw) {
            // SAFETY: LiteRT calls it once, with the pointer that it was given.
            drop(unsafe { CString::from_raw(text.cast()) });
        }
        let functions = &self.api.functions;
        let what = format!("options `{}`", name.to_string_lossy());
        let mut opaque = ptr::null_mut();
        // SAFETY: name and text end in zeros; the text lives until LiteRT calls `free`.
        let status = unsafe {
            (functions.create_opaque)(name.as_ptr(), text.into_raw().cast(), free, &raw mut opaque)
        };
        checked(status, &format!("make {what}"))?;
        // SAFETY: both handles are alive; the first owns the second from here on.
        let status = unsafe { (functions.add_opaque)(self.raw, opaque) };
        checked(status, &format!("take {what}"))
    }
}

impl Drop for Options {
    #[expect(unsafe_code, reason = "a C library is called")]
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: the handle is alive and destroyed once.
            unsafe { (self.api.functions.destroy_options)(self.raw) }
        }
    }
}

/// Memory of ours that LiteRT reads or writes as a tensor.
pub(super) struct Buffer {
    api: &'static Api,
    raw: Raw,
    pub(super) memory: Memory,
}

// SAFETY: LiteRT binds no handle to a thread, and a buffer of host memory has no other state than it.
#[expect(unsafe_code, reason = "the handle is a pointer")]
unsafe impl Send for Buffer {}

impl Buffer {
    /// A tensor of zeros. `element` is a `LiteRtElementType` of `size` bytes.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn new(
        api: &'static Api,
        element: c_int,
        size: usize,
        shape: &[usize],
    ) -> Result<Self, String> {
        let too_large = || format!("the shape {shape:?} is too large");
        if shape.len() > MAX_RANK {
            return Err(format!("the shape {shape:?} has more than {MAX_RANK} axes"));
        }
        let mut layout = Layout {
            head: shape.len() as u32,
            ..Layout::default()
        };
        for (dimension, &extent) in layout.dimensions.iter_mut().zip(shape) {
            *dimension = i32::try_from(extent).map_err(|_| too_large())?;
        }
        let length = shape
            .iter()
            .try_fold(size, |bytes, &extent| bytes.checked_mul(extent));
        let memory = length.and_then(Memory::zeros).ok_or_else(too_large)?;
        let kind = RankedType { element, layout };
        let mut raw = ptr::null_mut();
        debug_assert!(memory.start().addr().is_multiple_of(ALIGNMENT));
        // SAFETY: the type is copied; the memory lies where it is as long as the buffer, which destroys the handle
        // before it, is longer than is said and freed by none but us.
        let status = unsafe {
            (api.functions.buffer_from_memory)(
                &raw const kind,
                memory.start().cast(),
                memory.len(),
                None,
                &raw mut raw,
            )
        };
        checked(status, &format!("take memory of the shape {shape:?}"))?;
        Ok(Self { api, raw, memory })
    }
}

impl Drop for Buffer {
    #[expect(unsafe_code, reason = "a C library is called")]
    fn drop(&mut self) {
        // SAFETY: the handle is alive and destroyed once, before its memory.
        unsafe { (self.api.functions.destroy_buffer)(self.raw) }
    }
}

fn extents(layout: &Layout) -> Result<Vec<usize>, String> {
    let rank = (layout.head & 0x7f) as usize;
    let dimensions = layout
        .dimensions
        .get(..rank)
        .ok_or("LiteRT tells a rank above 8")?;
    dimensions
        .iter()
        .map(|&extent| usize::try_from(extent).map_err(|_| format!("LiteRT leaves {dimensions:?} open")))
        .collect()
}

fn checked(status: Status, what: &str) -> Result<(), String> {
    match status {
        0 => Ok(()),
        status => Err(format!("LiteRT did not {what} ({})", name(status))),
    }
}

/// `LiteRtStatus` in words.
fn name(status: Status) -> String {
    let words = match status {
        1 => "invalid argument",
        2 => "no memory",
        3 => "runtime failure",
        4 => "missing input",
        5 => "unsupported",
        6 => "not found",
        500 => "file cannot be read",
        501 => "the file does not follow its schema",
        504 => "compilation failed",
        other => return format!("status {other}"),
    };
    words.to_owned()
}
