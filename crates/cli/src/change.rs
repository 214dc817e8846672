//! One edit of a graph's text: `node.parameter=value`.

use peel_graph::parse_syntax;
use peel_node::nearest;
use peel_node::syntax::{Field, Form, Syntax};

/// The text with a parameter of a node set to a value, or what is wrong with the edit. `grade.gain` names a part of a
/// parameter; a parameter that is not written yet is added.
pub fn apply(text: &str, edit: &str) -> Result<String, String> {
    let wrong = |reason: &str| format!("`{edit}`: {reason}");
    let (place, value) = edit
        .split_once('=')
        .ok_or_else(|| wrong("write NODE.PARAMETER=VALUE, for example grade.exposure=0.5"))?;
    let mut path = place.trim().split('.');
    let (node, value) = (path.next().unwrap_or_default(), value.trim());
    let path: Vec<&str> = path.collect();
    if path.is_empty() || path.contains(&"") || value.is_empty() {
        return Err(wrong(
            "write NODE.PARAMETER=VALUE, for example grade.exposure=0.5",
        ));
    }
    let (graph, _) = parse_syntax(text);
    let nodes = fields(&graph).and_then(|fields| find(fields, "nodes"));
    let Some(Form::Map(nodes)) = nodes.map(|nodes| &nodes.form) else {
        return Err(wrong("the graph has no nodes"));
    };
    let name = |key: &Syntax| match &key.form {
        Form::Text(name) => Some(name.clone()),
        _ => None,
    };
    let Some((_, mut here)) = nodes
        .iter()
        .find(|(key, _)| name(key).as_deref() == Some(node))
        .map(|(key, value)| (key, value))
    else {
        let known: Vec<String> = nodes.iter().filter_map(|(key, _)| name(key)).collect();
        let hint = nearest(node, known.iter().map(String::as_str));
        let hint = hint.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
        return Err(wrong(&format!("the graph has no node `{node}`{hint}")));
    };
    for (depth, part) in path.iter().enumerate() {
        let last = depth + 1 == path.len();
        let Some(known) = fields(here) else {
            return Err(wrong(&format!("there is no `{part}` in {}", here.describe())));
        };
        match find(known, part) {
            Some(found) if last => {
                let (before, after) = (&text[..found.span.start], &text[found.span.end..]);
                return Ok(format!("{before}{value}{after}"));
            }
            Some(found) => here = found,
            None => {
                // Before the closing bracket, behind what is there.
                let written: String = path[depth..].join(": (") + ": " + value;
                let brackets = ")".repeat(path.len() - depth - 1);
                let comma = if known.is_empty() { "" } else { ", " };
                let end = known
                    .last()
                    .map_or(here.span.end - 1, |field| field.value.span.end);
                return Ok(format!(
                    "{}{comma}{written}{brackets}{}",
                    &text[..end],
                    &text[end..]
                ));
            }
        }
    }
    Err(wrong("there is nothing to set"))
}

fn fields(syntax: &Syntax) -> Option<&[Field]> {
    match &syntax.form {
        Form::Fields(_, fields) => Some(fields),
        Form::Tuple(_, items) if items.is_empty() => Some(&[]),
        _ => None,
    }
}

fn find<'s>(fields: &'s [Field], name: &str) -> Option<&'s Syntax> {
    fields
        .iter()
        .find(|field| field.name.text == name)
        .map(|field| &field.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"Graph(nodes: {"a": Move(by: (1, 2), grade: (gain: 2),), "b": Load()})"#;

    #[test]
    fn a_value_is_replaced_or_added() {
        let edited = |edit: &str| apply(TEXT, edit).unwrap();
        assert_eq!(edited("a.by=(3, 4)"), TEXT.replace("(1, 2)", "(3, 4)"));
        assert_eq!(edited("a.grade.gain = 5"), TEXT.replace("gain: 2", "gain: 5"));
        assert_eq!(edited("a.x=1"), TEXT.replace("(gain: 2)", "(gain: 2), x: 1"));
        assert_eq!(
            edited("a.grade.lift=1"),
            TEXT.replace("gain: 2", "gain: 2, lift: 1")
        );
        assert_eq!(
            edited("b.path=\"a=b\""),
            TEXT.replace("Load()", "Load(path: \"a=b\")")
        );
        assert_eq!(edited("b.c.d=1"), TEXT.replace("Load()", "Load(c: (d: 1))"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |edit: &str| apply(TEXT, edit).unwrap_err();
        assert!(wrong("a").contains("NODE.PARAMETER=VALUE"));
        assert!(wrong("a.=1").contains("NODE.PARAMETER=VALUE"));
        assert!(wrong("c.x=1").contains("no node `c`"));
        assert!(wrong("a.by.x=1").contains("there is no `x`"));
    }
}
