//! Syntax to nodes: the graph's own fields, names and kinds of nodes, and each node's parameters.

use std::collections::HashMap;

use peel_image::ColourSpace;
use peel_io::FrameRange;
use peel_node::params::{EdgeUse, Fields, Shape};
use peel_node::syntax::{Form, Syntax};
use peel_node::{Diagnostic, KeyBuilder, NodeKind, Param, ReadNode, Reader, Registry, Span, nearest};

/// The format that this version reads.
const FORMAT: u32 = 1;
/// Names are shown in messages and become parts of file names.
const LONGEST_NAME: usize = 128;

/// A graph as read, before its nodes are connected.
pub(crate) struct Outline {
    pub frames: Option<FrameRange>,
    pub working_space: Option<ColourSpace>,
    /// Nodes with distinct names, in the order of the file; `None` where they could not be found at all.
    pub nodes: Option<Vec<Entry>>,
    /// Where the nodes stand.
    pub nodes_span: Span,
}

/// A node as read. Where its kind or a parameter is wrong it has no node, but its name is known and its edges
/// can be checked.
pub(crate) struct Entry {
    pub name: String,
    pub span: Span,
    pub kind: Option<(&'static str, u32)>,
    pub read: Option<ReadNode>,
    pub edges: Vec<EdgeUse>,
}

/// Reads a graph's text.
pub(crate) fn outline(text: &str, registry: &Registry, diagnostics: &mut Vec<Diagnostic>) -> Outline {
    let (syntax, mistakes) = crate::ron::parse(text);
    diagnostics.extend(mistakes);
    check_name(&syntax, diagnostics);
    let mut reader = Reader::new("Graph", syntax.head());
    let names = ["format", "frames", "working_space", "nodes"];
    let mut outline = Outline {
        frames: None,
        working_space: None,
        nodes: None,
        nodes_span: syntax.head(),
    };
    let fields = reader.fields(&syntax, "Graph", &names);
    if let Some(fields) = &fields {
        read_format(fields, &mut reader);
        outline.frames = fields
            .required::<Frames>("frames", None, &mut reader)
            .map(|frames| frames.0);
        outline.working_space = read_working_space(fields, &mut reader);
        if fields.get("nodes").is_none() {
            fields.lacks("nodes", "{\"name\": Kind(..), ..}", &mut reader);
        }
    }
    if let Some(nodes) = fields.and_then(|fields| fields.get("nodes")) {
        outline.nodes_span = nodes.head();
        match &nodes.form {
            Form::Map(entries) => outline.nodes = Some(read_nodes(entries, registry, diagnostics)),
            Form::Broken => {}
            _ => reader.report(
                Diagnostic::error(nodes.span, "`nodes` has the wrong type").expected(format!(
                    "expected `{{\"name\": Kind(..), ..}}`, found {}",
                    nodes.describe()
                )),
            ),
        }
    }
    diagnostics.extend(reader.finish().0);
    outline
}

/// RON itself would accept a struct whose name is left off; but the name tells what the file is.
fn check_name(syntax: &Syntax, diagnostics: &mut Vec<Diagnostic>) {
    match (&syntax.form, syntax.name()) {
        (Form::Broken, _) | (_, Some("Graph")) => {}
        (_, Some(other)) => diagnostics.push(
            Diagnostic::error(syntax.head(), format!("this is a `{other}`, not a graph"))
                .expected("expected `Graph(..)`"),
        ),
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

fn read_format(fields: &Fields<'_>, reader: &mut Reader) {
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

fn read_nodes(
    entries: &[(Syntax, Syntax)],
    registry: &Registry,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Entry> {
    let mut nodes: Vec<Entry> = Vec::with_capacity(entries.len());
    let mut places: HashMap<&str, Span> = HashMap::with_capacity(entries.len());
    for (key, value) in entries {
        let name = read_name(key, diagnostics);
        let mut entry = read_node(value, registry, diagnostics);
        let Some(name) = name else {
            continue;
        };
        if let Some(&first) = places.get(name) {
            diagnostics.push(
                Diagnostic::error(key.span, format!("two nodes are named `{name}`"))
                    .expected("expected another name")
                    .related(first, "the first one"),
            );
            continue;
        }
        places.insert(name, key.span);
        (entry.name, entry.span) = (name.to_owned(), key.span);
        nodes.push(entry);
    }
    nodes
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

/// A node without its name.
fn read_node(value: &Syntax, registry: &Registry, diagnostics: &mut Vec<Diagnostic>) -> Entry {
    let mut entry = Entry {
        name: String::new(),
        span: value.head(),
        kind: None,
        read: None,
        edges: Vec::new(),
    };
    let Some(kind) = find_kind(value, registry, diagnostics) else {
        return entry;
    };
    let mut reader = Reader::new(kind.name, value.head());
    if let Form::Name(_) = value.form {
        reader.mismatch(value, &format!("`{}(..)`", kind.name));
    } else {
        entry.read = kind.read(value, &mut reader);
    }
    let (mistakes, edges) = reader.finish();
    diagnostics.extend(mistakes);
    entry.kind = Some((kind.name, kind.version));
    entry.edges = edges;
    entry
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
    let mut fitting = registry.kinds().iter().filter(|kind| {
        let params = (kind.params)();
        fields
            .iter()
            .all(|field| params.iter().any(|param| param.name == field.name.text))
    });
    let first = fitting.next();
    first.filter(|_| fitting.next().is_none())
}
