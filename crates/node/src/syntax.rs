//! Parameters as written: RON as a tree that remembers where everything stood. `peel-graph` makes it.

use crate::Span;

/// A piece of RON and its place.
#[derive(Clone, PartialEq, Debug)]
pub struct Syntax {
    /// What it is.
    pub form: Form,
    /// Where it stands, with its brackets or quotes.
    pub span: Span,
}

/// The shapes that RON offers.
#[derive(Clone, PartialEq, Debug)]
pub enum Form {
    /// `true`, `false`.
    Bool(bool),
    /// `1`, `-2.5`, `0xff`, `inf`.
    Number(Number),
    /// `"text"`.
    Text(String),
    /// `[a, b]`.
    List(Vec<Syntax>),
    /// `{a: b}`; keys in the order written, repeated ones included.
    Map(Vec<(Syntax, Syntax)>),
    /// `Name`.
    Name(String),
    /// `(a, b)` or `Name(a, b)`, also `()` and `Name()`.
    Tuple(Option<Name>, Vec<Syntax>),
    /// `(a: b)` or `Name(a: b)`; fields in the order written, repeated ones included.
    Fields(Option<Name>, Vec<Field>),
    /// Text that could not be read; that has been reported, and nobody needs to report it again.
    Broken,
}

/// A number, exact where it is whole.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Number {
    /// Its nearest `f64`; may be infinite or NaN where the text says so.
    pub value: f64,
    /// Its exact value where it is written without point and exponent.
    pub whole: Option<i128>,
}

/// A name and its place.
#[derive(Clone, PartialEq, Debug)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A named field, `name: value`.
#[derive(Clone, PartialEq, Debug)]
pub struct Field {
    /// What stands before the colon.
    pub name: Name,
    /// What stands after it.
    pub value: Syntax,
}

impl Syntax {
    /// What it is, for "expected .., found ..".
    pub fn describe(&self) -> String {
        match &self.form {
            Form::Bool(value) => format!("`{value}`"),
            Form::Number(Number {
                whole: Some(whole), ..
            }) => format!("the number {whole}"),
            Form::Number(Number { value, .. }) => format!("the number {value}"),
            Form::Text(text) => format!("the text \"{}\"", shortened(text)),
            Form::List(items) => format!("a list of {}", count(items.len(), "item")),
            Form::Map(entries) => format!("a map of {}", count(entries.len(), "entry")),
            Form::Name(name) => format!("the name `{}`", shortened(name)),
            Form::Tuple(None, items) if items.is_empty() => "`()`".to_owned(),
            Form::Tuple(None, items) => format!("({})", vec!["_"; items.len().min(16)].join(", ")),
            Form::Fields(None, _) => "named fields `(name: value, ..)`".to_owned(),
            Form::Tuple(Some(name), _) | Form::Fields(Some(name), _) => {
                format!("`{}(..)`", shortened(&name.text))
            }
            Form::Broken => "broken text".to_owned(),
        }
    }

    /// The name before the brackets, or the name alone.
    pub fn name(&self) -> Option<&str> {
        match &self.form {
            Form::Name(name) => Some(name),
            Form::Tuple(Some(name), _) | Form::Fields(Some(name), _) => Some(&name.text),
            _ => None,
        }
    }

    /// Where to point when the whole is meant: the name before the brackets, or everything.
    pub fn head(&self) -> Span {
        match &self.form {
            Form::Tuple(Some(name), _) | Form::Fields(Some(name), _) => name.span,
            _ => self.span,
        }
    }
}

fn count(n: usize, what: &str) -> String {
    match (n, what) {
        (1, _) => format!("1 {what}"),
        (_, "entry") => format!("{n} entries"),
        _ => format!("{n} {what}s"),
    }
}

/// Text for a message: one line, not longer than a message bears.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut line: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push_str("..");
    }
    line
}
