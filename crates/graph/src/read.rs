//! Syntax to nodes: the graph's own fields, names and kinds of nodes, each node's parameters, and groups, whose
//! nodes stand among the others, in a scope of their own.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use peel_image::ColourSpace;
use peel_io::FrameRange;
use peel_node::params::{EdgeUse, Fields, Shape};
use peel_node::syntax::{Form, Syntax};
use peel_node::{Diagnostic, KeyBuilder, NodeKind, Param, ReadNode, Reader, Registry, Span, nearest};

use crate::group::{Definition, GroupFile};
use crate::include::{check_group, place_of};
use crate::source::Sources;
use crate::substitute::{Use, Values};

/// The format that this version reads.
const FORMAT: u32 = 1;
/// Names are shown in messages and become parts of file names.
pub(crate) const LONGEST_NAME: usize = 128;
/// Nodes and groups that all groups together may hold: a few files that include each other twice grow fast.
const MOST_NODES: usize = 100_000;

/// Reads the text of an included file.
pub type Loader<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// A graph's own fields.
pub(crate) struct Header {
    pub frames: Option<FrameRange>,
    pub working_space: Option<ColourSpace>,
    /// Whether its nodes could be found at all.
    pub has_nodes: bool,
    /// Where the nodes stand.
    pub nodes_span: Span,
}

/// A node as read. Where its kind or a parameter is wrong it has no node, but its name is known and its edges
/// can be checked.
pub(crate) struct Entry {
    /// Its name in its scope.
    pub local: String,
    /// Its name in the graph: `group/node`.
    pub name: String,
    pub span: Span,
    pub scope: usize,
    pub kind: Option<(&'static str, u32)>,
    pub read: Option<ReadNode>,
    pub edges: Vec<EdgeUse>,
}

/// Names that see each other: those of the graph, or those of one group.
pub(crate) struct Scope {
    /// The group's name in the graph; empty for the graph itself.
    pub name: String,
    /// Where the group's name stands.
    pub span: Span,
    /// The scope that the group stands in.
    pub parent: Option<usize>,
    pub items: HashMap<String, Item>,
    pub inputs: HashMap<String, Inlet>,
    /// Name and edge, the first one first; `None` for an edge that is wrong, or a file that cannot be read.
    pub outputs: Option<Vec<(String, Option<EdgeUse>)>>,
    /// The file, to find files that include themselves.
    pub file: PathBuf,
}

/// What a name stands for.
#[derive(Clone, Copy)]
pub(crate) enum Item {
    /// An entry.
    Node(usize),
    /// A scope.
    Group(usize),
}

/// An input of a group.
pub(crate) struct Inlet {
    /// Where it is declared.
    pub declared: Span,
    /// What is connected to it, in the scope around the group; `None` where that is missing.
    pub edge: Option<EdgeUse>,
}

/// A graph while it is being read, with the files that it includes.
pub(crate) struct Reading<'a> {
    pub sources: Sources,
    /// The files that it includes, whether they could be read or not.
    pub included: Vec<PathBuf>,
    pub diagnostics: Vec<Diagnostic>,
    pub entries: Vec<Entry>,
    /// The graph's own is the first.
    pub scopes: Vec<Scope>,
    registry: &'a Registry,
    pub load: Loader<'a>,
    /// The graph's folder.
    pub folder: PathBuf,
    /// Included files by their place; `None` for those that cannot be read.
    pub trees: HashMap<PathBuf, Option<Arc<Syntax>>>,
}

impl<'a> Reading<'a> {
    pub fn new(file: &Path, text: Arc<str>, registry: &'a Registry, load: Loader<'a>) -> Reading<'a> {
        let whole = Scope {
            name: String::new(),
            span: Span::default(),
            parent: None,
            items: HashMap::new(),
            inputs: HashMap::new(),
            outputs: None,
            file: place_of(file),
        };
        Reading {
            sources: Sources::new(file, text),
            included: Vec::new(),
            diagnostics: Vec::new(),
            entries: Vec::new(),
            scopes: vec![whole],
            registry,
            load,
            folder: file.parent().map(Path::to_owned).unwrap_or_default(),
            trees: HashMap::new(),
        }
    }

    /// The graph's own text as a tree.
    fn tree(&mut self) -> Syntax {
        let text = self.sources.iter().next().map(|source| Arc::clone(&source.text));
        let (syntax, mistakes) = crate::ron::parse(&text.unwrap_or_default());
        self.diagnostics.extend(mistakes);
        syntax
    }

    /// Reads a graph.
    pub fn graph(&mut self) -> Header {
        let syntax = self.tree();
        check_name(&syntax, &mut self.diagnostics);
        let mut reader = Reader::new("Graph", syntax.head());
        let names = ["format", "frames", "working_space", "nodes"];
        let mut header = Header {
            frames: None,
            working_space: None,
            has_nodes: false,
            nodes_span: syntax.head(),
        };
        let fields = reader.fields(&syntax, "Graph", &names);
        if let Some(fields) = &fields {
            read_format(fields, &mut reader);
            header.frames = fields
                .required::<Frames>("frames", None, &mut reader)
                .map(|frames| frames.0);
            header.working_space = read_working_space(fields, &mut reader);
            if fields.get("nodes").is_none() {
                fields.lacks("nodes", "{\"name\": Kind(..), ..}", &mut reader);
            }
        }
        self.diagnostics.extend(reader.finish().0);
        if let Some(nodes) = fields.and_then(|fields| fields.get("nodes")) {
            header.nodes_span = nodes.head();
            header.has_nodes = self.read_nodes(nodes, 0, &[]);
        }
        header
    }

    /// Reads a group file by itself, with its parameters at their defaults.
    pub fn group(&mut self) -> Option<GroupFile> {
        let tree = self.tree();
        check_group(&tree, None, &mut self.diagnostics);
        let folders = self.sources.folders();
        let definition = Definition::read(&tree, "Group", &folders, &mut self.diagnostics)?;
        let values = definition
            .parameters
            .iter()
            .map(|parameter| (parameter.name, parameter.default))
            .collect();
        let values = Values {
            values,
            absent: HashSet::new(),
            uses: Vec::new(),
            mistakes: Vec::new(),
        };
        self.put_group(&definition, values, Vec::new(), 0);
        let text = Arc::clone(&self.sources.holding(tree.span).text);
        Some(definition.doc(&|span| text[span.start..span.end].to_owned()))
    }

    /// Reads the nodes of a scope; `false` where they are no nodes at all.
    pub fn read_nodes(&mut self, nodes: &Syntax, scope: usize, uses: &[Use]) -> bool {
        let entries = match &nodes.form {
            Form::Map(entries) => entries,
            Form::Broken => return false,
            _ => {
                let found = nodes.describe();
                self.diagnostics.push(
                    Diagnostic::error(nodes.span, "`nodes` has the wrong type")
                        .expected(format!("expected `{{\"name\": Kind(..), ..}}`, found {found}")),
                );
                return false;
            }
        };
        let mut places: HashMap<&str, Span> = HashMap::with_capacity(entries.len());
        for (key, value) in entries {
            let name = read_name(key, &mut self.diagnostics);
            if self.entries.len() + self.scopes.len() > MOST_NODES {
                let message = format!("these groups hold more than {MOST_NODES} nodes together");
                self.diagnostics.push(Diagnostic::error(key.span, message));
                return true;
            }
            let item = self.read_item(name.unwrap_or_default(), key.span, value, scope, uses);
            let taken = name.and_then(|name| {
                let declared = || self.scopes[scope].inputs.get(name).map(|inlet| inlet.declared);
                let first = places.get(name).map(|&first| (first, "the first one"));
                first.or_else(|| Some((declared()?, "declared here")))
            });
            match (name, taken) {
                (Some(name), None) => {
                    places.insert(name, key.span);
                    self.scopes[scope].items.insert(name.to_owned(), item);
                    continue;
                }
                (Some(name), Some((place, caption))) => {
                    let message = match places.contains_key(name) {
                        true => format!("two nodes are named `{name}`"),
                        false => format!("`{name}` is the name of an input of this group"),
                    };
                    let mistake = Diagnostic::error(key.span, message).expected("expected another name");
                    self.diagnostics.push(mistake.related(place, caption));
                }
                (None, _) => {}
            }
            // Nobody can name it, but what is wrong with its parameters has been told.
            if let Item::Node(_) = item {
                self.entries.pop();
            }
        }
        true
    }

    /// Reads a node or a group.
    fn read_item(&mut self, local: &str, place: Span, value: &Syntax, scope: usize, uses: &[Use]) -> Item {
        let name = match self.scopes[scope].name.as_str() {
            "" => local.to_owned(),
            group => format!("{group}/{local}"),
        };
        let mut mistakes = Vec::new();
        let kind = find_kind(value, self.registry, &mut mistakes);
        if kind.is_some_and(NodeKind::is_group) {
            self.diagnostics.extend(mistakes);
            return Item::Group(self.include(name, place, value, scope));
        }
        let mut entry = Entry {
            local: local.to_owned(),
            name,
            span: place,
            scope,
            kind: None,
            read: None,
            edges: Vec::new(),
        };
        if let Some(kind) = kind {
            let mut reader = Reader::new(kind.name, value.head()).with_folders(self.sources.folders());
            if let Form::Name(_) = value.form {
                reader.mismatch(value, &format!("`{}(..)`", kind.name));
            } else {
                entry.read = kind.read(value, &mut reader);
            }
            let (found, edges) = reader.finish();
            mistakes.extend(found);
            entry.kind = Some((kind.name, kind.version));
            entry.edges = edges;
        }
        let explained = mistakes.into_iter().map(|mistake| Values::explain(uses, mistake));
        self.diagnostics.extend(explained);
        self.entries.push(entry);
        Item::Node(self.entries.len() - 1)
    }
}

/// RON itself would accept a struct whose name is left off; but the name tells what the file is.
fn check_name(syntax: &Syntax, diagnostics: &mut Vec<Diagnostic>) {
    match (&syntax.form, syntax.name()) {
        (Form::Broken, _) | (_, Some("Graph")) => {}
        (_, Some(other)) => {
            let mistake = Diagnostic::error(syntax.head(), format!("this is a `{other}`, not a graph"))
                .expected("expected `Graph(..)`");
            diagnostics.push(match other {
                "Group" => mistake.help("a group is included by a graph: `\"name\": Group(path: \"..\")`"),
                _ => mistake,
            });
        }
        (Form::Fields(..) | Form::Tuple(..), None) => {
            let bracket = Span::new(syntax.span.start, syntax.span.start + 1);
            diagnostics.push(
                Diagnostic::error(bracket, "the type name of the graph is missing")
                    .expected("expected `Graph(`"),
            );
        }
        _ => {}
    }
}

pub(crate) fn read_format(fields: &Fields<'_>, reader: &mut Reader) {
    let Some(format) = fields.required::<u32>("format", None, reader) else {
        return;
    };
    if format != FORMAT {
        let message = format!("this version of Peel does not read graphs of format {format}");
        let span = reader.span_of("format");
        reader.report(Diagnostic::error(span, message).expected(format!("expected {FORMAT}")));
    }
}

fn read_working_space(fields: &Fields<'_>, reader: &mut Reader) -> Option<ColourSpace> {
    let space =
        fields.optional::<ColourSpace>("working_space", None, reader, || ColourSpace::LinearRec709)?;
    if !space.is_linear() {
        let linear = ColourSpace::ALL.into_iter().filter(|space| space.is_linear());
        let names: Vec<&str> = linear.map(ColourSpace::name).collect();
        let span = reader.span_of("working_space");
        reader.report(
            Diagnostic::error(span, format!("the working space is scene-linear; {space} is not"))
                .expected(format!("expected one of {}", names.join(", "))),
        );
    }
    Some(space)
}

/// The `frames` of a graph: `"1001-1100x2"`, or one frame's number.
struct Frames(FrameRange);

impl Param for Frames {
    fn shape() -> Shape {
        Shape::plain("\"1001-1100\"")
    }

    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<Frames> {
        let one;
        let text = match &syntax.form {
            Form::Number(number) if number.whole.is_some() => {
                one = reader
                    .whole(syntax, i32::MIN.into(), i32::MAX.into())?
                    .to_string();
                one.as_str()
            }
            _ => reader.text(syntax, "frames in quotes, such as \"1001-1100\" or \"1,3,7-9\"")?,
        };
        match text.parse() {
            Ok(range) => Some(Frames(range)),
            Err(error) => {
                let error: peel_io::Error = error;
                reader.report(Diagnostic::error(syntax.span, error.to_string()));
                None
            }
        }
    }

    fn hash(&self, _frame: i32, key: &mut KeyBuilder) {
        key.str(&self.show());
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// A node's name. The dot parts it from an output's name in edges.
fn read_name<'s>(key: &'s Syntax, diagnostics: &mut Vec<Diagnostic>) -> Option<&'s str> {
    let text = match &key.form {
        Form::Text(text) => text,
        Form::Broken => return None,
        other => {
            let expected = match other {
                Form::Name(name) => format!("expected `\"{name}\"`"),
                _ => format!("expected the name of a node in quotes, found {}", key.describe()),
            };
            diagnostics
                .push(Diagnostic::error(key.span, "the name of a node stands in quotes").expected(expected));
            return None;
        }
    };
    let wrong = if text.is_empty() || text.trim() != text {
        "a node's name neither is empty nor begins or ends with a blank"
    } else if text.contains(['.', '/', '\\']) || text.contains(char::is_control) {
        "a node's name has no dot, slash or control character"
    } else if text.chars().count() > LONGEST_NAME {
        "this name is too long"
    } else {
        return Some(text);
    };
    diagnostics.push(Diagnostic::error(key.span, wrong));
    None
}

/// The kind that is written before a node's parameters. Where that is wrong, which is reported, the kind that
/// was probably meant: so the parameters are looked at nevertheless.
fn find_kind<'r>(
    value: &Syntax,
    registry: &'r Registry,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<&'r NodeKind> {
    if value.form == Form::Broken {
        return None;
    }
    let Some(name) = value.name() else {
        let mut diagnostic = Diagnostic::error(value.span, "the kind of this node is missing").expected(
            format!("expected `Kind(name: value, ..)`, found {}", value.describe()),
        );
        let meant = only_kind_with(value, registry);
        if let Some(kind) = meant {
            diagnostic = diagnostic.help(format!("did you mean `{}(..)`?", kind.name));
        }
        diagnostics.push(diagnostic);
        return meant;
    };
    if let Some(kind) = registry.get(name) {
        return Some(kind);
    }
    let names = || registry.kinds().iter().map(|kind| kind.name);
    let meant = nearest(name, names());
    let help = match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
    };
    let message = format!("there is no kind of node `{name}`");
    diagnostics.push(Diagnostic::error(value.head(), message).help(help));
    meant.and_then(|meant| registry.get(meant))
}

/// The kind that has all the parameters written here, if it is the only one.
fn only_kind_with<'r>(value: &Syntax, registry: &'r Registry) -> Option<&'r NodeKind> {
    let Form::Fields(_, fields) = &value.form else {
        return None;
    };
    let mut fitting = registry
        .kinds()
        .iter()
        .filter(|kind| !kind.is_group())
        .filter(|kind| {
            let params = (kind.params)();
            fields
                .iter()
                .all(|field| params.iter().any(|param| param.name == field.name.text))
        });
    let first = fitting.next();
    first.filter(|_| fitting.next().is_none())
}
