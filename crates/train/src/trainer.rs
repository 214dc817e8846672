//! The training loop.
//!
//! A run has a constant phase, which can go on for as long as there is time, and decay branches that leave it: the learning rate
//! falls to almost nothing, and what comes out is what ships. The next session takes the constant phase up where it was left.
//!
//! State folder: `run.safetensors` (constant phase), `decay.safetensors` (the last branch), `metrics.jsonl` and `curve.png`
//! (`decay.jsonl` and `curve-decay.png` of the branch), `sheet-*.png`, `best/` (a weights folder with the best average so far, by the held-out table).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peel_layerdecomp::Config;
use serde::Serialize;

use crate::checkpoint::{self, Checkpoint, Position};
use crate::config::TrainConfig;
use crate::data::loader::{Loader, Order, Recipe};
use crate::data::pool::{Pool, Split};
use crate::data::{Shares, pairs};
use crate::eval::{self, Line, cases};
use crate::export::write_weights;
use crate::learner::{Learner, learner};
use crate::log::Log;
use crate::loss::LossParts;
use crate::machine::{Machine, Work};
use crate::optimizer::Optimizer;
use crate::progress::{Progress, Window};
use crate::start::Weights;
use crate::{Error, Result};
use crate::{curve, files, sheet};

/// Steps that one line of the metrics sums up.
const LOG_EVERY: u64 = 25;

/// What a call of [`train`] should do.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Stop after this step.
    pub until: Option<u64>,
    /// Stop after this time.
    pub time: Option<Duration>,
    /// Run a decay branch from where the constant phase stands, or go on with an unfinished one.
    pub decay: bool,
}

/// What happens during training.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// The run stands at this step and goes on.
    Started {
        /// Updates made before.
        step: u64,
        /// Weights of the model.
        parameters: usize,
        /// First step of the decay branch.
        decay_from: Option<u64>,
        /// Updates at which this phase ends, unless time or a signal ends it before; without one it goes on.
        end: Option<u64>,
    },
    /// The mean over the last steps.
    Progress(Progress),
    /// A row of the held-out table.
    Table {
        /// Updates made.
        step: u64,
        /// Pixels on a side.
        size: usize,
        /// Scores by set.
        lines: Vec<Line>,
        /// By which tables are compared.
        score: f64,
        /// Whether it is the best so far.
        best: bool,
        /// How far the transformer's tokens tell places apart, 0 to 1: near 0 it is ill ([`peel_layerdecomp::Model::spread`]).
        spread: Option<f32>,
    },
    /// What a user should know of the device, such as that it does less than was asked of it.
    Remark {
        /// A line.
        text: String,
    },
    /// The state was written.
    Saved {
        /// Updates made.
        step: u64,
    },
}

/// What a call of [`train`] came to.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Updates made.
    pub step: u64,
    /// True where a decay branch came to its end.
    pub decayed: bool,
    /// The best average so far, as a weights folder.
    pub best: PathBuf,
}

/// Trains as `config_path` (`weights/NAME/train.ron`, beside `config.ron`) says, from where the state folder stands, on the device that
/// it names.
/// `progress` is told of every [`Event`] and after every step (as the last progress) whether to go on; false saves and stops.
///
/// # Errors
/// If a file is missing or wrong, the loss diverges, or `progress` says stop ([`Error::Cancelled`]).
pub fn train(
    config_path: &Path,
    options: &Options,
    progress: &mut dyn FnMut(&Event) -> bool,
) -> Result<Summary> {
    let device = TrainConfig::load(config_path)?.device;
    train_on(Machine::of(device), config_path, options, progress)
}

/// As [`train`], on a machine of choice. A model of sizes that cards do not run is trained on the processor, with a remark.
///
/// # Errors
/// As [`train`], or if there is no such machine.
pub fn train_on(
    machine: Machine<'_>,
    config_path: &Path,
    options: &Options,
    progress: &mut dyn FnMut(&Event) -> bool,
) -> Result<Summary> {
    let config = TrainConfig::load(config_path)?;
    let folder = config_path.parent().unwrap_or(Path::new("."));
    let model_config = Config::load(&folder.join("config.ron"))?;
    let start = Instant::now();
    loop {
        let mut run = Run::open(machine, config.clone(), &model_config, options.decay)?;
        let summary = run.go(options, start, progress)?;
        // A run whose next stage wants a deeper network stops before it, and is taken up again from what it saved.
        if !run.grows() || run.ends(options, start) {
            return Ok(summary);
        }
    }
}

/// A run in hand.
struct Run {
    config: TrainConfig,
    learner: Box<dyn Learner>,
    weights: Weights,
    optimizer: Optimizer,
    work: Work,
    /// Blocks of the network of `config.ron`, and of this one.
    depths: (usize, usize),
    decay_from: Option<u64>,
    window: Window,
    recipe: Recipe,
    held_out: Pool,
    log: Log,
    best: f64,
}

impl Run {
    fn open(machine: Machine<'_>, config: TrainConfig, model_config: &Config, decay: bool) -> Result<Self> {
        std::fs::create_dir_all(&config.state).map_err(Error::file(&config.state))?;
        let main = config.state.join("run.safetensors");
        let branch = config.state.join("decay.safetensors");
        let unfinished = |c: &Checkpoint| {
            let from = c.at.decay_from;
            from.is_some_and(|from| c.at.step < from + config.decay.steps)
        };
        let branched = if decay && branch.exists() {
            Some(Checkpoint::read(&branch)?).filter(unfinished)
        } else {
            None
        };
        let newest = match branched {
            Some(branched) => Some(branched),
            None if decay || main.exists() => {
                let mut constant = Checkpoint::read(&main)?;
                if decay {
                    constant.at.decay_from = Some(constant.at.step);
                    constant.at.window.clear();
                }
                Some(constant)
            }
            None => None,
        };
        let step = newest.as_ref().map_or(0, |c| c.at.step);
        let depth = match &newest {
            Some(branch) if decay => branch.depth.unwrap_or(model_config.depth),
            _ => config.stage(step, None).depth.unwrap_or(model_config.depth),
        };
        let deep = Config {
            depth,
            ..model_config.clone()
        };
        let (learner, weights) = learner(&config, &deep)?;
        let mut optimizer = Optimizer::new(config.optimizer.clone(), weights.variables())?;
        let at = match newest {
            Some(checkpoint) => checkpoint.restore(&mut optimizer, depth)?,
            None => Position::default(),
        };
        let work = Work::begin(machine, (&config.task, &deep), &weights, &optimizer)?;
        let mut pool = Pool::load(&config.pool, Split::Train)?;
        (pool.varied, pool.tightened) = (config.varied, config.tightened);
        if let Some(real) = &config.pairs {
            pool.pairs = pairs::load(&real.folder)?;
        }
        let recipe = Recipe {
            pool: Arc::new(pool),
            seed: config.seed,
            shares: Shares {
                rendered: config.rendered,
                traced: config.traced,
                pairs: config.pairs.as_ref().map_or(0.0, |p| p.share),
            },
        };
        let held_out = Pool::load(&config.pool, Split::HeldOut)?;
        let name = if decay { "decay.jsonl" } else { "metrics.jsonl" };
        let log = Log::open(config.state.join(name), at.step)?;
        let best = log.best();
        Ok(Self {
            config,
            learner,
            weights,
            optimizer,
            work,
            depths: (model_config.depth, depth),
            decay_from: at.decay_from,
            window: Window::recall(&at.window),
            recipe,
            held_out,
            log,
            best,
        })
    }

    fn end(&self, options: &Options) -> u64 {
        let branch = self
            .decay_from
            .map_or(u64::MAX, |from| from + self.config.decay.steps);
        branch.min(options.until.unwrap_or(u64::MAX))
    }

    /// Whether the next step wants a deeper network.
    fn grows(&self) -> bool {
        let wanted = self.config.stage(self.optimizer.step, None).depth;
        self.decay_from.is_none() && wanted.unwrap_or(self.depths.0) != self.depths.1
    }

    fn ends(&self, options: &Options, start: Instant) -> bool {
        self.optimizer.step >= self.end(options) || options.time.is_some_and(|t| start.elapsed() >= t)
    }

    fn go(
        &mut self,
        options: &Options,
        start: Instant,
        progress: &mut dyn FnMut(&Event) -> bool,
    ) -> Result<Summary> {
        let parameters = self.optimizer.slots.iter().map(|s| s.value.len()).sum();
        let end = self.end(options);
        let mut go_on = progress(&Event::Started {
            step: self.optimizer.step,
            parameters,
            decay_from: self.decay_from,
            end: (end < u64::MAX).then_some(end),
        });
        go_on &= self.remark(progress);
        let mut loader = Loader::start(&self.recipe, self.config.data_threads, self.orders())?;
        while go_on && !self.ends(options, start) && !self.grows() {
            let last = self.step(&mut loader)?;
            go_on &= self.remark(progress);
            self.window.add(&last);
            let step = self.optimizer.step;
            if step.is_multiple_of(LOG_EVERY) {
                let event = Event::Progress(std::mem::take(&mut self.window).mean());
                self.log.write(&event)?;
                go_on &= progress(&event);
            }
            if step.is_multiple_of(self.config.evaluate_every) || step == end {
                let event = self.evaluate()?;
                self.log.write(&event)?;
                self.draw_curve()?;
                go_on &= progress(&event);
            }
            if step.is_multiple_of(self.config.checkpoint_every) {
                self.save()?;
                go_on &= progress(&Event::Saved { step });
            }
        }
        self.save()?;
        let step = self.optimizer.step;
        progress(&Event::Saved { step });
        if !go_on {
            return Err(Error::Cancelled);
        }
        let decayed = self
            .decay_from
            .is_some_and(|from| step >= from + self.config.decay.steps);
        Ok(Summary {
            step,
            decayed,
            best: self.config.state.join("best"),
        })
    }

    /// Tells what the machine has to say; whether to go on.
    fn remark(&mut self, progress: &mut dyn FnMut(&Event) -> bool) -> bool {
        let mut go_on = true;
        for text in self.work.remarks() {
            go_on &= progress(&Event::Remark { text });
        }
        go_on
    }

    /// Every pass from the present step on.
    fn orders(&self) -> impl Iterator<Item = Order> + Clone + Send + 'static {
        let (config, decay_from) = (self.config.clone(), self.decay_from);
        (self.optimizer.step..).flat_map(move |step| {
            let stage = config.stage(step, decay_from);
            (0..stage.accumulate as u64).map(move |pass| Order {
                index: (step << 8) | pass,
                size: stage.size,
                count: stage.batch,
            })
        })
    }

    /// One update.
    fn step(&mut self, loader: &mut Loader) -> Result<Progress> {
        let step = self.optimizer.step;
        let stage = self.config.stage(step, self.decay_from);
        let start = Instant::now();
        let mut waited = Duration::ZERO;
        let mut parts = LossParts::default();
        let (mut left, scale) = (stage.accumulate, 1.0 / stage.accumulate as f64);
        let at_once = self.work.at_once(stage.accumulate)?;
        while left > 0 {
            let before = Instant::now();
            let batches = (0..at_once.min(left))
                .map(|_| loader.batch())
                .collect::<Result<Vec<_>>>()?;
            waited += before.elapsed();
            left -= batches.len();
            let learner = self.learner.as_ref();
            for pass in self.work.learn(learner, &mut self.optimizer, &batches, scale)? {
                if !pass.total.is_finite() {
                    return Err(Error::Diverged {
                        step,
                        loss: pass.total,
                    });
                }
                parts = parts.plus(&pass, scale as f32);
            }
        }
        let rate = self.config.rate(step, self.decay_from);
        let norm = self.work.update(&mut self.optimizer, rate)?;
        Ok(Progress {
            step: self.optimizer.step,
            size: stage.size,
            batch: stage.batch * stage.accumulate,
            loss: parts,
            norm,
            rate,
            ms: start.elapsed().as_secs_f64() * 1e3,
            wait_ms: waited.as_secs_f64() * 1e3,
        })
    }

    /// The held-out table of the average, a sheet, and the best weights so far.
    fn evaluate(&mut self) -> Result<Event> {
        self.work.settle(&mut self.optimizer)?;
        let step = self.optimizer.step;
        let size = self.config.stage(step.saturating_sub(1), self.decay_from).size;
        let sets = cases::held_out(&self.held_out, self.config.held_out, size);
        let method = self.learner.method();
        let mut rows = Vec::new();
        let first = sets.iter().find_map(|set| set.cases.first());
        let spread = self
            .optimizer
            .with_average(|| first.map_or(Ok(None), |case| method.spread(case)))?;
        let lines = self.optimizer.with_average(|| {
            eval::compare(&sets, &[method.as_ref()], |s, _, answers| {
                rows.extend(sheet::decompositions(&sets[s], answers, 6));
            })
        })?;
        let branch = if self.decay_from.is_some() { "decay" } else { "run" };
        let path = self.config.state.join(format!("sheet-{branch}-{step:07}.png"));
        files::write(&path, &sheet::grid(&rows))?;

        // Pictures of different sizes are not compared: a change of resolution starts anew.
        let scores = lines.iter().filter_map(|l| self.learner.score(&l.scores));
        let score = scores.sum::<f64>() / sets.len().max(1) as f64 + 100.0 * (size as f64 / 64.0).log2();
        let best = score > self.best;
        if best {
            self.best = score;
            let settled = self
                .optimizer
                .with_average(|| self.learner.config(&self.held_out))?;
            let folder = self.config.state.join("best");
            write_weights(&self.weights, &self.optimizer, &settled, &folder)?;
        }
        Ok(Event::Table {
            step,
            size,
            lines,
            score,
            best,
            spread,
        })
    }

    /// The curve so far, beside its metrics.
    fn draw_curve(&self) -> Result<()> {
        let name = if self.decay_from.is_some() {
            "curve-decay.png"
        } else {
            "curve.png"
        };
        curve::draw(self.log.path(), &self.config.state.join(name))
    }

    fn save(&mut self) -> Result<()> {
        self.work.settle(&mut self.optimizer)?;
        let name = if self.decay_from.is_some() {
            "decay.safetensors"
        } else {
            "run.safetensors"
        };
        let at = Position {
            step: self.optimizer.step,
            decay_from: self.decay_from,
            window: self.window.remember(),
        };
        checkpoint::save(&self.config.state.join(name), &self.optimizer, &at)
    }
}
