//! A run that is killed again and again comes to the same end as one that is not.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use peel_train::{Event, Options};

const STEPS: u64 = 90;
/// Tells this test program to be the run and not the test.
const CHILD: &str = "PEEL_TEST_KILLED_RUN";

fn write_config(dir: &Path, name: &str) -> PathBuf {
    let model =
        "width: 16, heads: 2, fold_mask: true, tokenizer: Pixels(patch: 16, stem: (4, 4, 8, 8), prefill: 2)";
    // Checkpoints fall between the lines of the metrics, so that lines are resumed half way too.
    let run = "stages: [(until: 60, size: 32, batch: 2, accumulate: 1), (until: 99, size: 48, batch: 1, accumulate: 2)],
        held_out: 2, evaluate_every: 30, checkpoint_every: 7, data_threads: 2";
    common::write_run(dir, name, model, run)
}

fn run(config: &Path) {
    let options = Options {
        until: Some(STEPS),
        ..Options::default()
    };
    peel_train::train(config, &options, &mut |_: &Event| true).unwrap();
}

/// Not a test by itself: what the test below starts and kills.
#[test]
fn killed_run() {
    if let Some(config) = std::env::var_os(CHILD) {
        run(Path::new(&config));
    }
}

fn start(config: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed_run"])
        .env(CHILD, config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn state(config: &Path, name: &str) -> Vec<u8> {
    std::fs::read(config.with_file_name("state").join(name)).unwrap()
}

/// The metrics without what they say of time.
fn curve(config: &Path) -> Vec<serde_json::Value> {
    let text = String::from_utf8(state(config, "metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
            for clock in ["ms", "wait_ms"] {
                value.as_object_mut().unwrap().remove(clock);
            }
            for row in value["lines"].as_array_mut().into_iter().flatten() {
                row.as_object_mut().unwrap().remove("seconds");
            }
            value
        })
        .collect()
}

#[test]
fn a_run_killed_at_any_moment_ends_like_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    common::write_pool(dir.path());
    let whole = write_config(dir.path(), "whole");
    let begun = Instant::now();
    assert!(start(&whole).wait().unwrap().success());
    let undisturbed = begun.elapsed();

    let killed = write_config(dir.path(), "killed");
    let (mut kills, mut alive) = (0, true);
    // Moments spread over a run by the golden ratio: early and late, during steps, tables and checkpoints.
    while alive && kills < 12 {
        let share = 0.05 + 0.6 * (0.618_034 * f64::from(kills + 1)).fract();
        let mut child = start(&killed);
        std::thread::sleep(undisturbed.mul_f64(share).max(Duration::from_millis(1)));
        alive = child.try_wait().unwrap().is_none();
        if alive {
            child.kill().unwrap();
            kills += 1;
        }
        let _ = child.wait().unwrap();
    }
    assert!(kills >= 2, "{kills} kills");
    assert!(start(&killed).wait().unwrap().success());

    assert!(state(&whole, "run.safetensors") == state(&killed, "run.safetensors"));
    assert!(state(&whole, "best/model.safetensors") == state(&killed, "best/model.safetensors"));
    assert_eq!(curve(&whole), curve(&killed));
}
