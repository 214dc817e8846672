//! A step with a better background: what effect there is against it, and both layers anew.

use peel_image::{Layer, Matte, Pixel, Rect, TRANSPARENT};
use rayon::prelude::*;

use super::seen::SURE;
use crate::filters::{box_blur, smoothstep};
use crate::light::Table;
use crate::region::{self, SOLID, coverage};
use crate::{Plane, Step, exact, f16};

/// Radius of the mean over which plate and background are compared, so that grain is no effect.
const COMPARED: usize = 3;

/// How much of the grain's own differences the threshold stays above.
const QUIET: f32 = 4.0;

/// The least encoded value that a difference is put in proportion to.
const DIM: f32 = 0.1;

/// The gate is fully open at this many times its threshold, as in the solver.
const GATE: f32 = 3.0;

/// Difference of encoded values from which on a pixel under the mask shows the object, and at which it surely does.
const DIFFERS: (f32, f32) = (0.02, 0.1);

/// The least alpha of an effect that only adds light.
const FAINTEST: f32 = 1.0 / 1024.0;

/// The background over a region, by pixel.
pub(super) struct Known {
    /// What other frames show, in this frame's light.
    pub pixels: Vec<Pixel>,
    /// How far it is covered by them, 0 to 1.
    pub real: Vec<f32>,
    /// What is taken where they show nothing.
    pub made_up: Vec<MadeUp>,
}

/// A pixel that no frame shows.
#[derive(Clone, Copy)]
pub(super) struct MadeUp {
    pub pixel: Option<Pixel>,
    /// Whether it is of the key frame, and not this frame's own.
    pub of_key: bool,
    /// Whether the key frame has changed it.
    pub touched: bool,
}

impl Known {
    /// The background at a pixel, where it is better known than by the step itself.
    fn at(&self, i: usize) -> Option<[f32; 3]> {
        let (real, share) = (self.pixels[i], self.real[i]);
        let made_up = self.made_up[i];
        let pixel = match made_up.pixel {
            Some(_) if share <= 0.0 && !made_up.of_key => return None,
            Some(other) => std::array::from_fn(|c| other[c] + (real[c] - other[c]) * share),
            None if share > 0.0 => real,
            None => return None,
        };
        Some([pixel[0], pixel[1], pixel[2]])
    }

    /// Whether it is known well enough to find an effect by that the step has not seen.
    fn tells(&self, i: usize) -> bool {
        self.real[i] >= SURE || self.made_up[i].touched
    }
}

/// What a step took apart, and how.
#[derive(Clone, Copy)]
pub struct Taken<'a> {
    /// The plate of the step: the frame without the objects before it.
    pub plate: &'a Layer,
    /// The object's mask.
    pub mask: &'a Matte,
    /// How far in pixels the hole reaches past the mask ([`reach`](super::reach)).
    pub reach: f32,
    /// The weakest effect that is taken off, as alpha.
    pub effect_threshold: f32,
}

/// Sets `known` into a step; see [`RealPixels::paint`](super::RealPixels::paint).
pub(super) fn blend(region: Rect, table: &Table, known: &Known, taken: &Taken<'_>, step: Step) -> Step {
    let &Taken {
        plate,
        mask,
        reach,
        effect_threshold,
    } = taken;
    let (width, height) = (region.width(), region.height());
    let place = |i: usize| (region.x0 + (i % width) as i32, region.y0 + (i / width) as i32);
    let matte = Plane::from_fn(width, height, |x, y| {
        coverage(mask.get(region.x0 + x as i32, region.y0 + y as i32))
    });
    let near = region::distance(&matte, SOLID, reach.ceil() as usize);
    let fade = (0.4 * reach).max(1.0);
    let hole = near.map(|d| ((reach + 0.5 - d) / fade).clamp(0.0, 1.0));
    let affected = |i: usize| {
        let (x, y) = place(i);
        step.foreground.get(x, y) != TRANSPARENT
    };
    let strength = strength(table, known, plate, region, &hole, &affected);
    let gate = gate(&strength, &hole, &affected, known, effect_threshold);

    let mut background = step.background;
    let mut foreground = Layer::new(plate.display(), region.union(step.foreground.data()))
        .with_pixel_aspect(plate.pixel_aspect());
    copy(&step.foreground, &mut foreground);
    let pixels: Vec<Option<(Pixel, Pixel)>> = (0..width * height)
        .into_par_iter()
        .map(|i| {
            let (x, y) = place(i);
            let (seen, front) = (plate.get(x, y), foreground.get(x, y));
            let inside = hole.values[i];
            let outside = front == TRANSPARENT && gate[i] <= 0.0 && inside <= 0.0;
            if outside || !exact::is_finite(seen) || seen[3] < 1.0 {
                return None;
            }
            let clean = known.at(i)?;
            let share = inside.max(gate[i]);
            let colour: [f32; 3] = std::array::from_fn(|c| seen[c] + (clean[c] - seen[c]) * share);
            // What the plate lacks against the background.
            let lacks = (0..3).fold(0f32, |most, c| most.max(1.0 - seen[c] / colour[c].max(1e-6)));
            let alpha = if matte.values[i] > SOLID {
                // Where plate and background differ, the mask tells how much of the pixel is object.
                let differs = (0..3).fold(0f32, |most, c| {
                    most.max((table.encode(seen[c]) - table.encode(colour[c])).abs())
                });
                front[3].max(matte.values[i] * smoothstep(differs, DIFFERS.0, DIFFERS.1))
            } else {
                lacks.max(front[3] * inside)
            };
            let alpha = alpha.max(FAINTEST * share);
            Some(if share > 0.0 {
                exact::split(seen, colour, alpha)
            } else {
                (seen, TRANSPARENT)
            })
        })
        .collect();
    for (i, pixel) in pixels.into_iter().enumerate() {
        if let Some((below, above)) = pixel {
            let (x, y) = place(i);
            let at = |layer: &Layer| (x - layer.data().x0) as usize;
            let column = at(&background);
            background.row_mut(y)[column] = below;
            let column = at(&foreground);
            foreground.row_mut(y)[column] = above;
        }
    }
    let mut report = step.report;
    report.reach = report.reach.max(reach);
    (report.affected, report.recomposition_max) = examine(plate, &background, &foreground);
    let foreground = foreground.crop(foreground.tight_window());
    Step {
        background,
        foreground,
        report,
    }
}

/// How much the plate differs from the known background, smoothed, in proportion to it; 0 where nothing is known.
fn strength(
    table: &Table,
    known: &Known,
    plate: &Layer,
    region: Rect,
    hole: &Plane,
    affected: &(dyn Fn(usize) -> bool + Sync),
) -> Plane {
    let (width, height) = hole.size();
    let counts = Plane::from_fn(width, height, |x, y| {
        let i = y * width + x;
        let finite = exact::is_finite(plate.get(region.x0 + x as i32, region.y0 + y as i32));
        // At the hole's edge, where it fades, a shadow goes on.
        let compared = finite && hole.values[i] < 1.0 && (known.tells(i) || affected(i));
        f32::from(compared && known.at(i).is_some())
    });
    let weight = box_blur(&counts, COMPARED);
    let differences: [Plane; 3] = std::array::from_fn(|c| {
        let difference = Plane::from_fn(width, height, |x, y| {
            let i = y * width + x;
            let clean = known.at(i).filter(|_| counts.values[i] > 0.0);
            clean.map_or(0.0, |clean| {
                let seen = plate.get(region.x0 + x as i32, region.y0 + y as i32)[c];
                let clean = table.encode(clean[c]);
                (table.encode(seen) - clean) / clean.max(DIM)
            })
        });
        box_blur(&difference, COMPARED)
    });
    Plane::from_fn(width, height, |x, y| {
        let i = y * width + x;
        if counts.values[i] <= 0.0 {
            return 0.0;
        }
        differences.iter().fold(0.0, |most: f32, d| {
            most.max((d.values[i] / weight.values[i]).abs())
        })
    })
}

/// How far each pixel outside the hole is effect, 0 to 1: where the strength says so, connected to the hole or to what the
/// step has found.
fn gate(
    strength: &Plane,
    hole: &Plane,
    affected: &(dyn Fn(usize) -> bool + Sync),
    known: &Known,
    threshold: f32,
) -> Vec<f32> {
    // Grain that does not go away in the mean, or a background that moves, raises the threshold.
    let mut still: Vec<f32> = (0..strength.values.len())
        .filter(|&i| hole.values[i] <= 0.0 && known.tells(i) && !affected(i))
        .map(|i| strength.values[i])
        .collect();
    let middle = still.len() / 2;
    let quiet = if still.is_empty() {
        0.0
    } else {
        QUIET * *still.select_nth_unstable_by(middle, f32::total_cmp).1
    };
    let threshold = threshold.max(quiet);
    let seeds: Vec<bool> = (0..hole.values.len()).map(|i| hole.values[i] > 0.0).collect();
    let candidates: Vec<bool> = (0..hole.values.len())
        .map(|i| {
            // Where nothing is known, the step's word counts.
            strength.values[i] > threshold || affected(i) && known.at(i).is_none()
        })
        .collect();
    let kept = region::connected(&candidates, &seeds, strength.width);
    (0..kept.len())
        .map(|i| {
            if kept[i] {
                smoothstep(strength.values[i], threshold, GATE * threshold)
            } else {
                0.0
            }
        })
        .collect()
}

fn copy(from: &Layer, to: &mut Layer) {
    let data = from.data();
    for y in data.y0..data.y1 {
        let start = (data.x0 - to.data().x0) as usize;
        to.row_mut(y)[start..start + data.width()].copy_from_slice(from.row(y));
    }
}

/// Pixels with any foreground, and the largest difference between plate and layers laid back, in half.
fn examine(plate: &Layer, background: &Layer, foreground: &Layer) -> (u64, f32) {
    let data = foreground.data();
    let (mut affected, mut most) = (0, 0f32);
    for y in data.y0..data.y1 {
        for (x, front) in (data.x0..).zip(foreground.row(y)) {
            if *front == TRANSPARENT {
                continue;
            }
            affected += 1;
            let (below, target) = (background.get(x, y), plate.get(x, y));
            for c in 0..4 {
                let over = f16::round(front[c] + (1.0 - front[3]) * below[c]);
                most = most.max((over - f16::round(target[c])).abs());
            }
        }
    }
    (affected, most)
}
