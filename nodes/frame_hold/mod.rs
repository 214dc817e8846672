//! FrameHold: one picture for many frames.
//!
//! # What it does
//!
//! Shows its input's frame `frame` at every frame. With an `increment` it holds again and again: `frame: 1001,
//! increment: 4` shows 1001 from 1001 to 1004, then 1005 from 1005 to 1008, and likewise before 1001; an increment
//! of 1 shows every frame.
//!
//! The held picture is made once and kept, whatever lies above it. What is computed from it alone has the same key at
//! every frame: a Decompose of a held plate runs once for the whole shot.
//!
//! # When to use it
//!
//! To freeze a clean plate or a reference, to peel a static plate once, to step an animation on twos.
//!
//! # Colour and alpha
//!
//! Layers, mattes and stacks pass unchanged; the output has the type of what is connected.
//!
//! # Example
//!
//! `example.ron` holds a moving ellipse on twos.

use peel_node::{
    At, Format, FrameNode, Input, Node, Output, Params, Result, SocketType, Temperament, Value, socket,
};

/// Holds one frame, or every n-th one.
#[derive(Params)]
pub struct FrameHold {
    /// What to hold.
    input: Input<socket::Any>,
    /// The frame to hold; the first one, where it is held again and again.
    frame: i32,
    /// For how many frames each one is held; 0 holds the first one for ever.
    #[param(default = 0, unit = "frames", hard = 0..=1000000)]
    increment: u32,
}

impl FrameHold {
    /// The input's frame that is shown at `frame`.
    fn shown(&self, frame: i32) -> i32 {
        if self.increment == 0 {
            return self.frame;
        }
        let (first, step) = (i64::from(self.frame), i64::from(self.increment));
        let held = first + (i64::from(frame) - first).div_euclid(step) * step;
        // The step before the first frame of all is cut off there.
        i32::try_from(held).unwrap_or(i32::MIN)
    }
}

impl Node for FrameHold {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }

    fn typed_like(&self) -> Option<usize> {
        Some(self.input.slot)
    }

    fn temperament(&self) -> Temperament<'_> {
        Temperament::Frame(self)
    }

    fn input_frames(&self, _slot: usize, frame: i32) -> Vec<i32> {
        vec![self.shown(frame)]
    }

    fn format(&self, at: &At<'_>, _output: usize) -> Result<Format> {
        at.on_frame(self.shown(at.frame)).format(&self.input)
    }

    /// Not on the held frame itself: there too it has the key that it has everywhere else, so that what follows
    /// is made once.
    fn pass_through(&self, _at: &At<'_>, _output: usize) -> Option<usize> {
        (self.increment == 1).then_some(self.input.slot)
    }
}

impl FrameNode for FrameHold {
    fn render(&self, at: &At<'_>) -> Result<Vec<Value>> {
        let held = at.on_frame(self.shown(at.frame));
        let window = held.format(&self.input)?.data;
        Ok(vec![held.value(&self.input, window)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(frame: i32, increment: u32, at: std::ops::RangeInclusive<i32>) -> Vec<i32> {
        let node = FrameHold {
            input: Input::on_slot(0),
            frame,
            increment,
        };
        at.map(|frame| node.shown(frame)).collect()
    }

    #[test]
    fn it_holds_for_ever_or_again_and_again() {
        assert_eq!(shown(1003, 0, 1001..=1005), [1003; 5]);
        assert_eq!(shown(1001, 1, 1001..=1003), [1001, 1002, 1003]);
        assert_eq!(shown(1001, 2, 999..=1004), [999, 999, 1001, 1001, 1003, 1003]);
        assert_eq!(shown(i32::MAX, 7, i32::MIN..=i32::MIN), [i32::MIN]);
    }
}
