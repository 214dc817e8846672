//! `peel decompose`: the main job without a graph file. Builds the graph that one would write by hand, and
//! renders it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

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

    /// The model: a folder in `weights`, or a path.
    #[arg(long)]
    model: Option<String>,

    /// Calls of the network for a mask.
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

    /// How the camera of a sequence moves. With anything but `off`, a frame takes what it hides from frames that show it.
    #[arg(long, value_enum)]
    motion: Option<Motion>,

    /// How many frames are looked at on either side.
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(..=32))]
    window: Option<u32>,

    /// What no frame shows is made up at frame numbers that this divides, and stays until the next; 0 makes it up on
    /// each frame anew.
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(..=100_000))]
    key_every: Option<u32>,

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

/// The graph that one would write by hand.
fn graph_text(args: &Args, frames: &FrameRange) -> Result<String> {
    let masks = masks(&args.mask)?;
    let mut text = String::from("Graph(\n    format: 1,\n");
    let mut line = |level: usize, part: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}{part}", "    ".repeat(level));
    };
    line(1, format_args!("frames: \"{frames}\","));
    line(1, format_args!("working_space: LinearRec709,"));
    line(1, format_args!("nodes: {{"));
    // Names of masks are names of layers; these three are named so that no mask can be called the same.
    line(
        2,
        format_args!("\"(plate)\": Read(path: {}),", quoted(&args.plate)),
    );
    for (name, path) in &masks {
        line(
            2,
            format_args!("{}: Mask(from: File({})),", quoted(name), quoted(path)),
        );
    }
    let names: Vec<String> = masks.iter().map(|(name, _)| quoted(name)).collect();
    let mut settings = String::new();
    if let Some(model) = &args.model {
        let _ = write!(settings, ", model: {}", quoted(model));
    }
    if let Some(steps) = args.steps {
        let _ = write!(settings, ", steps: {steps}");
    }
    if let Some(sampler) = args.sampler {
        let _ = write!(settings, ", sampler: \"{sampler}\"");
    }
    if let Some(precision) = args.precision {
        let _ = write!(settings, ", precision: {precision:?}");
    }
    if let Some(seed) = args.seed {
        let _ = write!(settings, ", seed: {seed}");
    }
    if let Some(motion) = args.motion {
        let _ = write!(settings, ", motion: {motion:?}");
    }
    if let Some(window) = args.window {
        let _ = write!(settings, ", window: {window}");
    }
    if let Some(key_every) = args.key_every {
        let _ = write!(settings, ", key_every: {key_every}");
    }
    if args.parts {
        settings += ", parts: true";
    }
    line(
        2,
        format_args!(
            "\"(peel)\": Decompose(plate: \"(plate)\", masks: [{}]{settings}),",
            names.join(", ")
        ),
    );
    let layout = args
        .layout
        .map_or(String::new(), |layout| format!(", layout: {layout:?}"));
    let path = quoted(&args.output);
    line(
        2,
        format_args!("\"(layers)\": Write(input: \"(peel).stack\", path: {path}{layout}),"),
    );
    line(1, format_args!("}},"));
    text += ")\n";
    Ok(text)
}

/// Names and paths of the masks.
fn masks(masks: &[String]) -> Result<Vec<(String, String)>> {
    let mut named: Vec<(String, String)> = Vec::new();
    for text in masks {
        // A name has no separators; `dir=x/mask.png` and an existing file `a=b.png` are paths.
        let split = text
            .split_once('=')
            .filter(|(name, _)| !name.contains(['/', '\\']) && !Path::new(text).is_file());
        let (name, path) = match split {
            Some((name, path)) => (name.trim().to_owned(), path.to_owned()),
            None => (stem(text), text.clone()),
        };
        let wrong = if name.is_empty() || path.is_empty() {
            "write it as NAME=FILE"
        } else if name.contains(['.', '"', '\\']) || name.chars().any(char::is_control) {
            "a layer's name has no dots, quotes or control characters; write it as NAME=FILE"
        } else if name == "background" || name == "stack" || name.starts_with('(') {
            "that name is taken; write it as NAME=FILE with another name"
        } else if named.iter().any(|(other, _)| *other == name) {
            "two masks have the same name; write them as NAME=FILE"
        } else {
            named.push((name, path));
            continue;
        };
        return Err(Stop::usage(format!("--mask {text}: {wrong}")));
    }
    Ok(named)
}

/// What a file is called without folder, frame number and ending: `mattes/mug.####.exr` is `mug`.
fn stem(path: &str) -> String {
    let file = PathBuf::from(path);
    let stem = file
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let is_frame = |token: &str| {
        let printf = token.strip_prefix('%').and_then(|rest| rest.strip_suffix('d'));
        let digits = printf.unwrap_or(token);
        !token.is_empty() && (token.chars().all(|c| c == '#') || digits.chars().all(|c| c.is_ascii_digit()))
    };
    let name = match stem.rsplit_once(['.', '_']) {
        // `mug_2` is a name of its own; `mug.0002`, `mug.####` and `mug_%04d` are frames of `mug`.
        Some((name, token))
            if is_frame(token) && (stem.contains(['#', '%']) || stem[name.len()..].starts_with('.')) =>
        {
            name.to_owned()
        }
        _ => stem,
    };
    name.replace('.', "_")
}

/// Text as RON writes it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_leave_frame_numbers_out() {
        for (path, name) in [
            ("mug.png", "mug"),
            ("mattes/mug.####.exr", "mug"),
            ("mug_%04d.exr", "mug"),
            ("/a.b/mug.1001.exr", "mug"),
            ("mug_2.png", "mug_2"),
            ("ball_v012.1001.exr", "ball_v012"),
            ("my.mug.png", "my_mug"),
        ] {
            assert_eq!(stem(path), name, "{path}");
        }
    }

    #[test]
    fn masks_have_names_that_fit_a_layer() {
        let names = |texts: &[&str]| -> Result<Vec<String>> {
            let texts: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
            Ok(masks(&texts)?.into_iter().map(|(name, _)| name).collect())
        };
        assert_eq!(names(&["mug=a.png", "b/bear.png"]).unwrap(), ["mug", "bear"]);
        for wrong in [
            &["a.png", "b/a.png"][..],
            &["stack=a.png"],
            &["background.png"],
            &["=a.png"],
            &["a.b=c.png"],
        ] {
            assert!(names(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_graph_is_a_sound_graph() {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let line = [
            "peel",
            "pl\"ate.####.exr",
            "-m",
            "mug=m\\1.####.exr",
            "-m",
            "b.png",
            "-o",
            "o.####.exr",
            "-f",
            "1-8x2",
        ];
        let more = [
            "--steps",
            "4",
            "--seed",
            "9",
            "--model",
            "m",
            "--layout",
            "multipart",
            "--motion",
            "homography",
            "--window",
            "4",
            "--key-every",
            "0",
            "--parts",
        ];
        let Line { args } = Line::parse_from(line.iter().chain(&more));
        let frames = frames(&args).unwrap();
        assert_eq!(frames.frames(), [1, 3, 5, 7]);
        let text = graph_text(&args, &frames).unwrap();
        match graph_file::parse(&text, Path::new("decompose.ron")) {
            Ok(graph) => {
                assert_eq!(graph.nodes.node_count(), 5);
                assert!(
                    text.contains("motion: Homography, window: 4, key_every: 0, parts: true"),
                    "{text}"
                );
            }
            Err(mistakes) => panic!("{text}\n{mistakes}"),
        }
    }
}
