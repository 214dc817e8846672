//! Trains, exports, from the command line.
//!
//!     cargo run --release -p peel-train --example train -- weights/layerdecomp-s/train.ron [--decay] [--until STEP] [--minutes M]
//!     cargo run --release -p peel-train --example train -- weights/layerdecomp-s/train.ron --export FOLDER [--constant]

use std::path::PathBuf;
use std::time::Duration;

use peel_train::{Event, Options, metrics};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let config = PathBuf::from(arguments.next().ok_or("usage: train TRAIN.RON [options]")?);
    let mut options = Options::default();
    let (mut out, mut constant) = (None, false);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} wants a value"))
        };
        match argument.as_str() {
            "--decay" => options.decay = true,
            "--until" => options.until = Some(value()?.parse()?),
            "--minutes" => options.time = Some(Duration::from_secs_f64(value()?.parse::<f64>()? * 60.0)),
            "--export" => out = Some(PathBuf::from(value()?)),
            "--constant" => constant = true,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    if let Some(out) = out {
        let step = peel_train::export(&config, constant, &out)?;
        eprintln!("step {step} written to {}", out.display());
        return Ok(());
    }
    let summary = peel_train::train(&config, &options, &mut |event| {
        tell(event);
        true
    })?;
    eprintln!(
        "step {}, best average in {}",
        summary.step,
        summary.best.display()
    );
    Ok(())
}

fn tell(event: &Event) {
    match event {
        Event::Started {
            step,
            parameters,
            decay_from,
        } => {
            eprintln!("{parameters} weights, from step {step}, decay from {decay_from:?}");
        }
        Event::Progress(p) => eprintln!(
            "step {} {} px x {} loss {:.4} (B {:.4} F {:.4} C {:.4} other {:.4}) norm {:.2} rate {:.2} {:.0} ms, waited {:.0} ms",
            p.step,
            p.size,
            p.batch,
            p.loss.total,
            p.loss.background,
            p.loss.foreground,
            p.loss.consistency,
            p.loss.other,
            p.norm,
            p.rate,
            p.ms,
            p.wait_ms
        ),
        Event::Table {
            step,
            size,
            lines,
            best,
            ..
        } => {
            eprintln!(
                "step {step}, {size} px{}\n{}",
                if *best { ", best" } else { "" },
                metrics::heading()
            );
            for line in lines {
                eprintln!("{}", metrics::row(&line.set, &line.scores));
            }
        }
        Event::Remark { text } => eprintln!("{text}"),
        Event::Saved { step } => eprintln!("saved at step {step}"),
    }
}
