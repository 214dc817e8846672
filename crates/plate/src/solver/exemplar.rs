//! A fill from around the hole where the model's own picture is the worse guess.
//!
//! A small model leaves a haze where it does not know what lies under a large object, or a ghost of the object itself. Patches from
//! around the hole go on with what is there, borders included, but sometimes with the wrong thing. Which of the two to believe
//! is told by a third, the smooth continuation of what is around the hole: it has no detail, but is seldom far off.

use super::texture::Holed;
use crate::filters::{gaussian, smoothstep};
use crate::{Plane, Rgb, pushpull, region};

/// The most that the fill replaces: the rest keeps a border between two fills from showing.
const MOST: f32 = 0.9;

/// The model's squared distance from the smooth continuation, as a share of its own and the fill's together, from which on the
/// fill is taken, and at which it is taken whole.
const NEARER: (f32, f32) = (0.15, 0.45);

/// Squared distance (encoded, all channels) from the smooth continuation at which belief in the fill has faded to 1/e.
const FAR: f32 = 0.03;

/// Squared distance below which neither is any nearer.
const EQUAL: f32 = 1e-4;

/// Standard deviation, in model pixels, of the smoothing before pictures are compared, and of the neighbourhood in which they are.
const SMOOTH: f32 = 2.0;
const NEIGHBOURHOOD: f32 = 6.0;

/// Detail in the model's picture, as a share of that around, up to which it is a haze, and from which on it is none.
const HAZE: (f32, f32) = (0.4, 0.7);

/// The same from which on it may be a ghost. It is one if the model misses the plate at the hole's border, by this much (root mean
/// square, encoded) or more, or if the hole's outline shows in it, so clearly ([`Border::outline`]): a model that meets the plate there and goes on
/// from it knows what goes on. Of 53 true backgrounds none shows its hole more clearly than 6, ghosts
/// of the sample shot's bear show it by 38 to 125, but where the ball lies over its border (3: there the miss tells).
const GHOST: (f32, f32) = (0.7, 1.0);
const MISSES: (f32, f32) = (0.0048, 0.006);
const SHOWS: (f32, f32) = (8.0, 24.0);

/// Width of a ring in model pixels, the share of a pixel's surroundings that has to belong to a ring, and a squared step that nobody sees.
const RING: f32 = 4.0;
const SEEN: f32 = 0.1;
const LEAST: f32 = 1e-6;

/// What the model's picture does at the border of the hole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Border {
    /// By how much it misses the plate there: see [`misfit`].
    pub misfit: f32,
    /// How clearly the hole's outline shows in it: see [`outline`].
    pub outline: f32,
}

impl Border {
    /// Of a model's `background` of a `picture`, both encoded at the model's size, where `filled` (above 0) is the hole and `affected` says what an effect changes.
    pub fn of(picture: &Rgb, background: &Rgb, filled: &Plane, affected: &[bool]) -> Self {
        Self {
            misfit: misfit(picture, background, filled, affected),
            outline: outline(picture, background, filled, affected),
        }
    }
}

/// How far a model's picture may be doubted, 0 to 1: by its detail as a share of that around ([`HAZE`], [`GHOST`]), and by what it does at
/// the hole's border.
pub(super) fn doubt(sharpness: f32, border: Border) -> f32 {
    let haze = 1.0 - smoothstep(sharpness, HAZE.0, HAZE.1);
    let misses = smoothstep(border.misfit, MISSES.0, MISSES.1);
    let shows = smoothstep(border.outline, SHOWS.0, SHOWS.1);
    haze.max(smoothstep(sharpness, GHOST.0, GHOST.1) * misses.max(shows))
}

/// Root mean square difference of plate and model along the border of the hole (`filled` above 0), outside it and outside all effects;
/// infinite where the border shows nothing.
fn misfit(picture: &Rgb, background: &Rgb, filled: &Plane, affected: &[bool]) -> f32 {
    let near = region::distance(filled, 0.0, 1);
    let (mut sum, mut count) = (0.0, 0.0f32);
    for (i, _) in near
        .values
        .iter()
        .enumerate()
        .filter(|&(i, &d)| d > 0.0 && d < 1.5 && !affected[i])
    {
        for (seen, model) in picture.iter().zip(background) {
            sum += (seen.values[i] - model.values[i]).powi(2);
            count += 1.0;
        }
    }
    if count > 0.0 {
        (sum / count).sqrt()
    } else {
        f32::INFINITY
    }
}

/// How clearly the outline of the hole (`filled` above 0) shows in the model's picture: the squared step from what is seen just outside it, free of
/// effects, to what the model paints just inside, as a share of the step between two rings outside. About 1 where one goes on as the other.
fn outline(picture: &Rgb, background: &Rgb, filled: &Plane, affected: &[bool]) -> f32 {
    let away = region::distance(filled, 0.0, 2 * RING as usize);
    let ring = |from: f32, to: f32| Plane {
        values: (away.values.iter().zip(affected))
            .map(|(&d, &affected)| f32::from(d > from && d <= to && !affected))
            .collect(),
        ..away
    };
    let inside = filled.map(|f| f32::from(f > 0.0));
    let (near, far) = (ring(0.0, RING), ring(RING, 2.0 * RING));
    let step = |(a, of_a): (&Plane, &Rgb), (b, of_b): (&Plane, &Rgb), at: f32| {
        let (weight_a, weight_b) = (gaussian(a, SMOOTH), gaussian(b, SMOOTH));
        let (mut sum, mut count) = (0.0, 0.0f32);
        for (of_a, of_b) in of_a.iter().zip(of_b) {
            let mean_a = gaussian(&of_a.zip(a, |v, w| v * w), SMOOTH);
            let mean_b = gaussian(&of_b.zip(b, |v, w| v * w), SMOOTH);
            for (i, &d) in away.values.iter().enumerate() {
                let (wa, wb) = (weight_a.values[i], weight_b.values[i]);
                if (d - at).abs() <= 0.5 && wa.min(wb) > SEEN {
                    sum += (mean_a.values[i] / wa - mean_b.values[i] / wb).powi(2);
                    count += 1.0;
                }
            }
        }
        sum / count.max(1.0)
    };
    let across = step((&inside, background), (&near, picture), 1.0);
    let beside = step((&near, picture), (&far, picture), RING);
    (across + LEAST) / (beside + LEAST)
}

/// Replaces what is hidden in `base` (encoded, the model's size) by a fill from around it, as far as that is the better guess and
/// `doubt` (0 to 1) allows.
///
/// `holed` holds the same picture, with what is seen outside the hole.
pub(super) fn mend(base: &mut Rgb, holed: &Holed<'_>, doubt: f32, seed: u64) {
    if doubt <= 0.0 {
        return;
    }
    let seen = holed.hole.map(|h| f32::from(h <= 0.0));
    let smooth: Rgb = std::array::from_fn(|c| pushpull::fill(&holed.picture[c], &seen));
    let Some(fill) = (Holed {
        picture: &smooth,
        ..*holed
    })
    .fill(seed) else {
        return;
    };
    let inside = seen.map(|s| 1.0 - s);
    let weight = gaussian(&inside, NEIGHBOURHOOD);
    let apart = |of: &Rgb| {
        let off: Rgb = std::array::from_fn(|c| gaussian(&of[c].zip(&smooth[c], |a, b| a - b), SMOOTH));
        let square = off[0]
            .zip(&off[1], |a, b| a * a + b * b)
            .zip(&off[2], |s, c| s + c * c);
        let sum = gaussian(&square.zip(&inside, |s, i| s * i), NEIGHBOURHOOD);
        sum.zip(&weight, |sum, weight| sum / weight.max(1e-6))
    };
    let share = apart(base).zip(&apart(&fill), |model, fill| {
        let nearer = (model + EQUAL) / (model + fill + 2.0 * EQUAL);
        MOST * smoothstep(nearer, NEARER.0, NEARER.1) * (-fill / FAR).exp()
    });
    for (plane, fill) in base.iter_mut().zip(&fill) {
        for (i, v) in plane.values.iter_mut().enumerate() {
            *v += inside.values[i] * share.values[i] * doubt * (fill.values[i] - *v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wall over a striped floor, a hole over both, and a model's picture of it.
    fn scene(model: impl Fn(f32) -> f32 + Sync) -> (Rgb, Rgb, Plane) {
        let truth: Rgb = std::array::from_fn(|c| {
            Plane::from_fn(96, 64, |x, y| {
                let stripe = 0.06 * (x / 4 % 2) as f32;
                if y < 30 {
                    0.6
                } else {
                    0.4 + stripe + 0.02 * c as f32
                }
            })
        });
        let hole = Plane::from_fn(96, 64, |x, y| {
            f32::from((36..60).contains(&x) && (14..48).contains(&y))
        });
        let base = truth
            .clone()
            .map(|p| p.zip(&hole, |v, h| if h > 0.0 { model(v) } else { v }));
        (truth, base, hole)
    }

    fn mended(model: impl Fn(f32) -> f32 + Sync, doubt: f32) -> (f32, f32) {
        let (truth, mut base, hole) = scene(model);
        let (grain, usable) = (Plane::filled(96, 64, 0.02), vec![true; 96 * 64]);
        let off = |base: &Rgb| {
            let squares = base[1].zip(&truth[1], |a, b| (a - b) * (a - b));
            (squares.values.iter().sum::<f32>() / hole.values.iter().sum::<f32>()).sqrt()
        };
        let before = (base.clone(), off(&base));
        let holed = Holed {
            picture: &before.0,
            grain: &grain,
            hole: &hole,
            usable: &usable,
        };
        mend(&mut base, &holed, doubt, 3);
        (before.1, off(&base))
    }

    #[test]
    fn a_haze_gives_way_and_a_model_that_is_not_doubted_stays() {
        let (before, after) = mended(|v| 0.5 * v + 0.4, 1.0);
        assert!(after < 0.4 * before, "{before} -> {after}");
        let (before, after) = mended(|v| 0.5 * v + 0.4, 0.0);
        assert_eq!(before, after);
    }

    #[test]
    fn haze_and_ghosts_are_doubted_and_the_truth_is_not() {
        let doubt = |sharpness, misfit, outline| doubt(sharpness, Border { misfit, outline });
        assert_eq!(doubt(0.2, 0.0, 1.0), 1.0);
        assert_eq!(doubt(1.0, 0.004, 6.0), 0.0);
        assert_eq!(doubt(1.5, 0.001, 1.0), 0.0);
        assert_eq!(doubt(1.5, f32::INFINITY, 1.0), 1.0);
        assert_eq!(doubt(1.2, 0.0035, 40.0), 1.0);
        let (truth, base, hole) = scene(|v| v + 0.3);
        let nowhere = vec![false; hole.values.len()];
        assert_eq!(misfit(&truth, &base, &hole, &nowhere), 0.0);
        let brighter = base.clone().map(|p| p.map(|v| v + 0.01));
        assert!((misfit(&truth, &brighter, &hole, &nowhere) - 0.01).abs() < 1e-5);
        assert_eq!(
            misfit(&truth, &base, &hole, &vec![true; hole.values.len()]),
            f32::INFINITY
        );
    }

    #[test]
    fn the_outline_of_a_ghost_shows_and_that_of_the_truth_does_not() {
        let (truth, _, hole) = scene(|v| v);
        let nowhere = vec![false; hole.values.len()];
        let shows = |model: &dyn Fn(f32) -> f32| {
            let background = truth
                .clone()
                .map(|p| p.zip(&hole, |v, h| if h > 0.0 { model(v) } else { v }));
            outline(&truth, &background, &hole, &nowhere)
        };
        assert!(shows(&|v| v) < 4.0, "{}", shows(&|v| v));
        assert!(shows(&|v| v + 0.2) > 24.0, "{}", shows(&|v| v + 0.2));
        // Where an effect lies all around, nothing is known.
        assert_eq!(
            outline(&truth, &truth, &hole, &vec![true; hole.values.len()]),
            1.0
        );
    }
}
