//! What learns, on a card: values, moments, averages and gradients, each in one piece, in the order in which training keeps them.

use std::collections::BTreeMap;

use candle_core::Tensor;
use peel_kernels::ops::back::{self, Update};
use peel_kernels::{Buffer, Card, Span};

use crate::card::session::values;
use crate::embed::learning_share;
use crate::{Error, Result};

/// Where a parameter lies among all.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: usize,
    len: usize,
}

/// Parameters that lie beside each other and are updated alike.
#[derive(Debug, Clone, Copy)]
struct Run {
    place: Place,
    /// Matrices and kernels decay.
    decays: bool,
    /// See [`learning_share`].
    share: f32,
}

/// The state of AdamW with an average, over all parameters.
#[derive(Debug)]
pub(super) struct Parameters<C: Card> {
    places: BTreeMap<String, Place>,
    /// All of them, in the order in which they lie.
    runs: Vec<Run>,
    /// Values, first moments, second moments, averages.
    state: [Buffer<C, f32>; 4],
    gradients: Buffer<C, f32>,
}

/// A parameter's value, first and second moment, and average, flat.
pub type State = [Vec<f32>; 4];

impl<C: Card> Parameters<C> {
    /// Parameters as they are, with nothing remembered.
    pub fn new(card: &C, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        let mut flat = Vec::new();
        let mut places = BTreeMap::new();
        let mut runs: Vec<Run> = Vec::new();
        // Alike beside each other; by name among them, since the sort is stable.
        let kind = |(name, tensor): (&String, &Tensor)| (tensor.rank() > 1, learning_share(name));
        let mut sorted: Vec<_> = tensors.iter().collect();
        sorted.sort_by(|a, b| {
            let ((decays, share), (other_decays, other)) = (kind(*a), kind(*b));
            other_decays.cmp(&decays).then(other.total_cmp(&share))
        });
        for (name, tensor) in sorted {
            let own = values(tensor)?;
            let (decays, share) = kind((name, tensor));
            let place = Place {
                at: flat.len(),
                len: own.len(),
            };
            match runs.last_mut() {
                Some(run) if (run.decays, run.share) == (decays, share) => run.place.len += place.len,
                _ => runs.push(Run { place, decays, share }),
            }
            places.insert(name.clone(), place);
            flat.extend(own);
        }
        let nothing = vec![0.0f32; flat.len()];
        Ok(Self {
            places,
            runs,
            state: [
                card.put(&flat)?,
                card.put(&nothing)?,
                card.put(&nothing)?,
                card.put(&flat)?,
            ],
            gradients: card.put(&nothing)?,
        })
    }

    fn place(&self, name: &str) -> Result<Place> {
        let place = self.places.get(name).copied();
        place.ok_or_else(|| Error::Config(format!("the weights have no {name}")))
    }

    /// A parameter's values.
    pub fn value(&self, name: &str) -> Result<Span<'_, C, f32>> {
        let Place { at, len } = self.place(name)?;
        Ok(self.state[0].span(at, len)?)
    }

    /// Where a parameter's gradient is summed up.
    pub fn gradient(&self, name: &str) -> Result<Span<'_, C, f32>> {
        let Place { at, len } = self.place(name)?;
        Ok(self.gradients.span(at, len)?)
    }

    fn parted<'a>(&self, flat: &'a [f32]) -> BTreeMap<String, &'a [f32]> {
        let part = |(name, place): (&String, &Place)| (name.clone(), &flat[place.at..place.at + place.len]);
        self.places.iter().map(part).collect()
    }

    /// All gradients, by name.
    pub fn gradients(&self, card: &C) -> Result<BTreeMap<String, Vec<f32>>> {
        let flat = card.get(&self.gradients)?;
        let parts = self.parted(&flat).into_iter();
        Ok(parts.map(|(name, part)| (name, part.to_vec())).collect())
    }

    /// The norm of all gradients.
    pub fn norm(&self, card: &C) -> Result<f32> {
        Ok(back::norm_of(card, &self.gradients)?)
    }

    /// Makes an update, after which gradients are zero. `update.decay` is for those that decay.
    pub fn update(&self, card: &C, update: &Update) -> Result<()> {
        for run in &self.runs {
            let Place { at, len } = run.place;
            let [value, first, second, average] = &self.state;
            let state = [
                value.span(at, len)?,
                first.span(at, len)?,
                second.span(at, len)?,
                average.span(at, len)?,
            ];
            let update = Update {
                rate: update.rate * run.share,
                decay: if run.decays { update.decay * run.share } else { 0.0 },
                ..*update
            };
            back::adamw(card, state, self.gradients.span(at, len)?, &update)?;
        }
        Ok(())
    }

    /// Everything that is remembered, by name.
    pub fn state(&self, card: &C) -> Result<BTreeMap<String, State>> {
        let mut all: BTreeMap<String, State> = BTreeMap::new();
        for (part, buffer) in self.state.iter().enumerate() {
            let flat = card.get(buffer)?;
            for (name, values) in self.parted(&flat) {
                all.entry(name).or_default()[part] = values.to_vec();
            }
        }
        Ok(all)
    }

    /// Puts back what [`Parameters::state`] gave.
    pub fn restore(&self, card: &C, state: &BTreeMap<String, State>) -> Result<()> {
        for (part, buffer) in self.state.iter().enumerate() {
            let mut flat = vec![0.0f32; buffer.len()];
            for (name, place) in &self.places {
                let values = state.get(name).map(|s| &s[part]);
                let fits = values.filter(|values| values.len() == place.len);
                let values = fits.ok_or_else(|| {
                    Error::Config(format!("{name}: the state has not its {} values", place.len))
                })?;
                flat[place.at..place.at + place.len].copy_from_slice(values);
            }
            buffer.set(card, &flat)?;
        }
        Ok(())
    }
}
