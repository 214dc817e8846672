//! What a frame of a shot depends on, for `peel explain`: keys and frames, no pixels.

use std::collections::BTreeSet;

use peel_node::{At, KeptStep, Key, Result};

use super::super::Decompose;
use super::super::model::Loaded;
use super::Place;

impl Decompose {
    /// The steps of a frame that others help: its own and those of its key frame, then those of all frames that are looked
    /// at, each on its own.
    pub(in super::super) fn steps_together(&self, at: &At<'_>, model: &Loaded) -> Result<Vec<KeptStep>> {
        let display = at.format(&self.plate)?.display;
        let place = self.place(*at, true, display)?;
        let key_place = place
            .key_frame
            .map(|frame| self.place(at.on_frame(frame), false, display))
            .transpose()?;
        let mut steps = Vec::new();
        for (index, mask) in self.masks.iter().enumerate() {
            let own = |of: &Place<'_>, key: Key, further: Option<i32>| {
                let looks_at: BTreeSet<i32> = of.present.iter().copied().chain(further).collect();
                KeptStep {
                    name: mask.edge.node.clone(),
                    frame: of.at.frame,
                    key,
                    looks_at: looks_at.into_iter().collect(),
                }
            };
            if let Some(of) = &key_place {
                steps.push(own(of, self.cache_key(of, model, index, None)?, None));
            }
            let key = self.cache_key(&place, model, index, key_place.as_ref())?;
            steps.push(own(&place, key, place.key_frame));
        }
        let places = [Some(&place), key_place.as_ref()];
        let mut looked_at: BTreeSet<i32> = places
            .into_iter()
            .flatten()
            .flat_map(|place| place.present.iter().copied().chain([place.at.frame]))
            .collect();
        // And what their sampling starts from.
        for frame in looked_at.clone() {
            let mut next = self.starts_from(&at.on_frame(frame))?;
            while let Some(frame) = next.filter(|&frame| looked_at.insert(frame)) {
                next = self.starts_from(&at.on_frame(frame))?;
            }
        }
        for (index, mask) in self.masks.iter().enumerate() {
            for &frame in &looked_at {
                // Behind its first mask the frame at hand is looked at with what the others gave.
                if frame == at.frame && index > 0 {
                    continue;
                }
                let there = at.on_frame(frame);
                if let Some(&key) = self.chain(&there, model, index + 1)?.last() {
                    steps.push(KeptStep {
                        name: format!("{} alone", mask.edge.node),
                        frame,
                        key,
                        looks_at: self.starts_from(&there)?.into_iter().collect(),
                    });
                }
            }
        }
        Ok(steps)
    }
}
