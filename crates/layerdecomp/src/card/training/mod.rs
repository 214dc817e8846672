//! Training on a card: the network's forward pass with everything kept, its backward pass, and the optimiser.
//!
//! Mixed precision: what learns, its moments, its average and its gradients are f32, and so are tokens between blocks and all sums;
//! products take bf16. No loss scaling is needed, since bf16 has the exponents of f32. The loss is on the card, too ([`loss`]); a loss
//! that it does not have may be its caller's, who then asks what was said and hands over slopes. Gradients are those of the CPU's trainer
//! but for the rounding, and the same bits every time.

mod blocks;
mod loss;
mod parameters;
mod pass;
mod pictures;
mod pour;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use half::bf16;
use peel_kernels::{Arena, Buffer, Card};

use self::loss::Judged;
use self::parameters::Parameters;
use self::pour::Pour;
use super::ends::Ends;
use super::forward::Network;
use super::session::{Sizes, halves, values};
use super::weights::Weights;
use crate::embed::{self, positions};
use crate::{Conditions, Config, Error, Noisy, Pair, Predicts, Result};

pub use self::loss::{Comparison, Sums};
pub use self::parameters::State;
pub use peel_kernels::ops::back::Update;

/// Training on some card.
pub trait CardTraining: std::fmt::Debug {
    /// Has the network say what it says of noisy layers under conditions, compares the layers behind that with others, once or several
    /// times, and adds the gradients of all those losses to those of every parameter. A batch that does not fit is divided; the gradients are
    /// those of the whole. The sums of each comparison come back.
    ///
    /// # Errors
    /// If shapes disagree or are not multiples of [`Config::stride`], or the card fails; [`peel_kernels::Error::OutOfMemory`] where not even one
    /// sample fits.
    fn learn(&mut self, c: &Conditions, z: &Noisy, against: &[Comparison]) -> Result<Vec<Sums>>;

    /// Has the network say what it says of noisy layers under conditions, for a loss that the card does not have: see
    /// [`CardTraining::said`] and [`CardTraining::backward`].
    ///
    /// # Errors
    /// As [`CardTraining::learn`]; the batch is not divided.
    fn show(&mut self, c: &Conditions, z: &Noisy) -> Result<()>;

    /// What the network said last, on the CPU.
    ///
    /// # Errors
    /// If nothing was said, or the card fails.
    fn said(&self) -> Result<Pair>;

    /// Adds to the gradients what slopes of a loss by the layers that were said last mean for every parameter.
    ///
    /// # Errors
    /// If nothing was said, shapes disagree, or the card fails.
    fn backward(&mut self, slopes: &Pair) -> Result<()>;

    /// What a user should know of the card's work so far, such as that batches were divided; each is told once.
    fn remarks(&mut self) -> Vec<String>;

    /// The gradients summed up since the last update, by name, flat.
    ///
    /// # Errors
    /// If the card fails.
    fn gradients(&self) -> Result<BTreeMap<String, Vec<f32>>>;

    /// The norm of all gradients.
    ///
    /// # Errors
    /// If the card fails.
    fn norm(&self) -> Result<f32>;

    /// Makes an update of AdamW with what was summed up. Weight decay spares parameters of rank 1.
    ///
    /// # Errors
    /// If the card fails.
    fn update(&mut self, update: &Update) -> Result<()>;

    /// Every parameter's value, moments and average, by name, flat.
    ///
    /// # Errors
    /// If the card fails.
    fn state(&self) -> Result<BTreeMap<String, State>>;

    /// Puts back what [`CardTraining::state`] gave.
    ///
    /// # Errors
    /// If a parameter is missing or of another size, or the card fails.
    fn restore(&mut self, state: &BTreeMap<String, State>) -> Result<()>;
}

/// A network under training on the first NVIDIA card; see [`CardTrainer::new`].
///
/// # Errors
/// As there, or [`peel_kernels::Error::NoDevice`] where this build or this machine has none.
pub fn train_on_cuda(config: &Config, tensors: &BTreeMap<String, Tensor>) -> Result<Box<dyn CardTraining>> {
    #[cfg(feature = "cuda")]
    {
        let card = peel_kernels::Cuda::open(0)?;
        Ok(Box::new(CardTrainer::new(card, config, tensors)?))
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = (config, tensors);
        let reason = match peel_kernels::probe(0) {
            peel_kernels::Found::None(reason) => reason,
            peel_kernels::Found::Device { name, .. } => format!("this build does not know {name}"),
        };
        Err(peel_kernels::Error::NoDevice(reason).into())
    }
}

/// A network under training on a card.
#[derive(Debug)]
pub struct CardTrainer<C: Card> {
    network: Network<Arena<C>>,
    ends: Ends<Arena<C>>,
    parameters: Parameters<Arena<C>>,
    session: Option<Session<C>>,
    /// Samples that fit into the card at once, by height and width, where fewer did than were asked for.
    room: BTreeMap<(usize, usize), usize>,
    remarks: Vec<String>,
}

/// What the CPU hands over for a step.
#[derive(Debug)]
struct Inputs<C: Card> {
    picture: Buffer<C, bf16>,
    mask: Buffer<C, bf16>,
    base: Option<[Buffer<C, f32>; 2]>,
    /// Of a stream's tokens, (T, width).
    places: Buffer<C, f32>,
    /// Made of places and types, as [`forward::Inputs`](super::forward::Inputs) has them.
    marks: [Buffer<C, f32>; 4],
    noisy: [Buffer<C, f32>; 2],
    time: Buffer<C, bf16>,
    /// Of the loss by what is said of background and foreground.
    slopes: [Buffer<C, f32>; 2],
    judged: Judged<C>,
}

/// A network, what it learns, and what is before it.
struct Learning<'a, C: Card> {
    network: &'a Network<C>,
    parameters: &'a Parameters<C>,
    inputs: &'a Inputs<C>,
    /// N, H, W
    size: [usize; 3],
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
            room: BTreeMap::new(),
            remarks: Vec::new(),
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

    /// Brings what products take up to what was learnt.
    fn pour(&self) -> Result<()> {
        let pour = Pour {
            card: &self.network.card,
            from: &self.parameters,
        };
        pour.all(&self.network.weights)
    }
}

impl<C: Card> CardTraining for CardTrainer<C> {
    fn learn(&mut self, c: &Conditions, z: &Noisy, against: &[Comparison]) -> Result<Vec<Sums>> {
        let (n, _, h, w) = c.plate.dims4()?;
        let mut sums = vec![Sums::default(); against.len()];
        let mut done = 0;
        while done < n {
            let count = self.room.get(&(h, w)).copied().unwrap_or(n).min(n - done);
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
            match self.show(&conditions, &noisy) {
                Ok(()) => {}
                Err(Error::Card(peel_kernels::Error::OutOfMemory { .. })) if count > 1 => {
                    let fewer = count / 2;
                    self.room.insert((h, w), fewer);
                    self.remarks.push(format!(
                        "the card has no room to learn {count} pictures of {w}x{h} at once; it takes {fewer}"
                    ));
                    continue;
                }
                Err(error) => return Err(error),
            }
            for (sums, against) in sums.iter_mut().zip(against) {
                sums.add(&self.compare(&against.part(done, count, n)?)?);
            }
            done += count;
        }
        Ok(sums)
    }

    fn remarks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.remarks)
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
        inputs.noisy[0].set(card, &values(&z.background)?)?;
        inputs.noisy[1].set(card, &values(&z.foreground)?)?;
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

    fn gradients(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        self.parameters.gradients(&self.network.card)
    }

    fn norm(&self) -> Result<f32> {
        self.parameters.norm(&self.network.card)
    }

    fn update(&mut self, update: &Update) -> Result<()> {
        self.parameters.update(&self.network.card, update)?;
        self.pour()
    }

    fn state(&self) -> Result<BTreeMap<String, State>> {
        self.parameters.state(&self.network.card)
    }

    fn restore(&mut self, state: &BTreeMap<String, State>) -> Result<()> {
        self.parameters.restore(&self.network.card, state)?;
        self.pour()
    }
}
