//! Loop tests: what holds for every registered node, also for one that is added tomorrow.

use std::path::Path;

use peel_engine::{CancelToken, Engine, Event, RenderOptions};
use peel_node::NodeKind;
use peel_node::params::ParamDoc;

use crate::suite::folder_of;
use crate::support::{engine, parse, render, root};

const HEADINGS: [&str; 4] = [
    "# What it does",
    "# When to use it",
    "# Colour and alpha",
    "# Example",
];

#[test]
fn every_node_has_a_manual_with_all_headings() {
    for kind in peel_nodes::registry().kinds() {
        let places: Vec<Option<usize>> = HEADINGS.iter().map(|heading| kind.manual.find(heading)).collect();
        assert!(
            places.iter().all(Option::is_some),
            "{}: {HEADINGS:?} at {places:?}",
            kind.name
        );
        assert!(places.is_sorted(), "{}: the headings are out of order", kind.name);
        let first = kind.manual.lines().next().unwrap_or_default();
        assert!(
            first.starts_with(&format!("{}: ", kind.name)),
            "{}: the manual starts with {first:?}",
            kind.name
        );
        assert!(!kind.title.is_empty() && kind.version > 0, "{}", kind.name);
    }
}

#[test]
fn every_parameter_is_documented() {
    fn check(owner: &str, params: &[ParamDoc]) {
        for param in params {
            let name = format!("{owner}.{}", param.name);
            assert!(param.doc.ends_with('.'), "{name}: {:?} is no sentence", param.doc);
            check(&name, &param.group);
            for choice in &param.choices {
                assert!(!choice.doc.is_empty(), "{name}.{}", choice.name);
                check(&format!("{name}.{}", choice.name), &choice.fields);
            }
        }
    }
    for kind in peel_nodes::registry().kinds() {
        check(kind.name, &(kind.params)());
    }
}

#[test]
fn every_node_has_an_example_that_uses_it() {
    for kind in peel_nodes::registry().kinds() {
        let folder = root().join("nodes").join(folder_of(kind.name));
        assert!(
            kind.example.starts_with("// "),
            "{}: the example says what it shows",
            kind.name
        );
        let graph = parse(kind.example, &folder.join("example.ron"));
        assert!(
            graph.nodes.node_weights().any(|node| node.kind == kind.name)
                || kind.is_group() && !graph.groups.is_empty(),
            "{}",
            kind.name
        );
        assert!(
            folder.join("example.exr").is_file(),
            "{}: example.exr is missing",
            kind.name
        );
    }
}

/// The node with nothing but its input, where a node of this kind can be written so.
fn at_its_defaults(kind: &NodeKind) -> Option<String> {
    let params = (kind.params)();
    let required: Vec<&ParamDoc> = params.iter().filter(|param| param.required).collect();
    let [only] = required.as_slice() else { return None };
    let takes = |choice: &str| only.choices.iter().any(|known| known.name == choice);
    let value = if only.type_name.starts_with("Layer") || only.type_name.contains("of Layer") {
        if only.type_name.starts_with("list") {
            "[\"plate\"]"
        } else {
            "\"plate\""
        }
    } else if takes("Matte") {
        "Matte(\"matte\")"
    } else {
        return None;
    };
    Some(format!("{}({}: {value})", kind.name, only.name))
}

/// Whether a sink would write the same under both graphs, going by content keys alone.
fn same_key(engine: &Engine, folder: &Path, source: &str, node: &str) -> bool {
    let graph = |input: &str| {
        let text = format!(
            "Graph(format: 1, frames: \"1\", nodes: {{
                \"plate\": Constant(colour: 0.5, width: 8, height: 8),
                \"matte\": Mask(from: Alpha(\"plate\")),
                \"node\": {node},
                \"out\": Write(input: \"{input}\", path: \"out.exr\"),
            }})"
        );
        parse(&text, &folder.join("graph.ron"))
    };
    render(engine, &graph(source), &[1]);
    let options = RenderOptions {
        skip_current: true,
        ..RenderOptions::default()
    };
    let summary = engine.render(
        &graph("node"),
        &[1],
        &options,
        &|_: Event| (),
        &CancelToken::new(),
    );
    summary.expect("something to render").skipped.len() == 1
}

#[test]
fn a_node_at_its_defaults_gives_its_input_by_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = engine(1, &[]);
    let mut tested = Vec::new();
    for kind in peel_nodes::registry().kinds() {
        let Some(node) = at_its_defaults(kind) else {
            continue;
        };
        let source = if node.contains("\"matte\"") {
            "matte"
        } else {
            "plate"
        };
        assert!(
            same_key(&engine, folder.path(), source, &node),
            "{node} is not its input"
        );
        tested.push(kind.name);
    }
    assert_eq!(
        tested,
        ["Mask", "Transform", "Recolor", "AlphaOver", "TimeOffset"]
    );
    let changed = "Recolor(input: \"plate\", exposure: 1)";
    assert!(
        !same_key(&engine, folder.path(), "plate", changed),
        "the test sees a change"
    );
}
