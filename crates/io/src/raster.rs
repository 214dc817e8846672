//! PNG, JPEG, TIFF and WebP, through the `image` crate.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use peel_image::colour::{map_straight, premultiply, unpremultiply};
use peel_image::{ColourSpace, Layer, Matte, Pixel, Rect};

use crate::info::{Channel, Format, Info, PartInfo, SampleType, Storage};
use crate::openexr::header::open;
use crate::picture::{Picture, ReadOptions};
use crate::{Budget, Error, Result};

type Decoder = Box<dyn ImageDecoder>;

/// The header of a file.
pub(crate) fn probe(path: &Path, format: Format) -> Result<Info> {
    let (bytes, decoder) = decoder(path, format, None)?;
    let (width, height) = decoder.dimensions();
    let display = Rect::of_size(width, height);
    let colour = decoder.color_type();
    let sample = sample_type(colour);
    let names: &[&str] = match (colour.has_color(), colour.has_alpha()) {
        (true, true) => &["R", "G", "B", "A"],
        (true, false) => &["R", "G", "B"],
        (false, true) => &["Y", "A"],
        (false, false) => &["Y"],
    };
    let channel = |name: &&str| Channel {
        name: (*name).into(),
        sample,
        sampling: (1, 1),
    };
    Ok(Info {
        path: path.to_owned(),
        format,
        bytes,
        display,
        pixel_aspect: 1.0,
        parts: vec![PartInfo {
            name: None,
            data: display,
            channels: names.iter().map(channel).collect(),
            compression: format.to_string(),
            storage: Storage::ScanLines,
            attributes: Vec::new(),
        }],
    })
}

/// Reads a file as one opaque or unassociated-alpha picture, into premultiplied light.
pub(crate) fn read(path: &Path, format: Format, options: &ReadOptions, budget: &Budget) -> Result<Picture> {
    if let crate::Selection::Layer(name) = &options.selection
        && !name.is_empty()
    {
        return Err(Error::NoLayer {
            path: path.to_owned(),
            layer: name.clone(),
            have: vec![String::new()],
        });
    }
    let image = decode(path, format, budget)?;
    let light = sample_type(image.color()).is_float();
    let source = options.source.unwrap_or(if light {
        ColourSpace::LinearRec709
    } else {
        ColourSpace::Srgb
    });
    let conversion = source.to(options.working);
    let straight = |pixel: Pixel| {
        let [r, g, b] = conversion.apply([pixel[0], pixel[1], pixel[2]]);
        premultiply([r, g, b, pixel[3]])
    };
    let frame = Rect::of_size(image.width(), image.height());
    let mut pixels = Vec::with_capacity(frame.area() as usize);
    if sample_type(image.color()) == SampleType::U8 && conversion_is_per_channel(source, options.working) {
        // 256 values: look the curve up.
        let curve: Vec<f32> = (0..=255u8)
            .map(|v| conversion.apply([f32::from(v) / 255.0; 3])[0])
            .collect();
        let image = image.into_rgba8();
        pixels.extend(image.pixels().map(|p| {
            let [r, g, b, a] = p.0;
            premultiply([
                curve[usize::from(r)],
                curve[usize::from(g)],
                curve[usize::from(b)],
                f32::from(a) / 255.0,
            ])
        }));
    } else if light {
        pixels.extend(image.into_rgba32f().pixels().map(|p| straight(p.0)));
    } else {
        let scale = |v: u16| f32::from(v) / 65535.0;
        pixels.extend(image.into_rgba16().pixels().map(|p| straight(p.0.map(scale))));
    }
    let layer = Layer::from_pixels(frame, frame, pixels)
        .ok_or_else(|| Error::damaged(path, "it has fewer pixels than it claims"))?;
    Ok(Picture::single(layer))
}

/// Whether red, green and blue do not mix between the two spaces.
fn conversion_is_per_channel(a: ColourSpace, b: ColourSpace) -> bool {
    a.chromaticities() == b.chromaticities()
}

/// Reads one channel, its numbers as stored.
pub(crate) fn read_channel(
    path: &Path,
    format: Format,
    channel: Option<&str>,
    budget: &Budget,
) -> Result<Matte> {
    let image = decode(path, format, budget)?;
    let colour = image.color();
    let frame = Rect::of_size(image.width(), image.height());
    let have: Vec<String> = match (colour.has_color(), colour.has_alpha()) {
        (true, true) => &["R", "G", "B", "A"][..],
        (true, false) => &["R", "G", "B"],
        (false, true) => &["Y", "A"],
        (false, false) => &["Y"],
    }
    .iter()
    .map(|name| (*name).to_owned())
    .collect();
    let component = match channel.map(str::to_ascii_lowercase).as_deref() {
        None => None,
        Some("r" | "red") => Some(0),
        Some("g" | "green") if colour.has_color() => Some(1),
        Some("b" | "blue") if colour.has_color() => Some(2),
        Some("y") if !colour.has_color() => Some(0),
        Some("a" | "alpha") if colour.has_alpha() => Some(3),
        Some(_) => {
            let channel = channel.unwrap_or_default().to_owned();
            return Err(Error::NoChannel {
                path: path.to_owned(),
                channel,
                have,
            });
        }
    };
    let pixels: Vec<Pixel> = match sample_type(colour) {
        SampleType::U8 => image
            .into_rgba8()
            .pixels()
            .map(|p| p.0.map(|v| f32::from(v) / 255.0))
            .collect(),
        SampleType::Float => image.into_rgba32f().pixels().map(|p| p.0).collect(),
        _ => image
            .into_rgba16()
            .pixels()
            .map(|p| p.0.map(|v| f32::from(v) / 65535.0))
            .collect(),
    };
    let speaks = |pixel: &Pixel| pixel[3] != 1.0;
    let component = component.unwrap_or_else(|| if pixels.iter().any(speaks) { 3 } else { 0 });
    Matte::from_values(
        frame,
        frame,
        pixels.into_iter().map(|pixel| pixel[component]).collect(),
    )
    .ok_or_else(|| Error::damaged(path, "it has fewer pixels than it claims"))
}

/// The file's length and a decoder that has read its header.
fn decoder(path: &Path, format: Format, most: Option<u64>) -> Result<(u64, Decoder)> {
    let (length, input) = open(path)?;
    let format = match format {
        Format::Png => ImageFormat::Png,
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Tiff => ImageFormat::Tiff,
        _ => ImageFormat::WebP,
    };
    let mut reader = ImageReader::with_format(input, format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = most;
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| of_codec(path, error))?;
    Ok((length, Box::new(decoder)))
}

/// The picture, upright.
fn decode(path: &Path, format: Format, budget: &Budget) -> Result<DynamicImage> {
    let checked = || -> Result<DynamicImage> {
        let (_, mut decoder) = decoder(path, format, Some(budget.max_bytes))?;
        let (width, height) = decoder.dimensions();
        if width == 0 || height == 0 {
            return Err(Error::damaged(path, "it has no pixels"));
        }
        // The decoded picture, one of 16 bits or floats, and the layer.
        let pixels = u64::from(width) * u64::from(height);
        let needed = decoder.total_bytes().saturating_add(pixels.saturating_mul(32));
        budget.check(path, || format!("a picture of {width}x{height} pixels"), needed)?;
        let orientation = decoder.orientation().map_err(|error| of_codec(path, error))?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(|error| of_codec(path, error))?;
        image.apply_orientation(orientation);
        Ok(image)
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(checked));
    outcome.unwrap_or_else(|_| Err(Error::damaged(path, "its compressed pixels make no sense")))
}

fn sample_type(colour: image::ColorType) -> SampleType {
    match colour.bytes_per_pixel() / colour.channel_count() {
        1 => SampleType::U8,
        2 => SampleType::U16,
        _ => SampleType::Float,
    }
}

fn of_codec(path: &Path, error: ImageError) -> Error {
    match error {
        ImageError::IoError(source) => Error::reading(path, source),
        ImageError::Unsupported(what) => Error::Unsupported {
            path: path.to_owned(),
            part: None,
            feature: format!("something in it ({what}) is"),
            advice: "save it as an 8- or 16-bit PNG, or as EXR".into(),
        },
        other => Error::damaged(path, other.to_string()),
    }
}

/// Bits of a channel in a PNG.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Depth {
    /// 256 steps.
    #[default]
    Eight,
    /// 65536 steps.
    Sixteen,
}

/// The layer's display window as an sRGB PNG with straight alpha, encoded. Values outside 0 to 1 are cut off
/// (that is what the display does), NaN is black; light without alpha is lost, since PNG cannot hold it.
pub(crate) fn encode_png(layer: &Layer, working: ColourSpace, depth: Depth) -> Result<Vec<u8>, ImageError> {
    let conversion = working.to(ColourSpace::Srgb);
    let shown = |pixel: Pixel| unpremultiply(map_straight(pixel, |rgb| conversion.apply(rgb)));
    let (width, height) = size(layer);
    let image = match depth {
        Depth::Eight => {
            let values = values(layer, shown, |v| (v * 255.0).round() as u8);
            image::RgbaImage::from_raw(width, height, values.concat()).map(DynamicImage::from)
        }
        Depth::Sixteen => {
            let values = values(layer, shown, |v| (v * 65535.0).round() as u16);
            image::ImageBuffer::from_raw(width, height, values.concat()).map(DynamicImage::ImageRgba16)
        }
    };
    let mut out = Cursor::new(Vec::new());
    image.unwrap_or_default().write_to(&mut out, ImageFormat::Png)?;
    Ok(out.into_inner())
}

/// The layer's display window over black as an sRGB JPEG, encoded. `quality` is 1 to 100.
pub(crate) fn encode_jpeg(layer: &Layer, working: ColourSpace, quality: u8) -> Result<Vec<u8>, ImageError> {
    let conversion = working.to(ColourSpace::Srgb);
    // Over black, premultiplied light is what is seen.
    let shown = |[r, g, b, _]: Pixel| {
        let [r, g, b] = conversion.apply([r, g, b]);
        [r, g, b, 1.0]
    };
    let (width, height) = size(layer);
    let values = values(layer, shown, |v| (v * 255.0).round() as u8);
    let rgb: Vec<u8> = values
        .iter()
        .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
        .collect();
    let mut out = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, quality.clamp(1, 100));
    image::ImageEncoder::write_image(encoder, &rgb, width, height, image::ExtendedColorType::Rgb8)?;
    Ok(out)
}

fn size(layer: &Layer) -> (u32, u32) {
    (layer.display().width() as u32, layer.display().height() as u32)
}

/// Every pixel of the display window, turned for display and then to whole numbers.
fn values<T: Copy>(layer: &Layer, shown: impl Fn(Pixel) -> Pixel, whole: impl Fn(f32) -> T) -> Vec<[T; 4]> {
    let display = layer.display();
    // Zero for NaN, which `clamp` would keep.
    let cut = |v: f32| whole(if v > 0.0 { v.min(1.0) } else { 0.0 });
    let rows = display.y0..display.y1;
    rows.flat_map(|y| (display.x0..display.x1).map(move |x| layer.get(x, y)))
        .map(|pixel| shown(pixel).map(cut))
        .collect()
}
