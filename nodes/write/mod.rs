//! Write: write each frame to a file.
//!
//! # What it does
//!
//! Writes what flows in to an EXR, PNG or JPEG file, by the path's ending. `####` in the path stands for the frame
//! in four digits, `%04d` likewise. Missing folders are made. A file appears whole or not at all, and the same
//! graph gives the same bytes.
//!
//! A stack becomes a layered EXR: the flattened picture first, as `R G B A` without prefix, then
//! `background.R G B A`, then one `NAME.R G B A` a layer. `layout` says how they share the file. A single layer is
//! written as `R G B A`; a matte is written as white light with the matte as alpha. A PNG or JPEG of a stack
//! shows it flattened.
//!
//! An EXR carries the key that it was written under. `peel render --skip-existing` leaves it only if that key is still
//! right and the file can be read to its end; PNG and JPEG files carry no key and are written again.
//!
//! What the pictures said about themselves (time code, frame rate, owner, comments, unknown attributes too) is
//! written again, beside what it takes to make the frame again: the graph's fingerprint, the node's key, and for
//! a decomposed plate seed, steps, weights, device and number type.
//!
//! # When to use it
//!
//! At the end of each branch that should become a file. EXR to go on working, PNG or JPEG to look at.
//!
//! # Colour and alpha
//!
//! EXR holds premultiplied, scene-linear light in the working space, or in the linear space that `colour_space`
//! names, with its `chromaticities`; half float unless `pixels` says otherwise, with what lies outside the frame. The
//! data window is that of the node that is written; with `layout: Multipart`, each layer's is as tight as can
//! be. Stacks in half lay back together exactly; in another colour space, or with a lossy
//! compression, only nearly. PNG holds sRGB with straight alpha, JPEG sRGB over black; both show the frame only and
//! cut light off at 0 and 1.
//!
//! # Example
//!
//! `example.ron` writes an ellipse on its own tight data window.

mod options;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use peel_image::colour::Conversion;
use peel_image::{ColourSpace, Layer, Rect, Stack};
use peel_io::{FramePattern, JpegOptions, PngOptions, ReadOptions, Selection, Shape, WriteOptions};
use peel_node::{
    At, Error, FilePath, Format, Input, Node, Output, Params, Reader, Result, SinkNode, Stretch, Temperament,
    Value, Written, socket,
};

use options::{Bits, Compression, Kind, Layout, Pixels};

/// Writes each frame to a file.
#[derive(Params)]
#[params(check = Self::check)]
pub struct Write {
    /// What to write.
    input: Input<socket::Any>,
    /// The file, ending in `.exr`, `.png`, `.jpg` or `.jpeg`, with `####` or `%04d` for the frame; relative to
    /// the graph file.
    path: FilePath,
    /// How the layers of a stack share an EXR file.
    #[param(default = Layout::Spec)]
    layout: Layout,
    /// How an EXR file is compressed.
    #[param(default = Compression::Zip)]
    compression: Compression,
    /// The numbers of an EXR file.
    #[param(default = Pixels::Half)]
    pixels: Pixels,
    /// The linear space of an EXR file's numbers; the working space where it is left out.
    colour_space: Option<ColourSpace>,
    /// Bits of a PNG's channel.
    #[param(default = Bits::Eight)]
    bits: Bits,
    /// A JPEG's quality.
    #[param(default = 95, hard = 1..=100)]
    quality: u32,
}

impl Write {
    fn check(&self, reader: &mut Reader) {
        crate::files::check(&self.path, "path", reader);
        if Kind::of(Path::new(self.path.as_str())).is_none() {
            let message = "a file to write ends in `.exr`, `.png`, `.jpg` or `.jpeg`";
            reader.error_at("path", message);
        }
        if let Some(space) = self.colour_space
            && !space.is_linear()
        {
            let message = format!("an EXR file holds linear light, which {space} is not");
            reader.error_at("colour_space", message);
        }
    }

    /// What flows in, whole, in the space of the file.
    fn picture(&self, at: &At<'_>, path: &Path, conversion: &Conversion) -> Result<Value> {
        let format = at.format(&self.input)?;
        let layers = format.layers.len().max(1) as u64;
        let needed = format
            .data
            .area()
            .saturating_mul(size_of::<peel_image::Pixel>() as u64)
            * layers;
        let what = || format!("a picture of {} pixels in {layers} layers", format.data);
        at.world.budget().check(path, what, needed)?;
        let value = at.value(&self.input, format.data)?;
        if conversion.is_none() {
            return Ok(value);
        }
        let converted = |layer: &Layer| {
            let mut layer = layer.clone();
            conversion.apply_row(layer.pixels_mut());
            layer
        };
        Ok(match value {
            Value::Layer(layer) => converted(&layer).into(),
            Value::Stack(stack) => {
                let mut stack = Stack::clone(&stack);
                for named in &mut stack.layers {
                    named.layer = converted(&named.layer).into();
                }
                stack.into()
            }
            // Coverage is no light.
            Value::Matte(matte) => Value::Matte(matte),
        })
    }

    fn write_exr(&self, at: &At<'_>, path: &Path) -> Result<()> {
        let working = at.world.working_space();
        let space = self.colour_space.unwrap_or(working);
        let format = at.format(&self.input)?;
        let mut options = WriteOptions {
            layout: self.layout.into(),
            compression: self.compression.into(),
            pixel_type: self.pixels.into(),
            working: space,
            attributes: self.attributes(at, &format, &BTreeMap::new()),
        };
        if format.layers.is_empty() {
            return self.write_bands(at, path, &format, &options, &working.to(space));
        }
        match self.picture(at, path, &working.to(space))? {
            Value::Stack(stack) => {
                options.attributes = self.attributes(at, &format, &stack.facts);
                encode(at, path, || peel_io::write_stack(path, &stack, &options))
            }
            other => Err(Error::message(format!("a {} with layers", other.socket_type()))),
        }
    }

    /// A layer or a matte, made and written band by band: the whole picture is never there.
    fn write_bands(
        &self,
        at: &At<'_>,
        path: &Path,
        format: &Format,
        options: &WriteOptions,
        conversion: &Conversion,
    ) -> Result<()> {
        let shape = Shape {
            display: format.display,
            data: format.data,
            pixel_aspect: format.pixel_aspect,
        };
        peel_io::write_exr_in_bands(path, &shape, options, |bands| {
            let regions = bands.regions();
            let done = AtomicUsize::new(0);
            at.each(&self.input, &regions, &|region, value| {
                let layer = match value {
                    Value::Layer(layer) if conversion.is_none() => layer,
                    Value::Layer(layer) => {
                        let mut layer = Arc::unwrap_or_clone(layer);
                        conversion.apply_row(layer.pixels_mut());
                        layer.into()
                    }
                    // Coverage is no light.
                    Value::Matte(matte) => white(&matte).into(),
                    Value::Stack(_) => return Err(Error::message("the stack has no layers")),
                };
                at.world
                    .stretch(Stretch::Encode, &mut || Ok(bands.put(region, &layer)?))?;
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                if at.world.progress(done as f32 / regions.len() as f32) {
                    Ok(())
                } else {
                    Err(Error::Cancelled)
                }
            })
        })
    }

    /// A single layer of what flows in, for formats without layers.
    fn flat(&self, at: &At<'_>, path: &Path) -> Result<Layer> {
        Ok(match self.picture(at, path, &Conversion::NONE)? {
            Value::Layer(layer) => Layer::clone(&layer),
            Value::Matte(matte) => white(&matte),
            Value::Stack(stack) => crate::alpha_over::flatten(&stack),
        })
    }

    /// What the picture said about itself, what was found out while it was made, and what it takes to make it again.
    fn attributes(
        &self,
        at: &At<'_>,
        format: &Format,
        facts: &BTreeMap<String, String>,
    ) -> Vec<peel_io::Attribute> {
        let mut attributes = format.attributes.as_ref().clone();
        let mut add = |name: &str, value: String| {
            attributes.insert(name.to_owned(), peel_io::Attribute::text(name, value));
        };
        for (name, value) in facts {
            add(name, value.clone());
        }
        add("peel:version", env!("CARGO_PKG_VERSION").to_owned());
        add("peel:graph", at.world.fingerprint().hex());
        add("peel:frame", at.frame.to_string());
        if let Some(key) = at.key {
            add("peel:node", key.hex());
        }
        attributes.into_values().collect()
    }
}

/// Writes a whole file, as a stretch of its own in a trace.
fn encode(at: &At<'_>, path: &Path, write: impl Fn() -> peel_io::Result<()>) -> Result<()> {
    at.world.stretch(Stretch::Encode, &mut || {
        write()?;
        Ok(at.world.identity(path)?.size)
    })
}

/// A matte as a picture: white light, as far as the matte covers.
fn white(matte: &peel_image::Matte) -> Layer {
    Layer::from_fn(matte.display(), matte.data(), |x, y| [matte.get(x, y); 4])
}

impl Node for Write {
    fn outputs(&self) -> Vec<Output> {
        Vec::new()
    }

    fn temperament(&self) -> Temperament<'_> {
        Temperament::Sink(self)
    }

    fn format(&self, _at: &At<'_>, _output: usize) -> Result<Format> {
        Ok(Format::new(Rect::EMPTY, Rect::EMPTY))
    }
}

impl SinkNode for Write {
    fn path(&self, at: &At<'_>) -> Result<PathBuf> {
        let pattern: FramePattern = self.path.as_str().parse()?;
        Ok(at.world.resolve(&pattern.path(at.frame).to_string_lossy()))
    }

    /// An EXR that can be read to its end and carries this node's key. PNG and JPEG carry none.
    fn is_current(&self, at: &At<'_>, path: &Path) -> Result<bool> {
        let (Some(Kind::Exr), Some(key)) = (Kind::of(path), at.key) else {
            return Ok(false);
        };
        let mark = peel_io::Attribute::text("peel:node", key.hex());
        let marked = peel_io::probe(path)
            .is_ok_and(|info| info.parts.iter().any(|part| part.attributes.contains(&mark)));
        let all = ReadOptions {
            selection: Selection::All,
            ..ReadOptions::default()
        };
        Ok(marked && peel_io::read(path, &all, &at.world.budget()).is_ok())
    }

    fn write(&self, at: &At<'_>) -> Result<Written> {
        let path = self.path(at)?;
        let working = at.world.working_space();
        match Kind::of(&path) {
            Some(Kind::Exr) => self.write_exr(at, &path)?,
            Some(Kind::Png) => {
                let layer = self.flat(at, &path)?;
                let depth = self.bits.into();
                let options = PngOptions { depth, working };
                encode(at, &path, || peel_io::write_png(&path, &layer, &options))?;
            }
            Some(Kind::Jpeg) => {
                let layer = self.flat(at, &path)?;
                let quality = self.quality.min(100) as u8;
                let options = JpegOptions { quality, working };
                encode(at, &path, || peel_io::write_jpeg(&path, &layer, &options))?;
            }
            None => {
                return Err(Error::message(format!(
                    "{}: not a kind of file that is written",
                    path.display()
                )));
            }
        }
        let bytes = at.world.identity(&path)?.size;
        Ok(Written { path, bytes })
    }
}
