//! `peel decompose`: the main job without a graph file. Builds the graph that one would write by hand, and
//! renders it.

mod graph;

use std::ops::RangeInclusive;
use std::path::Path;

use clap::ValueEnum;
use peel_engine::RenderOptions;
use peel_io::{FramePattern, FrameRange};
use peel_layerdecomp::Sampler;
use peel_layerdecomp::weights::Precision;

use super::render::render;
use crate::exit::{EXIT_CODES, Exit, Result, Stop};
use crate::progress::Mode;
use crate::settings::{EngineArgs, cancel_on_signal};
use crate::{graph_file, output};
use graph::graph_text;

const EXAMPLES: &str = "\
Examples:
  peel decompose photo.jpg --mask cup.png -o layers.exr
  peel decompose plate.####.exr --mask mug=mattes/mug.####.exr --mask bear.####.exr -o layers.####.exr
  peel decompose plate.####.exr --mask mug.####.exr -o layers.####.exr --motion locked    frames help each other out
  peel decompose plate.exr --mask mug.png -o layers.exr --print-graph > shot.ron    start a graph from it

Masks are listed front-most first: each object is taken off the background that the ones before it left. The
file holds the flattened picture first, then `background`, then one layer a mask, under the mask's name.";

/// Take objects with their shadows and reflections off a plate: one layered EXR, without a graph file
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Args {
    /// The plate: EXR, PNG, JPEG or TIFF; one file, or a sequence as `plate.####.exr` or `plate.%04d.exr`.
    plate: String,

    /// A matte of the object to take off (may be given several times, front-most first). NAME is what its
    /// layer is called; the file's stem by default.
    #[arg(long, short, required = true, value_name = "[NAME=]FILE")]
    mask: Vec<String>,

    /// The layered EXR to write; with `####` for a sequence.
    #[arg(long, short)]
    output: String,

    /// How the layers stand in the file; as Write does it by default.
    #[arg(long, value_enum)]
    layout: Option<Layout>,

    /// Frames of a sequence, such as 1001-1008; all that exist by default.
    #[arg(long, short, value_name = "RANGE", allow_hyphen_values = true)]
    frames: Option<FrameRange>,

    /// Which object stands before which.
    #[arg(long, value_enum)]
    order: Option<Order>,

    /// The model: a folder in `weights`, or a path.
    #[arg(long)]
    model: Option<String>,

    /// Calls of the network for a mask: one is the default, `--made-up neighbour` takes two at least.
    #[arg(long)]
    steps: Option<u32>,

    /// How more than one call is taken: ddim, dpm++2m or unipc, the last two also as -leading, -trailing or -karras.
    #[arg(long, value_name = "NAME")]
    sampler: Option<Sampler>,

    /// Number format of the model's linear layers in memory: f32, f16, bf16 or int8.
    #[arg(long, value_name = "FORMAT")]
    precision: Option<Precision>,

    /// Chooses the noise from which unseen things are made up.
    #[arg(long)]
    seed: Option<u64>,

    /// How far the hole behind an object reaches past its mask, in pixels; for masks tighter than their object.
    #[arg(long, value_name = "PIXELS", value_parser = |text: &str| number(text, 0.0..=1000.0))]
    grow: Option<f32>,

    /// Width in pixels over which what is made up fades into the plate.
    #[arg(long, value_name = "PIXELS", value_parser = |text: &str| number(text, 0.0..=1000.0))]
    feather: Option<f32>,

    /// The weakest shadow or reflection that is taken off, as alpha.
    #[arg(long, value_name = "ALPHA", value_parser = |text: &str| number(text, 0.000_001..=0.33))]
    effect_threshold: Option<f32>,

    /// Let grain and texture in a shadow go with the layer.
    #[arg(long)]
    no_keep_grain: bool,

    /// Add no texture to what is made up under an object.
    #[arg(long)]
    no_texture_fill: bool,

    /// How much around an object the model sees, in parts of the object's longer side; several, divided by commas, are
    /// one a mask.
    #[arg(long, value_name = "PARTS", value_delimiter = ',', value_parser = |text: &str| number(text, 0.0..=10.0))]
    margin: Vec<f32>,

    /// Pixels on the long side of what the model sees; the size that it was trained at by default.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(16..=1024))]
    working_size: Option<u32>,

    /// How much lighter than it is the plate is shown to the model, in stops; with `--white` or alone, the model is shown
    /// every frame so, in place of what suits the plate.
    #[arg(
        long,
        value_name = "STOPS",
        allow_negative_numbers = true,
        value_parser = |text: &str| number(text, -20.0..=20.0)
    )]
    exposure: Option<f32>,

    /// Where a linear 1 lies on the model's scale; below 1 leaves room for highlights.
    #[arg(long, value_name = "VALUE", value_parser = |text: &str| number(text, 0.5..=1.0))]
    white: Option<f32>,

    /// The frame whose plate says how light is shown to the model on all frames; the first that there is by default.
    #[arg(long, value_name = "FRAME", allow_negative_numbers = true, conflicts_with_all = ["exposure", "white"])]
    light_frame: Option<i32>,

    /// How the camera of a sequence moves. With anything but `off`, a frame takes what it hides from frames that show it.
    #[arg(long, value_enum)]
    motion: Option<Motion>,

    /// How many frames are looked at on either side.
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(..=32))]
    window: Option<u32>,

    /// Look at every n-th frame of the neighbours only, for objects that move slowly.
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(1..=1000))]
    window_step: Option<u32>,

    /// What no frame shows is made up at frame numbers that this divides, and stays until the next; 0 makes it up on
    /// each frame anew.
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(..=100_000))]
    key_every: Option<u32>,

    /// Where what no frame shows comes from on the frames between.
    #[arg(long, value_enum)]
    made_up: Option<MadeUp>,

    /// Write each object and its effect (shadow, reflection) as layers of their own: NAME.object and NAME.effect.
    #[arg(long)]
    parts: bool,

    /// Leave files that are there.
    #[arg(long)]
    skip_existing: bool,

    /// Print the graph that does this, and render nothing.
    #[arg(long)]
    print_graph: bool,

    /// How to tell of progress.
    #[arg(long, value_enum, default_value_t = Mode::Bar)]
    progress: Mode,

    #[command(flatten)]
    engine: EngineArgs,
}

/// How layers stand in an EXR file.
#[derive(Clone, Copy, ValueEnum, Debug)]
enum Layout {
    /// One part, channels `NAME.R` and so on.
    Spec,
    /// One part a layer, each with its own tight data window.
    Multipart,
    /// What Nuke reads as layers.
    Nuke,
}

/// How the camera of a sequence moves.
#[derive(Clone, Copy, ValueEnum, Debug)]
enum Motion {
    /// Unknown: each frame is on its own.
    Off,
    /// Not at all.
    Locked,
    /// It pans, turns or zooms, or moves before something flat.
    Homography,
}

/// Which object stands before which.
#[derive(Clone, Copy, ValueEnum, Debug)]
enum Order {
    /// As masks are listed.
    AsListed,
    /// As the plate shows it, frame by frame; as listed where it shows nothing of it.
    Auto,
}

/// Where what no frame shows comes from.
#[derive(Clone, Copy, ValueEnum, Debug)]
enum MadeUp {
    /// From the key frame: it is the same until the next.
    KeyFrame,
    /// Sampled on each frame, starting from its neighbour's result.
    Neighbour,
}

pub fn run(args: Args) -> Result {
    let frames = frames(&args)?;
    if args.print_graph {
        output::line(graph_text(&args, &frames)?.trim_end())?;
        return Ok(Exit::Done);
    }
    // The text's hash goes into the files, and a frame must not depend on which others are rendered with it.
    let text = graph_text(&args, &FrameRange::single(1))?;
    // No file: paths start at the current folder, as on the command line, and failures have no place in a text
    // that nobody wrote.
    let file = Path::new("");
    let graph = graph_file::checked(graph_file::parse(&text, file), file)?;
    let engine = args.engine.engine()?;
    let cancel = cancel_on_signal()?;
    let options = RenderOptions {
        skip_existing: args.skip_existing,
        ..RenderOptions::default()
    };
    render(&engine, &graph, frames.frames(), &options, args.progress, &cancel)
}

/// The frames to render: those asked for, or those that exist.
fn frames(args: &Args) -> Result<FrameRange> {
    let plate: FramePattern = args.plate.parse().map_err(Stop::usage)?;
    let output: FramePattern = args.output.parse().map_err(Stop::usage)?;
    let frames = match &args.frames {
        Some(frames) => frames.clone(),
        None if plate.has_frame() => {
            let existing = plate.existing(Path::new("")).map_err(Stop::failed)?;
            if existing.is_empty() {
                return Err(Stop::failed(format!(
                    "{}: there is no frame of this sequence",
                    args.plate
                )));
            }
            FrameRange::from_frames(existing)
        }
        None => FrameRange::single(1),
    };
    if frames.len() > 1 && !output.has_frame() {
        let text = format!(
            "{}: {} frames need a frame number in the path, such as `####`",
            args.output,
            frames.len()
        );
        return Err(Stop::usage(text));
    }
    Ok(frames)
}

/// The frame whose plate says how light is shown on all: the first on disk, so that it hangs on no choice of frames.
fn light_frame(args: &Args) -> Option<i32> {
    let chosen = args.exposure.is_some() || args.white.is_some();
    let plate: FramePattern = args.plate.parse().ok()?;
    if chosen || !plate.has_frame() {
        return None;
    }
    let existing = || plate.existing(Path::new("")).ok()?.into_iter().min();
    args.light_frame.or_else(existing)
}

/// A number within a range.
fn number(text: &str, range: RangeInclusive<f32>) -> std::result::Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "that is not a number".to_owned())?;
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(format!("it is {} to {}", range.start(), range.end()))
    }
}
