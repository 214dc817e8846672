//! Where a frame shows the background, and where one object hides another.

use peel_image::{Layer, Matte, Rect, TRANSPARENT};

use super::Homography;
use super::sample::look_at_matte;
use crate::crop::{self, Crop};
use crate::peel::MOST_CROPS;
use crate::region::{self, SOLID, coverage};
use crate::{Error, Options, Plane, Result};

/// Coverage from which a mask seen from another frame counts as the object.
const HALF: f32 = 0.5;

/// Width in pixels over which visibility rises from 0 to 1: the border between two frames' pixels is as soft as this.
const FADE: f32 = 4.0;

/// How far, in pixels, the hole that [`peel_one`](crate::peel_one) leaves reaches past a mask, for a model that works at
/// `working_size`: one model pixel, and what the options add.
pub fn reach(mask: &Matte, frame: Rect, options: &Options, working_size: usize) -> f32 {
    let around = |island: Rect| crop::context(island, options.margin);
    let islands = region::join(region::islands(mask, frame), MOST_CROPS, around);
    let size = options.working_size.unwrap_or(working_size);
    let factor = islands
        .iter()
        .map(|&island| Crop::around(island, frame, options.margin, size).factor)
        .max();
    factor.unwrap_or(1) as f32 + options.grow
}

/// How visible the background is within `window`: 0 where a mask covers it or a foreground has any effect on it, and
/// `reach` pixels around; from there it rises to 1 over four pixels.
///
/// A mask that was made for another frame size than `display` is an error.
pub fn visibility(
    display: Rect,
    window: Rect,
    masks: &[&Matte],
    foregrounds: &[&Layer],
    reach: f32,
) -> Result<Matte> {
    let mut hidden = Plane::filled(window.width(), window.height(), 0.0);
    let column = |x: i32| (x - window.x0) as usize;
    for mask in masks {
        if mask.display() != display {
            return Err(Error::SizeMismatch {
                plate: display,
                matte: mask.display(),
            });
        }
        let both = mask.data().intersect(window);
        for y in both.y0..both.y1 {
            let line = &mask.row(y)[(both.x0 - mask.data().x0) as usize..];
            for (x, &value) in (both.x0..both.x1).zip(line) {
                if coverage(value) > SOLID {
                    hidden.values[(y - window.y0) as usize * window.width() + column(x)] = 1.0;
                }
            }
        }
    }
    for layer in foregrounds {
        let both = layer.data().intersect(window);
        for y in both.y0..both.y1 {
            let (start, line) = layer.span(y, both.x0, both.x1);
            for (x, pixel) in (start..).zip(line) {
                if *pixel != TRANSPARENT {
                    hidden.values[(y - window.y0) as usize * window.width() + column(x)] = 1.0;
                }
            }
        }
    }
    let near = region::distance(&hidden, 0.5, (reach + FADE).ceil() as usize);
    let values = near
        .values
        .iter()
        .map(|d| ((d - reach) / FADE).clamp(0.0, 1.0))
        .collect();
    Ok(Matte::from_values(display, window, values).unwrap_or_else(|| Matte::new(display, window)))
}

/// A mask as it would be if nothing stood before its object, as far as other frames know.
///
/// Where something stands before the object here, and at least half of the frames that see past it there show the object, the
/// mask is that of the first such frame that was looked at.
pub struct SeenMask<'a> {
    mask: &'a Matte,
    free: &'a Matte,
    /// Where something stands before the object.
    area: Rect,
    /// What each frame shows of the area: its mask, and where nothing stands before the object there.
    seen: Vec<(Vec<f32>, Vec<f32>)>,
}

impl<'a> SeenMask<'a> {
    /// `free` is 1 where nothing stands before the object here ([`visibility`] of the masks in front).
    pub fn new(mask: &'a Matte, free: &'a Matte) -> SeenMask<'a> {
        let window = free.data();
        let hidden = (0..).zip(free.values()).filter(|&(_, &free)| free < 1.0);
        let area = hidden.fold(Rect::EMPTY, |area, (i, _): (usize, _)| {
            let (x, y) = (i % window.width(), i / window.width());
            let (x, y) = (window.x0 + x as i32, window.y0 + y as i32);
            area.union(Rect::new(x, y, x + 1, y + 1))
        });
        SeenMask {
            mask,
            free,
            area,
            seen: Vec::new(),
        }
    }

    /// Looks at another frame's mask, with the same visibility there; the nearest frames first. `to_there` takes positions here
    /// to positions there.
    pub fn look(&mut self, mask: &Matte, free: &Matte, to_there: &Homography) {
        let mask = look_at_matte(mask, to_there, self.area, 0.0);
        self.seen
            .push((mask, look_at_matte(free, to_there, self.area, 0.0)));
    }

    /// The mask, completed.
    pub fn complete(&self) -> Matte {
        let (mask, area) = (self.mask, self.area);
        if area.is_empty() || self.seen.is_empty() {
            return mask.clone();
        }
        let mut complete = Matte::new(mask.display(), mask.data().union(area));
        for y in mask.data().y0..mask.data().y1 {
            let from = (mask.data().x0 - complete.data().x0) as usize;
            complete.row_mut(y)[from..from + mask.data().width()].copy_from_slice(mask.row(y));
        }
        for (i, (x, y)) in (area.y0..area.y1)
            .flat_map(|y| (area.x0..area.x1).map(move |x| (x, y)))
            .enumerate()
        {
            if self.free.get(x, y) >= 1.0 {
                continue;
            }
            let says = self
                .seen
                .iter()
                .filter(|(_, free)| free[i] >= 1.0)
                .map(|(mask, _)| coverage(mask[i]));
            let nearest = says.clone().next();
            let (yes, all) = says.fold((0, 0), |(yes, all), v| (yes + usize::from(v > HALF), all + 1));
            if let Some(nearest) = nearest.filter(|_| 2 * yes >= all) {
                let at = (x - complete.data().x0) as usize;
                let own = &mut complete.row_mut(y)[at];
                *own = coverage(*own).max(nearest);
            }
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Rect = Rect {
        x0: 0,
        y0: 0,
        x1: 40,
        y1: 30,
    };

    fn square(x0: i32, y0: i32, x1: i32, y1: i32) -> Matte {
        Matte::from_fn(FRAME, Rect::new(x0, y0, x1, y1), |_, _| 1.0)
    }

    #[test]
    fn masks_and_effects_hide_with_a_margin() {
        let mask = square(10, 10, 14, 14);
        let shadow = Layer::from_fn(FRAME, Rect::new(14, 12, 20, 13), |_, _| [0.0, 0.0, 0.0, 0.01]);
        let shows = visibility(FRAME, FRAME, &[&mask], &[&shadow], 2.0).unwrap();
        assert_eq!(
            (shows.get(12, 12), shows.get(8, 12), shows.get(21, 12)),
            (0.0, 0.0, 0.0)
        );
        assert!(shows.get(7, 12) > 0.0 && shows.get(7, 12) < 1.0);
        assert_eq!((shows.get(3, 12), shows.get(30, 12)), (1.0, 1.0));
        let other = Matte::new(Rect::of_size(8, 8), Rect::EMPTY);
        let error = visibility(FRAME, FRAME, &[&other], &[], 2.0)
            .unwrap_err()
            .to_string();
        assert!(error.contains("8x8") && error.contains("40x30"), "{error}");
    }

    #[test]
    fn what_stands_before_a_mask_is_seen_past_in_other_frames() {
        // The bear is at 10..20; here a ball hides its right half, elsewhere it does not.
        let whole = square(10, 10, 20, 20);
        let half = square(10, 10, 15, 20);
        let all = visibility(FRAME, FRAME, &[], &[], 0.0).unwrap();
        let here = visibility(FRAME, FRAME, &[&square(15, 8, 25, 22)], &[], 0.0).unwrap();
        let complete_mask = |others: &[&Matte]| {
            let mut seen = SeenMask::new(&half, &here);
            others
                .iter()
                .for_each(|other| seen.look(other, &all, &Homography::IDENTITY));
            seen.complete()
        };
        let complete = complete_mask(&[&whole, &whole]);
        assert_eq!(
            (complete.get(17, 15), complete.get(22, 15), complete.get(12, 12)),
            (1.0, 0.0, 1.0)
        );
        // One frame of three says so: too few.
        let none = Matte::new(FRAME, FRAME);
        assert_eq!(complete_mask(&[&whole, &none, &none]).get(17, 15), 0.0);
        assert_eq!(complete_mask(&[]), half);
    }
}
