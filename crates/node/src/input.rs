//! Inputs: what a node is connected to.

use std::fmt;
use std::marker::PhantomData;

use crate::params::{Param, Reader, Shape};
use crate::syntax::Syntax;
use crate::{Diagnostic, KeyBuilder, SocketType, Span};

/// The end of an edge: `"node"` or `"node.output"`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Edge {
    /// The node's name.
    pub node: String,
    /// The name of its output; the first one where it is left out.
    pub output: Option<String>,
    /// Where it stands, with its quotes.
    pub span: Span,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.node)?;
        match &self.output {
            Some(output) => write!(f, ".{output}"),
            None => Ok(()),
        }
    }
}

/// Which socket types an [`Input`] may be connected to.
pub trait Socket: Send + Sync + 'static {
    /// The types, the usual one first.
    const ACCEPTS: &'static [SocketType];
}

/// Markers for [`Input`]: what may be connected.
pub mod socket {
    use super::Socket;
    use crate::SocketType;

    macro_rules! sockets {
        ($($(#[$doc:meta])* $name:ident: $($accepts:ident)*;)*) => {$(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, Debug)]
            pub struct $name;

            impl Socket for $name {
                const ACCEPTS: &'static [SocketType] = &[$(SocketType::$accepts),*];
            }
        )*};
    }

    sockets! {
        /// A layer.
        Layer: Layer;
        /// A matte.
        Matte: Matte;
        /// A stack.
        Stack: Stack;
        /// A layer or a whole stack.
        LayerOrStack: Layer Stack;
        /// A layer or a matte.
        LayerOrMatte: Layer Matte;
        /// Anything.
        Any: Layer Matte Stack;
    }
}

/// A parameter that is connected to another node's output. [`At`](crate::At) gives what flows in.
pub struct Input<S> {
    /// The node's own number for it, by which the engine knows it.
    pub slot: usize,
    /// What the graph connects it to.
    pub edge: Edge,
    socket: PhantomData<fn() -> S>,
}

impl<S: Socket> Input<S> {
    /// An input on this slot.
    pub fn new(slot: usize, edge: Edge) -> Input<S> {
        Input {
            slot,
            edge,
            socket: PhantomData,
        }
    }

    /// An input on this slot, with a made-up edge: for nodes that are made by a test, not by a graph.
    pub fn on_slot(slot: usize) -> Input<S> {
        let edge = Edge {
            node: format!("input{slot}"),
            ..Edge::default()
        };
        Input::new(slot, edge)
    }
}

impl<S> Clone for Input<S> {
    fn clone(&self) -> Input<S> {
        Input {
            slot: self.slot,
            edge: self.edge.clone(),
            socket: PhantomData,
        }
    }
}

impl<S> PartialEq for Input<S> {
    fn eq(&self, other: &Input<S>) -> bool {
        (self.slot, &self.edge) == (other.slot, &other.edge)
    }
}

impl<S> fmt::Debug for Input<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Input({}, \"{}\")", self.slot, self.edge)
    }
}

impl<S: Socket> Param for Input<S> {
    fn shape() -> Shape {
        let types: Vec<String> = S::ACCEPTS.iter().map(SocketType::to_string).collect();
        Shape::plain(types.join(" or "))
    }

    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<Input<S>> {
        let text = reader.text(
            syntax,
            "the name of a node in quotes, `\"node\"` or `\"node.output\"`",
        )?;
        let (node, output) = match text.split_once('.') {
            Some((node, output)) => (node, Some(output)),
            None => (text, None),
        };
        if node.is_empty() || output.is_some_and(|output| output.is_empty() || output.contains('.')) {
            reader.report(
                Diagnostic::error(syntax.span, format!("\"{text}\" does not name a node"))
                    .expected("expected `\"node\"` or `\"node.output\"`"),
            );
            return None;
        }
        let edge = Edge {
            node: node.to_owned(),
            output: output.map(str::to_owned),
            span: syntax.span,
        };
        let slot = reader.edge(edge.clone(), S::ACCEPTS);
        Some(Input::new(slot, edge))
    }

    /// Only that it is there: what it is connected to counts by content, whatever its name.
    fn hash(&self, _frame: i32, key: &mut KeyBuilder) {
        key.str("input");
    }

    fn show(&self) -> String {
        format!("\"{}\"", self.edge)
    }
}
