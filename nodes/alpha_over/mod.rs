//! AlphaOver: lay layers over each other, bottom to top.
//!
//! # What it does
//!
//! Starts with the first layer and lays each of the others on the result, in the order of the list. A stack in
//! the list stands for its layers, bottom to top. An entry is a name, or a name with its own opacity, operation
//! and mask: `layers: ["plate", (input: "glow", operation: Screen, opacity: 0.5, mask: "matte")]`. Opacity and mask
//! scale an entry's effect; where they are 0, what lies below is untouched, bit for bit. A mask on the first
//! entry cuts it out.
//!
//! `Over` is exactly `A + B * (1 - a)` for red, green, blue and alpha alike, in single precision, one rounding an
//! operation, and A where A is opaque. A stack from Decompose, laid together and rounded to half, is the plate.
//! What lies under an opaque layer is not asked for.
//!
//! # When to use it
//!
//! To put an edited layer back over its background, to lay a whole stack together, and with another operation
//! to add light (`Plus`, `Screen`), to cut a layer to a shape (`In`, `Out`) or to darken (`Multiply`).
//!
//! # Colour and alpha
//!
//! Premultiplied, scene-linear light; nothing is clamped. Red, green and blue without alpha are light that is
//! added. A layer from a file without an alpha channel is opaque. The first layer gives the frame and the
//! metadata; the data window covers all layers, as far as the operation reaches.
//!
//! # Example
//!
//! `example.ron` lays a half-transparent ellipse over a grey picture.

mod entry;

use std::sync::Arc;

use peel_image::{Layer, Matte, MergeOp, Pixel, Rect, Stack, TRANSPARENT};
use peel_node::{
    At, Format, Node, Output, Params, Reader, RegionNode, Result, SocketType, Temperament, Value,
};

pub use entry::{Entry, EntryOrName};

/// Lays layers over each other, bottom to top.
#[derive(Params)]
#[params(check = Self::check)]
pub struct AlphaOver {
    /// Layers and whole stacks, bottom to top.
    layers: Vec<EntryOrName>,
    /// How a layer (A) is put together with what lies below it (B); a and b are their alphas.
    #[param(default = MergeOp::Over)]
    operation: MergeOp,
}

impl AlphaOver {
    fn check(&self, reader: &mut Reader) {
        if self.layers.is_empty() {
            reader.error_at("layers", "there is nothing to lay: `layers` is empty");
        }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.layers.iter().map(|entry| &entry.0)
    }

    fn operation(&self, entry: &Entry) -> MergeOp {
        entry.operation.unwrap_or(self.operation)
    }
}

/// The data windows of the layers behind an input, bottom to top.
fn windows(format: &Format) -> Vec<Rect> {
    match format.layers.as_slice() {
        [] => vec![format.data],
        layers => layers.iter().map(|layer| layer.data).collect(),
    }
}

impl Node for AlphaOver {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }

    fn temperament(&self) -> Temperament<'_> {
        Temperament::Region(self)
    }

    fn format(&self, at: &At<'_>, _output: usize) -> Result<Format> {
        let mut whole: Option<Format> = None;
        for entry in self.entries() {
            let format = at.format(&entry.input)?;
            let mask = entry.mask.as_ref().map(|mask| at.format(mask)).transpose()?;
            let visible = entry.opacity.at(at.frame) > 0.0;
            for window in windows(&format) {
                let window = mask.as_ref().map_or(window, |mask| window.intersect(mask.data));
                let laid = match &whole {
                    // `In` and its like could do with less than what lies below, but only at full opacity:
                    // an animated opacity must not make the window jump.
                    Some(below) if visible => {
                        below.data.union(self.operation(entry).window(window, below.data))
                    }
                    Some(below) => below.data,
                    None if visible => window,
                    None => Rect::EMPTY,
                };
                whole
                    .get_or_insert_with(|| Format {
                        layers: Vec::new(),
                        ..format.clone()
                    })
                    .data = laid;
            }
        }
        Ok(whole.unwrap_or_else(|| Format::new(Rect::EMPTY, Rect::EMPTY)))
    }

    fn pass_through(&self, at: &At<'_>, _output: usize) -> Option<usize> {
        let (EntryOrName(first), rest) = self.layers.split_first()?;
        let is_layer = at.format(&first.input).ok()?.layers.is_empty();
        let plain = first.mask.is_none() && first.opacity.at(at.frame) == 1.0;
        let nothing_else = || -> Result<bool> {
            for EntryOrName(entry) in rest {
                if self.shows(at, entry)? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        (is_layer && plain && nothing_else().ok()?).then_some(first.input.slot)
    }

    fn uniform(&self, at: &At<'_>, output: usize) -> Result<Option<Pixel>> {
        let format = self.format(at, output)?;
        if format.data.is_empty() {
            return Ok(None);
        }
        // One pixel stands for all: whatever covers the picture has one colour, whatever does not has no pixel.
        let one = Rect::of_size(1, 1);
        let mut sheets = Vec::new();
        for (number, entry) in self.entries().enumerate().collect::<Vec<_>>().into_iter().rev() {
            if !self.shows(at, entry)? {
                continue;
            }
            let below = at.format(&entry.input)?;
            if entry.mask.is_some() || !below.layers.is_empty() {
                return Ok(None);
            }
            let layer = if below.data.intersect(format.data).is_empty() {
                Layer::new(one, Rect::EMPTY)
            } else if !below.data.encloses(format.data) {
                return Ok(None);
            } else if let Some(pixel) = at.uniform(&entry.input)? {
                Layer::from_fn(one, one, |_, _| pixel)
            } else {
                return Ok(None);
            };
            let sheet = self.sheet(at, entry, layer.into(), None, number == 0, one);
            let hides = sheet.hides;
            sheets.push(sheet);
            if hides {
                break;
            }
        }
        sheets.reverse();
        Ok(Some(pile(sheets, one, &format).get(0, 0)))
    }
}

impl RegionNode for AlphaOver {
    fn fill(&self, at: &At<'_>, output: usize, region: Rect) -> Result<Value> {
        let format = self.format(at, output)?;
        Ok(pile(self.visible_sheets(at, region)?, region, &format).into())
    }
}

/// Lays sheets on each other, bottom to top.
fn pile(sheets: Vec<Sheet>, region: Rect, format: &Format) -> Layer {
    let mut sheets = sheets.into_iter().peekable();
    // What has nothing below it comes through bit for bit, even where its alpha is no number.
    let bottom = sheets.next_if(|sheet| sheet.hides || (sheet.lowest && sheet.is_plain()));
    let laid = match bottom {
        Some(sheet) if sheet.layer.data() == region => Arc::unwrap_or_clone(sheet.layer),
        Some(sheet) => sheet.layer.crop(region),
        None => Layer::new(format.display, region),
    };
    let mut laid = laid
        .with_display(format.display)
        .with_pixel_aspect(format.pixel_aspect);
    for sheet in sheets {
        // Added to nothing the lowest comes through too, scaled by opacity and mask.
        let operation = if sheet.lowest {
            MergeOp::Plus
        } else {
            sheet.operation
        };
        match &sheet.mask {
            Some(mask) => lay_inside(&mut laid, &sheet.layer, operation, sheet.opacity, mask),
            None => lay(&mut laid, &sheet.layer, operation, sheet.opacity),
        }
    }
    laid
}

/// A layer on its way into the pile.
struct Sheet {
    layer: Arc<Layer>,
    operation: MergeOp,
    opacity: f32,
    mask: Option<Arc<Matte>>,
    /// Whether it is the first of the list.
    lowest: bool,
    /// Whether nothing of what lies below it shows in the region at work.
    hides: bool,
}

impl Sheet {
    fn is_plain(&self) -> bool {
        self.opacity == 1.0 && self.mask.is_none()
    }

    fn covers(&self, region: Rect) -> bool {
        self.is_plain()
            && self.operation == MergeOp::Over
            && self.layer.data() == region
            && self.layer.pixels().iter().all(|pixel| pixel[3] == 1.0)
    }
}

impl AlphaOver {
    /// Whether an entry changes anything at all: a transparent one does not, nor one without pixels, unless its operation
    /// clears what lies around them.
    fn shows(&self, at: &At<'_>, entry: &Entry) -> Result<bool> {
        if entry.opacity.at(at.frame) <= 0.0 {
            return Ok(false);
        }
        if let Some(mask) = &entry.mask
            && at.format(mask)?.data.is_empty()
        {
            return Ok(false);
        }
        let has_pixels = !windows(&at.format(&entry.input)?).iter().all(Rect::is_empty);
        Ok(has_pixels || self.operation(entry).covers())
    }

    fn sheet(
        &self,
        at: &At<'_>,
        entry: &Entry,
        layer: Arc<Layer>,
        mask: Option<Arc<Matte>>,
        lowest: bool,
        region: Rect,
    ) -> Sheet {
        let mut sheet = Sheet {
            layer,
            operation: self.operation(entry),
            opacity: entry.opacity.at(at.frame),
            mask,
            lowest,
            hides: false,
        };
        sheet.hides = !lowest && sheet.covers(region);
        sheet
    }

    /// The layers that show in a region, bottom to top: all above the topmost that hides what lies below it.
    fn visible_sheets(&self, at: &At<'_>, region: Rect) -> Result<Vec<Sheet>> {
        let mut sheets = Vec::new();
        'pile: for (number, entry) in self.entries().enumerate().collect::<Vec<_>>().into_iter().rev() {
            if entry.opacity.at(at.frame) <= 0.0 {
                continue;
            }
            let mask = entry
                .mask
                .as_ref()
                .map(|mask| at.matte(mask, region))
                .transpose()?;
            for (place, layer) in layers(at.value(&entry.input, region)?)
                .into_iter()
                .enumerate()
                .rev()
            {
                let lowest = (number, place) == (0, 0);
                let sheet = self.sheet(at, entry, layer, mask.clone(), lowest, region);
                let hides = sheet.hides;
                sheets.push(sheet);
                if hides {
                    break 'pile;
                }
            }
        }
        sheets.reverse();
        Ok(sheets)
    }
}

/// A whole stack in one layer, bottom to top.
pub(crate) fn flatten(stack: &Stack) -> Layer {
    let mut laid = Layer::new(stack.display(), stack.data());
    for (index, named) in stack.layers.iter().enumerate() {
        let operation = if index == 0 { MergeOp::Plus } else { MergeOp::Over };
        lay(&mut laid, &named.layer, operation, 1.0);
    }
    laid
}

/// The layers behind an input, bottom to top.
fn layers(value: Value) -> Vec<Arc<Layer>> {
    match value {
        Value::Stack(stack) => stack.layers.iter().map(|named| named.layer.clone()).collect(),
        Value::Layer(layer) => vec![layer],
        Value::Matte(_) => Vec::new(),
    }
}

/// Puts `top` together with `below`, in place, over the whole of `below`'s window.
fn lay(below: &mut Layer, top: &Layer, operation: MergeOp, opacity: f32) {
    let window = below.data();
    for y in window.y0..window.y1 {
        let (x0, row) = top.span(y, window.x0, window.x1);
        let target = below.row_mut(y);
        let start = (x0 - window.x0) as usize;
        let end = start + row.len();
        operation.mixed_row(row, &mut target[start..end], opacity);
        if operation.covers() {
            // Outside its data window the layer is transparent black, and this operation shows that.
            let (left, rest) = target.split_at_mut(start);
            for pixel in left.iter_mut().chain(&mut rest[end - start..]) {
                *pixel = operation.mixed(TRANSPARENT, *pixel, opacity);
            }
        }
    }
}

/// [`lay`], with the effect scaled by a matte.
fn lay_inside(below: &mut Layer, top: &Layer, operation: MergeOp, opacity: f32, mask: &Matte) {
    let window = below.data();
    for y in window.y0..window.y1 {
        for (x, pixel) in (window.x0..).zip(below.row_mut(y)) {
            *pixel = operation.mixed(top.get(x, y), *pixel, opacity * mask.get(x, y));
        }
    }
}

#[cfg(test)]
mod tests;
