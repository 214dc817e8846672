//! Edges: from names to nodes, with types checked and cycles found.

use std::collections::{HashMap, VecDeque};

use peel_node::params::EdgeUse;
use peel_node::{Diagnostic, Edge, Output, ReadNode, Severity, SocketType, Span, Temperament};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::graph::{EdgeInfo, GroupInstance, InputEdge, NodeInstance};
use crate::read::{Entry, Header, Inlet, Item, Reading, Scope};

/// After so many wrong edges no nearest names are looked for: each look costs a pass over all names.
const MOST_HINTS: usize = 20;

/// Ways through groups are as long as groups are deep, unless they lead back to themselves.
const MOST_STEPS: usize = 10_000;

/// The nodes with their edges, and what the groups offer.
type Connected = (DiGraph<NodeInstance, EdgeInfo>, Vec<GroupInstance>);

/// Connects nodes; `None` where one of them or of their edges is wrong, which has been told.
pub(crate) fn connect(reading: &mut Reading<'_>, header: &Header) -> Option<Connected> {
    if !header.has_nodes {
        return None;
    }
    let (edges, groups) = edges(reading);
    let Reading {
        entries, diagnostics, ..
    } = reading;
    if !diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error)
    {
        report_no_sink(entries, header.nodes_span, diagnostics);
    }
    let outputs = Typed {
        outputs: outputs_of(entries),
        edges: &edges,
        entries,
    };
    let outputs: Vec<Vec<Output>> = (0..entries.len()).map(|entry| outputs.all(entry)).collect();
    let nodes = build(std::mem::take(entries), edges, outputs)?;
    Some((nodes, groups))
}

/// Looks at everything that is connected, and tells what is wrong.
pub(crate) fn check(reading: &mut Reading<'_>) {
    edges(reading);
}

/// Every entry's edges that lead somewhere, and what the groups offer; what is wrong with them is told.
fn edges(reading: &mut Reading<'_>) -> (Vec<Vec<Found>>, Vec<GroupInstance>) {
    let Reading {
        entries,
        scopes,
        diagnostics,
        ..
    } = reading;
    let mut names = Names {
        scopes,
        entries,
        outputs: outputs_of(entries),
        hints_left: MOST_HINTS,
        mistakes: Vec::new(),
    };
    let edges: Vec<Vec<Found>> = entries
        .iter()
        .map(|entry| {
            let found = entry.edges.iter();
            found
                .filter_map(|edge| names.resolve(entry.scope, edge, Some(&entry.local)))
                .collect()
        })
        .collect();
    let mut groups = Vec::new();
    // What goes into the groups and comes out of them: told once where it is wrong, whoever uses it.
    let mut around: Vec<(Found, &Inlet)> = Vec::new();
    for (index, scope) in scopes.iter().enumerate() {
        for inlet in scope.inputs.values() {
            if let (Some(edge), Some(parent)) = (&inlet.edge, scope.parent)
                && let Some(found) = names.resolve(parent, edge, None)
            {
                around.push((found, inlet));
            }
        }
        let mut outputs = Vec::new();
        for (name, edge) in scope.outputs.iter().flatten() {
            if let Some(edge) = edge
                && let Some(found) = names.resolve(index, edge, None)
                && let Some(output) = found.output
            {
                outputs.push((name.clone(), NodeIndex::new(found.source), output));
            }
        }
        if index > 0 {
            groups.push(GroupInstance {
                name: scope.name.clone(),
                outputs,
            });
        }
    }
    diagnostics.append(&mut names.mistakes);
    let typed = Typed {
        outputs: names.outputs,
        edges: &edges,
        entries,
    };
    for (entry, found) in entries.iter().zip(&edges) {
        diagnostics.extend(
            found
                .iter()
                .filter_map(|found| typed.clash(found, None, kind_of(entry))),
        );
    }
    let clashes = around
        .iter()
        .filter_map(|(found, inlet)| typed.clash(found, Some(inlet), "the group"));
    diagnostics.extend(clashes);
    report_cycles(entries, &edges, diagnostics);
    (edges, groups)
}

/// What each node offers; `None` for one that could not be read.
fn outputs_of(entries: &[Entry]) -> Vec<Option<Vec<Output>>> {
    entries
        .iter()
        .map(|entry| Some(entry.read.as_ref()?.node.outputs()))
        .collect()
}

/// The nodes by name, and what each offers.
struct Names<'e> {
    scopes: &'e [Scope],
    entries: &'e [Entry],
    /// `None` for a node that could not be read.
    outputs: Vec<Option<Vec<Output>>>,
    hints_left: usize,
    mistakes: Vec<Diagnostic>,
}

impl Names<'_> {
    /// The node behind an edge, through groups on both sides of it. Only what is wrong with the edge itself is told:
    /// what is wrong further on is told where it is written. `user` is the node that is connected.
    fn resolve(&mut self, scope: usize, wanted: &EdgeUse, user: Option<&str>) -> Option<Found> {
        let (mut scope, mut edge) = (scope, &wanted.edge);
        let scopes = self.scopes;
        let mut through = Vec::new();
        for step in 0.. {
            let here = &scopes[scope];
            match here.items.get(edge.node.as_str()) {
                Some(&Item::Node(source)) => return self.at_node(source, edge, wanted, through, step > 0),
                Some(&Item::Group(group)) => {
                    let outputs = scopes[group].outputs.as_ref()?;
                    let name = edge.output.as_deref();
                    let Some((_, inner)) = outputs
                        .iter()
                        .find(|(known, _)| name.is_none_or(|name| name == known))
                    else {
                        if step == 0 {
                            let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
                            self.mistakes
                                .push(no_output(edge, scopes[group].span, "Group", &names));
                        }
                        return None;
                    };
                    (scope, edge) = (group, &inner.as_ref()?.edge);
                }
                None => {
                    let Some(inlet) = here.inputs.get(edge.node.as_str()) else {
                        if step == 0 {
                            self.no_node(scope, edge, user);
                        }
                        return None;
                    };
                    if edge.output.is_some() {
                        if step == 0 {
                            let message =
                                format!("`{}` is an input of this group and has no outputs", edge.node);
                            let mistake = Diagnostic::error(edge.span, message);
                            self.mistakes
                                .push(mistake.expected(format!("expected \"{}\"", edge.node)));
                        }
                        return None;
                    }
                    let given = inlet.edge.as_ref()?;
                    through.push(given.accepts);
                    (scope, edge) = (here.parent?, &given.edge);
                }
            }
            if step > MOST_STEPS {
                let message = format!("`{}` leads through groups back to itself", wanted.edge);
                self.mistakes.push(Diagnostic::error(wanted.edge.span, message));
                return None;
            }
        }
        None
    }

    fn at_node(
        &mut self,
        source: usize,
        edge: &Edge,
        wanted: &EdgeUse,
        through: Vec<&'static [SocketType]>,
        quiet: bool,
    ) -> Option<Found> {
        let found = Found {
            wanted: wanted.clone(),
            source,
            output: None,
            through,
        };
        let Some(outputs) = &self.outputs[source] else {
            return Some(found);
        };
        let output = choose(outputs, edge.output.as_deref());
        if output.is_none() && !quiet {
            let from = &self.entries[source];
            let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
            self.mistakes
                .push(no_output(edge, from.span, kind_of(from), &names));
        }
        Some(Found { output, ..found })
    }

    fn no_node(&mut self, scope: usize, edge: &Edge, user: Option<&str>) {
        let mut diagnostic = Diagnostic::error(edge.span, format!("there is no node named `{}`", edge.node));
        if self.hints_left > 0 {
            self.hints_left -= 1;
            let here = |entry: &&Entry| entry.scope == scope;
            let nodes = self.entries.iter().filter(here).map(|entry| entry.local.as_str());
            let Scope { items, inputs, .. } = &self.scopes[scope];
            let is_group = |(_, item): &(&String, &Item)| matches!(item, Item::Group(_));
            let mut others: Vec<&str> = items
                .iter()
                .filter(is_group)
                .map(|(name, _)| name.as_str())
                .collect();
            others.extend(inputs.keys().map(String::as_str));
            // Of names that are equally near always the same one is named.
            others.sort_unstable();
            let known = nodes.chain(others).filter(|&name| Some(name) != user);
            diagnostic = diagnostic.nearest(&edge.node, known);
        }
        self.mistakes.push(diagnostic);
    }
}

/// An edge whose source is known; its output only where the source could be read and has it.
struct Found {
    wanted: EdgeUse,
    source: usize,
    output: Option<usize>,
    /// What the inputs of groups that it comes through accept.
    through: Vec<&'static [SocketType]>,
}

/// The types of what flows: those that nodes declare, or take over from their inputs.
struct Typed<'e> {
    outputs: Vec<Option<Vec<Output>>>,
    edges: &'e [Vec<Found>],
    entries: &'e [Entry],
}

impl Typed<'_> {
    /// The type of an output; `None` where it is not known.
    fn socket(&self, entry: usize, output: usize) -> Option<SocketType> {
        let (mut entry, mut output) = (entry, output);
        // Nodes that take over each other's types in a circle are told as a circle.
        for _ in 0..=self.entries.len() {
            let socket = self.outputs[entry].as_ref()?.get(output)?.socket;
            let node = &self.entries[entry].read.as_ref()?.node;
            let Some(slot) = node.typed_like() else {
                return Some(socket);
            };
            let found = self.edges[entry].iter().find(|found| found.wanted.slot == slot)?;
            (entry, output) = (found.source, found.output?);
        }
        None
    }

    /// What a node offers, with the types that it has here.
    fn all(&self, entry: usize) -> Vec<Output> {
        let mut outputs = self.outputs[entry].clone().unwrap_or_default();
        for (index, output) in outputs.iter_mut().enumerate() {
            if let Some(socket) = self.socket(entry, index) {
                output.socket = socket;
            }
        }
        outputs
    }

    /// What is wrong with the type of an edge. Both ends are shown, and the declaration where a group has one.
    fn clash(&self, found: &Found, inlet: Option<&Inlet>, kind: &str) -> Option<Diagnostic> {
        let wanted = &found.wanted;
        let output = found.output?;
        let socket = self.socket(found.source, output)?;
        // What a group does not accept is told where it is given to it.
        let told = found.through.iter().any(|accepts| !accepts.contains(&socket));
        if told || wanted.accepts.contains(&socket) {
            return None;
        }
        let from = &self.entries[found.source];
        let name = &self.outputs[found.source].as_ref()?.get(output)?.name;
        let accepted: Vec<String> = wanted.accepts.iter().map(SocketType::to_string).collect();
        let accepted = accepted.join(" or ");
        let param = &wanted.param;
        let mut clash = Diagnostic::error(
            wanted.edge.span,
            format!(
                "`{}` is a {socket}, but `{param}` of {kind} takes a {accepted}",
                wanted.edge
            ),
        )
        .expected(format!("expected a {accepted}, found a {socket}"))
        .related(
            from.span,
            format!("`{name}` is this {}'s output, a {socket}", kind_of(from)),
        );
        if let Some(inlet) = inlet {
            clash = clash.related(inlet.declared, "declared here");
        }
        Some(clash)
    }
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

/// What is wrong with an edge to an output that is not there.
fn no_output(edge: &Edge, from: Span, kind: &str, names: &[&str]) -> Diagnostic {
    let listed: Vec<String> = names
        .iter()
        .map(|name| format!("`{}.{name}`", edge.node))
        .collect();
    let diagnostic = match &edge.output {
        _ if names.is_empty() => {
            Diagnostic::error(edge.span, format!("`{}` gives nothing to other nodes", edge.node))
        }
        Some(name) => Diagnostic::error(edge.span, format!("`{}` has no output `{name}`", edge.node))
            .expected(format!("expected one of {}", listed.join(", ")))
            .nearest(name, names.iter().copied()),
        None => Diagnostic::error(edge.span, format!("`{}` has no first output", edge.node)),
    };
    diagnostic.related(from, format!("this is a {kind}"))
}

/// Reports each knot of nodes that feed each other, with its shortest way round.
fn report_cycles(entries: &[Entry], edges: &[Vec<Found>], diagnostics: &mut Vec<Diagnostic>) {
    let mut graph: DiGraph<(), usize> = DiGraph::with_capacity(entries.len(), edges.len());
    for _ in entries {
        graph.add_node(());
    }
    for (consumer, found) in edges.iter().enumerate() {
        for edge in found {
            graph.add_edge(
                NodeIndex::new(edge.source),
                NodeIndex::new(consumer),
                edge.wanted.slot,
            );
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
                came_from.insert(edge.source, (consumer, edge.wanted.edge.span));
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

fn build(
    entries: Vec<Entry>,
    edges: Vec<Vec<Found>>,
    outputs: Vec<Vec<Output>>,
) -> Option<DiGraph<NodeInstance, EdgeInfo>> {
    let sockets: Vec<Vec<SocketType>> = outputs
        .iter()
        .map(|outputs| outputs.iter().map(|output| output.socket).collect())
        .collect();
    let mut graph = DiGraph::with_capacity(entries.len(), edges.len());
    for ((entry, found), outputs) in entries.into_iter().zip(edges).zip(outputs) {
        let (Some((kind, version)), Some(read)) = (entry.kind, entry.read) else {
            return None;
        };
        let edge = |found: Found| {
            let output = found.output?;
            let socket = *sockets[found.source].get(output)?;
            Some(found.into_edge(output, socket))
        };
        let edges: Option<Vec<InputEdge>> = found.into_iter().map(edge).collect();
        let edges = edges.filter(|edges| edges.len() == entry.edges.len())?;
        graph.add_node(NodeInstance {
            name: entry.name,
            kind,
            version,
            span: entry.span,
            outputs,
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
    fn into_edge(self, output: usize, socket: SocketType) -> InputEdge {
        InputEdge {
            slot: self.wanted.slot,
            param: self.wanted.param,
            source: NodeIndex::new(self.source),
            output,
            socket,
            span: self.wanted.edge.span,
        }
    }
}
