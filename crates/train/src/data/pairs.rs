//! Real pairs: photographs of a place with the object and without it, and its mask. Nobody knows the true layer, so these train the
//! background and, through the consistency loss, that the layers laid together are the plate.
//!
//! A folder holds `ID_C` (with the object), `ID_B` (without it) and `ID_M` (mask) as PNG, JPEG, TIFF or EXR.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::camera::Camera;
use super::pool::Pool;
use super::raster::Raster;
use super::rng::Rng;
use super::{Sample, mask, rendered};
use crate::{Error, Result, files};

/// Shorter side that pictures are brought down to: the trainer sees squares of 128 pixels, and a thousand pairs fit into memory.
const SHORTER_SIDE: usize = 320;

/// What the files of a pair are called, after its ID.
const PARTS: [&str; 3] = ["C", "B", "M"];

/// A pair in 8 bits.
#[derive(Debug)]
pub struct Pair {
    /// Its ID.
    pub name: String,
    width: usize,
    height: usize,
    /// Plate, background (RGB each) and mask.
    pixels: Vec<[u8; 7]>,
}

/// Reads every pair of a folder, by name.
///
/// # Errors
/// If the folder or a file cannot be read, a file is missing, sizes differ, a mask is empty, or there is no pair.
pub fn load(dir: &Path) -> Result<Vec<Pair>> {
    let mut found: BTreeMap<String, [Option<PathBuf>; 3]> = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(Error::file(dir))? {
        let path = entry.map_err(Error::file(dir))?.path();
        let stem = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
        let Some((id, part)) = stem.rsplit_once('_') else {
            continue;
        };
        if let Some(i) = PARTS.iter().position(|p| *p == part) {
            found.entry(id.to_owned()).or_default()[i] = Some(path.clone());
        }
    }
    let pairs = found.iter().filter(|(_, [plate, ..])| plate.is_some());
    let pairs = pairs
        .map(|(id, files)| read(dir, id, files))
        .collect::<Result<Vec<_>>>()?;
    if pairs.is_empty() {
        return Err(Error::content(dir, "it holds no pair: no file is called ID_C.*"));
    }
    Ok(pairs)
}

fn read(dir: &Path, id: &str, files: &[Option<PathBuf>; 3]) -> Result<Pair> {
    let at = |i: usize| {
        let missing = || Error::content(dir, format!("{id}_C has no {id}_{} beside it", PARTS[i]));
        files[i].as_deref().ok_or_else(missing)
    };
    let plate = files::read_opaque(at(0)?)?;
    let background = files::read_opaque(at(1)?)?;
    let mask = files::read_matte(at(2)?)?;
    let (w, h) = (plate.width, plate.height);
    for (i, size) in [
        (1, (background.width, background.height)),
        (2, (mask.width, mask.height)),
    ] {
        if size != (w, h) {
            let reason = format!("it is {} x {} pixels, its {id}_C {w} x {h}", size.0, size.1);
            return Err(Error::content(at(i)?, reason));
        }
    }
    if !mask.pixels.iter().any(|m| m[0] > 0.5) {
        return Err(Error::content(
            at(2)?,
            "the mask is empty: no pixel is above a half",
        ));
    }
    let scale = (SHORTER_SIDE as f64 / w.min(h) as f64).min(1.0);
    let side = |n: usize| ((n as f64 * scale).round() as usize).max(1);
    let (width, height) = (side(w), side(h));
    let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
    let (plate, background, mask) = (
        plate.resized(width, height),
        background.resized(width, height),
        mask.resized(width, height),
    );
    let pixels = (0..width * height)
        .map(|i| {
            let ([a, b, c], [d, e, f], [m]) = (plate.pixels[i], background.pixels[i], mask.pixels[i]);
            [a, b, c, d, e, f, m].map(byte)
        })
        .collect();
    Ok(Pair {
        name: id.to_owned(),
        width,
        height,
        pixels,
    })
}

impl Pair {
    /// Channels `FROM..FROM + C`, 0..1.
    fn channels<const C: usize>(&self, from: usize) -> Raster<C> {
        let value = |p: &[u8; 7]| std::array::from_fn(|c| f32::from(p[from + c]) / 255.0);
        Raster {
            width: self.width,
            height: self.height,
            pixels: self.pixels.iter().map(value).collect(),
        }
    }
}

/// Draws a pair of the pool and a square of it, mirrored half of the time, both photographs exposed anew alike. The pool must have
/// pairs.
#[must_use]
pub fn draw(rng: &mut Rng, pool: &Pool, size: usize) -> Sample {
    let pair = &pool.pairs[rng.below(pool.pairs.len())];
    let whole = pair.channels::<1>(6);
    let (x, y, side) = rendered::window(rng, &whole, size);
    let flip = rng.chance(0.5);
    let camera = Camera::draw(rng, size).without_grain();
    let exposed = |rng: &mut Rng, from: usize| {
        let mut picture = rendered::square(&pair.channels::<3>(from), x, y, side, size, flip);
        camera.expose_background(rng, &mut picture);
        camera.compress(picture)
    };
    let plate = exposed(rng, 0);
    let background = exposed(rng, 3);
    let object = rendered::square(&whole, x, y, side, size, flip).map(|m| [m[0].clamp(0.0, 1.0)]);
    let mask = mask::degrade(rng, &object).map(|m| [m[0].clamp(0.0, 1.0)]);
    let foreground = object.zip(&plate, |m, c| [m[0] * c[0], m[0] * c[1], m[0] * c[2], m[0]]);
    Sample {
        plate,
        mask,
        background,
        foreground,
        object,
        has_foreground: false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Shares, sample};
    use super::*;

    fn write(dir: &Path, id: &str, shift: usize) {
        let background = Raster::from_fn(90, 60, |x, y| [x as f32 / 90.0, y as f32 / 60.0, 0.4]);
        let mask = Raster::from_fn(90, 60, |x, y| {
            [f32::from(
                (30 + shift..50 + shift).contains(&x) && (20..45).contains(&y),
            )]
        });
        let plate = background.zip(&mask, |b, m| if m[0] > 0.5 { [0.9, 0.1, 0.2] } else { *b });
        let at = |what: &str| dir.join(format!("{id}_{what}.png"));
        files::write(&at("C"), &plate).unwrap();
        files::write(&at("B"), &background).unwrap();
        files::write(&at("M"), &mask.map(|m| [m[0]; 3])).unwrap();
    }

    #[test]
    fn a_folder_of_pairs_becomes_samples_without_a_layer() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "b", 20);
        write(dir.path(), "a", 0);
        let pairs = load(dir.path()).unwrap();
        let names: Vec<&str> = pairs.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let pool = Pool {
            pairs,
            ..Pool::default()
        };
        let shares = Shares {
            pairs: 1.0,
            ..Shares::default()
        };
        for i in 0..40 {
            let s = sample(&pool, 3, i, 48, shares);
            assert_eq!(s, sample(&pool, 3, i, 48, shares));
            assert!(!s.has_foreground);
            assert_eq!((s.plate.width, s.plate.height, s.background.width), (48, 48, 48));
            let seen = s.object.pixels.iter().filter(|m| m[0] > 0.5).count();
            assert!(seen > 48 * 48 / 80, "{seen}");
            // Away from the object both photographs are the same, whatever the camera did to them.
            let clean = std::iter::zip(&s.plate.pixels, &s.background.pixels).zip(&s.object.pixels);
            let same = clean.filter(|((c, b), m)| m[0] == 0.0 && c == b).count();
            assert!(same > 200, "{same}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_said() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap_err().to_string().contains("ID_C"));
        write(dir.path(), "a", 0);
        let empty = Raster::filled(90, 60, [0.0; 3]);
        files::write(&dir.path().join("a_M.png"), &empty).unwrap();
        assert!(
            load(dir.path())
                .unwrap_err()
                .to_string()
                .contains("mask is empty")
        );
        std::fs::remove_file(dir.path().join("a_B.png")).unwrap();
        assert!(load(dir.path()).unwrap_err().to_string().contains("no a_B"));
    }
}
