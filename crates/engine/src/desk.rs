//! A node's place at work: its inputs at one frame, and the world.

use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use peel_image::{ColourSpace, Pixel, Rect};
use peel_node::{
    Device, Error, FileIdentity, Format, Inputs, Key, Note, Resource, Result, Stretch, Take, Value, World,
};

use crate::eval::Evaluation;
use crate::frame::{Chain, FrameState};
use crate::program::Source;
use crate::store::Keep;
use crate::sync::lock;
use crate::trace::Work;
use crate::weights;

/// One node at one frame.
pub(crate) struct Desk<'a> {
    pub eval: Evaluation<'a>,
    pub frame: &'a FrameState,
    pub unit: usize,
    /// Nodes between here and the sink.
    pub depth: usize,
    /// Where the node ends a chain of motions: its moved slot then shows the picture before the first.
    pub chain: Option<Chain>,
}

impl Desk<'_> {
    /// What is connected to a slot.
    fn connected(&self, slot: usize) -> Result<Source> {
        let unit = &self.eval.program.units[self.unit];
        unit.inputs
            .get(slot)
            .copied()
            .flatten()
            .ok_or_else(|| Error::message(format!("it has no input on slot {slot} (a fault in the node)")))
    }

    /// What a slot shows at a frame; the chain of motions is one of the node's own frame.
    pub fn shown(&self, slot: usize, number: i32) -> Result<Source> {
        match self.chain {
            Some(chain) if chain.motion.slot == slot && number == self.frame.number => Ok(chain.source),
            _ => self.connected(slot),
        }
    }

    /// Looks at a slot on a frame; only on those that the content key covers.
    pub fn on_frame<T>(
        &self,
        slot: usize,
        number: i32,
        look: impl FnOnce(&FrameState) -> Result<T>,
    ) -> Result<T> {
        let node = self.eval.program.units[self.unit].node;
        let announced = node.input_frames(slot, self.frame.number).contains(&number)
            || node.neighbour_frames(slot, self.frame.number).contains(&number);
        if announced {
            return self.eval.on_frame(self.frame, number, look);
        }
        Err(Error::message(format!(
            "it looks at frame {number} of slot {slot}, which it has not announced (a fault in the node)"
        )))
    }
}

impl Inputs for Desk<'_> {
    fn format(&self, slot: usize, frame: i32) -> Result<Format> {
        let source = self.shown(slot, frame)?;
        let format = self.on_frame(slot, frame, |frame| {
            self.eval.format(frame, source, self.depth + 1)
        })?;
        Ok(Format::clone(&format))
    }

    /// Of what is connected, also where a chain of motions shows another picture: that key covers the whole
    /// chain.
    fn key(&self, slot: usize, frame: i32) -> Result<Key> {
        let source = self.connected(slot)?;
        self.on_frame(slot, frame, |frame| {
            self.eval.output_key(frame, source, self.depth + 1)
        })
    }

    fn uniform(&self, slot: usize, frame: i32) -> Result<Option<Pixel>> {
        let source = self.shown(slot, frame)?;
        self.on_frame(slot, frame, |frame| {
            self.eval.uniform(frame, source, self.depth + 1)
        })
    }

    fn pull(&self, slot: usize, frame: i32, region: Rect) -> Result<Value> {
        let source = self.shown(slot, frame)?;
        let waits = self.eval.program.units[self.unit].takes_whole_pictures();
        let going = waits.then(|| self.eval.begin(self.frame, self.unit, Work::Pull));
        let pulled = self.on_frame(slot, frame, |frame| {
            self.eval
                .pull(frame, source, region, Some(self.unit), self.depth + 1)
        });
        drop(going);
        pulled
    }

    fn pull_each(&self, slot: usize, frame: i32, regions: &[Rect], take: &Take<'_>) -> Result<()> {
        let work = |region| take(region, self.pull(slot, frame, region)?);
        self.eval.engine.crew.each(regions.to_vec(), work)
    }
}

impl World for Desk<'_> {
    fn resolve(&self, path: &str) -> PathBuf {
        self.eval.program.folder.join(path)
    }

    fn identity(&self, path: &Path) -> Result<FileIdentity> {
        let identity = identity(path);
        lock(self.eval.files)
            .entry(path.to_owned())
            .or_insert_with(|| identity.as_ref().ok().cloned());
        identity
    }

    fn budget(&self) -> peel_io::Budget {
        self.eval.engine.budget()
    }

    fn working_space(&self) -> ColourSpace {
        self.eval.program.working_space
    }

    fn fingerprint(&self) -> Key {
        self.eval.program.fingerprint
    }

    fn device(&self) -> Device {
        self.eval.engine.options.device
    }

    fn model_folder(&self, model: &str) -> Result<PathBuf> {
        weights::find_model(
            model,
            &self.eval.engine.options.weights_dirs,
            self.eval.program.folder,
        )
    }

    fn resource(&self, key: Key, make: &mut dyn FnMut() -> Result<Resource>) -> Result<Resource> {
        let Evaluation { engine, cancel, .. } = self.eval;
        engine.resources.get(key, &engine.crew, cancel, make)
    }

    fn cached(&self, key: Key, make: &mut dyn FnMut() -> Result<Vec<Value>>) -> Result<Vec<Value>> {
        let values = self
            .eval
            .stored(self.frame, self.unit, key, Keep::Disk, &mut || {
                let _going = self.eval.begin(self.frame, self.unit, Work::Step);
                Ok(make()?.into())
            })?;
        Ok(values.to_vec())
    }

    fn stretch(&self, stretch: Stretch, work: &mut dyn FnMut() -> Result<u64>) -> Result<()> {
        let kind = match stretch {
            Stretch::Decode => Work::Decode,
            Stretch::Encode => Work::Encode,
        };
        let mut going = self.eval.begin(self.frame, self.unit, kind);
        let bytes = work()?;
        if let Some(going) = &mut going {
            going.made(bytes);
        }
        Ok(())
    }

    fn progress(&self, share: f32) -> bool {
        let effort = self.eval.program.units[self.unit].effort();
        self.eval.tell_progress(self.frame, self.unit, share, effort);
        !self.cancelled()
    }

    fn cancelled(&self) -> bool {
        self.eval.cancel.is_cancelled()
    }

    fn note(&self, note: Note) {
        self.eval.tell_note(self.frame, self.unit, note);
    }
}

fn identity(path: &Path) -> Result<FileIdentity> {
    let failed = |source: io::Error| -> Error {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => peel_io::Error::Missing { path },
            _ => peel_io::Error::Read { path, source },
        }
        .into()
    };
    let meta = std::fs::metadata(path).map_err(failed)?;
    let modified = match meta.modified().map_err(failed)?.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    };
    Ok(FileIdentity {
        // Wherever the command was started: the path enters content keys, and those enter files.
        path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        size: meta.len(),
        modified,
    })
}
