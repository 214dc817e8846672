//! A render that is killed at any moment can be gone on with: the set is complete, byte for byte what an undisturbed
//! render makes, and nothing is left beside it. `PEEL_KILLS=50` kills more often.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use peel_image::Rect;

use crate::program::{command, peel};
use crate::support::write_picture;

const FRAMES: i32 = 16;

const GRAPH: &str = r#"Graph(format: 1, frames: "1-16", nodes: {
    "plate": Read(path: "plate.exr"),
    "turned": Transform(input: "plate", rotate: Keys([(1, 0), (16, 40)]), filter: Lanczos3),
    "warm": Recolor(input: "turned", exposure: Keys([(1, 0), (16, 2)])),
    "out": Write(input: "warm", path: "renders/out.####.exr"),
    "small": Write(input: "turned", path: "renders/small.####.exr", compression: Piz),
})"#;

const RENDER: [&str; 7] = [
    "render",
    "graph.ron",
    "--skip-existing",
    "--no-cache",
    "--threads",
    "2",
    "--progress=none",
];

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder.join("renders"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("a rendered file"))
        })
        .collect()
}

#[test]
fn a_render_that_is_killed_again_and_again_ends_as_if_nothing_had_happened() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_picture(&here.join("plate.exr"), Rect::of_size(640, 360), |x, y| {
        let wave = (x as f32 * 0.31).sin() * (y as f32 * 0.17).cos();
        [0.5 + 0.4 * wave, (x * y % 97) as f32 / 97.0, 0.2, 1.0]
    });
    fs::write(here.join("graph.ron"), GRAPH).expect("a graph");
    let begun = Instant::now();
    peel(here, &RENDER).expect(0, &[]);
    let undisturbed = begun.elapsed();
    let expected = files(here);
    assert_eq!(expected.len(), 2 * FRAMES as usize);
    fs::remove_dir_all(here.join("renders")).expect("the renders");

    let kills: u64 = std::env::var("PEEL_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(8);
    let (mut killed, mut tried, mut left_behind) = (0, 0, 0);
    while killed < kills {
        // Anywhere from the first moment to past the end; the same moments each time.
        let share = (tried * 2_654_435_761 % 1000) as f64 / 1000.0;
        tried += 1;
        assert!(
            tried <= 4 * kills,
            "only {killed} of {tried} kills hit a running render"
        );
        let mut child = command(here, &RENDER)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("peel");
        thread::sleep(undisturbed.mul_f64(share));
        child.kill().expect("a kill");
        let end = child.wait().expect("its end");
        killed += u64::from(!end.success());
        #[cfg(unix)]
        assert!(
            end.success() || end.code().is_none(),
            "it failed by itself: {end}"
        );
        let there = files(here);
        left_behind += there.keys().filter(|name| name.ends_with(".part")).count();
        for (name, bytes) in &there {
            assert!(
                name.ends_with(".part") || *bytes == expected[name],
                "{name} is not whole"
            );
        }
        // Now and then all is lost again, so that every kill has something to hit.
        if there.len() > FRAMES as usize {
            let _ = fs::remove_dir_all(here.join("renders"));
        }
    }
    println!("{killed} of {tried} kills hit a running render; {left_behind} temporary files were seen");

    // Half of a file under its own name, another's content, and a file that is none.
    peel(here, &RENDER).expect(0, &[]);
    let path = |name: &str| here.join("renders").join(name);
    fs::write(path("out.0003.exr"), &expected["out.0003.exr"][..2000]).expect("half a file");
    fs::write(path("out.0004.exr"), &expected["out.0005.exr"]).expect("another frame");
    fs::write(path("small.0005.exr"), "no picture").expect("no picture");
    fs::write(path(".out.0007.exr.Ab1Cd2.part"), "half").expect("a left-over");
    let run = peel(here, &["render", "graph.ron", "--skip-existing", "--no-cache"]);
    run.expect(0, &["3 files written, 29 left as they were"]);
    assert!(
        files(here) == expected,
        "the set differs: {:?}",
        files(here).keys()
    );
}

#[test]
fn a_changed_graph_is_not_taken_for_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let graph = |colour: f32| {
        let text = format!(
            "Graph(format: 1, frames: \"1-4\", nodes: {{
                \"c\": Constant(colour: {colour}, width: 8, height: 8),
                \"out\": Write(input: \"c\", path: \"renders/out.####.exr\"),
                \"look\": Write(input: \"c\", path: \"renders/out.####.png\"),
            }})"
        );
        fs::write(here.join("graph.ron"), text).expect("a graph");
        peel(here, &["render", "graph.ron", "--skip-existing"])
    };
    graph(0.5).expect(0, &["8 files written"]);
    // PNG files carry no key.
    graph(0.5).expect(0, &["4 files written, 4 left"]);
    graph(0.6).expect(0, &["8 files written"]);
}
