//! Whether something stands in front of an object: depths on both sides of its border.

use crate::data::raster::Raster;

/// What is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nearer {
    /// Small numbers: distances.
    Small,
    /// Large numbers: inverse depth or disparity, as networks for single pictures give it.
    Large,
}

/// Width of the bands on both sides of the border, as a share of the square root of the object's area, and its limits in pixels.
const BAND: (f32, isize, isize) = (0.04, 2, 8);
/// By how much the outside must be nearer, as a share of the larger depth, to be in front: depth maps are uneven, and the ground
/// before an object's foot is a little nearer than the foot.
const CLEARLY: f32 = 0.04;

/// Share of the object's border along which what lies outside is nearer than what lies inside: the median depth of a disc's outer
/// part against that of its inner part, around every border pixel. `depth` has the mask's size; numbers that are no depth (zero,
/// negative, no number) do not count. Zero where the border has no depth at all.
#[must_use]
pub fn occluded_share(mask: &Raster<1>, depth: &Raster<1>, nearer: Nearer) -> f32 {
    let (w, h) = (mask.width as isize, mask.height as isize);
    let inside = |x: isize, y: isize| mask.pixels[(y * w + x) as usize][0] > 0.5;
    let area = mask.pixels.iter().filter(|p| p[0] > 0.5).count();
    let reach = ((area as f32).sqrt() * BAND.0) as isize;
    let reach = reach.clamp(BAND.1, BAND.2);
    let (mut counted, mut occluded) = (0, 0);
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for y in 0..h {
        for x in 0..w {
            // The picture's own edge is no border of the object.
            let beside = [(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)];
            let is_border = inside(x, y)
                && beside
                    .iter()
                    .any(|&(i, j)| i >= 0 && j >= 0 && i < w && j < h && !inside(i, j));
            if !is_border {
                continue;
            }
            own.clear();
            other.clear();
            for j in (y - reach).max(0)..=(y + reach).min(h - 1) {
                for i in (x - reach).max(0)..=(x + reach).min(w - 1) {
                    let distance = (i - x) * (i - x) + (j - y) * (j - y);
                    // Pixels right at the border may be of either side.
                    if distance > reach * reach || distance <= 1 {
                        continue;
                    }
                    let value = depth.pixels[(j * w + i) as usize][0];
                    if value.is_finite() && value > 0.0 {
                        if inside(i, j) {
                            own.push(value)
                        } else {
                            other.push(value)
                        }
                    }
                }
            }
            if let (Some(own), Some(other)) = (median(&mut own), median(&mut other)) {
                counted += 1;
                let step = match nearer {
                    Nearer::Small => own - other,
                    Nearer::Large => other - own,
                };
                occluded += usize::from(step > CLEARLY * own.max(other));
            }
        }
    }
    if counted == 0 {
        0.0
    } else {
        occluded as f32 / counted as f32
    }
}

fn median(values: &mut [f32]) -> Option<f32> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    Some(*values.select_nth_unstable_by(middle, f32::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square object at distance 5 before a wall at 10; a post at `post` covers its right part and goes on above and below.
    fn scene(post: f32) -> (Raster<1>, Raster<1>) {
        let object = |x: usize, y: usize| (10..40).contains(&x) && (10..40).contains(&y);
        let mask = Raster::from_fn(60, 60, |x, y| [f32::from(object(x, y) && x < 30)]);
        let depth = Raster::from_fn(60, 60, |x, y| {
            [if (30..44).contains(&x) {
                post
            } else if object(x, y) {
                5.0
            } else {
                10.0
            }]
        });
        (mask, depth)
    }

    #[test]
    fn a_post_in_front_occludes_and_one_behind_does_not() {
        let (mask, depth) = scene(2.0);
        let share = occluded_share(&mask, &depth, Nearer::Small);
        assert!((0.25..0.45).contains(&share), "{share}");
        let inverse = depth.map(|d| [1.0 / d[0]]);
        let same = occluded_share(&mask, &inverse, Nearer::Large);
        assert!((share - same).abs() < 0.02, "{share} {same}");
        let (mask, depth) = scene(8.0);
        assert_eq!(occluded_share(&mask, &depth, Nearer::Small), 0.0);
        // A little unevenness is nothing.
        let (mask, depth) = scene(4.95);
        assert_eq!(occluded_share(&mask, &depth, Nearer::Small), 0.0);
    }

    #[test]
    fn missing_depth_and_the_pictures_edge_do_not_count() {
        let (mask, depth) = scene(2.0);
        for missing in [0.0, f32::NAN, f32::INFINITY, -1.0] {
            let holes = depth.map(|d| [if d[0] < 3.0 { missing } else { d[0] }]);
            assert_eq!(occluded_share(&mask, &holes, Nearer::Small), 0.0);
        }
        let all = Raster::filled(8, 8, [1.0]);
        assert_eq!(occluded_share(&all, &all, Nearer::Small), 0.0);
    }
}
