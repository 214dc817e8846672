//! `peel model` and `peel weights` as a user runs them, on the weights that ship.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../weights/layerdecomp-s")
}

/// Runs the command in a folder: exit code, standard output, standard error.
fn peel(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_peel"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn the_published_preset_is_within_two_percent_of_five_billion() {
    let folder = tempfile::tempdir().unwrap();
    let info = ["model", "info", "layerdecomp-5b"];
    let (code, text, _) = peel(folder.path(), &info);
    assert_eq!(code, 0);
    for says in [
        "5.04 G",
        "+0.8",
        "bf16",
        "1024 a stream (4 streams)",
        "in 50 steps",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    let small = [
        "--size",
        "256x128",
        "--steps",
        "4",
        "--condition-cache",
        "on",
        "--json",
    ];
    let (_, text, _) = peel(folder.path(), &[&info[..], &small].concat());
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let number = |path: &str| json.pointer(path).and_then(serde_json::Value::as_u64).unwrap();
    assert!(json["off_paper_percent"].as_f64().unwrap().abs() < 2.0);
    assert_eq!(
        (number("/width"), number("/height"), number("/tokens/stream")),
        (256, 128, 128)
    );
    let once = ["encode", "condition", "decode"].map(|part| number(&format!("/flop/{part}")));
    assert_eq!(
        number("/flop/total"),
        once.iter().sum::<u64>() + 4 * number("/flop/step_cached")
    );
    assert_eq!(
        number("/memory_bytes/f32"),
        4 * (number("/parameters") + number("/autoencoder_parameters"))
    );
    assert!(number("/memory_bytes/int8") < number("/memory_bytes/bf16"));
    assert_eq!(
        peel(
            folder.path(),
            &["model", "info", "layerdecomp-5b", "--size", "100x100"]
        )
        .0,
        2
    );
    let (code, _, error) = peel(folder.path(), &["model", "info", "layerdecomp-6b"]);
    assert!(code == 2 && error.contains("layerdecomp-5b"), "{error}");
}

#[test]
fn weights_are_listed_converted_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let shipped = shipped();
    let shipped = shipped.to_str().unwrap();
    let (code, text, _) = peel(here, &["weights", "list", shipped]);
    assert!(code == 0 && text.contains("blocks.0.qkv.weight"), "{text}");
    assert_eq!(
        peel(here, &["weights", "convert", shipped, "int8", "--to", "int8"]).0,
        0
    );
    let (code, text, _) = peel(here, &["weights", "verify", "int8"]);
    assert!(
        code == 0 && text.contains("whole") && text.contains("as recorded"),
        "{text}"
    );
    let listed = |model: &str| -> serde_json::Value {
        serde_json::from_str(&peel(here, &["weights", "list", model, "--json"]).1).unwrap()
    };
    let (before, after) = (listed(shipped), listed("int8"));
    assert!(after["bytes"].as_u64().unwrap() < before["bytes"].as_u64().unwrap());
    // Every linear layer, and nothing else.
    for tensor in after["tensors"].as_array().unwrap() {
        let linear = tensor["name"].as_str().unwrap().ends_with(".weight")
            && tensor["shape"].as_array().unwrap().len() == 2;
        assert_eq!(tensor["dtype"] == "U8", linear, "{tensor}");
    }
    assert_eq!(
        peel(here, &["weights", "convert", "int8", "int8", "--to", "f16"]).0,
        2
    );
    assert_eq!(
        peel(here, &["weights", "convert", "int8", "f8", "--to", "f8"]).0,
        2
    );
    let (code, text, error) = peel(here, &["weights", "average", shipped, "int8", "--into", "mean"]);
    assert!(code == 0 && text.contains("the mean of 2"), "{text}{error}");
    assert_eq!(peel(here, &["weights", "verify", "mean"]).0, 0);
    let (code, _, error) = peel(here, &["weights", "average", "mean", "int8", "--into", "int8"]);
    assert!(code == 2 && error.contains("in place"), "{error}");
    assert_eq!(peel(here, &["weights", "average", "mean", "--into", "one"]).0, 2);
}

#[test]
fn damage_is_told_in_full_with_exit_code_one() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken");
    fs::create_dir(&broken).unwrap();
    for file in ["config.ron", "names.txt", "model.safetensors"] {
        fs::copy(shipped().join(file), broken.join(file)).unwrap();
    }
    let (code, text, _) = peel(folder.path(), &["weights", "verify", "broken"]);
    assert!(code == 0 && text.contains("none was recorded"), "{text}");
    fs::write(broken.join("digest"), "00  model.safetensors\n").unwrap();
    let names = fs::read_to_string(broken.join("names.txt")).unwrap();
    fs::write(
        broken.join("names.txt"),
        names.replace("head.out.bias 7", "head.out.bias 9"),
    )
    .unwrap();
    let (code, _, error) = peel(folder.path(), &["weights", "verify", "broken"]);
    assert_eq!(code, 1);
    for says in ["head.out.bias 9: listed in names.txt", "the file's digest is"] {
        assert!(error.contains(says), "{says}: {error}");
    }
    assert_eq!(peel(folder.path(), &["weights", "verify", "absent"]).0, 2);
}

#[test]
fn decompose_hands_sampler_and_precision_on() {
    let folder = tempfile::tempdir().unwrap();
    let decompose = [
        "decompose",
        "plate.exr",
        "--mask",
        "mug.exr",
        "-o",
        "out.exr",
        "--print-graph",
    ];
    let chosen = [
        "--sampler",
        "dpm++2m-karras",
        "--precision",
        "bf16",
        "--steps",
        "8",
    ];
    let (code, text, _) = peel(folder.path(), &[&decompose[..], &chosen].concat());
    assert_eq!(code, 0);
    assert!(
        text.contains("steps: 8, sampler: \"dpm++2m-karras\", precision: Bf16"),
        "{text}"
    );
    let (code, _, error) = peel(folder.path(), &[&decompose[..], &["--sampler", "euler"]].concat());
    assert!(code == 2 && error.contains("unipc-karras"), "{error}");
}

#[test]
fn the_roofline_is_printed_for_models_without_weights_and_cards_that_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text, _) = peel(folder.path(), &["bench", "roofline"]);
    assert_eq!(code, 0);
    let rows: Vec<&str> = text.lines().collect();
    // Two models, two sizes, with and without condition cache.
    assert_eq!(rows.len(), 2 + 8, "{text}");
    assert!(rows[0].contains("H100") && rows[0].contains("L40S") && rows[0].contains("4090"));
    let columns = |row: &str| row.matches('|').count();
    assert!(rows.iter().all(|row| columns(row) == columns(rows[0])), "{text}");
    assert!(
        text.contains("| layerdecomp-5b | 1024x1024 | without |"),
        "{text}"
    );
}

#[test]
fn a_bench_prints_times_beside_floors() {
    let weights = shipped();
    let model = weights.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let asked = [
        "bench", "model", model, "--size", "64x64", "--steps", "2", "--repeat", "1",
    ];
    // A floor is measured just before the steps, so other work that comes between may turn the two round: not five times.
    let undisturbed = (0..5).any(|_| {
        let (code, text, _) = peel(
            folder.path(),
            &[&asked[..], &["--device", "cpu", "--json"]].concat(),
        );
        assert_eq!(code, 0);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let number = |name: &str| json[name].as_f64().unwrap();
        assert!(number("all_s") > number("step_s"), "{text}");
        assert!(
            number("all_floor_s") > number("step_floor_s") && number("step_floor_s") > 0.0,
            "{text}"
        );
        number("step_s") > number("step_floor_s")
    });
    assert!(undisturbed);
    let (code, text, _) = peel(folder.path(), &[&asked[..], &["--device", "cpu"]].concat());
    assert!(
        code == 0 && text.contains("a step") && text.contains("times the floor"),
        "{text}"
    );
    let (code, _, error) = peel(folder.path(), &["bench", "model", "layerdecomp-5b"]);
    assert!(
        code == 2 && error.contains("peel bench roofline layerdecomp-5b"),
        "{error}"
    );
}
