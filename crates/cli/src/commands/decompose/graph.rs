//! The graph that one would write by hand for what the command line says.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use peel_io::FrameRange;

use super::Args;
use crate::exit::{Result, Stop};

/// The graph that one would write by hand.
pub(super) fn graph_text(args: &Args, frames: &FrameRange) -> Result<String> {
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
    let settings = settings(args, masks.len())?;
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

/// What is said of Decompose's parameters, as they stand in a graph.
fn settings(args: &Args, masks: usize) -> Result<String> {
    let number = |value: Option<f32>| value.map(|value| value.to_string());
    let count = |value: Option<u32>| value.map(|value| value.to_string());
    let off = |off: bool| off.then(|| "false".to_owned());
    let (margin, margins) = match args.margin.as_slice() {
        [] => (None, None),
        [one] => (Some(one.to_string()), None),
        all if all.len() == masks => {
            let all: Vec<String> = all.iter().map(f32::to_string).collect();
            (None, Some(format!("[{}]", all.join(", "))))
        }
        all => {
            let text = format!(
                "--margin: {} margins for {masks} masks; give one for all, or one a mask",
                all.len()
            );
            return Err(Stop::usage(text));
        }
    };
    let light: Vec<String> = [("exposure", args.exposure), ("white", args.white)]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}: {}", value?)))
        .collect();
    let all = [
        ("order", args.order.map(|order| format!("{order:?}"))),
        ("model", args.model.as_deref().map(quoted)),
        ("steps", count(args.steps)),
        ("sampler", args.sampler.map(|sampler| format!("\"{sampler}\""))),
        (
            "precision",
            args.precision.map(|precision| format!("{precision:?}")),
        ),
        ("seed", args.seed.map(|seed| seed.to_string())),
        ("grow", number(args.grow)),
        ("feather", number(args.feather)),
        ("effect_threshold", number(args.effect_threshold)),
        ("keep_grain", off(args.no_keep_grain)),
        ("texture_fill", off(args.no_texture_fill)),
        ("margin", margin),
        ("margins", margins),
        ("working_size", count(args.working_size)),
        (
            "light",
            (!light.is_empty()).then(|| format!("({})", light.join(", "))),
        ),
        (
            "light_frame",
            super::light_frame(args).map(|frame| frame.to_string()),
        ),
        ("motion", args.motion.map(|motion| format!("{motion:?}"))),
        ("window", count(args.window)),
        ("window_step", count(args.window_step)),
        ("key_every", count(args.key_every)),
        ("made_up", args.made_up.map(|from| format!("{from:?}"))),
        ("parts", args.parts.then(|| "true".to_owned())),
    ];
    let said = all
        .into_iter()
        .filter_map(|(name, value)| Some(format!(", {name}: {}", value?)));
    Ok(said.collect())
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
    use crate::graph_file;

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
            "--made-up",
            "neighbour",
            "--order",
            "auto",
            "--parts",
            "--margin",
            "0.5,2",
            "--grow",
            "3",
            "--no-keep-grain",
            "--exposure",
            "-1",
        ];
        let Line { args } = Line::parse_from(line.iter().chain(&more));
        let frames = super::super::frames(&args).unwrap();
        assert_eq!(frames.frames(), [1, 3, 5, 7]);
        let text = graph_text(&args, &frames).unwrap();
        match graph_file::parse(&text, Path::new("decompose.ron")) {
            Ok(graph) => {
                assert_eq!(graph.nodes.node_count(), 5);
                for said in [
                    "motion: Homography, window: 4, key_every: 0, made_up: Neighbour, parts: true",
                    "order: Auto, model: \"m\"",
                    "margins: [0.5, 2], light: (exposure: -1)",
                    "grow: 3, keep_grain: false",
                ] {
                    assert!(text.contains(said), "{said} in {text}");
                }
            }
            Err(mistakes) => panic!("{text}\n{mistakes}"),
        }
    }
}
