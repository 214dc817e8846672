//! What the model is shown of a plate: a window around the object, shrunk by a whole factor.

use peel_image::{Layer, Matte, Rect};
use rayon::prelude::*;

use crate::cells::{self, Sums};
use crate::inset::Inset;
use crate::light::Table;
use crate::region::coverage;
use crate::{Plane, Rgb, pushpull};

/// The model's patches: its pictures' sides are multiples of this.
const PATCH: usize = 16;

/// The least context around an object, in pixels.
const LEAST_CONTEXT: f32 = 12.0;

/// A window of the plate and the size at which the model sees it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Crop {
    /// `width * factor` by `height * factor` plate pixels. It lies inside the plate where the plate is large
    /// enough; otherwise it reaches past the plate's right and lower edges, where the plate is mirrored.
    pub window: Rect,
    /// The pixels that exist: the window within the plate.
    pub inner: Rect,
    /// Plate pixels to a model pixel.
    pub factor: usize,
    /// Columns that the model sees.
    pub width: usize,
    /// Rows that the model sees.
    pub height: usize,
}

/// The plate at the model's size.
pub(crate) struct View {
    /// What the model is shown: encoded, 0 to 1.
    pub picture: Rgb,
    /// How much detail each of its pixels averages away: the standard deviation of the plate's encoded green in it.
    pub grain: Plane,
    /// Whether a row of its pixels has any to which not all plate pixels could contribute.
    pub odd_rows: Vec<bool>,
}

/// Pixels of context around an object in this window.
pub(crate) fn context(object: Rect, margin: f32) -> i32 {
    (margin * object.width().max(object.height()) as f32)
        .max(LEAST_CONTEXT)
        .ceil() as i32
}

impl Crop {
    /// Around an `object` inside `plate` (its data window), with `margin` of the object's longer side as context,
    /// for a model that works at `size` pixels.
    ///
    /// Small objects are not enlarged; they get more context instead.
    pub fn around(object: Rect, plate: Rect, margin: f32, size: usize) -> Crop {
        let wanted = object.grow(context(object, margin)).intersect(plate);
        let long = wanted.width().max(wanted.height());
        let factor = long.div_ceil(size).max(1);
        // As many patches as the wanted window needs, and as the working size has, but no more than the plate needs.
        let patches = |wanted: usize, plate: usize| {
            let unit = PATCH * factor;
            let least = if factor == 1 { size.div_ceil(PATCH) } else { 1 };
            wanted.div_ceil(unit).max(least.min(plate.div_ceil(unit)))
        };
        let width = patches(wanted.width(), plate.width()) * PATCH;
        let height = patches(wanted.height(), plate.height()) * PATCH;
        let x = place(wanted.x0, wanted.x1, plate.x0, plate.x1, width * factor);
        let y = place(wanted.y0, wanted.y1, plate.y0, plate.y1, height * factor);
        let window = Rect::new(x, y, x + (width * factor) as i32, y + (height * factor) as i32);
        Crop {
            window,
            inner: window.intersect(plate),
            factor,
            width,
            height,
        }
    }

    /// The plate encoded and shrunk to what the model sees, 0 to 1. Pixels that half cannot hold are left out of the
    /// means; where nothing else is near, they are filled from around.
    pub fn view(&self, plate: &Layer, table: &Table) -> View {
        let (width, factor) = (self.width, self.factor);
        let columns = mirror(
            self.window.x0,
            self.window.width(),
            plate.data().x0,
            plate.data().x1,
        );
        let rows = mirror(
            self.window.y0,
            self.window.height(),
            plate.data().y0,
            plate.data().y1,
        );
        let columns: Vec<usize> = columns
            .iter()
            .map(|&column| (column - plate.data().x0) as usize)
            .collect();
        let mut sums = vec![Sums::default(); width * self.height];
        sums.par_chunks_mut(width).enumerate().for_each(|(y, sums)| {
            for &row in &rows[y * factor..(y + 1) * factor] {
                cells::add_row(plate.row(row), &columns, factor, table, sums);
            }
        });
        self.view_of(&sums)
    }

    /// The same from sums over each model pixel: red, green, blue as shown, green squared, and pixels that count.
    pub fn view_of(&self, sums: &[Sums]) -> View {
        let width = self.width;
        let known = Plane::from_fn(width, self.height, |x, y| f32::from(sums[y * width + x][4] > 0.0));
        let mean = |c: usize| {
            let mean = Plane::from_fn(width, self.height, |x, y| {
                let sum = sums[y * width + x];
                if sum[4] > 0.0 { sum[c] / sum[4] } else { 0.0 }
            });
            if known.values.contains(&0.0) {
                pushpull::fill(&mean, &known)
            } else {
                mean
            }
        };
        let picture = [mean(0), mean(1), mean(2)];
        let grain = mean(3).zip(&picture[1], |square, mean| (square - mean * mean).max(0.0).sqrt());
        let all = (self.factor * self.factor) as f32;
        let odd_rows = sums.chunks(width).map(|row| row.iter().any(|sum| sum[4] < all));
        View {
            picture,
            grain,
            odd_rows: odd_rows.collect(),
        }
    }

    /// The matte as the model sees it, 0 to 1: means over the window's cells, mirrored as the plate is. Whatever lies outside
    /// `own` belongs to another crop and counts as 0.
    pub fn mask(&self, matte: &Matte, plate: Rect, own: Rect) -> Plane {
        let lines = Lines::new(self, matte, plate, own);
        let factor = self.factor;
        let scale = 1.0 / (factor * factor) as f32;
        let mut out = Plane::filled(self.width, self.height, 0.0);
        out.for_rows(|y, out| {
            let mut line = vec![0.0; self.window.width()];
            for y in y * factor..(y + 1) * factor {
                if lines.fill(y, 0, &mut line) {
                    for (v, cells) in out.iter_mut().zip(line.chunks(factor)) {
                        *v += cells.iter().sum::<f32>();
                    }
                }
            }
            out.iter_mut().for_each(|v| *v *= scale);
        });
        out
    }

    /// The matte over the window, as far as it is within `reach` pixels of the `island` (in the plate's coordinates) or its mirror
    /// images; 0 elsewhere.
    pub fn matte(&self, matte: &Matte, plate: Rect, own: Rect, island: Rect, reach: usize) -> Inset {
        let lines = Lines::new(self, matte, plate, own);
        let span = |places: &[i32], from: i32, to: i32| {
            let inside = |place: &i32| (from..to).contains(place);
            let first = places.iter().position(inside)?;
            let last = places.iter().rposition(inside)?;
            Some(first.saturating_sub(reach)..(last + 1 + reach).min(places.len()))
        };
        let columns = span(&lines.columns, island.x0, island.x1).unwrap_or(0..0);
        let rows = span(&lines.rows, island.y0, island.y1).unwrap_or(0..0);
        let mut part = Plane::filled(columns.len(), rows.len(), 0.0);
        part.for_rows(|y, out| {
            lines.fill(rows.start + y, columns.start, out);
        });
        Inset {
            part,
            left: columns.start,
            top: rows.start,
            rest: 0.0,
        }
    }

    /// For each model pixel, the share of its plate pixels at which a plane over the window satisfies `test`; the plane's rest does
    /// not.
    pub fn share(&self, large: &Inset, test: impl Fn(f32) -> bool + Sync) -> Plane {
        let factor = self.factor;
        let scale = 1.0 / (factor * factor) as f32;
        let mut out = Plane::filled(self.width, self.height, 0.0);
        let (first, last) = (
            large.left / factor,
            (large.left + large.part.width).div_ceil(factor),
        );
        out.for_rows(|y, out| {
            let mut line = vec![0.0; (last - first) * factor];
            for y in y * factor..(y + 1) * factor {
                if (large.top..large.top + large.part.height).contains(&y) {
                    large.row(y, first * factor, &mut line);
                    for (v, cells) in out[first..last].iter_mut().zip(line.chunks(factor)) {
                        *v += cells.iter().filter(|&&v| test(v)).count() as f32;
                    }
                }
            }
            out.iter_mut().for_each(|v| *v *= scale);
        });
        out
    }
}

/// The lines of a crop's window in a matte, mirrored as the plate is.
struct Lines<'a> {
    matte: &'a Matte,
    /// Where the matte counts.
    own: Rect,
    /// For each column and row of the window, the plate's.
    columns: Vec<i32>,
    rows: Vec<i32>,
}

impl Lines<'_> {
    fn new<'a>(crop: &Crop, matte: &'a Matte, plate: Rect, own: Rect) -> Lines<'a> {
        let window = crop.window;
        Lines {
            matte,
            own: own.intersect(matte.data()),
            columns: mirror(window.x0, window.width(), plate.x0, plate.x1),
            rows: mirror(window.y0, window.height(), plate.y0, plate.y1),
        }
    }

    /// Coverage along row `y` of the window from column `x0` on; whether the matte has anything to say there. Otherwise `out` is left
    /// alone.
    fn fill(&self, y: usize, x0: usize, out: &mut [f32]) -> bool {
        let (own, y) = (self.own, self.rows[y]);
        if own.is_empty() || y < own.y0 || y >= own.y1 {
            return false;
        }
        let row = self.matte.row(y);
        let left = self.matte.data().x0;
        for (v, &x) in out.iter_mut().zip(&self.columns[x0..]) {
            *v = if x >= own.x0 && x < own.x1 {
                coverage(row[(x - left) as usize])
            } else {
                0.0
            };
        }
        true
    }
}

/// Where a window of `size` goes so that `[low, high)` is in its middle, but inside `[first, last)` if it fits.
fn place(low: i32, high: i32, first: i32, last: i32, size: usize) -> i32 {
    let size = size as i64;
    let centred = (i64::from(low) + i64::from(high) - size).div_euclid(2);
    // Never left of the first pixel, so that only the far edges are ever mirrored.
    centred.min(i64::from(last) - size).max(i64::from(first)) as i32
}

/// For `n` pixels from `start` on, the pixel of `[first, last)` that shows there: itself, or its mirror image.
fn mirror(start: i32, n: usize, first: i32, last: i32) -> Vec<i32> {
    let length = i64::from(last) - i64::from(first);
    (i64::from(start)..i64::from(start) + n as i64)
        .map(|at| {
            let phase = (at - i64::from(first)).rem_euclid(2 * length);
            (i64::from(first) + phase.min(2 * length - 1 - phase)) as i32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Light;

    #[test]
    fn crops_hold_the_object_and_stay_inside_the_plate() {
        let plate = Rect::of_size(4096, 2160);
        for object in [
            Rect::new(0, 0, 40, 30),
            Rect::new(4000, 2000, 4096, 2160),
            Rect::new(1000, 300, 2000, 1200),
            Rect::new(2000, 0, 2030, 2160),
            plate,
        ] {
            let crop = Crop::around(object, plate, 0.6, 128);
            assert!(crop.window.encloses(object), "{object}");
            assert!(crop.width.is_multiple_of(16) && crop.height.is_multiple_of(16));
            assert!(
                crop.width.max(crop.height) <= 128,
                "{object}: {}x{}",
                crop.width,
                crop.height
            );
            assert_eq!(crop.window.width(), crop.width * crop.factor);
            let slack = 16 * crop.factor;
            assert!(
                crop.window.width() < plate.width() + slack && crop.window.height() < plate.height() + slack
            );
        }
        let small = Crop::around(Rect::new(1000, 1000, 1020, 1030), plate, 0.6, 128);
        assert_eq!((small.factor, small.width, small.height), (1, 128, 128));
    }

    #[test]
    fn a_plate_of_one_pixel_is_mirrored_all_over() {
        let one = Rect::new(5, 7, 6, 8);
        let crop = Crop::around(one, one, 0.6, 128);
        assert_eq!((crop.width, crop.height, crop.inner), (16, 16, one));
        let plate = Layer::from_fn(one, one, |_, _| [1.0, 0.18, 0.0, 1.0]);
        let picture = crop.view(&plate, &Light::default().table()).picture;
        assert!((picture[1].at(15, 15) - 0.4613).abs() < 1e-3);
        let broken = Matte::from_fn(one, one, |_, _| f32::NAN);
        assert_eq!(crop.mask(&broken, one, one), Plane::filled(16, 16, 0.0));
        let full = Matte::from_fn(one, one, |_, _| 1.0);
        assert_eq!(crop.mask(&full, one, one), Plane::filled(16, 16, 1.0));
        let matte = crop.matte(&full, one, one, one, 3);
        assert_eq!(matte.part, Plane::filled(16, 16, 1.0));
        assert_eq!(crop.share(&matte, |v| v > 0.5), Plane::filled(16, 16, 1.0));
    }

    #[test]
    fn mirroring_repeats_the_edge_pixel_once() {
        assert_eq!(mirror(10, 9, 10, 13), [10, 11, 12, 12, 11, 10, 10, 11, 12]);
    }

    #[test]
    fn odd_pixels_do_not_reach_the_model() {
        let frame = Rect::of_size(64, 64);
        let plate = Layer::from_fn(frame, frame, |x, y| {
            if x < 40 {
                [f32::NAN; 4]
            } else {
                [if y == 3 { 1e9 } else { 0.2 }, 0.2, 0.2, 1.0]
            }
        });
        let crop = Crop {
            window: frame,
            inner: frame,
            factor: 2,
            width: 32,
            height: 32,
        };
        let picture = crop.view(&plate, &Light::default().table()).picture;
        assert!(
            picture
                .iter()
                .flat_map(|p| &p.values)
                .all(|v| (v - picture[1].at(30, 30)).abs() < 1e-4)
        );
    }
}
