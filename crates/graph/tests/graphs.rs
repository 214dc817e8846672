//! What a sound graph says, in which order it is worked off, and that hostile text is survived.

mod common;

use std::time::{Duration, Instant};

use common::{graph_of, mistakes, parse, registry};
use peel_graph::Graph;
use peel_node::KeyBuilder;

const DIAMOND: &str = "\
\"out\": Save(input: \"over\"),
\"over\": Over(layers: [\"plate\", \"moved\"], mask: \"s.matte\"),
\"moved\": Move(input: \"s.layer\", translate: Keys([(1, (0, 0)), (8, (7, 0))], Smooth)),
\"s\": Split(input: \"plate\"),
\"plate\": Load(path: \"a.exr\"),
\"unused\": Load(path: \"b.exr\"),";

fn names(graph: &Graph, nodes: &[peel_graph::NodeIndex]) -> Vec<String> {
    nodes
        .iter()
        .map(|&index| graph.nodes[index].name.clone())
        .collect()
}

#[test]
fn a_graph_knows_its_nodes_and_edges() {
    let graph = parse(&graph_of(DIAMOND)).unwrap();
    assert!(graph.warnings.is_empty());
    assert_eq!(graph.folder.to_str(), Some("shots"));
    let over = &graph.nodes[graph.find("over").unwrap()];
    let edges: Vec<(usize, &str, &str, usize)> = over
        .edges
        .iter()
        .map(|edge| {
            (
                edge.slot,
                edge.param.as_str(),
                graph.nodes[edge.source].name.as_str(),
                edge.output,
            )
        })
        .collect();
    assert_eq!(
        edges,
        [
            (0, "layers[0]", "plate", 0),
            (1, "layers[1]", "moved", 0),
            (2, "mask", "s", 1)
        ]
    );
    assert_eq!((over.kind, over.version), ("Over", 1));
    assert_eq!(graph.nodes.edge_count(), 6);
    let place = graph.location(over.span);
    assert_eq!((place.line, place.column), (3, 1));
}

#[test]
fn a_plan_puts_inputs_first_and_leaves_out_what_is_not_needed() {
    let graph = parse(&graph_of(DIAMOND)).unwrap();
    let plan = graph.plan(None).unwrap();
    assert_eq!(names(&graph, &plan.targets), ["out"]);
    let order = names(&graph, &plan.order);
    assert_eq!(order.len(), 5);
    for edge in graph.nodes.edge_indices() {
        let (from, to) = graph.nodes.edge_endpoints(edge).unwrap();
        let place = |index| plan.order.iter().position(|&node| node == index).unwrap();
        assert!(place(from) < place(to));
    }
    let part = graph.plan(Some(&["moved", "plate"])).unwrap();
    assert_eq!(names(&graph, &part.order), ["plate", "s", "moved"]);
}

#[test]
fn unknown_targets_are_told_with_the_nearest_name() {
    let graph = parse(&graph_of(DIAMOND)).unwrap();
    let error = graph.plan(Some(&["ovr"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the graph has no node `ovr`; did you mean `over`?"
    );
    let error = graph.output("s.mattte").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the graph has no output `mattte`; did you mean `matte`?"
    );
    assert_eq!(graph.output("s.stack").unwrap().1, 2);
}

#[test]
fn a_nodes_hash_knows_kind_version_and_parameters_at_the_frame() {
    let hash = |nodes: &str, frame: i32| {
        let graph = parse(&graph_of(nodes)).unwrap();
        let mut key = KeyBuilder::new("test");
        (graph.nodes[graph.find("m").unwrap()].hash)(frame, &mut key);
        key.finish()
    };
    let node = |rest: &str| format!("\"p\": Load(path: \"a\"), \"m\": Move(input: \"p\"{rest})");
    let plain = hash(&node(""), 1);
    assert_eq!(plain, hash(&node(", opacity: 1, translate: (0, 0.0)"), 1));
    assert_eq!(plain, hash(&node(", opacity: Keys([(1, 1), (2, 0)])"), 1));
    assert_ne!(plain, hash(&node(", opacity: Keys([(1, 1), (2, 0)])"), 2));
    assert_ne!(plain, hash(&node(", translate: (1, 0)"), 1));
}

#[test]
fn one_frame_may_be_written_as_a_number() {
    let text = "Graph(format: 1, frames: 1001, nodes: {\"a\": Load(path: \"a\")})";
    assert_eq!(parse(text).unwrap().frames.to_string(), "1001");
}

/// A wall clock limit that only something quadratic would miss.
#[track_caller]
fn told_in_time(text: &str) -> Vec<(usize, usize, String)> {
    let start = Instant::now();
    let found = mistakes(text);
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "took {:?}",
        start.elapsed()
    );
    assert!(found.len() <= 150);
    found
}

#[test]
fn deep_nesting_is_an_error() {
    for bracket in ["(", "[", "{", "A(", "[(", "(a:"] {
        let found = told_in_time(&bracket.repeat(500_000));
        assert!(
            found.iter().any(|(_, _, told)| told.contains("nested too deep")),
            "{found:#?}"
        );
    }
    let closed = format!("Graph(nodes: {}{})", "[".repeat(100_000), "]".repeat(100_000));
    assert!(told_in_time(&closed)[0].2.contains("lacks the parameter"));
}

#[test]
fn floods_of_mistakes_are_cut() {
    told_in_time(&",".repeat(1 << 20));
    told_in_time(&":)".repeat(1 << 20));
    told_in_time(&"\"".repeat((1 << 20) + 1));
    told_in_time(&"/*".repeat(1 << 20));
    told_in_time(&"r#".repeat(1 << 20));
    told_in_time(&"a".repeat(1 << 20));
    told_in_time(&"1".repeat(1 << 20));
    told_in_time(&"é%\u{0}".repeat(1 << 18));
    assert!(
        told_in_time(&" ".repeat(5 << 20))[0]
            .2
            .starts_with("this file has")
    );
    assert!(told_in_time("")[0].2.starts_with("a value is missing"));
}

#[test]
fn many_nodes_with_wrong_edges_are_told_in_time() {
    let nodes: String = (0..40_000)
        .map(|n| format!("\"node{n}\": Move(input: \"nod{n}\"),\n"))
        .collect();
    assert_eq!(told_in_time(&graph_of(&nodes)).len(), 100);
}

#[test]
fn many_wrong_parameters_are_told_in_time() {
    for wrong in ["pth: 1,", "path: 1,", "x: 1,"] {
        told_in_time(&graph_of(&format!(
            "\"a\": Load({}path: \"a\")",
            wrong.repeat(500_000)
        )));
    }
    let items = "\"a\",".repeat(500_000);
    told_in_time(&graph_of(&format!("\"b\": Over(layers: [{items}])")));
}

#[test]
fn a_long_chain_is_no_problem() {
    let chain: String = (1..40_000)
        .map(|n| format!("\"n{n}\": Move(input: \"n{}\"),\n", n - 1))
        .collect();
    let graph = parse(&graph_of(&format!("{chain}\"n0\": Load(path: \"a\")"))).unwrap();
    assert_eq!(graph.plan(Some(&["n39999"])).unwrap().order.len(), 40_000);
    let found = told_in_time(&graph_of(&format!("{chain}\"n0\": Move(input: \"n39999\")")));
    assert_eq!(found.len(), 1);
    assert!(found[0].2.contains(" -> .. -> "), "{}", found[0].2);
}

#[test]
fn every_prefix_of_a_graph_is_survived() {
    let text = graph_of(&DIAMOND.replace("\"a.exr\"", "r#\"é\"#"));
    let registry = registry();
    for (end, _) in text.trim_end().char_indices() {
        let result = Graph::parse(&text[..end], std::path::Path::new("a.ron"), &registry);
        let shown = result.map(|_| ()).unwrap_err().to_string();
        assert!(shown.starts_with("error: "), "{shown}");
    }
}
