//! A real card, through cudarc with the driver loaded at run time.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::sys::CUfunction_attribute;
use cudarc::driver::{CudaContext, CudaFunction, CudaSlice, CudaStream, DevicePtr, DriverError, result, sys};
use cudarc::nvrtc::Ptx;

use crate::card::{Argument, Card, Error, Launch, Result};
use crate::probe::{Found, LEAST_CAPABILITY};

include!(concat!(env!("OUT_DIR"), "/fatbins.rs"));

/// Most bytes of shared memory that a block has without asking.
const PLAIN_SHARED: usize = 48 << 10;

/// An NVIDIA card with the kernels loaded.
#[derive(Debug)]
pub struct Cuda {
    stream: Arc<CudaStream>,
    functions: HashMap<&'static str, CudaFunction>,
}

fn failed(what: impl Into<String>) -> impl FnOnce(DriverError) -> Error {
    let what = what.into();
    move |e| Error::Failed {
        what,
        reason: e.to_string(),
    }
}

/// Whether the driver's library is there: cudarc panics where it loads one that is not.
#[allow(unsafe_code, reason = "asks the loader for the driver's library")]
fn driver_is_present() -> bool {
    // SAFETY: looks for a shared library by its well-known names, and runs nothing but its initialisers.
    unsafe { sys::is_culib_present() }
}

fn context(ordinal: usize) -> Result<Arc<CudaContext>> {
    if !driver_is_present() {
        return Err(Error::NoDevice(
            "no NVIDIA driver (libcuda.so.1) is installed".into(),
        ));
    }
    result::init().map_err(|e| Error::NoDevice(format!("the driver does not start: {e}")))?;
    let count = CudaContext::device_count().map_err(|e| Error::NoDevice(e.to_string()))?;
    if ordinal >= usize::try_from(count).unwrap_or(0) {
        return Err(Error::NoDevice(format!(
            "the driver knows {count} devices, asked for number {ordinal}"
        )));
    }
    let context = CudaContext::new(ordinal).map_err(failed("opening the card"))?;
    let capability = context.compute_capability().map_err(failed("asking the card"))?;
    if capability < LEAST_CAPABILITY {
        let (major, minor) = capability;
        return Err(Error::NoDevice(format!(
            "compute capability {major}.{minor} is older than 8.0 (Ampere), the first with bf16 matrix units"
        )));
    }
    Ok(context)
}

/// See [`crate::probe`].
pub(crate) fn look(ordinal: usize) -> Result<Found> {
    let context = context(ordinal)?;
    Ok(Found::Device {
        name: context.name().map_err(failed("asking the card's name"))?,
        capability: context.compute_capability().map_err(failed("asking the card"))?,
        memory: context.total_mem().map_err(failed("asking the card's memory"))?,
    })
}

impl Cuda {
    /// Opens card `ordinal` and loads the kernels.
    ///
    /// # Errors
    /// If there is no driver, no such card, or one too old.
    pub fn open(ordinal: usize) -> Result<Self> {
        let context = context(ordinal)?;
        let stream = context.new_stream().map_err(failed("making a stream"))?;
        let mut functions = HashMap::new();
        for (file, image, kernels) in FATBINS {
            let module = context
                .load_module(Ptx::from_binary(image.to_vec()))
                .map_err(failed(format!("loading the kernels of {file}")))?;
            for name in *kernels {
                let function = module
                    .load_function(name)
                    .map_err(failed(format!("kernel {name}")))?;
                functions.insert(*name, function);
            }
        }
        Ok(Self { stream, functions })
    }

    /// Waits for the work given so far.
    ///
    /// # Errors
    /// If some of it failed.
    pub fn wait(&self) -> Result<()> {
        self.stream.synchronize().map_err(failed("waiting for the card"))
    }
}

impl Card for Cuda {
    type Memory = CudaSlice<u8>;

    #[allow(unsafe_code, reason = "memory with undefined content")]
    fn allocate(&self, bytes: usize) -> Result<Self::Memory> {
        // SAFETY: any bytes are values of u8; what they mean is written before it is read.
        unsafe { self.stream.alloc(bytes) }.map_err(|e| match e.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory { bytes },
            _ => failed("allocating")(e),
        })
    }

    #[allow(unsafe_code, reason = "a copy into part of a piece of memory")]
    fn upload(&self, memory: &Self::Memory, at: usize, bytes: &[u8]) -> Result<()> {
        assert!(
            at + bytes.len() <= memory.len(),
            "upload past the end of a buffer"
        );
        let (start, _in_use) = memory.device_ptr(&self.stream);
        // SAFETY: the destination lies within the allocation. The source is pageable, so the driver has copied it before
        // the call returns.
        unsafe { result::memcpy_htod_async(start + at as u64, bytes, self.stream.cu_stream()) }
            .map_err(failed("copying to the card"))
    }

    #[allow(unsafe_code, reason = "a copy from part of a piece of memory")]
    fn download(&self, memory: &Self::Memory, at: usize, bytes: &mut [u8]) -> Result<()> {
        assert!(
            at + bytes.len() <= memory.len(),
            "download past the end of a buffer"
        );
        let (start, _in_use) = memory.device_ptr(&self.stream);
        // SAFETY: the source lies within the allocation; the stream is waited for before `bytes` is given back.
        unsafe { result::memcpy_dtoh_async(bytes, start + at as u64, self.stream.cu_stream()) }
            .map_err(failed("copying from the card"))?;
        self.wait()
    }

    #[allow(unsafe_code, reason = "kernel launch")]
    fn launch(&self, launch: &Launch<'_, Self::Memory>) -> Result<()> {
        enum Value {
            Pointer(u64),
            Int(i32),
            Float(f32),
        }
        let function = self.functions.get(launch.kernel).ok_or_else(|| Error::Failed {
            what: launch.kernel.into(),
            reason: "no kernel of this name".into(),
        })?;
        if launch.shared > PLAIN_SHARED {
            let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = i32::try_from(launch.shared).unwrap_or(i32::MAX);
            function.set_attribute(attribute, bytes).map_err(failed(format!(
                "{}: {bytes} bytes of shared memory",
                launch.kernel
            )))?;
        }
        let mut guards = Vec::new();
        let mut values: Vec<Value> = launch
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Memory(memory, at) => {
                    let (start, in_use) = memory.device_ptr(&self.stream);
                    guards.push(in_use);
                    Value::Pointer(start + *at as u64)
                }
                Argument::Null => Value::Pointer(0),
                Argument::Int(v) => Value::Int(*v),
                Argument::Float(v) => Value::Float(*v),
            })
            .collect();
        let mut pointers: Vec<*mut c_void> = values
            .iter_mut()
            .map(|value| match value {
                Value::Pointer(v) => std::ptr::from_mut(v).cast(),
                Value::Int(v) => std::ptr::from_mut(v).cast(),
                Value::Float(v) => std::ptr::from_mut(v).cast(),
            })
            .collect();
        let [x, y, z] = launch.grid;
        let shared = u32::try_from(launch.shared).unwrap_or(u32::MAX);
        // SAFETY: the launchers of `ops` give each kernel the arguments that its source declares, over buffers of the sizes
        // that it asks for: the suite runs them all on the emulated card, whose buffers are guarded. All work is in one stream.
        unsafe {
            result::launch_kernel(
                function.cu_function(),
                (x, y, z),
                (launch.threads, 1, 1),
                shared,
                self.stream.cu_stream(),
                &mut pointers,
            )
        }
        .map_err(failed(launch.kernel))
    }
}
