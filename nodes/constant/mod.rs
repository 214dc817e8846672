//! Constant: a picture of one colour.
//!
//! # What it does
//!
//! Fills a frame with one colour and one alpha. The frame is `width` by `height` pixels, or that of the picture
//! that `like` names.
//!
//! # When to use it
//!
//! As a backdrop under peeled layers, as a solid for tests, as a colour to multiply or screen with.
//!
//! # Colour and alpha
//!
//! The colour is scene-linear light in the graph's working space, as it looks before it is multiplied by
//! alpha; values above 1 and below 0 are kept. The output is premultiplied.
//!
//! # Example
//!
//! `example.ron` is a warm grey.

use peel_image::colour::premultiply;
use peel_image::{Layer, Pixel, Rect};
use peel_node::{
    Animated, At, Format, Input, Node, Output, Params, RegionNode, Result, Rgb, SocketType, Temperament,
    Value, socket,
};

/// A picture of one colour.
#[derive(Params)]
pub struct Constant {
    /// Scene-linear light, not multiplied by alpha.
    #[param(default = Rgb::ZERO, soft = 0.0..=1.0)]
    colour: Animated<Rgb>,
    /// How opaque it is.
    #[param(default = 1.0, hard = 0.0..=1.0)]
    alpha: Animated<f32>,
    /// Width of the frame, unless `like` is given.
    #[param(default = 1920, unit = "pixels", hard = 1..=65536)]
    width: u32,
    /// Height of the frame, unless `like` is given.
    #[param(default = 1080, unit = "pixels", hard = 1..=65536)]
    height: u32,
    /// A picture whose frame and pixel aspect to take.
    like: Option<Input<socket::Any>>,
}

impl Node for Constant {
    fn uniform(&self, at: &At<'_>, _output: usize) -> Result<Option<Pixel>> {
        Ok(Some(self.pixel(at.frame)))
    }

    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }

    fn temperament(&self) -> Temperament<'_> {
        Temperament::Region(self)
    }

    fn format(&self, at: &At<'_>, _output: usize) -> Result<Format> {
        let frame = Rect::of_size(self.width, self.height);
        let Some(like) = &self.like else {
            return Ok(Format::new(frame, frame));
        };
        let like = at.format(like)?;
        Ok(Format {
            pixel_aspect: like.pixel_aspect,
            ..Format::new(like.display, like.display)
        })
    }
}

impl Constant {
    fn pixel(&self, frame: i32) -> Pixel {
        let [r, g, b] = self.colour.at(frame).into();
        premultiply([r, g, b, self.alpha.at(frame)])
    }
}

impl RegionNode for Constant {
    fn fill(&self, at: &At<'_>, output: usize, region: Rect) -> Result<Value> {
        let format = self.format(at, output)?;
        let pixel = self.pixel(at.frame);
        let layer = Layer::from_fn(format.display, region, |_, _| pixel);
        Ok(layer.with_pixel_aspect(format.pixel_aspect).into())
    }
}

#[cfg(test)]
mod tests {
    use peel_node::testing::{TestInputs, TestWorld};

    use super::*;

    fn constant(like: Option<Input<socket::Any>>) -> Constant {
        Constant {
            colour: Animated::Constant(Rgb::new(2.0, -0.5, 0.25)),
            alpha: Animated::Constant(0.5),
            width: 6,
            height: 4,
            like,
        }
    }

    #[test]
    fn it_is_premultiplied_and_fills_its_frame() {
        let (world, inputs) = (TestWorld::new("."), TestInputs::new());
        let (node, at) = (constant(None), world.at(&inputs, 1));
        let format = node.format(&at, 0).unwrap();
        assert_eq!(
            (format.display, format.data),
            (Rect::of_size(6, 4), Rect::of_size(6, 4))
        );
        let Value::Layer(layer) = node.fill(&at, 0, format.data).unwrap() else {
            panic!("a layer")
        };
        assert_eq!(layer.get(5, 3), [1.0, -0.25, 0.125, 0.5]);
    }

    #[test]
    fn like_gives_frame_and_pixel_aspect() {
        let frame = Rect::new(-2, 0, 8, 5);
        let other = Layer::new(frame, Rect::new(1, 1, 2, 2)).with_pixel_aspect(2.0);
        let (world, inputs) = (TestWorld::new("."), TestInputs::new().with(other));
        let format = constant(Some(Input::on_slot(0)))
            .format(&world.at(&inputs, 1), 0)
            .unwrap();
        assert_eq!(
            (format.display, format.data, format.pixel_aspect),
            (frame, frame, 2.0)
        );
    }
}
