//! The subcommands, one a file: its arguments, and what it does with them.

pub mod bench;
pub mod cache;
pub mod check;
pub mod dataset;
pub mod decompose;
pub mod eval;
pub mod explain;
pub mod info;
pub mod model;
pub mod nodes;
pub mod render;
pub mod train;
pub mod watch;
pub mod weights;
