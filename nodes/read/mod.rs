//! Read: a layer of a picture, or of a sequence of pictures.
//!
//! # What it does
//!
//! Reads EXR (one part or several, any data window, half or float), PNG, JPEG, TIFF and WebP. `####` in the path
//! stands for the frame in four digits, `%04d` likewise; a path without is the same picture at every frame. A
//! version in the name, such as `_v012`, is left alone. `layer` chooses a layer by its name, which comes from the
//! channels: `mug` for `mug.R`, `mug.G` and so on; without it, the unprefixed `R G B A`, or the first layer.
//!
//! Where a sequence lacks a frame, `missing` says what to do: `Error` fails that frame and leaves the others
//! alone, `Hold` takes the nearest earlier frame, `Black` is transparent black in the size of the others.
//!
//! # When to use it
//!
//! Once for each plate. Mattes are read by Mask, which takes a single channel and converts nothing.
//!
//! # Colour and alpha
//!
//! Pixels come out premultiplied, scene-linear, in the graph's working space. An EXR is taken as its
//! `chromaticities` say, as linear Rec.709 where it says nothing; its alpha is premultiplied. PNG, JPEG, WebP
//! and integer TIFF are taken as sRGB with straight alpha. `colour_space` says otherwise. A picture without
//! alpha is opaque. Nothing is clamped; NaN and infinity come through.
//!
//! # Example
//!
//! `example.ron` reads a small EXR.

use std::sync::Arc;

use peel_image::{ColourSpace, Layer, Pixel, Rect};
use peel_io::{ReadOptions, Rows, Selection};
use peel_node::{
    At, Error, FilePath, Format, FrameNode, KeyBuilder, Node, Output, Params, Pieces, Reader, Result,
    SocketType, Temperament, Value,
};

use crate::files::{self, Found, Missing};

/// Reads a layer of a picture, or of a sequence of pictures.
#[derive(Params)]
#[params(check = Self::check)]
pub struct Read {
    /// The file, or a pattern with `####` or `%04d` for the frame; relative to the graph file.
    path: FilePath,
    /// The layer's name; the unprefixed layer, or the first one, where it is left out.
    layer: Option<String>,
    /// The space that the file's numbers are in, where the file is wrong about it or says nothing.
    colour_space: Option<ColourSpace>,
    /// What to do where the sequence lacks a frame.
    #[param(default = Missing::Error)]
    missing: Missing,
    /// Added to the graph's frame to get the file's.
    #[param(default = 0, unit = "frames", hard = -1000000..=1000000)]
    offset: i32,
}

impl Read {
    fn check(&self, reader: &mut Reader) {
        files::check(&self.path, "path", reader);
    }

    fn find(&self, at: &At<'_>) -> Result<Found> {
        files::find(at, &self.path, at.frame.saturating_add(self.offset), self.missing)
    }

    fn options(&self, at: &At<'_>) -> ReadOptions {
        let selection = match &self.layer {
            Some(name) => Selection::Layer(name.clone()),
            None => Selection::First,
        };
        ReadOptions {
            selection,
            working: at.world.working_space(),
            source: self.colour_space,
        }
    }
}

impl Node for Read {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }

    fn temperament(&self) -> Temperament<'_> {
        Temperament::Frame(self)
    }

    fn format(&self, at: &At<'_>, _output: usize) -> Result<Format> {
        let found = self.find(at)?;
        let info = peel_io::probe(found.file())?;
        let mut format = files::format(&info, self.layer.as_deref());
        if found.is_black() {
            format.data = Rect::EMPTY;
        }
        files::within_budget(at, &info, &format, size_of::<Pixel>())?;
        Ok(format)
    }

    fn identity(&self, at: &At<'_>, key: &mut KeyBuilder) -> Result<()> {
        self.find(at)?.identity(at, key)?;
        // The same file gives other pixels in another working space.
        key.str(at.world.working_space().name());
        Ok(())
    }
}

impl FrameNode for Read {
    fn render(&self, at: &At<'_>) -> Result<Vec<Value>> {
        let found = self.find(at)?;
        if found.is_black() {
            let format = self.format(at, 0)?;
            let black = Layer::new(format.display, Rect::EMPTY).with_pixel_aspect(format.pixel_aspect);
            return Ok(vec![black.into()]);
        }
        let picture = peel_io::read(found.file(), &self.options(at), &at.world.budget())?;
        let layer: Arc<Layer> = picture
            .into_first()
            .ok_or_else(|| Error::message(format!("{}: it holds no layer", found.file().display())))?;
        Ok(vec![Value::Layer(layer)])
    }

    fn pieces(&self, at: &At<'_>) -> Result<Option<Box<dyn Pieces>>> {
        let found = self.find(at)?;
        if found.is_black() {
            return Ok(None);
        }
        let rows = Rows::open(found.file(), &self.options(at), &at.world.budget())?;
        Ok(rows.map(|rows| Box::new(Plate(rows)) as Box<dyn Pieces>))
    }
}

/// A plate whose rows are read when they are wanted.
struct Plate(Rows);

impl Pieces for Plate {
    fn piece(&self, region: Rect) -> Result<Value> {
        let layer = self.0.read(region)?;
        Ok(if layer.data() == region {
            layer.into()
        } else {
            layer.crop(region).into()
        })
    }
}
