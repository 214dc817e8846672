//! The node SDK: everything that a node is written against, built-in or third-party alike.
//!
//! A node is a parameter struct that derives [`Params`], an implementation of [`Node`], and a
//! [`NodeKind`] in a [`Registry`]. It sees pictures through [`At`] (its inputs at a frame) and the world
//! (files, device, weights, cache) through [`World`]; it never sees a graph, a thread or another node.
//!
//! ```text
//! Syntax --Params::read--> a node's struct --NodeKind--> Box<dyn Node> --engine, through At--> Value
//! ```

mod at;
mod error;
mod format;
mod key;
mod kind;
mod node;
mod value;
mod world;

pub use at::{At, Inputs};
pub use error::{Error, Result};
pub use format::{Attributes, Format, LayerFormat};
pub use key::{Key, KeyBuilder};
pub use kind::{NodeKind, Registry};
pub use node::{FrameNode, Node, Output, RegionNode, SinkNode, Temperament, Written};
pub use value::{SocketType, Value};
pub use world::{Device, FileIdentity, Note, World};
