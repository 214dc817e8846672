//! The last pass: background and foreground at the plate's size.

use std::ops::Range;

use peel_image::{Layer, Pixel, Rect, TRANSPARENT};
use rayon::prelude::*;

use super::Solution;
use super::effect::DARKEST;
use crate::crop::{Crop, View};
use crate::filters::{Upsampler, smoothstep};
use crate::light::Table;
use crate::{Light, Options, Plane, Quality, exact, f16};

/// The least alpha of an effect that only adds light: its pixels belong to the foreground all the same.
const FAINTEST: f32 = 1.0 / 1024.0;

/// Share of the object's colour in a pixel beside its matte from which on it counts, and at which it counts whole: less may be
/// texture.
const SHARE: (f32, f32) = (0.06, 0.2);

/// The same for the light that a pixel lacks.
const LACKS: (f32, f32) = (0.15, 0.4);

/// Alpha at such a pixel from which on its background is all fill.
const CERTAIN: f32 = 0.1;

/// The least squared difference of encoded colours that object and fill are told apart by.
const TELLS: f32 = 0.01;

/// What painting found.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Painted {
    /// Pixels with any foreground.
    pub affected: u64,
    /// The smallest window around them.
    pub window: Rect,
    /// Largest difference between plate and layers laid back, in half.
    pub recomposition_max: f32,
    /// Plate pixels with NaN or infinity.
    pub non_finite: u64,
    /// Plate pixels past half's range.
    pub beyond_half: u64,
}

impl Painted {
    pub fn with(self, other: Painted) -> Painted {
        Painted {
            affected: self.affected + other.affected,
            window: self.window.union(other.window),
            recomposition_max: self.recomposition_max.max(other.recomposition_max),
            non_finite: self.non_finite + other.non_finite,
            beyond_half: self.beyond_half + other.beyond_half,
        }
    }

    /// Counts a pixel that was given a foreground, and lays back into the plate with this difference.
    fn note(&mut self, x: i32, y: i32, difference: f32) {
        self.affected += 1;
        self.window = self.window.union(Rect::new(x, y, x + 1, y + 1));
        self.recomposition_max = self.recomposition_max.max(difference);
    }
}

/// Where one crop's last pass has something to do.
pub(crate) struct Active {
    /// The part of the plate that all of it lies in.
    pub area: Rect,
    /// For each row of model pixels, columns of the window.
    columns: Vec<Range<usize>>,
}

impl Active {
    /// Of a settled crop.
    pub fn new(crop: &Crop, solution: &Solution, options: &Options) -> Active {
        let columns = active_columns(crop, solution, options.painted_quality());
        let (x0, y0, factor) = (crop.window.x0, crop.window.y0, crop.factor);
        let mut area = Rect::EMPTY;
        for (y, columns) in columns
            .iter()
            .enumerate()
            .filter(|(_, columns)| !columns.is_empty())
        {
            let rows = (y * factor, (y + 1) * factor);
            area = area.union(Rect::new(
                x0 + columns.start as i32,
                y0 + rows.0 as i32,
                x0 + columns.end as i32,
                y0 + rows.1 as i32,
            ));
        }
        Active {
            area: area.intersect(crop.inner),
            columns,
        }
    }
}

/// Counts plate pixels of a crop that half cannot hold.
pub(crate) fn odd_pixels(crop: &Crop, view: &View, plate: &Layer) -> Painted {
    let inner = crop.inner;
    let rows = inner.y0..inner.y1;
    let left = (inner.x0 - plate.data().x0) as usize;
    // The window's first row is always the plate's own: only its far edges can lie outside.
    rows.filter(|y| view.odd_rows[(y - inner.y0) as usize / crop.factor])
        .map(|y| odd_pixels_of_row(&plate.row(y)[left..left + inner.width()]))
        .fold(Painted::default(), Painted::with)
}

/// Writes one crop's result into both layers: `background` holds the plate, `foreground` covers at least the active area.
///
/// Pixels that an earlier crop has given a foreground are left alone.
pub(crate) fn paint(
    (crop, active): (&Crop, &Active),
    solution: &Solution,
    plate: &Layer,
    (light, table): (Light, &Table),
    options: &Options,
    (background, foreground): (&mut Layer, &mut Layer),
) -> Painted {
    let area = active.area;
    if area.is_empty() {
        return Painted::default();
    }
    let painter = Painter {
        crop,
        solution,
        plate,
        light,
        table,
        quality: options.painted_quality(),
        up: Upsampler::new(crop.factor),
    };
    let rows = |layer: &Layer| {
        let (data, width) = (layer.data(), layer.data().width());
        ((area.y0 - data.y0) as usize, (area.x0 - data.x0) as usize, width)
    };
    let ((top_b, left_b, width_b), (top_f, left_f, width_f)) = (rows(background), rows(foreground));
    let clean = background
        .pixels_mut()
        .par_chunks_mut(width_b)
        .skip(top_b)
        .take(area.height());
    let front = foreground
        .pixels_mut()
        .par_chunks_mut(width_f)
        .skip(top_f)
        .take(area.height());
    // The window's first row and column are always the plate's own: only its far edges can lie outside.
    let (left, top) = (
        (area.x0 - crop.inner.x0) as usize,
        (area.y0 - crop.inner.y0) as usize,
    );
    clean
        .zip(front)
        .enumerate()
        .map(|(row, (clean, front))| {
            let y = top + row;
            let columns = active.columns[y / crop.factor].clone();
            let columns = columns.start.min(crop.inner.width())..columns.end.min(crop.inner.width());
            if columns.is_empty() {
                return Painted::default();
            }
            let (first, last) = (columns.start - left, columns.end - left);
            let clean = &mut clean[left_b..][first..last];
            let front = &mut front[left_f..][first..last];
            painter.row(y, columns.start, clean, front)
        })
        .collect::<Vec<_>>()
        .into_iter()
        .fold(Painted::default(), Painted::with)
}

/// Puts the layers that a card has painted into both layers, as [`paint`] would have; `foreground` covers at least `crop.inner`.
pub(crate) fn place(
    crop: &Crop,
    painted: &[Vec<Pixel>; 2],
    background: &mut Layer,
    foreground: &mut Layer,
) -> Painted {
    let (inner, width) = (crop.inner, crop.inner.width());
    let mut found = Painted::default();
    for (i, y) in (inner.y0..inner.y1).enumerate() {
        let row = |layer: &Layer| (inner.x0 - layer.data().x0) as usize;
        let (left, right) = (row(background), row(foreground));
        let clean = &mut background.row_mut(y)[left..left + width];
        let front = &mut foreground.row_mut(y)[right..right + width];
        for x in 0..width {
            let (b, f) = (painted[0][i * width + x], painted[1][i * width + x]);
            if f != TRANSPARENT && front[x] == TRANSPARENT {
                found.note(inner.x0 + x as i32, y, difference(clean[x], b, f));
                (clean[x], front[x]) = (b, f);
            }
        }
    }
    found
}

fn odd_pixels_of_row(row: &[Pixel]) -> Painted {
    let mut found = Painted::default();
    for pixel in row {
        if !exact::is_finite(*pixel) {
            let finite = pixel.iter().all(|c| c.is_finite());
            found.non_finite += u64::from(!finite);
            found.beyond_half += u64::from(finite);
        }
    }
    found
}

/// For each row of model pixels, the plate columns of the window in which there may be an effect or a hole.
fn active_columns(crop: &Crop, solution: &Solution, quality: Quality) -> Vec<Range<usize>> {
    let Solution { effect, object, .. } = solution;
    let (width, height) = object.hole.size();
    if quality == Quality::Plain {
        return vec![0..width * crop.factor; height];
    }
    let busy = |x: usize, y: usize| object.hole.at(x, y) > 0.0 || effect.gate(effect.strength.at(x, y)) > 0.0;
    let spans: Vec<Option<(usize, usize)>> = (0..height)
        .map(|y| {
            Some((
                (0..width).find(|&x| busy(x, y))?,
                (0..width).rfind(|&x| busy(x, y))?,
            ))
        })
        .collect();
    // Cubic up-sampling reaches two pixels.
    (0..height)
        .map(|y| {
            let near = &spans[y.saturating_sub(2)..(y + 3).min(height)];
            let first = near.iter().flatten().map(|s| s.0).min();
            let last = near.iter().flatten().map(|s| s.1).max();
            let (Some(first), Some(last)) = (first, last) else {
                return 0..0;
            };
            first.saturating_sub(2) * crop.factor..(last + 3).min(width) * crop.factor
        })
        .collect()
}

struct Painter<'a> {
    crop: &'a Crop,
    solution: &'a Solution,
    plate: &'a Layer,
    light: Light,
    table: &'a Table,
    quality: Quality,
    up: Upsampler,
}

/// What a pixel in the hole knows of it.
#[derive(Clone, Copy)]
struct Hole {
    /// The matte there.
    matte: f32,
    /// Weight of the fill against the plate's own pixel.
    weight: f32,
}

/// Planes of one row at the plate's size.
struct Row {
    strength: Vec<f32>,
    through: [Vec<f32>; 3],
    added: [Vec<f32>; 3],
    base: [Vec<f32>; 3],
    alpha: Vec<f32>,
    trust: Vec<f32>,
    edge: Vec<f32>,
    colour: [Vec<f32>; 3],
    lost: Vec<f32>,
}

impl Painter<'_> {
    /// Paints row `y` of the window from column `x0` on.
    fn row(&self, y: usize, x0: usize, clean: &mut [Pixel], front: &mut [Pixel]) -> Painted {
        let n = clean.len();
        let Solution {
            effect, object, base, ..
        } = self.solution;
        let up = |plane: &Plane| {
            let mut out = vec![0.0; n];
            self.up.row(plane, y, x0, &mut out);
            out
        };
        let (mut near, mut matte) = (vec![0.0; n], vec![0.0; n]);
        object.near.row(y, x0, &mut near);
        object.matte.row(y, x0, &mut matte);
        let has_hole = near.iter().any(|&d| d <= object.reach);
        let edge = up(&effect.edge);
        let has_edge = edge.iter().any(|&e| e > 0.0);
        let lost = up(&effect.lost);
        let is_lost = lost.iter().any(|&l| l > 0.0);
        let needs_base = has_hole || self.quality < Quality::Unshadow || has_edge || is_lost;
        let row = Row {
            strength: up(&effect.strength),
            through: std::array::from_fn(|c| up(&effect.transmittance[c])),
            added: std::array::from_fn(|c| up(&effect.light[c])),
            base: std::array::from_fn(|c| if needs_base { up(&base[c]) } else { Vec::new() }),
            alpha: if has_hole { up(&object.alpha) } else { Vec::new() },
            trust: if has_hole { up(&object.trust) } else { Vec::new() },
            colour: std::array::from_fn(|c| {
                if has_hole {
                    up(&object.colour[c])
                } else {
                    Vec::new()
                }
            }),
            edge,
            lost,
        };
        let mut found = Painted::default();
        for i in 0..n {
            if front[i] != TRANSPARENT {
                continue;
            }
            let inside = near[i] <= object.reach;
            let gate = if self.quality == Quality::Plain {
                1.0
            } else {
                effect.gate(row.strength[i])
            };
            if gate <= 0.0 && !inside {
                continue;
            }
            let plate = clean[i];
            let hole = inside.then(|| Hole {
                matte: matte[i],
                weight: object.fill_weight(near[i]),
            });
            let Some((colour, alpha)) = self.pixel(&row, i, (x0 + i, y), plate, gate, hole) else {
                continue;
            };
            let (b, f) = exact::split(plate, colour, alpha);
            if f != TRANSPARENT {
                let (x, y) = (x0 + i, y);
                let (x, y) = (self.crop.window.x0 + x as i32, self.crop.window.y0 + y as i32);
                found.note(x, y, difference(plate, b, f));
                (clean[i], front[i]) = (b, f);
            }
        }
        found
    }

    /// The clean background and the foreground's alpha at one pixel; `None` where nothing changes.
    #[inline]
    fn pixel(
        &self,
        row: &Row,
        i: usize,
        at: (usize, usize),
        plate: Pixel,
        gate: f32,
        hole: Option<Hole>,
    ) -> Option<([f32; 3], f32)> {
        let added: [f32; 3] =
            std::array::from_fn(|c| (row.added[c][i].max(0.0) * gate).min(plate[c].max(0.0)));
        let seen: [f32; 3] = std::array::from_fn(|c| plate[c] - added[c]);
        let relights = self.quality >= Quality::Unshadow;
        let edge = if relights {
            row.edge[i].clamp(0.0, 1.0)
        } else {
            0.0
        };
        let lost = if relights {
            row.lost[i].clamp(0.0, 1.0) * gate
        } else {
            0.0
        };
        let mut weight = hole.map_or(0.0, |hole| hole.weight).max(lost);
        let encoded = if weight > 0.0 || edge > 0.0 || !relights {
            self.fill(row, i, at)
        } else {
            [0.0; 3]
        };
        let filled = encoded.map(|v| self.light.decode(v));
        let through: [f32; 3] = std::array::from_fn(|c| {
            let smooth = 1.0 - (1.0 - row.through[c][i].clamp(DARKEST, 1.0)) * gate;
            if edge <= 0.0 {
                return smooth;
            }
            // What the plate lacks against the fill is the shadow, as sharp as the plate has it.
            let sharp = (seen[c] / filled[c].max(1e-4)).clamp(DARKEST, 1.0);
            smooth + (sharp - smooth) * edge
        });
        let mut alpha = 1.0 - through[0].min(through[1]).min(through[2]);
        if added.iter().any(|&a| a > 0.0) {
            alpha = alpha.max(FAINTEST * gate);
        }
        if let Some(Hole { matte, .. }) = hole {
            let trust = row.trust[i].clamp(0.0, 1.0);
            let own = row.alpha[i].clamp(0.0, 1.0);
            // At its soft edge the object lies over its own shadow.
            let matted = 1.0 - (1.0 - matte) * (1.0 - alpha);
            let known = trust * matted + (1.0 - trust) * own;
            alpha = alpha.max(known);
            if known < 1.0 && weight > 0.0 && relights && self.solution.object.hardness > 0.0 {
                let rim = self.solution.object.hardness * self.rim(row, i, plate, encoded);
                if alpha <= 0.0 {
                    weight *= smoothstep(rim, 0.0, CERTAIN);
                }
                alpha = alpha.max(rim * weight);
            }
        }
        // Something opaque beside the matte is the object's as well.
        alpha = alpha.max(lost * row.strength[i].clamp(0.0, 1.0));
        if alpha <= 0.0 {
            return None;
        }
        let colour = std::array::from_fn(|c| {
            let relit = match self.quality {
                Quality::Plain => filled[c],
                Quality::Gate => plate[c] * (1.0 - gate) + filled[c] * gate,
                _ => seen[c] / through[c],
            };
            if weight > 0.0 {
                relit + (filled[c] - relit) * weight
            } else {
                relit
            }
        });
        Some((colour, alpha))
    }

    /// How much of a pixel of the hole is the object's although its matte does not say so, 0 to 1: a matte with a hard edge, or
    /// one drawn tight, leaves out what focus and motion have smeared, and what the model's size is too coarse to shade.
    ///
    /// The plate is told from the fill (`encoded`) by how far it goes towards the object's colour, or below the fill's light.
    fn rim(&self, row: &Row, i: usize, plate: Pixel, encoded: [f32; 3]) -> f32 {
        let (mut along, mut apart, mut lacks) = (0.0, 0.0, 0f32);
        for c in 0..3 {
            let to = row.colour[c][i] - encoded[c];
            let own = self.table.encode(plate[c]).clamp(0.0, 1.0) - encoded[c];
            along += to * own;
            apart += to * to;
            lacks = lacks.max(1.0 - plate[c] / self.light.decode(encoded[c]).max(1e-4));
        }
        let share = (along / apart.max(TELLS)).clamp(0.0, 1.0);
        let lacks = lacks.clamp(0.0, 1.0);
        (share * smoothstep(share, SHARE.0, SHARE.1)).max(lacks * smoothstep(lacks, LACKS.0, LACKS.1))
    }

    /// The model's background at one pixel, with texture: encoded.
    fn fill(&self, row: &Row, i: usize, (x, y): (usize, usize)) -> [f32; 3] {
        let detail = &self.solution.detail;
        let detail = detail
            .as_ref()
            .map_or([0.0; 3], |d| d.at(self.crop, self.plate, self.table, x, y));
        std::array::from_fn(|c| row.base[c][i] + detail[c])
    }
}

/// The largest difference between the plate's halves and those of the two layers laid back.
fn difference(plate: Pixel, background: Pixel, foreground: Pixel) -> f32 {
    let q = 1.0 - foreground[3];
    (0..4).fold(0.0, |most: f32, c| {
        let over = f16::round(foreground[c] + q * background[c]);
        most.max((over - f16::round(plate[c])).abs())
    })
}
