//! Each thing that can be wrong with a graph is told at its place, and all of them in one go.

mod common;

use common::{graph_of, mistakes, parse};

/// The only mistake in a graph of these nodes.
#[track_caller]
fn one(nodes: &str) -> (usize, usize, String) {
    let mut all = mistakes(&graph_of(nodes));
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

#[track_caller]
fn told(found: (usize, usize, String), line: usize, column: usize, message: &str) {
    assert_eq!(found, (line, column, message.to_owned()));
}

const LOAD: &str = "\"plate\": Load(path: \"a.exr\"),\n";

#[test]
fn unknown_kind() {
    told(
        one("\"a\": Lod(path: \"a.exr\")"),
        2,
        6,
        "there is no kind of node `Lod`; did you mean `Load`?",
    );
}

#[test]
fn behind_an_unknown_kind_the_parameters_are_looked_at() {
    let found = mistakes(&graph_of(&format!(
        "{LOAD}\"m\": Mov(input: \"plat\", opacity: NaN)"
    )));
    let columns: Vec<usize> = found.iter().map(|(_, column, _)| *column).collect();
    assert_eq!(columns, [6, 17, 34], "{found:#?}");
}

#[test]
fn missing_kind() {
    told(
        one("\"a\": (path: \"a.exr\")"),
        2,
        6,
        "the kind of this node is missing; expected `Kind(name: value, ..)`, found named fields `(name: value, ..)`; \
         did you mean `Load(..)`?",
    );
}

#[test]
fn kind_without_brackets() {
    told(
        one("\"a\": Load"),
        2,
        6,
        "Load has the wrong type; expected `Load(..)`, found the name `Load`",
    );
}

#[test]
fn unknown_parameter() {
    told(
        one("\"a\": Load(path: \"a.exr\", pth: 1)"),
        2,
        26,
        "Load has no parameter `pth`; did you mean `path`?",
    );
}

#[test]
fn repeated_parameter() {
    told(
        one("\"a\": Load(path: \"a.exr\", path: \"b.exr\")"),
        2,
        26,
        "`path` is written twice; leave one of them out",
    );
}

#[test]
fn missing_parameter() {
    told(
        one("\"a\": Load()"),
        2,
        6,
        "Load lacks the parameter `path`; expected `path: path`",
    );
}

#[test]
fn parameters_by_position() {
    told(
        one("\"a\": Load(\"a.exr\")"),
        2,
        11,
        "the parameters of Load are written with their names; expected `path: ..`",
    );
}

#[test]
fn wrong_type() {
    told(
        one(&format!("{LOAD}\"m\": Move(input: \"plate\", translate: 5)")),
        3,
        38,
        "`translate` has the wrong type; expected (x, y), found the number 5",
    );
}

#[test]
fn out_of_range() {
    told(
        one(&format!(
            "{LOAD}\"m\": Move(input: \"plate\", opacity: Keys([(1, 0), (2, 1.5)]))"
        )),
        3,
        54,
        "`opacity` is out of range; expected 0 to 1, found 1.5",
    );
}

#[test]
fn not_finite() {
    for number in ["NaN", "inf", "-inf", "1e999"] {
        told(
            one(&format!(
                "{LOAD}\"m\": Move(input: \"plate\", translate: (0, {number}))"
            )),
            3,
            42,
            "`translate` is not a finite number; expected a finite number",
        );
    }
}

#[test]
fn frames_of_keys_must_increase() {
    told(
        one(&format!(
            "{LOAD}\"m\": Move(input: \"plate\", opacity: Keys([(2, 0), (2, 1)]))"
        )),
        3,
        50,
        "the frames of an animation must increase; expected a frame after 2, found 2",
    );
}

#[test]
fn unknown_choice() {
    told(
        one(&format!("{LOAD}\"s\": Split(input: \"plate\", way: Upp)")),
        3,
        33,
        "`way` cannot be `Upp`; expected `Up` or `By`; did you mean `Up`?",
    );
    told(
        one(&format!("{LOAD}\"s\": Split(input: \"plate\", way: \"Up\")")),
        3,
        33,
        "`way` has the wrong type; expected `Up` or `By`, found the text \"Up\"; write it without quotes: Up",
    );
    told(
        one(&format!("{LOAD}\"s\": Split(input: \"plate\", way: By)")),
        3,
        33,
        "`way` has the wrong type; expected `By(number)`, found the name `By`",
    );
}

#[test]
fn unknown_input() {
    told(
        one(&format!("{LOAD}\"out\": Save(input: \"plat\")")),
        3,
        20,
        "there is no node named `plat`; did you mean `plate`?",
    );
}

#[test]
fn unknown_output() {
    told(
        one(&format!(
            "{LOAD}\"s\": Split(input: \"plate\"),\n\"out\": Save(input: \"s.mate\")"
        )),
        4,
        20,
        "`s` has no output `mate`; expected one of `s.layer`, `s.matte`, `s.stack`; did you mean `matte`?",
    );
}

#[test]
fn an_edge_to_a_sink() {
    let nodes = format!("{LOAD}\"out\": Save(input: \"plate\"),\n\"b\": Save(input: \"out\")");
    told(one(&nodes), 4, 18, "`out` gives nothing to other nodes");
}

#[test]
fn a_malformed_edge() {
    told(
        one("\"out\": Save(input: \"a.b.c\")"),
        2,
        20,
        "\"a.b.c\" does not name a node; expected `\"node\"` or `\"node.output\"`",
    );
}

#[test]
fn type_clash_shows_both_ends() {
    let text = graph_of(&format!(
        "{LOAD}\"s\": Split(input: \"plate\"),\n\"m\": Move(input: \"s.matte\")"
    ));
    let shown = parse(&text).unwrap_err().to_string();
    assert_eq!(
        shown,
        "\
error: `s.matte` is a Matte, but `input` of Move takes a Layer
 --> shots/a.ron:4:18
  |
4 | \"m\": Move(input: \"s.matte\")
  |                  ^^^^^^^^^ expected a Layer, found a Matte
 ::: shots/a.ron:3:1
  |
3 | \"s\": Split(input: \"plate\"),
  | --- `matte` is this Split's output, a Matte
"
    );
}

#[test]
fn duplicate_names() {
    told(
        one(&format!("{LOAD}\"plate\": Load(path: \"b.exr\")")),
        3,
        1,
        "two nodes are named `plate`; expected another name",
    );
}

#[test]
fn bad_names() {
    told(
        one("a: Load(path: \"a.exr\")"),
        2,
        1,
        "the name of a node stands in quotes; expected `\"a\"`",
    );
    told(
        one("\"a.b\": Load(path: \"a.exr\")"),
        2,
        1,
        "a node's name has no dot, slash or control character",
    );
    told(
        one("\"\": Load(path: \"a.exr\")"),
        2,
        1,
        "a node's name neither is empty nor begins or ends with a blank",
    );
}

#[test]
fn cycles_show_the_way_round() {
    told(
        one("\"a\": Move(input: \"a\")"),
        2,
        18,
        "`a` feeds itself; expected a node that does not depend on this one",
    );
    let (line, column, message) =
        one("\"a\": Move(input: \"c\"),\n\"b\": Move(input: \"a\"),\n\"c\": Over(layers: [\"b\"])");
    assert_eq!((line, column), (2, 18));
    assert!(
        message.starts_with("these nodes feed each other: a -> b -> c -> a;"),
        "{message}"
    );
}

#[test]
fn two_knots_are_two_reports() {
    let text = graph_of("\"a\": Move(input: \"a\"),\n\"b\": Move(input: \"c\"),\n\"c\": Move(input: \"b\")");
    assert_eq!(mistakes(&text).len(), 2);
}

#[test]
fn the_graphs_own_fields() {
    let one = |text: &str| {
        let mut all = mistakes(text);
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    };
    told(
        one("Graph(format: 2, frames: \"1\", nodes: {\"a\": Load(path: \"a\")})"),
        1,
        15,
        "this version of Peel does not read graphs of format 2; expected 1",
    );
    told(
        one("(format: 1, frames: \"1\", nodes: {\"a\": Load(path: \"a\")})"),
        1,
        1,
        "the type name of the graph is missing; expected `Graph(`",
    );
    told(
        one("Grph(format: 1, frames: \"1\", nodes: {\"a\": Load(path: \"a\")})"),
        1,
        1,
        "this is a `Grph`, not a graph; expected `Graph(..)`",
    );
    told(
        one("Graph(format: 1, frames: \"1\", node: {})"),
        1,
        31,
        "Graph has no parameter `node`; did you mean `nodes`?",
    );
}

#[test]
fn the_graphs_fields_may_be_wrong_together() {
    let found = mistakes("Graph(frames: \"ten\", working_space: AcesCct, nodes: [])");
    let places: Vec<usize> = found.iter().map(|(_, column, _)| *column).collect();
    assert_eq!(places, [1, 15, 37, 53], "{found:#?}");
}

#[test]
fn five_mistakes_are_five_diagnoses() {
    let text = "\
Graph(
    format: 1,
    frames: \"1-8\",
    nodes: {
        \"plate\": Lod(path: \"a.exr\"),
        \"m\": Move(input: \"plate\", opacty: 0.5),
        \"s\": Split(input: \"m\", way: By(NaN)),
        \"over\": Over(layers: [\"m\", \"nobody\"]),
        \"out\": Save(input: \"over\" ),
        \"out\": Save(input: \"m\"),
    },
)
";
    let found = mistakes(text);
    let places: Vec<(usize, usize)> = found.iter().map(|(line, column, _)| (*line, *column)).collect();
    assert_eq!(
        places,
        [(5, 18), (6, 35), (7, 40), (8, 36), (10, 9)],
        "{found:#?}"
    );
}

#[test]
fn a_mistake_of_form_hides_no_others() {
    let text = "\
Graph(
    format: 1,
    frames: \"1-8\",
    nodes: {
        \"plate\": Load(path: \"a.exr),
        \"m\": Move(input: \"plate\" opacity: 2),
        \"out\": Save(input: nobody]),
    },
";
    let found = mistakes(text);
    let told: Vec<(usize, usize, &str)> = found
        .iter()
        .map(|(line, column, told)| (*line, *column, told.split(';').next().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (1, 6, "this `(` is never closed"),
            (5, 29, "this text has no closing quote"),
            (6, 33, "a comma is missing"),
            (6, 43, "`opacity` is out of range"),
            (7, 28, "`input` has the wrong type"),
            (7, 34, "`]` does not close `(`"),
        ],
    );
}

#[test]
fn a_graph_that_writes_nothing_is_told_of_but_read() {
    let graph = parse(&graph_of(LOAD)).unwrap();
    assert_eq!(graph.warnings.list().len(), 1);
    assert!(
        graph
            .warnings
            .to_string()
            .starts_with("warning: nothing in this graph writes a file\n")
    );
}

#[test]
fn windows_line_ends_and_tabs_and_accents_keep_columns() {
    let text = graph_of("\t\"é\": Load(pfad: \"ä\"),").replace('\n', "\r\n");
    let found = mistakes(&text);
    assert_eq!((found[0].0, found[0].1), (2, 7), "{found:#?}");
    assert_eq!((found[1].0, found[1].1), (2, 12), "{found:#?}");
    let shown = parse(&text).unwrap_err().to_string();
    assert!(
        shown.contains("2 |     \"é\": Load(pfad: \"ä\"),\n  |               ^^^^\n"),
        "{shown}"
    );
}
