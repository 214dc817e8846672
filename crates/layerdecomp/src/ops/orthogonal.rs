//! The matrix without its singular values, as Muon's steps are.

use super::gemm::{View, gemm};
use super::kernel::Start;

/// Coefficients of the quintic that takes singular values in 0..1 to about 1 in five steps (Jordan et al. 2024): it is steep at 0, and
/// what it ends with lies in 0.7..1.2.
const QUINTIC: (f32, f32, f32) = (3.4445, -4.7750, 2.0315);
const STEPS: usize = 5;

/// About `U V'` of a matrix `U S V'` of rows of `columns` values: five steps of Newton's and Schulz's iteration, all products. Singular values
/// end in 0.7..1.2, those below a hundredth of the norm lower. What is no whole number of rows, or zero, or not finite, comes back as zeros.
///
/// A step multiplies `X` by `P = a + b G + c G^2` with `G = X X'` of the shorter side, and so `G` by `P^2`: with the product of all P found in
/// small squares, the matrix itself is multiplied once. What rounding leaves in `G` grows as directions of its size would, which are lost
/// anyway.
#[must_use]
pub fn orthogonal(matrix: &[f32], columns: usize) -> Vec<f32> {
    let norm = matrix.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let usable = norm > 0.0 && norm.is_finite() && matrix.len().is_multiple_of(columns);
    if !usable {
        return vec![0.0; matrix.len()];
    }
    let rows = matrix.len() / columns;
    let x: Vec<f32> = matrix.iter().map(|v| (f64::from(*v) / norm) as f32).collect();
    let (lying, standing) = (View::rows(&x, columns), View::transposed(&x, columns));
    let (short, long) = (rows.min(columns), rows.max(columns));
    let product = |n: usize, k: usize, left: View<'_>, right: View<'_>| {
        let mut out = vec![0.0; short * n];
        gemm((short, n, k), left, right, Start::Zero, &mut out, n);
        out
    };
    let square = |left: &[f32], right: &[f32]| {
        product(short, short, View::rows(left, short), View::rows(right, short))
    };
    let (left, right) = if rows <= columns {
        (lying, standing)
    } else {
        (standing, lying)
    };
    let mut gram = product(short, long, left, right);
    let mut all: Option<Vec<f32>> = None;
    for step in 0..STEPS {
        let mut by = square(&gram, &gram);
        let (a, b, c) = QUINTIC;
        for (i, (by, gram)) in by.iter_mut().zip(&gram).enumerate() {
            let one = if i % (short + 1) == 0 { a } else { 0.0 };
            *by = one + b * gram + c * *by;
        }
        if step + 1 < STEPS {
            gram = square(&by, &square(&gram, &by));
        }
        all = Some(match all {
            Some(before) => square(&by, &before),
            None => by,
        });
    }
    // At least one step was made.
    let all = all.unwrap_or_default();
    if rows <= columns {
        return product(columns, rows, View::rows(&all, short), lying);
    }
    let mut out = vec![0.0; x.len()];
    gemm(
        (rows, columns, columns),
        lying,
        View::rows(&all, short),
        Start::Zero,
        &mut out,
        columns,
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Noise;

    fn product((m, n, k): (usize, usize, usize), a: View<'_>, b: View<'_>) -> Vec<f32> {
        let mut c = vec![0.0; m * n];
        gemm((m, n, k), a, b, Start::Zero, &mut c, n);
        c
    }

    /// `Q` of a random square matrix, by Gram and Schmidt.
    fn rotation(n: usize, seed: u64) -> Vec<f32> {
        let mut rows: Vec<Vec<f64>> = (0..n)
            .map(|i| {
                let normal = Noise::new(seed, i as u64).normal(n);
                normal.into_iter().map(f64::from).collect()
            })
            .collect();
        for i in 0..n {
            let (before, rest) = rows.split_at_mut(i);
            for other in before {
                let dot: f64 = other.iter().zip(&rest[0]).map(|(a, b)| a * b).sum();
                rest[0].iter_mut().zip(other).for_each(|(x, o)| *x -= dot * *o);
            }
            let norm = rest[0].iter().map(|v| v * v).sum::<f64>().sqrt();
            rest[0].iter_mut().for_each(|v| *v /= norm);
        }
        rows.into_iter().flatten().map(|v| v as f32).collect()
    }

    #[test]
    fn keeps_directions_and_levels_their_strength() {
        for (rows, columns) in [(24, 24), (24, 70), (70, 24), (1, 9), (9, 1)] {
            let short = rows.min(columns);
            let (u, v) = (rotation(rows, 1), rotation(columns, 2));
            // Singular values from 1 down to a fiftieth.
            let value = |i: usize| 50f32.powf(-(i as f32) / short as f32);
            let compose = |values: &dyn Fn(usize) -> f32| {
                let mut scaled = vec![0.0; rows * columns];
                for i in 0..short {
                    for (r, line) in scaled.chunks_exact_mut(columns).enumerate() {
                        let left = u[i * rows + r] * values(i);
                        line.iter_mut()
                            .zip(&v[i * columns..])
                            .for_each(|(x, v)| *x += left * v);
                    }
                }
                scaled
            };
            let found = orthogonal(&compose(&value), columns);
            // U' X V is what became of the singular values.
            let half = product(
                (rows, columns, rows),
                View::rows(&u, rows),
                View::rows(&found, columns),
            );
            let all = product(
                (rows, columns, columns),
                View::rows(&half, columns),
                View::transposed(&v, columns),
            );
            for (i, value) in all.into_iter().enumerate() {
                let (r, c) = (i / columns, i % columns);
                if r == c {
                    assert!((0.6..1.25).contains(&value), "{rows} {columns} {r}: {value}");
                } else {
                    assert!(value.abs() < 2e-3, "{rows} {columns} {r} {c}: {value}");
                }
            }
        }
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert_eq!(orthogonal(&[0.0; 6], 3), [0.0; 6]);
        assert_eq!(orthogonal(&[f32::NAN, 1.0], 1), [0.0; 2]);
        assert_eq!(orthogonal(&[1.0; 5], 2), [0.0; 5]);
        assert!(orthogonal(&[], 1).is_empty());
    }
}
