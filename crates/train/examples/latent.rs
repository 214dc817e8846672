//! Latents against pixels at equal CPU time: trains the two autoencoders and a network over their latents, and a pixel model for as
//! long as all three together; prints one Markdown table.
//!
//!     cargo run --release -p peel-train --example latent -- [--cpu SECONDS] [--out local/latent] [--size 64] [--batch 8] [--cases 200]
//!
//! `--cpu` is what each side is given (default 360): a third goes to the RGB autoencoder, a sixth to the RGBA one, half to the network.
//! Stopped, it goes on with the same command. CPU time is the process's own, so other work on the machine does not disturb it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use peel_layerdecomp::{Config, Diffusion, Predicts, Schedule, TokenizerConfig, VaeConfig};
use peel_train::config::{Pictures, Stage, Task, TrainConfig};
use peel_train::data::pool::{Pool, Split};
use peel_train::eval::{Line, cases};
use peel_train::{Error, Event, Options, export};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

struct Settings {
    base: PathBuf,
    out: PathBuf,
    cpu: f64,
    size: usize,
    batch: usize,
    cases: usize,
}

fn main() -> Outcome<()> {
    let mut s = Settings {
        base: "weights/layerdecomp-s/train.ron".into(),
        out: "local/latent".into(),
        cpu: 360.0,
        size: 64,
        batch: 8,
        cases: 200,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{argument} wants a value"))?;
        match argument.as_str() {
            "--base" => s.base = value.into(),
            "--out" => s.out = value.into(),
            "--cpu" => s.cpu = value.parse()?,
            "--size" => s.size = value.parse()?,
            "--batch" => s.batch = value.parse()?,
            "--cases" => s.cases = value.parse()?,
            other => return Err(format!("unknown option {other}").into()),
        }
    }

    let pixels = Config::load(&s.base.with_file_name("config.ron"))?;
    let latents = |vae: VaeConfig| Config {
        name: "latent".into(),
        // A token is 16 pixels wide, as the pixel model's.
        tokenizer: TokenizerConfig::Latent { patch: 2, vae },
        diffusion: Diffusion {
            predicts: Predicts::V,
            schedule: Schedule::Cosine { steps: 1000 },
            weighed: false,
        },
        ..pixels.clone()
    };
    let plain = VaeConfig {
        channels: vec![16, 32, 64, 64],
        blocks: 1,
        latent: 16,
        groups: 8,
        scale: 1.0,
        shift: 0.0,
        bypass: true,
    };
    let autoencoder = |pictures| Task::Autoencoder { pictures, kl: 1e-4 };
    let (mut lines, mut spent) = (Vec::new(), Vec::new());

    let rgb = s.teach(
        "rgb",
        &latents(plain),
        autoencoder(Pictures::Rgb),
        None,
        s.cpu / 3.0,
    )?;
    let TokenizerConfig::Latent { vae, .. } = Config::load(&rgb.0.join("config.ron"))?.tokenizer else {
        return Err("the autoencoder's configuration is no latent one".into());
    };
    let latents = latents(vae);
    let rgba = s.teach(
        "rgba",
        &latents,
        autoencoder(Pictures::Rgba),
        Some(&rgb.0),
        s.cpu / 6.0,
    )?;
    lines.push(("autoencoders alone, on the true layers".to_owned(), rgba.2));
    spent.push(rgb.1 + rgba.1);
    let layers = s.teach("layers", &latents, Task::Layers, Some(&rgba.0), s.cpu / 2.0)?;
    lines.push(("latent model (v)".into(), layers.2));
    spent.push(rgb.1 + rgba.1 + layers.1);
    let pixels = s.teach("pixels", &pixels, Task::Layers, None, s.cpu)?;
    lines.push(("pixel model (x)".into(), pixels.2));
    spent.push(pixels.1);

    let mut out = String::from(
        "| | CPU s | sampling | background | in the object | in the effect | outside | recomposition | alpha error |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let number = |v: Option<f64>, places: usize| v.map_or_else(|| "-".into(), |v| format!("{v:.places$}"));
    for ((name, lines), spent) in lines.iter().zip(spent) {
        for line in lines.iter().filter(|l| l.set == "synthetic") {
            let k = &line.scores;
            out += &format!(
                "| {name} | {spent:.0} | {} | {} | {} | {} | {} | {} | {} |\n",
                line.method.trim_start_matches("network, "),
                number(k.whole, 2),
                number(k.object, 2),
                number(k.effect, 2),
                number(k.outside, 2),
                number(k.recomposition, 2),
                number(k.alpha, 4)
            );
        }
    }
    std::io::stdout().write_all(out.as_bytes())?;
    Ok(())
}

impl Settings {
    /// Trains one of the runs for so much CPU time. Its weights, what it really took, its scores.
    fn teach(
        &self,
        name: &str,
        model: &Config,
        task: Task,
        start: Option<&Path>,
        cpu: f64,
    ) -> Outcome<(PathBuf, f64, Vec<Line>)> {
        let dir = self.out.join(name);
        let path = dir.join("train.ron");
        let mut train = TrainConfig::load(&self.base)?;
        train.state = dir.join("state");
        train.stages = vec![Stage {
            until: u64::MAX,
            size: self.size,
            batch: self.batch,
            accumulate: 1,
            depth: None,
        }];
        train.start = start.map(Path::to_owned).into_iter().collect();
        (train.warm_up, train.evaluate_every, train.checkpoint_every) = (30, u64::MAX, 25);
        train.optimizer.ema = 0.99;
        // The matrices that it names are the pixel model's.
        train.optimizer.muon.clear();
        train.task = task;
        train.save(&path)?;
        peel_layerdecomp::save_config(&dir, model)?;

        // What the run took before it was stopped is kept beside it.
        let clock = dir.join("cpu_seconds");
        let before: f64 = std::fs::read_to_string(&clock).map_or(0.0, |t| t.trim().parse().unwrap_or(0.0));
        let begun = cpu_seconds()?;
        let spent = || cpu_seconds().map_or(f64::INFINITY, |now| before + now - begun);
        if before < cpu {
            let ended = peel_train::train(&path, &Options::default(), &mut |event| {
                if let Event::Progress(p) = event {
                    eprintln!(
                        "{name}: step {}, loss {:.4}, {:.0} CPU s",
                        p.step,
                        p.loss.total,
                        spent()
                    );
                }
                if matches!(event, Event::Saved { .. }) {
                    // A lost line costs a repetition, no more.
                    let _ = std::fs::write(&clock, format!("{:.1}\n", spent()));
                }
                spent() < cpu
            });
            if !matches!(ended, Err(Error::Cancelled)) {
                ended?;
            }
        }
        let weights = dir.join("weights");
        export(&path, true, &weights)?;
        let spent = spent();
        let pool = Pool::load(&train.pool, Split::HeldOut)?;
        let sets = cases::held_out(&pool, self.cases, self.size);
        let lines = peel_train::measure(&path, true, &sets)?;
        Ok((weights, spent, lines))
    }
}

/// User and system time of this process so far.
fn cpu_seconds() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    // After the name, which is in brackets: fields 14 and 15 of the file, in hundredths.
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok());
    Ok(ticks(11)
        .zip(ticks(12))
        .map(|(user, system)| (user + system) / 100.0)
        .ok_or("no CPU time")?)
}
