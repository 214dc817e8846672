//! Samples as files, through `peel-io`. Numbers are display-referred (sRGB), as everywhere in this crate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use peel_image::{ColourSpace, Layer, Rect};
use peel_io::{Budget, JpegOptions, PngOptions, ReadOptions, Selection};

use crate::data::Sample;
use crate::data::raster::Raster;
use crate::eval::Case;
use crate::metrics::Compositing;
use crate::{Error, Result};

/// Of sheets written as JPEG.
const JPEG_QUALITY: u8 = 88;

/// Reads a picture as premultiplied RGBA, display-referred; of an EXR the layer `background` where it has one.
///
/// # Errors
/// If the file cannot be read.
pub fn read(path: &Path) -> Result<Raster<4>> {
    let (picture, light) = read_light(path)?;
    Ok(match light {
        Compositing::Display => picture,
        Compositing::Linear => {
            let to_display = ColourSpace::LinearRec709.to(ColourSpace::Srgb);
            picture.map(|p| to_display.apply_pixel(*p))
        }
    })
}

/// Reads a picture as premultiplied RGBA in the light of its file: scene-linear Rec.709 of an EXR, display-referred of others.
fn read_light(path: &Path) -> Result<(Raster<4>, Compositing)> {
    let failed = |e: peel_io::Error| Error::Picture {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let info = peel_io::probe(path).map_err(failed)?;
    let (light, working) = if info.format == peel_io::Format::Exr {
        (Compositing::Linear, ColourSpace::LinearRec709)
    } else {
        (Compositing::Display, ColourSpace::Srgb)
    };
    let layered = info.layers().iter().any(|l| l == "background");
    let options = ReadOptions {
        selection: if layered {
            Selection::Layer("background".into())
        } else {
            Selection::First
        },
        working,
        source: None,
    };
    let picture = peel_io::read(path, &options, &Budget::default()).map_err(failed)?;
    let layer = picture.into_first().ok_or_else(|| Error::Picture {
        path: path.to_owned(),
        reason: "it holds no layer".into(),
    })?;
    let display = layer.display();
    let pixels = (display.y0..display.y1)
        .flat_map(|y| (display.x0..display.x1).map(move |x| (x, y)))
        .map(|(x, y)| layer.get(x, y))
        .collect();
    let raster = Raster {
        width: display.width() as usize,
        height: display.height() as usize,
        pixels,
    };
    Ok((raster, light))
}

/// Reads an opaque picture.
///
/// # Errors
/// If the file cannot be read.
pub fn read_opaque(path: &Path) -> Result<Raster<3>> {
    Ok(read(path)?.map(|&[r, g, b, _]| [r, g, b]))
}

/// Reads a matte: alpha where the file has some, else its only channel, or red.
///
/// # Errors
/// If the file cannot be read.
pub fn read_matte(path: &Path) -> Result<Raster<1>> {
    let failed = |e: peel_io::Error| Error::Picture {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let matte = peel_io::read_channel(path, None, &Budget::default()).map_err(failed)?;
    let display = matte.display();
    let (width, height) = (display.width() as usize, display.height() as usize);
    Ok(Raster::from_fn(width, height, |x, y| {
        [matte
            .get(display.x0 + x as i32, display.y0 + y as i32)
            .clamp(0.0, 1.0)]
    }))
}

/// Writes an opaque picture as an 8-bit PNG, or as a JPEG where the path ends so.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, picture: &Raster<3>) -> Result<()> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    let opaque = picture.map(|&[r, g, b]| [r, g, b, 1.0]);
    if !matches!(ending.as_deref(), Some("jpg" | "jpeg")) {
        return write_layer(path, &opaque);
    }
    let options = JpegOptions {
        quality: JPEG_QUALITY,
        working: ColourSpace::Srgb,
    };
    let failed = |e: peel_io::Error| picture_error(path, e);
    peel_io::write_jpeg(path, &layer(path, opaque)?, &options).map_err(failed)
}

/// Writes a premultiplied layer as an 8-bit PNG (straight alpha, as PNG has it).
///
/// # Errors
/// If the file cannot be written.
pub fn write_layer(path: &Path, picture: &Raster<4>) -> Result<()> {
    let options = PngOptions {
        working: ColourSpace::Srgb,
        ..PngOptions::default()
    };
    let failed = |e: peel_io::Error| picture_error(path, e);
    peel_io::write_png(path, &layer(path, picture.clone())?, &options).map_err(failed)
}

fn picture_error(path: &Path, reason: impl ToString) -> Error {
    Error::Picture {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn layer(path: &Path, picture: Raster<4>) -> Result<Layer> {
    let frame = Rect::of_size(picture.width as u32, picture.height as u32);
    Layer::from_pixels(frame, frame, picture.pixels)
        .ok_or_else(|| picture_error(path, "its pixels do not fill it"))
}

/// Writes a sample as `ID_C.png` (plate), `ID_B.png` (background), `ID_M.png` (mask) and `ID_L.png` (layer).
///
/// # Errors
/// If a file cannot be written.
pub fn write_sample(dir: &Path, id: &str, sample: &Sample) -> Result<()> {
    let at = |what: &str| dir.join(format!("{id}_{what}.png"));
    write(&at("C"), &sample.plate)?;
    write(&at("B"), &sample.background)?;
    write(&at("M"), &sample.mask.map(|m| [m[0]; 3]))?;
    write_layer(&at("L"), &sample.foreground)
}

/// An error unless a picture of a case has the plate's size.
pub(crate) fn same_size<const C: usize>(path: &Path, picture: &Raster<C>, plate: &Raster<3>) -> Result<()> {
    if (picture.width, picture.height) == (plate.width, plate.height) {
        return Ok(());
    }
    let reason = format!(
        "it is {} x {} pixels, the plate {} x {}",
        picture.width, picture.height, plate.width, plate.height
    );
    Err(Error::content(path, reason))
}

/// Reads a case from its files `C`, `B` and `M` and, where there are some, `E` and `L`. Without a layer the foreground is the masked plate
/// and does not count. The object's own alpha is the mask.
///
/// # Errors
/// If a file cannot be read or has another size than the plate.
pub fn read_case(name: &str, paths: &BTreeMap<String, PathBuf>) -> Result<Case> {
    let at = |part: &str| {
        paths
            .get(part)
            .ok_or_else(|| Error::Evaluation(format!("{name} has no picture {name}_{part}")))
    };
    let plate = read_opaque(at("C")?)?;
    let background = read_opaque(at("B")?)?;
    same_size(at("B")?, &background, &plate)?;
    let mask = read_matte(at("M")?)?;
    same_size(at("M")?, &mask, &plate)?;
    let effect = match paths.get("E") {
        Some(path) => {
            let effect = read_matte(path)?;
            same_size(path, &effect, &plate)?;
            Some(effect)
        }
        None => None,
    };
    let mut linear_layer = None;
    let foreground = match paths.get("L") {
        Some(path) => {
            let (layer, light) = read_light(path)?;
            same_size(path, &layer, &plate)?;
            let in_display = light.as_display(&layer, &background);
            linear_layer = (light == Compositing::Linear).then_some(layer);
            in_display
        }
        None => mask.zip(&plate, |m, c| [m[0] * c[0], m[0] * c[1], m[0] * c[2], m[0]]),
    };
    let truth = Sample {
        plate,
        background,
        foreground,
        object: mask.clone(),
        mask,
        has_foreground: paths.contains_key("L"),
    };
    Ok(Case {
        name: name.to_owned(),
        truth,
        effect,
        known: None,
        linear_layer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_survives_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let background = Raster::from_fn(9, 7, |x, y| [x as f32 / 9.0, y as f32 / 7.0, 0.5]);
        let alpha = |x: usize| if x < 4 { 1.0 } else { 0.25 };
        let foreground = Raster::from_fn(9, 7, |x, _| [0.5 * alpha(x), 0.25 * alpha(x), 0.0, alpha(x)]);
        let mask = Raster::from_fn(9, 7, |x, _| [f32::from(x < 4)]);
        let plate = foreground.over_picture(&background);
        let sample = Sample {
            plate,
            background,
            foreground,
            object: mask.clone(),
            mask,
            has_foreground: true,
        };
        write_sample(dir.path(), "a", &sample).unwrap();
        let path = |part: &str| (part.to_owned(), dir.path().join(format!("a_{part}.png")));
        let paths = ["C", "B", "M", "L"].map(path);
        let case = read_case("a", &BTreeMap::from(paths)).unwrap();
        assert!(case.linear_layer.is_none() && case.effect.is_none());
        let back = case.truth;
        assert!(back.has_foreground);
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.004);
        assert!(close(
            back.plate.pixels.as_flattened(),
            sample.plate.pixels.as_flattened()
        ));
        assert!(close(
            back.foreground.pixels.as_flattened(),
            sample.foreground.pixels.as_flattened()
        ));
        assert_eq!(back.mask, sample.mask);
    }

    #[test]
    fn a_scene_linear_layer_is_seen_in_display_light() {
        let dir = tempfile::tempdir().unwrap();
        let frame = Rect::of_size(8, 4);
        let put = |part: &str, pixel: [f32; 4]| {
            let path = dir.path().join(format!("a_{part}.exr"));
            let layer = Layer::from_fn(frame, frame, |_, _| pixel);
            let out = [peel_io::OutputLayer::base(&layer)];
            peel_io::write_exr(&path, &out, &peel_io::WriteOptions::default()).unwrap();
            (part.to_owned(), path)
        };
        // A shadow that lets a quarter of the light through, over a background brighter than white.
        let paths = [
            put("C", [0.5, 0.125, 0.0625, 1.0]),
            put("B", [2.0, 0.5, 0.25, 1.0]),
            put("M", [0.0; 4]),
            put("L", [0.0, 0.0, 0.0, 0.75]),
        ];
        let case = read_case("a", &BTreeMap::from(paths)).unwrap();
        assert!(case.truth.background.pixels[0][0] > 1.3);
        let laid = case.truth.foreground.over_picture(&case.truth.background);
        for (a, b) in laid.pixels.iter().zip(&case.truth.plate.pixels) {
            assert!((0..3).all(|c| (a[c] - b[c]).abs() < 1e-3), "{a:?} {b:?}");
        }
        assert!((case.truth.foreground.pixels[0][3] - 0.463).abs() < 0.01);
        assert_eq!(case.linear_layer.unwrap().pixels[0][3], 0.75);
    }
}
