//! Where the object is: islands of a matte, and distances from it.

use std::ops::Range;

use peel_image::{Matte, Rect};
use rayon::prelude::*;

use crate::Plane;

/// Coverage from which a pixel counts as showing the object; below, it is the matte's soft skirt.
pub(crate) const SOLID: f32 = 0.05;

/// Pixels on the side of the blocks in which islands are looked for: nearer ones are one island.
const BLOCK: i32 = 16;

/// A matte's value with NaN as 0 and everything else in 0 to 1.
#[inline]
pub(crate) fn coverage(value: f32) -> f32 {
    if value.is_nan() {
        0.0
    } else {
        value.clamp(0.0, 1.0)
    }
}

/// Windows around the islands of a matte within `frame`, top to bottom by their first block.
pub(crate) fn islands(matte: &Matte, frame: Rect) -> Vec<Rect> {
    let bounds = matte.tight_window(SOLID).intersect(frame);
    if bounds.is_empty() {
        return Vec::new();
    }
    let (columns, rows) = (
        bounds.width().div_ceil(BLOCK as usize),
        bounds.height().div_ceil(BLOCK as usize),
    );
    // The tight window of each block's own pixels.
    let mut blocks = vec![Rect::EMPTY; columns * rows];
    for y in bounds.y0..bounds.y1 {
        let first = (bounds.x0 - matte.data().x0) as usize;
        for (x, &value) in (bounds.x0..bounds.x1).zip(&matte.row(y)[first..]) {
            if value > SOLID {
                let block = ((y - bounds.y0) / BLOCK) as usize * columns + ((x - bounds.x0) / BLOCK) as usize;
                blocks[block] = blocks[block].union(Rect::new(x, y, x + 1, y + 1));
            }
        }
    }
    let mut found = Vec::new();
    let mut stack = Vec::new();
    for start in 0..blocks.len() {
        let mut island = Rect::EMPTY;
        stack.push(start);
        while let Some(at) = stack.pop() {
            let block = std::mem::replace(&mut blocks[at], Rect::EMPTY);
            if block.is_empty() {
                continue;
            }
            island = island.union(block);
            let (x, y) = (at % columns, at / columns);
            for ny in y.saturating_sub(1)..(y + 2).min(rows) {
                stack.extend((x.saturating_sub(1)..(x + 2).min(columns)).map(|nx| ny * columns + nx));
            }
        }
        if !island.is_empty() {
            found.push(island);
        }
    }
    found
}

/// Joins windows that overlap once each is grown by what `reach` says of it, until none do; at most `most`
/// remain, and where there would be more, all become one.
pub(crate) fn join(mut windows: Vec<Rect>, most: usize, reach: impl Fn(Rect) -> i32) -> Vec<Rect> {
    // Joining compares all pairs; a matte of specks is one object to any user, and costs nothing so.
    let mut done = windows.len() > 16 * most;
    while !done {
        done = true;
        'pairs: for i in 0..windows.len() {
            for j in i + 1..windows.len() {
                let (a, b) = (windows[i], windows[j]);
                if !a.grow(reach(a)).intersect(b.grow(reach(b))).is_empty() {
                    windows[i] = a.union(b);
                    windows.swap_remove(j);
                    done = false;
                    break 'pairs;
                }
            }
        }
    }
    if windows.len() > most {
        return vec![windows.into_iter().fold(Rect::EMPTY, |all, w| all.union(w))];
    }
    windows.sort_by_key(|w| (w.y0, w.x0));
    windows
}

/// Euclidean distance of every pixel from the nearest one above `threshold`, in pixels and cut off past `radius`
/// (whose next whole number stands for everything further away).
pub(crate) fn distance(plane: &Plane, threshold: f32, radius: usize) -> Plane {
    let far = (radius + 1) as f32;
    let (width, height) = plane.size();
    // Along the rows first: two sweeps.
    let mut across = Plane::filled(width, height, far);
    across.for_rows(|y, out| {
        let row = plane.row(y);
        if row.iter().all(|&v| v.is_nan() || v <= threshold) {
            return;
        }
        let step = |since: f32, v: f32| {
            if v > threshold {
                0.0
            } else {
                (since + 1.0).min(far)
            }
        };
        let mut since = far;
        for (out, &v) in out.iter_mut().zip(row) {
            since = step(since, v);
            *out = since;
        }
        since = far;
        for (out, &v) in out.iter_mut().zip(row).rev() {
            since = step(since, v);
            *out = out.min(since);
        }
    });
    // The columns of each row that anything is near to.
    let hit: Vec<Range<usize>> = (0..height)
        .into_par_iter()
        .map(|y| {
            let row = across.row(y);
            let first = row.iter().position(|&d| d < far);
            first.map_or(0..0, |first| {
                first..row.iter().rposition(|&d| d < far).unwrap_or(first) + 1
            })
        })
        .collect();
    // Then over the rows within reach: the minimum of d^2 + dy^2, which vectorises along the row.
    let mut out = Plane::filled(width, height, far);
    out.for_rows(|y, out| {
        let near = y.saturating_sub(radius)..(y + radius + 1).min(height);
        let hits = || near.clone().filter(|&s| !hit[s].is_empty());
        let (first, last) = hits().fold((width, 0), |(first, last), s| {
            (first.min(hit[s].start), last.max(hit[s].end))
        });
        if first >= last {
            return;
        }
        out[first..last].fill(far * far);
        for source in hits() {
            let dy = source.abs_diff(y) as f32;
            let columns = hit[source].clone();
            let from = &across.row(source)[columns.clone()];
            for (v, &d) in out[columns].iter_mut().zip(from) {
                *v = v.min(d * d + dy * dy);
            }
        }
        out[first..last].iter_mut().for_each(|v| *v = v.sqrt());
    });
    out
}

/// Which pixels of `candidates` are connected (8 neighbours) to those of `seeds`, the seeds included.
pub(crate) fn connected(candidates: &[bool], seeds: &[bool], width: usize) -> Vec<bool> {
    let height = candidates.len().checked_div(width).unwrap_or(0);
    let mut reached = vec![false; candidates.len()];
    let mut stack: Vec<usize> = (0..seeds.len()).filter(|&i| seeds[i]).collect();
    while let Some(at) = stack.pop() {
        if std::mem::replace(&mut reached[at], true) {
            continue;
        }
        let (x, y) = (at % width, at / width);
        for ny in y.saturating_sub(1)..(y + 2).min(height) {
            let row = (x.saturating_sub(1)..(x + 2).min(width)).map(|nx| ny * width + nx);
            stack.extend(row.filter(|&n| candidates[n] && !reached[n]));
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn islands_far_apart_are_found_and_near_ones_joined() {
        let frame = Rect::of_size(400, 200);
        let matte = Matte::from_fn(frame, frame, |x, y| {
            let dot = |cx: i32, cy: i32| (x - cx).pow(2) + (y - cy).pow(2) < 100;
            if dot(30, 30) || dot(300, 150) {
                1.0
            } else if x == 0 {
                f32::NAN
            } else {
                0.0
            }
        });
        let found = islands(&matte, frame);
        assert_eq!(
            found,
            vec![Rect::new(21, 21, 40, 40), Rect::new(291, 141, 310, 160)]
        );
        assert_eq!(join(found.clone(), 8, |_| 10), found);
        assert_eq!(join(found.clone(), 8, |_| 200), vec![Rect::new(21, 21, 310, 160)]);
        assert_eq!(join(found, 1, |_| 0).len(), 1);
        assert!(islands(&matte, Rect::new(50, 50, 60, 60)).is_empty());
    }

    #[test]
    fn distances_are_euclidean_within_the_radius() {
        let plane = Plane::from_fn(31, 17, |x, y| f32::from((x, y) == (10, 8) || (x, y) == (25, 2)));
        let near = distance(&plane, 0.5, 6);
        for y in 0..17 {
            for x in 0..31 {
                let from = |cx: f32, cy: f32| (x as f32 - cx).hypot(y as f32 - cy);
                let exact = from(10.0, 8.0).min(from(25.0, 2.0));
                let got = near.at(x, y);
                assert!(
                    (got - exact).abs() < 1e-5 || exact > 6.0 && got > 6.0,
                    "{got} for {exact}"
                );
            }
        }
    }

    #[test]
    fn only_what_touches_the_seeds_is_kept() {
        let picture = "##..#....#";
        let candidates: Vec<bool> = picture.chars().map(|c| c == '#').collect();
        let seeds: Vec<bool> = (0..10).map(|i| i == 2).collect();
        let kept = connected(&candidates, &seeds, 5);
        // Rows of five: "##..#" over "....#"; the seed at column 2 of the first row touches column 1 only.
        assert_eq!(
            kept,
            [true, true, true, false, false, false, false, false, false, false]
        );
    }
}
