//! Steps of a frame with the help of others; see the manual's section on sequences.
//!
//! A step looks at the plates of its neighbours and at their masks up to its own, and at what those frames, each on its own,
//! were found to have for effects. It never looks at what its neighbours became with the help of theirs, so that it reaches no
//! further than its window. The one exception is the key frame, which is settled without a key frame itself.

mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use peel_image::{Layer, Matte, Rect};
use peel_node::{At, Error, Key, KeyBuilder, Note, Result};
use peel_plate::Light;
use peel_plate::sequence::{Homography, KeyFrame, RealPixels, SeenMask, Taken, reach, register, visibility};

use super::model::Loaded;
use super::steps::of_mask;
use super::{Decompose, MadeUp, Motion, Peeled};

/// Raised whenever a step with help gives other pixels or figures.
const VERSION: i128 = 5;

/// The coverage from which a mask shows its object; as in the solver.
const SOLID: f32 = 0.05;

/// The least context around a hole by which its light is told, in pixels.
const CONTEXT: i32 = 48;

/// Why a frame cannot help.
pub(super) enum Absence {
    /// One of its inputs is not there.
    Missing(String),
    /// One of its inputs was made for another frame size, or cannot be read.
    Misfit(String),
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
        let mut frames: BTreeSet<i32> = self.window(frame).chain([frame]).collect();
        match self.made_up {
            MadeUp::KeyFrame if self.motion == Motion::Off => {}
            MadeUp::KeyFrame => {
                for key in self.key_frames(frame) {
                    frames.insert(key);
                    frames.extend(self.window(key));
                }
            }
            MadeUp::Neighbour => {
                for frame in frames.clone() {
                    for key in self.key_frames(frame) {
                        frames.extend(frame.min(key)..=frame.max(key));
                    }
                }
            }
        }
        frames.remove(&frame);
        frames.into_iter().collect()
    }

    /// The neighbours of a frame, nearest first and of two as near the earlier first.
    fn window(&self, frame: i32) -> impl Iterator<Item = i32> {
        let (count, step) = (self.window as i32, self.window_step as i32);
        let count = if self.motion == Motion::Off { 0 } else { count };
        (1..=count)
            .flat_map(move |n| [frame.checked_sub(n * step), frame.checked_add(n * step)])
            .flatten()
    }

    /// The key frames that could be a frame's, the preferred one first; none for a key frame.
    pub(super) fn key_frames(&self, frame: i32) -> Vec<i32> {
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

    /// Why a frame cannot help; `None` where it can.
    pub(super) fn absence(&self, at: &At<'_>, display: Rect) -> Result<Option<Absence>> {
        let missing = || -> Result<()> {
            at.input_key(&self.plate)?;
            self.masks
                .iter()
                .try_for_each(|mask| at.input_key(mask).map(|_| ()))
        };
        let misfit = || -> Result<Option<String>> {
            let found = at.format(&self.plate)?.display;
            if found != display {
                return Ok(Some(format!("its plate is made for a frame of {found}")));
            }
            for mask in &self.masks {
                let found = at.format(mask)?.display;
                if found != display {
                    let name = &mask.edge.node;
                    return Ok(Some(format!("`{name}` is made for a frame of {found}")));
                }
            }
            Ok(None)
        };
        match missing() {
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => return Ok(Some(Absence::Missing(error.to_string()))),
            Ok(()) => {}
        }
        match misfit() {
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => Ok(Some(Absence::Misfit(error.to_string()))),
            Ok(reason) => Ok(reason.map(Absence::Misfit)),
        }
    }

    /// Where the frame at hand stands; `with_key` where it follows a key frame. Says what is missing around it.
    fn place<'a>(&self, at: At<'a>, with_key: bool, display: Rect) -> Result<Place<'a>> {
        let mut present = Vec::new();
        let mut absent: Vec<(i32, Absence)> = Vec::new();
        for frame in self.window(at.frame) {
            match self.absence(&at.on_frame(frame), display)? {
                None => present.push(frame),
                Some(reason) => absent.push((frame, reason)),
            }
        }
        let mut key_frame = None;
        if with_key && self.made_up == MadeUp::KeyFrame {
            for frame in self.key_frames(at.frame) {
                if self.absence(&at.on_frame(frame), display)?.is_none() {
                    key_frame = Some(frame);
                    break;
                }
            }
        }
        // A shot ends somewhere: only what is missing between frames that are there is worth a word.
        let is_there = |absent: &(i32, Absence)| matches!(absent.1, Absence::Misfit(_));
        let misfits = absent
            .iter()
            .filter(|absent| is_there(absent))
            .map(|(frame, _)| frame);
        let there = present.iter().chain(misfits).chain([&at.frame]);
        let (first, last) = there.fold((at.frame, at.frame), |(first, last), &frame| {
            (first.min(frame), last.max(frame))
        });
        absent.retain(|(frame, _)| (first..=last).contains(frame));
        absent.sort_unstable_by_key(|(frame, _)| *frame);
        if let Some((_, Absence::Missing(reason) | Absence::Misfit(reason))) = absent.first() {
            let frames: Vec<String> = absent.iter().map(|(frame, _)| frame.to_string()).collect();
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
            // And so does what their sampling started from.
            if self.made_up == MadeUp::Neighbour
                && let Some(chained) = self.chain(&at, model, index + 1)?.last()
            {
                key.key(chained);
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
        let cache_key = self.cache_key(place, model, index, key.map(|(of, _)| of))?;
        let mut make = || self.make_step(place, model, index, before, key, progress);
        self.cached(&place.at, cache_key, index, &mut make)
    }

    /// The key of a step that follows a key frame, or is one.
    fn cache_key(
        &self,
        place: &Place<'_>,
        model: &Loaded,
        index: usize,
        of: Option<&Place<'_>>,
    ) -> Result<Key> {
        let mut key = KeyBuilder::new("Decompose step with its key frame");
        key.key(&self.together_key(place, model, index)?);
        if let Some(of) = of {
            let apart = i128::from(of.at.frame) - i128::from(place.at.frame);
            key.int(apart).key(&self.together_key(of, model, index)?);
        }
        Ok(key.finish())
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
        let key_frame = key.map(|(of, _)| of.at.frame);
        let further = key_frame.filter(|frame| !place.present.contains(frame));
        let frames: Vec<i32> = place.present.iter().copied().chain(further).collect();
        // The model has to run on every frame that is looked at, and here.
        let share = |done: usize| {
            let runs = (frames.len() + 1) as f32;
            move |part: f32| progress((done as f32 + part) / runs)
        };
        let looking = Looking::new(self, at, model, index, before)?;
        let mut maps = BTreeMap::new();
        let (mask, alone) = if index == 0 {
            let alone = self.alone(at, model, 1, &share(0))?.pop();
            (looking.mask()?, alone)
        } else {
            let mask = Arc::new(looking.whole_mask(&frames, &mut maps, &share)?);
            let below = before.last().map_or(&looking.plate, |step| &step.background);
            let alone = self.peel(at, model, index, below, &mask, &share(frames.len()))?;
            (mask, Some(alone))
        };
        let name = &self.masks[index].edge.node;
        let alone = alone.ok_or_else(|| Error::message(format!("{name}: the step is gone")))?;
        let object = alone.foreground.data().union(mask.tight_window(SOLID));
        if object.is_empty() {
            return Ok(alone);
        }

        let mut hidden = looking.masks.clone();
        hidden.pop();
        hidden.push(Arc::clone(&mask));
        let mut steps = before.to_vec();
        steps.push(alone.clone());
        let own = looking.shows(&hidden, &steps)?;
        let context = CONTEXT.max(object.width().max(object.height()) as i32 / 3);
        let light = self.options_at(at, index)?.light;
        let light = light.unwrap_or_else(|| Light::of_plate(&looking.plate));
        let mut real = RealPixels::new(
            &looking.plate,
            &own,
            object.grow(context),
            light,
            looking.farthest,
        );
        let (mut seen, mut key_map, mut lost) = (0, None, Vec::new());
        // One frame after the other: of each no more is kept than it shows of the region.
        for (done, &frame) in frames.iter().enumerate() {
            let sight = if index == 0 {
                looking.sight(frame, &share(done + 1))?
            } else {
                looking.sight(frame, &|_| !at.world.cancelled())?
            };
            let map = match maps.get(&frame) {
                Some(&map) => map,
                None => looking.map_to(&sight),
            };
            let Some(map) = map else {
                lost.push(frame.to_string());
                continue;
            };
            if key_frame == Some(frame) {
                key_map = Some(map);
            }
            if place.present.contains(&frame) {
                real.look(&sight.plate, &sight.shows, &map);
                seen += 1;
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
        let key = key
            .zip(key_map)
            .map(|((_, step), map)| KeyFrame::new(&step.background, &step.foreground, map));
        let taken = Taken {
            plate: before.last().map_or(&looking.plate, |step| &step.background),
            mask: &mask,
            reach: looking.reach(&mask),
            effect_threshold: self.effect_threshold,
        };
        let layers = (
            alone.background.as_ref().clone(),
            alone.foreground.as_ref().clone(),
        );
        let step = real.paint(&taken, layers, key.as_ref());
        let follows = key_frame.map_or(String::new(), |frame| format!(", key frame {frame}"));
        at.world.note(Note::Info(format!(
            "{name}: frame {} with {seen} frames around it{follows}: recomposition max {}, {} pixels affected",
            at.frame, step.report.recomposition_max, step.report.affected
        )));
        Ok(Peeled {
            background: Arc::new(step.background),
            foreground: Arc::new(step.foreground),
            figures: alone.figures.laid_again(&step.report),
        })
    }

    fn plate_at(&self, at: &At<'_>) -> Result<Arc<Layer>> {
        at.layer(&self.plate, at.format(&self.plate)?.data)
    }

    /// The masks up to one, at a frame.
    pub(super) fn masks_at(&self, at: &At<'_>, index: usize) -> Result<Vec<Arc<Matte>>> {
        self.masks[..=index]
            .iter()
            .map(|mask| at.matte(mask, at.format(mask)?.data))
            .collect()
    }
}

/// One mask's step of a frame, as far as it looks at other frames.
pub(super) struct Looking<'a> {
    node: &'a Decompose,
    at: At<'a>,
    model: &'a Loaded,
    index: usize,
    /// Plate and masks of the frame at hand, up to the step's own.
    pub(super) plate: Arc<Layer>,
    masks: Vec<Arc<Matte>>,
    /// Where the frame at hand shows the background of the step, as far as is known before it.
    own: Matte,
    /// Pixels on the longer side of what the model sees, and the farthest that any hole reaches past its mask.
    size: usize,
    farthest: f32,
}

/// Another frame's plate, and where it shows the background of the step.
pub(super) struct Sight {
    plate: Arc<Layer>,
    shows: Matte,
}

impl<'a> Looking<'a> {
    pub(super) fn new(
        node: &'a Decompose,
        at: &At<'a>,
        model: &'a Loaded,
        index: usize,
        before: &[Peeled],
    ) -> Result<Looking<'a>> {
        let plate = node.plate_at(at)?;
        let mut looking = Looking {
            node,
            at: *at,
            model,
            index,
            own: Matte::new(plate.display(), Rect::EMPTY),
            masks: node.masks_at(at, index)?,
            size: model.network(at)?.working_size(),
            farthest: 0.0,
            plate,
        };
        let reaches = looking.masks.iter().map(|mask| looking.reach(mask));
        looking.farthest = reaches.fold(0.0, f32::max);
        looking.own = looking.shows(&looking.masks, before)?;
        Ok(looking)
    }

    fn mask(&self) -> Result<Arc<Matte>> {
        let mask = self.masks.last().cloned();
        mask.ok_or_else(|| Error::message("there is no mask"))
    }

    /// How far the hole of a mask reaches past it.
    fn reach(&self, mask: &Matte) -> f32 {
        reach(mask, self.plate.data(), &self.node.options(self.index), self.size)
    }

    /// Where a frame with these masks and steps shows the background.
    fn shows(&self, masks: &[Arc<Matte>], steps: &[Peeled]) -> Result<Matte> {
        let masks: Vec<&Matte> = masks.iter().map(Arc::as_ref).collect();
        let fronts: Vec<&Layer> = steps.iter().map(|step| step.foreground.as_ref()).collect();
        let (display, data) = (self.plate.display(), self.plate.data());
        visibility(display, data, &masks, &fronts, self.farthest)
            .map_err(|error| of_mask(error, &self.node.masks[self.index].edge.node))
    }

    /// Looks at another frame, decomposed on its own.
    pub(super) fn sight(&self, frame: i32, progress: &dyn Fn(f32) -> bool) -> Result<Sight> {
        let there = self.at.on_frame(frame);
        if self.at.world.cancelled() {
            return Err(Error::Cancelled);
        }
        let steps = self.node.alone(&there, self.model, self.index + 1, progress)?;
        Ok(Sight {
            plate: self.node.plate_at(&there)?,
            shows: self.shows(&self.node.masks_at(&there, self.index)?, &steps)?,
        })
    }

    /// From positions here to positions there; `None` where that cannot be told.
    pub(super) fn map_to(&self, there: &Sight) -> Option<Homography> {
        match self.node.motion {
            Motion::Homography => register(&self.plate, &self.own, &there.plate, &there.shows),
            Motion::Locked | Motion::Off => Some(Homography::IDENTITY),
        }
    }

    /// The mask as it would be without the objects before its own. Leaves in `maps` where each frame looks.
    fn whole_mask<P: Fn(f32) -> bool>(
        &self,
        frames: &[i32],
        maps: &mut BTreeMap<i32, Option<Homography>>,
        share: &dyn Fn(usize) -> P,
    ) -> Result<Matte> {
        let (mask, free) = (self.mask()?, self.shows(&self.masks[..self.index], &[])?);
        let mut seen = SeenMask::new(&mask, &free);
        for (done, &frame) in frames.iter().enumerate() {
            let map = self.map_to(&self.sight(frame, &share(done))?);
            maps.insert(frame, map);
            let masks = self.node.masks_at(&self.at.on_frame(frame), self.index)?;
            if let (Some(map), Some(mask)) = (map, masks.last()) {
                seen.look(mask, &self.shows(&masks[..self.index], &[])?, &map);
            }
        }
        Ok(seen.complete())
    }
}
