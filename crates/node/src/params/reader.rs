//! Reading parameters: what is wrong is collected, never thrown.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::listed;
use crate::params::{Limits, Param};
use crate::syntax::{Field, Form, Number, Syntax};
use crate::{Diagnostic, Edge, SocketType, Span, nearest};

/// After so many mistakes in one node the rest says nothing new.
const MOST_MISTAKES: usize = 200;

/// An edge that a node was found to have.
#[derive(Clone, PartialEq, Debug)]
pub struct EdgeUse {
    /// The node's input slot, numbered in the order of reading.
    pub slot: usize,
    /// The parameter that it was written for, for instance `layers[1]`.
    pub param: String,
    /// What it names.
    pub edge: Edge,
    /// The socket types that may be connected.
    pub accepts: &'static [SocketType],
}

/// Collects mistakes and edges while one node's parameters are read.
#[derive(Debug)]
pub struct Reader {
    owner: String,
    home: Span,
    path: String,
    limits: Option<Limits>,
    spans: HashMap<String, Span>,
    edges: Vec<EdgeUse>,
    diagnostics: Vec<Diagnostic>,
    folders: Folders,
}

/// Where relative paths start, seen from the graph's folder, by the first byte of the text that they stand in:
/// a graph's text is followed by those of the files that it includes. In order; before the first, the graph's folder.
pub type Folders = Arc<[(usize, PathBuf)]>;

impl Reader {
    /// A reader for a node of kind `owner`, whose name stands at `home`.
    pub fn new(owner: impl Into<String>, home: Span) -> Reader {
        Reader {
            owner: owner.into(),
            home,
            path: String::new(),
            limits: None,
            spans: HashMap::new(),
            edges: Vec::new(),
            diagnostics: Vec::new(),
            folders: Arc::default(),
        }
    }

    /// Reads relative paths from the folders of the files that they are written in.
    pub fn with_folders(mut self, folders: Folders) -> Reader {
        self.folders = folders;
        self
    }

    /// A path as one would write it in the graph file itself, wherever it is written.
    pub fn path_from(&self, place: Span, text: &str) -> String {
        let after = self.folders.partition_point(|(start, _)| *start <= place.start);
        let folder = after
            .checked_sub(1)
            .map_or(Path::new(""), |index| &self.folders[index].1);
        if folder.as_os_str().is_empty() {
            return text.to_owned();
        }
        folder.join(text).to_string_lossy().into_owned()
    }

    /// Reports a mistake.
    pub fn report(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < MOST_MISTAKES {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Reports an error at a parameter (`masks`, `grade.gain`, `layers[1]`), or at the node's kind where
    /// the graph leaves that parameter out. For checks across parameters.
    pub fn error_at(&mut self, param: &str, message: impl Into<String>) {
        let span = self.span_of(param);
        self.report(Diagnostic::error(span, message));
    }

    /// Where a parameter's value stands, or the node's kind where the graph leaves that parameter out.
    pub fn span_of(&self, param: &str) -> Span {
        self.spans.get(param).copied().unwrap_or(self.home)
    }

    /// The edges found so far, by slot.
    pub fn edges(&self) -> &[EdgeUse] {
        &self.edges
    }

    /// What was found wrong, and the edges.
    pub fn finish(self) -> (Vec<Diagnostic>, Vec<EdgeUse>) {
        (self.diagnostics, self.edges)
    }

    /// Reports that something else belongs here.
    pub fn mismatch(&mut self, syntax: &Syntax, expected: &str) {
        if matches!(syntax.form, Form::Broken) {
            return;
        }
        let mut diagnostic = Diagnostic::error(syntax.span, format!("{} has the wrong type", self.subject()))
            .expected(format!("expected {expected}, found {}", syntax.describe()));
        if let Form::Tuple(Some(name), _) = &syntax.form
            && name.text == "Some"
        {
            diagnostic = diagnostic.help("write the value itself, without `Some`");
        }
        self.report(diagnostic);
    }

    /// Reads a finite number and checks it against the parameter's hard limits.
    pub fn number(&mut self, syntax: &Syntax) -> Option<f64> {
        let Form::Number(Number { value, .. }) = syntax.form else {
            self.mismatch(syntax, "a number");
            return None;
        };
        if !value.is_finite() {
            let message = format!("{} is not a finite number", self.subject());
            self.report(Diagnostic::error(syntax.span, message).expected("expected a finite number"));
            return None;
        }
        self.within(syntax, value).then_some(value)
    }

    /// Reads a whole number of a type that holds `min` to `max`, and checks it against the parameter's
    /// hard limits.
    pub fn whole(&mut self, syntax: &Syntax, min: i128, max: i128) -> Option<i128> {
        let Form::Number(Number { value, whole }) = syntax.form else {
            self.mismatch(syntax, "a whole number");
            return None;
        };
        let Some(whole) = whole else {
            self.mismatch(syntax, "a whole number");
            return None;
        };
        if whole < min || whole > max {
            let message = format!("{} is out of range", self.subject());
            let expected = format!("expected a whole number from {min} to {max}");
            self.report(Diagnostic::error(syntax.span, message).expected(expected));
            return None;
        }
        self.within(syntax, value).then_some(whole)
    }

    fn within(&mut self, syntax: &Syntax, value: f64) -> bool {
        let Some(limits) = self.limits.filter(|limits| !limits.contain(value)) else {
            return true;
        };
        let message = format!("{} is out of range", self.subject());
        self.report(
            Diagnostic::error(syntax.span, message).expected(format!("expected {limits}, found {value}")),
        );
        false
    }

    /// Reads text.
    pub fn text<'s>(&mut self, syntax: &'s Syntax, expected: &str) -> Option<&'s str> {
        match &syntax.form {
            Form::Text(text) => Some(text),
            _ => {
                self.mismatch(syntax, expected);
                None
            }
        }
    }

    /// Takes note of an edge and gives it the next slot.
    pub fn edge(&mut self, edge: Edge, accepts: &'static [SocketType]) -> usize {
        let slot = self.edges.len();
        self.edges.push(EdgeUse {
            slot,
            param: self.path.clone(),
            edge,
            accepts,
        });
        slot
    }

    /// Reads one item of a list, under the name `list[index]`.
    pub fn item<T: Param>(&mut self, index: usize, syntax: &Syntax) -> Option<T> {
        self.under(&format!("[{index}]"), syntax.span, |reader| {
            T::read(syntax, reader)
        })
    }

    /// Reads without the parameter's hard limits: for numbers that are not its value, such as frames.
    pub fn unlimited<T>(&mut self, read: impl FnOnce(&mut Reader) -> T) -> T {
        let limits = self.limits.take();
        let value = read(self);
        self.limits = limits;
        value
    }

    /// The fields of `Owner(name: value, ..)`, checked for unknown and repeated names. What the owner is
    /// called is left to the caller.
    pub fn fields<'s>(&mut self, syntax: &'s Syntax, owner: &str, known: &[&str]) -> Option<Fields<'s>> {
        let fields: &[Field] = match &syntax.form {
            Form::Fields(_, fields) => fields,
            Form::Tuple(_, items) if items.is_empty() => &[],
            Form::Broken => return None,
            Form::Tuple(_, items) => {
                let message = format!("the parameters of {owner} are written with their names");
                let example = known.first().unwrap_or(&"name");
                let place = items.first().map_or(syntax.span, |first| first.span);
                self.report(Diagnostic::error(place, message).expected(format!("expected `{example}: ..`")));
                return None;
            }
            _ => {
                let example = known.first().map_or(String::new(), |name| format!("{name}: .."));
                self.mismatch(syntax, &format!("`({example})`"));
                return None;
            }
        };
        let misspelt = self.check_names(fields, owner, known);
        Some(Fields {
            fields,
            misspelt,
            home: syntax.head(),
        })
    }

    /// Reports unknown and repeated names; returns the fields that were probably meant to be others which are
    /// not written, under those names.
    fn check_names<'s>(
        &mut self,
        fields: &'s [Field],
        owner: &str,
        known: &[&str],
    ) -> Vec<(String, &'s Syntax)> {
        let mut misspelt: Vec<(String, &Syntax)> = Vec::new();
        let written: HashSet<&str> = fields.iter().map(|field| field.name.text.as_str()).collect();
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for Field { name, value } in fields {
            if !known.contains(&name.text.as_str()) {
                let meant = nearest(&name.text, known.iter().copied());
                let help = match (meant, known) {
                    (Some(meant), _) => format!("did you mean `{meant}`?"),
                    (None, []) => format!("{owner} has no parameters"),
                    (None, _) => format!("{owner} has {}", listed(known.iter().copied(), "and")),
                };
                let message = format!("{owner} has no parameter `{}`", name.text);
                self.report(Diagnostic::error(name.span, message).help(help));
                let free = |meant: &&str| {
                    !written.contains(meant) && misspelt.iter().all(|(earlier, _)| earlier != meant)
                };
                if let Some(meant) = meant.filter(free) {
                    misspelt.push((meant.to_owned(), value));
                }
            } else if let Some(&first) = seen.get(name.text.as_str()) {
                self.report(
                    Diagnostic::error(name.span, format!("`{}` is written twice", name.text))
                        .help("leave one of them out")
                        .related(first, "first written here"),
                );
            } else {
                seen.insert(&name.text, name.span);
            }
        }
        misspelt
    }

    /// Which of a choice's names is written, as an index into `known`.
    pub fn choice(&mut self, syntax: &Syntax, known: &[&str]) -> Option<usize> {
        if let Some(name) = syntax.name() {
            if let Some(index) = known.iter().position(|&candidate| candidate == name) {
                return Some(index);
            }
            let message = format!("{} cannot be `{name}`", self.subject());
            let expected = format!("expected {}", listed(known.iter().copied(), "or"));
            self.report(
                Diagnostic::error(syntax.head(), message)
                    .expected(expected)
                    .nearest(name, known.iter().copied()),
            );
            return None;
        }
        let expected = listed(known.iter().copied(), "or");
        if let Form::Text(text) = &syntax.form
            && let Some(name) = nearest(text, known.iter().copied())
        {
            let message = format!("{} has the wrong type", self.subject());
            self.report(
                Diagnostic::error(syntax.span, message)
                    .expected(format!("expected {expected}, found {}", syntax.describe()))
                    .help(format!("write it without quotes: {name}")),
            );
            return None;
        }
        self.mismatch(syntax, &expected);
        None
    }

    /// Checks that a choice stands without brackets.
    pub fn bare(&mut self, syntax: &Syntax) -> Option<()> {
        match &syntax.form {
            Form::Name(_) => Some(()),
            _ => {
                self.mismatch(
                    syntax,
                    &format!("`{}` without brackets", syntax.name().unwrap_or_default()),
                );
                None
            }
        }
    }

    /// The single value between a choice's brackets.
    pub fn payload<'s>(&mut self, syntax: &'s Syntax, type_name: &str) -> Option<&'s Syntax> {
        if let Form::Tuple(_, items) = &syntax.form
            && let [item] = items.as_slice()
        {
            return Some(item);
        }
        self.mismatch(
            syntax,
            &format!("`{}({type_name})`", syntax.name().unwrap_or_default()),
        );
        None
    }

    /// Checks that brackets carry no name, or `name`.
    pub fn unnamed(&mut self, syntax: &Syntax, name: &str) {
        if let Some(found) = syntax.name()
            && found != name
        {
            let message = format!("{} cannot be `{found}`", self.subject());
            self.report(
                Diagnostic::error(syntax.head(), message)
                    .expected("expected `(name: value, ..)`")
                    .nearest(found, [name]),
            );
        }
    }

    /// The parameter at hand, for messages.
    fn subject(&self) -> String {
        if self.path.is_empty() {
            self.owner.clone()
        } else {
            format!("`{}`", self.path)
        }
    }

    /// Reads with `part` added to the name of the parameter at hand.
    pub fn under<T>(&mut self, part: &str, span: Span, read: impl FnOnce(&mut Reader) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(part);
        self.spans.insert(self.path.clone(), span);
        let value = read(self);
        self.path.truncate(length);
        value
    }
}

/// The named values between the brackets of a node, a group or a choice.
#[derive(Clone, Debug)]
pub struct Fields<'s> {
    fields: &'s [Field],
    /// By the names that they were meant to have: one typo is one mistake, and what stands behind it is
    /// still looked at.
    misspelt: Vec<(String, &'s Syntax)>,
    home: Span,
}

impl<'s> Fields<'s> {
    /// A field as written: the first one of this name (a second one has been reported), or one that was
    /// probably meant (which has been reported too).
    pub fn get(&self, name: &str) -> Option<&'s Syntax> {
        let written = self
            .fields
            .iter()
            .find(|field| field.name.text == name)
            .map(|field| &field.value);
        let meant = || {
            self.misspelt
                .iter()
                .find(|(meant, _)| meant == name)
                .map(|&(_, value)| value)
        };
        written.or_else(meant)
    }

    /// Reports that a field is not written.
    pub fn lacks(&self, name: &str, type_name: &str, reader: &mut Reader) {
        let owner = reader.subject();
        reader.report(
            Diagnostic::error(self.home, format!("{owner} lacks the parameter `{name}`"))
                .expected(format!("expected `{name}: {type_name}`")),
        );
    }

    /// Reads a field that must be written, unless its type says what its absence means.
    pub fn required<T: Param>(&self, name: &str, hard: Option<Limits>, reader: &mut Reader) -> Option<T> {
        match self.get(name) {
            Some(syntax) => read_field(name, syntax, hard, reader),
            None => T::absent().or_else(|| {
                self.lacks(name, &T::shape().type_name, reader);
                None
            }),
        }
    }

    /// Reads a field, or takes its default.
    pub fn optional<T: Param>(
        &self,
        name: &str,
        hard: Option<Limits>,
        reader: &mut Reader,
        default: impl FnOnce() -> T,
    ) -> Option<T> {
        match self.get(name) {
            Some(syntax) => read_field(name, syntax, hard, reader),
            None => Some(default()),
        }
    }
}

fn read_field<T: Param>(name: &str, syntax: &Syntax, hard: Option<Limits>, reader: &mut Reader) -> Option<T> {
    let part = if reader.path.is_empty() {
        name.to_owned()
    } else {
        format!(".{name}")
    };
    let outer = std::mem::replace(&mut reader.limits, hard);
    let value = reader.under(&part, syntax.span, |reader| T::read(syntax, reader));
    reader.limits = outer;
    value
}
