//! What to evaluate for some targets, and in which order.

use peel_node::{Temperament, nearest};
use petgraph::graph::NodeIndex;
use petgraph::visit::{DfsPostOrder, Reversed};

use crate::Graph;

/// The nodes that some targets need.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Inputs before the nodes that use them; the same order for the same text.
    pub order: Vec<NodeIndex>,
    /// The targets, in the order asked for.
    pub targets: Vec<NodeIndex>,
}

/// A name that the graph does not have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the graph has no {what} `{name}`{}", hint(nearest))]
pub struct UnknownName {
    what: &'static str,
    name: String,
    nearest: Option<String>,
}

fn hint(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

impl UnknownName {
    fn new<'a>(what: &'static str, name: &str, known: impl Iterator<Item = &'a str>) -> UnknownName {
        UnknownName {
            what,
            name: name.to_owned(),
            nearest: nearest(name, known).map(str::to_owned),
        }
    }
}

impl Graph {
    /// The plan for these nodes, or for all sinks.
    pub fn plan(&self, targets: Option<&[&str]>) -> Result<Plan, UnknownName> {
        let targets = match targets {
            Some(names) => names
                .iter()
                .map(|name| self.node(name))
                .collect::<Result<Vec<_>, _>>()?,
            None => self.sinks().collect(),
        };
        let upstream = Reversed(&self.nodes);
        let mut order = Vec::new();
        let mut walk = DfsPostOrder::empty(upstream);
        for &target in &targets {
            walk.move_to(target);
            while let Some(node) = walk.next(upstream) {
                order.push(node);
            }
        }
        Ok(Plan { order, targets })
    }

    /// The nodes that write files, in the order of the graph file.
    pub fn sinks(&self) -> impl Iterator<Item = NodeIndex> {
        self.nodes
            .node_indices()
            .filter(|&index| matches!(self.nodes[index].node.temperament(), Temperament::Sink(_)))
    }

    /// The output that `"node"` or `"node.output"` names.
    pub fn output(&self, name: &str) -> Result<(NodeIndex, usize), UnknownName> {
        let (node, output) = name
            .split_once('.')
            .map_or((name, None), |(node, output)| (node, Some(output)));
        if let Some(group) = self.groups.iter().find(|group| group.name == node) {
            let wanted =
                |(name, ..): &&(String, NodeIndex, usize)| output.is_none_or(|output| name == output);
            let known = group.outputs.iter().map(|(name, ..)| name.as_str());
            return group
                .outputs
                .iter()
                .find(wanted)
                .map(|(_, index, output)| (*index, *output))
                .ok_or_else(|| UnknownName::new("output", output.unwrap_or(node), known));
        }
        let index = self.node(node)?;
        let Some(wanted) = output else {
            return Ok((index, 0));
        };
        let outputs = &self.nodes[index].outputs;
        let position = outputs.iter().position(|output| output.name == wanted);
        let known = outputs.iter().map(|output| output.name.as_str());
        position
            .map(|output| (index, output))
            .ok_or_else(|| UnknownName::new("output", wanted, known))
    }

    fn node(&self, name: &str) -> Result<NodeIndex, UnknownName> {
        let names = self.nodes.node_weights().map(|node| node.name.as_str());
        self.find(name)
            .ok_or_else(|| UnknownName::new("node", name, names))
    }
}
