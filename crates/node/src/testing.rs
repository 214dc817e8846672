//! A world and inputs in memory, so that a node can be tested without graph and engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use peel_image::{ColourSpace, Rect};

use crate::world::Resource;
use crate::{
    At, Device, Error, FileIdentity, Format, Inputs, Key, KeyBuilder, LayerFormat, Note, Result, Value, World,
};

/// A world around one folder. Change its fields before use; notes and cached results can be looked at after.
pub struct TestWorld {
    /// Where relative paths start.
    pub folder: PathBuf,
    /// Where models are looked up by name.
    pub weights: PathBuf,
    /// The graph's working space.
    pub working_space: ColourSpace,
    /// The device that Decompose is told to use.
    pub device: Device,
    /// How much memory a file may ask for.
    pub budget: peel_io::Budget,
    /// Whether the user asked to stop.
    pub cancelled: AtomicBool,
    notes: Mutex<Vec<Note>>,
    shares: Mutex<Vec<f32>>,
    resources: Mutex<BTreeMap<Key, Resource>>,
    results: Mutex<BTreeMap<Key, Vec<Value>>>,
}

impl TestWorld {
    /// A world around this folder, on the processor, in linear Rec.709.
    pub fn new(folder: impl Into<PathBuf>) -> TestWorld {
        let folder = folder.into();
        TestWorld {
            weights: folder.clone(),
            folder,
            working_space: ColourSpace::LinearRec709,
            device: Device::Cpu,
            budget: peel_io::Budget::default(),
            cancelled: AtomicBool::new(false),
            notes: Mutex::default(),
            shares: Mutex::default(),
            resources: Mutex::default(),
            results: Mutex::default(),
        }
    }

    /// What the user was told.
    pub fn notes(&self) -> Vec<Note> {
        lock(&self.notes).clone()
    }

    /// The progress that was told, in order.
    pub fn progress_told(&self) -> Vec<f32> {
        lock(&self.shares).clone()
    }

    /// The keys of the results that were cached.
    pub fn cached_keys(&self) -> Vec<Key> {
        lock(&self.results).keys().copied().collect()
    }

    /// A node's view of these inputs at a frame.
    pub fn at<'a>(&'a self, inputs: &'a TestInputs, frame: i32) -> At<'a> {
        let key = KeyBuilder::new("test").int(frame.into()).finish();
        At {
            frame,
            key: Some(key),
            motion: None,
            world: self,
            inputs,
        }
    }
}

/// A test that panicked while it held a lock has failed already; the others may go on.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World for TestWorld {
    fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    fn identity(&self, path: &Path) -> Result<FileIdentity> {
        let failed = |error: std::io::Error| Error::message(format!("{}: {error}", path.display()));
        let data = std::fs::metadata(path).map_err(failed)?;
        let modified = data
            .modified()
            .map_err(failed)?
            .duration_since(std::time::UNIX_EPOCH);
        Ok(FileIdentity {
            path: path.to_owned(),
            size: data.len(),
            modified: modified.map_or(0, |since| since.as_nanos() as i128),
        })
    }

    fn budget(&self) -> peel_io::Budget {
        self.budget
    }

    fn working_space(&self) -> ColourSpace {
        self.working_space
    }

    fn fingerprint(&self) -> Key {
        KeyBuilder::new("test graph").finish()
    }

    fn device(&self) -> Device {
        self.device
    }

    fn model_folder(&self, model: &str) -> Result<PathBuf> {
        let folder = self.weights.join(model);
        if folder.is_dir() {
            Ok(folder)
        } else {
            Err(Error::message(format!(
                "no model `{model}` in {}",
                self.weights.display()
            )))
        }
    }

    fn resource(&self, key: Key, make: &mut dyn FnMut() -> Result<Resource>) -> Result<Resource> {
        if let Some(found) = lock(&self.resources).get(&key) {
            return Ok(Arc::clone(found));
        }
        let made = make()?;
        lock(&self.resources).insert(key, Arc::clone(&made));
        Ok(made)
    }

    fn cached(&self, key: Key, make: &mut dyn FnMut() -> Result<Vec<Value>>) -> Result<Vec<Value>> {
        if let Some(found) = lock(&self.results).get(&key) {
            return Ok(found.clone());
        }
        let made = make()?;
        lock(&self.results).insert(key, made.clone());
        Ok(made)
    }

    fn progress(&self, share: f32) -> bool {
        lock(&self.shares).push(share);
        !self.cancelled()
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn note(&self, note: Note) {
        lock(&self.notes).push(note);
    }
}

/// Values on input slots, the same at every frame that is not told apart.
#[derive(Default)]
pub struct TestInputs {
    slots: Vec<(Format, Value)>,
    /// Frames with other inputs; `None` where there are none.
    frames: BTreeMap<i32, Option<TestInputs>>,
}

impl TestInputs {
    /// No inputs yet.
    pub fn new() -> TestInputs {
        TestInputs::default()
    }

    /// Connects the next slot to a value; its format is read off it.
    pub fn with(self, value: impl Into<Value>) -> TestInputs {
        let value = value.into();
        let format = format_of(&value);
        self.with_format(format, value)
    }

    /// Connects the next slot to a value of this format, for instance with attributes.
    pub fn with_format(mut self, format: Format, value: impl Into<Value>) -> TestInputs {
        self.slots.push((format, value.into()));
        self
    }

    /// Other inputs at one frame; `None` where the frame is missing.
    pub fn at_frame(mut self, frame: i32, inputs: impl Into<Option<TestInputs>>) -> TestInputs {
        self.frames.insert(frame, inputs.into());
        self
    }

    fn slot(&self, slot: usize, frame: i32) -> Result<&(Format, Value)> {
        let inputs = match self.frames.get(&frame) {
            Some(Some(inputs)) => inputs,
            Some(None) => return Err(Error::message(format!("there is no frame {frame}"))),
            None => self,
        };
        inputs
            .slots
            .get(slot)
            .ok_or_else(|| Error::message(format!("the test connects nothing to slot {slot}")))
    }
}

impl Inputs for TestInputs {
    fn format(&self, slot: usize, frame: i32) -> Result<Format> {
        Ok(self.slot(slot, frame)?.0.clone())
    }

    fn key(&self, slot: usize, frame: i32) -> Result<Key> {
        Ok(key_of(&self.slot(slot, frame)?.1))
    }

    fn pull(&self, slot: usize, frame: i32, region: Rect) -> Result<Value> {
        let (format, value) = self.slot(slot, frame)?;
        Ok(cut(value, region.intersect(format.data)))
    }
}

/// The format of a value without metadata.
pub fn format_of(value: &Value) -> Format {
    match value {
        Value::Layer(layer) => Format {
            pixel_aspect: layer.pixel_aspect(),
            ..Format::new(layer.display(), layer.data())
        },
        Value::Matte(matte) => Format::new(matte.display(), matte.data()),
        Value::Stack(stack) => Format {
            pixel_aspect: stack
                .layers
                .first()
                .map_or(1.0, |bottom| bottom.layer.pixel_aspect()),
            layers: stack
                .layers
                .iter()
                .map(|named| LayerFormat {
                    name: named.name.clone(),
                    data: named.layer.data(),
                })
                .collect(),
            ..Format::new(stack.display(), stack.data())
        },
    }
}

/// A value inside `region`.
pub fn cut(value: &Value, region: Rect) -> Value {
    match value {
        Value::Layer(layer) => Value::from(layer.crop(region)),
        Value::Matte(matte) => Value::from(matte.crop(region)),
        Value::Stack(stack) => {
            let mut stack = stack.as_ref().clone();
            for named in &mut stack.layers {
                named.layer = Arc::new(named.layer.crop(region.intersect(named.layer.data())));
            }
            Value::from(stack)
        }
    }
}

/// A key of a value's pixels.
fn key_of(value: &Value) -> Key {
    let mut key = KeyBuilder::new("test value");
    let mut layer = |layer: &peel_image::Layer| {
        key.str(&format!("{:?} {:?}", layer.display(), layer.data()));
        for channel in layer.pixels().iter().flatten() {
            key.float(f64::from(*channel));
        }
    };
    match value {
        Value::Layer(only) => layer(only),
        Value::Stack(stack) => {
            for named in &stack.layers {
                layer(&named.layer);
            }
            key.int(stack.layers.len() as i128);
            for named in &stack.layers {
                key.str(&named.name);
            }
        }
        Value::Matte(matte) => {
            key.str(&format!("{:?} {:?}", matte.display(), matte.data()));
            for value in matte.values() {
                key.float(f64::from(*value));
            }
        }
    }
    key.finish()
}

#[cfg(test)]
mod tests {
    use peel_image::{Layer, Matte};

    use super::*;
    use crate::{Input, socket};

    #[test]
    fn inputs_are_cut_to_region_and_window() {
        let frame = Rect::of_size(8, 8);
        let inputs = TestInputs::new()
            .with(Layer::from_fn(frame, Rect::new(2, 2, 6, 6), |x, _| [x as f32; 4]))
            .with(Matte::new(frame, frame));
        let world = TestWorld::new(".");
        let at = world.at(&inputs, 1001);
        let layer = at
            .layer(&Input::<socket::Layer>::on_slot(0), Rect::new(0, 0, 4, 4))
            .unwrap();
        assert_eq!(layer.data(), Rect::new(2, 2, 4, 4));
        assert_eq!(layer.get(3, 3), [3.0; 4]);
        let error = at.layer(&Input::<socket::Layer>::on_slot(1), frame).unwrap_err();
        assert!(error.to_string().contains("is a Matte"), "{error}");
        assert!(at.format(&Input::<socket::Any>::on_slot(2)).is_err());
    }

    #[test]
    fn the_cache_makes_once() {
        let world = TestWorld::new(".");
        let key = KeyBuilder::new("k").finish();
        let mut made = 0;
        for _ in 0..2 {
            let mut make = || {
                made += 1;
                Ok(Vec::new())
            };
            world.cached(key, &mut make).unwrap();
        }
        assert_eq!((made, world.cached_keys()), (1, vec![key]));
    }
}
