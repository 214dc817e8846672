//! Writing pictures: layered EXR files, and PNG and JPEG for looking at.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io::Write;
use std::path::Path;

use peel_image::{ColourSpace, Layer, MergeOp, Rect, Stack, quantise};

use crate::info::SampleType;
use crate::openexr::Compression;
use crate::openexr::encode::{self, ChannelOut, PartOut, Shared};
use crate::raster::{self, Depth};
use crate::{Attribute, Error, Result, write_atomically};

/// How several layers share an EXR file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Layout {
    /// One part, channels `NAME.R NAME.G NAME.B NAME.A`, the data window around all layers: what the
    /// specification describes and every tool reads.
    #[default]
    Spec,
    /// One part a layer, each with its own tight data window: smaller and faster. The channels keep their
    /// prefix, since the layer's name comes from there.
    Multipart,
    /// One part, channels `NAME.red NAME.green NAME.blue NAME.alpha`, names of letters, digits and `_`: what
    /// Nuke's own Write makes by default, so that its Read gets exactly these layers. (From a multi-part file
    /// Nuke derives names from the parts too, and shows layers twice.)
    Nuke,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Layout; 3] = [Layout::Spec, Layout::Multipart, Layout::Nuke];

    /// The layout's name in graphs.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Spec => "Spec",
            Layout::Multipart => "Multipart",
            Layout::Nuke => "Nuke",
        }
    }

    /// The layout of this name; case does not matter.
    pub fn parse(name: &str) -> Option<Layout> {
        Self::ALL
            .into_iter()
            .find(|layout| layout.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The numbers of colour channels in an EXR file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PixelType {
    /// 16-bit floats.
    #[default]
    Half,
    /// 32-bit floats.
    Float,
}

impl PixelType {
    pub(crate) fn sample(self) -> SampleType {
        match self {
            PixelType::Half => SampleType::Half,
            PixelType::Float => SampleType::Float,
        }
    }
}

/// How an EXR file is written.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct WriteOptions {
    /// How layers share the file.
    pub layout: Layout,
    /// How pixels are compressed.
    pub compression: Compression,
    /// The type of all channels.
    pub pixel_type: PixelType,
    /// The space that the pixels are in; its primaries go into the file as `chromaticities`.
    pub working: ColourSpace,
    /// What else the header says. Attributes that describe the storage of pixels are left out.
    pub attributes: Vec<Attribute>,
}

/// A layer to be written.
#[derive(Clone, Debug)]
pub struct OutputLayer<'a> {
    /// The name, `""` for the base layer `R G B A`.
    pub name: Cow<'a, str>,
    /// The pixels; those outside the display window are written too.
    pub layer: &'a Layer,
}

impl<'a> OutputLayer<'a> {
    /// The base layer: channels `R G B A`.
    pub fn base(layer: &'a Layer) -> OutputLayer<'a> {
        OutputLayer {
            name: Cow::Borrowed(""),
            layer,
        }
    }

    /// A named layer: channels `NAME.R` and so on.
    pub fn named(name: &'a str, layer: &'a Layer) -> OutputLayer<'a> {
        OutputLayer {
            name: Cow::Borrowed(name),
            layer,
        }
    }
}

/// Writes layers as an EXR file, the first one first. All must share a display window. The file appears whole or
/// not at all; the same layers and options give the same bytes, whatever the number of threads.
pub fn write_exr(path: &Path, layers: &[OutputLayer], options: &WriteOptions) -> Result<()> {
    let first = layers
        .first()
        .ok_or_else(|| Error::unwritable(path, "there is no layer to write"))?;
    let display = first.layer.display();
    check_layers(path, layers, display)?;
    let names = unique_names(path, layers, options.layout)?;
    let suffixes = match options.layout {
        Layout::Nuke => ["red", "green", "blue", "alpha"],
        _ => ["R", "G", "B", "A"],
    };
    let sample = options.pixel_type.sample();
    let channels = |layer, name: &str| -> Vec<ChannelOut> {
        let named = |component: usize| match name {
            "" => ["R", "G", "B", "A"][component].to_owned(),
            name => format!("{name}.{}", suffixes[component]),
        };
        (0..4)
            .map(|component| ChannelOut {
                name: named(component),
                layer,
                component,
                sample,
            })
            .collect()
    };
    let all = layers.iter().zip(&names);
    let parts: Vec<PartOut> = if options.layout == Layout::Multipart && layers.len() > 1 {
        all.map(|(out, name)| PartOut {
            name: Some(if name.is_empty() {
                "rgba".into()
            } else {
                name.clone()
            }),
            data: representable(out.layer.tight_window(), display),
            channels: channels(out.layer, name),
        })
        .collect()
    } else {
        let data = layers
            .iter()
            .fold(Rect::EMPTY, |data, out| data.union(out.layer.tight_window()));
        let channels = all.flat_map(|(out, name)| channels(out.layer, name));
        vec![PartOut {
            name: None,
            data: representable(data, display),
            channels: channels.collect(),
        }]
    };

    let attributes = attributes(path, options)?;
    let shared = Shared {
        display,
        pixel_aspect: first.layer.pixel_aspect(),
        compression: options.compression,
        attributes: &attributes,
    };
    write_atomically(path, |writer| {
        encode::encode(writer, parts, &shared).map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
    })
}

/// What the header says beside the storage of pixels.
pub(crate) fn attributes(path: &Path, options: &WriteOptions) -> Result<Vec<Attribute>> {
    let mut attributes = vec![Attribute::chromaticities(&options.working.chromaticities())];
    let others = options.attributes.iter().filter(|a| a.name != "chromaticities");
    attributes.extend(others.cloned());
    check_attributes(path, &attributes)?;
    Ok(attributes)
}

/// Writes a stack: the flattened picture first, as `R G B A`, then every layer under its name, bottom to top.
/// The flattened picture is the over of the layers as they are in the file (rounded to its type), so that
/// whoever lays them back together gets it exactly.
pub fn write_stack(path: &Path, stack: &Stack, options: &WriteOptions) -> Result<()> {
    if stack.layers.is_empty() {
        return Err(Error::unwritable(path, "the stack has no layers"));
    }
    let flat = flatten_as_stored(stack, options.pixel_type);
    let mut layers = vec![OutputLayer::base(&flat)];
    layers.extend(
        stack
            .layers
            .iter()
            .map(|named| OutputLayer::named(&named.name, &named.layer)),
    );
    write_exr(path, &layers, options)
}

/// Over of all layers, each rounded to the file's type first.
fn flatten_as_stored(stack: &Stack, pixel_type: PixelType) -> Layer {
    let mut flat: Option<Layer> = None;
    for named in &stack.layers {
        let mut rounded = Layer::clone(&named.layer);
        if pixel_type == PixelType::Half {
            quantise::half_layer(&mut rounded);
        }
        flat = Some(match flat {
            None => rounded,
            Some(below) => over(&rounded, below),
        });
    }
    flat.unwrap_or_else(|| Layer::new(Rect::EMPTY, Rect::EMPTY))
}

/// `above` over `below`, in a window around both.
fn over(above: &Layer, below: Layer) -> Layer {
    let window = above.data().union(below.data());
    let mut out = if window == below.data() {
        below
    } else {
        below.crop(window)
    };
    for y in above.data().y0..above.data().y1 {
        let start = (above.data().x0 - window.x0) as usize;
        MergeOp::Over.row(above.row(y), &mut out.row_mut(y)[start..]);
    }
    out
}

/// EXR has no empty window: a transparent pixel stands for nothing.
pub(crate) fn representable(window: Rect, display: Rect) -> Rect {
    if !window.is_empty() {
        return window;
    }
    Rect {
        x0: display.x0,
        y0: display.y0,
        x1: display.x0 + 1,
        y1: display.y0 + 1,
    }
}

fn check_layers(path: &Path, layers: &[OutputLayer], display: Rect) -> Result<()> {
    for out in layers {
        if out.layer.display() != display {
            return Err(Error::unwritable(
                path,
                format!(
                    "layer {:?} has the display window {}, the first one {display}; bring them to one size",
                    out.name,
                    out.layer.display()
                ),
            ));
        }
        check_windows(path, &out.name, display, out.layer.data())?;
    }
    Ok(())
}

/// Whether EXR can say where a layer is.
pub(crate) fn check_windows(path: &Path, layer: &str, display: Rect, data: Rect) -> Result<()> {
    if display.is_empty() {
        return Err(Error::unwritable(path, "the picture has no size"));
    }
    let corners = |window: Rect| [window.x0, window.y0, window.x1, window.y1];
    let far = |v: &i32| v.unsigned_abs() > i32::MAX as u32 / 2;
    if corners(data).iter().chain(&corners(display)).any(far) {
        let text = format!("layer {layer:?} reaches to {data}, too far for EXR");
        return Err(Error::unwritable(path, text));
    }
    Ok(())
}

/// The layers' names as they will stand in the file.
fn unique_names(path: &Path, layers: &[OutputLayer], layout: Layout) -> Result<Vec<String>> {
    let mut seen = HashSet::new();
    let mut names = Vec::with_capacity(layers.len());
    for out in layers {
        let name = if layout == Layout::Nuke {
            nuke_name(&out.name)
        } else {
            out.name.clone().into_owned()
        };
        if name.bytes().any(|byte| byte == 0) || name.len() > 240 {
            return Err(Error::unwritable(
                path,
                format!(
                    "layer {:?}: a name has at most 240 bytes, none of them 0",
                    out.name
                ),
            ));
        }
        // Multi-part files call the base layer's part "rgba".
        let part = if layout == Layout::Multipart && name.is_empty() {
            "rgba"
        } else {
            &name
        };
        if !seen.insert(part.to_owned()) {
            return Err(Error::unwritable(
                path,
                format!("two layers are called {part:?}; rename one of them"),
            ));
        }
        names.push(name);
    }
    Ok(names)
}

/// A name that Nuke takes for a layer: letters, digits and `_`, no digit first.
fn nuke_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' {
            c
        } else {
            '_'
        }
    };
    let mut out: String = name.chars().map(plain).collect();
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

fn check_attributes(path: &Path, attributes: &[Attribute]) -> Result<()> {
    for attribute in attributes {
        for name in [&attribute.name, &attribute.kind] {
            if name.is_empty() || name.len() > 255 || name.bytes().any(|byte| byte == 0) {
                return Err(Error::unwritable(
                    path,
                    format!(
                        "attribute {:?}: names and types have 1 to 255 bytes, none of them 0",
                        attribute.name
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// How a PNG is written.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct PngOptions {
    /// Bits of a channel.
    pub depth: Depth,
    /// The space that the pixels are in.
    pub working: ColourSpace,
}

/// How a JPEG is written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct JpegOptions {
    /// 1 to 100.
    pub quality: u8,
    /// The space that the pixels are in.
    pub working: ColourSpace,
}

impl Default for JpegOptions {
    fn default() -> JpegOptions {
        JpegOptions {
            quality: 95,
            working: ColourSpace::default(),
        }
    }
}

/// Writes the layer's display window as an sRGB PNG with straight alpha. Values are cut to 0..1, NaN is black, and
/// light without alpha is lost.
pub fn write_png(path: &Path, layer: &Layer, options: &PngOptions) -> Result<()> {
    put(path, layer, || {
        raster::encode_png(layer, options.working, options.depth)
    })
}

/// Writes the layer's display window over black as an sRGB JPEG.
pub fn write_jpeg(path: &Path, layer: &Layer, options: &JpegOptions) -> Result<()> {
    let display = layer.display();
    if display.width() > 65535 || display.height() > 65535 {
        return Err(Error::unwritable(
            path,
            format!("{display} is too large for JPEG; write PNG or EXR"),
        ));
    }
    put(path, layer, || {
        raster::encode_jpeg(layer, options.working, options.quality)
    })
}

fn put(
    path: &Path,
    layer: &Layer,
    encode: impl FnOnce() -> Result<Vec<u8>, image::ImageError>,
) -> Result<()> {
    if layer.display().is_empty() {
        return Err(Error::unwritable(path, "the picture has no size"));
    }
    let bytes = encode().map_err(|error| Error::unwritable(path, error.to_string()))?;
    write_atomically(path, |writer| {
        writer.write_all(&bytes).map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
    })
}
