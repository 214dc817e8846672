//! The emulated card: the kernels compiled for the CPU, with guarded memory.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::{Mutex, OnceLock, PoisonError};

use libloading::{Library, Symbol};

use peel_kernels::{Argument, Card, Error, Launch, Result};

/// Bytes before and behind each piece of memory that no kernel may touch. They are 0xff: NaN, should one be read.
const GUARD: usize = 256;
const GUARD_BYTE: u8 = 0xff;

type Emulate = unsafe extern "C" fn(
    *const c_char,
    *const u32,
    *const u32,
    usize,
    u64,
    *mut *mut c_void,
) -> *const c_char;

/// A card played by the CPU: slow and exact about mistakes. Finds races in shared memory, barriers that not all threads reach,
/// and writes outside of buffers; reads outside of them give NaN.
#[derive(Debug)]
pub struct Emulated {
    library: &'static Library,
    /// Decides the order in which threads run; results must not depend on it.
    seed: u64,
    launches: Cell<u64>,
    pieces: RefCell<Vec<Rc<Piece>>>,
}

/// A guarded piece of memory.
#[derive(Debug)]
pub struct Piece {
    /// 16-byte words, so that eights of bf16 are aligned.
    words: Box<[Cell<u128>]>,
    bytes: usize,
}

/// The emulation keeps its state in one place: one launch at a time.
static RUNNING: Mutex<()> = Mutex::new(());

fn failed(what: &str, reason: impl ToString) -> Error {
    Error::Failed {
        what: what.into(),
        reason: reason.to_string(),
    }
}

/// Compiles the kernels once for a process.
fn library() -> Result<&'static Library> {
    static LIBRARY: OnceLock<std::result::Result<Library, String>> = OnceLock::new();
    LIBRARY
        .get_or_init(|| compile().map_err(|e| e.to_string()))
        .as_ref()
        .map_err(|reason| failed("the emulated card", reason))
}

#[allow(unsafe_code, reason = "loads the library that was just compiled")]
fn compile() -> Result<Library> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().map_err(|e| failed("a temporary folder", e))?;
    let out = folder.path().join("kernels.so");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let output = Command::new(&compiler)
        // No contraction: products and sums are rounded one by one, as on the card where it matters.
        .args([
            "-std=c++17",
            "-O1",
            "-ffp-contract=off",
            "-DPEEL_PLANTED",
            "-shared",
            "-fPIC",
            "-I",
        ])
        .arg(root.join("host"))
        .arg(root.join("host/kernels.cpp"))
        .arg("-o")
        .arg(&out)
        .output()
        .map_err(|e| {
            failed(
                &compiler,
                format!("{e}; a C++17 compiler is needed (apt-get install g++, or set CXX)"),
            )
        })?;
    if !output.status.success() {
        return Err(failed(&compiler, String::from_utf8_lossy(&output.stderr)));
    }
    // SAFETY: the library was compiled from this crate's sources and has no initialisers beyond the C++ runtime's.
    unsafe { Library::new(&out) }.map_err(|e| failed("loading the emulated kernels", e))
}

impl Emulated {
    /// Compiles the kernels, the first time; `seed` decides the order in which threads run.
    ///
    /// # Errors
    /// If there is no C++ compiler, or it refuses.
    pub fn open(seed: u64) -> Result<Self> {
        Ok(Self {
            library: library()?,
            seed,
            launches: Cell::new(0),
            pieces: RefCell::default(),
        })
    }

    /// Launches so far.
    #[must_use]
    pub fn launches(&self) -> u64 {
        self.launches.get()
    }
}

impl Piece {
    fn new(bytes: usize) -> Self {
        let words = (bytes.next_multiple_of(16) + 2 * GUARD) / 16;
        Self {
            words: vec![Cell::new(u128::MAX); words].into(),
            bytes,
        }
    }

    fn start(&self) -> *mut u8 {
        self.words[GUARD / 16..].as_ptr().cast_mut().cast()
    }

    #[allow(unsafe_code, reason = "looks at the guards as bytes")]
    fn is_intact(&self) -> bool {
        let all = self.words.len() * 16;
        // SAFETY: the words are one allocation of that many bytes, and nobody writes while this runs.
        let bytes = unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast::<u8>(), all) };
        let (before, rest) = bytes.split_at(GUARD);
        before.iter().chain(&rest[self.bytes..]).all(|b| *b == GUARD_BYTE)
    }
}

impl Card for Emulated {
    type Memory = Rc<Piece>;

    fn allocate(&self, bytes: usize) -> Result<Self::Memory> {
        let piece = Rc::new(Piece::new(bytes));
        let mut pieces = self.pieces.borrow_mut();
        // Only the pieces that somebody still holds are watched.
        pieces.retain(|p| Rc::strong_count(p) > 1);
        pieces.push(piece.clone());
        Ok(piece)
    }

    #[allow(unsafe_code, reason = "raw memory, as a card's is")]
    fn upload(&self, memory: &Self::Memory, at: usize, bytes: &[u8]) -> Result<()> {
        assert!(
            at + bytes.len() <= memory.bytes,
            "upload past the end of a buffer"
        );
        // SAFETY: within the allocation; `Rc` keeps this to one thread.
        unsafe {
            memory
                .start()
                .add(at)
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
        Ok(())
    }

    #[allow(unsafe_code, reason = "raw memory, as a card's is")]
    fn download(&self, memory: &Self::Memory, at: usize, bytes: &mut [u8]) -> Result<()> {
        assert!(
            at + bytes.len() <= memory.bytes,
            "download past the end of a buffer"
        );
        // SAFETY: within the allocation; `Rc` keeps this to one thread.
        unsafe {
            memory
                .start()
                .add(at)
                .copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len())
        };
        Ok(())
    }

    #[allow(unsafe_code, reason = "calls the emulated kernel")]
    fn launch(&self, launch: &Launch<'_, Self::Memory>) -> Result<()> {
        enum Value {
            Pointer(*mut u8),
            Int(i32),
            Float(f32),
        }
        let mut values: Vec<Value> = launch
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Memory(memory, at) => Value::Pointer(memory.start().wrapping_add(*at)),
                Argument::Null => Value::Pointer(std::ptr::null_mut()),
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
        let name = CString::new(launch.kernel).map_err(|e| failed(launch.kernel, e))?;
        let seed = self.seed.wrapping_add(self.launches.get());
        self.launches.set(self.launches.get() + 1);
        let _one = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the signature is that of `host/kernels.cpp`. Arguments are those that the kernel declares, by the launchers;
        // pointers lead into guarded pieces that live until the end of this call.
        let fault = unsafe {
            let emulate: Symbol<'_, Emulate> = self
                .library
                .get(b"peel_emulate")
                .map_err(|e| failed(launch.kernel, e))?;
            let fault = emulate(
                name.as_ptr(),
                launch.grid.as_ptr(),
                [launch.threads, 1, 1].as_ptr(),
                launch.shared,
                seed,
                pointers.as_mut_ptr(),
            );
            (!fault.is_null()).then(|| CStr::from_ptr(fault).to_string_lossy().into_owned())
        };
        if let Some(fault) = fault {
            return Err(failed(launch.kernel, fault));
        }
        if self.pieces.borrow().iter().all(|piece| piece.is_intact()) {
            Ok(())
        } else {
            Err(failed(launch.kernel, "wrote outside of a buffer"))
        }
    }
}
