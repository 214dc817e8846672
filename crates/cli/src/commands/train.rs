//! `peel train`: training of a model, as its config says.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use peel_engine::CancelToken;
use peel_train::config::{Device, TrainConfig};
use peel_train::loss::LossParts;
use peel_train::{Error, Event, Machine, Options, Progress};

use crate::exit::{Exit, Result, Stop};
use crate::output::{self, human_time};
use crate::settings::{DeviceArg, cancel_on_signal, card};

/// Difference of a transformer's tokens, as a share of their size, under which they carry next to nothing.
const ILL: f32 = 0.05;

/// Train a model as its `train.ron` says, from where it was left
#[derive(clap::Args)]
#[command(after_help = "Examples:
  peel train weights/layerdecomp-s/train.ron --time 2h
  peel train weights/layerdecomp-s/train.ron --decay                          end it with a falling rate
  peel train weights/layerdecomp-s/train.ron --export weights/layerdecomp-s   write the weights
  peel train weights/layerdecomp-s/train.ron --until 30000 --ship OUT         all three in one call
  peel train weights/layerdecomp-s/train.ron --device cuda                    on an NVIDIA card

A run has a constant phase that can go on for as long as there is time, and decay branches that leave it; what
comes out of a branch is what ships. A kill at any moment loses at most the time since the last checkpoint;
Ctrl-C saves first, and exits with 130. The state folder that the config names holds checkpoints, metrics.jsonl,
its curve as curve.png, and sheets of pictures.

What is trained is the config's `task`:
  Layers                                  the network, in pixels or over the latents of config.ron (the default)
  Autoencoder(pictures: Rgb, kl: 1e-4)    a latent model's RGB autoencoder; then, from it, the one of layers (Rgba)
  Distil(teacher: \"FOLDER\", steps: 4)    a network that says in one call what the teacher says in four
  Refine(steps: 2)                        alpha at a finer size, over the network of `start`, which stays as it is
`device: cpu | cuda | auto` says where: cuda wants an NVIDIA card, auto takes one if there is one. Every task trains
on a card; a model of sizes that cards do not run stays on the processor, which is said.
`start: [\"FOLDER\"]` names weights to begin with; a latent model's autoencoders come from there and stay as they are.")]
pub struct Args {
    /// The training config; `config.ron` of the model stands beside it.
    config: PathBuf,

    /// Stop after this many steps in all.
    #[arg(long, value_name = "STEP")]
    until: Option<u64>,

    /// Stop after this time, such as 90s, 45m, 2h or 1h30m.
    #[arg(long, value_parser = parse_time)]
    time: Option<Duration>,

    /// Run a decay branch, or go on with an unfinished one.
    #[arg(long)]
    decay: bool,

    /// Write the averaged weights of the newest checkpoint to this folder, and train nothing.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["until", "time", "decay"])]
    export: Option<PathBuf>,

    /// The whole way: the constant phase up to --until, the decay branch from there, and its weights in this folder. The same
    /// call goes on where it was stopped.
    #[arg(long, value_name = "DIR", requires = "until", conflicts_with_all = ["decay", "export"])]
    ship: Option<PathBuf>,

    /// Export the constant phase even where there is a decay branch.
    #[arg(long, requires = "export")]
    constant: bool,

    /// Where what is trained, its loss and the optimiser work; data and tables stay on the processor. A run may change between the two
    /// [default: the config's `device`, or cpu].
    #[arg(long, value_enum, conflicts_with = "export")]
    device: Option<DeviceArg>,

    /// How to tell of progress.
    #[arg(long, value_enum, default_value_t = Telling::Bar)]
    progress: Telling,
}

/// How to tell of progress.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq, Debug)]
enum Telling {
    /// A bar on a terminal, plain lines elsewhere; on standard error.
    Bar,
    /// One JSON object a line on standard output.
    Json,
    /// Errors only.
    None,
}

pub fn run(args: Args) -> Result {
    if let Some(out) = &args.export {
        let step = peel_train::export(&args.config, args.constant, out).map_err(Stop::failed)?;
        output::line(format_args!("{}: weights of step {step}", out.display()))?;
        return Ok(Exit::Done);
    }
    #[cfg(unix)]
    begin_with_environment();
    let machine = Machine::of(match args.device {
        Some(asked) => asked_for(asked, "--device cuda")?,
        None => match TrainConfig::load(&args.config).map_err(Stop::failed)?.device {
            Device::Cuda => asked_for(DeviceArg::Cuda, "device: cuda")?,
            other => other,
        },
    });
    let cancel = cancel_on_signal()?;
    let mut teller = Teller::new(&args, cancel);
    let mut hear = |event: &Event| teller.hear(event);
    let result = if let (Some(out), Some(until)) = (&args.ship, args.until) {
        peel_train::ship(machine, &args.config, until, args.time, out, &mut hear).map(|step| match step {
            Some(step) => format!("{}: weights of step {step}", out.display()),
            None => "go on with the same command".into(),
        })
    } else {
        let options = Options {
            until: args.until,
            time: args.time,
            decay: args.decay,
        };
        peel_train::train_on(machine, &args.config, &options, &mut hear).map(|summary| {
            let ended = if summary.decayed {
                "the decay branch came to its end"
            } else {
                "go on with the same command"
            };
            let best = summary.best.display();
            format!("step {}: {ended}; best so far in {best}", summary.step)
        })
    };
    teller.bar.finish_and_clear();
    match result {
        Ok(text) => {
            output::message(text);
            Ok(Exit::Done)
        }
        Err(Error::Cancelled) => Ok(Exit::Cancelled),
        Err(error) => Err(Stop::failed(error)),
    }
}

/// What two libraries read from the environment once, when they begin. Candle hands sums of gradients to a pool whose threads spin while
/// they wait: in training they burn a third of a core that the passes side by side would use. And the allocator gives memory back to
/// the system ten milliseconds after it is freed, only to fetch it again page by page in the next layer, a tenth of a step.
#[cfg(unix)]
const ENVIRONMENT: [(&str, &str); 2] = [("CANDLE_NUM_THREADS", "1"), ("MIMALLOC_PURGE_DELAY", "-1")];

/// Begins the process again with [`ENVIRONMENT`], less what somebody has set. Where that is not to be, training goes on, only slower.
#[cfg(unix)]
fn begin_with_environment() {
    use std::os::unix::process::CommandExt;
    let unset: Vec<_> = ENVIRONMENT
        .into_iter()
        .filter(|(name, _)| std::env::var_os(name).is_none())
        .collect();
    if !unset.is_empty()
        && let Ok(peel) = std::env::current_exe()
    {
        let mut again = std::process::Command::new(peel);
        // Comes back only where the system refuses.
        let _refused = again.args(std::env::args_os().skip(1)).envs(unset).exec();
    }
}

/// A device that was asked for, in the words `said`: a card is there before anything is loaded.
fn asked_for(asked: DeviceArg, said: &str) -> Result<Device> {
    Ok(match asked {
        DeviceArg::Cpu => Device::Cpu,
        DeviceArg::Auto => Device::Auto,
        DeviceArg::Cuda => {
            card(said)?;
            Device::Cuda
        }
    })
}

/// Tells of training.
struct Teller {
    mode: Telling,
    cancel: CancelToken,
    bar: ProgressBar,
    on_terminal: bool,
    begun: Instant,
    time: Option<Duration>,
    /// The step at which what runs now ends, if one is set.
    end: Option<u64>,
    /// The step told last; between two, this is only asked whether to go on.
    told: Option<u64>,
}

impl Teller {
    fn new(args: &Args, cancel: CancelToken) -> Teller {
        let on_terminal = args.progress == Telling::Bar && std::io::stderr().is_terminal();
        let bar = if on_terminal {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        Teller {
            mode: args.progress,
            cancel,
            bar,
            on_terminal,
            begun: Instant::now(),
            time: args.time,
            end: None,
            told: None,
        }
    }

    /// Whether to go on.
    fn hear(&mut self, event: &Event) -> bool {
        if let Event::Progress(Progress { step, .. }) = event
            && self.told.replace(*step) == Some(*step)
        {
            return !self.cancel.is_cancelled();
        }
        if let Event::Started { end, .. } = event {
            self.end = *end;
        }
        match self.mode {
            Telling::Json => {
                if let Ok(text) = serde_json::to_string(event) {
                    let _ = output::line(text);
                }
            }
            Telling::Bar => self.show(event),
            Telling::None => {}
        }
        !self.cancel.is_cancelled()
    }

    fn show(&self, event: &Event) {
        let text = match event {
            Event::Started {
                step,
                parameters,
                decay_from,
                ..
            } => {
                let branch =
                    decay_from.map_or(String::new(), |from| format!(", decay branch from step {from}"));
                format!(
                    "step {step}: {:.2} million weights{branch}",
                    *parameters as f64 / 1e6
                )
            }
            Event::Progress(progress) => {
                let Progress {
                    step,
                    size,
                    batch,
                    loss,
                    norm,
                    ms,
                    wait_ms,
                    ..
                } = progress;
                let left = self
                    .left(progress)
                    .map_or(String::new(), |left| format!(", {} left", human_time(left)));
                let text = format!(
                    "step {step}: loss {:.4} ({}), gradient {norm:.2}, {batch} of {size} px in {ms:.0} ms \
                     ({wait_ms:.0} waiting){left}",
                    loss.total,
                    parts(loss)
                );
                if self.on_terminal {
                    self.bar.set_message(text);
                    self.bar.tick();
                    return;
                }
                text
            }
            Event::Table {
                step,
                lines,
                best,
                spread,
                ..
            } => {
                let mark = if *best { ", the best so far" } else { "" };
                let spread = spread.map_or_else(String::new, |spread| {
                    let ill = if spread < ILL {
                        ": it says the same everywhere"
                    } else {
                        ""
                    };
                    format!(
                        "\nthe transformer's tokens differ by {:.1} % of their size{ill}",
                        100.0 * spread
                    )
                });
                format!(
                    "step {step}: held-out table{mark}\n{}{spread}",
                    peel_train::eval::table(lines).trim_end()
                )
            }
            Event::Remark { text } => text.clone(),
            Event::Saved { step } => format!("step {step}: saved"),
        };
        self.bar.suspend(|| output::message(text));
    }

    /// The time left until a limit, if there is one.
    fn left(&self, progress: &Progress) -> Option<Duration> {
        let by_time = self.time.map(|time| time.saturating_sub(self.begun.elapsed()));
        let steps = self.end.map(|end| end.saturating_sub(progress.step));
        let by_steps = steps.map(|steps| Duration::from_secs_f64(steps as f64 * progress.ms.max(0.0) / 1e3));
        by_time.into_iter().chain(by_steps).min()
    }
}

/// The parts of a loss that the task has.
fn parts(loss: &LossParts) -> String {
    [
        ("background", loss.background),
        ("layer", loss.foreground),
        ("recomposition", loss.consistency),
        ("other", loss.other),
    ]
    .into_iter()
    .filter(|(_, value)| *value != 0.0)
    .map(|(name, value)| format!("{name} {value:.4}"))
    .collect::<Vec<_>>()
    .join(", ")
}

/// `90s`, `45m`, `2h`, `1h30m`.
fn parse_time(text: &str) -> std::result::Result<Duration, String> {
    let wrong = || format!("`{text}` is no time; write for example 90s, 45m, 2h or 1h30m");
    let mut seconds = 0.0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let unit = rest.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let number: f64 = rest[..unit].trim().parse().map_err(|_| wrong())?;
        seconds += number
            * match rest.as_bytes()[unit] {
                b's' => 1.0,
                b'm' => 60.0,
                b'h' => 3600.0,
                _ => return Err(wrong()),
            };
        rest = &rest[unit + 1..];
    }
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_parts_that_there_are() {
        let loss = LossParts {
            total: 0.5,
            background: 0.25,
            other: 0.25,
            ..LossParts::default()
        };
        assert_eq!(parts(&loss), "background 0.2500, other 0.2500");
    }

    #[test]
    fn times() {
        assert_eq!(parse_time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_time("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_time("1.5 h"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "2", "h", "2d", "-1s", "0s"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
