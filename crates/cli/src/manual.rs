//! The manual of a node, from its doc comments and parameters.

use std::fmt::Write;
use std::path::Path;

use peel_graph::GroupFile;
use peel_node::params::{ChoiceDoc, ParamDoc};
use peel_node::{NodeKind, Registry};

/// Columns of wrapped text.
const WIDTH: usize = 96;

/// All kinds with a line each.
pub fn catalogue(registry: &Registry) -> String {
    let widest = registry
        .kinds()
        .iter()
        .map(|kind| kind.name.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for kind in registry.kinds() {
        let _ = writeln!(
            text,
            "{:widest$}  {}",
            kind.name,
            kind.title.lines().next().unwrap_or_default()
        );
    }
    text += "\n`peel nodes KIND` prints a kind's manual.";
    text
}

/// The manual of a kind: its module's text, its parameters, its example.
pub fn manual(kind: &NodeKind) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}\n\nParameters", kind.manual.trim_end());
    for param in (kind.params)() {
        parameter(&mut text, &param, 1);
    }
    let _ = write!(text, "\nexample.ron\n\n{}", indented(kind.example.trim_end(), 4));
    text
}

/// The manual of a group file: what it says of itself, its inputs, parameters and outputs.
pub fn group(file: &Path, group: &GroupFile) -> String {
    let mut text = format!("{}\n", file.display());
    wrapped(&mut text, &group.about, 1);
    text += "\nInputs\n";
    for (name, type_name) in &group.inputs {
        let _ = writeln!(text, "  {name}: {type_name}");
    }
    text += "\nParameters\n";
    for param in &group.parameters {
        parameter(&mut text, param, 1);
    }
    let _ = write!(text, "\nOutputs\n  {}", group.outputs.join(", "));
    text
}

fn parameter(text: &mut String, param: &ParamDoc, level: usize) {
    let margin = "  ".repeat(level);
    let mut facts = vec![param.type_name.clone()];
    facts.extend(param.unit.clone());
    match &param.default {
        Some(default) => facts.push(format!("default {default}")),
        None if param.required => facts.push("required".to_owned()),
        None => facts.push("optional".to_owned()),
    }
    facts.extend(param.hard.map(|limits| format!("must be {limits}")));
    facts.extend(param.soft.map(|limits| format!("usually {limits}")));
    let _ = writeln!(text, "\n{margin}{}: {}", param.name, facts.join("; "));
    wrapped(text, &param.doc, level + 2);
    for choice in &param.choices {
        one_choice(text, choice, level + 2);
    }
    for part in &param.group {
        parameter(text, part, level + 2);
    }
}

fn one_choice(text: &mut String, choice: &ChoiceDoc, level: usize) {
    let margin = "  ".repeat(level);
    let value = choice
        .value
        .as_ref()
        .map_or(String::new(), |shape| format!("({})", shape.type_name));
    let fields = if choice.fields.is_empty() { "" } else { "(..)" };
    let _ = writeln!(text, "{margin}- {}{value}{fields}", choice.name);
    wrapped(text, &choice.doc, level + 2);
    for field in &choice.fields {
        parameter(text, field, level + 2);
    }
    for inner in choice.value.iter().flat_map(|shape| &shape.choices) {
        one_choice(text, inner, level + 2);
    }
    for field in choice.value.iter().flat_map(|shape| &shape.group) {
        parameter(text, field, level + 2);
    }
}

/// A doc comment as paragraphs: lines are joined and broken again at [`WIDTH`].
fn wrapped(text: &mut String, doc: &str, level: usize) {
    let margin = "  ".repeat(level);
    for paragraph in doc
        .split("\n\n")
        .map(str::trim)
        .filter(|paragraph| !paragraph.is_empty())
    {
        let mut line = margin.clone();
        for word in paragraph.split_whitespace() {
            if line.len() > margin.len() && line.len() + 1 + word.len() > WIDTH {
                let _ = writeln!(text, "{line}");
                line.clone_from(&margin);
            }
            if line.len() > margin.len() {
                line.push(' ');
            }
            line += word;
        }
        let _ = writeln!(text, "{line}");
    }
}

fn indented(text: &str, by: usize) -> String {
    let margin = " ".repeat(by);
    let lines = text.lines().map(|line| {
        if line.is_empty() {
            String::new()
        } else {
            format!("{margin}{line}")
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_broken_at_the_width() {
        let mut text = String::new();
        wrapped(&mut text, &"word ".repeat(40), 2);
        assert!(
            text.lines().count() == 3
                && text
                    .lines()
                    .all(|line| line.len() <= WIDTH && line.starts_with("    word"))
        );
    }

    #[test]
    fn every_kind_has_a_manual_with_every_parameter() {
        let registry = peel_nodes::registry();
        for kind in registry.kinds() {
            let text = manual(kind);
            assert!(catalogue(&registry).contains(kind.name));
            for param in (kind.params)() {
                assert!(
                    text.contains(&format!("{}: ", param.name)),
                    "{}: {}",
                    kind.name,
                    param.name
                );
            }
        }
    }
}
