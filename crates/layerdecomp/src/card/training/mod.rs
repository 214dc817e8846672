//! Training on a card: a forward pass with everything kept, its backward pass, and the optimiser; of the network, of its refiner and of
//! the autoencoders of a latent model.
//!
//! Mixed precision: what learns, its moments, its average and its gradients are f32, and so are tokens between blocks and all sums;
//! products take bf16. No loss scaling is needed, since bf16 has the exponents of f32. The losses are on the card, too ([`loss`]); a loss
//! that it does not have may be its caller's, who then asks what was said and hands over slopes. Gradients are those of the CPU's trainer
//! but for the rounding, and the same bits every time.

mod autoencoder;
mod blocks;
mod halves;
mod layers;
mod loss;
mod network;
mod parameters;
mod pass;
mod pictures;
mod pour;
mod refiner;
mod room;

use std::collections::BTreeMap;

use candle_core::Tensor;
use peel_kernels::{Arena, Card};

use self::parameters::Parameters;
use self::room::Room;
use crate::{Conditions, Config, Error, Noisy, Pair, Result, Sampling};

pub use self::autoencoder::{CardAutoencoder, Rebuilt, Reconstruction};
pub use self::loss::{Comparison, Sums};
pub use self::network::CardTrainer;
pub use self::parameters::State;
pub use self::refiner::{AlphaComparison, CardRefiner};
pub use peel_kernels::ops::back::Update;

/// What is trained; all else stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trainee {
    /// The network that decomposes.
    Network,
    /// The refiner over it.
    Refiner,
    /// A latent model's autoencoder of pictures.
    RgbAutoencoder,
    /// The one of layers.
    RgbaAutoencoder,
}

/// A card with a [`Trainee`] on it.
#[derive(Debug)]
pub enum CardLearner {
    /// See [`CardTrainer`].
    Network(Box<dyn CardTraining>),
    /// See [`CardRefiner`].
    Refiner(Box<dyn CardRefining>),
    /// See [`CardAutoencoder`].
    Autoencoder(Box<dyn CardEncoding>),
}

impl CardLearner {
    /// Takes tensors by name to a card, where some of them will learn.
    ///
    /// # Errors
    /// [`Error::Card`] if the card fails, or [`Error::NotOnCard`] where the model is one that cards do not run.
    pub fn open<C: Card>(
        card: C,
        trainee: Trainee,
        config: &Config,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<Self> {
        Ok(match trainee {
            Trainee::Network => Self::Network(Box::new(CardTrainer::new(card, config, tensors)?)),
            Trainee::Refiner => Self::Refiner(Box::new(CardRefiner::new(card, config, tensors)?)),
            Trainee::RgbAutoencoder | Trainee::RgbaAutoencoder => {
                let layers = trainee == Trainee::RgbaAutoencoder;
                Self::Autoencoder(Box::new(CardAutoencoder::new(card, config, tensors, layers)?))
            }
        })
    }

    /// What learns, whatever it is.
    #[must_use]
    pub fn any(&self) -> &dyn CardLearning {
        match self {
            Self::Network(learner) => learner.as_ref(),
            Self::Refiner(learner) => learner.as_ref(),
            Self::Autoencoder(learner) => learner.as_ref(),
        }
    }

    /// The same, to change it.
    pub fn any_mut(&mut self) -> &mut dyn CardLearning {
        match self {
            Self::Network(learner) => learner.as_mut(),
            Self::Refiner(learner) => learner.as_mut(),
            Self::Autoencoder(learner) => learner.as_mut(),
        }
    }
}

/// A [`Trainee`] on the first NVIDIA card; see [`CardLearner::open`].
///
/// # Errors
/// As there, or [`peel_kernels::Error::NoDevice`] where this build or this machine has none.
pub fn train_on_cuda(
    trainee: Trainee,
    config: &Config,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<CardLearner> {
    #[cfg(feature = "cuda")]
    {
        CardLearner::open(peel_kernels::Cuda::open(0)?, trainee, config, tensors)
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = (trainee, config, tensors);
        let reason = match peel_kernels::probe(0) {
            peel_kernels::Found::None(reason) => reason,
            peel_kernels::Found::Device { name, .. } => format!("this build does not know {name}"),
        };
        Err(peel_kernels::Error::NoDevice(reason).into())
    }
}

/// What every training on some card can do.
pub trait CardLearning: std::fmt::Debug {
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

    /// Puts back what [`CardLearning::state`] gave.
    ///
    /// # Errors
    /// If a parameter is missing or of another size, or the card fails.
    fn restore(&mut self, state: &BTreeMap<String, State>) -> Result<()>;
}

/// Training of the network on some card.
pub trait CardTraining: CardLearning {
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
}

/// Training of a refiner on some card.
pub trait CardRefining: CardLearning {
    /// Has the network, which stays as it is, take plates apart at its own size, where it sees the means over `scale` x `scale` pixels; the
    /// refiner make alpha of that at the plates' size; and compares alpha with the true one. The gradients are added to those of every
    /// parameter of the refiner, and the sum of the weighed errors comes back. A batch that does not fit is divided.
    ///
    /// # Errors
    /// If shapes disagree, or the card fails; [`peel_kernels::Error::OutOfMemory`] where not even one sample fits.
    fn learn(&mut self, fine: &Conditions, sampling: &Sampling, against: &AlphaComparison) -> Result<f32>;
}

/// Training of an autoencoder on some card.
pub trait CardEncoding: CardLearning {
    /// Takes pictures to latents and back, one after the other, and adds the gradients of a loss to those of every parameter.
    ///
    /// # Errors
    /// If shapes disagree, or the card fails; [`peel_kernels::Error::OutOfMemory`] where not even one picture fits.
    fn learn(&mut self, batch: &Reconstruction) -> Result<Rebuilt>;
}

/// What [`CardLearning`] is made of.
trait Learns: std::fmt::Debug {
    type On: Card;

    /// What learns, and the card that it is on.
    fn learnt(&self) -> (&Arena<Self::On>, &Parameters<Arena<Self::On>>);

    /// Brings what products take up to what was learnt.
    fn pour(&self) -> Result<()>;

    fn room(&mut self) -> &mut Room;
}

impl<T: Learns> CardLearning for T {
    fn remarks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.room().remarks)
    }

    fn gradients(&self) -> Result<BTreeMap<String, Vec<f32>>> {
        let (card, parameters) = self.learnt();
        parameters.gradients(card)
    }

    fn norm(&self) -> Result<f32> {
        let (card, parameters) = self.learnt();
        parameters.norm(card)
    }

    fn update(&mut self, update: &Update) -> Result<()> {
        let (card, parameters) = self.learnt();
        parameters.update(card, update)?;
        self.pour()
    }

    fn state(&self) -> Result<BTreeMap<String, State>> {
        let (card, parameters) = self.learnt();
        parameters.state(card)
    }

    fn restore(&mut self, state: &BTreeMap<String, State>) -> Result<()> {
        let (card, parameters) = self.learnt();
        parameters.restore(card, state)?;
        self.pour()
    }
}

/// Fails where a tensor has another number of values than a card has room for.
fn fits(what: &'static str, tensor: &Tensor, count: usize) -> Result<()> {
    if tensor.elem_count() == count {
        return Ok(());
    }
    Err(Error::Shape {
        what,
        expected: format!("{count} values"),
        found: tensor.dims().to_vec(),
    })
}
