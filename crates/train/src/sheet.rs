//! Sheets: rows of pictures side by side, for looking at.

use crate::data::raster::Raster;
use crate::eval::Set;
use crate::metrics::Answer;

/// A picture for a sheet's cell: alpha as grey.
#[must_use]
pub fn grey(alpha: &Raster<1>) -> Raster<3> {
    alpha.map(|a| [a[0]; 3])
}

/// A layer over a checkerboard.
#[must_use]
pub fn checkered(layer: &Raster<4>) -> Raster<3> {
    let board = Raster::from_fn(layer.width, layer.height, |x, y| {
        [if (x / 8 + y / 8) % 2 == 0 { 0.5 } else { 0.75 }; 3]
    });
    layer.over_picture(&board)
}

/// Rows of plate, mask, background (true, found), layer (true, found), alpha (true, found) for the first cases of a set.
#[must_use]
pub fn decompositions(set: &Set, answers: &[Answer], most: usize) -> Vec<Vec<Raster<3>>> {
    std::iter::zip(&set.cases, answers)
        .take(most)
        .map(|(case, answer)| {
            let truth = &case.truth;
            let mut row = vec![
                truth.plate.clone(),
                grey(&truth.mask),
                truth.background.clone(),
                answer.background.clone(),
                checkered(&truth.foreground),
            ];
            if let Some(layer) = &answer.foreground {
                row.push(checkered(layer));
                row.push(grey(&truth.foreground.alpha()));
                row.push(grey(&layer.alpha()));
            }
            row
        })
        .collect()
}

/// Longest side of a sheet's pictures; larger ones are brought down to it.
const LONGEST: usize = 192;

fn fitted(picture: &Raster<3>) -> Raster<3> {
    let scale = LONGEST as f64 / picture.width.max(picture.height) as f64;
    if scale >= 1.0 {
        return picture.clone();
    }
    let side = |n: usize| ((n as f64 * scale).round() as usize).max(1);
    picture.resized(side(picture.width), side(picture.height))
}

/// Puts rows of pictures under each other, with a gap of two pixels.
#[must_use]
pub fn grid(rows: &[Vec<Raster<3>>]) -> Raster<3> {
    const GAP: usize = 2;
    let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(fitted).collect()).collect();
    let largest = |side: fn(&Raster<3>) -> usize| rows.iter().flatten().map(side).max().unwrap_or(1);
    let cell = (largest(|r| r.width), largest(|r| r.height));
    let columns = rows.iter().map(Vec::len).max().unwrap_or(1);
    let (width, height) = (columns * (cell.0 + GAP), rows.len().max(1) * (cell.1 + GAP));
    let mut out = Raster::filled(width, height, [0.2; 3]);
    for (r, row) in rows.iter().enumerate() {
        for (c, picture) in row.iter().enumerate() {
            for y in 0..picture.height.min(cell.1) {
                let to = (r * (cell.1 + GAP) + y) * width + c * (cell.0 + GAP);
                let from = y * picture.width;
                let run = picture.width.min(cell.0);
                out.pixels[to..to + run].copy_from_slice(&picture.pixels[from..from + run]);
            }
        }
    }
    out
}
