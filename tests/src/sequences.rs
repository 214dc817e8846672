//! Frames that help each other out: the same bytes for any chunking, any number of threads, a cold cache and a warm one; and
//! what becomes of frames that are missing or do not fit.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use peel_engine::{CancelToken, Engine, EngineOptions, Event, RenderOptions};
use peel_image::Rect;
use peel_node::Note;

use crate::exact::{assert_recomposes, opaque, read};
use crate::support::{engine, files_under, parse, render, tiny_weights, write_picture};

const FRAMES: std::ops::RangeInclusive<i32> = 1..=5;

const WINDOW: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 72,
    y1: 48,
};

/// A floor that pans by a third of a pixel a frame, and two boxes on it, one of which slides over the other.
fn write_shot(folder: &Path) {
    for frame in FRAMES {
        let boxes = [(10 + 8 * frame, 18, 10), (34, 14, 16)];
        let covers = |x: i32, y: i32, (x0, y0, side): (i32, i32, i32)| {
            (x0..x0 + side).contains(&x) && (y0..y0 + side).contains(&y)
        };
        write_picture(&folder.join(format!("plate.{frame:04}.exr")), WINDOW, |x, y| {
            let at = x as f32 + 0.33 * frame as f32;
            let floor = 0.4
                + 0.15 * (0.8 * at).sin() * (0.5 * y as f32).cos()
                + 0.1 * (0.13 * at + 0.21 * y as f32).sin();
            match boxes.iter().position(|&one| covers(x, y, one)) {
                Some(0) => [0.8, 0.1, 0.1, 1.0],
                Some(_) => [0.1, 0.3 + 0.02 * (x % 3) as f32, 0.7, 1.0],
                None => [floor, 0.8 * floor, 0.6 * floor, 1.0],
            }
        });
        for (which, name) in ["front", "back"].iter().enumerate() {
            write_picture(&folder.join(format!("{name}.{frame:04}.exr")), WINDOW, |x, y| {
                let shown = boxes.iter().position(|&one| covers(x, y, one)) == Some(which);
                [f32::from(shown); 4]
            });
        }
    }
}

fn graph(motion: &str, made_up: &str) -> String {
    format!(
        r#"Graph(format: 1, frames: "1-5", nodes: {{
            "plate": Read(path: "plate.####.exr"),
            "front": Mask(from: File("front.####.exr")),
            "back": Mask(from: File("back.####.exr")),
            "peel": Decompose(plate: "plate", masks: ["front", "back"], working_size: 32, steps: 2,
                motion: {motion}, window: 2, key_every: 3, made_up: {made_up}),
            "out": Write(input: "peel.stack", path: "out/layers.####.exr"),
        }})"#
    )
}

/// What each run leaves, all runs by an engine of their own.
fn bytes(
    folder: &Path,
    weights: &Path,
    text: &str,
    threads: usize,
    cache: Option<&Path>,
    runs: &[&[i32]],
) -> BTreeMap<String, Vec<u8>> {
    let _ = fs::remove_dir_all(folder.join("out"));
    for frames in runs {
        let engine = Engine::new(EngineOptions {
            threads,
            cache_dir: cache.map(Path::to_owned),
            weights_dirs: vec![weights.to_owned()],
            ..EngineOptions::default()
        });
        render(&engine, &parse(text, &folder.join("graph.ron")), frames);
    }
    let read = |file: &std::path::PathBuf| {
        (
            file.display().to_string(),
            fs::read(file).expect("a rendered file"),
        )
    };
    files_under(&folder.join("out"), "exr").iter().map(read).collect()
}

#[test]
fn chunks_threads_and_caches_change_no_byte() {
    let (folder, weights) = (tempfile::tempdir().expect("a folder"), tiny_weights());
    let cache = tempfile::tempdir().expect("a folder");
    write_shot(folder.path());
    for (motion, made_up) in [
        ("Locked", "KeyFrame"),
        ("Homography", "KeyFrame"),
        ("Off", "Neighbour"),
        ("Locked", "Neighbour"),
        ("Homography", "Neighbour"),
    ] {
        let text = graph(motion, made_up);
        let run = |threads, cache, runs: &[&[i32]]| {
            bytes(folder.path(), weights.path(), &text, threads, cache, runs)
        };
        let expected = run(1, None, &[&[1, 2, 3, 4, 5]]);
        assert_eq!(expected.len(), 5);
        let kept = Some(cache.path());
        /// Threads, cache, and the frames of each run.
        type Way<'a> = (usize, Option<&'a Path>, &'a [&'a [i32]]);
        let ways: [Way<'_>; 4] = [
            (2, None, &[&[5, 4, 3, 2, 1]]),
            (2, None, &[&[4], &[1, 2], &[3], &[5]]),
            // The first of these fills the cache, the second finds it full.
            (2, kept, &[&[2], &[1, 3, 4, 5]]),
            (1, kept, &[&[1, 2, 3, 4, 5]]),
        ];
        for (threads, cache, runs) in ways {
            let found = run(threads, cache, runs);
            assert_eq!(found.len(), expected.len());
            for (name, content) in &expected {
                assert!(
                    found[name] == *content,
                    "{name} differs: {motion}, {made_up}, {threads} threads, {runs:?}"
                );
            }
        }
        for frame in FRAMES {
            let plate = read(&folder.path().join(format!("plate.{frame:04}.exr")));
            let stack = folder.path().join(format!("out/layers.{frame:04}.exr"));
            assert_recomposes(&stack, &["background", "back", "front"], opaque(&plate));
        }
    }
}

#[test]
fn a_missing_frame_fails_alone_and_its_neighbours_do_without() {
    let (folder, weights) = (tempfile::tempdir().expect("a folder"), tiny_weights());
    write_shot(folder.path());
    fs::remove_file(folder.path().join("plate.0003.exr")).expect("a plate to take away");
    // And a mask that was made for another frame size.
    write_picture(
        &folder.path().join("back.0005.exr"),
        Rect::of_size(20, 20),
        |_, _| [1.0; 4],
    );
    let graph = parse(&graph("Locked", "KeyFrame"), &folder.path().join("graph.ron"));
    let told = Mutex::new(Vec::new());
    let hear = |event: Event| {
        if let Event::Note {
            note: Note::Info(text),
            ..
        } = event
        {
            told.lock().expect("no panic").push(text);
        }
    };
    let frames: Vec<i32> = FRAMES.collect();
    let summary = engine(2, &[weights.path()])
        .render(
            &graph,
            &frames,
            &RenderOptions::default(),
            &hear,
            &CancelToken::new(),
        )
        .expect("something to render");
    let failed: Vec<(i32, String)> = summary
        .failed
        .iter()
        .map(|failure| (failure.frame, failure.error.to_string()))
        .collect();
    assert_eq!(
        failed.iter().map(|(frame, _)| *frame).collect::<Vec<_>>(),
        [3, 5],
        "{failed:?}"
    );
    assert!(failed[0].1.contains("plate.0003.exr"), "{failed:?}");
    assert!(
        failed[1].1.contains("`back`") && failed[1].1.contains("20x20"),
        "{failed:?}"
    );
    assert_eq!(summary.written.len(), 3);
    let told = told.into_inner().expect("no panic");
    for line in ["frame 2 does without 3:", "frame 4 does without 3, 5:"] {
        assert_eq!(
            told.iter().filter(|text| text.starts_with(line)).count(),
            1,
            "{line}: {told:?}"
        );
    }
}
