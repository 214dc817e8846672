//! Masks as COCO stores them: runs, column by column, as numbers or as packed text, and polygons. Pixel for pixel what
//! `pycocotools` 2.0 makes of them; hostile input ends in an error, not in memory.

use crate::data::raster::Raster;

/// Pixels of the largest picture that is decoded.
pub const MOST_PIXELS: u64 = 1 << 26;
/// Points along the borders of one annotation's polygons, five a pixel of length.
const MOST_POINTS: f64 = (1u64 << 26) as f64;

/// A mask, 0 or 1, from runs of 0 and 1 in turn, down each column; the first run is of 0.
///
/// # Errors
/// If the runs do not fill the picture exactly.
pub fn from_runs(runs: &[u32], width: usize, height: usize) -> Result<Raster<1>, String> {
    let sum: u64 = runs.iter().map(|r| u64::from(*r)).sum();
    let all = width as u64 * height as u64;
    if sum != all {
        return Err(format!(
            "its runs hold {sum} pixels, the picture {width} x {height} = {all}"
        ));
    }
    let mut mask = Raster::filled(width, height, [0.0]);
    let mut at = 0;
    for (i, run) in runs.iter().enumerate() {
        let end = at + *run as usize;
        if i % 2 == 1 {
            for k in at..end {
                mask.pixels[k % height * width + k / height] = [1.0];
            }
        }
        at = end;
    }
    Ok(mask)
}

/// The runs of packed text: each number is 5 bits a character, least first, bit 5 says that more follow, and from the third
/// number on it is the difference to the one before the last.
///
/// # Errors
/// If a character is no part of the code, or a run is negative or too long.
pub fn unpack(text: &str) -> Result<Vec<u32>, String> {
    let mut runs: Vec<u32> = Vec::new();
    let mut bytes = text.bytes();
    while let Some(first) = bytes.next() {
        let (mut value, mut shift, mut byte) = (0i64, 0, first);
        loop {
            if !(48..112).contains(&byte) {
                return Err(format!(
                    "its packed runs hold the byte {byte}, which is none of the code"
                ));
            }
            let bits = i64::from(byte - 48);
            value |= (bits & 0x1f) << shift;
            shift += 5;
            if bits & 0x20 == 0 {
                if bits & 0x10 != 0 {
                    value |= -1 << shift;
                }
                break;
            }
            if shift > 35 {
                return Err("a packed run is longer than any picture".into());
            }
            byte = bytes
                .next()
                .ok_or("its packed runs end in the middle of a number")?;
        }
        if runs.len() > 2 {
            value += i64::from(runs[runs.len() - 2]);
        }
        let run = u32::try_from(value).map_err(|_| format!("a packed run is {value} pixels long"))?;
        runs.push(run);
    }
    Ok(runs)
}

/// The union of polygons, each `x0, y0, x1, y1, ..` in pixels.
///
/// # Errors
/// If a polygon has no area by its count of numbers, or a coordinate is far outside the picture or no number.
pub fn from_polygons(polygons: &[Vec<f64>], width: usize, height: usize) -> Result<Raster<1>, String> {
    if polygons.is_empty() {
        return Err("it has no polygon".into());
    }
    let mut mask = Raster::filled(width, height, [0.0]);
    for polygon in polygons {
        fill(polygon, &mut mask)?;
    }
    Ok(mask)
}

/// As `rleFrPoly` of the COCO tools: the border is walked in fifths of a pixel; where it passes from one column to the next, the
/// column's pixels below toggle.
fn fill(polygon: &[f64], mask: &mut Raster<1>) -> Result<(), String> {
    const FINE: f64 = 5.0;
    if polygon.len() < 6 || !polygon.len().is_multiple_of(2) {
        return Err(format!(
            "a polygon has {} numbers; at least three pairs are wanted",
            polygon.len()
        ));
    }
    let (w, h) = (mask.width as f64, mask.height as f64);
    let near = |v: f64, size: f64| v.is_finite() && (-size..=2.0 * size).contains(&v);
    if !polygon.chunks_exact(2).all(|p| near(p[0], w) && near(p[1], h)) {
        return Err("a polygon's corner lies far outside the picture".into());
    }
    let mut corners: Vec<(i64, i64)> = polygon
        .chunks_exact(2)
        .map(|p| ((FINE * p[0] + 0.5) as i64, (FINE * p[1] + 0.5) as i64))
        .collect();
    corners.extend(corners.first().copied());
    let length: f64 = corners
        .windows(2)
        .map(|c| ((c[0].0 - c[1].0).abs().max((c[0].1 - c[1].1).abs()) + 1) as f64)
        .sum();
    if length > MOST_POINTS {
        return Err("its polygons' borders are too long".into());
    }

    let mut toggles: Vec<usize> = Vec::new();
    let mut last: Option<(i64, i64)> = None;
    for pair in corners.windows(2) {
        for (u, v) in walk(pair[0], pair[1]) {
            if let Some((before, above)) = last
                && u != before
            {
                let column = (if u < before { u } else { u - 1 }) as f64;
                let x = (column + 0.5) / FINE - 0.5;
                if x.floor() == x && (0.0..=w - 1.0).contains(&x) {
                    let y = ((v.min(above) as f64 + 0.5) / FINE - 0.5).clamp(0.0, h).ceil();
                    toggles.push(x as usize * mask.height + y as usize);
                }
            }
            last = Some((u, v));
        }
    }
    toggles.sort_unstable();
    // Between an odd toggle and the next lies the inside; one at a column's end reaches into the next, as in the original.
    let end = mask.width * mask.height;
    for inside in toggles.chunks(2) {
        let (from, to) = (inside[0], inside.get(1).copied().unwrap_or(end).min(end));
        for k in from..to {
            mask.pixels[k % mask.height * mask.width + k / mask.height] = [1.0];
        }
    }
    Ok(())
}

/// The points of a line in the order from `a` to `b`, one a step of its longer side.
fn walk(a: (i64, i64), b: (i64, i64)) -> impl Iterator<Item = (i64, i64)> {
    let (dx, dy) = ((b.0 - a.0).abs(), (b.1 - a.1).abs());
    let flat = dx >= dy;
    // The original always walks towards larger numbers, which decides how halves are rounded.
    let turned = if flat { a.0 > b.0 } else { a.1 > b.1 };
    let (from, to) = if turned { (b, a) } else { (a, b) };
    let long = if flat { dx } else { dy };
    let rise = if flat { to.1 - from.1 } else { to.0 - from.0 };
    let slope = if long == 0 { 0.0 } else { rise as f64 / long as f64 };
    (0..=long).map(move |d| {
        let t = if turned { long - d } else { d };
        if flat {
            (t + from.0, (from.1 as f64 + slope * t as f64 + 0.5) as i64)
        } else {
            ((from.0 as f64 + slope * t as f64 + 0.5) as i64, t + from.1)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What pycocotools 2.0 says of the same input.
    const POLYGON: [f64; 10] = [1.2, 1.7, 9.6, 0.4, 10.8, 6.9, 5.1, 8.3, 0.6, 5.2];
    const ROWS: [&str; 9] = [
        ".........#..",
        "...#######..",
        ".#########..",
        ".#########..",
        ".#########..",
        ".##########.",
        "...########.",
        "....#####...",
        "............",
    ];
    const RUNS: [u32; 21] = [11, 4, 5, 4, 4, 6, 3, 7, 2, 7, 2, 7, 2, 7, 2, 7, 1, 7, 7, 2, 11];

    fn drawn(mask: &Raster<1>) -> Vec<String> {
        let row = |line: &[[f32; 1]]| line.iter().map(|p| if p[0] > 0.5 { '#' } else { '.' }).collect();
        mask.pixels.chunks(mask.width).map(row).collect()
    }

    /// Pixels, sum of their columns, sum of their rows.
    fn sums(mask: &Raster<1>) -> (usize, usize, usize) {
        let set = mask.pixels.iter().enumerate().filter(|(_, p)| p[0] > 0.5);
        set.fold((0, 0, 0), |(n, x, y), (i, _)| {
            (n + 1, x + i % mask.width, y + i / mask.width)
        })
    }

    #[test]
    fn a_polygon_is_filled_as_pycocotools_does() {
        let mask = from_polygons(&[POLYGON.to_vec()], 12, 9).unwrap();
        assert_eq!(drawn(&mask), ROWS);
        let large = vec![20.5, 10.2, 180.3, 30.9, 150.7, 140.1, 90.0, 150.5, 33.3, 120.0];
        let mask = from_polygons(&[large], 200, 160).unwrap();
        assert_eq!(sums(&mask), (16_566, 1_593_288, 1_273_855));
        let thin = from_polygons(&[vec![2.0, 6.0, 4.5, 3.0, 7.0, 6.5]], 12, 9).unwrap();
        assert_eq!(
            drawn(&thin)[3..7],
            ["....#.......", "...###......", "..####......", "......#....."]
        );
    }

    #[test]
    fn runs_and_packed_runs_are_the_same_mask() {
        assert_eq!(drawn(&from_runs(&RUNS, 12, 9).unwrap()), ROWS);
        assert_eq!(unpack(";450O2O1O0000000O06K4").unwrap(), RUNS);
        let packed = "ZY38h48I8G9G8H9G8H9G8H9H8G8H8H1O001O010O001O001O001O010O1O001O001O0010O01O001O1O0010O01O001O001O0010O01O1O001\
                      O001O010O001O001O00100O001O001O000001O0000000O1000001O000O10000000001N10000000000O2O000000000O10001O00000O10\
                      0000001N10000000000O2O000000000O10001O00000O100N2L4L5K4M3L4L4M3L4L5L3L4L4M3L4L4L4M4K4L4M3L4L4M3L4L5L3L4LUS3";
        let mask = from_runs(&unpack(packed).unwrap(), 200, 160).unwrap();
        assert_eq!(sums(&mask), (16_566, 1_593_288, 1_273_855));
    }

    #[test]
    fn hostile_masks_are_errors() {
        assert!(from_runs(&[5, 5], 3, 3).unwrap_err().contains("hold 10 pixels"));
        assert!(from_runs(&[u32::MAX, u32::MAX], 3, 3).is_err());
        assert!(unpack("4\u{7f}").unwrap_err().contains("byte 127"));
        assert!(unpack("ooooooooooooooo").unwrap_err().contains("longer"));
        assert!(unpack("o").unwrap_err().contains("middle"));
        assert!(unpack("O").unwrap_err().contains("-1"));
        assert!(from_polygons(&[], 4, 4).is_err());
        assert!(
            from_polygons(&[vec![1.0, 2.0, 3.0, 4.0]], 4, 4)
                .unwrap_err()
                .contains("4 numbers")
        );
        for bad in [f64::NAN, f64::INFINITY, 1e18, -1e9] {
            assert!(from_polygons(&[vec![0.0, 0.0, bad, 1.0, 2.0, 3.0]], 4, 4).is_err());
        }
    }
}
