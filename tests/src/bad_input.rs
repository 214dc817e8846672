//! Bad input: a clear error and its exit code, or a right result; nothing half written; never a panic or a hang.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use peel_image::Rect;

use crate::exact::{assert_recomposes, read};
use crate::program::{Run, binary, finish, peel};
use crate::support::{tiny_weights, write_picture, write_plate_and_matte};

/// A folder with `plate.exr`, `matte.exr`, a tiny model, and a graph that peels one off the other.
struct Place {
    folder: tempfile::TempDir,
    weights: tempfile::TempDir,
}

const FRAME: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 64,
    y1: 48,
};

impl Place {
    fn new() -> Place {
        let place = Place {
            folder: tempfile::tempdir().expect("a folder"),
            weights: tiny_weights(),
        };
        write_plate_and_matte(place.folder.path());
        place.graph("1", "plate.exr", "out/layers.####.exr");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn graph(&self, frames: &str, plate: &str, out: &str) {
        let text = format!(
            "Graph(format: 1, frames: \"{frames}\", nodes: {{
                \"plate\": Read(path: \"{plate}\"),
                \"matte\": Mask(from: File(\"matte.exr\")),
                \"peel\": Decompose(plate: \"plate\", masks: [\"matte\"], working_size: 32),
                \"out\": Write(input: \"peel.stack\", path: \"{out}\"),
            }})"
        );
        fs::write(self.path("graph.ron"), text).expect("a graph");
    }

    fn render(&self, arguments: &[&str]) -> Run {
        let weights = self.weights.path().to_str().expect("a path");
        let mut all = vec!["render", "graph.ron", "--progress", "none", "--weights", weights];
        all.extend(arguments);
        peel(self.folder.path(), &all)
    }

    /// Fails unless every frame fails with a message that says all of this, and nothing is left behind.
    fn fails(&self, says: &[&str]) {
        self.render(&[]).expect(5, says);
        self.assert_nothing_left();
    }

    fn assert_nothing_left(&self) {
        let left: Vec<_> = fs::read_dir(self.path("out"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    /// Fails unless the frame renders and the stack lays back into the plate.
    fn succeeds(&self) {
        self.render(&[]).expect(0, &[]);
        let plate = read(&self.path("plate.exr"));
        assert_recomposes(
            &self.path("out/layers.0001.exr"),
            &["background", "matte"],
            |x, y| plate.pixel("", x, y),
        );
    }

    /// Changes bytes of the plate's file; what follows a header's text is given as an offset from its end.
    fn patch(&self, after: &str, offset: usize, bytes: &[u8]) {
        let path = self.path("plate.exr");
        let mut content = fs::read(&path).expect("the plate");
        let mark = after.as_bytes();
        let found = content
            .windows(mark.len())
            .position(|window| window == mark)
            .expect(after);
        let start = found + mark.len() + offset;
        content[start..start + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, content).expect("the plate");
    }
}

/// A window as a header holds it: first and last column and row.
fn window(x0: i32, y0: i32, x1: i32, y1: i32) -> Vec<u8> {
    [x0, y0, x1, y1].into_iter().flat_map(i32::to_le_bytes).collect()
}

const DATA_WINDOW: &str = "dataWindow\0box2i\0";
const DISPLAY_WINDOW: &str = "displayWindow\0box2i\0";

#[test]
fn a_missing_file_is_named() {
    let place = Place::new();
    fs::remove_file(place.path("plate.exr")).expect("the plate");
    place.fails(&["plate.exr", "no such file", "graph.ron:2"]);
}

#[test]
fn a_missing_frame_leaves_the_others_alone() {
    let place = Place::new();
    for frame in [1, 3] {
        fs::copy(place.path("plate.exr"), place.path(&format!("p.{frame:04}.exr"))).expect("a copy");
    }
    place.graph("1-3", "p.####.exr", "out/layers.####.exr");
    place.render(&[]).expect(4, &["p.0002.exr"]);
    assert!(place.path("out/layers.0001.exr").is_file() && place.path("out/layers.0003.exr").is_file());
    assert!(!place.path("out/layers.0002.exr").exists());
}

#[test]
fn truncated_files_are_damaged() {
    let place = Place::new();
    let whole = fs::read(place.path("plate.exr")).expect("the plate");
    for part in [whole.len() / 2, whole.len() - 1, 300, 20, 6, 1] {
        fs::write(place.path("plate.exr"), &whole[..part]).expect("the plate");
        place.fails(&["plate.exr"]);
    }
    fs::write(place.path("plate.exr"), b"").expect("the plate");
    place.fails(&["plate.exr", "empty"]);
    fs::write(place.path("plate.exr"), "Graph(format: 1)").expect("the plate");
    place.fails(&["plate.exr", "not a picture"]);
}

#[test]
fn a_header_that_claims_too_much_is_refused_before_memory_is_asked_for() {
    let place = Place::new();
    place.patch(DATA_WINDOW, 4, &window(0, 0, 99_999, 99_999));
    place.patch(DISPLAY_WINDOW, 4, &window(0, 0, 99_999, 99_999));
    place.fails(&["plate.exr", "100000x100000"]);
    place.patch(DATA_WINDOW, 4, &window(i32::MIN, i32::MIN, i32::MAX, i32::MAX));
    place.fails(&["plate.exr"]);
}

#[test]
fn windows_without_size_are_refused() {
    let place = Place::new();
    place.patch(DATA_WINDOW, 4, &window(0, 0, -1, -1));
    place.fails(&["plate.exr"]);
    let place = Place::new();
    place.patch(DISPLAY_WINDOW, 4, &window(5, 5, 4, 4));
    place.fails(&["plate.exr"]);
}

#[test]
fn deep_and_subsampled_files_are_named_as_such() {
    let place = Place::new();
    // The version's flag for deep data.
    let path = place.path("plate.exr");
    let mut content = fs::read(&path).expect("the plate");
    content[5] |= 0x08;
    fs::write(&path, content).expect("the plate");
    place.fails(&["plate.exr", "deep"]);
    let place = Place::new();
    // Channel A: type, linearity, and then the sampling of columns and rows.
    place.patch("channels\0chlist\0", 4 + 2 + 8, &[2, 0, 0, 0, 2, 0, 0, 0]);
    place.fails(&["plate.exr", "subsampling"]);
}

#[test]
fn damaged_bytes_never_panic() {
    let place = Place::new();
    let whole = fs::read(place.path("plate.exr")).expect("the plate");
    // Every byte of the header's first part turned, one at a time, would take minutes; a spread of them does.
    for at in (8..whole.len()).step_by(whole.len() / 24 + 1) {
        let mut content = whole.clone();
        content[at] ^= 0xff;
        fs::write(place.path("plate.exr"), content).expect("the plate");
        let run = place.render(&[]);
        assert!(
            matches!(run.code, Some(0 | 5)),
            "byte {at}: {:?}\n{}",
            run.code,
            run.err
        );
        assert!(!run.err.contains("panicked"), "byte {at}: {}", run.err);
    }
}

#[test]
fn a_plate_of_nan_comes_out_as_it_is() {
    let place = Place::new();
    write_picture(&place.path("plate.exr"), FRAME, |_, _| [f32::NAN; 4]);
    place.succeeds();
}

#[test]
fn a_matte_of_nan_counts_as_empty_and_is_told() {
    let place = Place::new();
    write_picture(&place.path("matte.exr"), FRAME, |_, _| [f32::NAN; 4]);
    place.succeeds();
}

#[test]
fn a_matte_of_another_size_is_told_with_both_sizes() {
    let place = Place::new();
    write_picture(&place.path("matte.exr"), Rect::of_size(32, 24), |_, _| [0.5; 4]);
    place.fails(&["32x24", "64x48", "`matte`"]);
}

#[test]
fn empty_and_full_mattes_are_right() {
    let place = Place::new();
    for value in [0.0, 1.0] {
        write_picture(&place.path("matte.exr"), FRAME, |_, _| [value; 4]);
        place.succeeds();
    }
}

#[test]
fn a_plate_of_one_pixel_is_right() {
    let place = Place::new();
    let dot = Rect::of_size(1, 1);
    write_picture(&place.path("plate.exr"), dot, |_, _| [0.25, 3.0, 0.1, 1.0]);
    write_picture(&place.path("matte.exr"), dot, |_, _| [1.0; 4]);
    place.succeeds();
}

#[test]
fn a_very_wide_plate_under_a_small_limit_is_refused_and_under_a_larger_one_right() {
    let place = Place::new();
    let wide = Rect::of_size(20_000, 40);
    write_picture(&place.path("plate.exr"), wide, |x, y| {
        [x as f32 / 2e4, 0.3, y as f32 / 40.0, 1.0]
    });
    write_picture(&place.path("matte.exr"), wide, |x, _| {
        [f32::from((9000..9100).contains(&x)); 4]
    });
    place
        .render(&["--memory", "4MB"])
        .expect(5, &["20000x40", "memory"]);
    place.assert_nothing_left();
    place.render(&["--memory", "200MB"]).expect(0, &[]);
    let plate = read(&place.path("plate.exr"));
    let stack = place.path("out/layers.0001.exr");
    assert_recomposes(&stack, &["background", "matte"], |x, y| plate.pixel("", x, y));
}

#[test]
fn weights_of_a_wrong_shape_are_told_by_name() {
    let place = Place::new();
    let config = place.weights.path().join("layerdecomp-s/config.ron");
    let text = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, text.replace("width: 16", "width: 32")).expect("a configuration");
    place.fails(&["layerdecomp-s", "wanted", "found"]);
    fs::write(&config, text).expect("a configuration");
    let weights = place.weights.path().join("layerdecomp-s/model.safetensors");
    let whole = fs::read(&weights).expect("weights");
    fs::write(&weights, &whole[..whole.len() / 3]).expect("weights");
    place.fails(&["model.safetensors"]);
    fs::remove_file(&weights).expect("weights");
    place.fails(&["model.safetensors"]);
}

#[test]
fn an_unknown_model_is_told_with_those_there_are() {
    let place = Place::new();
    let text = fs::read_to_string(place.path("graph.ron")).expect("a graph");
    let text = text.replace("working_size: 32", "working_size: 32, model: \"layerdecomp-x\"");
    fs::write(place.path("graph.ron"), text).expect("a graph");
    place.fails(&["layerdecomp-x", "layerdecomp-s"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let place = Place::new();
    fs::write(place.path("file"), "in the way").expect("a file");
    place.graph("1", "plate.exr", "file/layers.####.exr");
    place.fails(&["file/layers.0001.exr", "cannot be written"]);
    place.graph("1", "plate.exr", "/proc/peel/layers.####.exr");
    place.fails(&["/proc/peel/layers.0001.exr", "cannot be written"]);
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing() {
    let place = Place::new();
    // Most bytes a file may have, standing in for a disk that is full: writing fails half-way either way.
    let limited = "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", limited]).arg(binary());
    command
        .args([
            "render",
            "graph.ron",
            "--progress",
            "none",
            "--no-cache",
            "--weights",
        ])
        .arg(place.weights.path());
    let run = finish(command.current_dir(place.folder.path()));
    run.expect(5, &["layers.0001.exr", "cannot be written"]);
    place.assert_nothing_left();
}

#[test]
fn frames_that_would_write_one_file_are_refused() {
    let place = Place::new();
    place.graph("1-2", "plate.exr", "out/layers.exr");
    place.render(&[]).expect(4, &["layers.exr", "####"]);
}

#[test]
fn a_graph_that_is_no_graph_is_told() {
    let place = Place::new();
    for (text, says) in [
        ("", "graph.ron:1"),
        ("Graph(", "graph.ron:1"),
        ("\u{0}\u{1}", "graph.ron:1"),
    ] {
        fs::write(place.path("graph.ron"), text).expect("a graph");
        place.render(&[]).expect(3, &[says]);
    }
    fs::write(place.path("graph.ron"), [0xff, 0xfe, 0x00]).expect("a graph");
    assert!(matches!(place.render(&[]).code, Some(1 | 3)));
    fs::remove_file(place.path("graph.ron")).expect("a graph");
    place.render(&[]).expect(1, &["graph.ron"]);
}

#[test]
fn decompose_without_a_graph_writes_an_exact_stack() {
    let place = Place::new();
    let weights = place.weights.path().to_str().expect("a path");
    let arguments = [
        "decompose",
        "plate.exr",
        "--mask",
        "mug=matte.exr",
        "-o",
        "mug.exr",
        "--weights",
        weights,
    ];
    peel(place.folder.path(), &arguments).expect(0, &[]);
    let plate = read(&place.path("plate.exr"));
    assert_recomposes(&place.path("mug.exr"), &["background", "mug"], |x, y| {
        plate.pixel("", x, y)
    });
    peel(place.folder.path(), &["info", "mug.exr"]).expect(0, &["mug.R", "background.A", "peel:weights"]);
}

#[test]
fn arguments_that_make_no_sense_have_their_own_code() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for arguments in [
        &["rendre"][..],
        &["render"],
        &["render", "x.ron", "--frames", "a-b"],
        &["render", "x.ron", "--threads", "0"],
    ] {
        assert_eq!(peel(here, arguments).code, Some(2), "{arguments:?}");
    }
}
