//! Axes, lines and labels on a picture.

use super::font;
use crate::data::raster::Raster;

/// Everything is drawn at twice the size and brought down, so that lines are smooth.
const FINE: usize = 2;
const INK: [f32; 3] = [0.15; 3];
const GRID: [f32; 3] = [0.88; 3];

/// From a quantity to a place along a side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    /// An axis around these values; logarithmic where that is asked for and they are all positive.
    pub fn around(values: impl Iterator<Item = f64> + Clone, log: bool) -> Self {
        let (low, high) = values
            .filter(|v| v.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            });
        let log = log && low > 0.0;
        if low > high {
            return Self {
                low: 0.0,
                high: 1.0,
                log: false,
            };
        }
        let (low, high) = if log {
            (low / 1.05, high * 1.05)
        } else {
            let room = (0.05 * (high - low)).max(0.05);
            (low - room, high + room)
        };
        Self { low, high, log }
    }

    /// 0 at the low end, 1 at the high end.
    fn place(&self, value: f64) -> f64 {
        let scale = |v: f64| {
            if self.log {
                v.max(f64::MIN_POSITIVE).ln()
            } else {
                v
            }
        };
        (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
    }

    /// Round values between the ends, about `wanted` of them.
    fn ticks(&self, wanted: usize) -> Vec<f64> {
        let within = |v: &f64| (self.low..=self.high).contains(v);
        if self.log {
            let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
            let of = |steps: &[f64]| -> Vec<f64> {
                let ticks = decades
                    .clone()
                    .flat_map(|d| steps.iter().map(move |s| s * 10f64.powi(d)));
                ticks.filter(within).collect()
            };
            // The finest division that is not too crowded, if any leaves more than one.
            let divisions: [&[f64]; 3] = [&[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
            let tried = divisions.map(of);
            let fits = tried.iter().find(|t| (2..=wanted).contains(&t.len()));
            return fits.unwrap_or(&tried[0]).clone();
        }
        let rough = (self.high - self.low) / wanted as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|s| s * power)
            .into_iter()
            .find(|s| *s >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }
}

/// A number as short as it can be: `250`, `10k`, `0.05`.
fn short(value: f64) -> String {
    let text = if value.abs() >= 1000.0 {
        format!("{}k", (value / 100.0).round() / 10.0)
    } else {
        format!("{}", (value * 1e4).round() / 1e4)
    };
    if text == "-0" { "0".into() } else { text }
}

/// A line of a panel.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Its points, from the left.
    pub points: Vec<(f64, f64)>,
    /// Its colour.
    pub colour: [f32; 3],
    /// Broken, to tell it from a whole line of the same colour.
    pub dashed: bool,
}

/// A rectangle with two axes.
#[derive(Debug, Clone)]
pub(super) struct Panel<'a> {
    /// What the y axis is.
    pub title: &'a str,
    /// Left, top, width, height, in pixels of the finished picture.
    pub frame: (usize, usize, usize, usize),
    /// Across.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// Places on the x axis with a name: a line down and the name beside it.
    pub marks: &'a [(f64, String)],
    /// The lines.
    pub curves: &'a [Curve],
}

/// A picture under way.
pub(super) struct Canvas {
    fine: Raster<3>,
}

impl Canvas {
    /// A white picture.
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            fine: Raster::filled(width * FINE, height * FINE, [1.0; 3]),
        }
    }

    /// The finished picture.
    pub fn finish(self) -> Raster<3> {
        let (width, height) = (self.fine.width / FINE, self.fine.height / FINE);
        self.fine
            .resized(width, height)
            .map(|p| p.map(|v| v.clamp(0.0, 1.0)))
    }

    fn block(&mut self, x: isize, y: isize, width: usize, height: usize, colour: [f32; 3]) {
        let inside = |v: isize, end: usize| v.clamp(0, end as isize) as usize;
        for row in inside(y, self.fine.height)..inside(y + height as isize, self.fine.height) {
            let start = row * self.fine.width;
            let across = inside(x, self.fine.width)..inside(x + width as isize, self.fine.width);
            self.fine.pixels[start + across.start..start + across.end].fill(colour);
        }
    }

    /// Text with its upper left corner here, in pixels of the finished picture.
    pub fn text(&mut self, x: usize, y: usize, text: &str, colour: [f32; 3]) {
        for (i, letter) in text.chars().enumerate() {
            let Some(columns) = font::columns(letter) else {
                continue;
            };
            for (c, bits) in columns.iter().enumerate() {
                for row in (0..font::HEIGHT).filter(|row| bits >> row & 1 == 1) {
                    let (x, y) = (FINE * (x + i * font::ADVANCE + c), FINE * (y + row));
                    self.block(x as isize, y as isize, FINE, FINE, colour);
                }
            }
        }
    }

    /// A line between two places in pixels of the finished picture.
    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: [f32; 3], dashed: bool) {
        let fine = FINE as f64;
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let steps = (2.0 * fine * dx.abs().max(dy.abs())).ceil().max(1.0);
        for i in 0..=steps as usize {
            let t = i as f64 / steps;
            let (x, y) = (from.0 + t * dx, from.1 + t * dy);
            if dashed && (x / 4.0).floor() as i64 % 2 == 0 {
                continue;
            }
            self.block((x * fine) as isize - 1, (y * fine) as isize - 1, 3, 3, colour);
        }
    }

    /// Draws a panel: grid, numbers, lines, legend.
    pub fn panel(&mut self, panel: &Panel<'_>) {
        let (left, top, width, height) = panel.frame;
        let across = |v: f64| left as f64 + panel.x.place(v) * width as f64;
        let up = |v: f64| (top + height) as f64 - panel.y.place(v) * height as f64;
        let half = |text: &str| text.len() * font::ADVANCE / 2;
        let (bottom, right) = (top + height, left + width);
        let mut rule = |x: usize, y: usize, w: usize, h: usize, colour| {
            self.block((x * FINE) as isize, (y * FINE) as isize, w, h, colour);
        };
        let (columns, rows) = (panel.x.ticks(width / 60), panel.y.ticks(height / 30));
        for tick in &columns {
            rule(across(*tick) as usize, top, FINE, height * FINE, GRID);
        }
        for tick in &rows {
            rule(left, up(*tick) as usize, width * FINE, FINE, GRID);
        }
        for (y, w, h) in [(top, width, 0), (bottom, width, 0), (top, 0, height)] {
            rule(left, y, (w * FINE).max(FINE), (h * FINE).max(FINE), INK);
        }
        rule(right, top, FINE, height * FINE, INK);
        for tick in columns {
            let name = short(tick);
            self.text(
                (across(tick) as usize).saturating_sub(half(&name)),
                bottom + 5,
                &name,
                INK,
            );
        }
        for tick in rows {
            let name = short(tick);
            let x = left.saturating_sub(2 * half(&name) + 4);
            self.text(x, (up(tick) as usize).saturating_sub(3), &name, INK);
        }
        for (i, (place, name)) in panel.marks.iter().enumerate() {
            let x = across(*place);
            self.line((x, top as f64), (x, bottom as f64), [0.7; 3], false);
            // Neighbours' names stand at different heights, and the last one inside.
            let room = right.saturating_sub(name.len() * font::ADVANCE + 4);
            self.text(
                (x as usize + 4).min(room),
                bottom - 12 - 10 * (i % 4),
                name,
                [0.5; 3],
            );
        }
        for curve in panel.curves {
            let points: Vec<_> = curve.points.iter().map(|(x, y)| (across(*x), up(*y))).collect();
            for ends in points.windows(2) {
                self.line(ends[0], ends[1], curve.colour, curve.dashed);
            }
            for (x, y) in points.iter().filter(|_| points.len() < 60) {
                let place = |v: &f64| (v * FINE as f64) as isize - 2;
                self.block(place(x), place(y), 5, 5, curve.colour);
            }
        }
        self.text(left, top.saturating_sub(12), panel.title, INK);
        // The legend stands above the panel, to the right, where no line runs.
        let mut x = right;
        for curve in panel.curves.iter().rev().filter(|c| !c.name.is_empty()) {
            x = x.saturating_sub(curve.name.len() * font::ADVANCE + 30);
            let y = top.saturating_sub(9) as f64;
            self.line((x as f64, y), ((x + 16) as f64, y), curve.colour, curve.dashed);
            self.text(x + 20, top.saturating_sub(12), &curve.name, INK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let steps = Axis::around([25.0, 9000.0].into_iter(), true);
        assert_eq!(
            steps.ticks(12),
            [50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0]
        );
        assert_eq!(steps.ticks(3), [100.0, 1000.0]);
        let decibels = Axis::around([21.3, 27.9].into_iter(), false);
        assert_eq!(decibels.ticks(5), [22.0, 24.0, 26.0, 28.0]);
        // A flat curve and no curve have an axis too.
        assert!(!Axis::around([3.0].into_iter(), false).ticks(4).is_empty());
        assert!(!Axis::around(std::iter::empty(), true).ticks(4).is_empty());
        assert_eq!(
            [250.0, 12_500.0, 0.05, -0.0].map(short),
            ["250", "12.5k", "0.05", "0"]
        );
    }

    #[test]
    fn every_letter_of_a_label_has_dots() {
        for letter in "held-out PSNR in dB (synthetic): whole, object, 12.5k/3".chars() {
            assert!(font::columns(letter).is_some(), "{letter}");
        }
        assert_eq!(font::columns('?'), None);
    }
}
