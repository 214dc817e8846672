//! RON text to [`Syntax`](peel_node::syntax::Syntax), with all mistakes and their places.
//!
//! The `ron` crate reads into types that are known beforehand: it stops at the first mistake, lets a repeated
//! key overwrite the one before, and forgets places and the names of structs. The author of a graph is owed
//! all mistakes at once, so Peel reads RON itself, and goes on after a mistake. A property test holds this
//! reading to that of `ron`. Stricter than RON on purpose: plain strings end on their line (a forgotten quote is told
//! where it is missing), named brackets never mix named and nameless values, and there are no `'c'` and
//! `b"bytes"`.

mod lexer;
mod number;
mod parser;
mod token;

pub(crate) use parser::{LARGEST, parse};
