//! Light and what objects do to it: cast shadows, drop shadows, contact occlusion, reflections, written as premultiplied layers.
//!
//! A shadow is a layer of nearly black colour whose alpha is how much light is missing. In display-referred values a shadow
//! multiplies as it does in linear light (a power of a product is the product of the powers), so one alpha serves.

use super::object::Placed;
use super::raster::{Affine, Raster, smoothstep};
use super::rng::Rng;

/// The light of a scene: every object in it casts its shadow the same way.
#[derive(Debug, Clone)]
pub struct Light {
    kind: Kind,
    /// Alpha of a full shadow.
    strength: f32,
    /// Light that remains and its colour: premultiplied colour a unit of shadow alpha.
    tint: [f32; 3],
    /// Probability that an object darkens the ground where it stands.
    contact: f32,
    /// Strength of reflections on the floor; 0 is a dull floor.
    gloss: f32,
}

#[derive(Debug, Clone)]
enum Kind {
    /// A shadow on the ground: sheared by `shear` and squashed to `squash` (negative: towards the viewer).
    Cast {
        shear: f32,
        squash: f32,
        blur_near: f32,
        blur_far: f32,
        fade: f32,
        second: Option<(f32, f32)>,
    },
    /// The outline moved and blurred, as on a wall or on paper.
    Drop { dx: f32, dy: f32, blur: f32 },
    /// No shadow.
    Flat,
}

/// How much of an effect that changes a display-referred value by `difference` counts: what nobody can see is no effect, and asking
/// for it would only teach false alpha. One step of 8 bits is 0.004.
#[must_use]
pub fn visibility(difference: f32) -> f32 {
    smoothstep(0.006, 0.018, difference)
}

/// An effect without what cannot be seen of it on `below`.
#[must_use]
pub fn visible_on(effect: &Raster<4>, below: &Raster<3>) -> Raster<4> {
    effect.zip(below, |f, b| {
        let change = |c: usize| (f[c] - f[3] * b[c]).abs();
        let seen = visibility(change(0).max(change(1)).max(change(2)));
        f.map(|v| v * seen)
    })
}

impl Light {
    /// Draws a light for a picture of `size` pixels.
    #[must_use]
    pub fn draw(rng: &mut Rng, size: usize) -> Self {
        let k = size as f32 / 128.0;
        let hard = rng.chance(0.4);
        let kind = match rng.unit() {
            u if u < 0.72 => {
                let behind = if rng.chance(0.65) { 1.0 } else { -1.0 };
                let blur_near = if hard {
                    rng.range(0.2, 0.5)
                } else {
                    rng.range(0.5, 1.6)
                } * k;
                let blur_far = if hard {
                    rng.range(0.3, 1.0)
                } else {
                    rng.range(1.5, 6.0)
                } * k;
                let second = rng
                    .chance(0.12)
                    .then(|| (rng.range(-1.4, 1.4), rng.range(0.3, 0.8)));
                Kind::Cast {
                    shear: rng.range(-1.5, 1.5),
                    squash: rng.range(0.12, 0.9) * behind,
                    blur_near,
                    blur_far,
                    fade: if hard {
                        rng.range(0.0, 0.25)
                    } else {
                        rng.range(0.0, 0.6)
                    },
                    second,
                }
            }
            u if u < 0.85 => Kind::Drop {
                dx: rng.range(-14.0, 14.0) * k,
                dy: rng.range(-6.0, 14.0) * k,
                blur: if hard {
                    rng.range(0.3, 1.0)
                } else {
                    rng.range(1.0, 5.0)
                } * k,
            },
            _ => Kind::Flat,
        };
        let strength = if hard {
            rng.range(0.35, 0.85)
        } else {
            rng.range(0.15, 0.75)
        };
        // Sky light in a sun's shadow is blue, a lamp's shadow may be warm; most are grey and faint.
        let level = rng.range(0.0, 0.06);
        let tint = match rng.unit() {
            u if u < 0.35 => [level, level * rng.range(1.0, 1.4), level + rng.range(0.0, 0.1)],
            u if u < 0.5 => [level + rng.range(0.0, 0.09), level + rng.range(0.0, 0.04), level],
            _ => [level; 3],
        };
        let gloss = if rng.chance(0.16) {
            rng.range(0.12, 0.55)
        } else {
            0.0
        };
        // In flat light many things stand without any mark on the ground.
        let contact = match kind {
            Kind::Flat if rng.chance(0.6) => 0.0,
            _ => rng.range(0.2, 0.9),
        };
        Self {
            kind,
            strength,
            tint,
            contact,
            gloss,
        }
    }

    /// The effects of `object` on its surroundings, without the object: premultiplied, and to be put under it.
    /// `horizon`: the row where the floor ends, above which nothing is cast on it.
    #[must_use]
    pub fn effects(&self, rng: &mut Rng, object: &Placed, horizon: Option<f32>) -> Raster<4> {
        let alpha = object.picture.alpha();
        let mut shadow = match &self.kind {
            Kind::Cast {
                shear,
                squash,
                blur_near,
                blur_far,
                fade,
                second,
            } => {
                let blurs = (*blur_near, *blur_far);
                let mut shadow = cast(&alpha, object, *shear, *squash, blurs, *fade);
                if let Some((shear, weight)) = second {
                    let other = cast(&alpha, object, *shear, *squash, blurs, *fade);
                    shadow = shadow.zip(&other, |a, b| [1.0 - (1.0 - a[0]) * (1.0 - weight * b[0])]);
                }
                shadow
            }
            Kind::Drop { dx, dy, blur } => alpha
                .warped(&Affine([1.0, 0.0, -dx, 0.0, 1.0, -dy]), alpha.width, alpha.height)
                .blurred(*blur),
            Kind::Flat => Raster::filled(alpha.width, alpha.height, [0.0]),
        };
        if let (Some(horizon), Kind::Cast { .. }) = (horizon, &self.kind) {
            let width = shadow.width;
            for (i, pixel) in shadow.pixels.iter_mut().enumerate() {
                pixel[0] *= smoothstep(horizon - 1.0, horizon + 1.0, (i / width) as f32);
            }
        }
        shadow.pixels.iter_mut().for_each(|p| p[0] *= self.strength);
        if !matches!(self.kind, Kind::Drop { .. }) && rng.chance(self.contact) {
            let dark = contact(rng, object, &alpha);
            shadow = shadow.zip(&dark, |a, b| [1.0 - (1.0 - a[0]) * (1.0 - b[0])]);
        }
        let effect = self.coloured(&shadow);
        if self.gloss > 0.0 && !matches!(self.kind, Kind::Drop { .. }) {
            return reflection(rng, object, self.gloss).over(&effect);
        }
        effect
    }

    /// The shadow, 1 where it is full, that this light casts of `cutout` standing with its foot at `foot`, in the picture or
    /// outside it, `scale` picture pixels a pixel of its own. Nothing where the light casts none on the ground.
    #[must_use]
    pub fn cast_of(
        &self,
        cutout: &Raster<1>,
        scale: f32,
        foot: (f32, f32),
        size: usize,
    ) -> Option<Raster<1>> {
        let Kind::Cast {
            shear,
            squash,
            blur_near,
            blur_far,
            ..
        } = &self.kind
        else {
            return None;
        };
        // A row y holds the height t = (foot - y) / squash, and the point at height t is cast shear t to the side.
        let rise = -1.0 / (squash * scale);
        let (w, h) = (cutout.width as f32, cutout.height as f32);
        let from = Affine([
            1.0 / scale,
            -shear * rise,
            0.5 * w - foot.0 / scale + shear * rise * foot.1,
            0.0,
            -rise,
            h + rise * foot.1,
        ]);
        Some(
            cutout
                .warped(&from, size, size)
                .blurred(0.5 * (blur_near + blur_far)),
        )
    }

    /// A shadow of this light's colour from a map of missing light.
    #[must_use]
    pub fn coloured(&self, shadow: &Raster<1>) -> Raster<4> {
        let [r, g, b] = self.tint;
        shadow.map(|s| [s[0] * r, s[0] * g, s[0] * b, s[0]])
    }

    /// Alpha of a full shadow.
    #[must_use]
    pub fn strength(&self) -> f32 {
        self.strength
    }
}

/// Planar shadow, 1 where no direct light arrives: blurred more the farther it falls.
fn cast(
    alpha: &Raster<1>,
    object: &Placed,
    shear: f32,
    squash: f32,
    (near, far): (f32, f32),
    fade: f32,
) -> Raster<1> {
    let foot = object.foot;
    // The point at height t above the foot falls on (x + shear t, foot - squash t).
    let from = Affine([
        1.0,
        shear / squash,
        -foot * shear / squash,
        0.0,
        1.0 / squash,
        foot - foot / squash,
    ]);
    let mut sharp = alpha.warped(&from, alpha.width, alpha.height);
    if squash < 0.0 {
        // Close the seam between the foot and a shadow that falls forward.
        sharp = sharp.zip(alpha, |s, a| [s[0].max(a[0] * 0.5)]);
    }
    let (soft, softer) = (sharp.blurred(near), sharp.blurred(far));
    let reach = squash.abs() * (foot - object.top).max(4.0);
    let width = alpha.width;
    let mut out = soft;
    for (i, pixel) in out.pixels.iter_mut().enumerate() {
        let t = ((foot - (i / width) as f32).abs() / reach).clamp(0.0, 1.0);
        pixel[0] = (pixel[0] * (1.0 - t) + softer.pixels[i][0] * t) * (1.0 - fade * t);
    }
    out
}

/// Missing sky light where the object touches the ground.
fn contact(rng: &mut Rng, object: &Placed, alpha: &Raster<1>) -> Raster<1> {
    let k = alpha.width as f32 / 128.0;
    let strength = rng.range(0.2, 0.7);
    let blur = rng.range(0.8, 3.0) * k;
    if rng.chance(0.3) {
        // A rim all around, strongest below.
        let down = rng.range(0.5, 3.0) * k;
        let moved = alpha
            .warped(
                &Affine([1.0, 0.0, 0.0, 0.0, 1.0, -down]),
                alpha.width,
                alpha.height,
            )
            .blurred(blur);
        return moved.map(|p| [p[0] * strength]);
    }
    let centre = 0.5 * (object.stance.0 + object.stance.1);
    let rx = (0.5 * (object.stance.1 - object.stance.0) * rng.range(0.9, 1.5)).max(3.0 * k);
    let ry = (rx * rng.range(0.1, 0.35)).max(1.2 * k);
    let y0 = object.foot - 0.3 * ry;
    Raster::from_fn(alpha.width, alpha.height, |x, y| {
        let r = ((x as f32 - centre) / rx).hypot((y as f32 - y0) / ry);
        [1.0 - smoothstep(0.6, 1.15, r)]
    })
    .blurred(blur)
    .map(|p| [p[0] * strength])
}

/// The object mirrored at its foot, fading with distance.
fn reflection(rng: &mut Rng, object: &Placed, gloss: f32) -> Raster<4> {
    let picture = &object.picture;
    let k = picture.width as f32 / 128.0;
    let foot = object.foot;
    let mirrored = picture.warped(
        &Affine([1.0, 0.0, 0.0, 0.0, -1.0, 2.0 * foot + 1.0]),
        picture.width,
        picture.height,
    );
    let mut out = mirrored.blurred(rng.range(0.0, 2.0) * k);
    let reach = rng.range(15.0, 70.0) * k;
    let width = out.width;
    for (i, pixel) in out.pixels.iter_mut().enumerate() {
        let below = (i / width) as f32 - foot;
        let amount = if below < 0.0 {
            0.0
        } else {
            gloss * (1.0 - below / reach).max(0.0)
        };
        pixel.iter_mut().for_each(|v| *v *= amount);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the shadow's weight lies, of what is not between the rows of the object: a shadow towards the viewer has a seam there.
    fn middle(shadow: &Raster<1>, behind: bool, foot: f32) -> (f32, f32) {
        let (mut x, mut y, mut sum) = (0.0, 0.0, 0.0);
        let counts = |i: usize| behind || (i / shadow.width) as f32 > foot + 1.0;
        for (i, p) in shadow.pixels.iter().enumerate().filter(|(i, _)| counts(*i)) {
            x += p[0] * (i % shadow.width) as f32;
            y += p[0] * (i / shadow.width) as f32;
            sum += p[0];
        }
        (x / sum, y / sum)
    }

    #[test]
    fn a_shadow_from_outside_falls_as_the_objects_own_does() {
        let size = 96;
        let cutout = Raster::from_fn(10, 24, |x, y| [f32::from(y > 4 || (3..7).contains(&x))]);
        let (left, top) = (40usize, 40usize);
        let alpha = Raster::from_fn(size, size, |x, y| {
            let inside = (left..left + 10).contains(&x) && (top..top + 24).contains(&y);
            [if inside {
                cutout.at(x - left, y - top)[0]
            } else {
                0.0
            }]
        });
        let object = Placed::measure(alpha.map(|a| [0.0, 0.0, 0.0, a[0]])).unwrap();
        for (shear, squash) in [(0.8, 0.5), (-1.2, 0.3), (0.3, -0.6)] {
            let kind = Kind::Cast {
                shear,
                squash,
                blur_near: 0.5,
                blur_far: 0.5,
                fade: 0.0,
                second: None,
            };
            let light = Light {
                kind,
                strength: 1.0,
                tint: [0.0; 3],
                contact: 0.0,
                gloss: 0.0,
            };
            let own = cast(&alpha, &object, shear, squash, (0.5, 0.5), 0.0);
            let foot = (left as f32 + 4.5, object.foot + 0.5);
            let other = light.cast_of(&cutout, 1.0, foot, size).unwrap();
            let of = |shadow: &Raster<1>| middle(shadow, squash > 0.0, object.foot);
            let (a, b) = (of(&own), of(&other));
            assert!((a.0 - b.0).abs() < 2.0 && (a.1 - b.1).abs() < 2.0, "{a:?} {b:?}");
        }
    }

    #[test]
    fn effects_that_nobody_sees_are_none() {
        let effect = Raster::filled(1, 1, [0.0, 0.0, 0.0, 0.5]);
        let on = |level: f32| visible_on(&effect, &Raster::filled(1, 1, [level; 3])).pixels[0];
        assert_eq!(on(0.5), [0.0, 0.0, 0.0, 0.5]);
        assert_eq!(on(0.004), [0.0; 4]);
    }
}
