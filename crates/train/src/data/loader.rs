//! Batches made in threads of their own, a bounded number ahead, in an order that does not depend on the threads.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use candle_core::{Device, Tensor};

use super::pool::Pool;
use super::rng::Rng;
use super::{Sample, Shares, sample};
use crate::{Error, Result};

/// Batches that a thread works ahead.
const AHEAD: usize = 3;
/// Stream of the diffusion noise and times.
const NOISE_STREAM: u64 = 2;

/// Which samples a batch holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Order {
    /// Position of the batch in the whole training run; decides its samples and noise.
    pub index: u64,
    /// Pixels on a side.
    pub size: usize,
    /// Samples.
    pub count: usize,
}

/// What the samples are drawn from.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Pictures.
    pub pool: Arc<Pool>,
    /// Seed of everything random.
    pub seed: u64,
    /// Where samples come from.
    pub shares: Shares,
    /// Probability of pure noise (time 0).
    pub pure_noise: f32,
    /// Other times are `sigmoid(N(time_mean, 1))`.
    pub time_mean: f32,
}

/// A batch as flat planes, `(N, C, H, W)` each.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// What it was ordered as.
    pub order: Order,
    /// `(N, 3, H, W)`, 0..1.
    pub plate: Vec<f32>,
    /// `(N, 1, H, W)`, 0..1.
    pub mask: Vec<f32>,
    /// `(N, 3, H, W)`, 0..1.
    pub background: Vec<f32>,
    /// `(N, 4, H, W)`, premultiplied, 0..1.
    pub foreground: Vec<f32>,
    /// Whether a sample's true layer is known, `(N,)`.
    pub has_foreground: Vec<bool>,
    /// Noisy background, `(N, 3, H, W)`, `s (2 B - 1) + (1 - s) noise`.
    pub noisy_background: Vec<f32>,
    /// Noisy layer, `(N, 4, H, W)`, likewise.
    pub noisy_foreground: Vec<f32>,
    /// Time `s` of each sample, `(N,)`; 0 is pure noise.
    pub time: Vec<f32>,
}

impl Batch {
    /// Makes the batch of `order`.
    #[must_use]
    pub fn make(recipe: &Recipe, order: Order) -> Self {
        let plane = order.size * order.size;
        let room = |channels: usize| Vec::with_capacity(order.count * channels * plane);
        let mut batch = Self {
            order,
            plate: room(3),
            mask: room(1),
            background: room(3),
            foreground: room(4),
            has_foreground: Vec::with_capacity(order.count),
            noisy_background: room(3),
            noisy_foreground: room(4),
            time: Vec::with_capacity(order.count),
        };
        for i in 0..order.count {
            let index = (order.index << 16) | i as u64;
            let drawn = sample(&recipe.pool, recipe.seed, index, order.size, recipe.shares);
            batch.push(&drawn, &mut Rng::new(recipe.seed, NOISE_STREAM, index), recipe);
        }
        batch
    }

    fn push(&mut self, drawn: &Sample, rng: &mut Rng, recipe: &Recipe) {
        let (background, foreground) = (self.background.len(), self.foreground.len());
        planes(&drawn.plate.pixels, &mut self.plate);
        planes(&drawn.mask.pixels, &mut self.mask);
        planes(&drawn.background.pixels, &mut self.background);
        planes(&drawn.foreground.pixels, &mut self.foreground);
        self.has_foreground.push(drawn.has_foreground);

        let time = if rng.chance(recipe.pure_noise) {
            0.0
        } else {
            1.0 / (1.0 + (-(rng.normal() + recipe.time_mean)).exp())
        };
        self.time.push(time);
        noised(
            rng,
            time,
            &self.background[background..],
            &mut self.noisy_background,
        );
        noised(
            rng,
            time,
            &self.foreground[foreground..],
            &mut self.noisy_foreground,
        );
    }

    /// The model's inputs.
    ///
    /// # Errors
    /// If the tensors cannot be made.
    pub fn inputs(&self, device: &Device) -> Result<(peel_layerdecomp::Conditions, peel_layerdecomp::Noisy)> {
        let Order { size, count, .. } = self.order;
        let tensor = |values: &[f32], channels: usize| {
            Tensor::from_slice(values, (count, channels, size, size), device)
        };
        let conditions = peel_layerdecomp::Conditions {
            plate: tensor(&self.plate, 3)?,
            mask: tensor(&self.mask, 1)?,
        };
        let noisy = peel_layerdecomp::Noisy {
            background: tensor(&self.noisy_background, 3)?,
            foreground: tensor(&self.noisy_foreground, 4)?,
            time: Tensor::from_slice(&self.time, count, device)?,
        };
        Ok((conditions, noisy))
    }
}

/// Interleaved pixels as planes, appended to `out`.
pub fn planes<const C: usize>(pixels: &[[f32; C]], out: &mut Vec<f32>) {
    for c in 0..C {
        out.extend(pixels.iter().map(|p| p[c]));
    }
}

fn noised(rng: &mut Rng, time: f32, clean: &[f32], out: &mut Vec<f32>) {
    let start = out.len();
    out.resize(start + clean.len(), 0.0);
    rng.fill_normal(&mut out[start..]);
    for (z, x) in out[start..].iter_mut().zip(clean) {
        *z = time * (2.0 * x - 1.0) + (1.0 - time) * *z;
    }
}

/// Threads that make batches. Dropping it ends them.
#[derive(Debug)]
pub struct Loader {
    queues: Vec<Receiver<Batch>>,
    threads: Vec<JoinHandle<()>>,
    next: usize,
}

impl Loader {
    /// Starts `threads` threads on the batches that `orders` lists; thread t makes batches t, t + threads, ...
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(
        recipe: &Recipe,
        threads: usize,
        orders: impl Iterator<Item = Order> + Clone + Send + 'static,
    ) -> Result<Self> {
        let threads = threads.max(1);
        let mut loader = Self {
            queues: Vec::new(),
            threads: Vec::new(),
            next: 0,
        };
        for t in 0..threads {
            let (sender, receiver) = sync_channel(AHEAD);
            let recipe = recipe.clone();
            let orders = orders.clone().skip(t).step_by(threads);
            let handle = std::thread::Builder::new()
                .name(format!("peel-data-{t}"))
                .spawn(move || produce(&recipe, orders, &sender))
                .map_err(Error::file("data thread"))?;
            loader.queues.push(receiver);
            loader.threads.push(handle);
        }
        Ok(loader)
    }

    /// The next batch in order.
    ///
    /// # Errors
    /// If the orders are at their end or a thread died.
    pub fn batch(&mut self) -> Result<Batch> {
        let queue = self.next;
        self.next = (queue + 1) % self.queues.len();
        self.queues[queue].recv().map_err(|_| Error::Data)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.queues.clear(); // senders fail from now on, and the threads return
        for thread in self.threads.drain(..) {
            // A panic of the thread was already seen as a closed queue.
            let _ = thread.join();
        }
    }
}

fn produce(recipe: &Recipe, orders: impl Iterator<Item = Order>, queue: &SyncSender<Batch>) {
    for order in orders {
        if queue.send(Batch::make(recipe, order)).is_err() {
            return;
        }
    }
}
