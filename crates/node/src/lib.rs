//! The node SDK: everything that a node is written against, built-in or third-party alike.
//!
//! A node is a parameter struct that derives [`Params`](macro@Params), an implementation of [`Node`], and a
//! [`NodeKind`] in a [`Registry`]. It sees pictures through [`At`] (its inputs at a frame) and the world
//! (files, device, weights, cache) through [`World`]; it never sees a graph, a thread or another node.
//!
//! ```text
//! Syntax --Params::read--> a node's struct --NodeKind--> Arc<dyn Node> --engine, through At--> Value
//! ```

// The derive macros name this crate as its users do; so must it, where it uses them itself.
extern crate self as peel_node;

pub mod params;
pub mod syntax;
pub mod testing;

mod animated;
mod at;
mod diagnostic;
mod error;
mod format;
mod input;
mod key;
mod kind;
mod node;
mod value;
mod world;

pub use animated::{Animate, Animated, Interpolation, Keys};
pub use at::{At, Inputs, Take};
pub use diagnostic::{Diagnostic, Severity, Span, nearest};
pub use error::{Error, Result};
pub use format::{Attributes, Format, LayerFormat};
pub use input::{Edge, Input, Socket, socket};
pub use key::{Key, KeyBuilder};
pub use kind::{HashParams, NodeKind, ReadNode, Registry, module_doc};
pub use node::{
    FrameNode, KeptStep, Motion, Node, Output, Pieces, RegionNode, SinkNode, Temperament, Written,
};
pub use params::{FilePath, Param, Params, Reader, Rgb, Vec2};
pub use peel_node_derive::{Choice, Params};
pub use value::{SocketType, Value};
pub use world::{Device, FileIdentity, Note, Resource, Stretch, World};
