//! Long sequences in bounded memory.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use peel_image::Rect;

use crate::program::command;
use crate::support::write_picture;

/// The most resident memory in kB when so many frames are done; there must be more frames to come. Every frame is
/// another one, and the motion goes to and fro within twenty, so that none needs more than those. On one thread, since what several hold at one time depends on who comes
/// first; and the allocator gives back at once what is free, since what it keeps for a moment depends on the clock.
fn memory_at(window: Rect, frames: usize, marks: &[usize]) -> Vec<u64> {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    // One plate a frame, so that nothing can be kept: links to a few files.
    fs::create_dir(here.join("plates")).expect("a folder");
    for number in 0..4 {
        write_picture(&here.join(format!("plate{number}.exr")), window, |x, y| {
            [
                0.3 + ((x + number) % 64) as f32 / 64.0,
                (y % 50) as f32 / 50.0,
                0.2,
                1.0,
            ]
        });
    }
    for frame in 1..=frames {
        let plate = here.join(format!("plate{}.exr", frame % 4));
        fs::hard_link(plate, here.join(format!("plates/plate.{frame:04}.exr"))).expect("a link");
    }
    let turns: Vec<String> = (0..=frames.div_ceil(10))
        .map(|turn| {
            let place = if turn % 2 == 0 { "(0, 0)" } else { "(64, 10)" };
            format!("({}, {place})", 1 + 10 * turn)
        })
        .collect();
    let turns = turns.join(", ");
    let text = format!(
        "Graph(format: 1, frames: \"1-{frames}\", nodes: {{
            \"plate\": Read(path: \"plates/plate.####.exr\"),
            \"moved\": Transform(input: \"plate\", rotate: 20, translate: Keys([{turns}])),
            \"warm\": Recolor(input: \"moved\", exposure: 0.5),
            \"comp\": AlphaOver(layers: [\"plate\", (input: \"warm\", opacity: 0.5)]),
            \"out\": Write(input: \"comp\", path: \"renders/out.####.exr\", compression: Zips),
        }})"
    );
    fs::write(here.join("graph.ron"), text).expect("a graph");
    let arguments = [
        "render",
        "graph.ron",
        "--no-cache",
        "--progress=json",
        "--memory=512MB",
        "--threads=1",
    ];
    let mut child = command(here, &arguments)
        .env("MIMALLOC_PURGE_DELAY", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("peel");
    let status = Path::new("/proc").join(child.id().to_string()).join("status");
    let (mut done, mut found) = (0, Vec::new());
    for line in BufReader::new(child.stdout.take().expect("its voice"))
        .lines()
        .map_while(Result::ok)
    {
        if !line.contains("\"frame_finished\"") {
            continue;
        }
        done += 1;
        if marks.contains(&done) {
            // The most that it ever had: what a single moment shows depends on where its frames are.
            let status = fs::read_to_string(&status).expect("its status");
            let line = status
                .lines()
                .find(|line| line.starts_with("VmHWM:"))
                .expect("a field");
            let digits: String = line.chars().filter(char::is_ascii_digit).collect();
            found.push(digits.parse().expect("a number"));
        }
        // Frames that are done are of no more use here.
        let _ = fs::remove_file(here.join(format!("renders/out.{:04}.exr", done.saturating_sub(8))));
    }
    assert!(child.wait().expect("its end").success());
    found
}

/// Two per cent: what the frames after the first mark may add to the most that there ever was.
fn assert_no_growth(found: &[u64]) {
    assert!(found[1] <= found[0] + found[0] / 50, "{found:?}");
}

#[test]
fn memory_does_not_grow_with_the_frames() {
    let found = memory_at(Rect::of_size(960, 540), 66, &[20, 60]);
    println!("{found:?} kB after 20 and 60 frames");
    assert_no_growth(&found);
}

#[test]
#[ignore = "five hundred HD frames: cargo nextest run --release -p peel-tests --run-ignored only streams"]
fn five_hundred_hd_frames_end_with_the_memory_of_twenty() {
    let found = memory_at(Rect::of_size(1920, 1080), 506, &[20, 500]);
    println!("{found:?} kB after 20 and 500 frames");
    assert_no_growth(&found);
}
