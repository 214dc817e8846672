//! Tests of Peel as a whole: the suite of small graphs with their reference pictures, broken graphs with the
//! diagnoses that they should get, the example graphs, the rules of the house, and the `peel` command from outside.
//!
//! `PEEL_UPDATE=1` accepts what the suite renders as the new reference pictures.

#![cfg(test)]

mod architecture;
mod bad_input;
mod caches;
mod catalogue;
mod determinism;
mod errors;
mod every_way;
mod exact;
mod files;
mod graphs;
mod memory;
mod plans;
mod program;
mod reload;
mod resume;
mod save;
mod sequences;
mod streams;
mod suite;
mod support;
mod watch;
