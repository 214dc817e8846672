//! Group: the nodes of another file, as one.
//!
//! # What it does
//!
//! Includes a group file: nodes that are used again and again, with inputs, parameters and outputs of their own.
//!
//! ```text
//! // gizmos/glow.ron
//! Group(
//!     format: 1,
//!     about: "Light around what is bright.",
//!     inputs: {"picture": Layer, "where": Optional(Matte)},
//!     parameters: {
//!         "strength": Number(default: 0.5, min: 0, max: 4, about: "How much light."),
//!         "tint": Colour(default: (1, 0.9, 0.8)),
//!     },
//!     nodes: {
//!         "lit": Recolor(input: "picture", mask: "where", exposure: Param("strength"), grade: (gain: Param("tint"))),
//!         "over": AlphaOver(layers: ["picture", "lit"]),
//!     },
//!     outputs: {"out": "over", "light": "lit"},
//! )
//! ```
//!
//! A graph gives it what it declares, by name: `Group(path: "gizmos/glow.ron", picture: "plate", where: "matte",
//! strength: 0.8)`. Inputs are connected; parameters with a `default` may be left out. Inside, an input is used
//! like a node of that name. An input that is declared `Optional(Matte)` may be left out; whatever names it inside is
//! then left out too: a parameter such as `mask: "where"`, an entry of a list. And `Param("name")` stands for a parameter's value anywhere in a node. Outside, `"glow"`
//! means the first output and `"glow.light"` another one.
//!
//! Types of inputs are `Layer`, `Matte`, `Stack`, `LayerOrStack`, `LayerOrMatte` or `Any`. Parameters are `Number`, `Whole`,
//! `Colour` and `Point`, which may be animated, and `Text`, `Path`, `Bool` and `Choice(of: [A, B])`; `min` and `max` bound
//! their numbers. Paths start at the folder of the file that they are written in. Frames and working space are the
//! graph's.
//!
//! A group may hold groups, but not itself. Its nodes are called `glow/lit` in messages. `peel check gizmos/glow.ron`
//! checks a group file by itself, `peel nodes gizmos/glow.ron` prints what it declares. `peel watch` renders again when
//! the file changes.
//!
//! # When to use it
//!
//! For what several graphs, or several places of one, have in common. It costs nothing: the nodes have the keys that they
//! would have in the graph itself, so results are shared with it.
//!
//! # Colour and alpha
//!
//! As its nodes say.
//!
//! # Example
//!
//! `example.ron` uses `spotlight.ron` twice.

use peel_node::{FilePath, Params};

/// Includes the nodes of another file.
#[derive(Params)]
pub struct Group {
    /// The group file; relative to the file that this is written in. What else there is to give, that file declares.
    #[allow(dead_code, reason = "the graph reads the file; this documents it")]
    path: FilePath,
}
