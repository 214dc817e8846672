//! The `peel` command from outside.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::root;

/// The built program: the one that `PEEL_BIN` names, else the workspace's own, brought up to date first.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(named) = std::env::var_os("PEEL_BIN") {
            return PathBuf::from(named);
        }
        // The same selection as the tests' own build, so that no dependency is built again.
        let built = Command::new(env!("CARGO"))
            .args(["build", "--release", "--workspace", "--bin", "peel", "--quiet"])
            .current_dir(root())
            .status()
            .expect("cargo");
        assert!(built.success(), "the peel command does not build");
        // target/release/deps/peel_tests-.. to target/release/peel
        let tests = std::env::current_exe().expect("the test's own path");
        let folder = tests.parent().and_then(Path::parent).expect("target/release");
        folder.join(format!("peel{}", std::env::consts::EXE_SUFFIX))
    })
}

/// What became of a run.
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Run {
    fn of(output: Output) -> Run {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Run {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Fails unless the program ended with this code and said all of this on one of its outputs, without a panic.
    pub fn expect(&self, code: i32, says: &[&str]) {
        let all = format!("{}{}", self.out, self.err);
        assert!(
            !all.contains("panicked") && !all.contains("RUST_BACKTRACE"),
            "a panic:\n{all}"
        );
        assert_eq!(self.code, Some(code), "{all}");
        for part in says {
            assert!(all.contains(part), "nothing is said of {part:?}:\n{all}");
        }
    }
}

/// Runs a command to its end, at most two minutes.
pub fn finish(command: &mut Command) -> Run {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a program");
    let id = child.id();
    let (done, finished) = std::sync::mpsc::channel::<()>();
    let guard = thread::spawn(move || {
        if finished.recv_timeout(Duration::from_secs(120)).is_err() {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        }
    });
    let output = child.wait_with_output().expect("the program's output");
    let _ = done.send(());
    let _ = guard.join();
    Run::of(output)
}

/// `peel` with these arguments in this folder, with no caches of the user's.
pub fn peel(folder: &Path, arguments: &[&str]) -> Run {
    finish(&mut command(folder, arguments))
}

/// The command behind [`peel`].
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .current_dir(folder)
        .env("PEEL_CACHE", folder.join("cache"));
    command.env_remove("RUST_BACKTRACE").env_remove("PEEL_WEIGHTS");
    command
}

/// Waits until something holds, at most a minute.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "waited in vain for {what}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn help_lists_the_exit_codes() {
    let run = peel(&root(), &["--help"]);
    run.expect(
        0,
        &[
            "render",
            "check",
            "watch",
            "decompose",
            "nodes",
            "info",
            "train",
            "eval",
            "Exit codes",
            "130",
        ],
    );
}

#[test]
fn nodes_prints_the_manual_from_the_source() {
    peel(&root(), &["nodes"]).expect(0, &["Read", "Decompose", "AlphaOver", "Write"]);
    peel(&root(), &["nodes", "Transform"]).expect(0, &["translate", "pixels", "clockwise", "Catmull-Rom"]);
    peel(&root(), &["nodes", "Trasnform"]).expect(2, &["Transform"]);
}

#[test]
fn check_reports_five_mistakes_at_their_places() {
    let file = root().join("tests/errors/five_mistakes.ron");
    let file = file.to_str().expect("a path");
    let run = peel(&root(), &["check", file]);
    run.expect(3, &[]);
    let all = format!("{}{}", run.out, run.err);
    assert_eq!(all.matches(" --> ").count(), 5, "{all}");
    let json = peel(&root(), &["check", "--json", file]);
    assert_eq!(json.code, Some(3), "{}", json.err);
    let report: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(
        report["diagnostics"].as_array().map(Vec::len),
        Some(5),
        "{report}"
    );
}

#[test]
fn every_graph_and_example_checks() {
    for graph in crate::support::files_under(&root().join("graphs"), "ron") {
        peel(&root(), &["check", graph.to_str().expect("a path")]).expect(0, &[]);
    }
}
