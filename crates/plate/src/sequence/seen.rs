//! What other frames show of what this one hides.

use peel_image::{Layer, Matte, Pixel, Rect};
use rayon::prelude::*;

use super::Homography;
use super::blend::{self, Known, Taken};
use super::clear::{self, Clearance};
use super::relight::Gains;
use super::sample::{look, look_at_matte};
use crate::light::Table;
use crate::{Light, Report, Step, exact};

/// Difference of encoded values up to which frames agree on a pixel that has no grain.
const ALIKE: f32 = 0.03;

/// How much of the grain's standard deviation agreement allows on top.
const GRAINY: f32 = 4.0;

/// The most that it allows: past it grain is no excuse.
const UNLIKE: f32 = 0.12;

/// The most frames that are kept of a pixel: the first that show it, unless later ones show it farther from what hides it. However far a
/// step looks, it takes no more memory than this.
const MOST: usize = 8;

/// Coverage by real pixels from which a pixel counts as known.
pub(super) const SURE: f32 = 0.99;

/// A region of a frame of which other frames show what it hides.
pub struct RealPixels {
    region: Rect,
    light: Light,
    table: Table,
    /// How visible the background is here, by pixel of the region.
    shows: Vec<f32>,
    /// This frame's own pixels over the region.
    own: Vec<Pixel>,
    /// How far in pixels a hole reaches past its mask ([`reach`](super::reach)).
    reach: f32,
    /// What the frames looked at first show of each pixel, in this frame's light: the n-th such frame's in the n-th vector.
    seen: Vec<Vec<Seen>>,
    /// How many frames each pixel has, up to [`MOST`].
    count: Vec<u8>,
    /// Standard deviation of a frame's difference from this one, in encoded values, where both show the background: the largest.
    grain: f32,
}

/// A pixel as another frame shows it.
#[derive(Clone, Copy)]
struct Seen {
    colour: [f32; 3],
    /// How visible the background is there; where it is wholly, 1 more than its clearance in pixels ([`Clearance`]).
    open: f32,
}

impl Seen {
    const NOTHING: Seen = Seen {
        colour: [0.0; 3],
        open: 0.0,
    };

    fn clear(&self) -> f32 {
        (self.open - 1.0).max(0.0)
    }
}

impl RealPixels {
    /// Of the frame `here` (the plate as shot), which shows the background as far as `shows` says; `region` holds what it
    /// hides and enough around to tell the light by. `light` is how values are compared, `reach` what frames that are
    /// looked at leave around what hides the background ([`reach`](super::reach)).
    pub fn new(here: &Layer, shows: &Matte, region: Rect, light: Light, reach: f32) -> RealPixels {
        let region = region.intersect(here.data());
        let own: Vec<Pixel> = (region.y0..region.y1)
            .flat_map(|y| here.span(y, region.x0, region.x1).1.iter().copied())
            .collect();
        let mut shows = look_at_matte(shows, &Homography::IDENTITY, region, 0.0);
        for (shows, pixel) in shows.iter_mut().zip(&own) {
            if !exact::is_finite(*pixel) {
                *shows = 0.0;
            }
        }
        RealPixels {
            region,
            light,
            table: light.table(),
            shows,
            count: vec![0; own.len()],
            own,
            reach,
            seen: Vec::new(),
            grain: 0.0,
        }
    }

    /// Looks at another frame, which shows the background as far as `shows` says. `to_there` takes positions of this frame to
    /// positions of that one. Of frames that show a pixel as far from what hides it, those that are looked at first are preferred:
    /// nearest first.
    pub fn look(&mut self, there: &Layer, shows: &Matte, to_there: &Homography) {
        let width = self.region.width();
        let mut pixels = look(there, to_there, self.region);
        let shows = look_at_matte(shows, to_there, self.region, 0.0);
        let both = |i: usize| self.shows[i].min(shows[i]);
        let gains = Gains::fit(width, &self.own, &pixels, both);
        relit(width, &mut pixels, &gains);
        let mut off: Vec<f32> = (0..pixels.len())
            .filter(|&i| both(i) >= 1.0)
            .filter_map(|i| {
                let seen = pixels[i]?;
                Some((self.table.encode(seen[1]) - self.table.encode(self.own[i][1])).abs())
            })
            .collect();
        let middle = off.len() / 2;
        let grain = if off.is_empty() {
            0.0
        } else {
            // The median absolute difference of two frames that both have the grain.
            1.4826 * *off.select_nth_unstable_by(middle, f32::total_cmp).1
        };
        self.grain = self.grain.max(grain);
        let clearance = Clearance::new(width, &shows, self.reach);
        for (i, (pixel, shows)) in pixels.into_iter().zip(shows).enumerate() {
            let Some([r, g, b, _]) = pixel.filter(|_| shows > 0.0) else {
                continue;
            };
            let open = if shows < 1.0 {
                shows
            } else {
                1.0 + clearance.at(i % width, i / width)
            };
            let seen = Seen {
                colour: [r, g, b],
                open,
            };
            self.keep(i, seen);
        }
    }

    /// Keeps a frame's pixel. Where there are enough of them, the last of the least clear ones goes, if that is less clear than this.
    fn keep(&mut self, i: usize, seen: Seen) {
        let mut place = usize::from(self.count[i]);
        if place == MOST {
            let level = |seen: &Seen| clear::level(seen.clear(), self.reach);
            let kept = (0..MOST).map(|at| (level(&self.seen[at][i]), at));
            // The greatest of equal levels is the last frame.
            let Some((least, out)) = kept.max_by_key(|&(level, at)| (std::cmp::Reverse(level), at)) else {
                return;
            };
            if level(&seen) <= least {
                return;
            }
            for at in out..MOST - 1 {
                self.seen[at][i] = self.seen[at + 1][i];
            }
            place = MOST - 1;
        } else {
            self.count[i] += 1;
        }
        if place == self.seen.len() {
            self.seen.push(vec![Seen::NOTHING; self.own.len()]);
        }
        self.seen[place][i] = seen;
    }

    /// A step that was decomposed on its own (background and foreground) with the background that other frames show wherever it
    /// hides it; what no frame shows comes from the `key` frame, if there is one, and stays as the step made it up
    /// otherwise. Both layers stay exact: halves that lay back into the plate, and the plate's bits where there is no effect.
    ///
    /// With a true background the effect itself is known better: it is what the plate lacks against it. An effect that the
    /// model saw and no other frame confirms is given up; one that it missed is taken along where it is
    /// connected to the hole.
    pub fn paint(
        &self,
        taken: &Taken<'_>,
        (background, foreground): (Layer, Layer),
        key: Option<&KeyFrame<'_>>,
    ) -> Step {
        let step = Step {
            background,
            foreground,
            report: Report::new(self.light),
        };
        let known = self.known(&step, key);
        blend::blend(self.region, &self.table, &known, taken, step)
    }

    /// The background, as far as it is known, over the region.
    fn known(&self, step: &Step, key: Option<&KeyFrame<'_>>) -> Known {
        let width = self.region.width();
        let mut known = Known {
            pixels: self.own.clone(),
            real: vec![0.0; self.own.len()],
            made_up: Vec::new(),
        };
        let tolerance = (ALIKE + GRAINY * self.grain).min(UNLIKE);
        known
            .pixels
            .par_chunks_mut(width)
            .zip(known.real.par_chunks_mut(width))
            .enumerate()
            .for_each(|(y, (pixels, real))| {
                let mut votes = Votes::default();
                for (x, (pixel, real)) in pixels.iter_mut().zip(real).enumerate() {
                    (*pixel, *real) = self.merged(y * width + x, tolerance, &mut votes);
                }
            });
        // What is made up has to fit what is known: this frame's own pixels and those of others.
        let around: Vec<Pixel> = (0..self.own.len())
            .map(|i| {
                if self.shows[i] >= 1.0 {
                    self.own[i]
                } else {
                    known.pixels[i]
                }
            })
            .collect();
        let fits = |i: usize| f32::from(self.shows[i] >= 1.0 || known.real[i] >= SURE);
        let (mut made_up, touched) = match key {
            Some(key) => {
                let touched = look_at_matte(&key.touched, &key.to_there, self.region, 0.0);
                (look(key.background, &key.to_there, self.region), touched)
            }
            None => (
                look(&step.background, &Homography::IDENTITY, self.region),
                Vec::new(),
            ),
        };
        let gains = Gains::fit(width, &around, &made_up, fits);
        relit(width, &mut made_up, &gains);
        known.made_up = made_up
            .into_iter()
            .enumerate()
            .map(|(i, pixel)| blend::MadeUp {
                pixel,
                of_key: key.is_some(),
                touched: touched.get(i).is_some_and(|&t| t > 0.5),
            })
            .collect();
        known
    }

    /// The pixel that the frames agree on, and how far it is covered by them. Frames come first in which nothing that hides the background
    /// is near: what is left of a shadow where its end was not seen is the fainter the farther away.
    fn merged(&self, i: usize, tolerance: f32, votes: &mut Votes) -> (Pixel, f32) {
        let seen = || self.seen[..usize::from(self.count[i])].iter().map(|seen| seen[i]);
        votes.count(seen().map(|seen| seen.colour.map(|v| self.table.encode(v))));
        let (mut sum, mut covered) = ([0f32; 3], 0f32);
        'all: for level in (0..=clear::LEVELS).rev() {
            for (seen, &vote) in seen().zip(&votes.given) {
                let shows = seen.open.min(1.0) * clear::share(seen.clear(), level, self.reach);
                if shows <= 0.0 || !votes.agrees(vote, tolerance) {
                    continue;
                }
                let share = (1.0 - covered) * shows;
                for (sum, v) in sum.iter_mut().zip(seen.colour) {
                    *sum += share * v;
                }
                covered += share;
                if covered >= 1.0 {
                    break 'all;
                }
            }
        }
        if covered > 0.0 {
            let [r, g, b] = sum.map(|v| v / covered);
            ([r, g, b, 1.0], covered)
        } else {
            (self.own[i], 0.0)
        }
    }
}

/// A frame whose background was settled first, and which others follow where no frame shows anything.
pub struct KeyFrame<'a> {
    /// Its background.
    pub background: &'a Layer,
    /// 1 where its foreground has any effect.
    pub touched: Matte,
    /// From positions of this frame to positions of the key frame.
    pub to_there: Homography,
}

impl<'a> KeyFrame<'a> {
    /// A key frame's layers.
    pub fn new(background: &'a Layer, foreground: &Layer, to_there: Homography) -> KeyFrame<'a> {
        let touched = Matte::from_fn(foreground.display(), foreground.data(), |x, y| {
            f32::from(foreground.get(x, y) != peel_image::TRANSPARENT)
        });
        KeyFrame {
            background,
            touched,
            to_there,
        }
    }
}

fn relit(width: usize, pixels: &mut [Option<Pixel>], gains: &Gains) {
    pixels
        .par_chunks_mut(width.max(1))
        .enumerate()
        .for_each(|(y, row)| {
            for (x, pixel) in row.iter_mut().enumerate() {
                if let Some([r, g, b, _]) = pixel {
                    let [gr, gg, gb] = gains.at(x, y);
                    (*r, *g, *b) = (*r * gr, *g * gg, *b * gb);
                }
            }
        });
}

/// What the frames say of one pixel, in encoded values.
#[derive(Default)]
struct Votes {
    given: Vec<[f32; 3]>,
    middle: [f32; 3],
    sorted: Vec<f32>,
}

impl Votes {
    fn count(&mut self, votes: impl Iterator<Item = [f32; 3]>) {
        self.given.clear();
        self.given.extend(votes);
        for c in 0..3 {
            self.sorted.clear();
            self.sorted.extend(self.given.iter().map(|vote| vote[c]));
            self.sorted.sort_unstable_by(f32::total_cmp);
            let n = self.sorted.len();
            self.middle[c] = match n {
                0 => 0.0,
                n if n % 2 == 1 => self.sorted[n / 2],
                _ => 0.5 * (self.sorted[n / 2 - 1] + self.sorted[n / 2]),
            };
        }
    }

    /// Whether a vote is one of the majority; where there is none, nobody is believed.
    fn agrees(&self, vote: [f32; 3], tolerance: f32) -> bool {
        let near = |vote: &[f32; 3]| (0..3).all(|c| (vote[c] - self.middle[c]).abs() <= tolerance);
        near(&vote) && 2 * self.given.iter().filter(|vote| near(vote)).count() > self.given.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_with_nothing_near_comes_before_a_nearer_one() {
        let frame = Rect::of_size(200, 40);
        let grey = |v: &(dyn Fn(i32) -> f32 + Sync)| {
            Layer::from_fn(frame, frame, |x, _| {
                let v = v(x);
                [v, v, v, 1.0]
            })
        };
        let shows = |hidden: std::ops::Range<i32>| {
            Matte::from_fn(frame, frame, |x, _| f32::from(!hidden.contains(&x)))
        };
        let here = grey(&|x| if (40..60).contains(&x) { 0.1 } else { 0.5 });
        let mut real = RealPixels::new(&here, &shows(40..60), frame, Light::default(), 2.0);
        // The nearest frame has a shadow at 62 to 80 that goes on, fainter, to 50; of the next it is far away.
        let near = grey(&|x| if (50..62).contains(&x) { 0.49 } else { 0.5 });
        real.look(&near, &shows(62..80), &Homography::IDENTITY);
        let colour = |real: &RealPixels, x: usize| real.merged(20 * 200 + x, 0.03, &mut Votes::default());
        let dark = colour(&real, 56).0[0];
        assert!(dark < 0.497, "{dark}");
        real.look(&grey(&|_| 0.5), &shows(120..140), &Homography::IDENTITY);
        let (pixel, covered) = colour(&real, 56);
        assert!(
            (pixel[0] - 0.5).abs() < 1e-3 && covered == 1.0,
            "{pixel:?} {covered}"
        );
        // As clear in both: the nearest.
        assert!((colour(&real, 30).0[0] - 0.5).abs() < 1e-3);
        // However many nearer ones there are, one that is clear is kept.
        let mut real = RealPixels::new(&here, &shows(40..60), frame, Light::default(), 2.0);
        for _ in 0..MOST + 2 {
            real.look(&near, &shows(62..80), &Homography::IDENTITY);
        }
        real.look(&grey(&|_| 0.5), &shows(120..140), &Homography::IDENTITY);
        assert!((colour(&real, 56).0[0] - 0.5).abs() < 1e-3);
    }

    #[test]
    fn the_majority_is_believed_and_a_tie_is_not() {
        let mut votes = Votes::default();
        let grey = |v: f32| [v; 3];
        votes.count([grey(0.5), grey(0.51), grey(0.9)].into_iter());
        assert!(votes.agrees([0.5; 3], 0.03) && !votes.agrees([0.9; 3], 0.03));
        votes.count([grey(0.2), grey(0.9)].into_iter());
        assert!(!votes.agrees([0.2; 3], 0.03) && !votes.agrees([0.9; 3], 0.03));
        votes.count([grey(0.4)].into_iter());
        assert!(votes.agrees([0.4; 3], 0.03));
    }
}
