//! The Node trait, in its three temperaments.

use std::path::{Path, PathBuf};

use peel_image::{Filter, Matrix, Pixel, Rect};

use crate::{At, Format, Key, KeyBuilder, Result, SocketType, Value};

/// A socket that a node offers to others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// What follows the dot in `node.output`.
    pub name: String,
    /// What flows out of it.
    pub socket: SocketType,
}

impl Output {
    /// The only output of most nodes; reached by the node's name alone.
    pub fn only(socket: SocketType) -> Vec<Output> {
        vec![Output {
            name: "out".to_owned(),
            socket,
        }]
    }
}

/// A node with its parameters read and checked. The parameters themselves, and the keys of the inputs,
/// enter the content key by themselves.
pub trait Node: Send + Sync {
    /// The sockets it offers; the first is meant where an edge names the node alone.
    fn outputs(&self) -> Vec<Output>;

    /// How it wants to be called.
    fn temperament(&self) -> Temperament<'_>;

    /// Windows and metadata of an output at a frame. Computes no pixels; may read file headers.
    fn format(&self, at: &At<'_>, output: usize) -> Result<Format>;

    /// Adds to the content key what neither the parameters nor the inputs say: identities of files,
    /// digests of weights.
    fn identity(&self, _at: &At<'_>, _key: &mut KeyBuilder) -> Result<()> {
        Ok(())
    }

    /// The frames at which it looks at the input on `slot` while it makes `frame`: the same one, unless it
    /// shifts, holds or mixes time. The inputs' keys at these frames enter the content key, so a frame that is
    /// not announced here cannot be pulled; see [`At::on_frame`].
    fn input_frames(&self, _slot: usize, frame: i32) -> Vec<i32> {
        vec![frame]
    }

    /// Further frames at which it looks at the input on `slot` where there are any: one that is missing there is passed
    /// over, where a missing one of [`Node::input_frames`] is an error. What is there, and what is not, enters
    /// the content key.
    fn neighbour_frames(&self, _slot: usize, _frame: i32) -> Vec<i32> {
        Vec::new()
    }

    /// The slot whose socket type its outputs take, whatever [`Node::outputs`] says of types: for a node that
    /// hands on layers, mattes and stacks alike.
    fn typed_like(&self) -> Option<usize> {
        None
    }

    /// The input slot whose picture this output is, untouched, at this frame: a node at its defaults. The
    /// engine then uses the input, under the input's key.
    fn pass_through(&self, _at: &At<'_>, _output: usize) -> Option<usize> {
        None
    }

    /// The one colour that this output has in its whole data window, where it has but one and that is known without
    /// pixels. The engine then asks for no pixels.
    fn uniform(&self, _at: &At<'_>, _output: usize) -> Result<Option<Pixel>> {
        Ok(None)
    }

    /// The motion that this node applies to its input, where it does nothing else. Chains of such nodes
    /// are multiplied out: the last one is asked for pixels, with the product as [`At::motion`].
    fn motion(&self, _at: &At<'_>) -> Option<Motion> {
        None
    }
}

/// A change of place and nothing else.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Motion {
    /// The input slot that is moved.
    pub slot: usize,
    /// From input pixels to output pixels.
    pub matrix: Matrix,
    /// How pixels are interpolated; the last node of a chain decides.
    pub filter: Filter,
}

/// How a node wants to be called.
pub enum Temperament<'a> {
    /// For bands or tiles, in parallel, never holding a whole frame.
    Region(&'a dyn RegionNode),
    /// Once a frame; all outputs are cached under the node's content key, in memory and on disk.
    Frame(&'a dyn FrameNode),
    /// Once a frame, for its effect: it writes a file.
    Sink(&'a dyn SinkNode),
}

/// Fills regions.
pub trait RegionNode: Node {
    /// The pixels of `output` inside `region`, which lies within the format's data window. The value's data
    /// window is `region` (for a stack: each layer's own window cut to `region`). Inputs are pulled through
    /// `at`, only as far as needed. Same pixels, whatever the regions asked for.
    fn fill(&self, at: &At<'_>, output: usize, region: Rect) -> Result<Value>;
}

/// Renders whole frames.
pub trait FrameNode: Node {
    /// All outputs at this frame, in the order of [`Node::outputs`].
    fn render(&self, at: &At<'_>) -> Result<Vec<Value>>;

    /// The results that it keeps through [`World::cached`](crate::World::cached) under keys of their own: for the plan of
    /// a frame. Computes nothing but keys.
    fn steps(&self, _at: &At<'_>) -> Result<Vec<KeptStep>> {
        Ok(Vec::new())
    }

    /// Whether the result is worth keeping on disk (Decompose) or cheaper to make again (Read).
    fn keep_on_disk(&self) -> bool {
        false
    }

    /// The picture of its only output in pieces, where that is possible and costs no more than the whole: a file of
    /// rows. Asks for no inputs. The engine opens it once a frame, and renders whole what is wanted more often.
    fn pieces(&self, _at: &At<'_>) -> Result<Option<Box<dyn Pieces>>> {
        Ok(None)
    }

    /// Whether it takes most of a frame's time, to go by which progress is told.
    fn is_dear(&self) -> bool {
        self.keep_on_disk()
    }
}

/// A part of a frame node's work whose result is kept under a key of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptStep {
    /// What it is about, such as a mask's name.
    pub name: String,
    /// The frame that it is a step of: another one than is rendered where frames help each other.
    pub frame: i32,
    /// Its key.
    pub key: Key,
    /// The other frames at whose inputs it looks, in ascending order.
    pub looks_at: Vec<i32>,
}

/// The picture of a frame node, made where it is wanted.
pub trait Pieces: Send + Sync {
    /// The pixels inside `region`, which lies within the format's data window and is the value's. Called from many
    /// threads, also for regions that overlap.
    fn piece(&self, region: Rect) -> Result<Value>;
}

/// Writes files.
pub trait SinkNode: Node {
    /// The file that this frame goes to.
    fn path(&self, at: &At<'_>) -> Result<PathBuf>;

    /// Whether the file that is there is whole and is what this node would write: so that it can be left. A sort of
    /// file that cannot tell is written again. [`At::key`] is the key that the file should have been written under.
    fn is_current(&self, _at: &At<'_>, _path: &Path) -> Result<bool> {
        Ok(false)
    }

    /// Writes the frame, whole or not at all.
    fn write(&self, at: &At<'_>) -> Result<Written>;
}

/// What a sink did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}
