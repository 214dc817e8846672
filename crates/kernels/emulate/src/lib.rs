//! The emulated card: the kernels compiled for the CPU, with guarded memory.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::ffi::{CStr, CString, c_char, c_void};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use libloading::{Library, Symbol};

use peel_kernels::{Argument, Card, Error, Launch, Result, within};

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
    usize,
) -> *const c_char;

/// A card played by the CPU: slow and exact about mistakes. Finds races in shared memory, barriers that not all threads reach,
/// and writes outside of buffers; reads outside of them give NaN.
#[derive(Debug)]
pub struct Emulated {
    library: &'static Library,
    /// Decides the order in which threads run; results must not depend on it.
    seed: u64,
    launches: Cell<u64>,
    pieces: RefCell<Vec<Arc<Piece>>>,
    /// Bytes that may be allocated at once.
    memory: usize,
    /// What is written down, while something is.
    noted: RefCell<Option<Recorded>>,
}

/// Launches to be run later, with what they work on.
#[derive(Debug, Default)]
pub struct Recorded {
    launches: Vec<Noted>,
}

#[derive(Debug)]
struct Noted {
    kernel: &'static str,
    grid: [u32; 3],
    threads: u32,
    shared: usize,
    words: Vec<u64>,
    /// Kept alive for as long as the words point to them.
    _pieces: Vec<Arc<Piece>>,
}

/// A guarded piece of memory.
#[derive(Debug)]
pub struct Piece {
    /// 16-byte words, so that eights of bf16 are aligned.
    words: Box<[UnsafeCell<u128>]>,
    bytes: usize,
}

#[allow(unsafe_code, reason = "memory of a card that may change its thread")]
// SAFETY: the words are read and written only while `RUNNING` is held.
unsafe impl Send for Piece {}
#[allow(unsafe_code, reason = "memory of a card that may change its thread")]
// SAFETY: the words are read and written only while `RUNNING` is held.
unsafe impl Sync for Piece {}

/// The emulation keeps its state in one place: one launch, and one look at memory, at a time.
static RUNNING: Mutex<()> = Mutex::new(());

fn one() -> MutexGuard<'static, ()> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(what: &str, reason: impl ToString) -> Error {
    Error::Failed {
        what: what.into(),
        reason: reason.to_string(),
    }
}

/// Loads the kernels once for a process.
fn library() -> Result<&'static Library> {
    static LIBRARY: OnceLock<std::result::Result<Library, String>> = OnceLock::new();
    LIBRARY
        .get_or_init(|| load().map_err(|e| e.to_string()))
        .as_ref()
        .map_err(|reason| failed("the emulated card", reason))
}

#[allow(unsafe_code, reason = "loads the library that was just compiled")]
fn load() -> Result<Library> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let out = place(&root).map_err(|e| failed("the kernels' sources", e))?;
    if !out.exists() {
        compile(&root, &out)?;
    }
    // SAFETY: the library was compiled from this crate's sources and has no initialisers beyond the C++ runtime's.
    unsafe { Library::new(&out) }.map_err(|e| failed("loading the emulated kernels", e))
}

/// Where the library lies: beside the test that runs, under a name that changes with the sources.
fn place(root: &Path) -> std::io::Result<PathBuf> {
    let mut sources: Vec<PathBuf> = Vec::new();
    for folder in ["cu", "host"] {
        for entry in std::fs::read_dir(root.join(folder))? {
            sources.push(entry?.path());
        }
    }
    sources.sort();
    let mut hasher = std::hash::DefaultHasher::new();
    for source in sources {
        std::fs::read(source)?.hash(&mut hasher);
    }
    let name = format!("peel-emulated-{:016x}.so", hasher.finish());
    Ok(std::env::current_exe()?.with_file_name(name))
}

fn compile(root: &Path, out: &Path) -> Result<()> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let folder = out.parent().unwrap_or(Path::new("."));
    // Under its own name once it is whole: other tests may be doing the same.
    let made = tempfile::NamedTempFile::new_in(folder).map_err(|e| failed("a temporary file", e))?;
    let output = Command::new(&compiler)
        // No contraction: products and sums are rounded one by one, as on the card where it matters.
        .args(["-std=c++17", "-O1", "-ffp-contract=off", "-DPEEL_PLANTED"])
        .args(["-shared", "-fPIC", "-I"])
        .arg(root.join("host"))
        .arg(root.join("host/kernels.cpp"))
        .arg("-o")
        .arg(made.path())
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
    made.persist(out)
        .map_err(|e| failed("keeping the emulated kernels", e))?;
    Ok(())
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
            memory: usize::MAX,
            noted: RefCell::default(),
        })
    }

    /// With room for so many bytes at once.
    #[must_use]
    pub fn with_memory(self, bytes: usize) -> Self {
        Self {
            memory: bytes,
            ..self
        }
    }

    /// Allocating and copying stop a real card from recording.
    fn is_not_recording(&self, what: &str) -> Result<()> {
        if self.noted.borrow().is_some() {
            return Err(failed(what, "not while launches are recorded"));
        }
        Ok(())
    }

    /// Bytes that somebody holds.
    #[must_use]
    pub fn taken(&self) -> usize {
        let pieces = self.pieces.borrow();
        let held = pieces.iter().filter(|piece| Arc::strong_count(piece) > 1);
        held.map(|piece| piece.bytes).sum()
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
            words: (0..words).map(|_| UnsafeCell::new(u128::MAX)).collect(),
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
    type Memory = Arc<Piece>;
    type Recording = Recorded;

    fn allocate(&self, bytes: usize) -> Result<Self::Memory> {
        self.is_not_recording("allocating")?;
        let mut pieces = self.pieces.borrow_mut();
        // Only the pieces that somebody still holds are watched.
        pieces.retain(|p| Arc::strong_count(p) > 1);
        let taken: usize = pieces.iter().map(|piece| piece.bytes).sum();
        if bytes > self.memory.saturating_sub(taken) {
            return Err(Error::OutOfMemory { bytes });
        }
        let piece = Arc::new(Piece::new(bytes));
        pieces.push(piece.clone());
        Ok(piece)
    }

    #[allow(unsafe_code, reason = "raw memory, as a card's is")]
    fn upload(&self, memory: &Self::Memory, at: usize, bytes: &[u8]) -> Result<()> {
        self.is_not_recording("copying")?;
        within(at, bytes.len(), memory.bytes)?;
        let _one = one();
        // SAFETY: within the allocation, and nobody else is at it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.start().add(at), bytes.len()) };
        Ok(())
    }

    #[allow(unsafe_code, reason = "raw memory, as a card's is")]
    fn download(&self, memory: &Self::Memory, at: usize, bytes: &mut [u8]) -> Result<()> {
        self.is_not_recording("copying")?;
        within(at, bytes.len(), memory.bytes)?;
        let _one = one();
        // SAFETY: within the allocation, and nobody else is at it.
        unsafe { std::ptr::copy_nonoverlapping(memory.start().add(at), bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn launch(&self, launch: &Launch<'_, Self::Memory>) -> Result<()> {
        let noted = Noted {
            kernel: launch.kernel,
            grid: launch.grid,
            threads: launch.threads,
            shared: launch.shared,
            words: Argument::words(launch.arguments, |piece| piece.start() as u64),
            _pieces: Argument::memories(launch.arguments).cloned().collect(),
        };
        if let Some(recorded) = self.noted.borrow_mut().as_mut() {
            recorded.launches.push(noted);
            return Ok(());
        }
        self.run(&noted)
    }

    fn record<E: From<Error>>(
        &self,
        work: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<Recorded, E> {
        self.is_not_recording("recording")?;
        self.noted.replace(Some(Recorded::default()));
        let worked = work();
        let recorded = self.noted.take().unwrap_or_default();
        worked.map(|()| recorded)
    }

    fn replay(&self, recording: &Recorded) -> Result<()> {
        self.is_not_recording("replaying")?;
        recording.launches.iter().try_for_each(|noted| self.run(noted))
    }
}

impl Emulated {
    #[allow(unsafe_code, reason = "calls the emulated kernel")]
    fn run(&self, noted: &Noted) -> Result<()> {
        // Kernels may change what they are given by value, and a recording is run again.
        let mut words = noted.words.clone();
        let mut pointers: Vec<*mut c_void> = words.iter_mut().map(|w| std::ptr::from_mut(w).cast()).collect();
        let kernel = noted.kernel;
        let name = CString::new(kernel).map_err(|e| failed(kernel, e))?;
        let seed = self.seed.wrapping_add(self.launches.get());
        self.launches.set(self.launches.get() + 1);
        let _one = one();
        // SAFETY: the signature is that of `host/kernels.cpp`. Arguments are those that the kernel declares, by the launchers;
        // pointers lead into guarded pieces that `noted` keeps.
        let fault = unsafe {
            let emulate: Symbol<'_, Emulate> =
                self.library.get(b"peel_emulate").map_err(|e| failed(kernel, e))?;
            let fault = emulate(
                name.as_ptr(),
                noted.grid.as_ptr(),
                [noted.threads, 1, 1].as_ptr(),
                noted.shared,
                seed,
                pointers.as_mut_ptr(),
                pointers.len(),
            );
            (!fault.is_null()).then(|| CStr::from_ptr(fault).to_string_lossy().into_owned())
        };
        if let Some(fault) = fault {
            return Err(failed(kernel, fault));
        }
        if self.pieces.borrow().iter().all(|piece| piece.is_intact()) {
            Ok(())
        } else {
            Err(failed(kernel, "wrote outside of a buffer"))
        }
    }
}
