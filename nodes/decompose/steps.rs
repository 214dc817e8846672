//! Steps of a frame on its own: one mask after the other, each cached under its own key.

use std::sync::Arc;

use peel_image::{Layer, Matte};
use peel_node::{At, Error, Key, KeyBuilder, Note, Result, Value};
use peel_plate::{Light, Options, peel_near};

use super::model::Loaded;
use super::{Decompose, Figures, Motion, Peeled};

/// Raised whenever the same step gives other pixels or figures.
const STEP_VERSION: i128 = 10;

impl Decompose {
    /// What a step depends on beside its plate and its mask.
    pub(super) fn step_key(&self, at: &At<'_>, model: &Loaded, index: usize) -> KeyBuilder {
        let mut key = KeyBuilder::new("Decompose step");
        key.int(STEP_VERSION)
            .key(&model.key)
            .str(&self.device(at).to_string());
        // Named in full, so that an option that is added later cannot be forgotten here.
        let Options {
            steps,
            sampler,
            seed,
            grow,
            feather,
            effect_threshold,
            keep_grain,
            texture_fill,
            margin,
            light,
            working_size,
            quality,
        } = self.options(index);
        key.int(steps.max(1) as i128)
            .str(&sampler.to_string())
            .int(seed.into());
        for number in [grow, feather, effect_threshold, margin] {
            key.float(number.into());
        }
        key.int(keep_grain.into())
            .int(texture_fill.into())
            .int(quality as i128);
        key.int(working_size.map_or(-1, |size| size as i128));
        match light {
            Some(Light { exposure, white }) => key.float(exposure.into()).float(white.into()),
            None => key.str("chosen"),
        };
        if let (None, Some(frame)) = (light, self.light_frame) {
            // What is chosen from that plate is known by its key: no pixels are needed to tell results apart.
            match at.on_frame(frame).input_key(&self.plate) {
                Ok(plate) => key.key(&plate),
                Err(_) => key.str("missing"),
            };
        }
        key
    }

    /// The keys of the first `count` steps. A step's key holds all that the steps before it depend on, since they made
    /// its plate, and the key of the neighbour's step that its sampling starts from.
    pub(super) fn chain(&self, at: &At<'_>, model: &Loaded, count: usize) -> Result<Vec<Key>> {
        let mut key = KeyBuilder::new("Decompose chain");
        key.key(&at.input_key(&self.plate)?);
        let start = self.starts_from(at)?;
        let starts = match start {
            Some(frame) => self.chain(&at.on_frame(frame), model, count)?,
            None => Vec::new(),
        };
        let steps = self.masks.iter().enumerate().take(count).map(|(index, mask)| {
            key.key(&self.step_key(at, model, index).finish())
                .key(&at.input_key(mask)?);
            if let (Some(frame), Some(start)) = (start, starts.get(index)) {
                key.str("started from the neighbour")
                    .int(i128::from(frame) - i128::from(at.frame))
                    .int((self.motion == Motion::Homography).into())
                    .key(start);
            }
            Ok(key.finish())
        });
        steps.collect()
    }

    /// The first `count` steps of the frame at hand, which other frames do not help with their pixels.
    pub(super) fn alone(
        &self,
        at: &At<'_>,
        model: &Loaded,
        count: usize,
        progress: &dyn Fn(f32) -> bool,
    ) -> Result<Vec<Peeled>> {
        let mut steps: Vec<Peeled> = Vec::new();
        let keys = self.chain(at, model, count)?;
        for (index, (mask, key)) in self.masks.iter().zip(keys).enumerate() {
            let mut make = || {
                let below = match steps.last() {
                    Some(step) => Arc::clone(&step.background),
                    None => at.layer(&self.plate, at.format(&self.plate)?.data)?,
                };
                let matte = at.matte(mask, at.format(mask)?.data)?;
                let share = |share: f32| progress((index as f32 + share) / count as f32);
                self.peel(at, model, index, &below, &matte, &share)
            };
            let step = self.cached(at, key, index, &mut make)?;
            steps.push(step);
        }
        Ok(steps)
    }

    /// Runs the model for one mask.
    pub(super) fn peel(
        &self,
        at: &At<'_>,
        model: &Loaded,
        index: usize,
        below: &Layer,
        matte: &Matte,
        progress: &dyn Fn(f32) -> bool,
    ) -> Result<Peeled> {
        let name = &self.masks[index].edge.node;
        let options = self.options_at(at, index)?;
        let start = self.start(at, model, index)?;
        let network = model.network(at)?;
        let step = peel_near(below, matte, start.as_deref(), network, &options, progress)
            .map_err(|error| of_mask(error, name))?;
        // Only the frame at hand has a key.
        let elsewhere = if at.key.is_none() {
            format!(" at frame {}", at.frame)
        } else {
            String::new()
        };
        at.world
            .note(Note::Info(format!("{name}{elsewhere}: {}", step.report)));
        for remark in &step.report.remarks {
            at.world
                .note(Note::Warning(format!("{name}{elsewhere}: {remark}")));
        }
        Ok(Peeled {
            background: Arc::new(step.background),
            foreground: Arc::new(step.foreground),
            figures: Figures::of(&step.report),
        })
    }

    /// A step from the cache, or made.
    pub(super) fn cached(
        &self,
        at: &At<'_>,
        key: Key,
        index: usize,
        make: &mut dyn FnMut() -> Result<Peeled>,
    ) -> Result<Peeled> {
        let mut make = || {
            let Peeled {
                background,
                foreground,
                figures,
            } = make()?;
            Ok(vec![
                Value::Layer(background),
                Value::Layer(foreground),
                figures.to_matte().into(),
            ])
        };
        let peeled = match at.world.cached(key, &mut make)?.as_slice() {
            [
                Value::Layer(background),
                Value::Layer(foreground),
                Value::Matte(figures),
            ] => Figures::of_matte(figures).map(|figures| Peeled {
                background: Arc::clone(background),
                foreground: Arc::clone(foreground),
                figures,
            }),
            _ => None,
        };
        peeled.ok_or_else(|| {
            Error::message(format!(
                "{}: the cache holds something else under this step's key",
                self.masks[index].edge.node
            ))
        })
    }
}

pub(super) fn of_mask(error: peel_plate::Error, name: &str) -> Error {
    match error {
        peel_plate::Error::Cancelled => Error::Cancelled,
        other => Error::message(format!("mask `{name}`: {other}")),
    }
}
