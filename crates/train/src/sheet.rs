//! Sheets: rows of pictures side by side, for looking at.

use crate::data::raster::Raster;
use crate::eval::{Case, Set};
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
        .map(|(case, answer)| row(case, answer))
        .collect()
}

/// Plate, mask, background, layer over a checkerboard, alpha; where the truth is known, it stands before what was found.
#[must_use]
pub fn row(case: &Case, answer: &Answer) -> Vec<Raster<3>> {
    let truth = &case.truth;
    let mut row = vec![truth.plate.clone(), grey(&truth.mask)];
    if case.has_truth() {
        row.push(truth.background.clone());
    }
    row.push(answer.background.clone());
    let found = answer.display_layer();
    let known = truth.has_foreground.then_some(&truth.foreground);
    row.extend(known.into_iter().chain(&found).map(checkered));
    if found.is_some() {
        row.extend(known.into_iter().chain(&found).map(|layer| grey(&layer.alpha())));
    }
    row
}

/// Longest side of a sheet's pictures, unless told; larger ones are brought down to it.
pub const LONGEST: usize = 192;

fn fitted(picture: &Raster<3>, longest: usize) -> Raster<3> {
    let scale = longest as f64 / picture.width.max(picture.height) as f64;
    if scale >= 1.0 {
        return picture.clone();
    }
    let side = |n: usize| ((n as f64 * scale).round() as usize).max(1);
    picture.resized(side(picture.width), side(picture.height))
}

/// Puts rows of pictures under each other, with a gap of two pixels.
#[must_use]
pub fn grid(rows: &[Vec<Raster<3>>]) -> Raster<3> {
    grid_of(rows, LONGEST)
}

/// The same with pictures of at most `longest` pixels on a side.
#[must_use]
pub fn grid_of(rows: &[Vec<Raster<3>>], longest: usize) -> Raster<3> {
    const GAP: usize = 2;
    let rows: Vec<Vec<_>> = rows
        .iter()
        .map(|row| row.iter().map(|picture| fitted(picture, longest)).collect())
        .collect();
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
