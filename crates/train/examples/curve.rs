//! Prints the held-out tables of a run as a Markdown table, one line an evaluation, or draws its curve.
//!
//!     cargo run --release -p peel-train --example curve -- local/train/layerdecomp-s/metrics.jsonl [EVERY | CURVE.png]

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::Value;

/// Steps that one line of progress sums up.
const STEPS_OF_A_LINE: f64 = 25.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .ok_or("usage: curve METRICS.JSONL [EVERY | CURVE.png]")?;
    let second = arguments.next();
    if let Some(png) = second.as_deref().filter(|s| s.ends_with(".png")) {
        return Ok(peel_train::curve::draw(path.as_ref(), png.as_ref())?);
    }
    let every: usize = second.map_or(Ok(1), |n| n.parse())?;
    let mut out = String::from(
        "| step | px | seconds | set | whole | object | effect | outside | recomposition | false alpha |\n",
    );
    out.push_str("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    let (mut seconds, mut tables) = (0.0, 0);
    for line in std::fs::read_to_string(path)?.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event["event"] == "progress" {
            seconds += event["ms"].as_f64().unwrap_or(0.0) * STEPS_OF_A_LINE / 1e3;
        }
        let Some(lines) = event["lines"].as_array() else {
            continue;
        };
        tables += 1;
        if tables % every != 0 {
            continue;
        }
        for line in lines {
            let score = |name: &str, places: usize| {
                line["scores"][name]
                    .as_f64()
                    .map_or_else(|| "-".into(), |v| format!("{v:.places$}"))
            };
            writeln!(
                out,
                "| {} | {} | {seconds:.0} | {} | {} | {} | {} | {} | {} | {} |",
                event["step"],
                event["size"],
                line["set"].as_str().unwrap_or("-"),
                score("whole", 2),
                score("object", 2),
                score("effect", 2),
                score("outside", 2),
                score("recomposition", 2),
                score("alpha_outside", 4)
            )?;
        }
    }
    std::io::stdout().write_all(out.as_bytes())?;
    Ok(())
}
