//! A pool of a few drawn pictures.

use std::path::Path;

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
