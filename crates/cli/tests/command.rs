//! The command as a user or a farm runs it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// An ellipse that moves across a gradient-free picture; two sinks.
const GRAPH: &str = r#"Graph(
    format: 1,
    frames: "1-4",
    nodes: {
        "orange": Constant(colour: (0.9, 0.35, 0.08), width: 320, height: 240),
        "ellipse": Mask(from: Ellipse(centre: (140, 120), radius: (90, 50)), feather: 4, like: "orange"),
        "cut": AlphaOver(layers: [(input: "orange", mask: "ellipse")]),
        "moved": Transform(input: "cut", translate: Keys([(1, (0, 0)), (4, (40.5, 8))]), rotate: 20),
        "warm": Recolor(input: "moved", exposure: 0.5),
        "out": Write(input: "warm", path: "renders/comp.####.exr"),
        "matte": Write(input: "moved", path: "renders/moved.####.exr"),
    },
)
"#;

fn peel(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peel"));
    command
        .current_dir(folder)
        .args(arguments)
        .env_remove("PEEL_WEIGHTS")
        .env("PEEL_CACHE", folder.join("cache"));
    command
}

fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = peel(folder, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn folder_with(graph: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shot.ron"), graph).unwrap();
    folder
}

fn renders(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder.join("renders"))
        .unwrap()
        .map(|file| file.unwrap());
    let mut files: Vec<_> = files
        .map(|file| {
            (
                file.file_name().into_string().unwrap(),
                fs::read(file.path()).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_same_bytes_for_any_threads_and_chunks() {
    let reference = folder_with(GRAPH);
    let (code, _, stderr) = run(reference.path(), &["render", "shot.ron", "--threads", "1"]);
    assert_eq!(code, 0, "{stderr}");
    let reference = renders(reference.path());
    assert_eq!(reference.len(), 8);

    let folder = folder_with(GRAPH);
    for frames in ["3", "1-2", "4"] {
        let (code, ..) = run(
            folder.path(),
            &["render", "shot.ron", "-t", "3", "-f", frames, "--no-cache"],
        );
        assert_eq!(code, 0);
    }
    assert!(renders(folder.path()) == reference);

    let elsewhere = tempfile::tempdir().unwrap();
    let graph = folder.path().join("shot.ron");
    fs::remove_dir_all(folder.path().join("renders")).unwrap();
    let (code, ..) = run(
        elsewhere.path(),
        &["render", graph.to_str().unwrap(), "-t", "2", "--progress", "none"],
    );
    assert_eq!(code, 0);
    assert!(
        renders(folder.path()) == reference,
        "paths start at the graph file, not at the current folder"
    );
}

#[test]
fn exit_codes_tell_what_happened() {
    let folder = folder_with(GRAPH);
    let here = folder.path();
    assert_eq!(run(here, &["render"]).0, 2);
    assert_eq!(run(here, &["render", "shot.ron", "--frames", "later"]).0, 2);
    assert_eq!(run(here, &["render", "shot.ron", "--memory", "4parsecs"]).0, 2);
    assert_eq!(run(here, &["render", "shot.ron", "--only", "uot"]).0, 2);
    assert_eq!(run(here, &["render", "missing.ron"]).0, 1);
    assert_eq!(run(here, &["info", "shot.ron"]).0, 1);

    fs::write(
        here.join("wrong.ron"),
        GRAPH.replace("rotate", "rotat").replace("Keys", "Kyes"),
    )
    .unwrap();
    let (code, stdout, stderr) = run(here, &["render", "wrong.ron"]);
    assert_eq!((code, stdout.as_str()), (3, ""));
    assert!(
        stderr.contains("wrong.ron:8:") && stderr.contains("`rotate`"),
        "{stderr}"
    );
    let (code, stdout, _) = run(here, &["check", "wrong.ron", "--json"]);
    assert_eq!(code, 3);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert!(report["errors"].as_u64().unwrap() >= 2);
    assert_eq!(run(here, &["check", "shot.ron"]).0, 0);

    assert_eq!(run(here, &["render", "shot.ron", "--frames", "1-2"]).0, 0);
    let sequence = GRAPH.replace(
        "\"orange\": Constant(colour: (0.9, 0.35, 0.08), width: 320, height: 240)",
        "\"orange\": Read(path: \"renders/comp.####.exr\")",
    );
    let sequence = sequence.replace(
        "renders/comp.####.exr\"),\n        \"matte\"",
        "again/comp.####.exr\"),\n        \"matte\"",
    );
    fs::write(here.join("sequence.ron"), sequence).unwrap();
    let (code, _, stderr) = run(here, &["render", "sequence.ron", "--only", "out"]);
    assert_eq!(code, 4, "{stderr}");
    assert!(
        stderr.contains("frame 3: node `orange`") && stderr.contains("sequence.ron:5:"),
        "{stderr}"
    );
    assert_eq!(stderr.matches("error:").count(), 2, "once a frame: {stderr}");
    assert_eq!(
        run(
            here,
            &["render", "sequence.ron", "--only", "out", "--frames", "3-4"]
        )
        .0,
        5
    );
}

#[test]
fn existing_files_are_skipped_and_nothing_is_left_half_written() {
    let folder = folder_with(GRAPH);
    assert_eq!(run(folder.path(), &["render", "shot.ron", "-f", "2"]).0, 0);
    let (code, _, stderr) = run(folder.path(), &["render", "shot.ron", "--skip-existing"]);
    assert_eq!(code, 0);
    assert!(
        stderr.contains("6 files written, 2 left as they were"),
        "{stderr}"
    );
    assert_eq!(renders(folder.path()).len(), 8);
}

#[test]
fn progress_in_every_form() {
    let folder = folder_with(GRAPH);
    let (_, stdout, _) = run(folder.path(), &["render", "shot.ron", "--progress", "openjd"]);
    assert!(
        stdout
            .lines()
            .all(|line| line.starts_with("openjd_status: ") || line.starts_with("openjd_progress: "))
    );
    assert!(stdout.contains("openjd_progress: 100.0\n"), "{stdout}");
    let (_, stdout, _) = run(folder.path(), &["render", "shot.ron", "--progress", "json"]);
    let events: Vec<serde_json::Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        events.iter().filter(|event| event["event"] == "written").count(),
        8
    );
    assert_eq!(events.last().unwrap()["event"], "finished");
    let (_, stdout, stderr) = run(folder.path(), &["render", "shot.ron", "--progress", "none"]);
    assert_eq!((stdout, stderr), (String::new(), String::new()));
    let (_, stdout, stderr) = run(folder.path(), &["render", "shot.ron"]);
    assert!(
        stdout.is_empty() && stderr.ends_with('\n') && !stderr.contains("Error:"),
        "{stderr}"
    );
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = peel(folder.path(), &["nodes", "Mask"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn the_manual_knows_kinds_and_near_misses() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, _) = run(folder.path(), &["nodes", "transform"]);
    assert!(code == 0 && stdout.contains("translate: ") && stdout.contains("# Colour and alpha"));
    let (code, _, stderr) = run(folder.path(), &["nodes", "Transfrom"]);
    assert!(code == 2 && stderr.contains("`Transform`"), "{stderr}");
}

#[test]
#[cfg(unix)]
fn an_interrupt_stops_a_render_with_whole_files_only() {
    let folder = folder_with(&GRAPH.replace("1-4", "1-2000"));
    let arguments = ["render", "shot.ron", "--progress", "json", "--no-cache"];
    let mut child = peel(folder.path(), &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    lines.by_ref().find(|line| line.contains("\"written\"")).unwrap();
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    let last = lines.last().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(last.contains("\"cancelled\":true"), "{last}");
    let renders = renders(folder.path());
    assert!(renders.len() < 2 * 2000, "it went on to the end");
    for (name, bytes) in renders {
        assert!(
            name.ends_with(".exr") && bytes.starts_with(&[0x76, 0x2f, 0x31, 0x01]),
            "{name}"
        );
    }
}

#[test]
fn cuda_without_cuda_is_refused_at_once() {
    let folder = folder_with(GRAPH);
    let (code, _, stderr) = run(folder.path(), &["render", "shot.ron", "--device", "cuda"]);
    assert!(code == 2 && stderr.contains("CUDA"), "{stderr}");
    // Before anything is read.
    let (code, _, stderr) = run(folder.path(), &["train", "none.ron", "--device", "cuda"]);
    assert!(code == 2 && stderr.contains("CUDA"), "{stderr}");
    // As the config says, unless the command says otherwise.
    let config = |device: &str| {
        let text = format!(
            r#"Train(format: 1, seed: 1, pool: "p", state: "s", rendered: 0, pure_noise: 0.5, time_mean: 0,
            device: {device}, stages: [(until: 1, size: 16, batch: 1, accumulate: 1)],
            optimizer: (learning_rate: 1e-3, betas: (0.9, 0.95), weight_decay: 0.01, clip: 1, ema: 0.9),
            warm_up: 1, decay: (steps: 1, to: 0.1), held_out: 1, evaluate_every: 1, checkpoint_every: 1, data_threads: 1,
            loss: (mse: 4, l1: 0.05, consistency: 0.3, effect: 4, shadow: 4, threshold: 0.02))"#
        );
        fs::write(folder.path().join("train.ron"), text).unwrap();
    };
    config("cuda");
    let (code, _, stderr) = run(folder.path(), &["train", "train.ron"]);
    assert!(code == 2 && stderr.contains("device: cuda: "), "{stderr}");
    for device in ["cpu", "auto"] {
        let (_, _, stderr) = run(folder.path(), &["train", "train.ron", "--device", device]);
        assert!(
            stderr.contains("config.ron") && !stderr.contains("CUDA"),
            "{stderr}"
        );
    }
    config("gpu");
    let (_, _, stderr) = run(folder.path(), &["train", "train.ron"]);
    assert!(
        stderr.contains("train.ron: 2:") && stderr.contains("`gpu`"),
        "{stderr}"
    );
}
