//! Pull evaluation: from an output, a frame and a region to pixels.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use peel_image::{Pixel, Rect};
use peel_node::{At, Error, FileIdentity, Format, Key, KeyBuilder, Note, Result, Temperament, Value};

use crate::cancel::CancelToken;
use crate::crew::Crew;
use crate::cut::{cut, empty, pixel_bytes, uniform};
use crate::desk::Desk;
use crate::engine::Shared;
use crate::event::{Event, NodeError};
use crate::frame::{Chain, FrameState, once};
use crate::memory::{Values, unique_bytes};
use crate::program::{Program, Source};
use crate::store::{Asker, Keep};
use crate::trace::{Going, Work};

/// Nodes that one stack carries; the next one goes on with a fresh stack.
const STACK_DEPTH: usize = 48;

/// One program, being evaluated.
#[derive(Clone, Copy)]
pub(crate) struct Evaluation<'e> {
    pub engine: &'e Shared,
    pub program: &'e Program<'e>,
    pub events: &'e (dyn Fn(Event) + Sync),
    pub cancel: &'e CancelToken,
    /// The files that nodes have looked at so far.
    pub files: &'e Mutex<BTreeMap<PathBuf, Option<FileIdentity>>>,
}

impl<'e> Evaluation<'e> {
    /// What is known at a frame, to begin with: every node's key, made inputs first so that no chain of
    /// nodes is too long.
    pub fn frame(&self, number: i32) -> FrameState {
        let frame = FrameState::new(self.program, number);
        for unit in 0..self.program.units.len() {
            // A failure stays in its cell, for those who want this node's picture.
            let _ = self.key(&frame, unit, 0);
        }
        frame
    }

    /// Content key of a node.
    pub fn key(&self, frame: &FrameState, unit: usize, depth: usize) -> Result<Key> {
        once(&frame.units[unit].key, || {
            let node = &self.program.units[unit];
            let mut key = KeyBuilder::new("peel node");
            key.str(self.program.working_space.name());
            for (slot, input) in node.inputs.iter().enumerate() {
                let Some(source) = input else {
                    key.str("unconnected");
                    continue;
                };
                for number in node.node.input_frames(slot, frame.number) {
                    let made = |frame: &FrameState| self.output_key(frame, *source, depth + 1);
                    key.key(&self.on_frame(frame, number, made)?);
                }
                for number in node.node.neighbour_frames(slot, frame.number) {
                    let made = |frame: &FrameState| self.output_key(frame, *source, depth + 1);
                    match self.on_frame(frame, number, made) {
                        Ok(found) => key.key(&found),
                        Err(Error::Cancelled) => return Err(Error::Cancelled),
                        Err(_) => key.str("missing"),
                    };
                }
            }
            self.call(frame, unit, depth, None, |at| {
                (node.hash)(frame.number, &mut key);
                node.node.identity(at, &mut key)?;
                Ok(key.finish())
            })
        })
    }

    /// Does something on another frame, for a node that looks at its inputs there.
    pub fn on_frame<T>(&self, frame: &FrameState, number: i32, work: impl FnOnce(&FrameState) -> T) -> T {
        if number == frame.number {
            work(frame)
        } else {
            work(&frame.relative(self.program, number))
        }
    }

    /// Content key of an output.
    pub fn output_key(&self, frame: &FrameState, source: Source, depth: usize) -> Result<Key> {
        let Source { unit, output } = self.origin(frame, source, depth)?;
        let mut key = KeyBuilder::new("peel output");
        key.key(&self.key(frame, unit, depth)?).int(output as i128);
        Ok(key.finish())
    }

    /// Where an output's picture really comes from, behind nodes that pass it through.
    pub fn origin(&self, frame: &FrameState, source: Source, depth: usize) -> Result<Source> {
        let mut origin = source;
        loop {
            let unit = &self.program.units[origin.unit];
            let state = &frame.units[origin.unit].outputs[origin.output];
            if let Some(&known) = state.origin.get() {
                origin = known;
                break;
            }
            let slot = self.call(frame, origin.unit, depth, None, |at| {
                Ok(unit.node.pass_through(at, origin.output))
            })?;
            match slot.and_then(|slot| unit.inputs.get(slot).copied().flatten()) {
                Some(behind) => origin = behind,
                None => break,
            }
        }
        let cell = &frame.units[source.unit].outputs[source.output].origin;
        Ok(*cell.get_or_init(|| origin))
    }

    /// The chain of motions that ends at a node; `None` for a node that does more than move, or other than
    /// moving.
    pub fn chain(&self, frame: &FrameState, unit: usize, depth: usize) -> Result<Option<Chain>> {
        let mut links = Vec::new();
        let mut next = unit;
        // Up to the first picture that is not merely moved, or to where the chain is known ...
        let known = loop {
            if let Some(known) = frame.units[next].chain.get() {
                break known.clone()?;
            }
            let node = &self.program.units[next];
            let Some(motion) = self.call(frame, next, depth, None, |at| Ok(node.node.motion(at)))? else {
                break None;
            };
            let Some(input) = node.inputs.get(motion.slot).copied().flatten() else {
                break None;
            };
            let source = self.origin(frame, input, depth)?;
            links.push((next, Chain { source, motion }));
            next = source.unit;
        };
        // ... and down again, multiplying.
        let mut chain = known;
        if links.is_empty() {
            return once(&frame.units[unit].chain, || Ok(chain));
        }
        for (at, link) in links.into_iter().rev() {
            let whole = match chain {
                Some(Chain {
                    source,
                    motion: first,
                }) => {
                    let mut motion = link.motion;
                    motion.matrix = motion.matrix.after(first.matrix);
                    Chain { source, motion }
                }
                None => link,
            };
            chain = once(&frame.units[at].chain, || Ok(Some(whole)))?;
        }
        Ok(chain)
    }

    /// Windows and metadata of an output.
    pub fn format(&self, frame: &FrameState, source: Source, depth: usize) -> Result<Arc<Format>> {
        let Source { unit, output } = self.origin(frame, source, depth)?;
        once(&frame.units[unit].outputs[output].format, || {
            let key = self.key(frame, unit, depth)?;
            let chain = self.chain(frame, unit, depth)?;
            let node = self.program.units[unit].node;
            self.call(frame, unit, depth, Some((key, chain)), |at| {
                node.format(at, output)
            })
            .map(Arc::new)
        })
    }

    /// The one colour of an output, where it has but one and that is known without pixels.
    pub fn uniform(&self, frame: &FrameState, source: Source, depth: usize) -> Result<Option<Pixel>> {
        let Source { unit, output } = self.origin(frame, source, depth)?;
        once(&frame.units[unit].outputs[output].uniform, || {
            let node = self.program.units[unit].node;
            self.call(frame, unit, depth, None, |at| node.uniform(at, output))
        })
    }

    /// Whether the picture of a region node is made whole, since several want it or so many pixels are asked for that
    /// some would be made over and over (a turned picture, a wide blur).
    pub fn wants_whole(&self, source: Source, asked: u64, format: &Format) -> bool {
        let consumers = self.program.units[source.unit].consumers[source.output];
        consumers > 1 || asked > format.data.area() + format.data.area() / 2
    }

    /// The picture of an output inside a region, for the node `consumer` (if a node it is).
    pub fn pull(
        &self,
        frame: &FrameState,
        source: Source,
        region: Rect,
        consumer: Option<usize>,
        depth: usize,
    ) -> Result<Value> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if Crew::on_foreign_worker() {
            return Err(Error::message(
                "the node pulls an input from within a rayon task, where that may wait for itself; \
                 it must pull first and loop then (a fault in the node)",
            ));
        }
        let source = self.origin(frame, source, depth)?;
        let format = self.format(frame, source, depth)?;
        let unit = &self.program.units[source.unit];
        let socket = unit.outputs[source.output].socket;
        let window = region.intersect(format.data);
        if window.is_empty() {
            return Ok(empty(socket, &format));
        }
        let state = &frame.units[source.unit];
        if let Some(error) = state.failure.get() {
            return Err(error.clone());
        }
        match unit.node.temperament() {
            Temperament::Sink(_) => Err(Error::message(format!("`{}` has no picture to give", unit.name))),
            Temperament::Frame(renderer) => {
                if let Some(pieces) = self.pieces(frame, source.unit, renderer, depth)? {
                    return self.call(frame, source.unit, depth, None, |_| {
                        let mut going = self.begin(frame, source.unit, Work::Decode);
                        let piece = pieces.piece(window)?;
                        if let Some(going) = &mut going {
                            going.made(piece.bytes());
                        }
                        Ok(piece)
                    });
                }
                let values = self.rendered(frame, source.unit, depth)?;
                Ok(cut(&values[source.output], region, &format))
            }
            Temperament::Region(node) => {
                let output = &state.outputs[source.output];
                if let Some(whole) = output.whole.get() {
                    return Ok(cut(whole, region, &format));
                }
                if let Some(pixel) = self.uniform(frame, source, depth)? {
                    return Ok(uniform(pixel, &format, window));
                }
                let asked = output.asked.fetch_add(window.area(), Ordering::Relaxed) + window.area();
                let wants_whole = self.wants_whole(source, asked, &format);
                let worked_on = consumer.is_some_and(|unit| self.is_worked_on(frame, source.unit, unit));
                let consumer = consumer.map(|unit| &self.program.units[unit]);
                let whole_wanted =
                    window == format.data && consumer.is_some_and(|unit| unit.takes_whole_pictures());
                if !(wants_whole || worked_on || whole_wanted) {
                    // While somebody edits, it may have been kept for a node above it.
                    if self.engine.passing.expects_all_again()
                        && let Some(kept) = self
                            .engine
                            .store
                            .in_memory(&self.output_key(frame, source, depth)?)
                    {
                        return Ok(cut(output.whole.get_or_init(|| kept[0].clone()), region, &format));
                    }
                    return self.fill(frame, source, node, window, &format, depth);
                }
                let keep = if wants_whole || worked_on {
                    Keep::Memory
                } else {
                    Keep::No
                };
                let key = self.output_key(frame, source, depth)?;
                let whole = self.stored(frame, source.unit, key, keep, &mut || {
                    Ok(vec![self.fill(frame, source, node, format.data, &format, depth)?].into())
                })?;
                let whole = output.whole.get_or_init(|| whole[0].clone());
                Ok(cut(whole, region, &format))
            }
        }
    }

    /// All outputs of a frame node.
    fn rendered(&self, frame: &FrameState, unit: usize, depth: usize) -> Result<Values> {
        let state = &frame.units[unit];
        if let Some(known) = state.rendered.get() {
            return Ok(Arc::clone(known));
        }
        let node = &self.program.units[unit];
        let Temperament::Frame(renderer) = node.node.temperament() else {
            return Err(Error::message(format!(
                "`{}` does not render whole frames",
                node.name
            )));
        };
        let key = self.key(frame, unit, depth)?;
        for output in 0..node.outputs.len() {
            let format = self.format(frame, Source { unit, output }, depth)?;
            self.check_memory(
                frame,
                unit,
                &format,
                format.data,
                pixel_bytes(node.outputs[output].socket),
            )?;
        }
        let keep = if renderer.keep_on_disk() {
            Keep::Disk
        } else {
            Keep::Memory
        };
        let values = self.stored(frame, unit, key, keep, &mut || {
            let values = self.call(frame, unit, depth, Some((key, None)), |at| {
                let work = if node.inputs.is_empty() {
                    Work::Decode
                } else {
                    Work::Render
                };
                let mut going = self.begin(frame, unit, work);
                let values = renderer.render(at)?;
                if let Some(going) = &mut going {
                    going.made(unique_bytes(&values));
                }
                drop(going);
                let types = values.iter().map(Value::socket_type);
                if types.ne(node.outputs.iter().map(|output| output.socket)) {
                    return Err(Error::message(
                        "what it rendered is not what its outputs promise (a fault in the node)",
                    ));
                }
                Ok(values)
            })?;
            Ok(values.into())
        })?;
        if state.rendered.set(Arc::clone(&values)).is_ok() {
            frame.finish(node.effort());
            self.tell_progress(frame, unit, 0.0, 0);
        }
        Ok(values)
    }

    /// A result from the caches; made, by one thread alone, where they do not have it.
    pub fn stored(
        &self,
        frame: &FrameState,
        unit: usize,
        key: Key,
        keep: Keep,
        make: &mut dyn FnMut() -> Result<Values>,
    ) -> Result<Values> {
        let note = |note| self.tell_note(frame, unit, note);
        let asker = Asker {
            crew: &self.engine.crew,
            cancel: self.cancel,
            note: &note,
            found: &|hit, bytes| {
                if let Some(mut looked) = self.begin(frame, unit, Work::Cache) {
                    looked.found(hit);
                    looked.made(bytes);
                }
            },
        };
        self.engine.store.get(key, keep, &asker, make)
    }

    /// Begins a stretch of work, where somebody wants to know of it.
    pub fn begin(&self, frame: &FrameState, unit: usize, work: Work) -> Option<Going<'e>> {
        let trace = self.engine.trace.as_ref()?;
        Some(trace.begin(self.program.units[unit].name, frame.number, work))
    }

    /// Lets a node do one thing: with its view of the graph, on a stack that is deep enough, guarded against
    /// panics; its errors get its name. `known` is the node's key and chain, once they are made.
    pub fn call<T: Send>(
        &self,
        frame: &FrameState,
        unit: usize,
        depth: usize,
        known: Option<(Key, Option<Chain>)>,
        work: impl FnOnce(&At<'_>) -> Result<T> + Send,
    ) -> Result<T> {
        let (key, chain) = known.map_or((None, None), |(key, chain)| (Some(key), chain));
        let guarded = || {
            let desk = Desk {
                eval: *self,
                frame,
                unit,
                depth,
                chain,
            };
            let motion = chain.map(|chain| chain.motion);
            let at = At {
                frame: frame.number,
                key,
                motion,
                world: &desk,
                inputs: &desk,
            };
            panic::catch_unwind(AssertUnwindSafe(|| work(&at))).unwrap_or_else(|panic| Err(panicked(&*panic)))
        };
        let result = if depth > 0 && depth.is_multiple_of(STACK_DEPTH) {
            Crew::on_fresh_stack(guarded)
                .unwrap_or_else(|| Err(Error::message("the system has no thread to spare")))
        } else {
            guarded()
        };
        result.map_err(|error| self.named(frame, unit, error))
    }

    /// An error with the name of the node in which it arose; the node is not asked again at this frame.
    pub fn named(&self, frame: &FrameState, unit: usize, error: Error) -> Error {
        let error = match error {
            Error::Cancelled => return Error::Cancelled,
            Error::Upstream(_) => error,
            error => {
                let failure = self.program.failure(unit, frame.number, error);
                Error::Upstream(Arc::new(NodeError { failure }))
            }
        };
        frame.units[unit].failure.get_or_init(|| error).clone()
    }

    /// Refuses a picture that alone is larger than the memory allowed.
    pub fn check_memory(
        &self,
        frame: &FrameState,
        unit: usize,
        format: &Format,
        window: Rect,
        pixel_bytes: u64,
    ) -> Result<()> {
        let pixels = match format.layers.as_slice() {
            [] => window.area(),
            layers => layers.iter().fold(0, |sum: u64, layer| {
                sum.saturating_add(layer.data.intersect(window).area())
            }),
        };
        let bytes = pixels.saturating_mul(pixel_bytes);
        let limit = self.engine.options.memory_bytes;
        if bytes <= limit {
            return Ok(());
        }
        let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        let text = format!(
            "its picture of {window} pixels takes {:.2} GiB, more than the {:.2} GiB of memory allowed; \
             allow more (`--memory`) or make the picture smaller",
            gib(bytes),
            gib(limit)
        );
        Err(self.named(frame, unit, Error::message(text)))
    }

    pub fn tell_note(&self, frame: &FrameState, unit: usize, note: Note) {
        let node = self.program.units[unit].name.to_owned();
        (self.events)(Event::Note {
            frame: frame.number,
            node,
            note,
        });
    }

    /// Tells how far the frame is when `unit` has done `share` of its `effort`.
    pub fn tell_progress(&self, frame: &FrameState, unit: usize, share: f32, effort: u32) {
        if let Some(share) = frame.share(effort, share) {
            let node = self.program.units[unit].name.to_owned();
            (self.events)(Event::Progress {
                frame: frame.number,
                node,
                share,
            });
        }
    }
}

/// The last line of defence: a panic in a node is that node's error.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let what = panic.downcast_ref::<&str>().copied();
    let what = what
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given");
    Error::message(format!(
        "it panicked: {what}; this is a fault in Peel, please report it"
    ))
}
