//! The curve of a run as a picture: loss and held-out PSNR against the step, from its JSON lines.

mod font;
mod plot;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use self::plot::{Axis, Canvas, Curve, Panel};
use crate::data::raster::Raster;
use crate::{Error, Result, files};

const WIDTH: usize = 960;
const HEIGHT: usize = 720;
/// Left, top, width and height of the two panels.
const LOSS: (usize, usize, usize, usize) = (56, 28, 884, 290);
const PSNR: (usize, usize, usize, usize) = (56, 372, 884, 310);
/// What is drawn of a held-out table, in the JSON's names, with its colour.
const SCORES: [(&str, [f32; 3]); 4] = [
    ("whole", [0.12, 0.35, 0.75]),
    ("object", [0.85, 0.45, 0.05]),
    ("effect", [0.15, 0.6, 0.25]),
    ("recomposition", [0.6, 0.6, 0.6]),
];
/// The loss's parts, likewise.
const PARTS: [(&str, [f32; 3]); 5] = [
    ("total", [0.15, 0.15, 0.15]),
    ("background", [0.12, 0.35, 0.75]),
    ("foreground", [0.85, 0.45, 0.05]),
    ("consistency", [0.6, 0.6, 0.6]),
    ("other", [0.6, 0.2, 0.6]),
];

type Points = Vec<(f64, f64)>;

/// The numbers of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Points of each part of the loss.
    loss: BTreeMap<String, Points>,
    /// Points of each score by set.
    scores: BTreeMap<(String, String), Points>,
    /// Steps at which the pictures' side changed, with the side from there on.
    sizes: Vec<(f64, u64)>,
}

impl History {
    /// Reads JSON lines; what is no event, such as a line cut off by a kill, is passed over.
    #[must_use]
    pub fn of(lines: &str) -> Self {
        let mut history = Self::default();
        for event in lines
            .lines()
            .filter_map(|l| serde_json::from_str::<Value>(l).ok())
        {
            let Some(step) = event["step"].as_f64() else {
                continue;
            };
            if let Some(size) = event["size"].as_u64()
                && history.sizes.last().is_none_or(|(_, last)| *last != size)
            {
                history.sizes.push((step, size));
            }
            for (part, _) in PARTS {
                // A part that a run does not have is 0 all along.
                if let Some(value) = event["loss"][part].as_f64().filter(|v| *v > 0.0) {
                    history.loss.entry(part.into()).or_default().push((step, value));
                }
            }
            for line in event["lines"].as_array().into_iter().flatten() {
                let set = line["set"].as_str().unwrap_or("-");
                for (score, _) in SCORES {
                    if let Some(value) = line["scores"][score].as_f64() {
                        let key = (set.to_owned(), score.to_owned());
                        history.scores.entry(key).or_default().push((step, value));
                    }
                }
            }
        }
        history
    }

    fn losses(&self) -> Vec<Curve> {
        let curve = |(part, colour): (&str, [f32; 3])| {
            Some(Curve {
                name: part.into(),
                points: self.loss.get(part)?.clone(),
                colour,
                dashed: false,
            })
        };
        PARTS.into_iter().filter_map(curve).collect()
    }

    /// The scores of the first set in whole lines, with names; those of the others broken.
    fn tables(&self) -> Vec<Curve> {
        let mut sets: Vec<&String> = self.scores.keys().map(|(set, _)| set).collect();
        sets.dedup();
        // The composites come first: the other sets are small.
        sets.sort_by_key(|set| *set != "synthetic");
        let mut curves = Vec::new();
        for (s, set) in sets.iter().enumerate() {
            for (score, colour) in SCORES {
                let key = ((*set).clone(), score.to_owned());
                let Some(points) = self.scores.get(&key) else {
                    continue;
                };
                curves.push(Curve {
                    name: match (s, score) {
                        (0, _) => score.into(),
                        (_, "whole") => (*set).clone(),
                        _ => String::new(),
                    },
                    points: points.clone(),
                    colour,
                    dashed: s > 0,
                });
            }
        }
        curves
    }

    /// The curve as a picture of 960 x 720: the loss over both logarithmic axes, PSNR below it over the same steps.
    #[must_use]
    pub fn picture(&self) -> Raster<3> {
        let (losses, tables) = (self.losses(), self.tables());
        let steps = losses
            .iter()
            .chain(&tables)
            .flat_map(|c| c.points.iter().map(|p| p.0));
        let x = Axis::around(steps, true);
        let heights = |curves: &[Curve]| -> Vec<f64> {
            curves.iter().flat_map(|c| c.points.iter().map(|p| p.1)).collect()
        };
        let marks: Vec<_> = self
            .sizes
            .iter()
            .map(|(step, size)| (*step, format!("{size} px")))
            .collect();
        let mut canvas = Canvas::new(WIDTH, HEIGHT);
        canvas.panel(&Panel {
            title: "loss",
            frame: LOSS,
            x,
            y: Axis::around(heights(&losses).into_iter(), true),
            marks: &marks,
            curves: &losses,
        });
        canvas.panel(&Panel {
            title: "held-out PSNR in dB",
            frame: PSNR,
            x,
            y: Axis::around(heights(&tables).into_iter(), false),
            marks: &marks,
            curves: &tables,
        });
        canvas.text(PSNR.0 + PSNR.2 / 2, HEIGHT - 14, "steps", [0.15; 3]);
        canvas.finish()
    }
}

/// Draws a run's JSON lines into a PNG.
///
/// # Errors
/// If a file cannot be read or written.
pub fn draw(metrics: &Path, png: &Path) -> Result<()> {
    let lines = std::fs::read_to_string(metrics).map_err(Error::file(metrics))?;
    files::write(png, &History::of(&lines).picture())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"event":"started","step":0,"parameters":5}
{"event":"progress","step":25,"size":64,"loss":{"total":0.5,"background":0.3,"foreground":0.2,"consistency":0.0}}
{"event":"table","step":50,"size":64,"lines":[{"set":"rendered","scores":{"whole":20.0}},
{"event":"table","step":50,"size":64,"lines":[{"set":"rendered","scores":{"whole":20.0}},{"set":"synthetic","scores":{"whole":25.0,"effect":null}}]}
{"event":"progress","step":75,"size":128,"loss":{"total":0.25,"background":0.2,"foreground":0.05,"consistency":0.0}}
{"event":"prog"#;

    #[test]
    fn numbers_are_taken_from_the_lines() {
        let history = History::of(LINES);
        assert_eq!(history.loss["total"], [(25.0, 0.5), (75.0, 0.25)]);
        assert!(!history.loss.contains_key("consistency"));
        assert_eq!(history.scores.len(), 2);
        assert_eq!(history.sizes, [(25.0, 64), (75.0, 128)]);
        let names: Vec<_> = history.tables().into_iter().map(|c| (c.name, c.dashed)).collect();
        assert_eq!(names, [("whole".into(), false), ("rendered".into(), true)]);
    }

    #[test]
    fn the_picture_has_lines_of_every_colour() {
        let picture = History::of(LINES).picture();
        assert_eq!((picture.width, picture.height), (WIDTH, HEIGHT));
        let near = |colour: [f32; 3]| {
            let close = |p: &&[f32; 3]| p.iter().zip(colour).all(|(a, b)| (a - b).abs() < 0.05);
            picture.pixels.iter().filter(close).count()
        };
        assert!(near(PARTS[1].1) > 50 && near(PARTS[2].1) > 50 && near([0.0; 3]) == 0);
        // Nothing to draw is drawn too.
        assert_eq!(History::of("").picture().width, WIDTH);
    }
}
