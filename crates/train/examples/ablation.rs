//! Trains variants of the model alike and prints what each part and each switch is worth, as Markdown.
//!
//!     cargo run --release -p peel-train --example ablation -- [parts] [switches] [VARIANT..] [--out local/ablation]
//!         [--base weights/layerdecomp-s/train.ron] [--steps 900] [--size 64] [--batch 8] [--cases 200] [--width W] [--depth D]
//!
//! Stopped, it goes on where it was with the same command; what is finished is read from its folder.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use peel_layerdecomp::Config;
use peel_train::ablation::{PARTS, SWITCHES, Study, Variant, table};
use peel_train::config::TrainConfig;
use peel_train::{Event, Progress};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut wanted: Vec<String> = Vec::new();
    let mut base = PathBuf::from("weights/layerdecomp-s/train.ron");
    let mut out = PathBuf::from("local/ablation");
    let (mut steps, mut size, mut batch, mut cases) = (900, 64, 8, 200);
    let (mut width, mut depth) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} wants a value"))
        };
        match argument.as_str() {
            "--base" => base = value()?.into(),
            "--out" => out = value()?.into(),
            "--steps" => steps = value()?.parse()?,
            "--size" => size = value()?.parse()?,
            "--batch" => batch = value()?.parse()?,
            "--cases" => cases = value()?.parse()?,
            "--width" => width = Some(value()?.parse()?),
            "--depth" => depth = Some(value()?.parse()?),
            other if other.starts_with("--") => return Err(format!("unknown option {other}").into()),
            _ => wanted.push(argument),
        }
    }
    let mut model = Config::load(&base.parent().unwrap_or(Path::new(".")).join("config.ron"))?;
    model.width = width.unwrap_or(model.width);
    model.depth = depth.unwrap_or(model.depth);
    let study = Study {
        train: TrainConfig::load(&base)?,
        model,
        out,
        steps,
        size,
        batch,
        cases,
    };
    let all = wanted.is_empty();
    for (group, variants) in [("parts", &PARTS[..]), ("switches", &SWITCHES[..])] {
        let whole = all || wanted.iter().any(|w| w == group);
        let chosen: Vec<&Variant> = variants
            .iter()
            .filter(|v| whole || wanted.iter().any(|w| w == v.name))
            .collect();
        if chosen.is_empty() {
            continue;
        }
        let mut outcomes = Vec::new();
        for variant in chosen {
            outcomes.push(study.run(variant, &mut |event| {
                tell(variant.name, event);
                true
            })?);
        }
        let text = format!(
            "\n{group}, composites, {steps} steps of {batch} at {size} px\n\n{}\n{group}, renderings\n\n{}",
            table(&outcomes, "synthetic"),
            table(&outcomes, "rendered")
        );
        std::io::stdout().write_all(text.as_bytes())?;
    }
    Ok(())
}

fn tell(variant: &str, event: &Event) {
    if let Event::Progress(Progress {
        step,
        loss,
        ms,
        wait_ms,
        ..
    }) = event
        && step % 100 == 0
    {
        eprintln!(
            "{variant}: step {step}, loss {:.4}, {ms:.0} ms ({wait_ms:.0} waiting)",
            loss.total
        );
    }
}
