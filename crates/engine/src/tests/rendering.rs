//! Frames, files, caches and failures.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use peel_image::Rect;

use super::nodes::*;
use super::{Net, engine};
use crate::cancel::CancelToken;
use crate::engine::{Engine, EngineOptions};
use crate::event::Event;
use crate::render::RenderOptions;

fn save(folder: &Path, name: &'static str) -> Save {
    Save {
        folder: folder.to_owned(),
        name,
        numbered: true,
    }
}

fn ramp() -> Ramp {
    Ramp {
        window: Rect::new(0, 0, 90, 110),
        ..Ramp::default()
    }
}

/// Two frame nodes, one of them asked by three others, and two sinks.
fn shot(folder: &Path, rendered: &Count) -> Net {
    let slow = |inputs| Slow {
        inputs,
        rendered: Arc::clone(rendered),
        keep: true,
        ..Slow::default()
    };
    let by_frame = |name: &'static str| -> super::Hash {
        Box::new(move |frame, key| _ = key.str(name).int(frame.into()))
    };
    Net::default()
        .add_hashed("plate", ramp(), &[], by_frame("plate"))
        .add_hashed("peel", slow(1), &["plate"], by_frame("peel"))
        .add("soft", Blur { radius: 2 }, &["peel.1"])
        .add("comp", Sum { inputs: 3 }, &["peel.0", "soft", "peel.1"])
        .add_hashed("again", slow(2), &["comp", "peel.0"], by_frame("again"))
        .add("out", save(folder, "out"), &["comp"])
        .add("more", save(folder, "more"), &["again"])
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_file());
    entries
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_same_bytes_for_any_threads_bands_chunks_and_caches() {
    let reference = tempfile::tempdir().unwrap();
    let (summary, _) = shot(reference.path(), &Count::default()).render(&engine(1), &[1, 2, 3, 4]);
    assert_eq!((summary.written.len(), summary.complete_frames.len()), (8, 4));
    let cache = tempfile::tempdir().unwrap();
    for (threads, rows, chunk, memory) in [
        (1, 3, 1, 1 << 30),
        (2, 8, 4, 0),
        (3, 1, 2, 300_000),
        (8, 64, 3, 1 << 30),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let net = shot(folder.path(), &Count::default());
        let cache_dir = Some(cache.path().to_owned());
        let memory_bytes = memory.max(200_000);
        let options = EngineOptions {
            threads,
            band_rows: Some(rows),
            memory_bytes,
            cache_dir,
            ..Default::default()
        };
        let engine = Engine::new(options);
        for frames in [1, 2, 3, 4].chunks(chunk) {
            let (summary, _) = net.render(&engine, frames);
            assert!(summary.failed.is_empty(), "{:?}", summary.failed);
        }
        assert!(
            files(folder.path()) == files(reference.path()),
            "{threads} threads, {rows} rows"
        );
    }
}

#[test]
fn a_frame_node_renders_once_however_many_ask() {
    let folder = tempfile::tempdir().unwrap();
    let rendered = Count::default();
    let slow = Slow {
        rendered: Arc::clone(&rendered),
        pause: Duration::from_millis(30),
        ..Slow::default()
    };
    let mut net = Net::default().add("still", slow, &[]);
    for name in ["a", "b", "c"] {
        net = net.add(name, save(folder.path(), name), &["still"]);
    }
    // The picture is the same at every frame, so eight frames that run at once share it too.
    let (summary, _) = net.render(&engine(4), &[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(summary.written.len(), 24);
    assert_eq!(count(&rendered), 1);
}

#[test]
fn the_disk_cache_serves_the_next_run_and_a_damaged_entry_is_made_again() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rendered = Count::default();
    let net = shot(folder.path(), &rendered);
    let fresh = || {
        let cache_dir = Some(cache.path().to_owned());
        Engine::new(EngineOptions {
            threads: 2,
            cache_dir,
            ..Default::default()
        })
    };
    net.render(&fresh(), &[1, 2]);
    let good = files(folder.path());
    assert_eq!(count(&rendered), 4);
    net.render(&fresh(), &[1, 2]);
    assert_eq!(count(&rendered), 4);

    let shards = fs::read_dir(cache.path().join("v2"))
        .unwrap()
        .map(|shard| shard.unwrap().path());
    let entries: Vec<_> = shards
        .flat_map(|shard| fs::read_dir(shard).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(entries.len(), 4);
    let mut bytes = fs::read(&entries[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&entries[0], bytes).unwrap();
    let (summary, events) = net.render(&fresh(), &[1, 2]);
    assert!(summary.failed.is_empty());
    assert_eq!(count(&rendered), 5);
    assert!(events.iter().any(|event| matches!(event, Event::Note { .. })));
    assert!(files(folder.path()) == good);
}

#[test]
fn two_engines_share_a_cache_folder() {
    let cache = tempfile::tempdir().unwrap();
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    std::thread::scope(|scope| {
        for folder in &folders {
            scope.spawn(|| {
                let cache_dir = Some(cache.path().to_owned());
                let engine = Engine::new(EngineOptions {
                    threads: 2,
                    cache_dir,
                    ..Default::default()
                });
                let (summary, _) =
                    shot(folder.path(), &Count::default()).render(&engine, &[1, 2, 3, 4, 5, 6]);
                assert!(summary.failed.is_empty());
            });
        }
    });
    assert!(files(folders[0].path()) == files(folders[1].path()));
}

#[test]
fn one_failing_frame_does_not_stop_the_others_and_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    for threads in [1, 4] {
        let slow = Slow {
            fails: Some("torn"),
            only_at: Some(3),
            ..Slow::default()
        };
        let net = Net::default()
            .add_hashed(
                "film",
                slow,
                &[],
                Box::new(|frame, key| _ = key.int(frame.into())),
            )
            .add("soft", Blur { radius: 1 }, &["film"])
            .add("a", save(folder.path(), "a"), &["soft"])
            .add("b", save(folder.path(), "b"), &["film"]);
        let (summary, events) = net.render(&engine(threads), &[1, 2, 3, 4]);
        assert_eq!(summary.written.len(), 6);
        assert_eq!(
            summary.complete_frames.iter().copied().collect::<Vec<_>>(),
            [1, 2, 4]
        );
        assert_eq!(summary.failed_frames.iter().copied().collect::<Vec<_>>(), [3]);
        assert_eq!(
            events
                .iter()
                .filter(|event| matches!(event, Event::Failed(_)))
                .count(),
            1
        );
        let [failure] = summary.failed.as_slice() else {
            panic!()
        };
        assert_eq!(failure.to_string(), "frame 3: node `film`: torn");
        assert!(!summary.cancelled);
    }
}

#[test]
fn cancelling_stops_soon_and_leaves_whole_files_only() {
    let folder = tempfile::tempdir().unwrap();
    let slow = Slow {
        pause: Duration::from_millis(100),
        ..Slow::default()
    };
    let net = Net::default()
        .add_hashed(
            "film",
            slow,
            &[],
            Box::new(|frame, key| _ = key.int(frame.into())),
        )
        .add("out", save(folder.path(), "out"), &["film"]);
    let cancel = CancelToken::new();
    let frames: Vec<i32> = (0..1000).collect();
    let (summary, _) = net.render_with(
        &engine(2),
        &frames,
        &RenderOptions::default(),
        &cancel,
        &|event| {
            if matches!(event, Event::Written { .. }) {
                cancel.cancel();
            }
        },
    );
    assert!(summary.cancelled && summary.failed.is_empty());
    assert!(!summary.written.is_empty() && summary.written.len() < 10);
    for (name, bytes) in files(folder.path()) {
        assert!(name.ends_with(".bin") && bytes.len() == 40 * 30 * 4, "{name}");
    }
}

#[test]
fn existing_and_current_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let net = Net::default()
        .add("ramp", ramp(), &[])
        .add("out", save(folder.path(), "out"), &["ramp"]);
    let engine = engine(1);
    fs::write(folder.path().join("out2.bin"), "mine").unwrap();
    let render = |options: RenderOptions| {
        net.render_with(&engine, &[1, 2], &options, &CancelToken::new(), &|_| ())
            .0
    };
    let summary = render(RenderOptions {
        skip_existing: true,
        ..Default::default()
    });
    assert_eq!(
        (
            summary.written.len(),
            summary.skipped.len(),
            summary.complete_frames.len()
        ),
        (1, 1, 2)
    );
    assert_eq!(files(folder.path())["out2.bin"], b"mine");

    // What a killed render left: half a file under its own name, and a temporary one.
    fs::write(folder.path().join("out2.bin"), "half").unwrap();
    fs::write(folder.path().join(".out1.bin.Ab3xYz.part"), "half").unwrap();
    let summary = render(RenderOptions {
        skip_existing: true,
        ..Default::default()
    });
    assert_eq!((summary.written.len(), summary.skipped.len()), (1, 1));
    assert_ne!(files(folder.path())["out2.bin"], b"half");
    assert_eq!(files(folder.path()).len(), 2);

    let current = || RenderOptions {
        skip_current: true,
        ..Default::default()
    };
    assert_eq!(
        render(current()).written.len(),
        0,
        "both are as this engine left them"
    );
    assert_eq!(render(current()).written.len(), 0);
    fs::remove_file(folder.path().join("out1.bin")).unwrap();
    assert_eq!(render(current()).written.len(), 1);
}

#[test]
fn two_frames_never_write_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let one = Save {
        folder: folder.path().to_owned(),
        name: "one",
        numbered: false,
    };
    let net = Net::default().add("ramp", ramp(), &[]).add("out", one, &["ramp"]);
    let (summary, _) = net.render(&engine(2), &[7, 8]);
    assert_eq!((summary.written.len(), summary.failed.len()), (1, 1));
    assert!(
        summary.failed[0].to_string().contains("frame 8") && summary.failed[0].to_string().contains("####")
    );
    assert!(net.render(&engine(2), &[7]).0.failed.is_empty());
}

#[test]
fn progress_never_goes_back_and_ends_at_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (_, events) = shot(folder.path(), &Count::default()).render(&engine(3), &[1]);
    let shares: Vec<f32> = events
        .iter()
        .filter_map(|event| {
            if let Event::Progress { share, .. } = event {
                Some(*share)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(shares.last(), Some(&1.0));
    assert!(shares.is_sorted(), "{shares:?}");
    assert!(matches!(events.first(), Some(Event::FrameStarted { frame: 1 })));
    assert!(matches!(
        events.last(),
        Some(Event::FrameFinished {
            frame: 1,
            complete: true,
            ..
        })
    ));
}

#[test]
fn a_frame_whose_files_are_there_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rendered = Count::default();
    let net = shot(folder.path(), &rendered);
    net.render(&engine(2), &[1, 2]);
    let before = count(&rendered);
    let skip = RenderOptions {
        skip_existing: true,
        ..Default::default()
    };
    let (summary, _) = net.render_with(&engine(2), &[1, 2, 3], &skip, &CancelToken::new(), &|_| ());
    assert_eq!(
        (
            summary.written.len(),
            summary.skipped.len(),
            summary.complete_frames.len()
        ),
        (2, 4, 3)
    );
    assert_eq!(count(&rendered), before + 2);
}

#[test]
fn steps_and_resources_are_shared_by_frames_and_steps_by_runs() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = Stepped::default();
    let (steps, loads) = (Arc::clone(&node.steps), Arc::clone(&node.loads));
    let net = Net::default()
        .add("stepped", node, &[])
        .add("out", save(folder.path(), "out"), &["stepped"]);
    for _ in 0..2 {
        let cache_dir = Some(cache.path().to_owned());
        let engine = Engine::new(EngineOptions {
            threads: 4,
            cache_dir,
            ..Default::default()
        });
        let (summary, _) = net.render(&engine, &[1, 2, 3, 4]);
        assert_eq!((summary.written.len(), summary.failed.len()), (4, 0));
    }
    assert_eq!((count(&steps), count(&loads)), (1, 1));
}
