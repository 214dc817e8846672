//! Damaged and malicious files: a clear error, soon, and nothing allocated on a file's word.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout as MemoryLayout, System};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use peel_image::{Layer, Rect};
use peel_io::{
    Budget, Compression, Error, Layout, OutputLayer, ReadOptions, Rows, Selection, WriteOptions, probe, read,
    read_channel, write_exr,
};

/// Remembers the largest single allocation.
struct Watch;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator as it came.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Watch {
    unsafe fn alloc(&self, layout: MemoryLayout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: MemoryLayout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: MemoryLayout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: MemoryLayout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Panics in decoders, which the crate turns into errors.
static CAUGHT: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static WATCH: Watch = Watch;

const BUDGET: Budget = Budget { max_bytes: 512 << 20 };

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn everything(path: &Path) -> Result<(), Error> {
    let info = probe(path)?;
    let _ = (info.to_string(), info.layers());
    let _ = read_channel(path, None, &BUDGET);
    if let Ok(Some(rows)) = Rows::open(path, &ReadOptions::default(), &BUDGET) {
        for band in rows.data().bands(rows.data().height().div_ceil(3)) {
            let _ = rows.read(band);
        }
    }
    read(
        path,
        &ReadOptions {
            selection: Selection::All,
            ..ReadOptions::default()
        },
        &BUDGET,
    )
    .map(drop)
}

fn put(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("hostile");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// SplitMix64: the same mutations in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Flips bits, plants extreme numbers, copies, cuts.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            return;
        }
        // Headers are where sizes are: half of the mutations go there.
        let reach = if random.below(2) == 0 {
            bytes.len().min(500)
        } else {
            bytes.len()
        };
        let at = random.below(reach);
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 | 3 => {
                let word: u32 =
                    [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x3fff_ffff, 100_000][random.below(7)];
                for (byte, value) in bytes[at..].iter_mut().zip(word.to_le_bytes()) {
                    *byte = value;
                }
            }
            4 => bytes.truncate(at),
            _ => {
                let (from, n) = (random.below(bytes.len()), random.below(16));
                let piece: Vec<u8> = bytes[from..].iter().copied().take(n).collect();
                bytes.splice(at..at, piece);
            }
        }
    }
}

/// Every fixture, mutated many times: an error or a picture, never a panic out of the crate, an abort or a
/// hang, and no allocation beyond the budget.
#[test]
fn mutated_files() {
    // What the decoders below panic with is caught; its report would fill the log.
    std::panic::set_hook(Box::new(|info| {
        CAUGHT.fetch_add(1, Ordering::Relaxed);
        println!(
            "caught: {}",
            info.location().map_or_else(String::new, ToString::to_string)
        );
    }));
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(20_241_117);
    let mut names: Vec<_> = std::fs::read_dir(fixture(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    let mut slowest = Duration::ZERO;
    // More, with another seed, when hunting.
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let rounds = asked("PEEL_FUZZ_ROUNDS").unwrap_or(300);
    random.0 ^= asked("PEEL_FUZZ_SEED").unwrap_or(0);
    for name in names {
        let sound = std::fs::read(fixture("").join(&name)).unwrap();
        let rounds = rounds
            / if name.to_str().unwrap().ends_with("exr") {
                1
            } else {
                5
            };
        for round in 0..rounds {
            let mut bytes = sound.clone();
            mutate(&mut bytes, &mut random);
            let path = put(folder.path(), &bytes);
            let start = Instant::now();
            let outcome = std::panic::catch_unwind(|| everything(&path).map_err(|error| error.to_string()));
            assert!(outcome.is_ok(), "{name:?} round {round} panicked");
            let (took, largest) = (start.elapsed(), LARGEST.load(Ordering::Relaxed));
            slowest = slowest.max(took);
            assert!(
                took < Duration::from_secs(10),
                "{name:?} round {round} took {took:?}"
            );
            assert!(
                largest <= BUDGET.max_bytes as usize,
                "{name:?} round {round} asked for {largest} bytes"
            );
        }
    }
    println!(
        "slowest: {slowest:?}, {} panics caught within",
        CAUGHT.load(Ordering::Relaxed)
    );
}

#[test]
fn every_truncation_of_every_kind_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "zip.exr",
        "none.exr",
        "piz.exr",
        "dwaa.exr",
        "multipart.exr",
        "tiles.exr",
        "rgba8.png",
    ] {
        let sound = std::fs::read(fixture(name)).unwrap();
        for cut in (0..sound.len()).step_by(13) {
            let path = put(folder.path(), &sound[..cut]);
            assert!(
                everything(&path).is_err(),
                "{name} cut to {cut} of {} bytes was read",
                sound.len()
            );
        }
    }
}

/// A sound file whose `dataWindow` and `displayWindow` are replaced.
fn with_windows(folder: &Path, window: [i32; 4], compression: Compression) -> PathBuf {
    let path = folder.join("windows.exr");
    let frame = Rect::of_size(4, 4);
    let layer = Layer::from_fn(frame, frame, |_, _| [0.5; 4]);
    let options = WriteOptions {
        compression,
        ..WriteOptions::default()
    };
    write_exr(&path, &[OutputLayer::base(&layer)], &options).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    for name in [&b"dataWindow\0box2i\0"[..], b"displayWindow\0box2i\0"] {
        let at = bytes.windows(name.len()).position(|part| part == name).unwrap() + name.len() + 4;
        bytes[at..at + 16].copy_from_slice(&window.map(i32::to_le_bytes).concat());
    }
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn claims_of_enormous_sizes_are_weighed_first() {
    let folder = tempfile::tempdir().unwrap();
    for compression in Compression::ALL {
        for window in [
            [0, 0, 99_999, 99_999],
            [-1 << 29, 0, 1 << 29, 10],
            [0, -1 << 29, 0, 1 << 29],
        ] {
            let path = with_windows(folder.path(), window, compression);
            assert!(probe(&path).is_ok(), "the header alone can be shown");
            let error = read(&path, &ReadOptions::default(), &BUDGET).unwrap_err();
            assert!(
                matches!(error, Error::Damaged { .. } | Error::OverBudget { .. }),
                "{error}"
            );
            let largest = LARGEST.load(Ordering::Relaxed);
            assert!(
                largest <= BUDGET.max_bytes as usize,
                "{window:?} asked for {largest} bytes"
            );
        }
    }
    let path = with_windows(folder.path(), [0, 0, 99_999, 99_999], Compression::Zip);
    let error = read(&path, &ReadOptions::default(), &Budget::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("100000x100000"), "{error}");
}

#[test]
fn empty_and_inverted_windows_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for window in [
        [0, 0, -1, -1],
        [5, 0, 4, 3],
        [0, 0, 3, -1],
        [i32::MIN, 0, i32::MAX, 3],
    ] {
        let path = with_windows(folder.path(), window, Compression::Zip);
        let error = everything(&path).unwrap_err().to_string();
        assert!(
            error.contains("empty or inverted") || error.contains("impossibly far"),
            "{error}"
        );
    }
}

#[test]
fn a_small_budget_refuses_a_large_picture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.exr");
    let frame = Rect::of_size(20_000, 40);
    let layer = Layer::from_fn(frame, frame, |x, _| [x as f32, 0.0, 0.0, 1.0]);
    write_exr(&path, &[OutputLayer::base(&layer)], &WriteOptions::default()).unwrap();
    let error = read(&path, &ReadOptions::default(), &Budget::bytes(10_000_000))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("20000x40") && error.contains("raise the memory limit"),
        "{error}"
    );
    assert!(read(&path, &ReadOptions::default(), &BUDGET).is_ok());
    // What is small enough is not refused for the room that a large one would need.
    assert!(
        read(
            &fixture("zip.exr"),
            &ReadOptions::default(),
            &Budget::bytes(50_000)
        )
        .is_ok()
    );
}

#[test]
fn nan_filled_pictures_are_read_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nan.exr");
    let frame = Rect::of_size(5, 3);
    let layer = Layer::from_fn(frame, frame, |_, _| [f32::NAN; 4]);
    write_exr(&path, &[OutputLayer::base(&layer)], &WriteOptions::default()).unwrap();
    let got = read(&path, &ReadOptions::default(), &BUDGET)
        .unwrap()
        .into_first()
        .unwrap();
    assert!(got.pixels().iter().flatten().all(|c| c.is_nan()));
}

#[test]
fn one_pixel_is_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let frame = Rect::of_size(1, 1);
    let layer = Layer::from_fn(frame, frame, |_, _| [0.25, 0.5, 0.75, 1.0]);
    for layout in Layout::ALL {
        for compression in Compression::ALL {
            let path = folder.path().join("one.exr");
            let layers = [OutputLayer::base(&layer), OutputLayer::named("a", &layer)];
            write_exr(
                &path,
                &layers,
                &WriteOptions {
                    layout,
                    compression,
                    ..WriteOptions::default()
                },
            )
            .unwrap();
            let picture = read(&path, &ReadOptions::default(), &BUDGET).unwrap();
            let got = picture.into_first().unwrap().get(0, 0);
            assert!(
                got.iter().zip(layer.get(0, 0)).all(|(a, b)| (a - b).abs() < 0.01),
                "{compression}: {got:?}"
            );
        }
    }
}

#[test]
fn things_that_are_no_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let said = |bytes: &[u8]| everything(&put(folder.path(), bytes)).unwrap_err().to_string();
    assert!(said(b"").contains("it is empty"));
    assert!(said(b"Graph(format: 1)").contains("no known format"));
    assert!(said(&[0x76, 0x2f, 0x31, 0x01]).contains("ends within its header"));
    assert!(said(&[0x76, 0x2f, 0x31, 0x01, 1, 0, 0, 0]).contains("version 1"));
    assert!(said(&[0x76, 0x2f, 0x31, 0x01, 2, 0, 1, 0]).contains("newer EXR feature"));
    assert!(
        everything(folder.path())
            .unwrap_err()
            .to_string()
            .contains("it is a folder")
    );
    let missing = everything(&folder.path().join("none.exr")).unwrap_err();
    assert!(
        missing.is_missing() && missing.to_string().ends_with("none.exr: no such file"),
        "{missing}"
    );
}

/// Chroma at half of the size: found in the header, before any pixel.
#[test]
fn subsampled_chroma_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(fixture("none.exr")).unwrap();
    let at = bytes.windows(2).position(|part| part == b"B\0").unwrap() + 2 + 8;
    bytes[at..at + 8].copy_from_slice(&[2, 0, 0, 0, 2, 0, 0, 0]);
    let error = everything(&put(folder.path(), &bytes)).unwrap_err().to_string();
    assert!(
        error.contains("chroma subsampling (channel \"B\", every 2x2 pixels) is not supported"),
        "{error}"
    );
}

#[test]
fn an_output_that_cannot_be_made_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let frame = Rect::of_size(4, 4);
    let layer = Layer::from_fn(frame, frame, |_, _| [0.5; 4]);
    let error = write_exr(
        &file.join("out.exr"),
        &[OutputLayer::base(&layer)],
        &WriteOptions::default(),
    )
    .unwrap_err();
    assert!(error.to_string().contains("cannot be written"), "{error}");
    let error = write_exr(&folder.path().join("e.exr"), &[], &WriteOptions::default()).unwrap_err();
    assert!(error.to_string().contains("no layer to write"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
