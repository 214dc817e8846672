//! Masks as people and segmenters make them: tight, loose, slightly wrong.

use super::background::noise;
use super::hull::convex_hull;
use super::raster::{Affine, Raster};
use super::rng::Rng;

/// A mask for an object of this visible alpha. About half are tight (a quarter of them with soft edges); the rest are loose or wrong:
/// dilated by up to a tenth of the picture, a lasso around everything, ragged, moved, eroded, simplified. What people draw is loose more
/// often than not, and a network that has seen only tight masks takes the mask for the object.
#[must_use]
pub fn degrade(rng: &mut Rng, alpha: &Raster<1>) -> Raster<1> {
    let size = alpha.width;
    let k = size as f32 / 128.0;
    let tight = alpha.map(|a| [f32::from(a[0] > 0.5)]);
    match rng.unit() {
        u if u < 0.12 => alpha.clone(),
        u if u < 0.47 => tight,
        u if u < 0.80 => dilated(&tight, rng.range(1.0, 13.0) * k),
        u if u < 0.86 => dilated(&convex_hull(&tight), rng.range(0.0, 5.0) * k),
        u if u < 0.91 => {
            // A ragged outline, mostly outwards; away from the object the noise alone must not make a mask.
            let wobble = noise(rng, size, 5, 0.8);
            let spread = rng.range(1.0, 2.5) * k;
            let (amount, at) = (rng.range(0.1, 0.3), rng.range(0.15, 0.4));
            tight.blurred(spread).zip(&wobble, |m, n| {
                [f32::from(m[0] > 0.02 && m[0] + amount * n[0] > at)]
            })
        }
        u if u < 0.94 => {
            let (dx, dy) = (rng.range(-2.0, 2.0) * k, rng.range(-2.0, 2.0) * k);
            let moved = tight.warped(&Affine([1.0, 0.0, dx, 0.0, 1.0, dy]), size, size);
            dilated(&moved.map(|m| [f32::from(m[0] > 0.5)]), rng.range(0.5, 2.0) * k)
        }
        u if u < 0.97 => {
            let inverse = tight.map(|m| [1.0 - m[0]]);
            dilated(&inverse, rng.range(0.6, 1.6) * k).map(|m| [1.0 - m[0]])
        }
        // Drawn at a quarter of the resolution.
        _ => {
            let coarse = tight.resized((size / 4).max(4), (size / 4).max(4));
            coarse.resized(size, size).map(|m| [f32::from(m[0] > 0.3)])
        }
    }
}

/// The mask as a network's first call draws it tighter (`tighten` of `config.ron`): wherever that call, whose alpha is blurred and errs
/// here and there, finds more object than not. `object` is the object's visible alpha.
#[must_use]
pub fn tightened(rng: &mut Rng, mask: &Raster<1>, object: &Raster<1>) -> Raster<1> {
    let wobble = noise(rng, mask.width, 5, 0.8);
    let spread = rng.range(1.0, 3.0) * mask.width as f32 / 128.0;
    let (amount, at) = (rng.range(0.05, 0.3), rng.range(0.35, 0.6));
    let found = object
        .blurred(spread)
        .zip(&wobble, |o, n| [o[0] + amount * n[0] * f32::from(o[0] > 0.02)]);
    mask.zip(&found, |m, found| [if found[0] > at { m[0] } else { 0.0 }])
}

/// Grown by a disc of `radius` pixels.
#[must_use]
pub fn dilated(mask: &Raster<1>, radius: f32) -> Raster<1> {
    let reach = radius.floor() as isize;
    if reach < 1 {
        return mask.clone();
    }
    let (w, h) = (mask.width as isize, mask.height as isize);
    let mut out = mask.clone();
    // Half width of the disc in each row; runs are painted, so that only set pixels cost.
    let half: Vec<isize> = (-reach..=reach)
        .map(|dy| (radius * radius - (dy * dy) as f32).sqrt().floor() as isize)
        .collect();
    for y in 0..h {
        for x in 0..w {
            if mask.pixels[(y * w + x) as usize][0] <= 0.5 {
                continue;
            }
            let inner = x > 0 && x + 1 < w && y > 0 && y + 1 < h && {
                let at = |x: isize, y: isize| mask.pixels[(y * w + x) as usize][0] > 0.5;
                at(x - 1, y) && at(x + 1, y) && at(x, y - 1) && at(x, y + 1)
            };
            if inner {
                continue;
            }
            for (dy, half) in (-reach..=reach).zip(&half) {
                let row = y + dy;
                if row < 0 || row >= h {
                    continue;
                }
                let (from, to) = ((x - half).max(0), (x + half).min(w - 1));
                for column in from..=to {
                    out.pixels[(row * w + column) as usize] = [1.0];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_grows_into_a_disc() {
        let mut mask = Raster::filled(11, 11, [0.0]);
        mask.pixels[5 * 11 + 5] = [1.0];
        let grown = dilated(&mask, 2.0);
        for y in 0..11usize {
            for x in 0..11usize {
                let inside = (x as f32 - 5.0).hypot(y as f32 - 5.0) <= 2.0;
                assert_eq!(grown.at(x, y)[0] > 0.5, inside, "{x} {y}");
            }
        }
    }

    #[test]
    fn a_tightened_mask_lies_within_and_is_nearly_the_object() {
        let object = Raster::from_fn(64, 64, |x, y| {
            [f32::from((x as f32 - 32.0).hypot(y as f32 - 32.0) < 14.0)]
        });
        let loose = dilated(&object, 6.0);
        let apart = |a: &Raster<1>, b: &Raster<1>| {
            let pairs = std::iter::zip(&a.pixels, &b.pixels);
            pairs.filter(|(a, b)| (a[0] > 0.5) != (b[0] > 0.5)).count()
        };
        let (mut differ, mut clearly) = (0, 0);
        for i in 0..50 {
            let mask = tightened(&mut Rng::new(3, 0, i), &loose, &object);
            assert!(std::iter::zip(&mask.pixels, &loose.pixels).all(|(m, l)| m[0] <= l[0]));
            assert!(3 * apart(&mask, &object) < 2 * apart(&loose, &object), "{i}");
            differ += usize::from(apart(&mask, &object) > 5);
            clearly += usize::from(apart(&mask, &object) > 20);
        }
        assert!(
            differ > 25 && clearly > 12,
            "{differ}, {clearly}: such masks are never quite right"
        );
    }

    #[test]
    fn loose_masks_cover_the_object() {
        let object = Raster::from_fn(64, 64, |x, y| {
            [f32::from((x as f32 - 32.0).hypot(y as f32 - 32.0) < 14.0)]
        });
        let mut loose = 0;
        for i in 0..200 {
            let mask = degrade(&mut Rng::new(3, 0, i), &object);
            let count = |r: &Raster<1>| r.pixels.iter().filter(|p| p[0] > 0.5).count();
            assert!(count(&mask) * 10 > count(&object) * 6);
            // Nothing far from the object, whatever its fault.
            let far = |i: usize| ((i % 64) as f32 - 32.0).hypot((i / 64) as f32 - 32.0) > 14.0 + 13.0 / 2.0;
            assert!((0..64 * 64).all(|i| !far(i) || mask.pixels[i][0] <= 0.5));
            loose += usize::from(count(&mask) > count(&object));
        }
        assert!((70..130).contains(&loose), "{loose}");
    }
}
