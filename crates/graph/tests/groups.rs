//! Groups: files included by graphs, with inputs, parameters and outputs of their own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use common::{graph_of, registry};
use peel_graph::{Diagnostics, Graph};
use peel_node::{Key, KeyBuilder};

const WARM: &str = r#"Group(
    format: 1,
    about: "Moves and lays over.",
    inputs: {"plate": Layer, "where": Matte},
    parameters: {
        "by": Point(default: (1, 2), about: "How far."),
        "opacity": Number(default: 0.5, min: 0, max: 1, about: "How opaque."),
        "file": Path(default: "own.exr"),
    },
    nodes: {
        "still": Load(path: Param("file")),
        "moved": Move(input: "plate", translate: Param("by"), opacity: Param("opacity")),
        "over": Over(layers: ["still", "moved"], mask: "where"),
    },
    outputs: {"out": "over", "moved": "moved"},
)"#;

/// A graph in `shots/a.ron` beside these files.
fn parse(nodes: &str, files: &[(&str, &str)]) -> Result<Graph, Diagnostics> {
    let files: HashMap<PathBuf, String> = files
        .iter()
        .map(|(name, text)| (Path::new("shots").join(name), text.to_string()))
        .collect();
    let load = |path: &Path| {
        let found = files.get(path).cloned();
        found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    Graph::parse_with(&graph_of(nodes), Path::new("shots/a.ron"), &registry(), &load)
}

fn sound(nodes: &str, files: &[(&str, &str)]) -> Graph {
    parse(nodes, files).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// Everything wrong, as people see it.
fn shown(nodes: &str, files: &[(&str, &str)]) -> String {
    match parse(nodes, files) {
        Ok(_) => panic!("nothing is wrong"),
        Err(mistakes) => mistakes.to_string(),
    }
}

/// Kind, parameters at frame 3, and what is connected, all the way up: what a content key depends on.
fn key(graph: &Graph, name: &str) -> Key {
    fn of(graph: &Graph, index: peel_graph::NodeIndex) -> Key {
        let node = &graph.nodes[index];
        let mut key = KeyBuilder::new("test");
        (node.hash)(3, &mut key);
        for edge in &node.edges {
            key.key(&of(graph, edge.source)).int(edge.output as i128);
        }
        key.finish()
    }
    of(graph, graph.find(name).unwrap())
}

const CALL: &str = "\
\"a\": Load(path: \"a.exr\"),
\"s\": Split(input: \"a\"),
\"g\": Group(path: \"gizmos/warm.ron\", plate: \"a\", where: \"s.matte\", by: Keys([(1, (0, 0)), (5, (4, 8))])),
\"out\": Save(input: \"g\"),
\"side\": Save(input: \"g.moved\"),";

#[test]
fn a_group_has_the_keys_of_its_nodes_written_out() {
    let graph = sound(CALL, &[("gizmos/warm.ron", WARM)]);
    let inlined = sound(
        "\"a\": Load(path: \"a.exr\"),
         \"s\": Split(input: \"a\"),
         \"still\": Load(path: \"gizmos/own.exr\"),
         \"moved\": Move(input: \"a\", translate: Keys([(1, (0, 0)), (5, (4, 8))]), opacity: 0.5),
         \"over\": Over(layers: [\"still\", \"moved\"], mask: \"s.matte\"),
         \"out\": Save(input: \"over\"),
         \"side\": Save(input: \"moved\"),",
        &[],
    );
    for name in ["out", "side"] {
        assert_eq!(key(&graph, name), key(&inlined, name), "{name}");
    }
    assert_eq!(graph.included, [Path::new("shots/gizmos/warm.ron")]);
    let (index, _) = graph.output("g.moved").unwrap();
    assert_eq!(graph.nodes[index].name, "g/moved");
    assert_eq!(graph.output("g").unwrap().0, graph.find("g/over").unwrap());
    assert!(graph.output("g.none").is_err());
    assert_ne!(
        graph.fingerprint,
        sound(CALL, &[("gizmos/warm.ron", &WARM.replace("0.5", "0.6"))]).fingerprint
    );
}

#[test]
fn paths_start_where_they_are_written() {
    let outer = CALL.replace("by: ", "file: \"outer.exr\", by: ");
    let graph = sound(&outer, &[("gizmos/warm.ron", WARM)]);
    let written = sound(
        "\"x\": Load(path: \"outer.exr\"), \"o\": Save(input: \"x\"),",
        &[],
    );
    assert_eq!(key(&graph, "g/still"), key(&written, "x"));
}

#[test]
fn groups_stand_in_groups_and_hand_on_inputs_and_parameters() {
    let outer = r#"Group(
        format: 1,
        inputs: {"picture": Layer, "matte": Matte},
        parameters: {"much": Number(default: 0.25)},
        nodes: {
            "inner": Group(path: "deep/../warm.ron", plate: "picture", where: "matte", opacity: Param("much")),
        },
        outputs: {"out": "inner", "same": "picture"},
    )"#;
    let call = "\
\"a\": Load(path: \"a.exr\"),
\"s\": Split(input: \"a\"),
\"g\": Group(path: \"gizmos/outer.ron\", picture: \"a\", matte: \"s.matte\"),
\"out\": Save(input: \"g\"),
\"same\": Save(input: \"g.same\"),";
    let graph = sound(
        call,
        &[("gizmos/outer.ron", outer), ("gizmos/deep/../warm.ron", WARM)],
    );
    assert!(graph.find("g/inner/over").is_some());
    let same = &graph.nodes[graph.find("same").unwrap()];
    assert_eq!(same.edges[0].source, graph.find("a").unwrap());
}

#[test]
fn types_are_taken_over_and_checked_through_groups() {
    let later = r#"Group(
        format: 1, inputs: {"it": Any}, nodes: {"later": Later(input: "it")}, outputs: {"out": "later"},
    )"#;
    let nodes = "\
\"a\": Load(path: \"a.exr\"),
\"s\": Split(input: \"a\"),
\"g\": Group(path: \"later.ron\", it: \"s.matte\"),
\"over\": Over(layers: [\"a\"], mask: \"g\"),
\"out\": Save(input: \"over\"),";
    let graph = sound(nodes, &[("later.ron", later)]);
    let node = &graph.nodes[graph.find("g/later").unwrap()];
    assert_eq!(node.outputs[0].socket, peel_node::SocketType::Matte);
    let wrong = shown(&nodes.replace("[\"a\"]", "[\"g\"]"), &[("later.ron", later)]);
    assert!(
        wrong.contains("`g` is a Matte, but `layers[0]` of Over takes a Layer or Stack"),
        "{wrong}"
    );
}

#[test]
fn mistakes_are_told_in_both_files() {
    let files = [("gizmos/warm.ron", WARM)];
    let wrong = shown(&CALL.replace("by: ", "opacity: 2, by: "), &files);
    assert!(
        wrong.contains("`opacity` is out of range") && wrong.contains("--> shots/a.ron:4:"),
        "{wrong}"
    );
    let wrong = shown(&CALL.replace("by: ", "bye: "), &files);
    assert!(
        wrong.contains("`warm.ron` has no parameter `bye`") && wrong.contains("did you mean `by`?"),
        "{wrong}"
    );
    let wrong = shown(&CALL.replace(", where: \"s.matte\"", ""), &files);
    assert!(
        wrong.contains("`warm.ron` lacks the parameter `where`") && wrong.contains("Matte"),
        "{wrong}"
    );
    let wrong = shown(&CALL.replace("where: \"s.matte\"", "where: \"a\""), &files);
    assert!(
        wrong.contains("`a` is a Layer, but `where` of the group takes a Matte")
            && wrong.contains("::: shots/gizmos/warm.ron:4:"),
        "{wrong}"
    );
    let wrong = shown(&CALL.replace("g.moved", "g.move"), &files);
    assert!(
        wrong.contains("`g` has no output `move`") && wrong.contains("did you mean `moved`?"),
        "{wrong}"
    );

    // A narrower node inside: the value, and where it is used.
    let wide = WARM.replace(", min: 0, max: 1", "");
    let wrong = shown(
        &CALL.replace("by: ", "opacity: 2, by: "),
        &[("gizmos/warm.ron", &wide)],
    );
    assert!(
        wrong.contains("--> shots/a.ron:4:")
            && wrong.contains("::: shots/gizmos/warm.ron:12:")
            && wrong.contains("used here"),
        "{wrong}"
    );

    // In the included file alone, once, however often it is included.
    let twice = format!(
        "{CALL}\n{}",
        CALL.replace("\"a\": Load(path: \"a.exr\"),\n\"s\": Split(input: \"a\"),\n", "")
            .replace("\"g\": G", "\"h\": G")
            .replace("\"out\"", "\"out2\"")
            .replace("\"side\"", "\"side2\"")
    );
    let inner = WARM
        .replace("Param(\"by\")", "Param(\"buy\")")
        .replace("\"over\": Over", "\"over\": Ovr")
        .replace("[\"still\"", "[\"stil\"");
    let Err(mistakes) = parse(&twice, &[("gizmos/warm.ron", &inner)]) else {
        panic!("nothing is wrong")
    };
    let told: Vec<&str> = mistakes
        .list()
        .iter()
        .map(|mistake| mistake.message.as_str())
        .collect();
    assert_eq!(
        told,
        [
            "this group has no parameter `buy`",
            "there is no kind of node `Ovr`",
            "there is no node named `stil`"
        ]
    );
    assert!(
        mistakes
            .files()
            .iter()
            .all(|file| file.ends_with("gizmos/warm.ron"))
    );
    let lines: Vec<usize> = mistakes.locations().iter().map(|place| place.line).collect();
    assert_eq!(lines, [12, 13, 13]);
    assert!(mistakes.to_json().contains("gizmos/warm.ron"));
}

#[test]
fn files_that_are_missing_no_groups_or_include_themselves() {
    let wrong = shown(CALL, &[]);
    assert!(
        wrong.contains("shots/gizmos/warm.ron cannot be read") && wrong.contains("a.ron:4:18"),
        "{wrong}"
    );
    let wrong = shown(CALL, &[("gizmos/warm.ron", "Graph()")]);
    assert!(
        wrong.contains("this is a `Graph`, not a group") && wrong.contains("included here"),
        "{wrong}"
    );

    let a = r#"Group(format: 1, nodes: {"b": Group(path: "b.ron")})"#;
    let b = r#"Group(format: 1, nodes: {"a": Group(path: "../gizmos/a.ron")})"#;
    let nodes = "\"g\": Group(path: \"gizmos/a.ron\"),";
    let wrong = shown(nodes, &[("gizmos/a.ron", a), ("gizmos/b.ron", b)]);
    assert!(
        wrong.contains("these files include each other: a.ron -> b.ron -> a.ron"),
        "{wrong}"
    );
    assert!(wrong.contains("--> shots/gizmos/b.ron:1:"), "{wrong}");
    let own = shown("\"g\": Group(path: \"a.ron\"),", &[("a.ron", "")]);
    assert!(
        own.contains("these files include each other: a.ron -> a.ron"),
        "{own}"
    );

    // Two files, each holding the next one twice: not for ever.
    let files: Vec<(String, String)> = (0..30)
        .map(|i| {
            let next = i + 1;
            let text = format!("Group(format: 1, nodes: {{\"a\": Group(path: \"{next}.ron\"), \"b\": Group(path: \"{next}.ron\")}})");
            (format!("{i}.ron"), text)
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let wrong = shown("\"g\": Group(path: \"0.ron\"),", &files);
    assert!(wrong.contains("more than 100000 nodes"), "{}", &wrong[..500]);
}

#[test]
fn a_circle_of_nothing_but_groups_ends() {
    let same = r#"Group(format: 1, inputs: {"it": Layer}, nodes: {}, outputs: {"out": "it"})"#;
    let wrong = shown(
        "\"g\": Group(path: \"same.ron\", it: \"h\"),\n\"h\": Group(path: \"same.ron\", it: \"g\"),\n\"o\": Save(input: \"g\"),",
        &[("same.ron", same)],
    );
    assert!(wrong.contains("leads through groups back to itself"), "{wrong}");
    // Through a node it is a circle like any other.
    let moves = r#"Group(
        format: 1, inputs: {"it": Layer}, nodes: {"m": Move(input: "it")}, outputs: {"out": "m"},
    )"#;
    let wrong = shown("\"g\": Group(path: \"m.ron\", it: \"g\"),", &[("m.ron", moves)]);
    assert!(wrong.contains("`g/m` feeds itself"), "{wrong}");
}

#[test]
fn declarations_are_checked() {
    let wrong = |from: &str, to: &str| shown(CALL, &[("gizmos/warm.ron", &WARM.replace(from, to))]);
    assert!(wrong("default: 0.5", "default: 5").contains("`default` is out of range"));
    assert!(wrong("default: (1, 2)", "default: [1]").contains("`default` has the wrong type"));
    assert!(wrong("\"opacity\": Number", "\"opacity\": Nmber").contains("did you mean `Number`?"));
    assert!(wrong("\"opacity\":", "\"plate\":").contains("`plate` is taken"));
    assert!(wrong("\"where\": Matte", "\"where\": Mate").contains("did you mean `Matte`?"));
    assert!(wrong("\"out\": \"over\"", "\"out\": \"ovre\"").contains("there is no node named `ovre`"));
    assert!(wrong("\"still\": Load", "\"plate\": Load").contains("is the name of an input of this group"));
    assert!(wrong("format: 1", "format: 9").contains("format 9"));
}

#[test]
fn a_group_file_is_checked_and_described_by_itself() {
    let check = |text: &str| Graph::parse_group(text, Path::new("warm.ron"), &registry());
    let doc = check(WARM).unwrap();
    assert_eq!(doc.about, "Moves and lays over.");
    assert_eq!(doc.inputs[1], ("where".to_owned(), "Matte".to_owned()));
    assert_eq!(doc.outputs, ["out", "moved"]);
    assert_eq!(doc.parameters[0].default.as_deref(), Some("(1, 2)"));
    assert_eq!(doc.parameters[1].doc, "How opaque.");
    let wrong = check(&WARM.replace("mask: \"where\"", "mask: \"wher\""))
        .unwrap_err()
        .to_string();
    assert!(wrong.contains("did you mean `where`?"), "{wrong}");
}

#[test]
fn what_names_an_optional_input_is_left_out_with_it() {
    let optional = WARM.replace("\"where\": Matte", "\"where\": Optional(Matte)");
    let files = [("warm.ron", optional.as_str())];
    let call = |more: &str| {
        format!(
            r#""plate": Load(path: "a.exr"), "shape": Split(input: "plate"),
            "warm": Group(path: "warm.ron", plate: "plate"{more}), "out": Save(input: "warm")"#
        )
    };
    let inputs = |nodes: &str| {
        let graph = sound(nodes, &files);
        let over = graph
            .nodes
            .node_weights()
            .find(|node| node.name == "warm/over")
            .unwrap();
        over.edges.len()
    };
    assert_eq!(inputs(&call(", where: \"shape.matte\"")), inputs(&call("")) + 1);
    // A group that does not say so demands it.
    let mistakes = match parse(&call(""), &[("warm.ron", WARM)]) {
        Ok(_) => panic!("nothing is wrong"),
        Err(mistakes) => mistakes.to_string(),
    };
    assert!(mistakes.contains("where"), "{mistakes}");
}
