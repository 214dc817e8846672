//! Nodes made for tests; each counts how often it was asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use peel_image::{Filter, Layer, Matrix, Rect};
use peel_node::{
    At, Error, Format, FrameNode, KeyBuilder, Motion, Node, Output, RegionNode, Result, SinkNode, SocketType,
    Temperament, Value, Written,
};

pub type Count = Arc<AtomicUsize>;

pub fn count(counter: &Count) -> usize {
    counter.load(Ordering::SeqCst)
}

pub fn layer_of(value: Value) -> Arc<Layer> {
    match value {
        Value::Layer(layer) => layer,
        other => panic!("{other:?}"),
    }
}

fn pull(at: &At<'_>, slot: usize, region: Rect) -> Result<Arc<Layer>> {
    Ok(layer_of(at.inputs.pull(slot, at.frame, region)?))
}

/// A picture that names its pixels.
#[derive(Default)]
pub struct Ramp {
    pub window: Rect,
    pub filled: Count,
    /// Pixels made.
    pub pixels: Count,
}

impl Node for Ramp {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }
    fn temperament(&self) -> Temperament<'_> {
        Temperament::Region(self)
    }
    fn format(&self, _: &At<'_>, _: usize) -> Result<Format> {
        Ok(Format::new(self.window, self.window))
    }
}

impl RegionNode for Ramp {
    fn fill(&self, at: &At<'_>, _: usize, region: Rect) -> Result<Value> {
        self.filled.fetch_add(1, Ordering::SeqCst);
        self.pixels.fetch_add(region.area() as usize, Ordering::SeqCst);
        let f = at.frame as f32;
        Ok(Layer::from_fn(self.window, region, |x, y| [x as f32, y as f32, f, 1.0]).into())
    }
}

/// The mean of a square around each pixel.
pub struct Blur {
    pub radius: i32,
}

impl Node for Blur {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }
    fn temperament(&self) -> Temperament<'_> {
        Temperament::Region(self)
    }
    fn format(&self, at: &At<'_>, _: usize) -> Result<Format> {
        at.inputs.format(0, at.frame)
    }
}

impl RegionNode for Blur {
    fn fill(&self, at: &At<'_>, _: usize, region: Rect) -> Result<Value> {
        let r = self.radius;
        let input = pull(at, 0, region.grow(r))?;
        let mean = |x: i32, y: i32| {
            let mut sum = [0.0; 4];
            for (dy, dx) in (-r..=r).flat_map(|dy| (-r..=r).map(move |dx| (dy, dx))) {
                let pixel = input.get(x + dx, y + dy);
                (0..4).for_each(|c| sum[c] += pixel[c]);
            }
            sum.map(|v| v / ((2 * r + 1) * (2 * r + 1)) as f32)
        };
        Ok(Layer::from_fn(input.display(), region, mean).into())
    }
}

/// All inputs added up.
pub struct Sum {
    pub inputs: usize,
}

impl Node for Sum {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }
    fn temperament(&self) -> Temperament<'_> {
        Temperament::Region(self)
    }
    fn format(&self, at: &At<'_>, _: usize) -> Result<Format> {
        at.inputs.format(0, at.frame)
    }
}

impl RegionNode for Sum {
    fn fill(&self, at: &At<'_>, _: usize, region: Rect) -> Result<Value> {
        let mut sum = Layer::clone(&*pull(at, 0, region)?);
        for slot in 1..self.inputs {
            let other = pull(at, slot, region)?;
            sum = Layer::from_fn(sum.display(), region, |x, y| {
                let (a, b) = (sum.get(x, y), other.get(x, y));
                [0, 1, 2, 3].map(|c| a[c] + b[c])
            });
        }
        Ok(sum.into())
    }
}

/// Moves by whole pixels; says so.
pub struct Shift {
    pub by: (i32, i32),
    pub filled: Count,
}

impl Node for Shift {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }
    fn temperament(&self) -> Temperament<'_> {
        Temperament::Region(self)
    }
    fn format(&self, at: &At<'_>, _: usize) -> Result<Format> {
        let (dx, dy) = moved(at);
        let input = at.inputs.format(0, at.frame)?;
        let data = input.data.translate(dx, dy);
        Ok(input.with_data(data))
    }
    fn motion(&self, at: &At<'_>) -> Option<Motion> {
        // As a node would that turns around the middle of its input.
        at.inputs.format(0, at.frame).ok()?;
        let matrix = Matrix::translate(self.by.0.into(), self.by.1.into());
        Some(Motion {
            slot: 0,
            matrix,
            filter: Filter::default(),
        })
    }
    fn pass_through(&self, _: &At<'_>, _: usize) -> Option<usize> {
        (self.by == (0, 0)).then_some(0)
    }
}

fn moved(at: &At<'_>) -> (i32, i32) {
    at.motion.unwrap().matrix.whole_pixels().unwrap()
}

impl RegionNode for Shift {
    fn fill(&self, at: &At<'_>, _: usize, region: Rect) -> Result<Value> {
        self.filled.fetch_add(1, Ordering::SeqCst);
        let (dx, dy) = moved(at);
        let input = pull(at, 0, region.translate(-dx, -dy))?;
        Ok(Layer::from_fn(input.display(), region, |x, y| input.get(x - dx, y - dy)).into())
    }
}

/// A slow node that renders whole frames and wants them kept.
#[derive(Default)]
pub struct Slow {
    pub inputs: usize,
    pub rendered: Count,
    pub keep: bool,
    pub pause: Duration,
    /// Fails with these words.
    pub fails: Option<&'static str>,
    pub panics: bool,
    pub only_at: Option<i32>,
}

const SIZE: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 40,
    y1: 30,
};

impl Node for Slow {
    fn outputs(&self) -> Vec<Output> {
        ["a", "b"]
            .map(|name| Output {
                name: name.to_owned(),
                socket: SocketType::Layer,
            })
            .to_vec()
    }
    fn temperament(&self) -> Temperament<'_> {
        Temperament::Frame(self)
    }
    fn format(&self, _: &At<'_>, _: usize) -> Result<Format> {
        Ok(Format::new(SIZE, SIZE))
    }
}

impl FrameNode for Slow {
    fn render(&self, at: &At<'_>) -> Result<Vec<Value>> {
        self.rendered.fetch_add(1, Ordering::SeqCst);
        for _ in 0..10 {
            std::thread::sleep(self.pause / 10);
            if at.world.cancelled() {
                return Err(Error::Cancelled);
            }
        }
        if self.only_at.is_none_or(|frame| frame == at.frame) {
            if let Some(text) = self.fails {
                return Err(Error::message(text));
            }
            assert!(!self.panics, "on purpose");
        }
        let mut sum = 0.0;
        for slot in 0..self.inputs {
            sum += pull(at, slot, SIZE)?
                .pixels()
                .iter()
                .map(|pixel| pixel[0])
                .sum::<f32>();
        }
        let flat = |v: f32| Value::from(Layer::from_fn(SIZE, SIZE, |x, _| [v + x as f32; 4]));
        Ok(vec![flat(sum), flat(sum + 1.0)])
    }
    fn keep_on_disk(&self) -> bool {
        self.keep
    }
}

/// Writes the first channel as bytes.
pub struct Save {
    pub folder: PathBuf,
    pub name: &'static str,
    pub numbered: bool,
}

impl Node for Save {
    fn outputs(&self) -> Vec<Output> {
        Vec::new()
    }
    fn temperament(&self) -> Temperament<'_> {
        Temperament::Sink(self)
    }
    fn format(&self, at: &At<'_>, _: usize) -> Result<Format> {
        at.inputs.format(0, at.frame)
    }
    fn identity(&self, _: &At<'_>, key: &mut KeyBuilder) -> Result<()> {
        key.str(self.name);
        Ok(())
    }
}

impl SinkNode for Save {
    fn path(&self, at: &At<'_>) -> Result<PathBuf> {
        let frame = if self.numbered {
            at.frame.to_string()
        } else {
            String::new()
        };
        Ok(self.folder.join(format!("{}{frame}.bin", self.name)))
    }
    /// Whatever is not half a file.
    fn is_current(&self, _: &At<'_>, path: &Path) -> Result<bool> {
        Ok(std::fs::read(path).unwrap() != b"half")
    }
    fn write(&self, at: &At<'_>) -> Result<Written> {
        let path = self.path(at)?;
        let layer = pull(at, 0, at.inputs.format(0, at.frame)?.data)?;
        let bytes: Vec<u8> = layer
            .pixels()
            .iter()
            .flat_map(|pixel| pixel[0].to_le_bytes())
            .collect();
        let part = path.with_extension("part");
        std::fs::write(&part, &bytes)
            .and_then(|()| std::fs::rename(&part, &path))
            .unwrap();
        Ok(Written {
            path,
            bytes: bytes.len() as u64,
        })
    }
}

/// Two frames share a step and a resource; every result is kept under the step's key alone.
#[derive(Default)]
pub struct Stepped {
    pub steps: Count,
    pub loads: Count,
}

impl Node for Stepped {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }
    fn temperament(&self) -> Temperament<'_> {
        Temperament::Frame(self)
    }
    fn format(&self, _: &At<'_>, _: usize) -> Result<Format> {
        Ok(Format::new(SIZE, SIZE))
    }
    fn identity(&self, at: &At<'_>, key: &mut KeyBuilder) -> Result<()> {
        key.int(at.frame.into());
        Ok(())
    }
}

impl FrameNode for Stepped {
    fn render(&self, at: &At<'_>) -> Result<Vec<Value>> {
        let step = KeyBuilder::new("step").finish();
        at.world.cached(step, &mut || {
            let model = at.world.resource(KeyBuilder::new("model").finish(), &mut || {
                self.loads.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
                Ok(Arc::new(7.0f32))
            })?;
            self.steps.fetch_add(1, Ordering::SeqCst);
            let value = *model.downcast::<f32>().unwrap();
            Ok(vec![Layer::from_fn(SIZE, SIZE, |_, _| [value; 4]).into()])
        })
    }
}
