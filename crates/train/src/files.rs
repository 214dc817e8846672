//! Samples as files, through `peel-io`. Numbers are display-referred (sRGB), as everywhere in this crate.

use std::path::Path;

use peel_image::{ColourSpace, Layer, Rect};
use peel_io::{Budget, PngOptions, ReadOptions, Selection};

use crate::data::Sample;
use crate::data::raster::Raster;
use crate::{Error, Result};

/// Reads a picture as premultiplied RGBA; of an EXR the layer `background` where it has one.
///
/// # Errors
/// If the file cannot be read.
pub fn read(path: &Path) -> Result<Raster<4>> {
    let failed = |e: peel_io::Error| Error::Picture {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let info = peel_io::probe(path).map_err(failed)?;
    let exr = info.format == peel_io::Format::Exr;
    let layered = info.layers().iter().any(|l| l == "background");
    let options = ReadOptions {
        selection: if layered {
            Selection::Layer("background".into())
        } else {
            Selection::First
        },
        working: if exr {
            ColourSpace::LinearRec709
        } else {
            ColourSpace::Srgb
        },
        source: None,
    };
    let picture = peel_io::read(path, &options, &Budget::default()).map_err(failed)?;
    let layer = picture.into_first().ok_or_else(|| Error::Picture {
        path: path.to_owned(),
        reason: "it holds no layer".into(),
    })?;
    let display = layer.display();
    let (width, height) = (display.width() as usize, display.height() as usize);
    let to_display = ColourSpace::LinearRec709.to(ColourSpace::Srgb);
    let pixels = (display.y0..display.y1)
        .flat_map(|y| (display.x0..display.x1).map(move |x| (x, y)))
        .map(|(x, y)| {
            let pixel = layer.get(x, y);
            if exr { to_display.apply_pixel(pixel) } else { pixel }
        })
        .collect();
    Ok(Raster {
        width,
        height,
        pixels,
    })
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

/// Writes an opaque picture as an 8-bit PNG.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, picture: &Raster<3>) -> Result<()> {
    write_layer(path, &picture.map(|&[r, g, b]| [r, g, b, 1.0]))
}

/// Writes a premultiplied layer as an 8-bit PNG (straight alpha, as PNG has it).
///
/// # Errors
/// If the file cannot be written.
pub fn write_layer(path: &Path, picture: &Raster<4>) -> Result<()> {
    let failed = |reason: String| Error::Picture {
        path: path.to_owned(),
        reason,
    };
    let frame = Rect::of_size(picture.width as u32, picture.height as u32);
    let layer = Layer::from_pixels(frame, frame, picture.pixels.clone())
        .ok_or_else(|| failed("its pixels do not fill it".into()))?;
    let options = PngOptions {
        working: ColourSpace::Srgb,
        ..PngOptions::default()
    };
    peel_io::write_png(path, &layer, &options).map_err(|e| failed(e.to_string()))
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

/// Reads a sample: `ID_C`, `ID_B`, `ID_M` and, where there is one, `ID_L`, with the ending `extension`. Without a layer the
/// foreground is the masked plate and does not count. The object's own alpha is the mask.
///
/// # Errors
/// If a file cannot be read or sizes differ.
pub fn read_sample(dir: &Path, id: &str, extension: &str) -> Result<Sample> {
    let at = |what: &str| dir.join(format!("{id}_{what}.{extension}"));
    let plate = read_opaque(&at("C"))?;
    let background = read_opaque(&at("B"))?;
    let mask = read_matte(&at("M"))?;
    let has_foreground = at("L").exists();
    let foreground = if has_foreground {
        read(&at("L"))?
    } else {
        mask.zip(&plate, |m, c| [m[0] * c[0], m[0] * c[1], m[0] * c[2], m[0]])
    };
    let size = (plate.width, plate.height);
    let same = |w: usize, h: usize| (w, h) == size;
    if !same(background.width, background.height)
        || !same(mask.width, mask.height)
        || !same(foreground.width, foreground.height)
    {
        return Err(Error::content(
            at("C"),
            "plate, background, mask and layer have different sizes",
        ));
    }
    Ok(Sample {
        plate,
        background,
        foreground,
        object: mask.clone(),
        mask,
        has_foreground,
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
        let back = read_sample(dir.path(), "a", "png").unwrap();
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
}
