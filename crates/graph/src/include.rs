//! Groups: the nodes of other files, put into a graph under the group's name.
//!
//! What a call gives is read against what the file declares; the file's nodes are then read like the graph's own, with
//! the parameters in their places. So a group is gone before anything is connected: the same nodes written into the
//! graph itself would have the same keys.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use peel_node::params::EdgeUse;
use peel_node::syntax::{Form, Syntax};
use peel_node::{Diagnostic, FilePath, Input, Param, Reader, SocketType, Span, socket};

use crate::group::Definition;
use crate::read::{Inlet, Reading, Scope};
use crate::substitute::{Values, shift, shift_diagnostic};

/// Groups in groups.
const DEEPEST_GROUPS: usize = 32;

impl Reading<'_> {
    /// Reads `Group(path: "file.ron", ..)`: a scope with the nodes of that file.
    pub fn include(&mut self, name: String, span: Span, call: &Syntax, parent: usize) -> usize {
        let scope = self.scopes.len();
        self.scopes.push(Scope {
            name,
            span,
            parent: Some(parent),
            items: HashMap::new(),
            inputs: HashMap::new(),
            outputs: None,
            file: PathBuf::new(),
        });
        let mut reader = Reader::new("Group", call.head()).with_folders(self.sources.folders());
        let written = match &call.form {
            Form::Fields(_, fields) => fields.iter().find(|field| field.name.text == "path"),
            _ => None,
        };
        let path = match written {
            Some(field) => {
                let read = |reader: &mut Reader| FilePath::read(&field.value, reader);
                reader.under("path", field.value.span, read)
            }
            None => {
                let fields = reader.fields(call, "Group", &["path"]);
                fields.and_then(|fields| fields.required::<FilePath>("path", None, &mut reader))
            }
        };
        let place = reader.span_of("path");
        self.diagnostics.extend(reader.finish().0);
        let Some(path) = path else { return scope };
        let file = self.folder.join(path.as_str());
        self.scopes[scope].file = place_of(&file);
        if let Some(mistake) = self.circle(scope, place) {
            self.diagnostics.push(mistake);
            return scope;
        }
        let Some(tree) = self.load_tree(&file, Path::new(path.as_str()), place) else {
            return scope;
        };
        self.call(&tree, &file, call, scope);
        scope
    }

    /// Reads what a call gives to a group file, then the file's nodes.
    fn call(&mut self, tree: &Syntax, file: &Path, call: &Syntax, scope: usize) {
        let short = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
        let owner = format!("`{short}`");
        let folders = self.sources.folders();
        let Some(definition) = Definition::read(tree, &owner, &folders, &mut self.diagnostics) else {
            return;
        };
        let inputs = definition.inputs.iter().map(|port| port.name);
        let parameters = definition.parameters.iter().map(|parameter| parameter.name);
        let known: Vec<&str> = ["path"].into_iter().chain(inputs).chain(parameters).collect();
        let mut reader = Reader::new(&owner, call.head()).with_folders(folders);
        let fields = reader.fields(call, &owner, &known);
        let mut edges = Vec::new();
        let (mut values, mut absent) = (HashMap::new(), HashSet::new());
        if let Some(fields) = &fields {
            for port in &definition.inputs {
                if fields.get(port.name).is_none() {
                    edges.push(None);
                    if port.optional {
                        absent.insert(port.name);
                        continue;
                    }
                    let types: Vec<String> = port.accepts.iter().map(SocketType::to_string).collect();
                    fields.lacks(port.name, &types.join(" or "), &mut reader);
                    continue;
                }
                let read = fields.required::<Input<socket::Any>>(port.name, None, &mut reader);
                let edge = read.and_then(|_| reader.edges().last().cloned());
                edges.push(edge.map(|edge| EdgeUse {
                    accepts: port.accepts,
                    ..edge
                }));
            }
            for parameter in &definition.parameters {
                values.insert(parameter.name, parameter.value(fields, &mut reader));
            }
        }
        self.diagnostics.extend(reader.finish().0);
        let values = Values {
            values,
            absent,
            uses: Vec::new(),
            mistakes: Vec::new(),
        };
        self.put_group(&definition, values, edges, scope);
    }

    /// Puts a group's nodes, inputs and outputs into a scope.
    pub fn put_group(
        &mut self,
        definition: &Definition<'_>,
        mut values: Values<'_>,
        edges: Vec<Option<EdgeUse>>,
        scope: usize,
    ) {
        let edges = edges.into_iter().chain(std::iter::repeat(None));
        for (port, edge) in definition.inputs.iter().zip(edges) {
            let inlet = Inlet {
                declared: port.span,
                edge,
            };
            self.scopes[scope].inputs.insert(port.name.to_owned(), inlet);
        }
        let outputs = definition.outputs.iter().map(|(name, value)| {
            let mut reader = Reader::new("Group", value.head());
            let read = reader.under(name, value.span, |reader| {
                Input::<socket::Any>::read(value, reader)
            });
            let (mistakes, edges) = reader.finish();
            self.diagnostics.extend(mistakes);
            (
                name.to_string(),
                edges.into_iter().next().filter(|_| read.is_some()),
            )
        });
        self.scopes[scope].outputs = Some(outputs.collect());
        let Some(nodes) = definition.nodes else { return };
        let nodes = values.put_into(nodes);
        self.diagnostics.append(&mut values.mistakes);
        self.read_nodes(&nodes, scope, &values.uses);
    }

    /// The tree of an included file, read once however often it is included.
    fn load_tree(&mut self, file: &Path, seen_from_graph: &Path, call: Span) -> Option<Arc<Syntax>> {
        let place = place_of(file);
        if let Some(known) = self.trees.get(&place) {
            return known.clone();
        }
        self.included.push(file.to_owned());
        let tree = match (self.load)(file) {
            Ok(text) => {
                let folder = seen_from_graph.parent().map(Path::to_owned).unwrap_or_default();
                let text: Arc<str> = text.into();
                let base = self.sources.add(file.to_owned(), folder, Arc::clone(&text));
                let (mut syntax, mut mistakes) = crate::ron::parse(&text);
                shift(&mut syntax, base);
                mistakes
                    .iter_mut()
                    .for_each(|mistake| shift_diagnostic(mistake, base));
                self.diagnostics.extend(mistakes);
                let sound = check_group(&syntax, Some(call), &mut self.diagnostics);
                sound.then(|| Arc::new(syntax))
            }
            Err(error) => {
                let message = format!("{} cannot be read: {error}", file.display());
                let help = "a path starts at the folder of the file that it is written in";
                self.diagnostics.push(Diagnostic::error(call, message).help(help));
                None
            }
        };
        self.trees.insert(place, tree.clone());
        tree
    }

    /// What is wrong with a group whose file is one of those around it.
    fn circle(&self, scope: usize, place: Span) -> Option<Diagnostic> {
        let file = &self.scopes[scope].file;
        let around = std::iter::successors(self.scopes[scope].parent, |&scope| self.scopes[scope].parent);
        let chain: Vec<&Path> = around.map(|scope| self.scopes[scope].file.as_path()).collect();
        let short = |path: &Path| {
            path.file_name()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned()
        };
        if let Some(at) = chain.iter().position(|around| around == file) {
            let names: Vec<String> = chain[..=at].iter().rev().map(|path| short(path)).collect();
            let way = format!("{} -> {}", names.join(" -> "), short(file));
            let message = format!("these files include each other: {way}");
            return Some(
                Diagnostic::error(place, message).expected("expected a file that does not include this one"),
            );
        }
        (chain.len() > DEEPEST_GROUPS).then(|| {
            Diagnostic::error(
                place,
                format!("groups stand in groups {DEEPEST_GROUPS} deep at most"),
            )
        })
    }
}

/// A file by its place, however it is written.
pub(crate) fn place_of(file: &Path) -> PathBuf {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let mut place = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => _ = place.pop(),
            Component::CurDir => {}
            part => place.push(part),
        }
    }
    place
}

/// Whether a file is a group's, going by its name.
pub(crate) fn check_group(syntax: &Syntax, call: Option<Span>, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let mistake = match (&syntax.form, syntax.name()) {
        (Form::Broken, _) => return false,
        (_, Some("Group")) => return true,
        (_, Some(other)) => Diagnostic::error(syntax.head(), format!("this is a `{other}`, not a group"))
            .expected("expected `Group(..)`"),
        _ => {
            let bracket = Span::new(syntax.span.start, syntax.span.start + 1);
            Diagnostic::error(bracket, "this is no group").expected("expected `Group(`")
        }
    };
    diagnostics.push(match call {
        Some(call) => mistake.related(call, "included here"),
        None => mistake,
    });
    false
}
