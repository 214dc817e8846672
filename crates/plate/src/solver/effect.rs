//! Shadow and reflection: what the object does to the picture outside itself.

use crate::filters::smoothstep;
use crate::{Light, Plane, Prediction, Rgb, pushpull, region};

/// The least transmittance that is ever divided by: a shadow of more than six stops shows no texture to keep.
pub(crate) const DARKEST: f32 = 0.015;

/// The gate is fully open at this many times its threshold.
const GATE: f32 = 3.0;

/// Range of strength within a cell's neighbourhood from which on an edge is too hard for the model's size, and at which
/// it is entirely so.
const HARD: (f32, f32) = (0.08, 0.24);

/// Strength from which on an effect may be something opaque, and at which it is.
const OPAQUE: (f32, f32) = (0.75, 0.92);

/// Encoded added light from which on its border is lost, and at which it is entirely so.
const BRIGHT: (f32, f32) = (0.15, 0.35);

/// Strength from which on an effect counts although it has no connection to the hole: the shadow of a ball in the air.
const STRONG: f32 = 0.35;

/// The share of a model pixel that the matte may cover without hiding what the model says of the effect there.
const BARELY: f32 = 0.02;

/// Linear light, of exposed white, below which a colour's own transmittance is too noisy to tell.
const DIM: f32 = 0.01;

/// The effect at the model's size. The picture outside the object is `C = light + transmittance * B`, linear.
///
/// Under the object all planes continue smoothly what is around it, so that the object's own alpha does not
/// bleed into the shadow, and so that the shadow goes on under the object's soft edge.
pub(crate) struct Effect {
    /// How much of the picture is effect, display-referred, 0 to 1: what the gate looks at.
    pub strength: Plane,
    /// Share of the background's linear light that comes through, per channel: [`DARKEST`] to 1.
    pub transmittance: Rgb,
    /// Linear light that the effect adds, per channel: reflections.
    pub light: Rgb,
    /// How far the model's size is too coarse for the effect's edge, 0 to 1: near a hard shadow's border the transmittance is
    /// off by the whole depth of the shadow, and dividing by it would leave a seam of light and dark.
    pub edge: Plane,
    /// How far nothing of the background can be told from the plate although the matte does not cover it, 0 to 1: where the model
    /// sees something opaque, and at the border of that or of added light, which the model's size cannot follow. A mask that is
    /// tighter than its object leaves such a rim.
    pub lost: Plane,
    /// Strength at which the gate begins to open.
    threshold: f32,
}

impl Effect {
    /// From the model's layers; `covered` is the share of each pixel that the matte covers, `hole` the share that is to be
    /// filled. Between the two the model's word counts: that is where a shadow is deepest.
    ///
    /// The model's layers are display-referred, light is not. With `R = F + (1 - a) B` as the picture that the
    /// model's layers make, both decoded: transmittance is `R / B` where the effect darkens, and where it
    /// brightens, `R - B` is added light. A coloured shadow has another ratio in every channel.
    pub fn new(
        prediction: &Prediction,
        covered: &Plane,
        hole: &Plane,
        light: Light,
        threshold: f32,
    ) -> Effect {
        let Prediction {
            background,
            foreground,
        } = prediction;
        let alpha = &foreground[3];
        let outside = covered.map(|c| f32::from(c <= BARELY));
        let strength = connected(&pushpull::fill(alpha, &outside), hole, threshold);
        let decoded: [(Plane, Plane); 3] = std::array::from_fn(|c| {
            let made = Plane {
                values: (0..alpha.values.len())
                    .map(|i| foreground[c].values[i] + (1.0 - alpha.values[i]) * background[c].values[i])
                    .map(|v| light.decode(v.clamp(0.0, 1.0)))
                    .collect(),
                ..*alpha
            };
            (made, background[c].map(|v| light.decode(v)))
        });
        let dim = DIM / light.exposure;
        let transmittance: Rgb = std::array::from_fn(|c| {
            let (made, clean) = &decoded[c];
            let values = (0..alpha.values.len()).map(|i| {
                let (made, clean) = (made.values[i], clean.values[i]);
                // What alpha alone says, by the power that display curves come near to.
                let grey = (1.0 - alpha.values[i]).powf(2.2);
                let own = (made + dim * grey) / (clean + dim);
                own.clamp(DARKEST, 1.0)
            });
            pushpull::fill(
                &Plane {
                    values: values.collect(),
                    ..*alpha
                },
                &outside,
            )
        });
        let added: Rgb = std::array::from_fn(|c| {
            let (made, clean) = &decoded[c];
            pushpull::fill(&made.zip(clean, |made, clean| (made - clean).max(0.0)), &outside)
        });
        let (low, high) = (around(&strength, f32::min), around(&strength, f32::max));
        let edge = high.zip(&low, |high, low| smoothstep(high - low, HARD.0, HARD.1));
        let lost = lost(&strength, &high, &edge, &added, light);
        Effect {
            lost,
            strength,
            transmittance,
            light: added,
            edge,
            threshold,
        }
    }

    /// Strength at which the gate begins to open; it is open at three times that.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// How far the gate is open for an up-sampled strength: 0 up to the threshold, where the plate stays untouched.
    #[inline]
    pub fn gate(&self, strength: f32) -> f32 {
        smoothstep(strength, self.threshold, GATE * self.threshold)
    }
}

/// [`Effect::lost`], from strength, the largest strength nearby, hard edges and added light.
fn lost(strength: &Plane, high: &Plane, edge: &Plane, added: &Rgb, light: Light) -> Plane {
    let opaque = |a: f32| smoothstep(a, OPAQUE.0, OPAQUE.1);
    let lit = added[0].zip(&added[1], f32::max).zip(&added[2], f32::max);
    let lit = around(&lit.map(|v| light.encode(v)), f32::max);
    let border = high.zip(&lit, |high, lit| {
        opaque(high).max(smoothstep(lit, BRIGHT.0, BRIGHT.1))
    });
    let border = border.zip(edge, |border, edge| border * edge);
    border.zip(strength, |border, s| border.max(opaque(s)))
}

/// `strength` without the weak parts that have no connection to the hole or to a strong one: faint alpha far away is the
/// model's main failure, and no shadow of the object.
fn connected(strength: &Plane, hole: &Plane, threshold: f32) -> Plane {
    let seeds: Vec<bool> = (hole.values.iter().zip(&strength.values))
        .map(|(&h, &s)| h > 0.0 || s > STRONG)
        .collect();
    let candidates: Vec<bool> = strength.values.iter().map(|&s| s > threshold).collect();
    let kept = region::connected(&candidates, &seeds, strength.width);
    Plane {
        // What lies below the threshold stays: it does not open the gate, but shapes the way down to it. What is dropped
        // goes well below, so that up-sampling cannot overshoot into the gate.
        values: (0..kept.len())
            .map(|i| {
                strength.values[i].min(if candidates[i] && !kept[i] {
                    0.8 * threshold
                } else {
                    1.0
                })
            })
            .collect(),
        ..*strength
    }
}

/// The smallest or largest of each value and its eight neighbours, as `pick` says.
fn around(plane: &Plane, pick: impl Fn(f32, f32) -> f32 + Sync) -> Plane {
    Plane::from_fn(plane.width, plane.height, |x, y| {
        let near = (-1..2).flat_map(|dy| (-1..2).map(move |dx| (dx, dy)));
        let values = near.map(|(dx, dy)| plane.clamped(x as isize + dx, y as isize + dy));
        values.fold(plane.at(x, y), &pick)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shadowed(alpha: Plane) -> Prediction {
        let (w, h) = alpha.size();
        let black = || Plane::filled(w, h, 0.0);
        Prediction {
            background: std::array::from_fn(|_| Plane::filled(w, h, 0.6)),
            foreground: [black(), black(), black(), alpha],
        }
    }

    #[test]
    fn faint_alpha_far_from_the_hole_is_dropped() {
        let near = |x: usize, y: usize| (10..16).contains(&x) && y == 10;
        let far = |x: usize, y: usize| x > 25 && y > 25;
        let strong = |x: usize, y: usize| x > 25 && y < 5;
        let alpha = Plane::from_fn(32, 32, |x, y| {
            f32::from(near(x, y) || strong(x, y)) * 0.5 + f32::from(far(x, y)) * 0.2
        });
        let hole = Plane::from_fn(32, 32, |x, y| f32::from((x, y) == (9, 10)));
        let effect = Effect::new(&shadowed(alpha), &hole, &hole, Light::default(), 0.02);
        assert_eq!(effect.strength.at(12, 10), 0.5);
        assert_eq!(effect.gate(effect.strength.at(30, 30)), 0.0);
        // The shadow of something in the air lies apart from it, and is strong.
        assert_eq!(effect.strength.at(30, 2), 0.5);
    }

    #[test]
    fn transmittance_is_the_ratio_of_linear_light() {
        let light = Light::default();
        let effect = Effect::new(
            &shadowed(Plane::filled(8, 8, 0.4)),
            &Plane::filled(8, 8, 0.0),
            &Plane::filled(8, 8, 0.0),
            light,
            0.02,
        );
        let expected = light.decode(0.36) / light.decode(0.6);
        let got = effect.transmittance[1].at(4, 4);
        assert!((got - expected).abs() < 0.01, "{got} for {expected}");
        assert_eq!(effect.light[1].at(4, 4), 0.0);
    }

    #[test]
    fn a_hole_everywhere_leaves_finite_planes() {
        let effect = Effect::new(
            &shadowed(Plane::filled(8, 8, 1.0)),
            &Plane::filled(8, 8, 1.0),
            &Plane::filled(8, 8, 1.0),
            Light::default(),
            0.02,
        );
        assert!(
            effect
                .transmittance
                .iter()
                .flat_map(|p| &p.values)
                .all(|v| v.is_finite())
        );
    }

    #[test]
    fn what_is_opaque_beside_the_matte_is_lost_and_a_shadow_is_not() {
        let hole = Plane::from_fn(32, 8, |x, y| f32::from((x, y) == (31, 4)));
        let lost = |alpha: f32| {
            let alpha = Plane::from_fn(32, 8, |x, _| if x < 16 { 0.0 } else { alpha });
            Effect::new(&shadowed(alpha), &hole, &hole, Light::default(), 0.02).lost
        };
        let rim = lost(0.97);
        assert!(rim.at(20, 4) == 1.0 && rim.at(15, 4) > 0.9 && rim.at(8, 4) == 0.0);
        assert!(lost(0.6).values.iter().all(|&l| l == 0.0));
    }

    #[test]
    fn a_coloured_shadow_has_a_transmittance_per_channel() {
        // Outdoors, a shadow lets the blue of the sky through: F = C - (1 - a) B holds what grey alpha does not say.
        let light = Light::default();
        let (clean, through) = ([0.3f32, 0.4, 0.5], [0.2f32, 0.3, 0.5]);
        let plane = |v: f32| Plane::filled(8, 8, v);
        let seen: [f32; 3] = std::array::from_fn(|c| light.encode(clean[c] * through[c]));
        let alpha = 1.0 - seen[0] / light.encode(clean[0]);
        let front = |c: usize| plane(seen[c] - (1.0 - alpha) * light.encode(clean[c]));
        let prediction = Prediction {
            background: std::array::from_fn(|c| plane(light.encode(clean[c]))),
            foreground: [front(0), front(1), front(2), plane(alpha)],
        };
        let effect = Effect::new(&prediction, &plane(0.0), &plane(0.0), light, 0.02);
        for (c, want) in through.into_iter().enumerate() {
            let got = effect.transmittance[c].at(4, 4);
            assert!((got - want).abs() < 0.02, "channel {c}: {got} for {want}");
            assert_eq!(effect.light[c].at(4, 4), 0.0);
        }
    }

    #[test]
    fn only_hard_borders_are_edges() {
        // The shadow is the object's where it touches the hole.
        let hole = Plane::from_fn(64, 8, |x, y| f32::from((x, y) == (63, 4)));
        let edge = |f: &(dyn Fn(usize) -> f32 + Sync)| {
            let alpha = Plane::from_fn(64, 8, |x, _| f(x));
            Effect::new(&shadowed(alpha), &hole, &hole, Light::default(), 0.02).edge
        };
        let hard = edge(&|x| if x < 32 { 0.0 } else { 0.5 });
        assert!(hard.at(32, 4) > 0.9 && hard.at(31, 4) > 0.9 && hard.at(45, 4) == 0.0);
        let soft = edge(&|x| (x as f32 / 64.0) * 0.5);
        assert!(soft.values.iter().all(|&e| e == 0.0));
    }
}
