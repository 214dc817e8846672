//! Derive macros of the node SDK.
//!
//! `#[derive(Params)]` makes a struct the parameters of a node, or a group of them; `#[derive(Choice)]` makes
//! an enum a choice. Reader, checks, content key and catalogue come from the fields and their doc comments;
//! a field, variant or struct without a doc comment does not compile.
//!
//! On a field:
//! - `#[param(default = expr)]`: the value where the graph leaves it out; without it the parameter must be
//!   written (an `Option` is then `None`).
//! - `#[param(default)]`: the type's own `Default`.
//! - `#[param(hard = 0.0..=1.0)]`: numbers outside are errors; `soft` is where they usually lie;
//!   `hard = 0.0..` and `hard = ..=1.0` are open on one side.
//! - `#[param(unit = "pixels")]`: for the catalogue.
//! - `#[param(rename = "name")]`: the name in graphs, where the field's own would not do.
//!
//! On a struct: `#[params(check = Self::check)]` names a `fn(&self, &mut Reader)` that looks across
//! parameters once all are read.
//!
//! A struct whose parameters can all be left out also gets a `Default` of those values.

mod choice;
mod field;
mod params;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct the parameters of a node, or a group of parameters. See the crate's documentation.
#[proc_macro_derive(Params, attributes(param, params))]
pub fn derive_params(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    params::expand(&input)
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}

/// Makes an enum a choice: `Name`, `Name(value)` or `Name(field: value, ..)`. See the crate's documentation.
#[proc_macro_derive(Choice, attributes(param))]
pub fn derive_choice(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    choice::expand(&input)
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}
