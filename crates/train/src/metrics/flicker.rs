//! Flicker of the backgrounds of a shot.

use super::{Mean, Regions};
use crate::data::raster::Raster;

/// How much found backgrounds change from frame to frame beyond what the true ones do.
///
/// Over neighbouring frames `t` and `t + 1` of a shot, with found backgrounds `F`, true backgrounds `B` and `R` the pixels that lie
/// inside the object (its mask) or its effect in either frame,
///
/// `flicker = mean over R and channels of | (F(t+1) - F(t)) - (B(t+1) - B(t)) |`,
///
/// in display-referred values clipped to 0..1, times 255. Zero for an answer whose errors stand still; of a locked-off camera with a
/// still background it is the plain mean absolute difference of the found backgrounds. `moving = mean over R of | B(t+1) - B(t) |`, in
/// the same units, says how much there was to follow.
#[derive(Debug, Clone, Default)]
pub struct Flicker {
    last: Option<Frame>,
    flicker: Mean,
    moving: Mean,
}

#[derive(Debug, Clone)]
struct Frame {
    shot: String,
    number: i64,
    found: Raster<3>,
    truth: Raster<3>,
    region: Vec<bool>,
}

/// The shot and frame that a case belongs to: its name ends in a frame number behind a dot, as `ball.1001`.
#[must_use]
pub fn frame_of(name: &str) -> Option<(&str, i64)> {
    let (shot, number) = name.rsplit_once('.')?;
    let digits = number.strip_prefix('-').unwrap_or(number);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    (is_number && !shot.is_empty()).then(|| number.parse().ok().map(|n| (shot, n)))?
}

impl Flicker {
    /// Adds a case, if it is a frame; frames come in order. Only frames whose numbers are neighbours are compared.
    pub fn add(&mut self, name: &str, truth: &Raster<3>, found: &Raster<3>, regions: &Regions) {
        let Some((shot, number)) = frame_of(name) else {
            return;
        };
        let frame = Frame {
            shot: shot.to_owned(),
            number,
            found: found.clone(),
            truth: truth.clone(),
            region: (0..regions.known.len()).map(|i| regions.both(i)).collect(),
        };
        if let Some(last) = self.last.replace(frame)
            && let Some(frame) = &self.last
            && last.shot == frame.shot
            && last.number + 1 == frame.number
            && last.region.len() == frame.region.len()
        {
            let value = |picture: &Raster<3>, i: usize, c: usize| picture.pixels[i][c].clamp(0.0, 1.0);
            for i in (0..frame.region.len()).filter(|&i| last.region[i] || frame.region[i]) {
                for c in 0..3 {
                    let found = value(&frame.found, i, c) - value(&last.found, i, c);
                    let truth = value(&frame.truth, i, c) - value(&last.truth, i, c);
                    self.flicker.add(f64::from(255.0 * (found - truth).abs()));
                    self.moving.add(f64::from(255.0 * truth.abs()));
                }
            }
        }
    }

    /// Flicker and how much the true background moves, both in 8-bit levels; `None` without neighbouring frames.
    #[must_use]
    pub fn scores(&self) -> (Option<f64>, Option<f64>) {
        (self.flicker.get(), self.moving.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::test_case;

    #[test]
    fn names_of_frames() {
        assert_eq!(frame_of("shot.1001"), Some(("shot", 1001)));
        assert_eq!(frame_of("a.b.-3"), Some(("a.b", -3)));
        for no in ["shot", "shot.v2", "shot.", ".7", "w1_0001"] {
            assert_eq!(frame_of(no), None, "{no}");
        }
    }

    #[test]
    fn only_changing_errors_flicker() {
        let case = test_case();
        let regions = Regions::of(&case);
        let truth = &case.truth.background;
        let off = |by: f32| truth.map(|p| p.map(|v| v + by));
        let mut still = Flicker::default();
        let mut moving = Flicker::default();
        for frame in 0..3 {
            let name = format!("s.{frame}");
            still.add(&name, truth, &off(0.1), &regions);
            moving.add(&name, truth, &off(0.1 * frame as f32), &regions);
        }
        assert_eq!(still.scores(), (Some(0.0), Some(0.0)));
        assert!((moving.scores().0.unwrap() - 25.5).abs() < 1e-3);
        // Neither a missing frame nor another shot is a neighbour.
        let mut apart = Flicker::default();
        for (name, by) in [("s.1", 0.0), ("s.3", 0.2), ("t.4", 0.4)] {
            apart.add(name, truth, &off(by), &regions);
        }
        assert_eq!(apart.scores(), (None, None));
    }

    #[test]
    fn what_the_background_itself_does_is_no_flicker() {
        let case = test_case();
        let regions = Regions::of(&case);
        let mut followed = Flicker::default();
        for frame in 0..2 {
            let truth = case.truth.background.map(|p| p.map(|v| v + 0.1 * frame as f32));
            followed.add(&format!("s.{frame}"), &truth, &truth, &regions);
        }
        let (flicker, moving) = followed.scores();
        assert!(flicker.unwrap() < 1e-6 && (moving.unwrap() - 25.5).abs() < 1e-3);
    }
}
