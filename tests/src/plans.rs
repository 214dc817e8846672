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
    assert_eq!(asked(&warm, "plate"), whole, "the steps are laid over it again");
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

/// Name, frame, what it looks at, whether it is on disk, whether it is made again.
type PlannedStep = (String, i64, Vec<i64>, bool, Option<bool>);

/// The steps of a plan's Decompose.
fn steps(plan: &serde_json::Value) -> Vec<PlannedStep> {
    let nodes = plan["nodes"].as_array().expect("nodes");
    let peel = nodes.iter().find(|node| node["node"] == "peel").expect("peel");
    let steps = peel["steps"].as_array().expect("steps").iter();
    let step = |step: &serde_json::Value| {
        let looks_at = step["looks_at"].as_array().expect("frames").iter();
        (
            step["name"].as_str().expect("a name").to_owned(),
            step["frame"].as_i64().expect("a frame"),
            looks_at.filter_map(serde_json::Value::as_i64).collect(),
            step["cached"] == "disk",
            step["again"].as_bool(),
        )
    };
    steps.map(step).collect()
}

#[test]
fn a_plan_says_mask_by_mask_and_frame_by_frame_what_an_edit_makes_again() {
    let (folder, weights) = (tempfile::tempdir().expect("a folder"), tiny_weights());
    let here = folder.path();
    write_plate_and_matte(here);
    let graph = GRAPH
        .replace("\"1\"", "\"1-6\"")
        .replace("masks: [\"matte\"]", "masks: [\"matte\", \"spot\"]")
        .replace("exposure: 0.5", "exposure: Keys([(1, 0.5), (3, 0.5), (5, 1)])")
        .replace("comp.exr", "comp.#.exr")
        .replace(
            "\"peel\":",
            "\"spot\": Mask(from: Ellipse(centre: (20, 20), radius: (9, 9)), like: \"plate\"), \"peel\":",
        );
    fs::write(here.join("graph.ron"), graph).expect("a graph");
    let weights = weights.path().to_str().expect("a path");
    let explain = |edit: &str| {
        let run = peel(
            here,
            &[
                "explain",
                "graph.ron",
                "--json",
                "--weights",
                weights,
                "--change",
                edit,
            ],
        );
        assert_eq!(run.code, Some(0), "{}", run.err);
        serde_json::from_str::<serde_json::Value>(&run.out).expect("JSON")
    };
    let again = |plan: &serde_json::Value| {
        let steps = steps(plan).into_iter();
        steps.map(|(name, .., again)| (name, again)).collect::<Vec<_>>()
    };
    let frames = |plan: &serde_json::Value| {
        let frames = plan["frames_again"].as_array().expect("frames").iter();
        frames.filter_map(serde_json::Value::as_i64).collect::<Vec<_>>()
    };
    let second = explain("spot.feather=2");
    assert_eq!(
        again(&second),
        [("matte".into(), Some(false)), ("spot".into(), Some(true))]
    );
    assert_eq!(frames(&second), [1, 2, 3, 4, 5, 6]);
    let first = explain("matte.grow=1");
    assert_eq!(
        again(&first),
        [("matte".into(), Some(true)), ("spot".into(), Some(true))]
    );
    let animated = explain("warm.exposure=Keys([(1, 0.5), (3, 0.5), (5, 2)])");
    assert_eq!(
        frames(&animated),
        [4, 5, 6],
        "what a key frame does not reach stays"
    );
    assert!(again(&animated).iter().all(|(_, again)| *again == Some(false)));
    let text = peel(
        here,
        &[
            "explain",
            "graph.ron",
            "--weights",
            weights,
            "--change",
            "spot.feather=2",
        ],
    );
    text.expect(
        0,
        &[
            "step     spot: ",
            "; made again",
            "frames to write again: 6 (1-6) of 6 frames",
        ],
    );
}

#[test]
fn a_plan_of_a_shot_says_which_frames_its_steps_look_at() {
    let (folder, weights) = (tempfile::tempdir().expect("a folder"), tiny_weights());
    let here = folder.path();
    write_plate_and_matte(here);
    for (name, frames) in [("plate", 1..=6), ("matte", 1..=6)] {
        for frame in frames {
            // One plate is missing.
            if (name, frame) != ("plate", 3) {
                fs::copy(
                    here.join(format!("{name}.exr")),
                    here.join(format!("{name}.{frame}.exr")),
                )
                .expect("a frame");
            }
        }
    }
    let graph = GRAPH
        .replace("\"1\"", "\"1-6\"")
        .replace("plate.exr", "plate.#.exr")
        .replace("matte.exr", "matte.#.exr")
        .replace("comp.exr", "comp.#.exr")
        .replace(
            "working_size: 32",
            "working_size: 32, motion: Locked, window: 2, key_every: 4",
        );
    fs::write(here.join("graph.ron"), graph).expect("a graph");
    let weights = weights.path().to_str().expect("a path");
    let explain = || {
        let run = peel(
            here,
            &[
                "explain",
                "graph.ron",
                "--json",
                "--weights",
                weights,
                "--frame",
                "5",
            ],
        );
        assert_eq!(run.code, Some(0), "{}", run.err);
        serde_json::from_str::<serde_json::Value>(&run.out).expect("JSON")
    };
    let cold = explain();
    let of =
        |name: &str, frame, looks_at: &[i64], there| (name.to_owned(), frame, looks_at.to_vec(), there, None);
    let alone = |there: bool| [2, 4, 5, 6].map(|frame| of("matte alone", frame, &[], there));
    let expected = |there: bool| {
        let mut steps = vec![of("matte", 4, &[2, 5, 6], there), of("matte", 5, &[4, 6], there)];
        steps.extend(alone(there));
        steps
    };
    assert_eq!(steps(&cold), expected(false));
    // The plates of all frames that are looked at are asked for.
    let asked = |plan: &serde_json::Value, name: &str| {
        let nodes = plan["nodes"].as_array().expect("nodes");
        let node = nodes.iter().find(|node| node["node"] == name).expect("a node");
        let asked = node["asked"].as_array().expect("regions").iter();
        asked
            .filter_map(|asked| asked["frame"].as_i64())
            .collect::<Vec<_>>()
    };
    assert_eq!(asked(&cold, "plate"), [2, 4, 5, 6]);
    peel(
        here,
        &["explain", "graph.ron", "--weights", weights, "--frame", "5"],
    )
    .expect(
        0,
        &[
            "step     matte at key frame 4: ",
            "looks at frames 2,5-6",
            "looks at frames 4,6",
            "step     matte alone at frames 2-6x2: 0 of 3 there",
            "asked    64x48",
            "at frames 2,4-6",
        ],
    );
    peel(
        here,
        &["render", "graph.ron", "--weights", weights, "--frames", "5"],
    )
    .expect(0, &[]);
    let warm = explain();
    assert_eq!(
        steps(&warm),
        expected(true),
        "the plan's keys are those of the render"
    );
    assert_eq!(asked(&warm, "plate"), [5]);
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
fn a_chain_is_made_band_by_band_and_never_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let frame = peel_image::Rect::of_size(512, 2048);
    crate::support::write_picture(&here.join("plate.exr"), frame, |x, y| {
        [x as f32 / 512.0, y as f32 / 2048.0, 0.5, 1.0]
    });
    let graph = r#"Graph(format: 1, frames: "1", nodes: {
        "plate": Read(path: "plate.exr"),
        "warm": Recolor(input: "plate", exposure: 0.5),
        "cool": Recolor(input: "warm", saturation: 0.5),
        "veil": Constant(colour: 0.2, alpha: 0.5, like: "plate"),
        "comp": AlphaOver(layers: ["cool", "veil"]),
        "out": Write(input: "comp", path: "out/comp.exr"),
    })"#;
    fs::write(here.join("graph.ron"), graph).expect("a graph");
    peel(
        here,
        &["render", "graph.ron", "--no-cache", "--trace", "trace.json"],
    )
    .expect(0, &[]);
    let text = fs::read_to_string(here.join("trace.json")).expect("a trace");
    let trace: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let whole = 16 * frame.area();
    for (node, work) in [
        ("plate", "decode"),
        ("warm", "fill"),
        ("cool", "fill"),
        ("comp", "fill"),
    ] {
        let of_node = events
            .iter()
            .filter(|event| event["name"] == node && event["cat"] == work);
        let bytes: Vec<u64> = of_node
            .filter_map(|event| event["args"]["bytes"].as_u64())
            .collect();
        assert_eq!(bytes.iter().sum::<u64>(), whole, "{node}: every pixel once");
        assert!(bytes.iter().all(|&bytes| bytes <= whole / 8), "{node}: {bytes:?}");
    }
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
