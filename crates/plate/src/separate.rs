//! Object and effect apart: a step's foreground as two layers.

use peel_image::{Layer, Matte, Pixel, TRANSPARENT};
use rayon::prelude::*;

use crate::exact::{self, Laid};
use crate::region::{self, coverage};
use crate::{Error, Plane, Result, Step, f16, pushpull};

/// The weakest effect that is continued under an object, as alpha.
const LEAST: f32 = 1.0 / 256.0;

/// Linear light that keeps the ratio of two dark values finite.
const DARK: f32 = 1.0 / 1024.0;

/// The brightest effect that is continued under an object, as a multiple of the background.
const BRIGHTEST: f32 = 4.0;

/// A step's foreground as two layers.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The object without shadow and reflection.
    pub object: Layer,
    /// Shadow and reflection, which go on under the object.
    pub effect: Layer,
}

/// Takes the foreground of a step apart into the object and its effect: `object` over `effect` over the step's background is
/// the plate, exactly, after rounding to half. Where there is no object, `effect` is the foreground, bit for bit.
///
/// `plate` and `matte` are those that [`peel_one`](crate::peel_one) was given. Under the object and at its soft edge, nobody
/// sees the effect; there it goes on smoothly from what is around it, in alpha and in what each channel lets through.
/// Where that is next to nothing, and where the plate is not opaque, the object is the whole foreground.
pub fn separate(plate: &Layer, step: &Step, matte: &Matte) -> Result<Parts> {
    if plate.display() != matte.display() {
        return Err(Error::SizeMismatch {
            plate: plate.display(),
            matte: matte.display(),
        });
    }
    let window = step.foreground.data();
    let new = || Layer::new(plate.display(), window).with_pixel_aspect(plate.pixel_aspect());
    let (mut object, mut effect) = (new(), new());
    if window.is_empty() {
        return Ok(Parts { object, effect });
    }
    let hidden = Hidden::new(plate, step, matte);
    let width = window.width();
    object
        .pixels_mut()
        .par_chunks_mut(width)
        .zip(effect.pixels_mut().par_chunks_mut(width))
        .enumerate()
        .for_each(|(row, (objects, effects))| {
            let y = window.y0 + row as i32;
            for (column, &front) in step.foreground.row(y).iter().enumerate() {
                if front == TRANSPARENT {
                    continue;
                }
                let x = window.x0 + column as i32;
                (objects[column], effects[column]) = match hidden.at(column, row) {
                    None => (TRANSPARENT, front),
                    Some(under) => divide(plate.get(x, y), step.background.get(x, y), front, under),
                };
            }
        });
    let tight = |layer: Layer| layer.crop(layer.tight_window());
    Ok(Parts {
        object: tight(object),
        effect: tight(effect),
    })
}

/// The effect at one pixel that the object hides.
#[derive(Clone, Copy)]
struct Under {
    alpha: f32,
    /// The background's linear light with the effect over it, per channel, as a multiple of that without it.
    ratio: [f32; 3],
}

/// The effect behind the object, in cells of a few pixels.
struct Hidden {
    /// Distance from the matte; the object reaches to `reach`.
    near: Plane,
    reach: f32,
    cell: usize,
    /// Alpha, then the ratio of each channel.
    planes: [Plane; 4],
}

impl Hidden {
    fn new(plate: &Layer, step: &Step, matte: &Matte) -> Hidden {
        let window = step.foreground.data();
        let place = |x: usize, y: usize| (window.x0 + x as i32, window.y0 + y as i32);
        let covered = Plane::from_fn(window.width(), window.height(), |x, y| {
            let (x, y) = place(x, y);
            coverage(matte.get(x, y))
        });
        let reach = step.report.reach;
        let near = region::distance(&covered, region::SOLID, reach.ceil() as usize);
        let cell = (reach / 2.0).ceil().max(1.0) as usize;
        let (columns, rows) = (window.width().div_ceil(cell), window.height().div_ceil(cell));
        // Sums of alpha and ratios over the pixels of each cell that the object leaves alone, and their number.
        let sums: Vec<[f32; 5]> = (0..columns * rows)
            .into_par_iter()
            .map(|at| {
                let (left, top) = (at % columns * cell, at / columns * cell);
                let mut sum = [0.0; 5];
                for y in top..(top + cell).min(window.height()) {
                    for x in left..(left + cell).min(window.width()) {
                        if near.at(x, y) > reach {
                            let (x, y) = place(x, y);
                            let seen = observed(
                                plate.get(x, y),
                                step.background.get(x, y),
                                step.foreground.get(x, y),
                            );
                            sum.iter_mut().zip(seen).for_each(|(sum, v)| *sum += v);
                        }
                    }
                }
                sum
            })
            .collect();
        let plane = |f: &dyn Fn(&[f32; 5]) -> f32| Plane {
            width: columns,
            height: rows,
            values: sums.iter().map(f).collect(),
        };
        let known = plane(&|sum| f32::from(sum[4] > 0.0));
        let planes = std::array::from_fn(|k| {
            pushpull::fill(
                &plane(&|sum| if sum[4] > 0.0 { sum[k] / sum[4] } else { 0.0 }),
                &known,
            )
        });
        Hidden {
            near,
            reach,
            cell,
            planes,
        }
    }

    /// The effect at a pixel of the window that the object may hide; `None` outside it.
    fn at(&self, x: usize, y: usize) -> Option<Under> {
        if self.near.at(x, y) > self.reach {
            return None;
        }
        let place = |v: usize| (v as f32 + 0.5) / self.cell as f32 - 0.5;
        let (u, v) = (place(x), place(y));
        let (left, top) = (u.floor(), v.floor());
        let (u, v) = (u - left, v - top);
        let sample = |plane: &Plane| {
            let at = |dx: isize, dy: isize| plane.clamped(left as isize + dx, top as isize + dy);
            (at(0, 0) * (1.0 - u) + at(1, 0) * u) * (1.0 - v) + (at(0, 1) * (1.0 - u) + at(1, 1) * u) * v
        };
        let [alpha, ratio @ ..] = &self.planes;
        Some(Under {
            alpha: sample(alpha),
            ratio: std::array::from_fn(|c| sample(&ratio[c])),
        })
    }
}

/// Alpha, ratio of the plate to the background per channel, and 1, where they are numbers; else zeros.
fn observed(plate: Pixel, background: Pixel, front: Pixel) -> [f32; 5] {
    if !exact::is_finite(plate) {
        return [0.0; 5];
    }
    let ratio = |c: usize| {
        let of = |v: f32| v.max(0.0) + DARK;
        (of(plate[c]) / of(background[c])).min(BRIGHTEST)
    };
    let ratios = if front == TRANSPARENT {
        [1.0; 3]
    } else {
        std::array::from_fn(ratio)
    };
    [front[3], ratios[0], ratios[1], ratios[2], 1.0]
}

/// Object and effect at a pixel whose foreground holds both.
fn divide(plate: Pixel, background: Pixel, front: Pixel, under: Under) -> (Pixel, Pixel) {
    let whole = (front, TRANSPARENT);
    let target = exact::round(plate);
    let alpha = under.alpha.min(front[3]);
    let bright = under.ratio.iter().any(|r| *r > 1.0 + LEAST);
    if alpha < LEAST && !bright || target[3] != 1.0 || exact::round(background) != background {
        return whole;
    }
    // What would be seen if the object alone were gone.
    let behind: Pixel = std::array::from_fn(|c| match c {
        3 => background[3],
        c => f16::round((background[c] * under.ratio[c]).clamp(-f16::MAX, f16::MAX)),
    });
    let Some((effect, laid)) = exact::solve(behind, &Laid::bottom(background), alpha.max(LEAST)) else {
        return whole;
    };
    if laid.rounds_to(target) {
        return (TRANSPARENT, effect);
    }
    // Both together let through what the foreground does.
    let object = 1.0 - (1.0 - front[3]) / (1.0 - effect[3]).max(f32::MIN_POSITIVE);
    if object < LEAST {
        // All that is seen here is effect, if not quite as it was continued.
        return (TRANSPARENT, front);
    }
    match exact::solve(target, &laid, object) {
        Some((object, _)) => (object, effect),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use peel_image::Rect;

    use super::*;
    use crate::solver::noise::Noise;

    #[test]
    fn any_pixel_divides_exactly() {
        let mut noise = Noise::new(5);
        let mut both = 0;
        for _ in 0..200_000 {
            let mut wild = || match noise.below(6) {
                0 => noise.unit() * 60_000.0,
                1 => -noise.unit(),
                2 => 0.0,
                _ => noise.unit(),
            };
            let plate = [wild(), wild(), wild(), 1.0];
            let clean = [wild(), wild(), wild()];
            let ratio = [noise.unit() * 1.2, noise.unit(), noise.unit()];
            let (background, front) = exact::split(plate, clean, noise.unit());
            if front == TRANSPARENT {
                continue;
            }
            let under = Under {
                alpha: noise.unit(),
                ratio,
            };
            let (object, effect) = divide(plate, background, front, under);
            both += usize::from(object != TRANSPARENT && effect != TRANSPARENT);
            let layers = [effect, object].into_iter().filter(|l| *l != TRANSPARENT);
            let laid = layers.fold(Laid::bottom(background), |below, layer| below.over(layer));
            assert!(
                laid.rounds_to(exact::round(plate)),
                "{plate:?}: {object:?} over {effect:?} over {background:?}"
            );
            for layer in [object, effect] {
                assert_eq!(exact::round(layer), layer);
                assert!((0..3).all(|c| layer[c] >= 0.0 || plate[c] < 0.0 || background[c] < 0.0));
            }
        }
        assert!(both > 100_000, "only {both} of 200000 pixels hold both");
    }

    #[test]
    fn nothing_has_no_parts() {
        let frame = Rect::of_size(8, 8);
        let plate = Layer::from_fn(frame, frame, |_, _| [0.2, 0.3, 0.4, 1.0]);
        let step = Step {
            background: plate.clone(),
            foreground: Layer::new(frame, Rect::EMPTY),
            report: crate::Report::new(crate::Light::default()),
        };
        let parts = separate(&plate, &step, &Matte::new(frame, frame)).unwrap();
        assert!(parts.object.data().is_empty() && parts.effect.data().is_empty());
    }
}
