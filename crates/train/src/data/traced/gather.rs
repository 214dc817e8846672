//! Interleaved sampling (Keller and Heidrich 2001): neighbours in a tile take different directions to a wide light, and a box of the
//! tile's size puts them together.

use super::super::raster::Raster;

/// Points of the unit disc that fill it evenly (Roberts' R2 sequence in radius and angle), turned by `shift`.
pub fn disc(count: usize, shift: (f32, f32)) -> Vec<(f32, f32)> {
    (0..count)
        .map(|i| {
            let i = (i + 1) as f32;
            let radius = (shift.0 + i * 0.754_877_7).fract().sqrt();
            let (sin, cos) = (std::f32::consts::TAU * (shift.1 + i * 0.569_840_3).fract()).sin_cos();
            (radius * cos, radius * sin)
        })
        .collect()
}

/// Which of the n * n samples the sample at `(x, y)` takes: neighbours take distant ones.
#[inline]
pub fn turn(x: usize, y: usize, n: usize) -> usize {
    ((x % n) + n * (y % n)) * (n * n / 2).saturating_sub(3).max(1) % (n * n)
}

/// Mean over the tile around each sample, of samples with the same id that are not `skipped` (an empty list skips none); samples
/// with the id 0 stay as they are. The window is one longer than the tile with half weight at its ends, so that it is centred
/// and still holds every direction once.
pub fn gathered<const N: usize>(
    mut values: Vec<[f32; N]>,
    skipped: &[bool],
    ids: &[u32],
    (width, height): (usize, usize),
    tile: usize,
) -> Vec<[f32; N]> {
    let half = tile / 2;
    let mut counts: Vec<f32> = match skipped {
        [] => vec![1.0; values.len()],
        skipped => skipped.iter().map(|s| f32::from(!s)).collect(),
    };
    // Sums along each row, in place: `line` keeps the row as it was.
    let mut line = vec![([0.0; N], 0.0); width.max(height)];
    let mut sum_line =
        |values: &mut [[f32; N]], counts: &mut [f32], start: usize, stride: usize, length: usize| {
            let at = |x: usize| start + x * stride;
            for (x, kept) in line[..length].iter_mut().enumerate() {
                *kept = (values[at(x)], counts[at(x)]);
            }
            for x in 0..length {
                let id = ids[at(x)];
                if id == 0 {
                    continue;
                }
                let (mut sum, mut count) = ([0.0; N], 0.0);
                let (low, high) = (x.saturating_sub(half), (x + half).min(length - 1));
                for j in low..=high {
                    if ids[at(j)] != id {
                        continue;
                    }
                    let weight = if j.abs_diff(x) == half { 0.5 } else { 1.0 };
                    let (value, n) = &line[j];
                    for (s, v) in sum.iter_mut().zip(value) {
                        *s += weight * v;
                    }
                    count += weight * n;
                }
                (values[at(x)], counts[at(x)]) = (sum, count);
            }
        };
    for y in 0..height {
        sum_line(&mut values, &mut counts, y * width, 1, width);
    }
    for x in 0..width {
        sum_line(&mut values, &mut counts, x, width, height);
    }
    for ((value, count), id) in values.iter_mut().zip(&counts).zip(ids) {
        if *id != 0 {
            // A sample that is not skipped counts itself, and a skipped one its left neighbour.
            value.iter_mut().for_each(|v| *v /= count);
        }
    }
    values
}

/// Half the size, each pixel a little wider than itself: (1 3 3 1) / 8 both ways, as a film's grain and a lens have it.
pub fn halved<const C: usize>(from: &[[f32; C]], side: usize) -> Raster<C> {
    const TAPS: [f32; 4] = [0.125, 0.375, 0.375, 0.125];
    let tapped = |i: usize, value: &dyn Fn(usize) -> [f32; C]| {
        let mut sum = [0.0; C];
        for (k, tap) in TAPS.iter().enumerate() {
            let j = (2 * i + k).saturating_sub(1).min(side - 1);
            for (s, v) in sum.iter_mut().zip(value(j)) {
                *s += tap * v;
            }
        }
        sum
    };
    let half = side / 2;
    let across: Vec<[f32; C]> = from
        .chunks(side)
        .flat_map(|line| (0..half).map(move |x| tapped(x, &|j| line[j])))
        .collect();
    Raster::from_fn(half, half, |x, y| tapped(y, &|j| across[j * half + x]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_holds_every_sample_once() {
        for n in [2, 4, 8] {
            let mut taken: Vec<usize> = (0..n * n).map(|i| turn(i % n, i / n, n)).collect();
            taken.sort_unstable();
            assert_eq!(taken, (0..n * n).collect::<Vec<_>>(), "{n}");
        }
    }

    #[test]
    fn a_gathered_tile_is_even_and_surfaces_do_not_mix() {
        let side = 24;
        let values: Vec<[f32; 1]> = (0..side * side)
            .map(|i| [turn(i % side, i / side, 4) as f32 + if i % side < 12 { 0.0 } else { 100.0 }])
            .collect();
        let ids: Vec<u32> = (0..side * side)
            .map(|i| if i % side < 12 { 1 } else { 2 })
            .collect();
        let out = gathered(values, &[], &ids, (side, side), 4);
        for y in 4..20 {
            assert!((out[y * side + 6][0] - 7.5).abs() < 1e-4);
            assert!((out[y * side + 18][0] - 107.5).abs() < 1e-4);
            assert!(out[y * side + 11][0] < 16.0 && out[y * side + 12][0] >= 100.0);
        }
    }

    #[test]
    fn halving_keeps_flat_light() {
        let out = halved(&[[0.3]; 64], 8);
        assert_eq!((out.width, out.height), (4, 4));
        assert!(out.pixels.iter().all(|p| (p[0] - 0.3).abs() < 1e-6));
    }
}
