//! A card's own thread: whoever has a picture asks it, and pictures that wait at the same time go to the card in one batch.
//!
//! Frames of a sequence are made by several threads at once, and several objects of a frame are asked for together, so the queue fills
//! by itself while the card is busy. A picture's result does not depend on its batch, to the bit.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Tensor;
use peel_kernels::Card;

use super::CardModel;
use crate::{Conditions, Error, Pair, Prediction, Result, Sampling};

/// The most pictures in a batch: enough to fill a card with 128-pixel pictures, and an answer is not long in coming.
const MOST: usize = 16;

/// A model on a card that threads share.
#[derive(Debug)]
pub struct CardQueue {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
}

/// What the card's thread tells of itself.
#[derive(Debug, Default)]
struct Shared {
    batches: AtomicUsize,
    remarks: Mutex<Vec<String>>,
}

/// One picture.
struct Job {
    conditions: Conditions,
    /// A background to start from.
    near: Option<Tensor>,
    sampling: Sampling,
    answers: Sender<Answer>,
    /// Nobody waits for it any more.
    left: Arc<AtomicBool>,
}

enum Answer {
    /// Calls done, and all of them.
    Progress(usize, usize),
    Done(Result<Prediction>),
}

fn ended() -> Error {
    Error::Card(peel_kernels::Error::Failed {
        what: "the card's thread".into(),
        reason: "it has ended".into(),
    })
}

impl CardQueue {
    /// Starts the thread; `open` makes the model in it.
    ///
    /// # Errors
    /// What `open` reports, or if there are no more threads.
    pub fn start<C: Card>(open: impl FnOnce() -> Result<CardModel<C>> + Send + 'static) -> Result<Self> {
        let (jobs, waiting) = channel();
        let (opened, is_open) = channel();
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let work = move || match open() {
            Ok(model) => {
                // The receiver is there until it has an answer.
                let _ = opened.send(Ok(()));
                serve(&model, &waiting, &own);
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        std::thread::Builder::new()
            .name("card".into())
            .spawn(work)
            .map_err(|e| {
                Error::Card(peel_kernels::Error::Failed {
                    what: "the card's thread".into(),
                    reason: e.to_string(),
                })
            })?;
        is_open.recv().map_err(|_| ended())??;
        Ok(Self { jobs, shared })
    }

    /// Opens the first NVIDIA card with the weights of a folder, linear layers as [`CardModel::load_in`] has them.
    ///
    /// # Errors
    /// As [`CardModel::load_in`], or if there is no card.
    #[cfg(feature = "cuda")]
    pub fn on_cuda(dir: &std::path::Path, precision: Option<crate::weights::Precision>) -> Result<Self> {
        let dir = dir.to_owned();
        Self::start(move || CardModel::load_in(peel_kernels::Cuda::open(0)?, &dir, precision))
    }

    /// Draws the layers of each picture, (1, 3, H, W) with its mask, as [`crate::Model::sample`] would one by one.
    /// `progress(done, calls)` is asked whether to go on.
    ///
    /// # Errors
    /// The first picture's that fails, or [`Error::Cancelled`].
    pub fn sample_each(
        &self,
        pictures: &[Conditions],
        sampling: &Sampling,
        progress: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Vec<Prediction>> {
        self.sample_each_near(pictures, &[], sampling, progress)
    }

    /// As [`CardQueue::sample_each`], each started from a background that is known, as [`crate::Model::sample_near`] is, as far as there are any.
    ///
    /// # Errors
    /// As [`CardQueue::sample_each`].
    pub fn sample_each_near(
        &self,
        pictures: &[Conditions],
        near: &[Tensor],
        sampling: &Sampling,
        progress: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Vec<Prediction>> {
        let left = Arc::new(AtomicBool::new(false));
        let mut waiting = Vec::with_capacity(pictures.len());
        for (i, conditions) in pictures.iter().enumerate() {
            let (answers, receiver) = channel();
            let job = Job {
                conditions: conditions.clone(),
                near: near.get(i).cloned(),
                sampling: *sampling,
                answers,
                left: left.clone(),
            };
            self.jobs.send(job).map_err(|_| ended())?;
            waiting.push(receiver);
        }
        let count = pictures.len();
        let all = |(i, answers): (usize, Receiver<Answer>)| {
            loop {
                match answers.recv().map_err(|_| ended())? {
                    Answer::Done(result) => return result,
                    Answer::Progress(done, calls) => {
                        if !progress((i * calls + done) / count, calls) {
                            return Err(Error::Cancelled);
                        }
                    }
                }
            }
        };
        let result = waiting.into_iter().enumerate().map(all).collect();
        left.store(true, Ordering::Relaxed);
        result
    }

    /// Batches run so far.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.shared.batches.load(Ordering::Relaxed)
    }

    /// What a user should know of the card's work so far; each is told once.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = self.shared.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *remarks)
    }
}

/// Answers until nobody can ask any more.
fn serve<C: Card>(model: &CardModel<C>, jobs: &Receiver<Job>, shared: &Shared) {
    let mut waiting = VecDeque::new();
    loop {
        if waiting.is_empty() {
            match jobs.recv() {
                Ok(job) => waiting.push_back(job),
                Err(_) => return,
            }
        }
        waiting.extend(jobs.try_iter());
        waiting.retain(|job| !job.left.load(Ordering::Relaxed));
        let batch = together(&mut waiting);
        if batch.is_empty() {
            continue;
        }
        shared.batches.fetch_add(1, Ordering::Relaxed);
        match run(model, &batch) {
            Ok(predictions) => {
                for (job, prediction) in batch.iter().zip(predictions) {
                    drop(job.answers.send(Answer::Done(Ok(prediction))));
                }
            }
            // Each has its own error, or none.
            Err(_) if batch.len() > 1 => {
                for job in &batch {
                    let alone =
                        run(model, std::slice::from_ref(job)).and_then(|mut all| all.pop().ok_or_else(ended));
                    drop(job.answers.send(Answer::Done(alone)));
                }
            }
            Err(error) => drop(batch[0].answers.send(Answer::Done(Err(error)))),
        }
        let mut remarks = shared.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        remarks.extend(model.remarks());
    }
}

/// The first that waits, and those that go with it: of one size, sampled in the same steps, and all from a known background or none.
fn together(waiting: &mut VecDeque<Job>) -> Vec<Job> {
    let Some(first) = waiting.pop_front() else {
        return Vec::new();
    };
    let mut batch = vec![first];
    let mut others = VecDeque::new();
    for job in waiting.drain(..) {
        let fits = job.conditions.plate.dims() == batch[0].conditions.plate.dims()
            && job.near.is_some() == batch[0].near.is_some()
            && job.sampling.sampler == batch[0].sampling.sampler
            && job.sampling.steps == batch[0].sampling.steps;
        if fits && batch.len() < MOST {
            batch.push(job);
        } else {
            others.push_back(job);
        }
    }
    *waiting = others;
    batch
}

fn run<C: Card>(model: &CardModel<C>, batch: &[Job]) -> Result<Vec<Prediction>> {
    let side_by_side = |of: fn(&Job) -> &Tensor| {
        let tensors: Vec<&Tensor> = batch.iter().map(of).collect();
        Tensor::cat(&tensors, 0)
    };
    let conditions = Conditions {
        plate: side_by_side(|job| &job.conditions.plate)?,
        mask: side_by_side(|job| &job.conditions.mask)?,
    };
    let near: Vec<&Tensor> = batch.iter().filter_map(|job| job.near.as_ref()).collect();
    let near = (near.len() == batch.len()).then(|| Tensor::cat(&near, 0));
    // Each picture has the noise that it would have alone.
    let noise = batch
        .iter()
        .map(|job| model.noise(&job.conditions, &job.sampling))
        .collect::<Result<Vec<Pair>>>()?;
    let layers = |of: fn(&Pair) -> &Tensor| Tensor::cat(&noise.iter().map(of).collect::<Vec<_>>(), 0);
    let noise = Pair {
        background: layers(|pair| &pair.background)?,
        foreground: layers(|pair| &pair.foreground)?,
    };
    let progress = |done, calls| {
        for job in batch {
            drop(job.answers.send(Answer::Progress(done, calls)));
        }
        // Until everybody has left.
        batch.iter().any(|job| !job.left.load(Ordering::Relaxed))
    };
    let near = near.transpose()?;
    let found = model.sample_from(
        (&conditions, near.as_ref()),
        &noise,
        &batch[0].sampling,
        &progress,
    )?;
    (0..batch.len())
        .map(|i| {
            Ok(Prediction {
                background: found.background.narrow(0, i, 1)?,
                foreground: found.foreground.narrow(0, i, 1)?,
            })
        })
        .collect()
}
