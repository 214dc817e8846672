//! `train.ron`: everything that decides a training run.

use std::path::{Path, PathBuf};

use peel_layerdecomp::Sampler;
use serde::{Deserialize, Serialize};

use crate::loss::LossWeights;
use crate::optimizer::AdamW;
use crate::{Error, Result};

/// Version of `train.ron` that this crate reads.
pub const FORMAT: u32 = 1;

/// A training run. Paths are relative to the folder that the command runs in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Train", deny_unknown_fields)]
pub struct TrainConfig {
    /// Format version of this file.
    pub format: u32,
    /// Seed of initial weights, samples, noise.
    pub seed: u64,
    /// What is trained.
    #[serde(default)]
    pub task: Task,
    /// Where network and optimiser work, unless the command says otherwise.
    #[serde(default)]
    pub device: Device,
    /// Weights folders to start from: every tensor whose name is the model's, the last folder first. The autoencoders of a
    /// latent model come from here, and stay as they are while the rest is trained.
    #[serde(default)]
    pub start: Vec<PathBuf>,
    /// What is not taken from `start`: tensors whose names begin with one of these start anew, in another shape if need be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fresh: Vec<String>,
    /// Folder with the packed pictures of `scripts/fetch_sources.sh`.
    pub pool: PathBuf,
    /// Folder for checkpoints, metrics and sample sheets.
    pub state: PathBuf,
    /// Probability that a sample is a rendered triplet.
    pub rendered: f32,
    /// Probability that a sample is a scene traced on the fly; what has no other source is a composite.
    #[serde(default)]
    pub traced: f32,
    /// Share of the photographs that come changed (turned, in another tone, two in one), so that they are not learnt by heart.
    #[serde(default)]
    pub varied: f32,
    /// Share of the masks that come as a first call draws them tighter (`tighten` of `config.ron`): most of those that a network with it sees
    /// in use.
    #[serde(default)]
    pub tightened: f32,
    /// Real photographs with and without an object, beside the samples that have a true layer.
    #[serde(default)]
    pub pairs: Option<RealPairs>,
    /// Probability that a sample is pure noise (time 0).
    pub pure_noise: f32,
    /// Other times are `sigmoid(time_mean + time_spread N(0, 1))`.
    pub time_mean: f32,
    /// See `time_mean`; a mean of 0 with a spread of 1.7 is nearly uniform.
    #[serde(default = "one")]
    pub time_spread: f32,
    /// Resolutions, in order; the last one has no end.
    pub stages: Vec<Stage>,
    /// Optimiser.
    pub optimizer: AdamW,
    /// Steps over which the learning rate rises from 0.
    pub warm_up: u64,
    /// The branch that is shipped: the learning rate falls to `to` over `steps`, from a checkpoint of the constant phase.
    pub decay: Decay,
    /// Loss.
    pub loss: LossWeights,
    /// Held-out cases of the running table.
    pub held_out: usize,
    /// Steps between two rows of the held-out table.
    pub evaluate_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Threads that make data beside the model.
    pub data_threads: usize,
}

/// Where a run computes. Data and tables are the processor's in any case, and a run may change its device whenever it is taken up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA card; without one there is no run.
    Cuda,
    /// The first NVIDIA card if there is one, else the processor, which is said.
    Auto,
}

/// What a run trains, of the model that `config.ron` describes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Task {
    /// The network that decomposes.
    #[default]
    Layers,
    /// An autoencoder of a latent model.
    Autoencoder {
        /// Which one.
        pictures: Pictures,
        /// Weight of the divergence of the latents from the normal distribution, a mean over latents.
        kl: f32,
    },
    /// The network again, so that it says in one call what a teacher says in several.
    Distil {
        /// Weights folder of the teacher.
        teacher: PathBuf,
        /// How the teacher is sampled.
        #[serde(default = "ddim")]
        sampler: Sampler,
        /// The teacher's calls.
        steps: usize,
        /// Weight of the true layers beside the teacher's.
        #[serde(default = "half")]
        data: f32,
        /// Probability that the student starts from zero, as [`Sampler::OneCall`] does, and not from the teacher's noise.
        #[serde(default = "half")]
        zero: f32,
    },
    /// The refiner of the model (`refine` of `config.ron`), over the network of `start`, which stays as it is. Stages have the
    /// refiner's size: the network works at a `scale`th of it.
    Refine {
        /// How the network is sampled.
        #[serde(default = "ddim")]
        sampler: Sampler,
        /// The network's calls.
        steps: usize,
    },
}

/// The pictures of an autoencoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pictures {
    /// Plates, backgrounds and masks as pictures.
    Rgb,
    /// Layers, by an autoencoder that starts as the RGB one of `start`.
    Rgba,
}

fn one() -> f32 {
    1.0
}

fn half() -> f32 {
    0.5
}

fn ddim() -> Sampler {
    Sampler::Ddim
}

/// Real pairs: see [`crate::data::pairs`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealPairs {
    /// Folder of ID_C, ID_B and ID_M.
    pub folder: PathBuf,
    /// Probability that a sample is one of them.
    pub share: f32,
}

/// A stretch of the run at one resolution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Step at which the stage ends; the last stage's is ignored.
    pub until: u64,
    /// Pixels on a side, a multiple of 16.
    pub size: usize,
    /// Samples of one pass.
    pub batch: usize,
    /// Passes whose gradients are summed for one step.
    pub accumulate: usize,
    /// Blocks of the network, where they are not those of `config.ron`. The constant phase grows where a stage wants more than
    /// the one before; a decay branch keeps the blocks that it starts with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
}

/// Learning-rate decay.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decay {
    /// Length in steps.
    pub steps: u64,
    /// Last factor of the learning rate.
    pub to: f32,
    /// Pixels on a side, where they are not those of the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Samples of one pass, where they are not those of the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
}

impl TrainConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// If the file cannot be read or parsed, with line and column, or contradicts itself.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
        let config: Self = notation().from_str(&text).map_err(|e| Error::content(path, e))?;
        config.check()?;
        Ok(config)
    }

    /// Writes the configuration, so that [`TrainConfig::load`] reads the same.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(Error::file(dir))?;
        }
        let pretty = ron::ser::PrettyConfig::new().struct_names(true);
        let text = notation().to_string_pretty(self, pretty);
        let text = text.map_err(|e| Error::content(path, e))? + "\n";
        crate::checkpoint::write_whole(path, text.as_bytes())
    }

    /// Fails where fields contradict each other.
    ///
    /// # Errors
    /// With the field and the rule that it breaks.
    pub fn check(&self) -> Result<()> {
        let fail = |message: String| Err(Error::Config(message));
        if self.format != FORMAT {
            return fail(format!(
                "format {} is not known, this version reads {FORMAT}",
                self.format
            ));
        }
        if self.stages.is_empty() {
            return fail("stages: at least one is needed".into());
        }
        let mut stretches: Vec<(String, Stage)> = (self.stages.iter().enumerate())
            .map(|(i, stage)| (format!("stages[{i}]"), *stage))
            .collect();
        stretches.push(("decay".into(), self.stage(0, Some(0))));
        for (name, stage) in stretches {
            if stage.size == 0 || !stage.size.is_multiple_of(16) {
                return fail(format!("{name}.size {} is not a multiple of 16", stage.size));
            }
            if stage.batch == 0 || stage.accumulate == 0 {
                return fail(format!("{name}: batch and accumulate must be at least 1"));
            }
        }
        if self.stages.windows(2).any(|pair| pair[0].until >= pair[1].until) {
            return fail("stages: `until` must rise".into());
        }
        for (name, value) in [
            ("rendered", self.rendered),
            ("traced", self.traced),
            ("varied", self.varied),
            ("tightened", self.tightened),
            ("pure_noise", self.pure_noise),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return fail(format!("{name} {value} is not between 0 and 1"));
            }
        }
        if !(self.time_spread >= 0.0 && self.time_spread.is_finite()) {
            return fail(format!(
                "time_spread {} is not a number from 0 on",
                self.time_spread
            ));
        }
        if let Task::Refine { steps: 0, .. } = self.task {
            return fail("task: Refine wants at least 1 step".into());
        }
        if let Task::Distil { steps, zero, .. } = self.task
            && !(steps > 0 && (0.0..=1.0).contains(&zero))
        {
            return fail("task: Distil wants at least 1 step, and zero between 0 and 1".into());
        }
        let pairs = self.pairs.as_ref().map_or(0.0, |p| p.share);
        if !(0.0..=1.0).contains(&pairs) || self.rendered + self.traced + pairs > 1.0 {
            return fail(format!(
                "rendered + traced + pairs.share is more than 1, or pairs.share {pairs} less than 0"
            ));
        }
        if self.evaluate_every == 0 || self.checkpoint_every == 0 {
            return fail("evaluate_every and checkpoint_every must be at least 1".into());
        }
        let o = &self.optimizer;
        if !(o.learning_rate > 0.0 && o.clip > 0.0 && (0.0..1.0).contains(&o.ema)) {
            return fail("optimizer: learning_rate and clip must be positive, ema in 0..1".into());
        }
        Ok(())
    }

    /// The stage of a step; on a decay branch that left the constant phase at `decay_from`, with the branch's own resolution.
    #[must_use]
    pub fn stage(&self, step: u64, decay_from: Option<u64>) -> Stage {
        let last = self.stages[self.stages.len() - 1];
        let found = self.stages.iter().copied().find(|s| step < s.until);
        let stage = found.unwrap_or(last);
        if decay_from.is_none() {
            return stage;
        }
        Stage {
            size: self.decay.size.unwrap_or(stage.size),
            batch: self.decay.batch.unwrap_or(stage.batch),
            ..stage
        }
    }

    /// Factor of the learning rate at a step; `decay_from` is the first step of the decay branch.
    #[must_use]
    pub fn rate(&self, step: u64, decay_from: Option<u64>) -> f32 {
        let warm = ((step + 1) as f32 / self.warm_up.max(1) as f32).min(1.0);
        let fall = decay_from.map_or(1.0, |from| {
            let done = step.saturating_sub(from) as f32 / self.decay.steps.max(1) as f32;
            self.decay.to.max(1.0 - (1.0 - self.decay.to) * done)
        });
        warm * fall
    }
}

/// What may be left out is written bare, `alpha_l1: 0.3`.
fn notation() -> ron::Options {
    ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn config() -> TrainConfig {
        let stage = |until, size| Stage {
            until,
            size,
            batch: 16,
            accumulate: 1,
            depth: None,
        };
        TrainConfig {
            format: FORMAT,
            seed: 1,
            pool: "pool".into(),
            state: "state".into(),
            rendered: 0.1,
            traced: 0.0,
            varied: 0.0,
            tightened: 0.0,
            pairs: None,
            pure_noise: 0.5,
            time_mean: -0.4,
            time_spread: 1.0,
            task: Task::Layers,
            device: Device::Cpu,
            start: Vec::new(),
            fresh: Vec::new(),
            stages: vec![stage(100, 64), stage(200, 128)],
            optimizer: AdamW::default(),
            warm_up: 10,
            decay: Decay {
                steps: 50,
                to: 0.02,
                size: None,
                batch: None,
            },
            loss: LossWeights::default(),
            held_out: 8,
            evaluate_every: 10,
            checkpoint_every: 10,
            data_threads: 1,
        }
    }

    #[test]
    fn a_branch_has_its_own_resolution() {
        let mut c = config();
        (c.decay.size, c.decay.batch) = (Some(256), Some(2));
        assert_eq!((c.stage(5, Some(4)).size, c.stage(5, Some(4)).batch), (256, 2));
        assert_eq!((c.stage(5, None).size, c.stage(5, None).batch), (64, 16));
        c.decay.size = Some(40);
        let message = c.check().unwrap_err().to_string();
        assert!(message.contains("decay.size"), "{message}");
    }

    #[test]
    fn stages_and_rates() {
        let c = config();
        assert_eq!(
            (
                c.stage(99, None).size,
                c.stage(100, None).size,
                c.stage(9999, None).size
            ),
            (64, 128, 128)
        );
        assert!((c.rate(0, None) - 0.1).abs() < 1e-6);
        assert!((c.rate(5000, None) - 1.0).abs() < 1e-6);
        assert!((c.rate(125, Some(100)) - 0.51).abs() < 1e-6);
        assert!((c.rate(500, Some(100)) - 0.02).abs() < 1e-6);
    }

    #[test]
    fn contradictions_are_named() {
        let bad = |change: fn(&mut TrainConfig)| {
            let mut c = config();
            change(&mut c);
            c.check().unwrap_err().to_string()
        };
        assert!(bad(|c| c.stages[0].size = 50).contains("stages[0].size 50"));
        assert!(bad(|c| c.stages.clear()).contains("at least one"));
        assert!(bad(|c| c.rendered = 2.0).contains("rendered 2"));
        assert!(bad(|c| c.stages[1].until = 5).contains("must rise"));
        let pairs = RealPairs {
            folder: "pairs".into(),
            share: 0.5,
        };
        let mut c = config();
        (c.traced, c.pairs) = (0.5, Some(pairs));
        assert!(c.check().unwrap_err().to_string().contains("pairs.share"));
        assert!(bad(|c| c.time_spread = f32::NAN).contains("time_spread"));
    }

    #[test]
    fn what_may_be_left_out_is_written_bare() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train.ron");
        let load = |more: &str, loss: &str| {
            let text = format!(
                "Train(format: 1, seed: 1, pool: \"p\", state: \"s\", rendered: 0, pure_noise: 0.5, time_mean: -0.4, {more}
                stages: [(until: 1, size: 16, batch: 1, accumulate: 1)],
                optimizer: (learning_rate: 1e-3, betas: (0.9, 0.95), weight_decay: 0.01, clip: 1, ema: 0.9),
                warm_up: 1, decay: (steps: 1, to: 0.1), held_out: 1, evaluate_every: 1, checkpoint_every: 1, data_threads: 1,
                loss: (mse: 4, l1: 0.05, {loss} consistency: 0.3, effect: 4, shadow: 4, threshold: 0.02))"
            );
            std::fs::write(&path, text).unwrap();
            TrainConfig::load(&path)
        };
        let plain = load("", "").unwrap();
        assert_eq!((plain.loss, &plain.task), (LossWeights::default(), &Task::Layers));
        let full = load(
            "task: Distil(teacher: \"t\", steps: 4), start: [\"a\"], time_spread: 1.7,",
            "alpha_l1: 0.3, time: MinSnr(5), layer: Object,",
        )
        .unwrap();
        assert_eq!(full.loss.alpha_l1, Some(0.3));
        full.save(&path).unwrap();
        assert_eq!(TrainConfig::load(&path).unwrap(), full);
        assert!(matches!(
            full.task,
            Task::Distil {
                steps: 4,
                data: 0.5,
                ..
            }
        ));
        assert!(
            load("tsak: Layers,", "")
                .unwrap_err()
                .to_string()
                .contains("tsak")
        );
        assert_eq!(plain.device, Device::Cpu);
        assert_eq!(load("device: auto,", "").unwrap().device, Device::Auto);
        assert_eq!(load("device: cuda,", "").unwrap().device, Device::Cuda);
        let message = load("\n  device: gpu,", "").unwrap_err().to_string();
        assert!(
            message.contains("train.ron: 2:11") && message.contains("`gpu`") && message.contains("`auto`"),
            "{message}"
        );
    }
}
