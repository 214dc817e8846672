//! Steps of a frame with the help of others; see the manual's section on sequences.
//!
//! A step looks at the plates of its neighbours and at their masks up to its own, and at what those frames, each on its own,
//! were found to have for effects. It never looks at what its neighbours became with the help of theirs, so that it reaches no
//! further than its window. The one exception is the key frame, which is settled without a key frame itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use peel_image::{Layer, Matte, Rect};
use peel_node::{At, Error, Key, KeyBuilder, Note, Result};
use peel_plate::Light;
use peel_plate::sequence::{
    Homography, KeyFrame, RealPixels, Taken, complete_mask, reach, register, visibility,
};

use super::model::Loaded;
use super::steps::of_mask;
use super::{Decompose, Motion, Peeled};

/// Raised whenever a step with help gives other pixels.
const VERSION: i128 = 1;

/// The coverage from which a mask shows its object; as in the solver.
const SOLID: f32 = 0.05;

/// The least context around a hole by which its light is told, in pixels.
const CONTEXT: i32 = 48;

/// A frame that is looked at.
struct Neighbour {
    frame: i32,
    plate: Arc<Layer>,
    /// Where it shows the background of the step.
    shows: Matte,
    /// The mask of the step there.
    mask: Arc<Matte>,
    /// Where nothing stands before its object there; `None` where no mask comes before.
    free: Option<Matte>,
    /// From positions here to positions there.
    map: Homography,
}

/// Where a frame stands in its shot.
struct Place<'a> {
    at: At<'a>,
    /// The neighbours that are there, in the order in which they are preferred.
    present: Vec<i32>,
    /// The frame that makes up what no frame shows; `None` for such a frame itself.
    key_frame: Option<i32>,
}

impl Decompose {
    /// All frames that a frame looks at, where they are there; not itself.
    pub(super) fn frames_beside(&self, frame: i32) -> Vec<i32> {
        if self.motion == Motion::Off {
            return Vec::new();
        }
        let keys = self.key_frames(frame);
        let mut frames: BTreeSet<i32> = self.window(frame).collect();
        for key in keys {
            frames.insert(key);
            frames.extend(self.window(key));
        }
        frames.remove(&frame);
        frames.into_iter().collect()
    }

    /// The neighbours of a frame, nearest first and of two as near the earlier first.
    fn window(&self, frame: i32) -> impl Iterator<Item = i32> {
        let (count, step) = (self.window as i32, self.window_step as i32);
        (1..=count)
            .flat_map(move |n| [frame.checked_sub(n * step), frame.checked_add(n * step)])
            .flatten()
    }

    /// The key frames that could be a frame's, the preferred one first; none for a key frame.
    fn key_frames(&self, frame: i32) -> Vec<i32> {
        let every = self.key_every as i32;
        if every == 0 || frame.rem_euclid(every) == 0 {
            return Vec::new();
        }
        let past = frame.rem_euclid(every);
        [frame.checked_sub(past), frame.checked_add(every - past)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Why a frame cannot help: one of its inputs is missing, or was made for another frame size.
    fn absence(&self, at: &At<'_>, display: Rect) -> Result<Option<String>> {
        let look = || -> Result<Option<String>> {
            at.input_key(&self.plate)?;
            let plate = at.format(&self.plate)?;
            if plate.display != display {
                return Ok(Some(format!(
                    "its plate is made for a frame of {}",
                    plate.display
                )));
            }
            for mask in &self.masks {
                at.input_key(mask)?;
                let found = at.format(mask)?.display;
                if found != display {
                    return Ok(Some(format!(
                        "`{}` is made for a frame of {found}",
                        mask.edge.node
                    )));
                }
            }
            Ok(None)
        };
        match look() {
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => Ok(Some(error.to_string())),
            found => found,
        }
    }

    /// Where the frame at hand stands; `with_key` where it follows a key frame. Says what is missing around it.
    fn place<'a>(&self, at: At<'a>, with_key: bool, display: Rect) -> Result<Place<'a>> {
        let mut present = Vec::new();
        let mut absent: Vec<(i32, String)> = Vec::new();
        for frame in self.window(at.frame) {
            match self.absence(&at.on_frame(frame), display)? {
                None => present.push(frame),
                Some(reason) => absent.push((frame, reason)),
            }
        }
        let mut key_frame = None;
        if with_key {
            for frame in self.key_frames(at.frame) {
                if self.absence(&at.on_frame(frame), display)?.is_none() {
                    key_frame = Some(frame);
                    break;
                }
            }
        }
        if let Some((_, reason)) = absent.first() {
            let mut frames: Vec<i32> = absent.iter().map(|(frame, _)| *frame).collect();
            frames.sort_unstable();
            let frames: Vec<String> = frames.iter().map(i32::to_string).collect();
            let text = format!("frame {} does without {}: {reason}", at.frame, frames.join(", "));
            at.world.note(Note::Info(text));
        }
        Ok(Place {
            at,
            present,
            key_frame,
        })
    }

    /// All steps of the frame at hand, helped by the frames around it.
    pub(super) fn together(&self, at: &At<'_>, model: &Loaded) -> Result<Vec<Peeled>> {
        let display = at.format(&self.plate)?.display;
        for mask in &self.masks {
            let found = at.format(mask)?.display;
            if found != display {
                let error = peel_plate::Error::SizeMismatch {
                    plate: display,
                    matte: found,
                };
                return Err(of_mask(error, &mask.edge.node));
            }
        }
        let place = self.place(*at, true, display)?;
        let key_place = place
            .key_frame
            .map(|frame| self.place(at.on_frame(frame), false, display))
            .transpose()?;
        let count = self.masks.len() as f32;
        let (mut steps, mut keys) = (Vec::new(), Vec::new());
        for index in 0..self.masks.len() {
            let share = |part: f32| at.world.progress((index as f32 + part) / count);
            let half = |part: f32| share(0.5 * part);
            let rest = |part: f32| {
                share(if key_place.is_some() {
                    0.5 + 0.5 * part
                } else {
                    part
                })
            };
            if let Some(place) = &key_place {
                let step = self.step(place, model, index, &keys, None, &half)?;
                keys.push(step);
            }
            let step = self.step(
                &place,
                model,
                index,
                &steps,
                key_place.as_ref().zip(keys.last()),
                &rest,
            )?;
            steps.push(step);
        }
        Ok(steps)
    }

    /// What a step with help depends on.
    fn together_key(&self, place: &Place<'_>, model: &Loaded, index: usize) -> Result<Key> {
        let at = &place.at;
        let mut key = KeyBuilder::new("Decompose step of a shot");
        key.int(VERSION).int(self.motion as i128);
        for earlier in 0..=index {
            key.key(&self.step_key(at, model, earlier).finish());
        }
        // Frame numbers do not matter, but how far the frames are from each other does.
        for frame in std::iter::once(at.frame).chain(place.present.iter().copied()) {
            let at = at.on_frame(frame);
            key.int(i128::from(frame) - i128::from(place.at.frame))
                .key(&at.input_key(&self.plate)?);
            for mask in &self.masks[..=index] {
                key.key(&at.input_key(mask)?);
            }
        }
        Ok(key.finish())
    }

    /// One mask's step of a frame. `before` are the steps of the masks before it, `key` the key frame and its step.
    fn step(
        &self,
        place: &Place<'_>,
        model: &Loaded,
        index: usize,
        before: &[Peeled],
        key: Option<(&Place<'_>, &Peeled)>,
        progress: &dyn Fn(f32) -> bool,
    ) -> Result<Peeled> {
        let mut cache_key = KeyBuilder::new("Decompose step with its key frame");
        cache_key.key(&self.together_key(place, model, index)?);
        if let Some((of, _)) = key {
            let apart = i128::from(of.at.frame) - i128::from(place.at.frame);
            cache_key.int(apart).key(&self.together_key(of, model, index)?);
        }
        let mut make = || self.make_step(place, model, index, before, key, progress);
        self.cached(&place.at, cache_key.finish(), index, &mut make)
    }

    fn make_step(
        &self,
        place: &Place<'_>,
        model: &Loaded,
        index: usize,
        before: &[Peeled],
        key: Option<(&Place<'_>, &Peeled)>,
        progress: &dyn Fn(f32) -> bool,
    ) -> Result<Peeled> {
        let at = &place.at;
        let name = &self.masks[index].edge.node;
        let failed = |error| of_mask(error, name);
        // The model has to run on every neighbour, on the key frame and here.
        let runs = (place.present.len() + 2) as f32;
        let share = |done: usize| move |part: f32| progress((done as f32 + part) / runs);

        let plate = self.plate_at(at)?;
        let masks = self.masks_at(at, index)?;
        let size = model.network()?.working_size();
        let reach = |mask: &Matte| reach(mask, plate.data(), &self.options(index), size);
        let farthest = masks.iter().map(|mask| reach(mask)).fold(0.0, f32::max);
        let shows = |masks: &[Arc<Matte>], steps: &[Peeled]| {
            let masks: Vec<&Matte> = masks.iter().map(Arc::as_ref).collect();
            let fronts: Vec<&Layer> = steps.iter().map(|step| step.foreground.as_ref()).collect();
            visibility(plate.display(), plate.data(), &masks, &fronts, farthest)
        };
        let below = before.last().map_or(&plate, |step| &step.background);
        let own = shows(&masks, before).map_err(failed)?;

        let mut neighbours = Vec::new();
        let mut lost = Vec::new();
        let key_frame = key.map(|(of, _)| of.at.frame);
        let looked_at = place.present.iter().copied();
        let further = key_frame.filter(|frame| !place.present.contains(frame));
        for (done, frame) in looked_at.chain(further).enumerate() {
            let there = at.on_frame(frame);
            let steps = self.alone(&there, model, index + 1, &share(done))?;
            let (there_plate, there_masks) = (self.plate_at(&there)?, self.masks_at(&there, index)?);
            let there_shows = shows(&there_masks, &steps).map_err(failed)?;
            let free = (index > 0)
                .then(|| shows(&there_masks[..index], &[]))
                .transpose()
                .map_err(failed)?;
            let map = match self.motion {
                Motion::Homography => register(&plate, &own, &there_plate, &there_shows),
                Motion::Locked | Motion::Off => Some(Homography::IDENTITY),
            };
            match (map, there_masks.into_iter().next_back()) {
                (Some(map), Some(mask)) => neighbours.push(Neighbour {
                    frame,
                    plate: there_plate,
                    shows: there_shows,
                    mask,
                    free,
                    map,
                }),
                _ => lost.push(frame.to_string()),
            }
        }
        if !lost.is_empty() {
            let text = format!(
                "{name}: no camera motion is found from frame {} to {}, which are passed over",
                at.frame,
                lost.join(", ")
            );
            at.world.note(Note::Warning(text));
        }

        let mut mask = masks
            .last()
            .cloned()
            .ok_or_else(|| Error::message("there is no mask"))?;
        let alone = if index == 0 {
            self.alone(at, model, 1, &share(place.present.len() + 1))?.pop()
        } else {
            let free = shows(&masks[..index], &[]).map_err(failed)?;
            let others: Vec<_> = neighbours
                .iter()
                .filter_map(|n| Some((n.mask.as_ref(), n.free.as_ref()?, n.map)))
                .collect();
            mask = Arc::new(complete_mask(&mask, &free, &others));
            Some(self.peel(at, model, index, below, &mask, &share(place.present.len() + 1))?)
        };
        let alone = alone.ok_or_else(|| Error::message(format!("{name}: the step is gone")))?;

        let mut hidden = masks;
        hidden.pop();
        hidden.push(Arc::clone(&mask));
        let mut steps = before.to_vec();
        steps.push(alone.clone());
        let own = shows(&hidden, &steps).map_err(failed)?;
        let object = alone.foreground.data().union(mask.tight_window(SOLID));
        if object.is_empty() {
            return Ok(alone);
        }
        let context = CONTEXT.max(object.width().max(object.height()) as i32 / 3);
        let light = self
            .options(index)
            .light
            .unwrap_or_else(|| Light::of_plate(&plate));
        let mut real = RealPixels::new(&plate, &own, object.grow(context), light);
        for neighbour in neighbours.iter().filter(|n| place.present.contains(&n.frame)) {
            if at.world.cancelled() {
                return Err(Error::Cancelled);
            }
            real.look(&neighbour.plate, &neighbour.shows, &neighbour.map);
        }
        let key = key.and_then(|(of, step)| {
            let map = neighbours.iter().find(|n| n.frame == of.at.frame)?.map;
            Some(KeyFrame::new(&step.background, &step.foreground, map))
        });
        let taken = Taken {
            plate: below,
            mask: &mask,
            reach: reach(&mask),
            effect_threshold: self.effect_threshold,
        };
        let layers = (
            alone.background.as_ref().clone(),
            alone.foreground.as_ref().clone(),
        );
        let step = real.paint(&taken, layers, key.as_ref());
        let seen = neighbours
            .iter()
            .filter(|n| place.present.contains(&n.frame))
            .count();
        let follows = key_frame.map_or(String::new(), |frame| format!(", key frame {frame}"));
        at.world.note(Note::Info(format!(
            "{name}: frame {} with {seen} frames around it{follows}: recomposition max {}, {} pixels affected",
            at.frame, step.report.recomposition_max, step.report.affected
        )));
        Ok(Peeled {
            background: Arc::new(step.background),
            foreground: Arc::new(step.foreground),
        })
    }

    fn plate_at(&self, at: &At<'_>) -> Result<Arc<Layer>> {
        at.layer(&self.plate, at.format(&self.plate)?.data)
    }

    /// The masks up to one, at a frame.
    fn masks_at(&self, at: &At<'_>, index: usize) -> Result<Vec<Arc<Matte>>> {
        self.masks[..=index]
            .iter()
            .map(|mask| at.matte(mask, at.format(mask)?.data))
            .collect()
    }
}
