//! A pool of a few drawn pictures, and runs over it.

#![allow(dead_code, reason = "each test uses its part")]

use std::path::{Path, PathBuf};

/// Writes a run into `dir/name`: `model` is what its config.ron says behind the name, `run` what its train.ron says beside what all of them
/// do. The path of train.ron.
pub fn write_run(dir: &Path, name: &str, model: &str, run: &str) -> PathBuf {
    let folder = dir.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let model = format!(r#"Config(format: 1, name: "test", depth: 1, {model})"#);
    std::fs::write(folder.join("config.ron"), model).unwrap();
    let optimizer = if run.contains("optimizer:") {
        ""
    } else {
        "optimizer: (learning_rate: 1e-3, betas: (0.9, 0.95), weight_decay: 0.01, clip: 1.0, ema: 0.9),"
    };
    let train = format!(
        r#"Train(format: 1, seed: 3, pool: {dir:?}, state: {:?}, rendered: 0.0, pure_noise: 0.5, time_mean: -0.4,
        warm_up: 3, decay: (steps: 3, to: 0.02),
        loss: (mse: 4.0, l1: 0.05, consistency: 0.3, effect: 4.0, shadow: 4.0, threshold: 0.02), {optimizer} {run})"#,
        folder.join("state"),
    );
    let path = folder.join("train.ron");
    std::fs::write(&path, train).unwrap();
    path
}

/// Writes the pool into `dir`: five pictures to train on, two held out.
pub fn write_pool(dir: &Path) {
    let mut bytes = Vec::new();
    let mut index = Vec::new();
    for i in 0..8u32 {
        let held_out = i % 4 == 3;
        let object = i % 2 == 1;
        let (size, channels) = if object { (40u32, 4) } else { (160, 3) };
        let entry = serde_json::json!({
            "kind": if object { "object" } else { "background" },
            "group": if object { "stamp" } else { "photo" },
            "name": format!("drawn{i}"), "licence": "CC0", "held_out": held_out,
            "width": size, "height": size, "offset": bytes.len(),
        });
        index.push(entry);
        for y in 0..size {
            for x in 0..size {
                let inside = (x as i32 - 20).pow(2) + (y as i32 - 20).pow(2) < 300;
                for c in 0..channels {
                    let value = (x * (3 + i) + y * (5 + c) + 40 * c) as u8;
                    let value = if object && !inside { 0 } else { value };
                    bytes.push(if object && inside && c == 3 { 255 } else { value });
                }
            }
        }
    }
    // Both kinds must be on both sides.
    for (i, entry) in index.iter_mut().enumerate() {
        entry["held_out"] = serde_json::json!(i >= 6);
    }
    std::fs::write(dir.join("pool.bin"), bytes).unwrap();
    std::fs::write(dir.join("index.json"), serde_json::to_string(&index).unwrap()).unwrap();
}
