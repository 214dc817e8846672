//! TimeOffset: the same pictures, earlier or later.
//!
//! # What it does
//!
//! Shows at each frame what its input shows `frames` frames before it: with `frames: 10`, frame 1011 shows the
//! input's frame 1001, so that the clip starts ten frames later. Negative numbers make it start earlier. Nothing is
//! computed twice: the shifted picture is the input's own, under its own key.
//!
//! The number may be animated, which retimes the clip; it is rounded to whole frames, between which nothing is mixed.
//!
//! # When to use it
//!
//! To slip one element of a composite against the others, mattes and peeled layers together with their plate. Animated
//! parameters above it are shifted as well. To give a sequence of files another first frame, Read's `offset` is
//! nearer at hand; it counts the other way round, towards the file.
//!
//! # Colour and alpha
//!
//! Layers, mattes and stacks pass unchanged; the output has the type of what is connected.
//!
//! # Example
//!
//! `example.ron` shows a moving ellipse where it was two frames before.

use peel_image::Pixel;
use peel_node::{
    Animated, At, Format, Input, Node, Output, Params, RegionNode, Result, SocketType, Temperament, Value,
    socket,
};

/// Shows earlier or later frames.
#[derive(Params)]
pub struct TimeOffset {
    /// What to shift.
    input: Input<socket::Any>,
    /// How much later it is shown; negative for earlier.
    #[param(default = 0, unit = "frames", hard = -1000000..=1000000)]
    frames: Animated<i32>,
}

impl TimeOffset {
    /// The input's frame that is shown at `frame`.
    fn shown(&self, frame: i32) -> i32 {
        frame.saturating_sub(self.frames.at(frame))
    }
}

impl Node for TimeOffset {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }

    fn typed_like(&self) -> Option<usize> {
        Some(self.input.slot)
    }

    fn temperament(&self) -> Temperament<'_> {
        Temperament::Region(self)
    }

    fn input_frames(&self, _slot: usize, frame: i32) -> Vec<i32> {
        vec![self.shown(frame)]
    }

    fn format(&self, at: &At<'_>, _output: usize) -> Result<Format> {
        at.on_frame(self.shown(at.frame)).format(&self.input)
    }

    fn pass_through(&self, at: &At<'_>, _output: usize) -> Option<usize> {
        (self.shown(at.frame) == at.frame).then_some(self.input.slot)
    }

    fn uniform(&self, at: &At<'_>, _output: usize) -> Result<Option<Pixel>> {
        at.on_frame(self.shown(at.frame)).uniform(&self.input)
    }
}

impl RegionNode for TimeOffset {
    fn fill(&self, at: &At<'_>, _output: usize, region: peel_image::Rect) -> Result<Value> {
        at.on_frame(self.shown(at.frame)).value(&self.input, region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_positive_offset_shows_earlier_frames_and_so_starts_later() {
        let node = |frames| TimeOffset {
            input: Input::on_slot(0),
            frames: Animated::Constant(frames),
        };
        assert_eq!(node(10).input_frames(0, 1011), [1001]);
        assert_eq!(node(-10).input_frames(0, 1011), [1021]);
        assert_eq!(node(-1).input_frames(0, i32::MAX), [i32::MAX]);
    }
}
