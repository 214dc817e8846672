//! What is known about every node at one frame, for as long as the frame is being rendered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use peel_image::Pixel;
use peel_node::{Error, Format, Key, Motion, Pieces, Result, Value};

use crate::memory::Values;
use crate::program::{Program, Source};
use crate::sync::lock;

/// A frame. Results hang here until the frame is done, whatever the caches' budgets.
///
/// Cells are filled by whoever comes first; two threads that come together both compute, to the same end,
/// and nobody waits with a seat in its hands.
pub(crate) struct FrameState {
    pub number: i32,
    pub units: Vec<UnitState>,
    effort: u32,
    done: AtomicU32,
    /// The largest share told so far, in ten-thousandths: progress never goes back.
    told: AtomicU32,
    /// By node: whether its content was never rendered before; only where that is of use.
    pub changed: OnceLock<Vec<bool>>,
    /// The other frames that this one's nodes look at, known to all of them.
    relatives: Arc<Relatives>,
    /// Whether this is the frame that is being rendered; the relatives live as long as it does.
    rendered: bool,
}

type Relatives = Mutex<HashMap<i32, Arc<FrameState>>>;

/// A node at a frame.
#[derive(Default)]
pub(crate) struct UnitState {
    pub key: OnceLock<Result<Key>>,
    pub chain: OnceLock<Result<Option<Chain>>>,
    /// Of a frame node.
    pub rendered: OnceLock<Values>,
    /// Of a frame node whose picture passes through in pieces.
    pub pieces: OnceLock<Result<Option<Arc<dyn Pieces>>>>,
    /// Why it failed; it is not asked again.
    pub failure: OnceLock<Error>,
    pub outputs: Vec<OutputState>,
}

/// An output at a frame.
#[derive(Default)]
pub(crate) struct OutputState {
    /// Where its picture really comes from, behind nodes that pass it through.
    pub origin: OnceLock<Source>,
    pub format: OnceLock<Result<Arc<Format>>>,
    /// Its only colour, where it has but one and that is known without pixels.
    pub uniform: OnceLock<Result<Option<Pixel>>>,
    /// Of a region node whose picture is wanted more than once.
    pub whole: OnceLock<Value>,
    /// Pixels asked for so far.
    pub asked: AtomicU64,
}

/// A chain of motions that ends at a node.
#[derive(Clone, Copy)]
pub(crate) struct Chain {
    /// The picture before the first motion.
    pub source: Source,
    /// All of them multiplied; slot and filter are those of the last.
    pub motion: Motion,
}

impl FrameState {
    /// A frame that is going to be rendered.
    pub fn new(program: &Program<'_>, number: i32) -> FrameState {
        let mut frame = FrameState::beside(program, number, Arc::default());
        frame.rendered = true;
        frame.told = AtomicU32::new(0);
        frame
    }

    /// Another frame, for a node that looks at its inputs there.
    pub fn relative(&self, program: &Program<'_>, number: i32) -> Arc<FrameState> {
        let mut relatives = lock(&self.relatives);
        let make = || Arc::new(FrameState::beside(program, number, Arc::clone(&self.relatives)));
        Arc::clone(relatives.entry(number).or_insert_with(make))
    }

    /// A frame that is looked at; it makes no progress of its own.
    fn beside(program: &Program<'_>, number: i32, relatives: Arc<Relatives>) -> FrameState {
        let units = program.units.iter().map(|unit| UnitState {
            outputs: unit.outputs.iter().map(|_| OutputState::default()).collect(),
            ..UnitState::default()
        });
        FrameState {
            number,
            units: units.collect(),
            effort: program.effort().max(1),
            done: AtomicU32::new(0),
            told: AtomicU32::new(u32::MAX),
            changed: OnceLock::new(),
            relatives,
            rendered: false,
        }
    }

    /// Counts a node's effort as done.
    pub fn finish(&self, effort: u32) {
        self.done.fetch_add(effort, Ordering::Relaxed);
    }

    /// The share of the frame that is done when a node of this effort has done `share` of its own; `None`
    /// where that is no news.
    pub fn share(&self, effort: u32, share: f32) -> Option<f32> {
        let done = self.done.load(Ordering::Relaxed) as f32 + share.clamp(0.0, 1.0) * effort as f32;
        let now = (done / self.effort as f32 * 1e4).min(1e4) as u32;
        (self.told.fetch_max(now, Ordering::Relaxed) < now).then_some(now as f32 / 1e4)
    }
}

impl Drop for FrameState {
    /// The relatives know each other, so nobody else would let go of them.
    fn drop(&mut self) {
        if self.rendered {
            let relatives = std::mem::take(&mut *lock(&self.relatives));
            drop(relatives);
        }
    }
}

/// What a cell holds, or what it holds after `make`.
pub(crate) fn once<T: Clone>(cell: &OnceLock<T>, make: impl FnOnce() -> T) -> T {
    match cell.get() {
        Some(known) => known.clone(),
        None => {
            let made = make();
            cell.get_or_init(|| made).clone()
        }
    }
}
