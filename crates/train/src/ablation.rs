//! What each part of the method is worth: variants of one run, trained alike from the same seed, measured on the same held-out cases.
//!
//! Every variant has a folder of its own with its `train.ron`, `config.ron`, state and weights, so that one can be looked into, and
//! a study goes on where it was stopped.

use std::path::{Path, PathBuf};

use candle_core::Device;
use peel_layerdecomp::{
    Config, Diffusion, Head, Model, Predicts, Sampler, Sampling, Schedule, TokenizerConfig,
};
use serde::{Deserialize, Serialize};

use crate::config::{Decay, Stage, TrainConfig};
use crate::data::pool::{Pool, Split};
use crate::eval::{Line, Set, cases, compare, methods::Network};
use crate::loss::LayerTruth;
use crate::{Error, Event, Options, Result, checkpoint, export, train};

/// A change of a run and its model.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// Name of its folder and of its row.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    change: fn(&mut TrainConfig, &mut Config),
}

/// The paper's ablation: each adds to the one before.
pub const PARTS: [Variant; 4] = [
    Variant {
        name: "rgb-only",
        about: "background only, no layer",
        change: |train, _| {
            train.loss.layer = LayerTruth::None;
            train.loss.consistency = 0.0;
        },
    },
    Variant {
        name: "object-layer",
        about: "+ object layer, without effects in it",
        change: |train, _| {
            train.loss.layer = LayerTruth::Object;
            train.loss.consistency = 0.0;
        },
    },
    Variant {
        name: "effects",
        about: "+ effects in the layer",
        change: |train, _| train.loss.consistency = 0.0,
    },
    Variant {
        name: "full",
        about: "+ consistency (all)",
        change: |_, _| {},
    },
];

/// The switches of `config.ron`, and Muon: each is the full method with one of them turned.
pub const SWITCHES: [Variant; 17] = [
    Variant {
        name: "full",
        about: "x, condition cache, folded mask, joined and centred tokens, weighed noise, hole filled smoothly and by patches, shadows guessed, head with skips",
        change: |_, _| {},
    },
    Variant {
        name: "v",
        about: "v, cosine schedule",
        change: |_, model| model.diffusion = variance_preserving(Predicts::V),
    },
    Variant {
        name: "epsilon",
        about: "epsilon, cosine schedule",
        change: |train, model| {
            model.diffusion = variance_preserving(Predicts::Epsilon);
            // At pure noise an ε counts for nothing: times nearly uniform, as published.
            (train.pure_noise, train.time_mean, train.time_spread) = (0.0, 0.0, 1.7);
        },
    },
    Variant {
        name: "flow",
        about: "flow, straight line",
        change: |_, model| {
            model.diffusion = Diffusion {
                predicts: Predicts::Flow,
                schedule: Schedule::Linear,
                weighed: false,
            };
        },
    },
    Variant {
        name: "no-cache",
        about: "conditions attend to noise and know the time",
        change: |_, model| model.condition_cache = false,
    },
    Variant {
        name: "mask-stream",
        about: "the mask as a stream of its own",
        change: |_, model| model.fold_mask = false,
    },
    Variant {
        name: "no-join",
        about: "noisy tokens begin without the plate's",
        change: |_, model| model.join = false,
    },
    Variant {
        name: "no-centre",
        about: "output tokens keep what all share",
        change: |_, model| model.centre = false,
    },
    Variant {
        name: "not-weighed",
        about: "pure noise enters as it is",
        change: |_, model| model.diffusion.weighed = false,
    },
    Variant {
        name: "no-muon",
        about: "all weights move by AdamW",
        change: |train, _| train.optimizer.muon.clear(),
    },
    Variant {
        name: "no-patches",
        about: "the hole is filled smoothly alone",
        change: |_, model| {
            if let TokenizerConfig::Pixels { patches, .. } = &mut model.tokenizer {
                *patches = false;
            }
        },
    },
    Variant {
        name: "no-casts",
        about: "not told where the object may cast its shadow",
        change: |_, model| {
            if let TokenizerConfig::Pixels { casts, .. } = &mut model.tokenizer {
                *casts = false;
            }
        },
    },
    Variant {
        name: "narrow",
        about: "24 and 48 channels at a half and a quarter of the picture's size, 16 features at all of it",
        change: |_, model| {
            if let TokenizerConfig::Pixels { stem, fine, .. } = &mut model.tokenizer {
                (*stem, *fine) = ([24, 48, 96, 128], 16);
            }
        },
    },
    Variant {
        name: "deep",
        about: "six blocks",
        change: |_, model| model.depth = 6,
    },
    Variant {
        name: "no-prefill",
        about: "the hole is not filled beforehand",
        change: |_, model| {
            if let TokenizerConfig::Pixels { prefill, patches, .. } = &mut model.tokenizer {
                (*prefill, *patches) = (None, false);
            }
        },
    },
    Variant {
        name: "no-skips",
        about: "the convolutional head sees nothing but tokens",
        change: |train, model| set_head(train, model, Head::NoSkips),
    },
    Variant {
        name: "linear-head",
        about: "linear patches out of the tokens",
        change: |train, model| set_head(train, model, Head::Linear),
    },
];

/// Another head, whose matrices move by AdamW: it has not all of those that Muon's names are of.
fn set_head(train: &mut TrainConfig, model: &mut Config, to: Head) {
    train.optimizer.muon.retain(|of| !of.starts_with("head."));
    if let TokenizerConfig::Pixels { head, .. } = &mut model.tokenizer {
        *head = to;
    }
}

fn variance_preserving(predicts: Predicts) -> Diffusion {
    Diffusion {
        predicts,
        schedule: Schedule::Cosine { steps: 1000 },
        weighed: false,
    }
}

/// How the variants are trained and measured.
#[derive(Debug, Clone)]
pub struct Study {
    /// What all variants share: pool, seed, optimiser, loss.
    pub train: TrainConfig,
    /// The full model.
    pub model: Config,
    /// Where the variants' folders are.
    pub out: PathBuf,
    /// Updates of a variant; the learning rate falls over the last third.
    pub steps: u64,
    /// Pixels on a side.
    pub size: usize,
    /// Samples of a step.
    pub batch: usize,
    /// Held-out composites.
    pub cases: usize,
}

/// What a variant came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The variant's name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// Whether it makes a layer at all.
    pub layer: bool,
    /// Scores in one call, where the model can, and in ten.
    pub lines: Vec<Line>,
}

impl Study {
    /// Trains a variant, or takes up where it was left, and measures it; what was finished before is read.
    ///
    /// # Errors
    /// If training or a file fails.
    pub fn run(&self, variant: &Variant, progress: &mut dyn FnMut(&Event) -> bool) -> Result<Outcome> {
        let dir = self.out.join(variant.name);
        let result = dir.join("outcome.json");
        if let Ok(text) = std::fs::read_to_string(&result) {
            return serde_json::from_str(&text).map_err(|e| Error::content(&result, e));
        }
        let config = self.write(variant, &dir)?;
        let path = dir.join("train.ron");
        let weights = dir.join("weights");
        // Stopped between training and measuring, it is not trained again.
        if export(&path, false, &weights).ok() != Some(self.steps) {
            self.train(&path, config.decay.steps, progress)?;
            export(&path, false, &weights)?;
        }
        let held_out = Pool::load(&config.pool, Split::HeldOut)?;
        let sets = cases::held_out(&held_out, self.cases, self.size);
        let outcome = Outcome {
            name: variant.name.into(),
            about: variant.about.into(),
            layer: config.loss.layer != LayerTruth::None,
            lines: measure(&Model::load(&weights, &Device::Cpu)?, &sets)?,
        };
        let text = serde_json::to_string_pretty(&outcome).map_err(|e| Error::content(&result, e))?;
        checkpoint::write_whole(&result, text.as_bytes())?;
        Ok(outcome)
    }

    /// The constant phase, then the falling rate.
    fn train(&self, path: &Path, falling: u64, progress: &mut dyn FnMut(&Event) -> bool) -> Result<()> {
        let constant = Options {
            until: Some(self.steps - falling),
            ..Options::default()
        };
        train(path, &constant, progress)?;
        let decay = Options {
            decay: true,
            ..Options::default()
        };
        train(path, &decay, progress)?;
        Ok(())
    }

    /// Writes a variant's configuration.
    fn write(&self, variant: &Variant, dir: &Path) -> Result<TrainConfig> {
        let (mut train, mut model) = (self.train.clone(), self.model.clone());
        train.state = dir.join("state");
        train.stages = vec![Stage {
            until: self.steps,
            size: self.size,
            batch: self.batch,
            accumulate: 1,
            depth: None,
        }];
        train.decay = Decay {
            steps: self.steps / 3,
            to: 0.02,
            size: None,
            batch: None,
        };
        train.warm_up = (self.steps / 20).max(1);
        // Tables are made at the end alone.
        (train.evaluate_every, train.held_out) = (u64::MAX, 8);
        train.checkpoint_every = 100;
        // An average over about a thirtieth of the run.
        train.optimizer.ema = (1.0 - 30.0 / self.steps as f32).clamp(0.9, 0.999);
        // A second look is no matter of training, and not every variant can take one.
        model.tighten = None;
        (variant.change)(&mut train, &mut model);
        model.name = format!("{}-{}", model.name, variant.name);
        train.save(&dir.join("train.ron"))?;
        peel_layerdecomp::save_config(dir, &model)?;
        Ok(train)
    }
}

fn measure(model: &Model, sets: &[Set]) -> Result<Vec<Line>> {
    let ten = Sampling {
        sampler: Sampler::Ddim,
        steps: 10,
        seed: 0,
    };
    let one = Sampling::default();
    let mut lines = Vec::new();
    for sampling in [one, ten] {
        if sampling == one && model.config().diffusion.predicts == Predicts::Epsilon {
            continue;
        }
        let network = Network {
            model,
            sampling,
            size: None,
        };
        lines.extend(compare(sets, &[&network], |_, _, _| ())?);
    }
    Ok(lines)
}

/// The outcomes on one set as a Markdown table.
#[must_use]
pub fn table(outcomes: &[Outcome], set: &str) -> String {
    let mut out = String::from(
        "| variant | | sampling | background | in the object | in the effect | outside | recomposition | alpha error | false alpha |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let number = |v: Option<f64>, places: usize| v.map_or_else(|| "-".into(), |v| format!("{v:.places$}"));
    for outcome in outcomes {
        for line in outcome.lines.iter().filter(|l| l.set == set) {
            let s = &line.scores;
            // Without a layer there is nothing to lay back.
            let of_layer = |v: Option<f64>| v.filter(|_| outcome.layer);
            out += &format!(
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
                outcome.name,
                outcome.about,
                line.method.trim_start_matches("network, "),
                number(s.whole, 2),
                number(s.object, 2),
                number(s.effect, 2),
                number(s.outside, 2),
                number(of_layer(s.recomposition), 2),
                number(of_layer(s.alpha), 4),
                number(of_layer(s.alpha_outside), 4),
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_differ_and_are_possible() {
        let model =
            peel_layerdecomp::TINY.replace("prefill: 2", "prefill: 2, patches: true, casts: true, fine: 48");
        let model = Config::from_ron(&model).unwrap();
        let mut seen: Vec<(TrainConfig, Config)> = Vec::new();
        for variant in PARTS.iter().chain(&SWITCHES[1..]) {
            let (mut train, mut model) = (crate::config::tests::config(), model.clone());
            train.optimizer.muon = vec!["blocks.".into()];
            (variant.change)(&mut train, &mut model);
            model.check().unwrap();
            train.check().unwrap();
            assert!(
                !seen.contains(&(train.clone(), model.clone())),
                "{}",
                variant.name
            );
            seen.push((train, model));
        }
    }

    #[test]
    fn a_table_leaves_out_what_a_variant_does_not_make() {
        let line = Line {
            set: "synthetic".into(),
            method: "network, one call".into(),
            cases: 1,
            seconds: 0.1,
            scores: crate::metrics::Scores {
                whole: Some(30.0),
                recomposition: Some(20.0),
                ..Default::default()
            },
        };
        let outcome = |layer| Outcome {
            name: "n".into(),
            about: "a".into(),
            layer,
            lines: vec![line.clone()],
        };
        let text = table(&[outcome(false), outcome(true)], "synthetic");
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(rows[0], "| n | a | one call | 30.00 | - | - | - | - | - | - |");
        assert_eq!(
            rows[1],
            "| n | a | one call | 30.00 | - | - | - | 20.00 | - | - |"
        );
        assert_eq!(table(&[outcome(true)], "rendered").lines().count(), 2);
    }
}
