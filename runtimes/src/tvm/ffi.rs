//! The part of TVM's C interface that is used, with its objects owned.
//!
//! Declarations are those of `tvm/ffi/c_api.h` and `dlpack/dlpack.h` at TVM 0.27.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::NonNull;

use crate::handle::Handle;
use crate::line::one_line;
use crate::plain::Plain;

type Raw = *mut c_void;

/// `TVMFFITypeIndex` of what is passed and returned.
mod kind {
    pub(super) const NONE: i32 = 0;
    pub(super) const INTEGER: i32 = 1;
    pub(super) const TRUTH: i32 = 2;
    pub(super) const DATA_TYPE: i32 = 5;
    pub(super) const DEVICE: i32 = 6;
    pub(super) const TEXT: i32 = 8;
    /// From here on values are objects, which are counted.
    pub(super) const OBJECT: i32 = 64;
    pub(super) const FUNCTION: i32 = 68;
    pub(super) const SHAPE: i32 = 69;
    pub(super) const TENSOR: i32 = 70;
    pub(super) const ARRAY: i32 = 71;
    pub(super) const MODULE: i32 = 73;
}

/// `kDLCPU`.
const CPU: i32 = 1;
/// `AllocatorType::kPooled`: memory of earlier runs is used again.
const POOLED: i64 = 2;
/// `ThreadGroup::kSpecifyThreadShareAllCore`.
const SHARE_ALL: i64 = -3;
/// Bytes of `TVMFFIObject`, which stands before the content of each object.
const HEAD: usize = 24;

/// `DLDataType`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) code: u8,
    pub(super) bits: u8,
    pub(super) lanes: u16,
}

/// `DLDevice`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Device {
    kind: i32,
    index: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
union Value {
    integer: i64,
    pointer: Raw,
    text: *const c_char,
    element: Element,
    device: Device,
}

/// `TVMFFIAny`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Any {
    kind: i32,
    padding: u32,
    value: Value,
}

const _: () = assert!(size_of::<Any>() == 16, "as TVM's interface has it");

impl Any {
    const NONE: Self = Self::new(kind::NONE, Value { integer: 0 });

    const fn new(kind: i32, value: Value) -> Self {
        Self {
            kind,
            padding: 0,
            value,
        }
    }

    fn integer(integer: i64) -> Self {
        Self::new(kind::INTEGER, Value { integer })
    }

    fn truth(value: bool) -> Self {
        let integer = i64::from(value);
        Self::new(kind::TRUTH, Value { integer })
    }

    /// Of a text that outlives the call.
    fn text(text: &std::ffi::CStr) -> Self {
        let text = text.as_ptr();
        Self::new(kind::TEXT, Value { text })
    }
}

/// `TVMFFIByteArray`.
#[repr(C)]
struct ByteArray {
    data: *const u8,
    size: usize,
}

/// `DLTensor`.
#[repr(C)]
struct DlTensor {
    data: *mut u8,
    device: Device,
    rank: i32,
    element: Element,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

// TVM's runtime is published for processors of 64 bits alone.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<DlTensor>() == 48, "as DLPack's header has it");

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
                    // SAFETY: the signatures are those of TVM's header.
                    $($field: *unsafe { library.symbol($symbol) }?,)*
                })
            }
        }
    };
}

functions! {
    global: "TVMFFIFunctionGetGlobal" (*const ByteArray, *mut Raw) -> c_int;
    call: "TVMFFIFunctionCall" (Raw, *const Any, i32, *mut Any) -> c_int;
    raised: "TVMFFIErrorMoveFromRaised" (*mut Raw);
    count_up: "TVMFFIObjectIncRef" (Raw) -> c_int;
    count_down: "TVMFFIObjectDecRef" (Raw) -> c_int;
}

/// TVM's runtime, loaded. It stays until the process ends, for threads of its pool may still run its code.
pub(super) struct Api {
    functions: Functions,
    _libraries: [Handle; 2],
}

impl Api {
    /// Of `libtvm_ffi.so` and `libtvm_runtime.so`, which is loaded behind it and registers its functions there.
    pub(super) fn new(interface: Handle, runtime: Handle) -> Result<Self, String> {
        Ok(Self {
            functions: Functions::find(&interface)?,
            _libraries: [interface, runtime],
        })
    }

    /// The function that the libraries have registered under this name.
    #[expect(unsafe_code, reason = "a C library is called")]
    fn global(&'static self, name: &str) -> Result<Owned, String> {
        let bytes = ByteArray {
            data: name.as_ptr(),
            size: name.len(),
        };
        let mut raw = std::ptr::null_mut();
        // SAFETY: the name is as long as is said and outlives the call, which writes a handle, null or fails.
        let status = unsafe { (self.functions.global)(&raw const bytes, &raw mut raw) };
        self.checked(status)?;
        let object = NonNull::new(raw).ok_or_else(|| format!("TVM's runtime has no function `{name}`"))?;
        Ok(Owned { api: self, object })
    }

    /// What was the matter, in the library's words.
    #[expect(unsafe_code, reason = "a C library is called")]
    fn checked(&'static self, status: c_int) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        let mut raw = std::ptr::null_mut();
        // SAFETY: the call writes a handle that is the caller's, or null.
        unsafe { (self.functions.raised)(&raw mut raw) };
        let Some(object) = NonNull::new(raw) else {
            return Err(format!("TVM failed with status {status}"));
        };
        let error = Owned { api: self, object };
        // SAFETY: `TVMFFIErrorCell` stands behind the head of an error: two texts, the kind and the message, that live
        // as long as it.
        let message = unsafe {
            let texts = error.object.as_ptr().byte_add(HEAD).cast::<[ByteArray; 2]>();
            let message = &(&*texts)[1];
            slice(message.data, message.size)
        };
        Err(one_line(&String::from_utf8_lossy(message)))
    }

    /// Loads the shared object at `path`.
    pub(super) fn load(&'static self, path: &Path) -> Result<Module, String> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        // By its kind, for devices keep files under names without an ending.
        let load = self.global("ffi.Module.load_from_file.so")?;
        Ok(Module(
            load.call(&[Any::text(&path), Any::text(c"so")])?.object()?,
        ))
    }

    /// A tensor of this element and shape in memory that TVM allocates.
    pub(super) fn tensor(&'static self, element: Element, shape: &[usize]) -> Result<Tensor, String> {
        let extents: Result<Vec<i64>, _> = shape.iter().map(|&extent| i64::try_from(extent)).collect();
        let extents = extents.map_err(|_| format!("the shape {shape:?} is too large"))?;
        let extents: Vec<Any> = extents.into_iter().map(Any::integer).collect();
        let shape = self.global("ffi.Shape")?.call(&extents)?.object()?;
        let device = Device { kind: CPU, index: 0 };
        let made = self.global("runtime.TVMTensorAllocWithScope")?.call(&[
            shape.argument(kind::SHAPE),
            Any::new(kind::DATA_TYPE, Value { element }),
            Any::new(kind::DEVICE, Value { device }),
            Any::NONE,
        ])?;
        Tensor::of(made)
    }

    /// Has this thread compute with `threads` threads. The error is a reason in one line.
    pub(super) fn set_threads(&'static self, threads: usize) -> Result<(), String> {
        thread_local! {
            static SET: Cell<usize> = const { Cell::new(0) };
        }
        if SET.get() == threads {
            return Ok(());
        }
        // By itself TVM takes half of an x86's processors at most. Threads that share those it is told of are as many as
        // these at most.
        let processors = allowed_processors();
        let names: Vec<Any> = processors.iter().map(|name| Any::text(name)).collect();
        let list = self.global("ffi.Array")?.call(&names)?.object()?;
        self.global("runtime.config_threadpool")?.call(&[
            Any::integer(SHARE_ALL),
            Any::integer(threads as i64),
            list.argument(kind::ARRAY),
        ])?;
        let found = self.global("runtime.NumThreads")?.call(&[])?.integer()?;
        if usize::try_from(found) != Ok(threads) {
            return Err(format!(
                "{threads} threads are asked for, and TVM takes {found} on this machine"
            ));
        }
        SET.set(threads);
        Ok(())
    }
}

/// The processors on which this process may run, by number.
fn allowed_processors() -> Vec<CString> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let ranges = list.unwrap_or_default().trim().split(',').filter_map(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        Some(from.parse::<u32>().ok()?..=to.parse::<u32>().ok()?)
    });
    let named = ranges.flatten().map(|number| CString::new(number.to_string()));
    named
        .map(|name| name.expect("a number holds no zero byte"))
        .collect()
}

/// An object of TVM's, counted.
struct Owned {
    api: &'static Api,
    object: NonNull<c_void>,
}

// SAFETY: TVM counts its objects atomically and binds none to a thread; what changes one takes `&mut self`.
#[expect(unsafe_code, reason = "the handle is a pointer")]
unsafe impl Send for Owned {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "the handle is a pointer")]
unsafe impl Sync for Owned {}

impl Owned {
    /// As an argument of this kind, which it must be of.
    fn argument(&self, kind: i32) -> Any {
        let pointer = self.object.as_ptr();
        Any::new(kind, Value { pointer })
    }

    /// Calls it; it must be a function.
    #[expect(unsafe_code, reason = "a C library is called")]
    fn call(&self, arguments: &[Any]) -> Result<Returned, String> {
        let mut returned = Returned {
            api: self.api,
            any: Any::NONE,
        };
        // SAFETY: the handle is a function, the arguments are as many as is said and alive, and what is returned is
        // the caller's.
        let status = unsafe {
            (self.api.functions.call)(
                self.object.as_ptr(),
                arguments.as_ptr(),
                arguments.len() as i32,
                &raw mut returned.any,
            )
        };
        self.api.checked(status)?;
        Ok(returned)
    }
}

impl Drop for Owned {
    #[expect(unsafe_code, reason = "a C library is called")]
    fn drop(&mut self) {
        // SAFETY: the object is alive and this count of it is given back once.
        unsafe { (self.api.functions.count_down)(self.object.as_ptr()) };
    }
}

/// What a call returned.
struct Returned {
    api: &'static Api,
    any: Any,
}

impl Returned {
    #[expect(unsafe_code, reason = "a value is read by its kind")]
    fn integer(&self) -> Result<i64, String> {
        match self.any.kind {
            // SAFETY: it is one.
            kind::INTEGER => Ok(unsafe { self.any.value.integer }),
            other => Err(format!("TVM returned a value of kind {other}, and no number")),
        }
    }

    /// The object, if it is one.
    #[expect(unsafe_code, reason = "a value is read by its kind")]
    fn object(mut self) -> Result<Owned, String> {
        let object = (self.any.kind >= kind::OBJECT).then(|| {
            // SAFETY: it is an object, so it has a pointer.
            NonNull::new(unsafe { self.any.value.pointer })
        });
        let object = object.flatten().ok_or("TVM returned nothing")?;
        // It is counted in what is returned here.
        self.any = Any::NONE;
        Ok(Owned {
            api: self.api,
            object,
        })
    }
}

impl Drop for Returned {
    fn drop(&mut self) {
        if self.any.kind >= kind::OBJECT {
            let any = std::mem::replace(&mut self.any, Any::NONE);
            let whole = Self { api: self.api, any };
            drop(whole.object());
        }
    }
}

/// A shared object that was compiled by TVM.
pub(super) struct Module(Owned);

impl Module {
    /// Its function of this name.
    fn function(&self, name: &std::ffi::CStr) -> Result<Owned, String> {
        let get = self.0.api.global("ffi.ModuleGetFunction")?;
        let module = self.0.argument(kind::MODULE);
        let found = get.call(&[module, Any::text(name), Any::truth(true)])?;
        match found.any.kind {
            kind::FUNCTION => found.object(),
            _ => Err(format!("it has no function `{}`", name.to_string_lossy())),
        }
    }

    /// A machine of its own that runs it on the CPU.
    pub(super) fn machine(&self) -> Result<Machine, String> {
        let machine = self.function(c"vm_load_executable")?.call(&[])?.object()?;
        let machine = Self(machine);
        let start = machine.function(c"vm_initialization")?;
        start.call(&[
            Any::integer(i64::from(CPU)),
            Any::integer(0),
            Any::integer(POOLED),
        ])?;
        Ok(Machine {
            main: machine.function(c"main")?,
            _machine: machine,
        })
    }
}

/// TVM's machine with one executable.
pub(super) struct Machine {
    main: Owned,
    _machine: Module,
}

impl Machine {
    /// One inference. The tensors that it returns are new ones.
    pub(super) fn run(&mut self, inputs: &[Tensor]) -> Result<Outputs, String> {
        let arguments: Vec<Any> = inputs
            .iter()
            .map(|tensor| tensor.0.argument(kind::TENSOR))
            .collect();
        Ok(Outputs(self.main.call(&arguments)?))
    }
}

/// What an inference returned: a tensor, or an array of them.
pub(super) struct Outputs(Returned);

// SAFETY: objects of TVM are counted atomically and bound to no thread; these are only read.
#[expect(unsafe_code, reason = "the handle is a pointer")]
unsafe impl Send for Outputs {}

impl Outputs {
    /// The tensor of this index.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn tensor(&self, index: usize) -> Result<Tensor, String> {
        let Returned { api, any } = &self.0;
        match any.kind {
            kind::ARRAY => {
                let get = api.global("ffi.ArrayGetItem")?;
                Tensor::of(get.call(&[*any, Any::integer(index as i64)])?)
            }
            kind::TENSOR if index == 0 => {
                // SAFETY: it is an object that is alive; the count is given back by the returned value.
                unsafe { (api.functions.count_up)(any.value.pointer) };
                Tensor::of(Returned { api, any: *any })
            }
            other => Err(format!(
                "TVM returned a value of kind {other}, which has no output {index}"
            )),
        }
    }

    /// The elements of the tensor of this index, which must be of this type.
    #[expect(unsafe_code, reason = "a C library's memory is read")]
    pub(super) fn elements<T: Plain>(&self, index: usize) -> Result<&[T], String> {
        let tensor = self.tensor(index)?;
        let elements = tensor.elements();
        // SAFETY: they lie where they are as long as the tensor, which is counted in `self`, too.
        Ok(unsafe { slice(elements.as_ptr(), elements.len()) })
    }
}

/// A tensor of TVM's in the memory of the processor.
pub(super) struct Tensor(Owned);

impl Tensor {
    fn of(returned: Returned) -> Result<Self, String> {
        match returned.any.kind {
            kind::TENSOR => Ok(Self(returned.object()?)),
            other => Err(format!("TVM returned a value of kind {other}, and no tensor")),
        }
    }

    #[expect(unsafe_code, reason = "a C library's memory is read")]
    fn described(&self) -> &DlTensor {
        // SAFETY: `DLTensor` stands behind the head of a tensor and lives as long as it.
        unsafe { &*self.0.object.as_ptr().byte_add(HEAD).cast() }
    }

    pub(super) fn element(&self) -> Element {
        self.described().element
    }

    #[expect(unsafe_code, reason = "a C library's memory is read")]
    pub(super) fn shape(&self) -> Vec<usize> {
        let described = self.described();
        // SAFETY: the extents are as many as the rank says.
        let extents = unsafe { slice(described.shape, described.rank as usize) };
        extents.iter().map(|&extent| extent as usize).collect()
    }

    fn count(&self) -> usize {
        self.shape().iter().product()
    }

    /// The elements, which must be of this type; TVM's tensors are dense and in row-major order.
    #[expect(unsafe_code, reason = "a C library's memory is read")]
    pub(super) fn elements<T: Plain>(&self) -> &[T] {
        let described = self.described();
        assert_eq!(usize::from(described.element.bits), 8 * size_of::<T>());
        // SAFETY: that many elements of this width lie there as long as the tensor, and any bytes are a value.
        unsafe {
            let start = described.data.wrapping_add(described.byte_offset as usize);
            slice(start.cast(), self.count())
        }
    }

    /// As [`elements`](Self::elements), to be written. The caller must be its only owner.
    #[expect(unsafe_code, reason = "a C library's memory is written")]
    pub(super) fn write<T: Plain>(&mut self, values: &[T]) {
        let described = self.described();
        assert_eq!(usize::from(described.element.bits), 8 * size_of::<T>());
        assert_eq!(self.count(), values.len());
        let start = described.data.wrapping_add(described.byte_offset as usize);
        // SAFETY: that many elements of this width lie there, and nobody else reads or writes them meanwhile.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), start.cast::<T>(), values.len()) };
    }
}

/// A slice that may be of nothing at null.
///
/// # Safety
///
/// Where `count` is not 0, that many values must lie at `start`.
#[expect(unsafe_code, reason = "a C library's memory is read")]
unsafe fn slice<'a, T>(start: *const T, count: usize) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(start, count) }
}
