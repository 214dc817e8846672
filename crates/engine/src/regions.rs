//! Which regions of which nodes a render asks for, found by a walk over blank pictures.
//!
//! Region nodes are filled as a render fills them, but their inputs are transparent and only note what is asked of
//! them. What depends on pixels (a layer that hides those below it) so counts as asked for. What a frame node pulls is
//! not known before it runs: it counts as everything, unless its result is there already. Of other frames it counts as
//! everything that steps look at which are not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use peel_image::Rect;
use peel_node::{At, Error, Format, Inputs, Key, Result, Temperament, Value};

use crate::cut::blank;
use crate::desk::Desk;
use crate::eval::Evaluation;
use crate::frame::FrameState;
use crate::program::Source;
use crate::sync::lock;

/// What an output is asked for at a frame.
#[derive(Clone, Copy, Default)]
struct Asked {
    /// Around all regions.
    window: Rect,
    /// Of all regions, overlaps counted again.
    area: u64,
}

/// By unit, frame and output: the last unit first, which only those after it have asked.
type Wanted = BTreeMap<(usize, i32, usize), Asked>;

impl Evaluation<'_> {
    /// The regions that a render of this frame asks each unit for, around all its outputs, by frame.
    pub fn asked_regions(&self, frame: &FrameState) -> Vec<BTreeMap<i32, Rect>> {
        let mut found = vec![BTreeMap::new(); self.program.units.len()];
        let wanted = Mutex::new(Wanted::new());
        for &sink in &self.program.sinks {
            // What cannot be asked for fails in the render too, and is told there.
            let _ = self.ask_for_all(frame, sink, &wanted);
        }
        while let Some(((unit, number, output), asked)) = { lock(&wanted).pop_last() } {
            let window = self.on_frame(frame, number, |frame| {
                self.ask_behind(frame, Source { unit, output }, asked, &wanted)
            });
            if let Ok(window) = window {
                let all: &mut Rect = found[unit].entry(number).or_default();
                *all = all.union(window);
            }
        }
        found
    }

    /// Asks a unit's inputs for all that they have.
    fn ask_for_all(&self, frame: &FrameState, unit: usize, wanted: &Mutex<Wanted>) -> Result<()> {
        let node = &self.program.units[unit];
        for (slot, source) in node.inputs.iter().enumerate() {
            let Some(source) = *source else { continue };
            for number in node.node.input_frames(slot, frame.number) {
                self.on_frame(frame, number, |frame| {
                    self.note(frame, source, None, wanted).map(drop)
                })?;
            }
        }
        Ok(())
    }

    /// Notes that an output is asked for a region (for everything where it is `None`); its format and the part of the
    /// region that has pixels.
    fn note(
        &self,
        frame: &FrameState,
        source: Source,
        region: Option<Rect>,
        wanted: &Mutex<Wanted>,
    ) -> Result<(Source, std::sync::Arc<Format>, Rect)> {
        let source = self.origin(frame, source, 0)?;
        let format = self.format(frame, source, 0)?;
        let window = region.map_or(format.data, |region| region.intersect(format.data));
        if !window.is_empty() {
            let mut wanted = lock(wanted);
            let asked = wanted
                .entry((source.unit, frame.number, source.output))
                .or_default();
            asked.window = asked.window.union(window);
            asked.area += window.area();
        }
        Ok((source, format, window))
    }

    /// Notes what is asked for behind an output that is asked for something itself; what of it is made.
    fn ask_behind(
        &self,
        frame: &FrameState,
        source: Source,
        asked: Asked,
        wanted: &Mutex<Wanted>,
    ) -> Result<Rect> {
        let unit = &self.program.units[source.unit];
        let key = self.key(frame, source.unit, 0)?;
        match unit.node.temperament() {
            Temperament::Sink(_) => Ok(asked.window),
            Temperament::Frame(node) => {
                let holds = |key: &Key| self.engine.store.holds(key).is_some();
                if holds(&key) {
                    return Ok(asked.window);
                }
                self.ask_for_all(frame, source.unit, wanted)?;
                let steps = self.call(frame, source.unit, 0, Some((key, None)), |at| node.steps(at))?;
                let missing = steps.into_iter().filter(|step| !holds(&step.key));
                let others: BTreeSet<i32> = missing
                    .flat_map(|step| step.looks_at.into_iter().chain([step.frame]))
                    .filter(|&number| number != frame.number)
                    .collect();
                for (slot, input) in unit.inputs.iter().enumerate() {
                    let Some(input) = *input else { continue };
                    let announced = unit.node.neighbour_frames(slot, frame.number);
                    for number in announced.into_iter().filter(|number| others.contains(number)) {
                        // One that is not there is passed over.
                        let _ = self.on_frame(frame, number, |frame| {
                            self.note(frame, input, None, wanted).map(drop)
                        });
                    }
                }
                Ok(asked.window)
            }
            Temperament::Region(node) => {
                let format = self.format(frame, source, 0)?;
                let whole = self.wants_whole(source, asked.area, &format);
                let window = if whole { format.data } else { asked.window };
                let is_there = self
                    .engine
                    .store
                    .holds(&self.output_key(frame, source, 0)?)
                    .is_some();
                if is_there || self.uniform(frame, source, 0)?.is_some() {
                    return Ok(window);
                }
                let chain = self.chain(frame, source.unit, 0)?;
                for band in window.bands(self.band_rows(window)) {
                    self.call(frame, source.unit, 0, Some((key, chain)), |at| {
                        let desk = Desk {
                            eval: *self,
                            frame,
                            unit: source.unit,
                            depth: 0,
                            chain,
                        };
                        let inputs = Blank { desk, wanted };
                        node.fill(
                            &At {
                                inputs: &inputs,
                                ..*at
                            },
                            source.output,
                            band,
                        )
                    })?;
                }
                Ok(window)
            }
        }
    }
}

/// Inputs that are transparent and note what is asked of them.
struct Blank<'a> {
    desk: Desk<'a>,
    wanted: &'a Mutex<Wanted>,
}

impl Inputs for Blank<'_> {
    fn format(&self, slot: usize, frame: i32) -> Result<Format> {
        self.desk.format(slot, frame)
    }

    fn key(&self, slot: usize, frame: i32) -> Result<Key> {
        Inputs::key(&self.desk, slot, frame)
    }

    fn pull(&self, slot: usize, frame: i32, region: Rect) -> Result<Value> {
        let Desk { eval, .. } = self.desk;
        let shown = self.desk.shown(slot, frame)?;
        let note = |state: &FrameState| eval.note(state, shown, Some(region), self.wanted);
        let (source, format, window) = self.desk.on_frame(slot, frame, note)?;
        let unit = &eval.program.units[source.unit];
        match unit.outputs.get(source.output) {
            Some(output) => Ok(blank(output.socket, &format, window)),
            None => Err(Error::message(format!("`{}` has no such output", unit.name))),
        }
    }
}
