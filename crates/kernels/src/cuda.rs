//! A real card, through cudarc with the driver loaded at run time.

mod staging;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;

use cudarc::driver::sys::{CUfunction_attribute, CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaGraph, CudaSlice, CudaStream, DevicePtr, DriverError, result, sys,
};
use cudarc::nvrtc::Ptx;

use self::staging::Staging;
use crate::card::{Argument, Card, Error, Launch, Result, within};
use crate::probe::{Found, LEAST_CAPABILITY};

include!(concat!(env!("OUT_DIR"), "/fatbins.rs"));

/// Most bytes of shared memory that a block has without asking.
const PLAIN_SHARED: usize = 48 << 10;

/// An NVIDIA card with the kernels loaded. Everything runs in one stream, in the order in which it is given.
#[derive(Debug)]
pub struct Cuda {
    stream: Arc<CudaStream>,
    functions: HashMap<&'static str, CudaFunction>,
    staging: RefCell<Staging>,
    /// Memory that recorded launches work on, while something is recorded.
    kept: RefCell<Option<Vec<Arc<CudaSlice<u8>>>>>,
}

/// A CUDA graph with the memory that it works on, which outlives it.
pub struct Recorded {
    graph: CudaGraph,
    kept: Vec<Arc<CudaSlice<u8>>>,
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a graph over {} pieces of memory", self.kept.len())
    }
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
    #[allow(unsafe_code, reason = "turns off cudarc's events")]
    pub fn open(ordinal: usize) -> Result<Self> {
        let context = context(ordinal)?;
        // SAFETY: cudarc's events order the work of several streams, and there is one. They would break recording, which may not
        // wait for events from outside of it.
        unsafe { context.disable_event_tracking() };
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
                // Drivers load a kernel when it is first used, which must not be while launches are recorded. Asking after it loads
                // it, too.
                function
                    .num_regs()
                    .map_err(failed(format!("loading kernel {name}")))?;
                functions.insert(*name, function);
            }
        }
        let staging = RefCell::new(Staging::new(&context).map_err(failed("pinning memory for copies"))?);
        Ok(Self {
            stream,
            functions,
            staging,
            kept: RefCell::default(),
        })
    }

    /// Makes the card's context the calling thread's: a card may change its thread, and the driver's calls look for it there.
    fn bind(&self) -> Result<()> {
        let bound = self.stream.context().bind_to_thread();
        bound.map_err(failed("binding the card to a thread"))
    }
}

impl Card for Cuda {
    type Memory = Arc<CudaSlice<u8>>;
    type Recording = Recorded;

    #[allow(unsafe_code, reason = "memory with undefined content")]
    fn allocate(&self, bytes: usize) -> Result<Self::Memory> {
        // SAFETY: any bytes are values of u8; what they mean is written before it is read.
        let memory = unsafe { self.stream.alloc(bytes) };
        memory.map(Arc::new).map_err(|e| match e.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory { bytes },
            _ => failed("allocating")(e),
        })
    }

    fn upload(&self, memory: &Self::Memory, at: usize, bytes: &[u8]) -> Result<()> {
        within(at, bytes.len(), memory.len())?;
        self.bind()?;
        let (start, _in_use) = memory.device_ptr(&self.stream);
        let copied = self
            .staging
            .borrow_mut()
            .upload(&self.stream, start + at as u64, bytes);
        copied.map_err(failed("copying to the card"))
    }

    fn download(&self, memory: &Self::Memory, at: usize, bytes: &mut [u8]) -> Result<()> {
        within(at, bytes.len(), memory.len())?;
        self.bind()?;
        let (start, _in_use) = memory.device_ptr(&self.stream);
        let copied = self
            .staging
            .borrow_mut()
            .download(&self.stream, start + at as u64, bytes);
        copied.map_err(failed("copying from the card"))
    }

    #[allow(unsafe_code, reason = "kernel launch")]
    fn launch(&self, launch: &Launch<'_, Self::Memory>) -> Result<()> {
        let function = self.functions.get(launch.kernel).ok_or_else(|| Error::Failed {
            what: launch.kernel.into(),
            reason: "no kernel of this name".into(),
        })?;
        self.bind()?;
        if launch.shared > PLAIN_SHARED {
            let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = i32::try_from(launch.shared).unwrap_or(i32::MAX);
            function.set_attribute(attribute, bytes).map_err(failed(format!(
                "{}: {bytes} bytes of shared memory",
                launch.kernel
            )))?;
        }
        if let Some(kept) = self.kept.borrow_mut().as_mut() {
            for memory in Argument::memories(launch.arguments) {
                if !kept.iter().any(|known| Arc::ptr_eq(known, memory)) {
                    kept.push(memory.clone());
                }
            }
        }
        // Without event tracking the guard that comes with an address does nothing when it is dropped.
        let mut words = Argument::words(launch.arguments, |memory| memory.device_ptr(&self.stream).0);
        let mut pointers: Vec<*mut c_void> = words.iter_mut().map(|w| std::ptr::from_mut(w).cast()).collect();
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

    fn record<E: From<Error>>(
        &self,
        work: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<Recorded, E> {
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(mode).map_err(failed("recording"))?;
        self.kept.replace(Some(Vec::new()));
        let worked = work();
        let kept = self.kept.take().unwrap_or_default();
        // Ends in any case: a stream that goes on recording takes no other work.
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0));
        worked?;
        let graph = graph.map_err(failed("recording"))?.ok_or_else(|| Error::Failed {
            what: "recording".into(),
            reason: "the driver gave no graph".into(),
        })?;
        Ok(Recorded { graph, kept })
    }

    fn replay(&self, recording: &Recorded) -> Result<()> {
        recording.graph.launch().map_err(failed("replaying"))
    }
}
