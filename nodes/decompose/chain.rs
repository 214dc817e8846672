//! Sampling that starts from a neighbour's result: frame by frame away from a key frame, which starts from noise.
//!
//! Which frame another starts from hangs on the shot alone, on its frame numbers and on which of them are there, never on what
//! was rendered before. Each frame of a chain is a cached step like any other, so a shot rendered in order costs one sampling a
//! frame, and a frame rendered alone one for each frame from its key frame on.

use std::sync::Arc;

use peel_image::Layer;
use peel_node::{At, Error, KeptStep, Result};
use peel_plate::sequence::seen_from;

use super::model::Loaded;
use super::shot::Looking;
use super::{Decompose, MadeUp, Motion};

impl Decompose {
    /// The frame whose result the sampling of the frame at hand starts from: the nearest that is there on the way to its key
    /// frame. None for a key frame, and where nothing is chained.
    pub(super) fn starts_from(&self, at: &At<'_>) -> Result<Option<i32>> {
        if self.made_up == MadeUp::KeyFrame {
            return Ok(None);
        }
        let display = at.format(&self.plate)?.display;
        let is_there =
            |frame: i32| -> Result<bool> { Ok(self.absence(&at.on_frame(frame), display)?.is_none()) };
        for key in self.key_frames(at.frame) {
            if !is_there(key)? {
                continue;
            }
            let toward = (key - at.frame).signum();
            let mut frame = at.frame + toward;
            while frame != key && !is_there(frame)? {
                frame += toward;
            }
            return Ok(Some(frame));
        }
        Ok(None)
    }

    /// The background of a step on the frame that its sampling starts from, as the camera of the frame at hand sees it.
    pub(super) fn start(&self, at: &At<'_>, model: &Loaded, index: usize) -> Result<Option<Arc<Layer>>> {
        let Some(frame) = self.starts_from(at)? else {
            return Ok(None);
        };
        let there = at.on_frame(frame);
        let progress = |_| !at.world.cancelled();
        let Some(step) = self.alone(&there, model, index + 1, &progress)?.pop() else {
            return Ok(None);
        };
        if at.world.cancelled() {
            return Err(Error::Cancelled);
        }
        if self.motion != Motion::Homography {
            return Ok(Some(step.background));
        }
        // Where no motion is found, the frame starts from noise.
        let looking = Looking::new(self, at, model, index, &[])?;
        let map = looking.map_to(&looking.sight(frame, &progress)?);
        Ok(map.map(|map| Arc::new(seen_from(&step.background, &map, &looking.plate))))
    }

    /// The steps of a frame that others do not help with their pixels, and those that their sampling starts from.
    pub(super) fn steps_alone(&self, at: &At<'_>, model: &Loaded) -> Result<Vec<KeptStep>> {
        let mut steps = Vec::new();
        let mut next = Some(at.frame);
        while let Some(frame) = next {
            let there = at.on_frame(frame);
            next = self.starts_from(&there)?;
            for (name, key) in self.names().zip(self.chain(&there, model, self.masks.len())?) {
                steps.push(KeptStep {
                    name: name.to_owned(),
                    frame,
                    key,
                    looks_at: next.into_iter().collect(),
                });
            }
        }
        Ok(steps)
    }
}
