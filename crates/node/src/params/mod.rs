//! Parameters: documented, ranged, animated, read from a graph with every mistake reported.
//!
//! A node's parameter struct derives [`Params`](macro@crate::Params); from its fields come the reader, the
//! checks, the content key and the catalogue. A type of one parameter implements [`Param`].

mod choices;
mod plain;
mod reader;

use std::fmt;

use crate::KeyBuilder;
use crate::syntax::Syntax;

pub use plain::{FilePath, Rgb, Vec2};
pub use reader::{EdgeUse, Fields, Folders, Reader};

/// The type of one parameter.
pub trait Param: Sized {
    /// What may be written for it.
    fn shape() -> Shape;

    /// Reads it; what is wrong goes to the reader, and then there is no value.
    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<Self>;

    /// Adds its value at a frame to a content key.
    fn hash(&self, frame: i32, key: &mut KeyBuilder);

    /// The value as one would write it in a graph, for the catalogue.
    fn show(&self) -> String;

    /// The value where nothing is written and no default is declared; most types have none.
    fn absent() -> Option<Self> {
        None
    }
}

/// All parameters of a node, or a group of them. Derive it.
pub trait Params: Sized {
    /// The struct's doc comment.
    const TITLE: &'static str;

    /// The parameters, in the order of the struct.
    fn docs() -> Vec<ParamDoc>;

    /// Reads them from `Kind(name: value, ..)`, whatever the kind's name.
    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<Self>;

    /// Adds names and values at a frame to a content key. An input counts by being there: its own key is
    /// the engine's to add.
    fn hash(&self, frame: i32, key: &mut KeyBuilder);
}

/// What may be written for a parameter.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Shape {
    /// A short name of the type: "number", "(x, y)", "Layer or Stack".
    pub type_name: String,
    /// What there is to choose from, where it is a choice.
    pub choices: Vec<ChoiceDoc>,
    /// Its own parameters, where it is a group.
    pub group: Vec<ParamDoc>,
}

impl Shape {
    /// A shape without choices or parts.
    pub fn plain(type_name: impl Into<String>) -> Shape {
        Shape {
            type_name: type_name.into(),
            ..Shape::default()
        }
    }
}

/// One parameter in the catalogue.
#[derive(Clone, PartialEq, Debug)]
pub struct ParamDoc {
    /// Its name.
    pub name: String,
    /// What may be written for it, in short.
    pub type_name: String,
    /// Whether it must be written.
    pub required: bool,
    /// Its default, as one would write it; `None` where there is none to show.
    pub default: Option<String>,
    /// The unit of its numbers.
    pub unit: Option<String>,
    /// Where its numbers usually lie.
    pub soft: Option<Limits>,
    /// Where its numbers must lie.
    pub hard: Option<Limits>,
    /// The field's doc comment.
    pub doc: String,
    /// What there is to choose from, where it is a choice.
    pub choices: Vec<ChoiceDoc>,
    /// Its own parameters, where it is a group.
    pub group: Vec<ParamDoc>,
}

/// One of a choice in the catalogue.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ChoiceDoc {
    /// Its name.
    pub name: String,
    /// The variant's doc comment.
    pub doc: String,
    /// What stands between its brackets, where that is a single value: `File("x.exr")`.
    pub value: Option<Shape>,
    /// Its own parameters: `Ellipse(center: .., radius: ..)`.
    pub fields: Vec<ParamDoc>,
}

/// A closed range of numbers, open on a side that has no limit.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Limits {
    /// The smallest.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

impl Limits {
    /// Whether a number lies within; NaN never does.
    pub fn contain(&self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
            (Some(min), None) => write!(f, "at least {min}"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (None, None) => f.write_str("any number"),
        }
    }
}

/// What `#[param(default = ..)]` may be given for a parameter of type `T`: a `T`, or what reads more
/// plainly, such as the constant of an animated value.
pub trait IntoDefault<T> {
    /// The default.
    fn into_default(self) -> T;
}

impl<T: Param> IntoDefault<T> for T {
    fn into_default(self) -> T {
        self
    }
}
