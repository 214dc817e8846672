//! The camera's motion between two frames, from the background alone.
//!
//! Direct alignment over a pyramid: a search over shifts where the pictures are smallest, then Gauss-Newton from level to
//! level ([`descent`](super::descent)). What either frame hides has no say; what moves on its own is put aside as outliers.

use peel_image::{Layer, Matte};
use rayon::prelude::*;

use super::Homography;
use super::descent::{Fit, Freedom, descend};
use crate::filters::gaussian;
use crate::{Plane, exact};

/// Pixels on the long side of the largest pictures that are compared. Positions come out to a few hundredths of these.
const LARGEST: usize = 1280;

/// Pixels on the long side at which the pyramid ends.
const SMALLEST: usize = 40;

/// Smoothing of each level, in its pixels, so that gradients are of the picture and not of its grain.
const SMOOTHING: f32 = 0.8;

/// Linear light added before the logarithm: below it differences are noise.
const DIM: f32 = 0.02;

/// How far the search over shifts goes, in parts of the picture's side.
const SEARCH: f64 = 0.4;

/// The least share of the picture that both frames must show, during the search and at the end.
const OVERLAP: f64 = 0.15;

/// The least correlation, over what both show, of a registration that is believed.
const BELIEVED: f64 = 0.6;

/// A picture to align: log light, and how far each pixel counts.
pub(super) struct Level {
    /// Base-2 logarithm of luminance and a little: a change of exposure is an offset, but for what is dark.
    pub light: Plane,
    /// 1 where the frame shows the background, 0 where it does not.
    pub shows: Plane,
}

impl Level {
    /// The level as it would be with so many stops more light.
    fn exposed(&self, stops: f32) -> Level {
        let gain = stops.exp2();
        Level {
            light: self
                .light
                .map(|v| (gain * (v.exp2() - DIM).max(0.0) + DIM).log2()),
            shows: self.shows.clone(),
        }
    }
}

/// The map from positions in `here` to where the same background lies in `there`; `None` where there is too little that
/// both show, or too little structure in it, to be sure.
///
/// `here_shows` and `there_shows` are 1 where the frames show the background ([`visibility`](super::visibility)). Both
/// frames have the same size. Shifts up to two fifths of the frame and turns of about ten degrees are found;
/// differences of exposure do not matter.
pub fn register(here: &Layer, here_shows: &Matte, there: &Layer, there_shows: &Matte) -> Option<Homography> {
    let data = here.data();
    if data != there.data() || data.is_empty() {
        return None;
    }
    let factor = data.width().max(data.height()).div_ceil(LARGEST);
    let (here, there) = (
        pyramid(here, here_shows, factor),
        pyramid(there, there_shows, factor),
    );
    let mut levels = here.iter().zip(&there).rev();
    let (small_here, small_there) = levels.next()?;
    // The search may be deceived where the picture repeats itself, so that standing still is always tried too.
    let starts = [search(small_here, small_there), Homography::IDENTITY];
    let fits = starts.map(|start| descend(small_here, small_there, start, Freedom::Affine));
    let better = fits
        .into_iter()
        .flatten()
        .reduce(|a, b| if b.correlation > a.correlation { b } else { a });
    // Where the smallest pictures show too little, the search has the word.
    let mut map = better.as_ref().map_or(starts[0], |fit| fit.map);
    let mut exposure = better.as_ref().map_or(0.0, |fit| fit.exposure);
    let mut fit = better;
    for (here, there) in levels {
        let small = here.light.width.max(here.light.height) < 100;
        let freedom = if small {
            Freedom::Affine
        } else {
            Freedom::Projective
        };
        map = map.scaled(2.0);
        // In the same light, as far as it is known: an offset of logarithms is not all of it.
        fit = descend(here, &there.exposed(-exposure), map, freedom);
        if let Some(fit) = &fit {
            map = fit.map;
            exposure += fit.exposure;
        }
    }
    let fit: Fit = fit?;
    if fit.correlation < BELIEVED || fit.overlap < OVERLAP {
        return None;
    }
    // From the largest level to the plate, and from its window's corner to the frame's origin.
    let map = fit.map.scaled(factor as f64);
    let (x, y) = (f64::from(data.x0), f64::from(data.y0));
    Some(
        Homography::translate(x, y)
            .after(&map)
            .after(&Homography::translate(-x, -y)),
    )
}

/// The picture at ever smaller sizes, largest first; each level is half of the one before.
fn pyramid(layer: &Layer, shows: &Matte, factor: usize) -> Vec<Level> {
    let mut level = shrink(layer, shows, factor);
    let mut levels = Vec::new();
    while level.light.width.max(level.light.height) >= 2 * SMALLEST {
        let next = Level {
            light: halve(&level.light, |cells| 0.25 * cells.iter().sum::<f32>()),
            // A cell that any hidden pixel has a share in is hidden.
            shows: halve(&level.shows, |cells| cells.into_iter().fold(1.0, f32::min)),
        };
        levels.push(smoothed(level));
        level = next;
    }
    levels.push(smoothed(level));
    levels
}

fn smoothed(level: Level) -> Level {
    Level {
        light: gaussian(&level.light, SMOOTHING),
        shows: level.shows,
    }
}

/// Log luminance of means over `factor` x `factor` pixels.
fn shrink(layer: &Layer, shows: &Matte, factor: usize) -> Level {
    let data = layer.data();
    let (width, height) = (data.width() / factor, data.height() / factor);
    let mut light = Plane::filled(width, height, 0.0);
    let mut seen = Plane::filled(width, height, 0.0);
    let rows = light
        .values
        .par_chunks_mut(width.max(1))
        .zip(seen.values.par_chunks_mut(width.max(1)));
    rows.enumerate().for_each(|(y, (light, seen))| {
        for (x, (light, seen)) in light.iter_mut().zip(seen).enumerate() {
            let (mut sum, mut count, mut shown) = (0.0, 0.0, 1f32);
            for cell in 0..factor * factor {
                let (column, row) = (x * factor + cell % factor, y * factor + cell / factor);
                let at = (data.x0 + column as i32, data.y0 + row as i32);
                let pixel = layer.get(at.0, at.1);
                if exact::is_finite(pixel) {
                    sum += 0.2126 * pixel[0] + 0.7152 * pixel[1] + 0.0722 * pixel[2];
                    count += 1.0;
                    shown = shown.min(shows.get(at.0, at.1));
                } else {
                    shown = 0.0;
                }
            }
            let mean: f32 = if count > 0.0 { sum / count } else { 0.0 };
            *light = (mean.max(0.0) + DIM).log2();
            *seen = f32::from(shown >= 1.0);
        }
    });
    Level { light, shows: seen }
}

/// A plane of half the size; an odd last row or column is left out, so that positions stay where they are.
fn halve(plane: &Plane, join: impl Fn([f32; 4]) -> f32 + Sync) -> Plane {
    Plane::from_fn(plane.width / 2, plane.height / 2, |x, y| {
        let (x, y) = (2 * x, 2 * y);
        join([
            plane.at(x, y),
            plane.at(x + 1, y),
            plane.at(x, y + 1),
            plane.at(x + 1, y + 1),
        ])
    })
}

/// The shift by whole pixels after which two small pictures are most alike.
fn search(here: &Level, there: &Level) -> Homography {
    let (width, height) = here.light.size();
    let reach = |n: usize| (SEARCH * n as f64) as isize;
    let shifts: Vec<(isize, isize)> = (-reach(height)..=reach(height))
        .flat_map(|dy| (-reach(width)..=reach(width)).map(move |dx| (dx, dy)))
        .collect();
    let least = OVERLAP * here.shows.values.iter().map(|&s| f64::from(s)).sum::<f64>();
    let costs: Vec<f64> = shifts
        .par_iter()
        .map(|&(dx, dy)| difference(here, there, dx, dy, least))
        .collect();
    let best = (0..shifts.len()).min_by(|&a, &b| {
        // Of shifts that are as good, the shorter one.
        let length = |i: usize| shifts[i].0.pow(2) + shifts[i].1.pow(2);
        costs[a].total_cmp(&costs[b]).then(length(a).cmp(&length(b)))
    });
    best.map_or(Homography::IDENTITY, |i| {
        Homography::translate(shifts[i].0 as f64, shifts[i].1 as f64)
    })
}

/// One minus the correlation of two pictures, one of them shifted, over what both show; infinite where that is too little.
fn difference(here: &Level, there: &Level, dx: isize, dy: isize, least: f64) -> f64 {
    let (width, height) = (here.light.width as isize, here.light.height as isize);
    let mut sums = Sums::default();
    for y in 0.max(-dy)..height.min(height - dy) {
        for x in 0.max(-dx)..width.min(width - dx) {
            let (a, b) = ((x as usize, y as usize), ((x + dx) as usize, (y + dy) as usize));
            let weight = here.shows.at(a.0, a.1) * there.shows.at(b.0, b.1);
            if weight > 0.0 {
                sums.add(
                    f64::from(weight),
                    here.light.at(a.0, a.1).into(),
                    there.light.at(b.0, b.1).into(),
                );
            }
        }
    }
    if sums.weight < least {
        f64::INFINITY
    } else {
        1.0 - sums.correlation()
    }
}

/// Weighted sums of two variables.
#[derive(Clone, Copy, Default)]
pub(super) struct Sums {
    pub weight: f64,
    a: f64,
    b: f64,
    aa: f64,
    bb: f64,
    ab: f64,
}

impl Sums {
    pub fn add(&mut self, weight: f64, a: f64, b: f64) {
        self.weight += weight;
        self.a += weight * a;
        self.b += weight * b;
        self.aa += weight * a * a;
        self.bb += weight * b * b;
        self.ab += weight * a * b;
    }

    /// Pearson's correlation; 0 where either variable is a constant.
    pub fn correlation(&self) -> f64 {
        if self.weight <= 0.0 {
            return 0.0;
        }
        let mean = |v: f64| v / self.weight;
        let (a, b) = (mean(self.a), mean(self.b));
        let (va, vb) = (mean(self.aa) - a * a, mean(self.bb) - b * b);
        // Less than a thousandth of a stop is no structure.
        if va < 1e-6 || vb < 1e-6 {
            0.0
        } else {
            (mean(self.ab) - a * b) / (va * vb).sqrt()
        }
    }
}
