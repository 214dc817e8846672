//! A node's view of the graph at one frame: its inputs and the world.

use std::sync::Arc;

use peel_image::{Layer, Matte, Pixel, Rect, Stack};

use crate::node::Motion;
use crate::{Error, Format, Input, Key, Result, Value, World};

/// What the engine gives a node: its inputs by slot. Implemented by the engine and by tests.
pub trait Inputs: Send + Sync {
    /// Windows and metadata of the picture on this slot at a frame.
    fn format(&self, slot: usize, frame: i32) -> Result<Format>;
    /// Content key of the picture on this slot at a frame.
    fn key(&self, slot: usize, frame: i32) -> Result<Key>;
    /// The one colour of the picture on this slot, see [`Node::uniform`](crate::Node::uniform).
    fn uniform(&self, _slot: usize, _frame: i32) -> Result<Option<Pixel>> {
        Ok(None)
    }
    /// The picture on this slot at a frame, inside `region` only. Regions outside the data window are cut off.
    fn pull(&self, slot: usize, frame: i32, region: Rect) -> Result<Value>;
    /// The same for several regions, each handed to `take`: on as many threads as are free, in any order.
    fn pull_each(&self, slot: usize, frame: i32, regions: &[Rect], take: &Take<'_>) -> Result<()> {
        let mut regions = regions.iter();
        regions.try_for_each(|&region| take(region, self.pull(slot, frame, region)?))
    }
}

/// What is done with each of several regions of an input.
pub type Take<'a> = dyn Fn(Rect, Value) -> Result<()> + Sync + 'a;

/// A frame, the inputs at it, and the world.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The frame.
    pub frame: i32,
    /// Content key of this node at this frame, for metadata and for keys of its own parts; `None` while
    /// the key itself is being made.
    pub key: Option<Key>,
    /// The product of a chain of motions that ends at this node, and the input that it starts from.
    pub motion: Option<Motion>,
    /// Files, device, weights, cache.
    pub world: &'a dyn World,
    /// The inputs, by slot.
    pub inputs: &'a dyn Inputs,
}

impl<'a> At<'a> {
    /// The same inputs at another frame, one that [`Node::input_frames`](crate::Node::input_frames) or
    /// [`Node::neighbour_frames`](crate::Node::neighbour_frames) announces.
    /// The node itself stays where it is: there it has neither a key nor a chain of motions.
    pub fn on_frame(self, frame: i32) -> At<'a> {
        At {
            frame,
            key: None,
            motion: None,
            ..self
        }
    }

    /// Windows and metadata of an input.
    pub fn format<S>(&self, input: &Input<S>) -> Result<Format> {
        self.inputs.format(input.slot, self.frame)
    }

    /// Content key of an input.
    pub fn input_key<S>(&self, input: &Input<S>) -> Result<Key> {
        self.inputs.key(input.slot, self.frame)
    }

    /// The one colour of an input, where it has but one and that is known without pixels.
    pub fn uniform<S>(&self, input: &Input<S>) -> Result<Option<Pixel>> {
        self.inputs.uniform(input.slot, self.frame)
    }

    /// An input of any type, inside `region`.
    pub fn value<S>(&self, input: &Input<S>, region: Rect) -> Result<Value> {
        self.inputs.pull(input.slot, self.frame, region)
    }

    /// An input of any type in several regions, each handed to `take` as soon as it is there: on as many threads as
    /// are free, in any order. For sinks, which so need never hold the whole picture.
    pub fn each<S>(&self, input: &Input<S>, regions: &[Rect], take: &Take<'_>) -> Result<()> {
        self.inputs.pull_each(input.slot, self.frame, regions, take)
    }

    /// The layer on an input, inside `region`.
    pub fn layer<S>(&self, input: &Input<S>, region: Rect) -> Result<Arc<Layer>> {
        match self.value(input, region)? {
            Value::Layer(layer) => Ok(layer),
            other => Err(wrong_type(input, "Layer", &other)),
        }
    }

    /// The matte on an input, inside `region`.
    pub fn matte<S>(&self, input: &Input<S>, region: Rect) -> Result<Arc<Matte>> {
        match self.value(input, region)? {
            Value::Matte(matte) => Ok(matte),
            other => Err(wrong_type(input, "Matte", &other)),
        }
    }

    /// The stack on an input, inside `region`.
    pub fn stack<S>(&self, input: &Input<S>, region: Rect) -> Result<Arc<Stack>> {
        match self.value(input, region)? {
            Value::Stack(stack) => Ok(stack),
            other => Err(wrong_type(input, "Stack", &other)),
        }
    }
}

/// Edges are checked before anything runs, so this tells of a fault in a node, not in a graph.
fn wrong_type<S>(input: &Input<S>, wanted: &str, found: &Value) -> Error {
    Error::message(format!(
        "`{}` is a {}, but the node reads it as a {wanted}",
        input.edge,
        found.socket_type()
    ))
}
