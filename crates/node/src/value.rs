//! What flows along an edge.

use std::fmt;
use std::sync::Arc;

use peel_image::{Layer, Matte, Stack};

/// The type of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SocketType {
    /// Premultiplied RGBA with a data window.
    Layer,
    /// One channel of coverage.
    Matte,
    /// Named layers, bottom to top.
    Stack,
}

impl fmt::Display for SocketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SocketType::Layer => "Layer",
            SocketType::Matte => "Matte",
            SocketType::Stack => "Stack",
        })
    }
}

/// Pixels on an edge; cheap to clone.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// See [`SocketType::Layer`].
    Layer(Arc<Layer>),
    /// See [`SocketType::Matte`].
    Matte(Arc<Matte>),
    /// See [`SocketType::Stack`].
    Stack(Arc<Stack>),
}

impl Value {
    /// The type of socket that this value fits.
    pub fn socket_type(&self) -> SocketType {
        match self {
            Value::Layer(_) => SocketType::Layer,
            Value::Matte(_) => SocketType::Matte,
            Value::Stack(_) => SocketType::Stack,
        }
    }

    /// Bytes held by the pixels.
    pub fn bytes(&self) -> u64 {
        match self {
            Value::Layer(layer) => layer.bytes(),
            Value::Matte(matte) => matte.bytes(),
            Value::Stack(stack) => stack.bytes(),
        }
    }
}

impl From<Layer> for Value {
    fn from(layer: Layer) -> Value {
        Value::Layer(Arc::new(layer))
    }
}

impl From<Matte> for Value {
    fn from(matte: Matte) -> Value {
        Value::Matte(Arc::new(matte))
    }
}

impl From<Stack> for Value {
    fn from(stack: Stack) -> Value {
        Value::Stack(Arc::new(stack))
    }
}
