//! Training on a card: the network's forward pass with everything kept, its backward pass, and the optimiser.
//!
//! Mixed precision: what learns, its moments, its average and its gradients are f32, and so are tokens between blocks and all sums;
//! products take bf16. No loss scaling is needed, since bf16 has the exponents of f32. The loss is its caller's: what the network says
//! comes back to the CPU, and the slopes of it are handed over. Gradients are those of the CPU's trainer but for the rounding, and
//! the same bits every time.

mod blocks;
mod parameters;
mod pass;
mod pictures;
mod pour;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use half::bf16;
use peel_kernels::{Arena, Buffer, Card};

use self::parameters::Parameters;
use self::pour::Pour;
use super::ends::Ends;
use super::forward::Network;
use super::runs;
use super::session::{Sizes, halves, values};
use super::weights::Weights;
use crate::embed::{self, positions};
use crate::{Conditions, Config, Error, Noisy, Pair, Predicts, Result};

pub use self::parameters::State;
pub use peel_kernels::ops::back::Update;

/// Training on some card.
pub trait CardTraining: std::fmt::Debug {
    /// What the network says of noisy layers under conditions, on the CPU; [`CardTraining::backward`] goes back from there.
    ///
    /// # Errors
    /// If shapes disagree or are not multiples of [`Config::stride`], or the card fails; [`peel_kernels::Error::OutOfMemory`] where the batch
    /// does not fit.
    fn forward(&mut self, c: &Conditions, z: &Noisy) -> Result<Pair>;

    /// Adds to the gradients what slopes of a loss by the layers that [`CardTraining::forward`] said last mean for every parameter.
    ///
    /// # Errors
    /// If nothing was said, shapes disagree, or the card fails.
    fn backward(&mut self, slopes: &Pair) -> Result<()>;

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
}

/// A network, what it learns, and what is before it.
struct Learning<'a, C: Card> {
    network: &'a Network<C>,
    parameters: &'a Parameters<C>,
    inputs: &'a Inputs<C>,
    /// N, H, W
    size: [usize; 3],
}

/// Both passes over a batch of one size, written down once.
#[derive(Debug)]
struct Session<C: Card> {
    size: [usize; 3],
    inputs: Inputs<Arena<C>>,
    said: [Buffer<Arena<C>, f32>; 2],
    forward: <Arena<C> as Card>::Recording,
    backward: <Arena<C> as Card>::Recording,
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
        let backward = card.record(|| learning.backward(&kept))?;
        Ok(Self {
            size,
            said: kept.layers,
            inputs,
            forward,
            backward,
        })
    }
}

impl<C: Card> CardTrainer<C> {
    /// A network as its tensors, by name, are; those of autoencoders stay as they are.
    ///
    /// # Errors
    /// [`Error::Card`] if the card fails, or [`Error::NotOnCard`] where the model is one that cards do not run.
    pub fn new(card: C, config: &Config, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        runs(config)?;
        let card = Arena::new(card);
        let weights = Weights::upload(&card, config, tensors)?;
        let ends = Ends::new(&card, config, tensors)?;
        let learns = |(name, tensor): (&String, &Tensor)| {
            (!name.starts_with("vae.")).then(|| (name.clone(), tensor.clone()))
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
        })
    }

    /// The card.
    pub fn card(&self) -> &C {
        self.network.card.card()
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
    fn forward(&mut self, c: &Conditions, z: &Noisy) -> Result<Pair> {
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
        card.replay(&session.forward)?;
        let layer = |said: &Buffer<_, f32>, like: &Tensor| -> Result<Tensor> {
            Ok(Tensor::from_vec(card.get(said)?, like.shape(), &Device::Cpu)?)
        };
        Ok(Pair {
            background: layer(&session.said[0], &z.background)?,
            foreground: layer(&session.said[1], &z.foreground)?,
        })
    }

    fn backward(&mut self, slopes: &Pair) -> Result<()> {
        let Some(session) = &self.session else {
            return Err(Error::NotOnCard("going back before going forward"));
        };
        let card = &self.network.card;
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
