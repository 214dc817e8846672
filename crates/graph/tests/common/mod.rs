//! A few kinds of nodes without pixels, and graphs made of them.
#![allow(dead_code)] // Each test program uses a part.

use std::path::{Path, PathBuf};

use peel_graph::{Diagnostics, Graph};
use peel_image::Rect;
use peel_node::{
    Animated, At, Choice, Format, FrameNode, Input, Node, NodeKind, Output, Params, RegionNode, Registry,
    Result, SinkNode, SocketType, Temperament, Value, Vec2, Written, socket,
};

macro_rules! node {
    ($type:ident, $temperament:ident, [$($name:literal: $socket:ident),*]) => {
        impl Node for $type {
            fn outputs(&self) -> Vec<Output> {
                vec![$(Output { name: $name.to_owned(), socket: SocketType::$socket }),*]
            }

            fn temperament(&self) -> Temperament<'_> {
                Temperament::$temperament(self)
            }

            fn format(&self, _at: &At<'_>, _output: usize) -> Result<Format> {
                Ok(Format::new(Rect::EMPTY, Rect::EMPTY))
            }
        }
    };
}

/// A source.
#[derive(Params)]
pub struct Load {
    /// The file.
    #[allow(dead_code)]
    path: peel_node::FilePath,
}
node!(Load, Frame, ["out": Layer]);

impl FrameNode for Load {
    fn render(&self, _at: &At<'_>) -> Result<Vec<Value>> {
        Ok(Vec::new())
    }
}

/// Gives one of each type.
#[derive(Params)]
pub struct Split {
    /// What is split.
    #[allow(dead_code)]
    input: Input<socket::Layer>,
    /// Where to.
    #[param(default = Way::Up)]
    #[allow(dead_code)]
    way: Way,
}
node!(Split, Frame, ["layer": Layer, "matte": Matte, "stack": Stack]);

impl FrameNode for Split {
    fn render(&self, _at: &At<'_>) -> Result<Vec<Value>> {
        Ok(Vec::new())
    }
}

/// A choice.
#[derive(Choice)]
pub enum Way {
    /// Up.
    Up,
    /// By so much.
    By(f32),
}

/// Moves.
#[derive(Params)]
pub struct Move {
    /// What moves.
    #[allow(dead_code)]
    input: Input<socket::Layer>,
    /// How far.
    #[param(default = Vec2::ZERO, unit = "pixels")]
    #[allow(dead_code)]
    translate: Animated<Vec2>,
    /// How opaque.
    #[param(default = 1.0, hard = 0.0..=1.0)]
    #[allow(dead_code)]
    opacity: Animated<f32>,
}
node!(Move, Region, ["out": Layer]);

impl RegionNode for Move {
    fn fill(&self, _at: &At<'_>, _output: usize, _region: Rect) -> Result<Value> {
        Err(peel_node::Error::message("no pixels here"))
    }
}

/// Lays over.
#[derive(Params)]
pub struct Over {
    /// Bottom to top.
    #[allow(dead_code)]
    layers: Vec<Input<socket::LayerOrStack>>,
    /// Where.
    #[allow(dead_code)]
    mask: Option<Input<socket::Matte>>,
}
node!(Over, Region, ["out": Layer]);

impl RegionNode for Over {
    fn fill(&self, _at: &At<'_>, _output: usize, _region: Rect) -> Result<Value> {
        Err(peel_node::Error::message("no pixels here"))
    }
}

/// A sink.
#[derive(Params)]
pub struct Save {
    /// What is saved.
    #[allow(dead_code)]
    input: Input<socket::Any>,
}
node!(Save, Sink, []);

impl SinkNode for Save {
    fn path(&self, _at: &At<'_>) -> Result<PathBuf> {
        Ok(PathBuf::new())
    }

    fn write(&self, _at: &At<'_>) -> Result<Written> {
        Ok(Written {
            path: PathBuf::new(),
            bytes: 0,
        })
    }
}

/// Hands on whatever flows in.
#[derive(Params)]
pub struct Later {
    /// What flows in.
    input: Input<socket::Any>,
}

impl Node for Later {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }

    fn typed_like(&self) -> Option<usize> {
        Some(self.input.slot)
    }

    fn temperament(&self) -> Temperament<'_> {
        Temperament::Region(self)
    }

    fn format(&self, _at: &At<'_>, _output: usize) -> Result<Format> {
        Ok(Format::new(Rect::EMPTY, Rect::EMPTY))
    }
}

impl RegionNode for Later {
    fn fill(&self, _at: &At<'_>, _output: usize, _region: Rect) -> Result<Value> {
        Err(peel_node::Error::message("no pixels here"))
    }
}

/// The nodes of another file.
#[derive(Params)]
pub struct Group {
    /// The file.
    #[allow(dead_code)]
    path: peel_node::FilePath,
}

/// The kinds above.
pub fn registry() -> Registry {
    Registry::new(vec![
        NodeKind::of::<Load>("Load", 1, "", ""),
        NodeKind::of::<Split>("Split", 1, "", ""),
        NodeKind::of::<Move>("Move", 3, "", ""),
        NodeKind::of::<Over>("Over", 1, "", ""),
        NodeKind::of::<Save>("Save", 1, "", ""),
        NodeKind::of::<Later>("Later", 1, "", ""),
        NodeKind::group::<Group>("Group", 1, "", ""),
    ])
}

/// A graph of these nodes, which stand on lines from 2.
pub fn graph_of(nodes: &str) -> String {
    format!("Graph(format: 1, frames: \"1-8\", nodes: {{\n{nodes}\n}})\n")
}

/// Reads a text.
pub fn parse(text: &str) -> std::result::Result<Graph, Diagnostics> {
    Graph::parse(text, Path::new("shots/a.ron"), &registry())
}

/// What is wrong with a text: line, column, and message, then what was expected, then the help.
pub fn mistakes(text: &str) -> Vec<(usize, usize, String)> {
    let Err(diagnostics) = parse(text) else {
        panic!("nothing is wrong");
    };
    let places = diagnostics.locations();
    diagnostics
        .list()
        .iter()
        .zip(places)
        .map(|(d, place)| {
            let parts = [Some(&d.message), d.expected.as_ref(), d.help.as_ref()];
            let told = parts
                .into_iter()
                .flatten()
                .cloned()
                .collect::<Vec<_>>()
                .join("; ");
            (place.line, place.column, told)
        })
        .collect()
}
