//! Parts of pictures that OpenEXR and OpenImageIO wrote (tests/oracle/make_fixtures.py): what is read is what is asked
//! for, in every compression, in rows and in tiles.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use half::f16;
use peel_image::{Layer, Rect};
use peel_io::{Budget, ReadOptions, Rows, Selection, read, read_channel};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn open(path: &Path, options: &ReadOptions) -> Rows {
    Rows::open(path, options, &Budget::default()).unwrap().unwrap()
}

/// The formulas of make_fixtures.py.
fn formula(x: i32, y: i32) -> [f32; 4] {
    [
        x as f32 / 8.0,
        y as f32 / 4.0,
        ((x * 5 + y * 3) % 16) as f32 / 16.0,
        ((x + y) % 3) as f32 / 2.0,
    ]
}

/// Pixels, rows, columns, across edges of blocks, past the data window, and all of it.
fn regions(data: Rect) -> Vec<Rect> {
    let Rect { x0, y0, x1, y1 } = data;
    let mut regions = vec![data, data.grow(5), Rect::new(x0 + 40, y0 + 20, x0 + 41, y0 + 21)];
    regions
        .extend([31, 32, 33, 15, 16].map(|at| Rect::new(x0 + at - 1, y0 + at - 1, x0 + at + 1, y0 + at + 1)));
    regions.extend(data.bands(7));
    regions.push(Rect::new(x1 - 1, y0, x1 + 3, y1));
    regions.push(Rect::new(x0 - 3, y1 - 1, x0 + 20, y1));
    regions.push(Rect::new(x0 - 30, y0 - 30, x0, y0));
    regions
}

/// Every region read by itself, and all at once from many threads, is that piece of `whole`.
fn assert_pieces(path: &Path, options: &ReadOptions, whole: &Layer) {
    let rows = open(path, options);
    assert_eq!(rows.data(), whole.data());
    let regions = regions(whole.data());
    let check = |region: &Rect| {
        let piece = rows.read(*region).unwrap();
        let within = region.intersect(whole.data());
        assert!(piece == whole.crop(within), "{} in {region}", path.display());
    };
    regions.iter().rev().for_each(check);
    let again = open(path, options);
    std::thread::scope(|scope| {
        for offset in 0..4 {
            let (again, regions) = (&again, &regions);
            scope.spawn(move || {
                for region in regions
                    .iter()
                    .cycle()
                    .skip(offset * regions.len() / 4)
                    .take(regions.len())
                {
                    let within = region.intersect(whole.data());
                    assert!(again.read(*region).unwrap() == whole.crop(within), "{region}");
                }
            });
        }
    });
}

#[test]
fn lossless_blocks_in_rows_and_tiles() {
    let frame = Rect::of_size(70, 100);
    let whole = Layer::from_fn(frame, frame, formula);
    for kind in ["rows", "tiles"] {
        for compression in ["rle", "piz", "pxr24", "zip"] {
            let path = fixture(&format!("{kind}_{compression}.exr"));
            let picture = read(&path, &ReadOptions::default(), &Budget::default()).unwrap();
            assert!(picture.layers[0].layer.as_ref() == &whole, "{}", path.display());
            assert_pieces(&path, &ReadOptions::default(), &whole);
            let blue = read_channel(&path, Some("B"), &Budget::default()).unwrap();
            assert!((0..100).all(|y| (0..70).all(|x| blue.get(x, y) == formula(x, y)[2])));
        }
    }
    assert_pieces(&fixture("rows_down.exr"), &ReadOptions::default(), &whole);
}

#[test]
fn lossy_blocks_are_what_openexr_makes_of_them() {
    for compression in ["b44", "dwaa", "dwab"] {
        for kind in ["rows", "tiles"] {
            if (kind, compression) == ("tiles", "dwab") {
                // The same as DWAA in tiles.
                continue;
            }
            let path = fixture(&format!("{kind}_{compression}.exr"));
            let layer = |path: &Path| {
                let picture = read(path, &ReadOptions::default(), &Budget::default()).unwrap();
                picture.into_first().unwrap()
            };
            let (ours, theirs) = (
                layer(&path),
                layer(&fixture(&format!("{kind}_{compression}_decoded.exr"))),
            );
            // The inverse cosine transform of DWA is a sum of floats, which may round the other way.
            let most = if compression == "b44" { 0 } else { 1 };
            let steps = |a: f32, b: f32| {
                (i32::from(f16::from_f32(a).to_bits()) - i32::from(f16::from_f32(b).to_bits())).abs()
            };
            let pixels = ours
                .pixels()
                .iter()
                .flatten()
                .zip(theirs.pixels().iter().flatten());
            let worst = pixels.map(|(&a, &b)| steps(a, b)).max().unwrap();
            assert!(worst <= most, "{}: {worst}", path.display());
            assert_pieces(&path, &ReadOptions::default(), &ours);
        }
    }
}

#[test]
fn parts_behind_one_with_levels() {
    let frame = Rect::of_size(70, 100);
    let whole = Layer::from_fn(frame, frame, formula);
    let path = fixture("tiled_parts.exr");
    for layer in ["", "rows", "runs"] {
        let options = ReadOptions {
            selection: Selection::Layer(layer.into()),
            ..ReadOptions::default()
        };
        assert_pieces(&path, &options, &whole);
    }
    let all = ReadOptions {
        selection: Selection::All,
        ..ReadOptions::default()
    };
    let picture = read(&path, &all, &Budget::default()).unwrap();
    assert_eq!(picture.layers.len(), 3);
    assert!(picture.layers.iter().all(|named| *named.layer == whole));
}

/// Where each block of a file of one part begins: what its table says, largest level first.
fn places(bytes: &[u8], count: usize) -> Vec<usize> {
    let words = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    // The table ends where the first block begins.
    let table = (8..bytes.len())
        .find(|&at| at + 8 <= bytes.len() && words(at) == at + 8 * count)
        .unwrap();
    (0..count).map(|block| words(table + 8 * block)).collect()
}

#[test]
fn blocks_that_nobody_asks_for_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let frame = Rect::of_size(70, 100);
    let whole = Layer::from_fn(frame, frame, formula);
    // The size of a block, and how many there are.
    for (name, (width, height), count) in [
        ("rows_piz.exr", (70, 32), 4),
        ("rows_pxr24.exr", (70, 16), 7),
        ("rows_rle.exr", (70, 1), 100),
        ("tiles_piz.exr", (32, 16), 21),
        ("tiles_zip.exr", (32, 16), 21),
    ] {
        let mut bytes = std::fs::read(fixture(name)).unwrap();
        let sound = Rect::new(0, height, width, 2 * height);
        let across = 70usize.div_ceil(width as usize);
        for (block, place) in places(&bytes, count).into_iter().enumerate() {
            if block != across {
                // It says that it is somewhere else.
                bytes[place..place + 4].fill(0x55);
            }
        }
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let rows = open(&path, &ReadOptions::default());
        assert!(rows.read(sound).unwrap() == whole.crop(sound), "{name}");
        let error = rows.read(sound.grow(1)).unwrap_err().to_string();
        assert!(error.contains("of its pixels is for"), "{name}: {error}");
        assert!(read(&path, &ReadOptions::default(), &Budget::default()).is_err());
    }
}
