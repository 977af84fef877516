//! Models and what they run on, each the owner of a handle of OpenVINO's C API.

use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::time::Duration;

use super::library::{
    Dimension, INVALID_PARAMETER, Library, Owned, PartialShape, ProfilingList, Raw, Shape, Status, read,
    slice,
};
use crate::plain::Plain;

/// Of the devices the CPU alone is used.
const DEVICE: &CStr = c"CPU";

/// OpenVINO's core, which holds its devices.
pub(super) struct Core(Owned);

// SAFETY: OpenVINO states that one core may be used by several threads.
#[expect(unsafe_code, reason = "the handle is a pointer")]
unsafe impl Sync for Core {}

impl Core {
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn new(library: &'static Library) -> Result<Self, String> {
        let functions = &library.functions;
        // SAFETY: the call writes the handle or fails.
        let core = library.owned(functions.free_core, |raw| unsafe { (functions.create_core)(raw) })?;
        Ok(Self(core))
    }

    pub(super) fn library(&self) -> &'static Library {
        self.0.library
    }

    /// Whether the device for this processor takes a property as it is given; what it cannot do it passes over. Loads
    /// the device.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn takes(&self, name: &CStr, value: &CStr) -> Result<bool, String> {
        let (library, functions) = (self.0.library, self.0.functions());
        // SAFETY: the handle is alive, the name is one and has one value, all end in zeros and are copied.
        library.checked(unsafe {
            (functions.set_property)(self.0.raw, DEVICE.as_ptr(), name.as_ptr(), value.as_ptr())
        })?;
        // SAFETY: the handle is alive, and the names end in zeros.
        let found = library.text(|text| unsafe {
            (functions.device_property)(self.0.raw, DEVICE.as_ptr(), name.as_ptr(), text)
        })?;
        Ok(found.as_bytes() == value.to_bytes())
    }

    /// Reads the file at `path`, with what lies in other files beside it.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn read(&self, path: &Path) -> Result<Network, String> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        let functions = self.0.functions();
        // SAFETY: the handle is alive, and the path ends in a zero.
        let network = self.0.library.owned(functions.free_model, |raw| unsafe {
            (functions.read_model)(self.0.raw, path.as_ptr(), ptr::null(), raw)
        })?;
        Ok(Network(network))
    }

    /// Makes the network ready to run with these properties.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn compile(
        &self,
        network: &Network,
        properties: [(&CStr, &CStr); 7],
    ) -> Result<Compiled, String> {
        let functions = self.0.functions();
        let all = properties.map(|(name, value)| (name.as_ptr(), value.as_ptr()));
        let texts = 2 * properties.len();
        // SAFETY: the handles are alive, the texts are as many as is said, end in zeros and are copied.
        let compiled = self.0.library.owned(functions.free_compiled, |raw| unsafe {
            (functions.compile_model)(
                self.0.raw,
                network.0.raw,
                DEVICE.as_ptr(),
                texts,
                raw,
                all[0].0,
                all[0].1,
                all[1].0,
                all[1].1,
                all[2].0,
                all[2].1,
                all[3].0,
                all[3].1,
                all[4].0,
                all[4].1,
                all[5].0,
                all[5].1,
                all[6].0,
                all[6].1,
            )
        })?;
        Ok(Compiled(compiled))
    }
}

/// A model as it was read.
pub(super) struct Network(Owned);

/// An input or output of a model.
pub(super) struct Interface {
    pub(super) name: String,
    /// `ov_element_type_e`.
    pub(super) element: c_int,
    /// `None` where there is no telling how many axes it has.
    pub(super) axes: Option<Vec<Option<usize>>>,
}

impl Network {
    pub(super) fn inputs(&self) -> Result<Vec<Interface>, String> {
        self.ports(self.0.functions().input_count, self.0.functions().input_port)
    }

    pub(super) fn outputs(&self) -> Result<Vec<Interface>, String> {
        self.ports(self.0.functions().output_count, self.0.functions().output_port)
    }

    #[expect(unsafe_code, reason = "a C library is called")]
    fn ports(
        &self,
        count: unsafe extern "C" fn(Raw, *mut usize) -> Status,
        port: unsafe extern "C" fn(Raw, usize, *mut Raw) -> Status,
    ) -> Result<Vec<Interface>, String> {
        let library = self.0.library;
        let mut ports = 0;
        // SAFETY: the handle is alive and the result outlives the call.
        library.checked(unsafe { count(self.0.raw, &raw mut ports) })?;
        let interface = |index| {
            // SAFETY: the handle is alive, and there are as many.
            let made = library.owned(library.functions.free_port, |raw| unsafe {
                port(self.0.raw, index, raw)
            });
            interface(&made?)
        };
        (0..ports).map(interface).collect()
    }

    /// Gives every input its shape.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn reshape<'a>(&mut self, shapes: impl Iterator<Item = &'a [usize]>) -> Result<(), String> {
        let fixed = |extent: usize| Dimension {
            least: extent as i64,
            most: extent as i64,
        };
        let mut dimensions: Vec<Vec<Dimension>> = shapes
            .map(|shape| shape.iter().map(|&extent| fixed(extent)).collect())
            .collect();
        let shapes: Vec<PartialShape> = dimensions
            .iter_mut()
            .map(|dimensions| PartialShape {
                rank: fixed(dimensions.len()),
                dimensions: dimensions.as_mut_ptr(),
            })
            .collect();
        let indices: Vec<usize> = (0..shapes.len()).collect();
        // SAFETY: the handle is alive; indices and shapes are as many as is said, and are copied.
        self.0.library.checked(unsafe {
            (self.0.functions().reshape)(self.0.raw, indices.as_ptr(), shapes.as_ptr(), shapes.len())
        })
    }
}

#[expect(unsafe_code, reason = "a C library is called")]
fn interface(port: &Owned) -> Result<Interface, String> {
    let (library, functions) = (port.library, port.functions());
    let mut element = 0;
    let mut shape = PartialShape {
        rank: Dimension { least: 0, most: 0 },
        dimensions: ptr::null_mut(),
    };
    // SAFETY: the handle is alive and the results outlive the calls. A shape whose rank is known has as many
    // dimensions; they are read before they are freed, once.
    unsafe {
        let name = library.text(|text| (functions.port_name)(port.raw, text))?;
        library.checked((functions.port_element)(port.raw, &raw mut element))?;
        library.checked((functions.port_shape)(port.raw, &raw mut shape))?;
        let rank = usize::try_from(shape.rank.least).unwrap_or(0);
        let is_known = shape.rank.least == shape.rank.most && (rank == 0 || !shape.dimensions.is_null());
        let axes = is_known.then(|| {
            slice(shape.dimensions.cast_const(), rank)
                .iter()
                .map(extent)
                .collect()
        });
        (functions.free_partial_shape)(&raw mut shape);
        Ok(Interface { name, element, axes })
    }
}

/// The one that it can be, if there is but one.
fn extent(dimension: &Dimension) -> Option<usize> {
    let is_fixed = dimension.least == dimension.most;
    usize::try_from(dimension.least).ok().filter(|_| is_fixed)
}

/// A model, made ready to run.
pub(super) struct Compiled(Owned);

// SAFETY: OpenVINO states that several threads may make requests of one compiled model.
#[expect(unsafe_code, reason = "the handle is a pointer")]
unsafe impl Sync for Compiled {}

impl Compiled {
    /// The property as it took effect.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn property(&self, name: &CStr) -> Result<String, String> {
        // SAFETY: the handle is alive, and the name ends in a zero.
        self.0
            .library
            .text(|text| unsafe { (self.0.functions().property)(self.0.raw, name.as_ptr(), text) })
    }

    /// Inputs and outputs of one caller.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn request(&self) -> Result<Request, String> {
        let functions = self.0.functions();
        // SAFETY: the handle is alive.
        let request = self.0.library.owned(functions.free_request, |raw| unsafe {
            (functions.create_request)(self.0.raw, raw)
        })?;
        Ok(Request(request))
    }
}

/// What OpenVINO counted of a node.
pub(super) struct Counted {
    pub(super) name: String,
    /// `Convolution`.
    pub(super) operator: String,
    /// Of all inferences since the model was made ready.
    pub(super) mean: Duration,
}

/// Inputs and outputs of one caller, in memory of OpenVINO's. It keeps the model.
pub(super) struct Request(Owned);

impl Request {
    /// One inference.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn infer(&mut self) -> Result<(), String> {
        // SAFETY: the handle is alive and nobody else uses it.
        self.0
            .library
            .checked(unsafe { (self.0.functions().infer)(self.0.raw) })
    }

    /// What was counted of the nodes that ran, in their order. The model was made ready with `PERF_COUNT`.
    #[expect(unsafe_code, reason = "a C library is called")]
    pub(super) fn counted(&self) -> Result<Vec<Counted>, String> {
        /// `EXECUTED`.
        const EXECUTED: c_int = 2;
        let (library, functions) = (self.0.library, self.0.functions());
        let mut list = ProfilingList {
            infos: ptr::null_mut(),
            count: 0,
        };
        // SAFETY: the handle is alive and the result outlives the call, which writes as many as it says; they and their
        // texts, which end in zeros, are read before they are freed, once.
        unsafe {
            library.checked((functions.profiling)(self.0.raw, &raw mut list))?;
            let infos = slice(list.infos.cast_const(), list.count);
            let ran = infos.iter().filter(|info| info.status == EXECUTED);
            let counted = ran.map(|info| Counted {
                name: read(info.node_name),
                operator: read(info.node_type),
                mean: Duration::from_micros(u64::try_from(info.real_time).unwrap_or(0)),
            });
            let counted = counted.collect();
            (functions.free_profiling)(&raw mut list);
            Ok(counted)
        }
    }

    /// Sets the input of this index, whose type and number of elements must be those of `values`.
    #[expect(unsafe_code, reason = "a C library's memory is written")]
    pub(super) fn write<T: Plain>(&mut self, index: usize, values: &[T]) -> Result<(), String> {
        let input = self.tensor(self.0.functions().input_tensor, index)?;
        if input.bytes != size_of_val(values) {
            return Err(format!(
                "input {index} has {} bytes, {} are given",
                input.bytes,
                size_of_val(values)
            ));
        }
        // SAFETY: as many bytes lie at both, apart from each other, and the request is borrowed by nobody else.
        unsafe { ptr::copy_nonoverlapping(values.as_ptr().cast::<u8>(), input.start.cast(), input.bytes) };
        Ok(())
    }

    /// Where the output of this index was written.
    pub(super) fn output(&self, index: usize) -> Result<Lent<'_>, String> {
        self.tensor(self.0.functions().output_tensor, index)
    }

    #[expect(unsafe_code, reason = "a C library is called")]
    fn tensor(
        &self,
        get: unsafe extern "C" fn(Raw, usize, *mut Raw) -> Status,
        index: usize,
    ) -> Result<Lent<'_>, String> {
        let (library, functions) = (self.0.library, self.0.functions());
        // SAFETY: the handle is alive; OpenVINO checks the index.
        let tensor = library.owned(functions.free_tensor, |raw| unsafe {
            get(self.0.raw, index, raw)
        })?;
        let (mut element, mut bytes, mut start) = (0, 0, ptr::null_mut());
        let mut shape = Shape {
            rank: 0,
            extents: ptr::null_mut(),
        };
        // SAFETY: the handle is alive and the results outlive the calls. The extents are as many as the rank says,
        // are read before they are freed, once. The memory is the request's and outlives the tensor's handle.
        let extents = unsafe {
            library.checked((functions.tensor_element)(tensor.raw, &raw mut element))?;
            library.checked((functions.tensor_bytes)(tensor.raw, &raw mut bytes))?;
            library.checked((functions.tensor_data)(tensor.raw, &raw mut start))?;
            match (functions.tensor_shape)(tensor.raw, &raw mut shape) {
                // OpenVINO makes no shape without axes; as the handles are good, a scalar is all that this can be.
                INVALID_PARAMETER => {}
                status => library.checked(status)?,
            }
            let rank = usize::try_from(shape.rank).unwrap_or(0);
            let extents = slice(shape.extents.cast_const(), rank).to_vec();
            (functions.free_shape)(&raw mut shape);
            extents
        };
        Ok(Lent {
            element,
            shape: extents
                .iter()
                .map(|&extent| usize::try_from(extent).unwrap_or(0))
                .collect(),
            start,
            bytes,
            request: PhantomData,
        })
    }
}

/// A tensor in the memory of a request.
pub(super) struct Lent<'a> {
    /// `ov_element_type_e`.
    pub(super) element: c_int,
    pub(super) shape: Vec<usize>,
    start: Raw,
    bytes: usize,
    request: PhantomData<&'a Request>,
}

impl<'a> Lent<'a> {
    /// The elements, dense and in row-major order.
    #[expect(unsafe_code, reason = "bytes are seen as numbers")]
    pub(super) fn elements<T: Plain>(&self) -> &'a [T] {
        assert!(
            self.start.addr().is_multiple_of(align_of::<T>()),
            "OpenVINO aligns to 64 bytes"
        );
        // SAFETY: that many lie there, aligned, any bytes are a value, and nobody writes while the request is borrowed.
        unsafe { slice(self.start.cast_const().cast(), self.bytes / size_of::<T>()) }
    }
}
