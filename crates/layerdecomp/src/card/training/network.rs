//! A network under training on a card: both passes over a batch of one size, and the loss between them, written down once.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use half::bf16;
use peel_kernels::{Arena, Buffer, Card};

use super::layers::Layers;
use super::loss::{Comparison, Judged, Sums};
use super::parameters::Parameters;
use super::pour::Pour;
use super::room::Room;
use super::{CardTraining, Learns};
use crate::card::ends::Ends;
use crate::card::forward::Network;
use crate::card::session::{Sizes, halves, values};
use crate::card::weights::Weights;
use crate::embed::{self, positions};
use crate::{Conditions, Config, Error, Noisy, Pair, Predicts, Result};

/// A network under training on a card.
#[derive(Debug)]
pub struct CardTrainer<C: Card> {
    network: Network<Arena<C>>,
    ends: Ends<Arena<C>>,
    parameters: Parameters<Arena<C>>,
    session: Option<Session<C>>,
    room: Room,
}

/// What the CPU hands over for a step.
#[derive(Debug)]
pub(super) struct Inputs<C: Card> {
    pub picture: Buffer<C, bf16>,
    pub mask: Buffer<C, bf16>,
    pub base: Option<[Buffer<C, f32>; 2]>,
    /// Of a stream's tokens, (T, width).
    pub places: Buffer<C, f32>,
    /// Made of places and types, as [`forward::Inputs`](crate::card::forward::Inputs) has them.
    pub marks: [Buffer<C, f32>; 4],
    pub noisy: [Buffer<C, f32>; 2],
    pub time: Buffer<C, bf16>,
    /// Of the loss by what is said of background and foreground.
    pub slopes: [Buffer<C, f32>; 2],
    pub judged: Judged<C>,
}

/// A network, what it learns, and what is before it.
pub(super) struct Learning<'a, C: Card> {
    pub network: &'a Network<C>,
    pub parameters: &'a Parameters<C>,
    pub inputs: &'a Inputs<C>,
    /// N, H, W
    pub size: [usize; 3],
}

impl<C: Card> Learning<'_, C> {
    /// Its layers.
    pub fn layers(&self) -> Layers<'_, C> {
        Layers {
            card: &self.network.card,
            parameters: self.parameters,
        }
    }
}

/// Both passes over a batch of one size, and the loss between them, written down once.
#[derive(Debug)]
struct Session<C: Card> {
    size: [usize; 3],
    inputs: Inputs<Arena<C>>,
    said: [Buffer<Arena<C>, f32>; 2],
    forward: <Arena<C> as Card>::Recording,
    loss: <Arena<C> as Card>::Recording,
    backward: <Arena<C> as Card>::Recording,
    /// Of the samples that were shown last; none before.
    times: Vec<f32>,
}

impl<C: Card> Session<C> {
    fn open(
        network: &Network<Arena<C>>,
        parameters: &Parameters<Arena<C>>,
        size: [usize; 3],
    ) -> Result<Self> {
        let arena = &network.card;
        let bytes = arena.plan(|| Self::record(network, parameters, size))?;
        arena.within(bytes, || Self::record(network, parameters, size))
    }

    fn record(
        network: &Network<Arena<C>>,
        parameters: &Parameters<Arena<C>>,
        size: [usize; 3],
    ) -> Result<Self> {
        let (card, config) = (&network.card, &network.config);
        let [n, h, w] = size;
        let stride = config.stride();
        let places = values(&positions(h / stride, w / stride, config.width, &Device::Cpu)?)?;
        let sizes = Sizes::of(network, size);
        let layers = || -> Result<_> { Ok([card.buffer(sizes.layers[0])?, card.buffer(sizes.layers[1])?]) };
        let with_base = config.diffusion.predicts == Predicts::X && !config.is_latent();
        let mark = || card.buffer(places.len());
        let inputs = Inputs {
            picture: card.buffer(sizes.picture)?,
            mask: card.buffer(sizes.mask)?,
            base: with_base.then(layers).transpose()?,
            places: card.put(&places)?,
            marks: [mark()?, mark()?, mark()?, mark()?],
            noisy: layers()?,
            time: card.buffer(n * embed::TIME_FEATURES)?,
            slopes: layers()?,
            judged: Judged::new(network, size)?,
        };
        let learning = Learning {
            network,
            parameters,
            inputs: &inputs,
            size,
        };
        let mut kept = None;
        let forward = card.record(|| {
            kept = Some(learning.forward()?);
            Ok::<_, Error>(())
        })?;
        let kept = kept.ok_or(Error::NotOnCard("a network that launches nothing"))?;
        let loss = card.record(|| learning.loss(&kept))?;
        let backward = card.record(|| learning.backward(&kept))?;
        Ok(Self {
            size,
            said: kept.layers,
            inputs,
            forward,
            loss,
            backward,
            times: Vec::new(),
        })
    }
}

impl<C: Card> CardTrainer<C> {
    /// A network as its tensors, by name, are; those of autoencoders and refiners stay as they are.
    ///
    /// # Errors
    /// [`Error::Card`] if the card fails, or [`Error::NotOnCard`] where the model is one that cards do not run.
    pub fn new(card: C, config: &Config, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        let card = Arena::new(card);
        let weights = Weights::upload(&card, config, tensors)?;
        let ends = Ends::new(&card, config, tensors)?;
        let learns = |(name, tensor): (&String, &Tensor)| {
            (!name.starts_with("vae.") && !name.starts_with("refine."))
                .then(|| (name.clone(), tensor.clone()))
        };
        let parameters = Parameters::new(&card, &tensors.iter().filter_map(learns).collect())?;
        Ok(Self {
            ends,
            network: Network {
                card,
                config: config.clone(),
                weights,
            },
            parameters,
            session: None,
            room: Room::default(),
        })
    }

    /// The card.
    pub fn card(&self) -> &C {
        self.network.card.card()
    }

    /// The session of the batch that was shown last.
    fn shown(&self) -> Result<&Session<C>> {
        let nothing = || Error::NotOnCard("going back before going forward");
        let session = self.session.as_ref().ok_or_else(nothing)?;
        if session.times.is_empty() {
            return Err(nothing());
        }
        Ok(session)
    }

    /// Compares the layers behind what was said last with others, and adds the gradients of that.
    fn compare(&self, against: &Comparison) -> Result<Sums> {
        let (card, session) = (&self.network.card, self.shown()?);
        let (judged, diffusion) = (&session.inputs.judged, self.network.config.diffusion);
        let recover = (diffusion.predicts, &diffusion.schedule.path());
        judged.set(card, against, &session.times, recover)?;
        card.replay(&session.loss)?;
        card.replay(&session.backward)?;
        judged.sums(card)
    }
}

impl<C: Card> Learns for CardTrainer<C> {
    type On = C;

    fn learnt(&self) -> (&Arena<C>, &Parameters<Arena<C>>) {
        (&self.network.card, &self.parameters)
    }

    fn pour(&self) -> Result<()> {
        let pour = Pour {
            card: &self.network.card,
            from: &self.parameters,
        };
        pour.all(&self.network.weights)
    }

    fn room(&mut self) -> &mut Room {
        &mut self.room
    }
}

impl<C: Card> CardTraining for CardTrainer<C> {
    fn learn(&mut self, c: &Conditions, z: &Noisy, against: &[Comparison]) -> Result<Vec<Sums>> {
        let (n, _, h, w) = c.plate.dims4()?;
        let mut sums = vec![Sums::default(); against.len()];
        let mut room = std::mem::take(&mut self.room);
        let learnt = room.divide(n, (h, w), |done, count| {
            let part = |t: &Tensor| t.narrow(0, done, count);
            let conditions = Conditions {
                plate: part(&c.plate)?,
                mask: part(&c.mask)?,
            };
            let noisy = Noisy {
                background: part(&z.background)?,
                foreground: part(&z.foreground)?,
                time: part(&z.time)?,
            };
            self.show(&conditions, &noisy)?;
            for (sums, against) in sums.iter_mut().zip(against) {
                sums.add(&self.compare(&against.part(done, count, n)?)?);
            }
            Ok(())
        });
        self.room = room;
        learnt?;
        Ok(sums)
    }

    fn show(&mut self, c: &Conditions, z: &Noisy) -> Result<()> {
        let (n, _, h, w) = c.plate.dims4()?;
        let stride = self.network.config.stride();
        if n == 0 || h == 0 || w == 0 || h % stride != 0 || w % stride != 0 {
            return Err(Error::Shape {
                what: "plate",
                expected: format!("(N, 3, H, W) with H and W multiples of {stride}"),
                found: c.plate.dims().to_vec(),
            });
        }
        let session = match self.session.take() {
            Some(session) if session.size == [n, h, w] => session,
            other => {
                // The memory of another size is given back before more is asked for.
                drop(other);
                Session::open(&self.network, &self.parameters, [n, h, w])?
            }
        };
        let session = self.session.insert(session);
        let (card, inputs) = (&self.network.card, &session.inputs);
        let shown = self.ends.show(card, c)?;
        inputs.picture.set(card, &halves(&shown.picture)?)?;
        inputs.mask.set(card, &halves(&shown.mask)?)?;
        if let (Some(into), Some(base)) = (&inputs.base, &shown.base) {
            into[0].set(card, &values(&base.background)?)?;
            into[1].set(card, &values(&base.foreground)?)?;
        }
        let diffusion = &self.network.config.diffusion;
        let entering = diffusion.entering(z, &diffusion.schedule.path())?;
        inputs.noisy[0].set(card, &values(&entering.background)?)?;
        inputs.noisy[1].set(card, &values(&entering.foreground)?)?;
        inputs
            .time
            .set(card, &halves(&embed::times(&z.time, &Device::Cpu)?)?)?;
        inputs.judged.show(card, c)?;
        session.times = z.time.to_vec1()?;
        Ok(card.replay(&session.forward)?)
    }

    fn said(&self) -> Result<Pair> {
        let (card, session) = (&self.network.card, self.shown()?);
        let [n, h, w] = session.size;
        let streams = self.network.streams((h, w));
        let layer = |i: usize| -> Result<Tensor> {
            let [channels, h, w] = streams[i];
            let values = card.get(&session.said[i])?;
            Ok(Tensor::from_vec(values, (n, channels, h, w), &Device::Cpu)?)
        };
        Ok(Pair {
            background: layer(0)?,
            foreground: layer(1)?,
        })
    }

    fn backward(&mut self, slopes: &Pair) -> Result<()> {
        let (card, session) = (&self.network.card, self.shown()?);
        for (into, slopes) in session
            .inputs
            .slopes
            .iter()
            .zip([&slopes.background, &slopes.foreground])
        {
            let slopes = values(slopes)?;
            if slopes.len() != into.len() {
                return Err(Error::Shape {
                    what: "slopes of what was said",
                    expected: format!("{} values", into.len()),
                    found: vec![slopes.len()],
                });
            }
            into.set(card, &slopes)?;
        }
        Ok(card.replay(&session.backward)?)
    }
}
