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

use peel_image::{Layer, Matte, MergeOp, Rect, Stack, TRANSPARENT};
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
        let [EntryOrName(only)] = self.layers.as_slice() else {
            return None;
        };
        let is_layer = at.format(&only.input).ok()?.layers.is_empty();
        let plain = only.mask.is_none() && only.opacity.at(at.frame) == 1.0;
        (is_layer && plain).then_some(only.input.slot)
    }
}

impl RegionNode for AlphaOver {
    fn fill(&self, at: &At<'_>, output: usize, region: Rect) -> Result<Value> {
        let format = self.format(at, output)?;
        let mut sheets = self.visible_sheets(at, region)?.into_iter().peekable();
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
        Ok(laid.into())
    }
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
    /// The layers that show in a region, bottom to top: all above the topmost that hides what lies below it.
    fn visible_sheets(&self, at: &At<'_>, region: Rect) -> Result<Vec<Sheet>> {
        let mut sheets = Vec::new();
        'pile: for (number, entry) in self.entries().enumerate().collect::<Vec<_>>().into_iter().rev() {
            let opacity = entry.opacity.at(at.frame);
            if opacity <= 0.0 {
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
                let mut sheet = Sheet {
                    layer,
                    operation: self.operation(entry),
                    opacity,
                    mask: mask.clone(),
                    lowest: (number, place) == (0, 0),
                    hides: false,
                };
                sheet.hides = !sheet.lowest && sheet.covers(region);
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
mod tests {
    use peel_image::NamedLayer;
    use peel_node::testing::{TestInputs, TestWorld};
    use peel_node::{Animated, Input};

    use super::*;

    const FRAME: Rect = Rect {
        x0: 0,
        y0: 0,
        x1: 8,
        y1: 4,
    };
    const A: [f32; 4] = [0.2, 0.1, 0.0, 0.5];
    const B: [f32; 4] = [0.3, 0.4, 0.5, 0.75];

    fn flat(window: Rect, pixel: [f32; 4]) -> Layer {
        Layer::from_fn(FRAME, window, |_, _| pixel)
    }

    fn entry(slot: usize) -> EntryOrName {
        EntryOrName(Entry {
            input: Input::on_slot(slot),
            opacity: Animated::Constant(1.0),
            operation: None,
            mask: None,
        })
    }

    fn over(count: usize) -> AlphaOver {
        AlphaOver {
            layers: (0..count).map(entry).collect(),
            operation: MergeOp::Over,
        }
    }

    fn render(node: &AlphaOver, inputs: &TestInputs) -> Layer {
        let world = TestWorld::new(".");
        let at = world.at(inputs, 1);
        let format = node.format(&at, 0).unwrap();
        let Value::Layer(layer) = node.fill(&at, 0, format.data).unwrap() else {
            panic!("a layer")
        };
        layer.as_ref().clone()
    }

    #[test]
    fn over_and_its_window() {
        let inputs = TestInputs::new()
            .with(flat(FRAME, B))
            .with(flat(Rect::new(6, 0, 12, 2), A));
        let laid = render(&over(2), &inputs);
        assert_eq!(laid.data(), Rect::new(0, 0, 12, 4));
        assert_eq!(laid.get(0, 0), B);
        assert_eq!(laid.get(9, 1), A);
        for (got, wanted) in laid.get(7, 0).into_iter().zip([0.35, 0.30, 0.25, 0.875]) {
            assert!((got - wanted).abs() < 1e-6);
        }
    }

    #[test]
    fn a_stack_is_its_layers() {
        let named = |name: &str, layer: Layer| NamedLayer {
            name: name.to_owned(),
            layer: Arc::new(layer),
        };
        let (bottom, top) = (flat(FRAME, B), flat(Rect::new(2, 1, 5, 3), A));
        let stack = Stack {
            layers: vec![named("b", bottom.clone()), named("a", top.clone())],
        };
        let apart = render(&over(2), &TestInputs::new().with(bottom).with(top));
        assert_eq!(render(&over(1), &TestInputs::new().with(stack)), apart);
    }

    #[test]
    fn opacity_and_mask_scale_the_effect() {
        let mask = Matte::from_fn(FRAME, Rect::new(0, 0, 4, 4), |x, _| if x < 2 { 1.0 } else { 0.5 });
        let inputs = TestInputs::new()
            .with(flat(FRAME, B))
            .with(flat(FRAME, A))
            .with(mask);
        let mut node = over(2);
        node.layers[1].0.mask = Some(Input::on_slot(2));
        node.layers[1].0.operation = Some(MergeOp::Plus);
        let laid = render(&node, &inputs);
        assert_eq!(
            laid.get(1, 0),
            [A[0] + B[0], A[1] + B[1], A[2] + B[2], A[3] + B[3]]
        );
        assert!((laid.get(3, 0)[0] - (B[0] + 0.5 * A[0])).abs() < 1e-6);
        assert_eq!(laid.get(5, 0), B, "outside the mask what lies below is untouched");
        node.layers[1].0.opacity = Animated::Constant(0.0);
        assert_eq!(render(&node, &inputs), flat(FRAME, B));
    }

    #[test]
    fn a_mask_on_the_only_layer_cuts_it_out() {
        let mask = Matte::from_fn(FRAME, Rect::new(2, 1, 4, 3), |_, _| 1.0);
        let mut node = over(1);
        node.layers[0].0.mask = Some(Input::on_slot(1));
        let cut = render(&node, &TestInputs::new().with(flat(FRAME, B)).with(mask));
        assert_eq!(cut, flat(Rect::new(2, 1, 4, 3), B));
    }

    #[test]
    fn operations_that_cut_show_outside_the_layer_too() {
        let inputs = TestInputs::new()
            .with(flat(FRAME, B))
            .with(flat(Rect::new(2, 0, 4, 4), A));
        let node = AlphaOver {
            operation: MergeOp::Mask,
            ..over(2)
        };
        let laid = render(&node, &inputs);
        assert_eq!(laid.get(0, 0), TRANSPARENT);
        assert_eq!(laid.get(2, 0), [0.15, 0.2, 0.25, 0.375]);
    }

    #[test]
    fn what_is_no_number_stays_in_its_channel() {
        let odd = [0.5, f32::INFINITY, 0.1, f32::NAN];
        let laid = render(
            &over(2),
            &TestInputs::new()
                .with(flat(FRAME, odd))
                .with(flat(Rect::EMPTY, A)),
        );
        assert_eq!(laid.get(0, 0)[..3], odd[..3]);
    }

    #[test]
    fn nothing_is_asked_for_below_what_is_opaque() {
        let opaque = [0.1, -0.0, 4.0, 1.0];
        let endless = flat(FRAME, [f32::INFINITY; 4]);
        let inputs = TestInputs::new()
            .with(endless.clone())
            .with(flat(FRAME, opaque))
            .with(flat(FRAME, A));
        let mut node = over(3);
        let laid = render(&node, &inputs);
        assert_eq!(
            laid,
            render(
                &over(2),
                &TestInputs::new().with(flat(FRAME, opaque)).with(flat(FRAME, A))
            )
        );
        // The same where the opaque layer is smaller than what is asked for, and pixels decide one by one.
        let inputs = TestInputs::new()
            .with(endless)
            .with(flat(Rect::new(0, 0, 4, 4), opaque))
            .with(flat(FRAME, A));
        assert_eq!(render(&node, &inputs).get(3, 3), laid.get(3, 3));
        node.layers[1].0.opacity = Animated::Constant(0.5);
        assert!(!render(&node, &inputs).get(3, 3)[0].is_finite());
    }

    #[test]
    fn one_plain_layer_passes_through_but_a_stack_does_not() {
        let world = TestWorld::new(".");
        let inputs = TestInputs::new().with(flat(FRAME, B));
        assert_eq!(over(1).pass_through(&world.at(&inputs, 1), 0), Some(0));
        let named = NamedLayer {
            name: "b".to_owned(),
            layer: Arc::new(flat(FRAME, B)),
        };
        let inputs = TestInputs::new().with(Stack { layers: vec![named] });
        assert_eq!(over(1).pass_through(&world.at(&inputs, 1), 0), None);
    }
}
