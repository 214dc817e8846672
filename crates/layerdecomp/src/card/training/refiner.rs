//! A refiner under training on a card, over a network that draws there and stays as it is.

use std::collections::BTreeMap;

use candle_core::Tensor;
use half::bf16;
use peel_kernels::ops::back;
use peel_kernels::ops::{self, Activation, Compared, Ending, Layer, REFINER_INPUTS, Step, Terms};
use peel_kernels::{Arena, Buffer, Card};

use super::layers::{Layers, Normed, Sight, Wanted};
use super::parameters::Parameters;
use super::pour::Pour;
use super::room::Room;
use super::{CardRefining, Learns, fits};
use crate::card::CardModel;
use crate::card::refine::Refiner;
use crate::card::session::values;
use crate::{Conditions, Config, Error, Prediction, Result, Sampling};

/// What refined alpha is compared with.
#[derive(Debug, Clone)]
pub struct AlphaComparison {
    /// True alpha at the plates' size, `(N, 1, H, W)`; pixels weigh by it, too.
    pub alpha: Tensor,
    /// Weights of each sample: of squared and absolute errors, of pixels, and whether alpha is known. Alpha is compared as it is said,
    /// [`Terms::clean`] being (0, 1).
    pub terms: Vec<Terms>,
}

/// A refiner under training on a card.
#[derive(Debug)]
pub struct CardRefiner<C: Card> {
    model: CardModel<C>,
    parameters: Parameters<Arena<C>>,
    session: Option<Session<C>>,
    room: Room,
}

/// What the CPU hands over for a step. Planes; h and w are the network's, H and W the plates' size.
#[derive(Debug)]
struct Inputs<C: Card> {
    /// (N, 3, H, W) and (N, 1, H, W)
    seen: [Buffer<C, f32>; 2],
    /// (N, 3, h, w) and (N, 4, h, w)
    said: [Buffer<C, f32>; 2],
    /// True alpha, (N, H, W).
    alpha: Buffer<C, f32>,
    terms: Buffer<C, f32>,
    sum: Buffer<C, f32>,
}

/// A step over a batch of one size, written down once.
#[derive(Debug)]
struct Session<C: Card> {
    /// N, h, w
    size: [usize; 3],
    inputs: Inputs<Arena<C>>,
    step: <Arena<C> as Card>::Recording,
}

/// What the forward pass leaves.
struct Kept<C: Card> {
    inputs: Buffer<C, bf16>,
    enter: Normed<C>,
    down: Normed<C>,
    middle: Normed<C>,
    up: Normed<C>,
    /// The last hidden layer, before its activation and behind it.
    fine: [Buffer<C, bf16>; 2],
    /// (N, H, W)
    alpha: Buffer<C, f32>,
}

/// A refiner, what it learns, and what is before it.
struct Learning<'a, C: Card> {
    refiner: &'a Refiner<C>,
    layers: Layers<'a, C>,
    inputs: &'a Inputs<C>,
    size: [usize; 3],
}

impl<C: Card> Learning<'_, C> {
    /// Pictures of a part of the plates' size, as a convolution sees them.
    fn sight<'b>(
        &self,
        part: usize,
        x: &'b Buffer<C, bf16>,
        channels: usize,
        skip: Option<(&'b Buffer<C, bf16>, usize)>,
        step: Step,
    ) -> Sight<'b, C> {
        let [n, h, w] = self.size;
        let scale = self.refiner.scale;
        Sight {
            x,
            skip,
            size: [n, h * scale / part, w * scale / part, channels],
            step,
        }
    }

    fn sight_of_down<'b>(&self, enter: &'b Normed<C>) -> Sight<'b, C> {
        self.sight(2, &enter.y, self.refiner.enter.channels(), None, Step::Half)
    }

    fn sight_of_middle<'b>(&self, down: &'b Normed<C>) -> Sight<'b, C> {
        self.sight(4, &down.y, self.refiner.down.channels(), None, Step::Same)
    }

    fn sight_of_up<'b>(&self, middle: &'b Normed<C>, enter: &'b Normed<C>) -> Sight<'b, C> {
        let skip = Some((&enter.y, self.refiner.enter.channels()));
        self.sight(4, &middle.y, self.refiner.middle.channels(), skip, Step::Double)
    }

    fn sight_of_fine<'b>(&self, up: &'b Normed<C>, inputs: &'b Buffer<C, bf16>) -> Sight<'b, C> {
        let skip = Some((inputs, REFINER_INPUTS));
        self.sight(2, &up.y, self.refiner.up.channels(), skip, Step::Double)
    }

    fn sight_of_out<'b>(&self, shown: &'b Buffer<C, bf16>) -> Sight<'b, C> {
        let channels = self.refiner.fine.weight.bias.len();
        self.sight(1, shown, channels, None, Step::Same)
    }

    fn forward(&self) -> Result<Kept<C>> {
        let (card, layers, of) = (self.layers.card, &self.layers, self.refiner);
        let [n, h, w] = self.size;
        let ([plate, mask], [background, foreground]) = (&self.inputs.seen, &self.inputs.said);
        let (inputs, alpha) =
            ops::refiner_inputs(card, [plate, mask], [background, foreground], (n, h, w), of.scale)?;
        let enter = layers.normed(
            &of.enter,
            &self.sight(1, &inputs, REFINER_INPUTS, None, Step::Half),
        )?;
        let down = layers.normed(&of.down, &self.sight_of_down(&enter))?;
        let middle = layers.normed(&of.middle, &self.sight_of_middle(&down))?;
        let up = layers.normed(&of.up, &self.sight_of_up(&middle, &enter))?;
        let fine = layers.convolved(&self.sight_of_fine(&up, &inputs).by(&of.fine.weight))?;
        let shown = back::activate(card, &fine, Activation::Silu)?;
        let out = self.sight_of_out(&shown).by(&of.out.weight);
        let Ending::F32(said) = ops::conv3x3(card, &out, Activation::None, true)? else {
            return Err(Error::NotOnCard(
                "a convolution that ends in bf16 where f32 was asked for",
            ));
        };
        let sizes = (n, h * w * of.scale * of.scale, of.out.weight.bias.len());
        Ok(Kept {
            alpha: ops::planes(card, &said, sizes, (0, 1), Some(&alpha))?,
            inputs,
            enter,
            down,
            middle,
            up,
            fine: [fine, shown],
        })
    }

    /// Adds up errors; slopes of the alpha that was said.
    fn loss(&self, alpha: &Buffer<C, f32>) -> Result<Buffer<C, f32>> {
        let (card, inputs) = (self.layers.card, self.inputs);
        let [n, h, w] = self.size;
        let (h, w) = (h * self.refiner.scale, w * self.refiner.scale);
        let compared = Compared {
            terms: &inputs.terms,
            pictures: n,
            pixels: h * w,
            shown: (1.0, 0.0),
        };
        let weights = compared.pixel_weights(card, [&inputs.alpha, &inputs.seen[1]], (h, w), 1)?;
        let slopes = card.buffer(alpha.len())?;
        let layer = Layer {
            said: alpha,
            // Of no weight: alpha is compared as it is said.
            noisy: alpha,
            slopes: &slopes,
        };
        back::fill(card, inputs.sum.all(), 0.0)?;
        compared.errors(card, &layer, &inputs.alpha, &weights, true, inputs.sum.all())?;
        Ok(slopes)
    }

    fn backward(&self, kept: &Kept<C>, slopes: &Buffer<C, f32>) -> Result<()> {
        let (card, layers, of) = (self.layers.card, &self.layers, self.refiner);
        let like = |x: &Buffer<C, bf16>| card.buffer::<f32>(x.len());
        let only = |into| Wanted {
            x: Some((into, false)),
            skip: None,
        };
        let nothing = card.buffer(0)?;
        let sizes = (
            self.size[0],
            slopes.len() / self.size[0],
            of.out.weight.bias.len(),
        );
        let slopes = back::planes_back(card, [slopes, &nothing], sizes)?;
        let by_shown = like(&kept.fine[1])?;
        let out = self.sight_of_out(&kept.fine[1]).by(&of.out.weight);
        let real = of.out.channels_of.real;
        layers.conv_back("refine.out", (&out, real), &slopes, &only(&by_shown))?;
        let slopes = back::activate_back(card, &kept.fine[0], &by_shown, Activation::Silu)?;
        let by_up = like(&kept.up.y)?;
        let fine = self.sight_of_fine(&kept.up, &kept.inputs).by(&of.fine.weight);
        let real = of.fine.channels_of.real;
        layers.conv_back("refine.fine", (&fine, real), &slopes, &only(&by_up))?;

        let (by_middle, by_enter) = (like(&kept.middle.y)?, like(&kept.enter.y)?);
        let both = Wanted {
            x: Some((&by_middle, false)),
            skip: Some(&by_enter),
        };
        let sight = self.sight_of_up(&kept.middle, &kept.enter);
        layers.normed_conv_back(("refine.up", &of.up), &sight, &kept.up, &by_up, &both)?;
        let by_down = like(&kept.down.y)?;
        let (sight, middle) = (self.sight_of_middle(&kept.down), ("refine.middle", &of.middle));
        layers.normed_conv_back(middle, &sight, &kept.middle, &by_middle, &only(&by_down))?;
        let more = Wanted {
            x: Some((&by_enter, true)),
            skip: None,
        };
        let sight = self.sight_of_down(&kept.enter);
        layers.normed_conv_back(("refine.down", &of.down), &sight, &kept.down, &by_down, &more)?;
        let nobody = Wanted { x: None, skip: None };
        let sight = self.sight(1, &kept.inputs, REFINER_INPUTS, None, Step::Half);
        layers.normed_conv_back(
            ("refine.enter", &of.enter),
            &sight,
            &kept.enter,
            &by_enter,
            &nobody,
        )
    }
}

impl<C: Card> Session<C> {
    fn open(
        card: &Arena<C>,
        refiner: &Refiner<Arena<C>>,
        parameters: &Parameters<Arena<C>>,
        size: [usize; 3],
    ) -> Result<Self> {
        let bytes = card.plan(|| Self::record(card, refiner, parameters, size))?;
        card.within(bytes, || Self::record(card, refiner, parameters, size))
    }

    fn record(
        card: &Arena<C>,
        refiner: &Refiner<Arena<C>>,
        parameters: &Parameters<Arena<C>>,
        size: [usize; 3],
    ) -> Result<Self> {
        let [n, h, w] = size;
        let (small, all) = (n * h * w, n * h * w * refiner.scale * refiner.scale);
        let inputs = Inputs {
            seen: [card.buffer(3 * all)?, card.buffer(all)?],
            said: [card.buffer(3 * small)?, card.buffer(4 * small)?],
            alpha: card.buffer(all)?,
            terms: card.buffer(n * Terms::NUMBERS)?,
            sum: card.buffer(1)?,
        };
        let learning = Learning {
            refiner,
            layers: Layers { card, parameters },
            inputs: &inputs,
            size,
        };
        let step = card.record(|| {
            let kept = learning.forward()?;
            let slopes = learning.loss(&kept.alpha)?;
            learning.backward(&kept, &slopes)
        })?;
        Ok(Self { size, inputs, step })
    }

    /// Learns a batch; the sum of its errors.
    fn learn(
        &self,
        card: &Arena<C>,
        fine: &Conditions,
        said: &Prediction,
        against: &AlphaComparison,
    ) -> Result<f32> {
        let inputs = &self.inputs;
        let parts = [
            (&fine.plate, &inputs.seen[0], "plate to refine"),
            (&fine.mask, &inputs.seen[1], "mask to refine"),
            (&said.background, &inputs.said[0], "background to refine"),
            (&said.foreground, &inputs.said[1], "layer to refine"),
            (&against.alpha, &inputs.alpha, "true alpha"),
        ];
        for (from, into, what) in parts {
            fits(what, from, into.len())?;
            into.set(card, &values(from)?)?;
        }
        let table: Vec<f32> = against.terms.iter().flat_map(Terms::numbers).collect();
        if table.len() != inputs.terms.len() {
            return Err(Error::Shape {
                what: "terms of the loss",
                expected: format!("{} samples", self.size[0]),
                found: vec![against.terms.len()],
            });
        }
        inputs.terms.set(card, &table)?;
        card.replay(&self.step)?;
        Ok(card.get(&inputs.sum)?.first().copied().unwrap_or_default())
    }
}

impl<C: Card> CardRefiner<C> {
    /// A model as its tensors, by name, are, of which those of the refiner will learn.
    ///
    /// # Errors
    /// [`Error::Card`] if the card fails, [`Error::NotOnCard`] where the model is one that cards do not run, or if it has no refiner.
    pub fn new(card: C, config: &Config, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        let model = CardModel::new(card, config, tensors)?;
        if model.refiner.is_none() {
            return Err(Error::Config(format!("{} has no refiner", config.name)));
        }
        let learns = |(name, tensor): (&String, &Tensor)| {
            (name.starts_with("refine.")).then(|| (name.clone(), tensor.clone()))
        };
        let learning = tensors.iter().filter_map(learns).collect();
        Ok(Self {
            parameters: Parameters::new(&model.network.card, &learning)?,
            model,
            session: None,
            room: Room::default(),
        })
    }

    /// The card.
    pub fn card(&self) -> &C {
        self.model.card()
    }

    fn refiner(&self) -> Result<&Refiner<Arena<C>>> {
        let none = || Error::Config(format!("{} has no refiner", self.model.config().name));
        self.model.refiner.as_ref().ok_or_else(none)
    }

    /// Learns a batch at once.
    fn part(&mut self, fine: &Conditions, said: &Prediction, against: &AlphaComparison) -> Result<f32> {
        let (n, _, h, w) = said.background.dims4()?;
        self.refiner()?.larger((n, h, w), &fine.plate)?;
        let session = match self.session.take() {
            Some(session) if session.size == [n, h, w] => session,
            other => {
                // The memory of another size is given back before more is asked for.
                drop(other);
                let card = &self.model.network.card;
                Session::open(card, self.refiner()?, &self.parameters, [n, h, w])?
            }
        };
        let session = self.session.insert(session);
        session.learn(&self.model.network.card, fine, said, against)
    }
}

impl<C: Card> CardRefining for CardRefiner<C> {
    fn learn(&mut self, fine: &Conditions, sampling: &Sampling, against: &AlphaComparison) -> Result<f32> {
        let scale = self.refiner()?.scale;
        let small = Conditions {
            plate: fine.plate.avg_pool2d(scale)?,
            mask: fine.mask.avg_pool2d(scale)?,
        };
        let said = self.model.sample(&small, sampling, &|_, _| true)?;
        let (n, _, h, w) = fine.plate.dims4()?;
        let mut sum = 0.0;
        let mut room = std::mem::take(&mut self.room);
        room.remarks.extend(self.model.remarks());
        let learnt = room.divide(n, (h, w), |done, count| {
            let part = |t: &Tensor| t.narrow(0, done, count);
            let fine = Conditions {
                plate: part(&fine.plate)?,
                mask: part(&fine.mask)?,
            };
            let said = Prediction {
                background: part(&said.background)?,
                foreground: part(&said.foreground)?,
            };
            let share = count as f32 / n as f32;
            let shared = |terms: &Terms| Terms {
                scale: terms.scale * share,
                ..*terms
            };
            let against = AlphaComparison {
                alpha: part(&against.alpha)?,
                terms: (against.terms.iter().skip(done).take(count))
                    .map(shared)
                    .collect(),
            };
            sum += self.part(&fine, &said, &against)?;
            Ok(())
        });
        self.room = room;
        learnt?;
        Ok(sum)
    }
}

impl<C: Card> Learns for CardRefiner<C> {
    type On = C;

    fn learnt(&self) -> (&Arena<C>, &Parameters<Arena<C>>) {
        (&self.model.network.card, &self.parameters)
    }

    fn pour(&self) -> Result<()> {
        let pour = Pour {
            card: &self.model.network.card,
            from: &self.parameters,
        };
        pour.refiner(self.refiner()?)
    }

    fn room(&mut self) -> &mut Room {
        &mut self.room
    }
}
