//! Transform: move, turn, scale or slant a layer.
//!
//! # What it does
//!
//! Every pixel goes through one matrix, `T(translate) T(centre) R(rotate) Skew S(scale) T(-centre)`: scale acts
//! first, and the centre stays where it is but for the translation. The picture is resampled once. In a chain
//! of Transforms the matrices are multiplied out first and the picture is still resampled only once, with the
//! filter of the last one. Where the picture becomes smaller, the filter widens with the footprint, so that
//! nothing flickers.
//!
//! Pixels have x to the right and y down, so a positive rotation turns clockwise on the screen.
//!
//! # When to use it
//!
//! To slide a peeled object along the floor, to make it larger, to reframe a plate. Moves by whole pixels
//! copy, bit for bit, whatever the filter.
//!
//! # Colour and alpha
//!
//! Filters premultiplied, scene-linear light, so transparent pixels do not bleed and highlights stay above 1.
//! The data window follows the picture and may leave the frame; the frame itself stays. A pixel that is not a
//! number keeps its place and does not spread.
//!
//! # Example
//!
//! `example.ron` turns and moves an ellipse.

use peel_image::{Filter, Layer, Matrix, Rect, resample_into, resampled_window, source_region};
use peel_node::{
    Animated, At, Error, Format, Input, Motion, Node, Output, Params, RegionNode, Result, SocketType,
    Temperament, Value, Vec2, socket,
};

/// Side of a tile in pixels: a tile and its source fit into the second cache.
const TILE: usize = 64;

/// Moves, turns, scales or slants a layer.
#[derive(Params)]
pub struct Transform {
    /// The layer to move.
    input: Input<socket::Layer>,
    /// How far it moves; x to the right, y down.
    #[param(default = Vec2::ZERO, unit = "pixels", soft = -2000.0..=2000.0)]
    translate: Animated<Vec2>,
    /// How far it turns about the centre; positive is clockwise on the screen.
    #[param(default = 0.0, unit = "degrees", soft = -180.0..=180.0)]
    rotate: Animated<f64>,
    /// How much larger it becomes; negative numbers mirror it.
    #[param(default = Vec2::ONE, soft = 0.1..=10.0)]
    scale: Animated<Vec2>,
    /// How far it slants: pixels that x moves per pixel of y, and y per pixel of x.
    #[param(default = Vec2::ZERO, soft = -1.0..=1.0)]
    skew: Animated<Vec2>,
    /// What rotation, scale and skew leave in its place; the middle of the frame where it is left out.
    #[param(unit = "pixels")]
    centre: Option<Animated<Vec2>>,
    /// How pixels are interpolated.
    #[param(default = Filter::Cubic)]
    filter: Filter,
    /// The opposite movement: what brings the moved picture back.
    #[param(default = false)]
    invert: bool,
}

impl Transform {
    /// This node's own movement, from input pixels to output pixels.
    fn matrix(&self, at: &At<'_>) -> Result<Matrix> {
        let frame = at.frame;
        let (rotate, scale, skew) = (self.rotate.at(frame), self.scale.at(frame), self.skew.at(frame));
        let turns = (rotate, scale, skew) != (0.0, Vec2::ONE, Vec2::ZERO);
        let centre = match &self.centre {
            Some(centre) => centre.at(frame).into(),
            None if turns => middle(at.format(&self.input)?.display),
            None => (0.0, 0.0),
        };
        let translate = self.translate.at(frame);
        let matrix = Matrix::compose(translate.into(), rotate, scale.into(), skew.into(), centre);
        if !self.invert {
            return Ok(matrix);
        }
        matrix.inverse().ok_or_else(|| {
            Error::message("this movement cannot be inverted: its scale is 0, or its skew folds the picture")
        })
    }

    /// The movement of the whole chain that ends here, and the slot that it starts from.
    fn whole_motion(&self, at: &At<'_>) -> Result<Motion> {
        match at.motion {
            Some(motion) => Ok(motion),
            None => Ok(Motion {
                slot: self.input.slot,
                matrix: self.matrix(at)?,
                filter: self.filter,
            }),
        }
    }
}

impl Node for Transform {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }

    fn temperament(&self) -> Temperament<'_> {
        Temperament::Region(self)
    }

    fn format(&self, at: &At<'_>, _output: usize) -> Result<Format> {
        let motion = self.whole_motion(at)?;
        let format = at.inputs.format(motion.slot, at.frame)?;
        // A scale of 0 has no way back: the picture vanishes.
        let data = motion.matrix.inverse().map_or(Rect::EMPTY, |inverse| {
            resampled_window(format.data, &inverse, motion.filter)
        });
        Ok(format.with_data(data))
    }

    fn pass_through(&self, at: &At<'_>, _output: usize) -> Option<usize> {
        (self.matrix(at).ok()? == Matrix::IDENTITY).then_some(self.input.slot)
    }

    fn motion(&self, at: &At<'_>) -> Option<Motion> {
        let matrix = self.matrix(at).ok()?;
        Some(Motion {
            slot: self.input.slot,
            matrix,
            filter: self.filter,
        })
    }
}

impl RegionNode for Transform {
    fn fill(&self, at: &At<'_>, _output: usize, region: Rect) -> Result<Value> {
        let motion = self.whole_motion(at)?;
        let inverse = motion.matrix.inverse().unwrap_or(Matrix::IDENTITY);
        let format = at.inputs.format(motion.slot, at.frame)?;
        let mut out = Layer::new(format.display, region).with_pixel_aspect(format.pixel_aspect);
        for tile in tiles(region, &inverse) {
            let needed = source_region(tile, &inverse, motion.filter);
            let source = at.inputs.pull(motion.slot, at.frame, needed)?;
            let Value::Layer(source) = source else {
                let text = format!("a {} flows into Transform", source.socket_type());
                return Err(Error::message(text));
            };
            resample_into(&mut out, &source, &inverse, motion.filter, tile);
        }
        Ok(out.into())
    }
}

/// Pieces of a region whose source pixels lie close together: a whole band where rows stay rows, else tiles, since
/// the source of a turned band is a large slanted strip in a larger box.
fn tiles(region: Rect, inverse: &Matrix) -> Vec<Rect> {
    if inverse.yx == 0.0 {
        return vec![region];
    }
    region
        .bands(TILE)
        .flat_map(|band| {
            (band.x0..band.x1).step_by(TILE).map(move |x0| {
                let x1 = x0.saturating_add(TILE as i32).min(band.x1);
                Rect { x0, x1, ..band }
            })
        })
        .collect()
}

fn middle(frame: Rect) -> (f64, f64) {
    let mid = |a: i32, b: i32| (f64::from(a) + f64::from(b)) / 2.0;
    (mid(frame.x0, frame.x1), mid(frame.y0, frame.y1))
}

#[cfg(test)]
mod tests {
    use peel_image::Layer;
    use peel_node::testing::{TestInputs, TestWorld};

    use super::*;

    const FRAME: Rect = Rect {
        x0: 0,
        y0: 0,
        x1: 24,
        y1: 16,
    };

    fn still() -> Transform {
        Transform {
            input: Input::on_slot(0),
            translate: Animated::Constant(Vec2::ZERO),
            rotate: Animated::Constant(0.0),
            scale: Animated::Constant(Vec2::ONE),
            skew: Animated::Constant(Vec2::ZERO),
            centre: None,
            filter: Filter::Cubic,
            invert: false,
        }
    }

    fn picture() -> Layer {
        Layer::from_fn(FRAME, FRAME, |x, y| [x as f32, y as f32, 2.0, 1.0])
    }

    fn render(node: &Transform, input: Layer) -> (Format, Layer) {
        let (world, inputs) = (TestWorld::new("."), TestInputs::new().with(input));
        let at = world.at(&inputs, 1);
        let format = node.format(&at, 0).unwrap();
        let Value::Layer(layer) = node.fill(&at, 0, format.data).unwrap() else {
            panic!("a layer")
        };
        (format, layer.as_ref().clone())
    }

    #[test]
    fn a_move_by_whole_pixels_copies_and_leaves_the_frame() {
        let node = Transform {
            translate: Animated::Constant(Vec2::new(20.0, -3.0)),
            ..still()
        };
        let (format, moved) = render(&node, picture());
        assert_eq!(format.data, FRAME.translate(20, -3));
        assert_eq!(format.display, FRAME);
        assert_eq!(moved.pixels(), picture().pixels());
    }

    #[test]
    fn the_middle_of_the_frame_is_the_centre() {
        let node = Transform {
            rotate: Animated::Constant(180.0),
            ..still()
        };
        let (format, turned) = render(&node, picture());
        assert!(format.data.encloses(FRAME) && FRAME.grow(2).encloses(format.data));
        assert_eq!(turned.get(0, 0), [23.0, 15.0, 2.0, 1.0]);
    }

    #[test]
    fn inverted_it_takes_the_movement_back() {
        let there = Transform {
            translate: Animated::Constant(Vec2::new(5.0, 2.0)),
            rotate: Animated::Constant(90.0),
            ..still()
        };
        let (_, moved) = render(&there, picture());
        let back = Transform {
            invert: true,
            ..there
        };
        let (_, home) = render(&back, moved);
        assert_eq!(home.crop(FRAME).get(7, 3), picture().get(7, 3));
    }

    #[test]
    fn a_scale_of_zero_vanishes_and_cannot_be_inverted() {
        let flat = Transform {
            scale: Animated::Constant(Vec2::new(0.0, 1.0)),
            ..still()
        };
        assert!(render(&flat, picture()).0.data.is_empty());
        let node = Transform { invert: true, ..flat };
        let (world, inputs) = (TestWorld::new("."), TestInputs::new().with(picture()));
        assert!(
            node.format(&world.at(&inputs, 1), 0)
                .unwrap_err()
                .to_string()
                .contains("inverted")
        );
        assert_eq!(node.motion(&world.at(&inputs, 1)), None);
    }

    #[test]
    fn bands_are_the_whole_bit_for_bit() {
        let node = Transform {
            rotate: Animated::Constant(33.0),
            scale: Animated::Constant(Vec2::new(0.6, 1.3)),
            filter: Filter::Lanczos3,
            ..still()
        };
        let (format, whole) = render(&node, picture());
        let (world, inputs) = (TestWorld::new("."), TestInputs::new().with(picture()));
        for band in format.data.bands(3) {
            let value = node.fill(&world.at(&inputs, 1), 0, band).unwrap();
            assert_eq!(value, whole.crop(band).into());
        }
    }

    #[test]
    fn at_its_defaults_it_passes_through() {
        let (world, inputs) = (TestWorld::new("."), TestInputs::new().with(picture()));
        assert_eq!(still().pass_through(&world.at(&inputs, 1), 0), Some(0));
        let turned = Transform {
            rotate: Animated::Constant(1.0),
            ..still()
        };
        assert_eq!(turned.pass_through(&world.at(&inputs, 1), 0), None);
    }
}
