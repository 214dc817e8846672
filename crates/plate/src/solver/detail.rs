//! Detail under the object: what the plate has around the hole, above the frequencies that the model paints.
//!
//! The model's picture is right where it is smooth, and blurred where texture should be. Detail has two bands. What is finer
//! than a model pixel the model cannot know: it always comes from matching texture. What is coarser, up to [`BAND`] model
//! pixels, comes from there only where the model's own picture lacks it. Both only as far as the match is good. What the model is plainly
//! wrong about is mended before ([`exemplar`]).

use peel_image::Layer;

use super::exemplar;
use super::texture::{Holed, Matches};
use crate::crop::{Crop, View};
use crate::filters::{box_blur, gaussian, smoothstep};
use crate::light::Table;
use crate::{Plane, Rgb, pushpull};

/// Standard deviation, in model pixels, of the smoothing that divides picture from detail.
const BAND: f32 = 2.0;

/// How much of the band finer than a model pixel is laid on where the match is perfect. It never falls in with what was there,
/// so that each part of it costs fidelity; without it a hole is seen as one.
const GRAIN: f32 = 0.8;

/// How much of the model's own detail is replaced where the match is perfect and the model has none; no more than [`GRAIN`].
const MOST: f32 = 0.65;

/// Detail in the model's own picture of what is hidden, as a share of that around, up to which texture is laid over it, and
/// from which on it is left alone: a model that paints detail knows better than texture from elsewhere, a blurred one
/// does not.
const SHARP: (f32, f32) = (0.4, 0.7);

/// Mean squared difference of matched patches (encoded values) at which detail has faded to 1/e.
const GOOD: f32 = 0.004;

/// How much stronger or weaker texture is made to fit its new surroundings.
const LOUDER: f32 = 2.0;

/// Texture to lay over the base.
pub(crate) struct Detail {
    matches: Matches,
    /// Weight of the texture at each model pixel, 0 to [`GRAIN`].
    weight: Plane,
    /// What the texture is multiplied with to be as strong as what is around the hole.
    gain: Plane,
    /// What has to be taken off a plate pixel to leave its detail.
    below: Rgb,
    /// The same by pixel.
    below_at: Vec<[f32; 4]>,
    /// Where the window's columns and rows lie between the model's.
    columns: Vec<Place>,
    rows: Vec<Place>,
}

impl Detail {
    /// Finds texture for the pixels that are `filled` (above 0), and takes its band out of `base`, so that [`Detail::at`] can be added to it.
    ///
    /// `view` is the plate as the model sees it. `affected` says where an effect changes it: no texture is taken from there. `border` says
    /// what the model's picture does at the border of what is filled: what it painted there may be [mended](exemplar) first.
    pub fn find(
        crop: &Crop,
        view: &View,
        base: &mut Rgb,
        filled: &Plane,
        affected: &[bool],
        border: exemplar::Border,
        seed: u64,
    ) -> Option<Detail> {
        // Pixels that exist, entirely: not mirrored, and not the object or its shadow.
        let existing = |at: usize| {
            let (x, y) = (at % crop.width + 1, at / crop.width + 1);
            x * crop.factor <= crop.inner.width() && y * crop.factor <= crop.inner.height()
        };
        let usable: Vec<bool> = (0..affected.len())
            .map(|at| existing(at) && !affected[at] && filled.values[at] <= 0.0)
            .collect();
        let picture = &view.picture;
        let with_seen = |base: &Rgb| -> Rgb {
            std::array::from_fn(|c| {
                let values =
                    (0..affected.len()).map(|at| if usable[at] { &picture[c] } else { &base[c] }.values[at]);
                Plane {
                    values: values.collect(),
                    ..picture[c]
                }
            })
        };
        let guess = with_seen(base);
        // How much detail belongs in the hole, to go by what is around it: what the model's pixels average away, and what
        // they show of it themselves.
        // The object must not count, hence the guess for what it hides, and weighted means.
        let smooth: Rgb = std::array::from_fn(|c| gaussian(&guess[c], BAND));
        let shown = guess[1].zip(&smooth[1], |v, s| (v - s) * (v - s));
        let known = Plane {
            values: usable.iter().map(|&u| f32::from(u)).collect(),
            ..view.grain
        };
        let square = view
            .grain
            .zip(&shown, |g, s| g * g + s)
            .zip(&known, |square, known| square * known);
        let (sum, weight) = (box_blur(&square, 1), box_blur(&known, 1));
        let amount = sum.zip(&weight, |sum, weight| (sum / weight.max(1e-6)).sqrt());
        let amount = pushpull::fill(&amount, &known);
        let around = box_blur(&shown.zip(&known, |shown, known| shown * known), 1);
        let around = around.zip(&box_blur(&known, 1), |sum, weight| sum / weight.max(1e-6));
        let around = pushpull::fill(&around, &known);
        let holed = Holed {
            picture: &guess,
            grain: &amount,
            hole: filled,
            usable: &usable,
        };
        let doubt = exemplar::doubt(sharpness(&base[1], &around, filled), border);
        exemplar::mend(base, &holed, doubt, seed);
        let guess = with_seen(base);
        let smooth: Rgb = std::array::from_fn(|c| gaussian(&guess[c], BAND));
        let holed = Holed {
            picture: &guess,
            ..holed
        };
        let matches = holed.follow(seed)?;
        let share = sharpness(&base[1], &around, filled);
        let matched = matches.costs.map(|cost| (-cost / GOOD).exp());
        let coarse = MOST * (1.0 - smoothstep(share, SHARP.0, SHARP.1));
        for plane in base.iter_mut() {
            let smooth = gaussian(plane, BAND);
            for (i, v) in plane.values.iter_mut().enumerate() {
                *v -= coarse * matched.values[i] * (*v - smooth.values[i]);
            }
        }
        let weight = matched.map(|m| GRAIN * m);
        // One subtraction for both bands: all of what is finer than a model pixel, and the coarse band's part.
        let part = coarse / GRAIN;
        let below: Rgb =
            std::array::from_fn(|c| guess[c].zip(&smooth[c], |own, smooth| own + (smooth - own) * part));
        // Texture from far away or near by comes weaker or stronger than it is here.
        let gains = (0..amount.values.len()).map(|at| {
            let (dx, dy) = matches.offsets[at];
            let from = at as i64 + i64::from(dy) * crop.width as i64 + i64::from(dx);
            let there = amount.values[from as usize];
            (amount.values[at] / there.max(1e-4)).clamp(1.0 / LOUDER, LOUDER)
        });
        let gain = Plane {
            values: gains.collect(),
            ..amount
        };
        Some(Detail {
            matches,
            weight,
            gain,
            below_at: (0..affected.len())
                .map(|at| [0, 1, 2, 2].map(|c| below[c].values[at]))
                .collect(),
            below,
            columns: places(crop.width, crop.factor),
            rows: places(crop.height, crop.factor),
        })
    }

    /// Weight, gain and what is below the texture, as a card paints from them.
    pub fn planes(&self) -> [&[Plane]; 3] {
        [
            std::slice::from_ref(&self.weight),
            std::slice::from_ref(&self.gain),
            &self.below,
        ]
    }

    /// Columns and rows to the texture of each model pixel, one after the other.
    pub fn offsets(&self) -> Vec<i32> {
        self.matches
            .offsets
            .iter()
            .flat_map(|&(dx, dy)| [dx, dy])
            .collect()
    }

    /// The detail at column `x` and row `y` of the window, in encoded values.
    ///
    /// The four model pixels around have a say each, in proportion to their nearness. Where they agree on where to look, that
    /// is one place. Where they do not, adding texture of several places would even it out; the sum is scaled back to the
    /// strength of one.
    pub fn at(&self, crop: &Crop, plate: &Layer, table: &Table, x: usize, y: usize) -> [f32; 3] {
        let mut voices: [((i32, i32), f32); 4] = [((0, 0), 0.0); 4];
        let mut count = 0;
        let mut strength = 0.0;
        for (at, share) in self.around(x, y) {
            let weight = self.weight.values[at] * share;
            if weight <= 0.0 {
                continue;
            }
            let (offset, weight) = (self.matches.offsets[at], weight * self.gain.values[at]);
            strength += weight;
            match voices[..count].iter_mut().find(|(o, _)| *o == offset) {
                Some((_, w)) => *w += weight,
                None => {
                    voices[count] = (offset, weight);
                    count += 1;
                }
            }
        }
        if count == 0 {
            return [0.0; 3];
        }
        let power = voices[..count].iter().map(|(_, w)| w * w).sum::<f32>().sqrt();
        let mut sum = [0.0; 3];
        for &((dx, dy), weight) in &voices[..count] {
            let own = self.band(crop, plate, table, (x, dx), (y, dy));
            for c in 0..3 {
                sum[c] += weight / power * own[c];
            }
        }
        sum.map(|v| strength * v)
    }

    /// The detail that the plate shows at an offset of whole model pixels.
    #[inline]
    fn band(&self, crop: &Crop, plate: &Layer, table: &Table, x: (usize, i32), y: (usize, i32)) -> [f32; 3] {
        let place = |(at, offset): (usize, i32)| at as i64 + i64::from(offset) * crop.factor as i64;
        let (x, y) = (place(x), place(y));
        if x < 0 || y < 0 || x >= crop.inner.width() as i64 || y >= crop.inner.height() as i64 {
            return [0.0; 3];
        }
        let pixel = plate.get(crop.window.x0 + x as i32, crop.window.y0 + y as i32);
        let mut below = [0.0; 4];
        for (at, share) in self.around(x as usize, y as usize) {
            for (below, value) in below.iter_mut().zip(self.below_at[at]) {
                *below += share * value;
            }
        }
        std::array::from_fn(|c| {
            let own = table.encode(pixel[c]).clamp(0.0, 1.0) - below[c];
            // A highlight or a broken pixel is no texture.
            own.clamp(-0.5, 0.5)
        })
    }

    /// The four model pixels around a pixel of the window, and the share of each (bilinear).
    #[inline]
    fn around(&self, x: usize, y: usize) -> [(usize, f32); 4] {
        let (Place(x0, x1, u), Place(y0, y1, v)) = (self.columns[x], self.rows[y]);
        let (y0, y1) = (y0 * self.weight.width, y1 * self.weight.width);
        [
            (y0 + x0, (1.0 - u) * (1.0 - v)),
            (y0 + x1, u * (1.0 - v)),
            (y1 + x0, (1.0 - u) * v),
            (y1 + x1, u * v),
        ]
    }
}

/// A row or column of the window between two of the model's, and how near it is to the second.
#[derive(Clone, Copy)]
struct Place(usize, usize, f32);

/// Of all `n * factor` rows or columns of a window.
fn places(n: usize, factor: usize) -> Vec<Place> {
    let place = |v: usize| {
        let at = ((v as f32 + 0.5) / factor as f32 - 0.5).clamp(0.0, (n - 1) as f32);
        let first = (at as usize).min(n.saturating_sub(2));
        Place(first, (first + 1).min(n - 1), at - first as f32)
    };
    (0..n * factor).map(place).collect()
}

/// Detail of `base` (one channel) where it is `filled`, as a share of what `around` (mean squares) says there should be.
fn sharpness(base: &Plane, around: &Plane, filled: &Plane) -> f32 {
    let smooth = gaussian(base, BAND);
    let (mut own, mut wanted) = (0.0, 1e-9);
    for (i, &filled) in filled.values.iter().enumerate() {
        if filled > 0.0 {
            own += (base.values[i] - smooth.values[i]).powi(2);
            wanted += around.values[i];
        }
    }
    (own / wanted).sqrt()
}
