//! The cache on disk, through the command: shared, damaged, looked into; and that it spares the model.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use crate::program::{command, peel};
use crate::support::{files_under, tiny_weights, write_plate_and_matte};

const GRAPH: &str = r#"Graph(format: 1, frames: "1-2", nodes: {
    "plate": Read(path: "plate.exr"),
    "matte": Mask(from: File("matte.exr"), grow: Keys([(1, 0), (2, 2)])),
    "peel": Decompose(plate: "plate", masks: ["matte"], working_size: 32),
    "out": Write(input: "peel.stack", path: "renders/out.####.exr"),
})"#;

struct Place {
    folder: tempfile::TempDir,
    weights: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place {
            folder: tempfile::tempdir().expect("a folder"),
            weights: tiny_weights(),
        };
        write_plate_and_matte(place.here());
        fs::write(place.here().join("graph.ron"), GRAPH).expect("a graph");
        place
    }

    fn here(&self) -> &Path {
        self.folder.path()
    }

    fn arguments(&self) -> Vec<String> {
        let weights = self.weights.path().to_str().expect("a path");
        ["render", "graph.ron", "--stats", "--weights", weights]
            .map(str::to_owned)
            .to_vec()
    }

    /// Renders everything anew; what it said.
    fn render(&self, more: &[&str]) -> crate::program::Run {
        let _ = fs::remove_dir_all(self.here().join("renders"));
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        peel(self.here(), &arguments)
    }

    fn pictures(&self) -> Vec<Vec<u8>> {
        let files = files_under(&self.here().join("renders"), "exr");
        files
            .iter()
            .map(|file| fs::read(file).expect("a picture"))
            .collect()
    }

    fn cached(&self) -> Vec<PathBuf> {
        files_under(&self.here().join("cache"), "peel")
    }
}

#[test]
fn a_damaged_result_is_noticed_and_made_again() {
    let place = Place::new();
    place.render(&[]).expect(0, &["2 files written"]);
    let (pictures, cached) = (place.pictures(), place.cached());
    assert!(!cached.is_empty());
    for file in &cached {
        let mut bytes = fs::read(file).expect("a result");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        fs::write(file, bytes).expect("a result");
    }
    let run = place.render(&[]);
    run.expect(0, &["damaged cache entry", "it is made again"]);
    assert!(place.pictures() == pictures);
    assert_eq!(place.cached(), cached, "the same results are there again");

    // The command finds it too.
    let mut bytes = fs::read(&cached[0]).expect("a result");
    bytes[30] ^= 1;
    fs::write(&cached[0], bytes).expect("a result");
    peel(place.here(), &["cache"]).expect(0, &[&format!("{} results", cached.len())]);
    peel(place.here(), &["cache", "verify"]).expect(1, &["1 damaged", "removed"]);
    peel(place.here(), &["cache", "verify"]).expect(0, &["0 damaged"]);
    peel(place.here(), &["cache", "list"]).expect(0, &[".peel"]);
    peel(place.here(), &["cache", "trim"]).expect(2, &["--limit"]);
    peel(place.here(), &["cache", "trim", "--limit", "1GB"]).expect(0, &["0 results removed"]);
    peel(place.here(), &["cache", "clear"]).expect(0, &["removed"]);
    assert!(place.cached().is_empty());
    peel(place.here(), &["cache"]).expect(0, &["0 results, 0 bytes"]);
}

#[test]
fn two_processes_share_a_cache_while_a_third_clears_it() {
    let place = Place::new();
    place.render(&["--no-cache"]).expect(0, &[]);
    let expected = place.pictures();
    let start = |frames: &str| {
        let mut command = command(place.here(), &[]);
        command
            .args(place.arguments())
            .args(["--frames", frames, "--cache-limit", "100kB"]);
        command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("peel")
    };
    for round in 0..3 {
        let _ = fs::remove_dir_all(place.here().join("renders"));
        let both = [start("1,2"), start("2,1")];
        peel(place.here(), &["cache", "clear"]).expect(0, &[]);
        for child in both {
            let output = child.wait_with_output().expect("its end");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success() && !said.contains("damaged"),
                "round {round}: {said}"
            );
        }
        assert!(place.pictures() == expected, "round {round}");
    }
    peel(place.here(), &["cache", "verify"]).expect(0, &["0 damaged"]);
}

#[test]
fn a_result_from_the_cache_needs_no_model() {
    let place = Place::new();
    let model = place.weights.path().join("layerdecomp-s");
    let weights = model.join("model.safetensors");
    let digest = peel_layerdecomp::weights::verify(&model, &|_, _| true).expect("a sound model");
    let record = |text: &str| {
        fs::write(model.join("digest"), text).expect("a digest");
        let file = File::options()
            .write(true)
            .open(model.join("digest"))
            .expect("a digest");
        file.set_modified(SystemTime::now() + Duration::from_secs(60))
            .expect("its time");
    };
    record(&format!("{digest}  model.safetensors\n"));
    place.render(&[]).expect(0, &[]);
    let pictures = place.pictures();
    // Weights that cannot be loaded, with the record that they are the same: nobody looks.
    fs::write(&weights, "no weights").expect("other weights");
    place.render(&[]).expect(0, &["2 files written"]);
    assert!(place.pictures() == pictures);
    place.render(&["--no-cache"]).expect(5, &["layerdecomp-s"]);
}

#[test]
fn a_record_that_is_wrong_is_noticed_when_the_model_runs() {
    let place = Place::new();
    let model = place.weights.path().join("layerdecomp-s");
    fs::write(
        model.join("digest"),
        format!("{}  model.safetensors\n", "0".repeat(64)),
    )
    .expect("a digest");
    place.render(&[]).expect(5, &["digest"]);
}
