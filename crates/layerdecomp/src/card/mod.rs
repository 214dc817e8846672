//! The network on a card: the same forward pass over `peel_kernels`.
//!
//! Weights are uploaded once. For each size of batch the card's memory is reserved in one piece, and the launches of the condition
//! pass and of a step are written down once (a CUDA graph each) and replayed: see [`session`]. The condition tokens' keys and values
//! stay on the card over the steps.
//!
//! The samplers stay on the CPU: they see a denoiser, noise comes from the same counter, and what travels each step is two
//! small pictures. Activations between products are bf16, so results differ from the CPU's by about a hundredth of full scale
//! at most; [`CardModel`]'s test states the tolerance. A picture's result has the same bits in every batch.

mod ends;
mod forward;
mod layers;
mod queue;
mod refine;
mod session;
mod training;
mod vae;
mod weights;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use peel_kernels::{Arena, Card};

use self::ends::Ends;
use self::forward::Network;
use self::refine::Refiner;
use self::session::Session;
use self::weights::Weights;
use crate::predicts::Predicts;
use crate::schedule::Path as NoisePath;
use crate::tighten::looking_twice;
use crate::weights::Precision;
use crate::{Conditions, Config, Error, Noisy, Pair, Prediction, Result, Sampler, Sampling, sampler};

pub use peel_kernels::ops::Terms as LossTerms;
pub use queue::CardQueue;
pub use training::{
    AlphaComparison, CardAutoencoder, CardEncoding, CardLearner, CardLearning, CardRefiner, CardRefining,
    CardTrainer, CardTraining, Comparison, Rebuilt, Reconstruction, State as CardState, Sums as LossSums,
    Trainee, Update, train_on_cuda,
};

/// A model on a card. Made from the same weights folder as [`crate::Model`].
#[derive(Debug)]
pub struct CardModel<C: Card> {
    network: Network<Arena<C>>,
    ends: Ends<Arena<C>>,
    refiner: Option<Refiner<Arena<C>>>,
    path: NoisePath,
    /// That of the last batch's size.
    session: RefCell<Option<Session<C>>>,
    /// Pictures that fit into the card at once, by height and width, where fewer did than were asked for.
    room: RefCell<BTreeMap<(usize, usize), usize>>,
    remarks: RefCell<Vec<String>>,
}

impl<C: Card> CardModel<C> {
    /// Uploads the weights of a folder.
    ///
    /// # Errors
    /// As [`crate::Model::load`]; [`Error::Card`] if the card fails, or the model is one that cards do not run: of odd sizes.
    pub fn load(card: C, dir: &Path) -> Result<Self> {
        Self::load_in(card, dir, None)
    }

    /// The same with linear layers as [`Loading::precision`](crate::weights::Loading::precision) has them on the CPU, as far as a card
    /// knows the difference: [`Precision::Int8`] makes whole numbers of them, the very same ones. What is not whole numbers is bf16.
    ///
    /// # Errors
    /// As [`CardModel::load`].
    pub fn load_in(card: C, dir: &Path, precision: Option<Precision>) -> Result<Self> {
        let (config, tensors) = crate::weights::tensors(dir, precision)?;
        Self::new(card, &config, &tensors)
    }

    /// As [`CardModel::load`], from tensors by name.
    ///
    /// # Errors
    /// As [`CardModel::load`].
    pub fn new(card: C, config: &Config, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        let card = Arena::new(card);
        let weights = Weights::upload(&card, config, tensors)?;
        let ends = Ends::new(&card, config, tensors)?;
        Ok(Self {
            refiner: Refiner::new(&card, config, tensors)?,
            ends,
            network: Network {
                card,
                config: config.clone(),
                weights,
            },
            path: config.diffusion.schedule.path(),
            session: RefCell::default(),
            room: RefCell::default(),
            remarks: RefCell::default(),
        })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.network.config
    }

    /// The card.
    pub fn card(&self) -> &C {
        self.network.card.card()
    }

    /// What a user should know of the card's work so far, such as that batches were divided; each is told once.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        self.remarks.take()
    }

    /// As [`crate::Model::sample`]; tensors live on the CPU. A batch that does not fit into the card is divided.
    ///
    /// # Errors
    /// As [`crate::Model::sample`], or if the card fails; [`peel_kernels::Error::OutOfMemory`] where not even one picture fits.
    pub fn sample(
        &self,
        c: &Conditions,
        opts: &Sampling,
        progress: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Prediction> {
        self.sample_near(c, None, opts, progress)
    }

    /// As [`crate::Model::sample_near`]; otherwise as [`CardModel::sample`].
    ///
    /// # Errors
    /// As [`CardModel::sample`].
    pub fn sample_near(
        &self,
        c: &Conditions,
        near: Option<&Tensor>,
        opts: &Sampling,
        progress: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Prediction> {
        let start = self.noise(c, opts)?;
        self.sample_from((c, near), &start, opts, progress)
    }

    /// As [`crate::Model::refine`]; tensors live on the CPU.
    ///
    /// # Errors
    /// As there, or if the card fails.
    pub fn refine(&self, c: &Conditions, prediction: &Prediction) -> Result<Tensor> {
        let Some(refiner) = &self.refiner else {
            return Err(Error::Config(format!("{} has no refiner", self.config().name)));
        };
        refiner.alpha(&self.network.card, c, prediction)
    }

    /// The noise that [`CardModel::sample`] starts from.
    fn noise(&self, c: &Conditions, opts: &Sampling) -> Result<Pair> {
        let (n, _, h, w) = c.plate.dims4()?;
        let sizes = self.network.streams((h, w)).map(|[c, h, w]| (n, c, h, w));
        sampler::begin(opts, sizes, &self.path, &Device::Cpu)
    }

    /// The same from given noise, with the first look that a model may be configured to take.
    fn sample_from(
        &self,
        (c, near): (&Conditions, Option<&Tensor>),
        given: &Pair,
        opts: &Sampling,
        progress: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Prediction> {
        if opts.sampler == Sampler::OneCall && self.config().diffusion.predicts == Predicts::Epsilon {
            return Err(Error::Config(
                "one call on zero noise says nothing of a model that predicts the noise".into(),
            ));
        }
        let stride = self.config().stride();
        let (n, _, h, w) = c.plate.dims4()?;
        if n == 0 || h == 0 || w == 0 || h % stride != 0 || w % stride != 0 {
            return Err(Error::Shape {
                what: "plate",
                expected: format!("(N, 3, H, W) with H and W multiples of {stride}"),
                found: c.plate.dims().to_vec(),
            });
        }
        if let Some(near) = near.filter(|near| opts.calls() > 1 && near.dims() != [n, 3, h, w]) {
            return Err(Error::Shape {
                what: "background to start from",
                expected: format!("{:?}", [n, 3, h, w]),
                found: near.dims().to_vec(),
            });
        }
        looking_twice(self.config().tighten, c, opts, progress, &|c, opts, progress| {
            // The first look is one call, which starts from nothing.
            let nothing = (opts.sampler == Sampler::OneCall).then(|| self.noise(c, opts));
            let start = nothing.transpose()?;
            let near = near.filter(|_| opts.calls() > 1);
            self.divided((c, near), start.as_ref().unwrap_or(given), opts, progress)
        })
    }

    /// In as few batches as fit.
    fn divided(
        &self,
        (c, near): (&Conditions, Option<&Tensor>),
        start: &Pair,
        opts: &Sampling,
        progress: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Prediction> {
        let (n, _, h, w) = c.plate.dims4()?;
        let mut parts = Vec::new();
        let mut done = 0;
        while done < n {
            let room = self.room.borrow().get(&(h, w)).copied().unwrap_or(n);
            let count = room.min(n - done);
            let of = |t: &Tensor| t.narrow(0, done, count);
            let part = Conditions {
                plate: of(&c.plate)?,
                mask: of(&c.mask)?,
            };
            let noise = Pair {
                background: of(&start.background)?,
                foreground: of(&start.foreground)?,
            };
            let step = |calls: usize, all: usize| progress((done * all + count * calls) / n, all);
            let near = near.map(of).transpose()?;
            match self.batch((&part, near.as_ref()), noise, opts, &step) {
                Ok(layers) => {
                    parts.push(layers);
                    done += count;
                }
                Err(Error::Card(peel_kernels::Error::OutOfMemory { .. })) if count > 1 => {
                    let fewer = count / 2;
                    self.room.borrow_mut().insert((h, w), fewer);
                    self.remarks.borrow_mut().push(format!(
                        "the card has no room for {count} pictures of {w}x{h} at once; it takes {fewer}"
                    ));
                }
                Err(error) => return Err(error),
            }
        }
        let whole = |layer: fn(&Pair) -> &Tensor| {
            let layers: Vec<&Tensor> = parts.iter().map(layer).collect();
            Tensor::cat(&layers, 0)
        };
        self.ends.pictures(
            &self.network.card,
            &Pair {
                background: whole(|pair| &pair.background)?,
                foreground: whole(|pair| &pair.foreground)?,
            },
        )
    }

    /// A batch that is run at once.
    fn batch(
        &self,
        (c, near): (&Conditions, Option<&Tensor>),
        noise: Pair,
        opts: &Sampling,
        progress: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Pair> {
        let (n, _, h, w) = c.plate.dims4()?;
        let mut slot = self.session.borrow_mut();
        // The memory of another size is given back before more is asked for.
        let session = match slot.take() {
            Some(session) if session.size == [n, h, w] => session,
            other => {
                drop(other);
                Session::open(&self.network, [n, h, w])?
            }
        };
        let session = slot.insert(session);
        let card = &self.network.card;
        session.digest(card, &self.ends.show(card, c)?)?;
        let near = near.map(|near| self.ends.background(card, near)).transpose()?;
        let near = Cell::new(near);
        let denoise = |z: &Noisy| {
            let said = session.step(card, &*self.network.config.diffusion.entering(z, &self.path)?)?;
            let mut believed = self.config().diffusion.predicts.clean(z, said, &self.path)?;
            // Of the first call; those after it lie around that.
            if let Some(background) = near.take() {
                believed.background = background;
            }
            Ok(believed)
        };
        sampler::draw(opts, noise, &self.path, &denoise, progress)
    }
}

#[cfg(feature = "cuda")]
impl CardModel<peel_kernels::Cuda> {
    /// Opens the first NVIDIA card and uploads the weights of a folder.
    ///
    /// # Errors
    /// As [`CardModel::load`], or if there is no card.
    pub fn on_cuda(dir: &Path) -> Result<Self> {
        Self::load(peel_kernels::Cuda::open(0)?, dir)
    }
}
