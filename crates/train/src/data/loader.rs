//! Batches made in threads of their own, a bounded number ahead, in an order that does not depend on the threads.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use candle_core::{Device, Tensor};
use peel_layerdecomp::Conditions;

use super::pool::Pool;
use super::{Sample, Shares, sample};
use crate::{Error, Result};

/// Batches that a thread works ahead.
const AHEAD: usize = 3;

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
    /// The object's own alpha, without effects, `(N, 1, H, W)`, 0..1.
    pub object: Vec<f32>,
    /// Whether a sample's true layer is known, `(N,)`.
    pub has_foreground: Vec<bool>,
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
            object: room(1),
            has_foreground: Vec::with_capacity(order.count),
        };
        for i in 0..order.count {
            let index = (order.index << 16) | i as u64;
            let drawn = sample(&recipe.pool, recipe.seed, index, order.size, recipe.shares);
            batch.push(&drawn);
        }
        batch
    }

    fn push(&mut self, drawn: &Sample) {
        planes(&drawn.plate.pixels, &mut self.plate);
        planes(&drawn.mask.pixels, &mut self.mask);
        planes(&drawn.background.pixels, &mut self.background);
        planes(&drawn.foreground.pixels, &mut self.foreground);
        planes(&drawn.object.pixels, &mut self.object);
        self.has_foreground.push(drawn.has_foreground);
    }

    /// What the model is asked about.
    ///
    /// # Errors
    /// If the tensors cannot be made.
    pub fn conditions(&self, device: &Device) -> Result<Conditions> {
        let Order { size, count, .. } = self.order;
        Ok(Conditions {
            plate: Tensor::from_slice(&self.plate, (count, 3, size, size), device)?,
            mask: Tensor::from_slice(&self.mask, (count, 1, size, size), device)?,
        })
    }
}

/// Interleaved pixels as planes, appended to `out`.
pub fn planes<const C: usize>(pixels: &[[f32; C]], out: &mut Vec<f32>) {
    for c in 0..C {
        out.extend(pixels.iter().map(|p| p[c]));
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
