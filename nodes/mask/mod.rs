//! Mask: make a matte, and change its shape.
//!
//! # What it does
//!
//! Takes coverage from somewhere (`from`), then, in this order, grows or shrinks it, feathers it, inverts it,
//! and combines it with another matte.
//!
//! `from` is one of: a file's matte, one named channel of a file, another matte, the alpha or the luminance of a
//! layer, the places where a layer has a certain colour, a polygon, an ellipse. Shapes are drawn with the exact
//! area of each pixel that they cover; their points may be animated. They need a frame: that of the
//! picture in `like`, or of the matte that they are combined with.
//!
//! Growing takes the largest coverage within a disc, shrinking the smallest. A feather of n pixels blurs an edge
//! over about n pixels to each side. What lies outside the frame is not known, so a matte that runs out of
//! the frame stays whole at its edge.
//!
//! # When to use it
//!
//! To tell Decompose which object to peel, to keep a Recolor inside a region, to cut a layer out by hand. Decompose
//! forgives loose mattes better than tight ones: a few pixels of `grow` do no harm.
//!
//! # Colour and alpha
//!
//! The result is coverage from 0 to 1, not light: it is never converted between colour spaces. Coverage outside 0
//! to 1 is clamped, and what is not a number counts as 0. From a file, `File` takes the alpha channel; where there
//! is none, or none that says anything, the luminance or the red channel, as it stands in the file (a matte drawn as
//! a grey PNG). `Luminance` and `Key` look at scene-linear light in the working space.
//!
//! # Example
//!
//! `example.ron` draws an ellipse, feathers it, and cuts a triangle out of it.

mod file;
mod source;

use peel_image::matte_ops::{self, combine, feather, grow};
use peel_image::{Matte, Rect};
use peel_node::{
    Animated, At, Choice, Error, Format, FrameNode, Input, KeyBuilder, Node, Output, Params, Reader,
    RegionNode, Result, SocketType, Temperament, Value, socket,
};

use rayon::prelude::*;

use crate::files::Missing;
pub use source::Source;

/// Makes a matte, and changes its shape.
#[derive(Params)]
#[params(check = Self::check)]
pub struct Mask {
    /// Where coverage comes from.
    from: Source,
    /// How far the matte grows; negative shrinks it.
    #[param(default = 0.0, unit = "pixels", soft = -50.0..=50.0, hard = -1000.0..=1000.0)]
    grow: Animated<f64>,
    /// How far its edges are softened, to each side.
    #[param(default = 0.0, unit = "pixels", soft = 0.0..=50.0, hard = 0.0..=1000.0)]
    feather: Animated<f64>,
    /// Swaps inside and outside.
    #[param(default = false)]
    invert: bool,
    /// Another matte to put it together with, as the last step.
    combine: Option<Combine>,
    /// The picture whose frame a polygon or an ellipse is drawn in.
    like: Option<Input<socket::Any>>,
    /// What to do where `from` names a sequence that lacks a frame.
    #[param(default = Missing::Error)]
    missing: Missing,
}

/// How to put the matte together with another.
#[derive(Choice, Clone, Debug)]
pub enum Combine {
    /// The larger coverage of the two.
    Union(Input<socket::Matte>),
    /// The smaller coverage of the two.
    Intersect(Input<socket::Matte>),
    /// This matte less the other.
    Subtract(Input<socket::Matte>),
}

impl Combine {
    fn input(&self) -> &Input<socket::Matte> {
        match self {
            Combine::Union(input) | Combine::Intersect(input) | Combine::Subtract(input) => input,
        }
    }

    fn way(&self) -> matte_ops::Combine {
        match self {
            Combine::Union(_) => matte_ops::Combine::Union,
            Combine::Intersect(_) => matte_ops::Combine::Intersect,
            Combine::Subtract(_) => matte_ops::Combine::Subtract,
        }
    }
}

/// Growth and softness at one frame.
#[derive(Clone, Copy)]
struct Edge {
    grow: f64,
    feather: f64,
}

impl Edge {
    /// Pixels around a region that its result depends on.
    fn reach(self) -> i32 {
        self.grow.abs().ceil() as i32 + (1.5 * self.feather).ceil() as i32
    }

    fn is_none(self) -> bool {
        self.grow == 0.0 && self.feather == 0.0
    }
}

impl Mask {
    fn check(&self, reader: &mut Reader) {
        if self.from.is_drawn() && self.like.is_none() && self.combine.is_none() {
            let message = "a drawn shape needs a frame: name a picture of that size in `like`";
            reader.error_at("from", message);
        }
        self.from.check(reader);
    }

    /// Whether bands would make most rows several times over.
    fn reaches_far(&self) -> bool {
        const FAR: f64 = 8.0;
        !self.grow.all(|grow| grow.abs() <= FAR) || !self.feather.all(|feather| *feather <= FAR)
    }

    fn edge(&self, frame: i32) -> Edge {
        Edge {
            grow: self.grow.at(frame),
            feather: self.feather.at(frame),
        }
    }

    /// The frame of a drawn shape.
    fn drawn_in(&self, at: &At<'_>) -> Result<Format> {
        match (&self.like, &self.combine) {
            (Some(like), _) => at.format(like),
            (None, Some(combine)) => at.format(combine.input()),
            (None, None) => Err(Error::message("a drawn shape without a frame")),
        }
    }

    /// Windows and metadata of the coverage that `from` gives.
    fn source_format(&self, at: &At<'_>) -> Result<Format> {
        if let Some(file) = self.from.file() {
            return file.format(at, self.missing);
        }
        if let Some(slot) = self.from.slot() {
            let format = at.inputs.format(slot, at.frame)?;
            return Ok(Format {
                layers: Vec::new(),
                ..format
            });
        }
        let frame = self.drawn_in(at)?;
        let data = self.from.bounds(at.frame).intersect(frame.display);
        Ok(Format {
            layers: Vec::new(),
            ..frame.with_data(data)
        })
    }

    /// The matte inside `region`; `source` gives the coverage of `from` inside a region.
    fn make(&self, at: &At<'_>, region: Rect, source: &dyn Fn(Rect) -> Result<Matte>) -> Result<Matte> {
        let format = self.source_format(at)?;
        let edge = self.edge(at.frame);
        let mut matte = if edge.is_none() {
            source(region)?.crop(region)
        } else {
            // Coverage is known inside this box, and nothing is assumed beyond it. It goes in as the display
            // window, since a band must see the same edge of the world as the whole.
            let known = format.display.union(format.data);
            let needed = region.grow(edge.reach()).intersect(known);
            let around = reframed(&source(needed)?.crop(needed), known);
            reframed(&shaped(&around, edge, region), format.display)
        };
        if self.invert {
            for value in matte.values_mut() {
                *value = 1.0 - *value;
            }
        }
        match &self.combine {
            None => Ok(matte),
            Some(other) => {
                let second = at.matte(other.input(), region)?;
                Ok(combine(&matte, &second.crop(region), other.way()).crop(region))
            }
        }
    }
}

/// What `around` becomes inside `region`, in bands of rows on all threads: each depends on the rows within
/// reach of it alone.
fn shaped(around: &Matte, edge: Edge, region: Rect) -> Matte {
    let reach = edge.reach();
    // Neighbours make the rows between them twice, so bands are a good deal higher than that.
    let rows = usize::max(256, 4 * reach as usize);
    let bands: Vec<Rect> = region.bands(rows).collect();
    let shape = |band: Rect| {
        let near = around.crop(band.grow(reach).intersect(around.data()));
        feather(&grow(&near, edge.grow), edge.feather).crop(band)
    };
    if let [only] = bands.as_slice() {
        return shape(*only);
    }
    let shaped: Vec<Matte> = bands.into_par_iter().map(shape).collect();
    let mut out = Matte::new(around.display(), region);
    let values = shaped.iter().flat_map(|band| band.values());
    for (out, value) in out.values_mut().iter_mut().zip(values) {
        *out = *value;
    }
    out
}

/// The same values under another display window.
fn reframed(matte: &Matte, display: Rect) -> Matte {
    let mut out = Matte::new(display, matte.data());
    out.values_mut().copy_from_slice(matte.values());
    out
}

impl Node for Mask {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Matte)
    }

    fn temperament(&self) -> Temperament<'_> {
        if self.from.file().is_some() || self.reaches_far() {
            Temperament::Frame(self)
        } else {
            Temperament::Region(self)
        }
    }

    fn format(&self, at: &At<'_>, _output: usize) -> Result<Format> {
        let source = self.source_format(at)?;
        let known = source.display.union(source.data);
        let mut data = source.data.grow(self.edge(at.frame).reach()).intersect(known);
        if self.invert {
            // The complement has no end; the frame is as far as it goes.
            data = source.display;
        }
        if let Some(other) = &self.combine {
            data = other.way().window(data, at.format(other.input())?.data);
        }
        Ok(source.with_data(data))
    }

    fn identity(&self, at: &At<'_>, key: &mut KeyBuilder) -> Result<()> {
        match self.from.file() {
            Some(file) => file.identity(at, self.missing, key),
            None => Ok(()),
        }
    }

    fn pass_through(&self, at: &At<'_>, _output: usize) -> Option<usize> {
        let Source::Matte(input) = &self.from else {
            return None;
        };
        let same = self.edge(at.frame).is_none() && !self.invert && self.combine.is_none();
        same.then_some(input.slot)
    }
}

impl RegionNode for Mask {
    fn fill(&self, at: &At<'_>, _output: usize, region: Rect) -> Result<Value> {
        let display = self.source_format(at)?.display;
        Ok(self
            .make(at, region, &|part| self.from.fill(at, display, part))?
            .into())
    }
}

impl FrameNode for Mask {
    fn render(&self, at: &At<'_>) -> Result<Vec<Value>> {
        let window = self.format(at, 0)?.data;
        let matte = match self.from.file() {
            Some(file) => {
                let loaded = file.load(at, self.missing)?;
                self.make(at, window, &|part| Ok(loaded.crop(part)))?
            }
            None => {
                let display = self.source_format(at)?.display;
                self.make(at, window, &|part| self.from.fill(at, display, part))?
            }
        };
        Ok(vec![matte.into()])
    }
}

#[cfg(test)]
mod tests;
