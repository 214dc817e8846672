//! `peel explain`, `--trace`, `--stats`, and groups through the command.

use std::fs;

use crate::program::peel;
use crate::support::{tiny_weights, write_plate_and_matte};

const GRAPH: &str = r#"Graph(format: 1, frames: "1", nodes: {
    "plate": Read(path: "plate.exr"),
    "matte": Mask(from: File("matte.exr")),
    "peel": Decompose(plate: "plate", masks: ["matte"], working_size: 32),
    "moved": Transform(input: "peel.matte", translate: (3, 1)),
    "turned": Transform(input: "moved", rotate: 10),
    "warm": Recolor(input: "turned", exposure: 0.5),
    "same": Recolor(input: "warm"),
    "comp": AlphaOver(layers: ["peel.background", "same"]),
    "out": Write(input: "comp", path: "out/comp.exr"),
})"#;

#[test]
fn a_plan_says_what_is_cached_and_what_a_change_makes_again() {
    let (folder, weights) = (tempfile::tempdir().expect("a folder"), tiny_weights());
    let here = folder.path();
    write_plate_and_matte(here);
    fs::write(here.join("graph.ron"), GRAPH).expect("a graph");
    let weights = weights.path().to_str().expect("a path");
    let explain = |more: &[&str]| {
        let mut arguments = vec!["explain", "graph.ron", "--json", "--weights", weights];
        arguments.extend(more);
        let run = peel(here, &arguments);
        assert_eq!(run.code, Some(0), "{}", run.err);
        let plan: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
        plan["nodes"].as_array().expect("nodes").clone()
    };
    let node = |nodes: &[serde_json::Value], name: &str| {
        let found = nodes.iter().find(|node| node["node"] == name);
        found.unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let cold = explain(&[]);
    assert_eq!(cold.len(), 9);
    assert!(node(&cold, "peel")["steps"][0]["cached"].is_null() && node(&cold, "out")["current"] == false);
    assert_eq!(node(&cold, "turned")["moves"], "peel", "both motions in one");
    assert_eq!(node(&cold, "same")["passes"], "warm");
    assert_eq!(node(&cold, "peel")["data"], serde_json::json!([0, 0, 64, 48]));
    // Regions that are really asked for: all of the comp, through the chain of motions all of the peeled layers.
    let asked = |nodes: &[serde_json::Value], name: &str| node(nodes, name)["asked"].clone();
    let whole = serde_json::json!([{ "frame": 1, "region": [0, 0, 64, 48] }]);
    assert_eq!(asked(&cold, "peel"), whole);
    assert_eq!(asked(&cold, "plate"), whole);
    assert_eq!(
        asked(&cold, "moved"),
        serde_json::json!([]),
        "never made: its motion is the chain's"
    );

    peel(here, &["render", "graph.ron", "--weights", weights]).expect(0, &[]);
    let warm = explain(&[]);
    assert_eq!(node(&warm, "peel")["steps"][0]["cached"], "disk");
    assert_eq!(
        asked(&warm, "plate"),
        serde_json::json!([]),
        "its only user is cached"
    );
    assert_eq!(node(&warm, "out")["current"], true);

    let again = |nodes: &[serde_json::Value]| {
        let again = nodes.iter().filter(|node| node["again"] == true);
        again
            .map(|node| node["node"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        again(&explain(&["--change", "warm.exposure=0.75"])),
        ["warm", "same", "comp", "out"]
    );
    assert_eq!(again(&explain(&["--change", "warm.exposure=0.5"])), [""; 0]);
    assert!(again(&explain(&["--change", "peel.seed=9"])).contains(&"peel".to_owned()));
    fs::write(
        here.join("old.ron"),
        GRAPH.replace("0.5", "0.25").replace("\"warm\"", "\"hot\""),
    )
    .expect("a graph");
    assert_eq!(
        again(&explain(&["--against", "old.ron"])),
        ["warm", "same", "comp", "out"]
    );
    let text = peel(
        here,
        &[
            "explain",
            "graph.ron",
            "--weights",
            weights,
            "--change",
            "warm.exposure=1",
        ],
    );
    text.expect(
        0,
        &["made again: warm, same, comp, out", "kept   peel: Decompose"],
    );
    peel(here, &["explain", "graph.ron", "--change", "wram.exposure=1"]).expect(2, &["did you mean `warm`?"]);
    peel(here, &["explain", "graph.ron", "--change", "warm.exposre=1"]).expect(3, &["exposure"]);
}

#[test]
fn a_trace_can_be_read_and_the_table_names_every_node() {
    let (folder, weights) = (tempfile::tempdir().expect("a folder"), tiny_weights());
    let here = folder.path();
    write_plate_and_matte(here);
    fs::write(here.join("graph.ron"), GRAPH).expect("a graph");
    let weights = weights.path().to_str().expect("a path");
    let arguments = [
        "render",
        "graph.ron",
        "--weights",
        weights,
        "--trace",
        "trace.json",
        "--stats",
    ];
    peel(here, &arguments).expect(0, &["own time", "peel", "warm", "plate"]);
    let text = fs::read_to_string(here.join("trace.json")).expect("a trace");
    let trace: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let of = |name: &str, work: &str| {
        let found = events
            .iter()
            .filter(|event| event["name"] == name && event["cat"] == work);
        found.cloned().collect::<Vec<_>>()
    };
    assert_eq!(of("out", "write").len(), 1);
    assert_eq!(of("peel", "step").len(), 1, "one run of the model");
    let encoded: u64 = of("out", "encode")
        .iter()
        .filter_map(|event| event["args"]["bytes"].as_u64())
        .sum();
    let written = fs::metadata(here.join("out/comp.exr")).expect("a file").len();
    assert!(
        encoded > 0 && encoded < written && written < encoded + 4096,
        "{encoded} of {written}"
    );
    assert!(of("out", "write")[0]["args"]["bytes"].as_u64() > Some(500));
    assert!(!of("comp", "fill").is_empty() && !of("plate", "decode").is_empty());
    assert!(
        events
            .iter()
            .all(|event| event["ts"].is_number() && event["tid"].is_number())
    );
    assert!(
        of("peel", "cache")
            .iter()
            .any(|event| event["args"]["cache"] == "made")
    );

    fs::remove_dir_all(here.join("out")).expect("the renders");
    peel(here, &arguments).expect(0, &[]);
    let text = fs::read_to_string(here.join("trace.json")).expect("a trace");
    assert!(
        text.contains("\"cache\":\"disk\"") && !text.contains("\"cat\":\"step\""),
        "the model did not run"
    );
}

#[test]
fn group_files_are_checked_and_described() {
    let folder = tempfile::tempdir().expect("a folder");
    let spotlight = crate::support::root().join("nodes/group/spotlight.ron");
    let path = spotlight.to_str().expect("a path");
    peel(folder.path(), &["check", path]).expect(0, &["1 input", "4 parameters", "no mistakes"]);
    peel(folder.path(), &["nodes", path]).expect(
        0,
        &[
            "A soft round light.",
            "picture: Layer",
            "radius: ",
            "must be 1 to 1000",
        ],
    );
    let broken = fs::read_to_string(&spotlight)
        .expect("a group")
        .replace("exposure", "exposre");
    fs::write(folder.path().join("broken.ron"), broken).expect("a group");
    let run = peel(folder.path(), &["check", "broken.ron"]);
    run.expect(3, &["did you mean `exposure`?", "broken.ron:1"]);
    peel(folder.path(), &["nodes", "Group"]).expect(0, &["Param(\"name\")", "path"]);
}

#[test]
fn a_plan_shows_how_little_of_a_picture_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    crate::support::write_picture(
        &here.join("plate.exr"),
        peel_image::Rect::of_size(400, 300),
        |x, y| [x as f32, y as f32, 0.0, 1.0],
    );
    let graph = r#"Graph(format: 1, frames: "1", nodes: {
        "plate": Read(path: "plate.exr"),
        "later": TimeOffset(input: "plate", frames: 3),
        "turned": Transform(input: "later", rotate: 20),
        "grey": Constant(colour: 0.2, width: 40, height: 30),
        "dark": Recolor(input: "grey", exposure: -1),
        "window": AlphaOver(layers: ["dark", (input: "turned", operation: In)]),
        "out": Write(input: "window", path: "out/comp.exr"),
    })"#;
    fs::write(here.join("graph.ron"), graph).expect("a graph");
    let run = peel(here, &["explain", "graph.ron", "--json"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let plan: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    let asked = |name: &str| {
        let node = plan["nodes"]
            .as_array()
            .expect("nodes")
            .iter()
            .find(|node| node["node"] == name);
        node.expect("a node")["asked"].clone()
    };
    let region = |name: &str| {
        let region = &asked(name)[0]["region"];
        [0, 1, 2, 3].map(|i| region[i].as_i64().expect("a number"))
    };
    assert_eq!(region("window"), [0, 0, 40, 30]);
    assert_eq!(region("turned"), [0, 0, 40, 30], "not its whole window");
    let [x0, y0, x1, y1] = region("plate");
    assert!(
        x1 - x0 < 80 && y1 - y0 < 80,
        "a corner of the plate: {:?}",
        asked("plate")
    );
    assert_eq!(region("dark"), [0, 0, 40, 30]);
    assert_eq!(asked("grey"), serde_json::json!([]), "one colour needs no pixels");
}
