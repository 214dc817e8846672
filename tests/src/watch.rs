//! Editing while Peel watches: what did not change is not made again.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Instant;

use peel_engine::{CancelToken, Engine, Event, RenderOptions};

use crate::program::{command, wait_for};
use crate::support::{
    TINY_SEED, engine, files_under, make_tiny_model, parse, tiny_weights, write_plate_and_matte,
};

const GRAPH: &str = r#"Graph(format: 1, frames: "1", nodes: {
    "plate": Read(path: "plate.exr"),
    "matte": Mask(from: File("matte.exr")),
    "peel": Decompose(plate: "plate", masks: ["matte"], working_size: 32),
    "warm": Recolor(input: "peel.matte", exposure: 0.5),
    "comp": AlphaOver(layers: ["peel.background", "warm"]),
    "out": Write(input: "comp", path: "out/comp.exr"),
    "layers": Write(input: "peel.stack", path: "out/layers.exr"),
})"#;

/// The nodes that wrote a file, and those that had something to say: Decompose tells of each run of the model.
fn render(engine: &Engine, folder: &Path, text: &str) -> (Vec<String>, Vec<String>) {
    let graph = parse(text, &folder.join("graph.ron"));
    let (written, told) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let hear = |event: Event| match event {
        Event::Written { node, .. } => written.lock().expect("a list").push(node),
        Event::Note { node, .. } => told.lock().expect("a list").push(node),
        _ => {}
    };
    let options = RenderOptions {
        skip_current: true,
        ..RenderOptions::default()
    };
    let summary = engine
        .render(&graph, &[1], &options, &hear, &CancelToken::new())
        .expect("something to render");
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    let sorted = |list: Mutex<Vec<String>>| {
        let mut list = list.into_inner().expect("a list");
        list.sort();
        list
    };
    (sorted(written), sorted(told))
}

#[test]
fn a_changed_recolor_runs_no_model_and_writes_only_the_comp() {
    let (folder, weights) = (tempfile::tempdir().expect("a folder"), tiny_weights());
    write_plate_and_matte(folder.path());
    let engine = engine(2, &[weights.path()]);
    let (written, told) = render(&engine, folder.path(), GRAPH);
    assert_eq!(
        (written, told),
        (
            vec!["layers".to_owned(), "out".to_owned()],
            vec!["peel".to_owned()]
        )
    );
    let edited = GRAPH.replace("exposure: 0.5", "exposure: 0.7");
    let (written, told) = render(&engine, folder.path(), &edited);
    assert_eq!(written, ["out"], "the stack is what it was");
    assert!(told.is_empty(), "the model ran again: {told:?}");
    let reseeded = edited.replace("working_size: 32", "working_size: 32, seed: 1");
    let (_, told) = render(&engine, folder.path(), &reseeded);
    assert_eq!(told, ["peel"], "another seed is another decomposition");
}

/// Ends the watching program, whatever becomes of the test.
struct Watching(std::process::Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn watch_renders_again_after_each_save_and_survives_a_broken_one() {
    let (folder, weights) = (tempfile::tempdir().expect("a folder"), tiny_weights());
    write_plate_and_matte(folder.path());
    let (graph, comp) = (
        folder.path().join("graph.ron"),
        folder.path().join("out/comp.exr"),
    );
    fs::write(&graph, GRAPH).expect("a graph");
    let models = weights.path().to_str().expect("a path");
    let mut watch = command(folder.path(), &["watch", "graph.ron", "--weights", models]);
    let log = fs::File::create(folder.path().join("log.txt")).expect("a log");
    watch.stdout(log.try_clone().expect("a log")).stderr(log);
    let _watching = Watching(watch.spawn().expect("peel watch"));
    let content = || fs::read(&comp).ok();
    wait_for("the first picture", || content().is_some());
    let first = content();

    // A broken save keeps the last good picture and says what is wrong.
    fs::write(&graph, GRAPH.replace("exposure", "exposer")).expect("a graph");
    wait_for("the diagnosis", || {
        fs::read_to_string(folder.path().join("log.txt")).is_ok_and(|log| log.contains("exposer"))
    });
    assert!(content() == first);

    let saved = Instant::now();
    fs::write(&graph, GRAPH.replace("exposure: 0.5", "exposure: 0.9")).expect("a graph");
    wait_for("the next picture", || content() != first);
    println!("from save to file: {} ms", saved.elapsed().as_millis());
    let second = content();

    // A new matte is a new picture too.
    crate::support::write_picture(
        &folder.path().join("matte.exr"),
        peel_image::Rect::of_size(64, 48),
        |x, y| [f32::from((8..24).contains(&x) && (4..20).contains(&y)); 4],
    );
    wait_for("the picture with the new matte", || content() != second);
    let third = content();

    // So are new weights.
    make_tiny_model(&weights.path().join("layerdecomp-s"), TINY_SEED + 1);
    wait_for("the picture of the new weights", || content() != third);
}

#[test]
fn a_save_ends_the_render_of_the_text_before() {
    const FRAMES: usize = 5000;
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let save = |name: &str, frames: usize| {
        let text = format!(
            "Graph(format: 1, frames: \"1-{frames}\", nodes: {{
                \"dot\": Constant(colour: 0.5, width: 200, height: 200),
                \"cut\": AlphaOver(layers: [(input: \"dot\", mask: \"round\")]),
                \"round\": Mask(from: Ellipse(centre: (90, 90), radius: (60, 40)), like: \"dot\"),
                \"turned\": Transform(input: \"cut\", rotate: Keys([(1, 0), ({FRAMES}, 90)])),
                \"out\": Write(input: \"turned\", path: \"{name}/out.####.exr\"),
            }})"
        );
        fs::write(here.join("graph.ron"), text).expect("a graph");
    };
    save("old", FRAMES);
    let mut watch = command(here, &["watch", "graph.ron", "--no-cache", "--progress=none"]);
    watch.stdout(Stdio::null()).stderr(Stdio::null());
    let _watching = Watching(watch.spawn().expect("peel watch"));
    wait_for("the first frame", || here.join("old/out.0001.exr").exists());
    save("new", 3);
    wait_for("the frames of the new text", || {
        here.join("new/out.0003.exr").exists()
    });
    let old = files_under(&here.join("old"), "exr").len();
    assert!(
        old < FRAMES,
        "all {old} frames of the old text were rendered first"
    );
}
