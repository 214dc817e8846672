//! Group files: a graph's nodes with inputs, parameters and outputs of their own, to be included by others.
//!
//! ```text
//! Group(
//!     format: 1,
//!     about: "Warms what is inside a matte.",
//!     inputs: {"plate": Layer, "where": Optional(Matte)},
//!     parameters: {"warmth": Number(default: 0.2, min: 0, max: 1, about: "How warm.")},
//!     nodes: {"warm": Recolor(input: "plate", mask: "where", saturation: Param("warmth"))},
//!     outputs: {"out": "warm"},
//! )
//! ```

use std::collections::HashMap;

use peel_node::params::{Fields, Folders, Limits, ParamDoc};
use peel_node::syntax::{Form, Syntax};
use peel_node::{
    Animated, Choice, Diagnostic, FilePath, Param, Reader, Rgb, Socket, SocketType, Span, Vec2, socket,
};

/// What a group file says of itself, for its manual.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupFile {
    /// What it is.
    pub about: String,
    /// Names and types of what is connected to it.
    pub inputs: Vec<(String, String)>,
    /// What else may be set.
    pub parameters: Vec<ParamDoc>,
    /// Names of what it offers.
    pub outputs: Vec<String>,
}

/// A group file as read, before it is put to use.
pub(crate) struct Definition<'s> {
    pub about: String,
    pub inputs: Vec<Port<'s>>,
    pub parameters: Vec<Parameter<'s>>,
    pub nodes: Option<&'s Syntax>,
    /// Name and edge.
    pub outputs: Vec<(&'s str, &'s Syntax)>,
}

/// A declared input.
pub(crate) struct Port<'s> {
    pub name: &'s str,
    /// Where it is declared.
    pub span: Span,
    pub accepts: &'static [SocketType],
    /// Whether a call may leave it out; what names it inside is then left out too.
    pub optional: bool,
}

/// A declared parameter.
pub(crate) struct Parameter<'s> {
    pub name: &'s str,
    pub kind: Type,
    pub limits: Limits,
    pub default: Option<&'s Syntax>,
    pub about: String,
}

/// What may be connected to an input of a group.
#[derive(Choice)]
enum Accepts {
    /// A layer.
    Layer,
    /// A matte.
    Matte,
    /// A stack.
    Stack,
    /// A layer or a whole stack.
    LayerOrStack,
    /// A layer or a matte.
    LayerOrMatte,
    /// Anything.
    Any,
}

impl Accepts {
    fn types(&self) -> &'static [SocketType] {
        match self {
            Accepts::Layer => socket::Layer::ACCEPTS,
            Accepts::Matte => socket::Matte::ACCEPTS,
            Accepts::Stack => socket::Stack::ACCEPTS,
            Accepts::LayerOrStack => socket::LayerOrStack::ACCEPTS,
            Accepts::LayerOrMatte => socket::LayerOrMatte::ACCEPTS,
            Accepts::Any => socket::Any::ACCEPTS,
        }
    }
}

/// The type of a group's parameter.
pub(crate) enum Type {
    /// May be animated, as the next three.
    Number,
    Whole,
    Colour,
    Point,
    Text,
    /// Relative to the file that it is written in.
    Path,
    Bool,
    /// One of these names.
    Choice(Vec<String>),
}

const TYPES: [&str; 8] = [
    "Number", "Whole", "Colour", "Point", "Text", "Path", "Bool", "Choice",
];

impl Type {
    fn show(&self) -> String {
        match self {
            Type::Number => Animated::<f64>::shape().type_name,
            Type::Whole => Animated::<i32>::shape().type_name,
            Type::Colour => Animated::<Rgb>::shape().type_name,
            Type::Point => Animated::<Vec2>::shape().type_name,
            Type::Text => String::shape().type_name,
            Type::Path => FilePath::shape().type_name,
            Type::Bool => bool::shape().type_name,
            Type::Choice(names) => names.join(" or "),
        }
    }

    /// Checks a value that is written under this name; what is wrong goes to the reader.
    fn check(&self, fields: &Fields<'_>, name: &str, limits: Limits, reader: &mut Reader) -> bool {
        fn is<T: Param>(fields: &Fields<'_>, name: &str, limits: Limits, reader: &mut Reader) -> bool {
            fields.required::<T>(name, Some(limits), reader).is_some()
        }
        let Some(value) = fields.get(name) else {
            return false;
        };
        match self {
            Type::Number => is::<Animated<f64>>(fields, name, limits, reader),
            // Seeds are larger than what can be animated.
            Type::Whole if matches!(value.form, Form::Number(_)) => is::<i64>(fields, name, limits, reader),
            Type::Whole => is::<Animated<i32>>(fields, name, limits, reader),
            Type::Colour => is::<Animated<Rgb>>(fields, name, limits, reader),
            Type::Point => is::<Animated<Vec2>>(fields, name, limits, reader),
            Type::Text => is::<String>(fields, name, limits, reader),
            Type::Path => is::<FilePath>(fields, name, limits, reader),
            Type::Bool => is::<bool>(fields, name, limits, reader),
            Type::Choice(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let read = |reader: &mut Reader| reader.choice(value, &names).is_some();
                reader.under(name, value.span, read)
            }
        }
    }
}

impl Parameter<'_> {
    /// What is written for it at a call, if that is right, else its default.
    pub fn value<'v>(&'v self, fields: &Fields<'v>, reader: &mut Reader) -> Option<&'v Syntax> {
        match fields.get(self.name) {
            Some(written) => self
                .kind
                .check(fields, self.name, self.limits, reader)
                .then_some(written),
            None => {
                if self.default.is_none() {
                    fields.lacks(self.name, &self.kind.show(), reader);
                }
                self.default
            }
        }
    }

    fn doc(&self, text: &dyn Fn(Span) -> String) -> ParamDoc {
        ParamDoc {
            name: self.name.to_owned(),
            type_name: self.kind.show(),
            required: self.default.is_none(),
            default: self.default.map(|default| text(default.span)),
            unit: None,
            soft: None,
            hard: (self.limits != Limits::default()).then_some(self.limits),
            doc: self.about.clone(),
            choices: Vec::new(),
            group: Vec::new(),
        }
    }
}

impl<'s> Definition<'s> {
    /// Reads a file's tree. What is wrong goes to `diagnostics`; as much as can be read is there all the same.
    pub fn read(
        syntax: &'s Syntax,
        owner: &str,
        folders: &Folders,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Definition<'s>> {
        let mut reader = Reader::new(owner, syntax.head()).with_folders(folders.clone());
        let known = ["format", "about", "inputs", "parameters", "nodes", "outputs"];
        let fields = reader.fields(syntax, "Group", &known);
        let definition = fields.map(|fields| {
            crate::read::read_format(&fields, &mut reader);
            let about = fields.optional("about", None, &mut reader, String::new);
            let inputs = entries(&fields, "inputs", "Layer", &mut reader, diagnostics);
            let parameters = entries(
                &fields,
                "parameters",
                "Number(default: 0)",
                &mut reader,
                diagnostics,
            );
            let outputs = entries(&fields, "outputs", "\"node\"", &mut reader, diagnostics);
            if fields.get("nodes").is_none() {
                fields.lacks("nodes", "{\"name\": Kind(..), ..}", &mut reader);
            }
            let mut read = Definition {
                about: about.unwrap_or_default(),
                inputs: inputs
                    .into_iter()
                    .filter_map(|(name, span, value)| {
                        let (value, optional) = match &value.form {
                            Form::Tuple(Some(kind), items) if kind.text == "Optional" && items.len() == 1 => {
                                (&items[0], true)
                            }
                            _ => (value, false),
                        };
                        let accepts = Accepts::read(value, &mut reader)?.types();
                        Some(Port {
                            name,
                            span,
                            accepts,
                            optional,
                        })
                    })
                    .collect(),
                parameters: Vec::new(),
                nodes: fields.get("nodes"),
                outputs: outputs
                    .into_iter()
                    .map(|(name, _, value)| (name, value))
                    .collect(),
            };
            for (name, span, value) in parameters {
                if name == "path" || read.inputs.iter().any(|port| port.name == name) {
                    let message = format!(
                        "`{name}` is taken: a group has its path and its inputs beside its parameters"
                    );
                    reader.report(Diagnostic::error(span, message).expected("expected another name"));
                }
                read.parameters
                    .extend(parameter(name, value, folders, diagnostics));
            }
            read
        });
        diagnostics.extend(reader.finish().0);
        definition
    }

    /// What the file says of itself; `text` gives the text of a span.
    pub fn doc(&self, text: &dyn Fn(Span) -> String) -> GroupFile {
        let types = |port: &Port<'_>| {
            let names: Vec<String> = port.accepts.iter().map(SocketType::to_string).collect();
            let optional = if port.optional { ", optional" } else { "" };
            (port.name.to_owned(), names.join(" or ") + optional)
        };
        GroupFile {
            about: self.about.clone(),
            inputs: self.inputs.iter().map(types).collect(),
            parameters: self
                .parameters
                .iter()
                .map(|parameter| parameter.doc(text))
                .collect(),
            outputs: self.outputs.iter().map(|(name, _)| (*name).to_owned()).collect(),
        }
    }
}

/// The entries of one of the file's maps; names are those of fields, since a call writes them so.
fn entries<'s>(
    fields: &Fields<'s>,
    field: &str,
    example: &str,
    reader: &mut Reader,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<(&'s str, Span, &'s Syntax)> {
    let Some(map) = fields.get(field) else {
        return Vec::new();
    };
    let Form::Map(written) = &map.form else {
        if map.form != Form::Broken {
            let message = format!("`{field}` has the wrong type");
            let expected = format!("expected `{{\"name\": {example}, ..}}`, found {}", map.describe());
            reader.report(Diagnostic::error(map.span, message).expected(expected));
        }
        return Vec::new();
    };
    let mut found: Vec<(&str, Span, &Syntax)> = Vec::new();
    let mut places: HashMap<&str, Span> = HashMap::new();
    for (key, value) in written {
        let Form::Text(name) = &key.form else {
            if key.form != Form::Broken {
                let message = format!("a name in `{field}` stands in quotes");
                let expected = format!("expected a name in quotes, found {}", key.describe());
                diagnostics.push(Diagnostic::error(key.span, message).expected(expected));
            }
            continue;
        };
        let mut characters = name.chars();
        let plain = characters
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && characters.all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !plain || name.len() > crate::read::LONGEST_NAME {
            let message =
                format!("a name in `{field}` is made of letters, digits and `_`, and starts with no digit");
            diagnostics.push(Diagnostic::error(key.span, message));
            continue;
        }
        if let Some(&first) = places.get(name.as_str()) {
            let mistake = Diagnostic::error(key.span, format!("`{name}` is declared twice"));
            diagnostics.push(mistake.related(first, "first declared here"));
            continue;
        }
        places.insert(name, key.span);
        found.push((name, key.span, value));
    }
    found
}

/// Reads `Number(default: 0.5, min: 0, max: 1, about: "..")`.
fn parameter<'s>(
    name: &'s str,
    syntax: &'s Syntax,
    folders: &Folders,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Parameter<'s>> {
    let owner = format!("`{name}`");
    let mut reader = Reader::new(&owner, syntax.head()).with_folders(folders.clone());
    let read = reader.choice(syntax, &TYPES).and_then(|kind| {
        let kind = TYPES[kind];
        let limited = matches!(kind, "Number" | "Whole" | "Colour" | "Point");
        let known: &[&str] = match kind {
            "Choice" => &["default", "about", "of"],
            _ if limited => &["default", "about", "min", "max"],
            _ => &["default", "about"],
        };
        // A bare name is a type without anything else to say.
        let bare = Syntax {
            form: Form::Tuple(None, Vec::new()),
            span: syntax.span,
        };
        if matches!(syntax.form, Form::Name(_)) {
            let kind = read_type(kind, &reader.fields(&bare, kind, known)?, &mut reader)?;
            return Some(Parameter {
                name,
                kind,
                limits: Limits::default(),
                default: None,
                about: String::new(),
            });
        }
        let fields = reader.fields(syntax, kind, known)?;
        let about = fields.optional("about", None, &mut reader, String::new);
        let mut limit = |name: &str| fields.optional::<Option<f64>>(name, None, &mut reader, || None);
        let limits = match limited {
            true => Limits {
                min: limit("min").flatten(),
                max: limit("max").flatten(),
            },
            false => Limits::default(),
        };
        let kind = read_type(kind, &fields, &mut reader)?;
        let default = fields.get("default");
        if default.is_some() {
            kind.check(&fields, "default", limits, &mut reader);
        }
        Some(Parameter {
            name,
            kind,
            limits,
            default,
            about: about.unwrap_or_default(),
        })
    });
    diagnostics.extend(reader.finish().0);
    read
}

fn read_type(kind: &str, fields: &Fields<'_>, reader: &mut Reader) -> Option<Type> {
    Some(match kind {
        "Number" => Type::Number,
        "Whole" => Type::Whole,
        "Colour" => Type::Colour,
        "Point" => Type::Point,
        "Text" => Type::Text,
        "Path" => Type::Path,
        "Bool" => Type::Bool,
        _ => {
            let Some(of) = fields.get("of") else {
                fields.lacks("of", "[Name, ..]", reader);
                return None;
            };
            let Form::List(items) = &of.form else {
                reader.mismatch(of, "a list of names, `[Name, ..]`");
                return None;
            };
            let name = |item: &Syntax| match &item.form {
                Form::Name(name) => Some(name.clone()),
                _ => None,
            };
            let names: Option<Vec<String>> = items.iter().map(name).collect();
            let Some(names) = names.filter(|names| !names.is_empty()) else {
                reader.mismatch(of, "a list of names, `[Name, ..]`");
                return None;
            };
            Type::Choice(names)
        }
    })
}
