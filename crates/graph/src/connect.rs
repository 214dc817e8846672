//! Edges: from names to nodes, with types checked and cycles found.

use std::collections::{HashMap, VecDeque};

use peel_node::params::EdgeUse;
use peel_node::{Diagnostic, Output, ReadNode, Severity, SocketType, Span, Temperament};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::graph::{EdgeInfo, InputEdge, NodeInstance};
use crate::read::Entry;

/// After so many wrong edges no nearest names are looked for: each look costs a pass over all names.
const MOST_HINTS: usize = 50;

/// Connects nodes; `None` where one of them or of their edges is wrong, which has been told.
pub(crate) fn connect(
    entries: Option<Vec<Entry>>,
    nodes_span: Span,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<DiGraph<NodeInstance, EdgeInfo>> {
    let entries = entries?;
    let edges = Names::of(&entries).resolve_all(&entries, diagnostics);
    report_cycles(&entries, &edges, diagnostics);
    if !diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error)
    {
        report_no_sink(&entries, nodes_span, diagnostics);
    }
    build(entries, edges)
}

/// The nodes by name, and what each offers.
struct Names<'e> {
    indices: HashMap<&'e str, usize>,
    /// `None` for a node that could not be read.
    outputs: Vec<Option<Vec<Output>>>,
    hints_left: usize,
}

impl<'e> Names<'e> {
    fn of(entries: &'e [Entry]) -> Names<'e> {
        Names {
            indices: entries
                .iter()
                .enumerate()
                .map(|(index, entry)| (entry.name.as_str(), index))
                .collect(),
            outputs: entries
                .iter()
                .map(|entry| Some(entry.read.as_ref()?.node.outputs()))
                .collect(),
            hints_left: MOST_HINTS,
        }
    }

    /// Every node's edges that lead somewhere.
    fn resolve_all(mut self, entries: &[Entry], diagnostics: &mut Vec<Diagnostic>) -> Vec<Vec<Found>> {
        let mut resolved = Vec::with_capacity(entries.len());
        for entry in entries {
            let edges = entry.edges.iter();
            resolved.push(
                edges
                    .filter_map(|edge| self.resolve(entry, edge, entries, diagnostics))
                    .collect(),
            );
        }
        resolved
    }

    fn resolve(
        &mut self,
        entry: &Entry,
        wanted: &EdgeUse,
        entries: &[Entry],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Found> {
        let edge = &wanted.edge;
        let Some(&source) = self.indices.get(edge.node.as_str()) else {
            let mut diagnostic =
                Diagnostic::error(edge.span, format!("there is no node named `{}`", edge.node));
            if self.hints_left > 0 {
                self.hints_left -= 1;
                let others = entries
                    .iter()
                    .map(|other| other.name.as_str())
                    .filter(|&name| name != entry.name);
                diagnostic = diagnostic.nearest(&edge.node, others);
            }
            diagnostics.push(diagnostic);
            return None;
        };
        let found = Found {
            slot: wanted.slot,
            param: wanted.param.clone(),
            span: edge.span,
            source,
            output: None,
        };
        let Some(outputs) = &self.outputs[source] else {
            return Some(found);
        };
        let from = &entries[source];
        match choose(outputs, edge.output.as_deref()) {
            Some(output) if wanted.accepts.contains(&outputs[output].socket) => Some(Found {
                output: Some((output, outputs[output].socket)),
                ..found
            }),
            Some(output) => {
                diagnostics.push(type_clash(entry, wanted, from, &outputs[output]));
                Some(found)
            }
            None => {
                diagnostics.push(no_output(edge.span, edge.output.as_deref(), from, outputs));
                Some(found)
            }
        }
    }
}

/// An edge whose source is known; its output only where the source could be read and the types fit.
struct Found {
    slot: usize,
    param: String,
    span: Span,
    source: usize,
    output: Option<(usize, SocketType)>,
}

/// The output of this name, or the first one.
fn choose(outputs: &[Output], name: Option<&str>) -> Option<usize> {
    match name {
        Some(name) => outputs.iter().position(|output| output.name == name),
        None => (!outputs.is_empty()).then_some(0),
    }
}

fn kind_of(entry: &Entry) -> &'static str {
    entry.kind.map_or("node", |(kind, _)| kind)
}

/// Both ends are shown: the edge, and the node that it comes from.
fn type_clash(entry: &Entry, wanted: &EdgeUse, from: &Entry, output: &Output) -> Diagnostic {
    let accepted: Vec<String> = wanted.accepts.iter().map(SocketType::to_string).collect();
    let accepted = accepted.join(" or ");
    let (kind, param) = (kind_of(entry), &wanted.param);
    Diagnostic::error(
        wanted.edge.span,
        format!(
            "`{}` is a {}, but `{param}` of {kind} takes a {accepted}",
            wanted.edge, output.socket
        ),
    )
    .expected(format!("expected a {accepted}, found a {}", output.socket))
    .related(
        from.span,
        format!(
            "`{}` is this {}'s output, a {}",
            output.name,
            kind_of(from),
            output.socket
        ),
    )
}

fn no_output(span: Span, name: Option<&str>, from: &Entry, outputs: &[Output]) -> Diagnostic {
    let names = || outputs.iter().map(|output| output.name.as_str());
    let listed = names()
        .map(|name| format!("`{}.{name}`", from.name))
        .collect::<Vec<_>>()
        .join(", ");
    let diagnostic = match name {
        _ if outputs.is_empty() => {
            Diagnostic::error(span, format!("`{}` gives nothing to other nodes", from.name))
        }
        Some(name) => Diagnostic::error(span, format!("`{}` has no output `{name}`", from.name))
            .expected(format!("expected one of {listed}"))
            .nearest(name, names()),
        None => Diagnostic::error(span, format!("`{}` has no first output", from.name)),
    };
    diagnostic.related(from.span, format!("this is a {}", kind_of(from)))
}

/// Reports each knot of nodes that feed each other, with its shortest way round.
fn report_cycles(entries: &[Entry], edges: &[Vec<Found>], diagnostics: &mut Vec<Diagnostic>) {
    let mut graph: DiGraph<(), usize> = DiGraph::with_capacity(entries.len(), edges.len());
    for _ in entries {
        graph.add_node(());
    }
    for (consumer, found) in edges.iter().enumerate() {
        for edge in found {
            graph.add_edge(NodeIndex::new(edge.source), NodeIndex::new(consumer), edge.slot);
        }
    }
    // Kosaraju's search keeps its own stack; Tarjan's is recursive, and graphs may be long chains.
    for knot in kosaraju_scc(&graph) {
        let Some(start) = knot.iter().map(|node| node.index()).min() else {
            continue;
        };
        if knot.len() > 1 || edges[start].iter().any(|edge| edge.source == start) {
            diagnostics.push(cycle(start, entries, edges));
        }
    }
}

/// The shortest way from a node back to itself, told at its edge. There is one.
fn cycle(start: usize, entries: &[Entry], edges: &[Vec<Found>]) -> Diagnostic {
    /// A longer way is told in part.
    const MOST_SHOWN: usize = 8;
    // Breadth first against the flow: from a consumer to its sources.
    let mut came_from: HashMap<usize, (usize, Span)> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    'search: while let Some(consumer) = queue.pop_front() {
        for edge in &edges[consumer] {
            if edge.source == start || !came_from.contains_key(&edge.source) {
                came_from.insert(edge.source, (consumer, edge.span));
                if edge.source == start {
                    break 'search;
                }
                queue.push_back(edge.source);
            }
        }
    }
    let mut path = vec![start];
    let mut spans = Vec::new();
    while let Some(&(consumer, span)) = path.last().and_then(|node| came_from.get(node)) {
        spans.push(span);
        path.push(consumer);
        if consumer == start {
            break;
        }
    }
    let names: Vec<&str> = path.iter().map(|&node| entries[node].name.as_str()).collect();
    let shown = if names.len() > MOST_SHOWN + 1 {
        format!(
            "{} -> .. -> {}",
            names[..MOST_SHOWN].join(" -> "),
            names[names.len() - 1]
        )
    } else {
        names.join(" -> ")
    };
    let message = match names.as_slice() {
        [only, _] => format!("`{only}` feeds itself"),
        _ => format!("these nodes feed each other: {shown}"),
    };
    // The last edge enters the node where the way began; the others follow it in the order of the flow.
    let place = spans.pop().unwrap_or(entries[start].span);
    let mut diagnostic =
        Diagnostic::error(place, message).expected("expected a node that does not depend on this one");
    for (span, &node) in spans.into_iter().zip(&path[1..]).take(MOST_SHOWN) {
        diagnostic = diagnostic.related(span, format!("feeds `{}`", entries[node].name));
    }
    diagnostic
}

fn report_no_sink(entries: &[Entry], nodes_span: Span, diagnostics: &mut Vec<Diagnostic>) {
    let is_sink = |read: &ReadNode| matches!(read.node.temperament(), Temperament::Sink(_));
    if !entries
        .iter()
        .filter_map(|entry| entry.read.as_ref())
        .any(is_sink)
    {
        let opening = Span::new(nodes_span.start, nodes_span.start + 1);
        diagnostics.push(
            Diagnostic::warning(opening, "nothing in this graph writes a file")
                .help("add a `Write` to render something"),
        );
    }
}

fn build(entries: Vec<Entry>, edges: Vec<Vec<Found>>) -> Option<DiGraph<NodeInstance, EdgeInfo>> {
    let mut graph = DiGraph::with_capacity(entries.len(), edges.len());
    for (entry, found) in entries.into_iter().zip(edges) {
        let (Some((kind, version)), Some(read)) = (entry.kind, entry.read) else {
            return None;
        };
        let edges: Option<Vec<InputEdge>> = found.into_iter().map(Found::into_edge).collect();
        let edges = edges.filter(|edges| edges.len() == entry.edges.len())?;
        graph.add_node(NodeInstance {
            name: entry.name,
            kind,
            version,
            span: entry.span,
            outputs: read.node.outputs(),
            node: read.node,
            hash: read.hash,
            edges,
        });
    }
    for consumer in graph.node_indices() {
        for edge in graph[consumer].edges.clone() {
            graph.add_edge(
                edge.source,
                consumer,
                EdgeInfo {
                    output: edge.output,
                    slot: edge.slot,
                },
            );
        }
    }
    Some(graph)
}

impl Found {
    fn into_edge(self) -> Option<InputEdge> {
        let (output, socket) = self.output?;
        let source = NodeIndex::new(self.source);
        Some(InputEdge {
            slot: self.slot,
            param: self.param,
            source,
            output,
            socket,
            span: self.span,
        })
    }
}
