//! Eigenvalues of symmetric matrices.

/// A symmetric matrix as `V diag(values) V^T`.
pub(super) struct Eigen {
    /// In no order.
    pub values: Vec<f64>,
    /// Row `i` is the unit vector of value `i`.
    pub vectors: Vec<Vec<f64>>,
}

/// Sweeps after which the rotations have long converged.
const SWEEPS: usize = 60;

/// Cyclic Jacobi rotations (Golub and Van Loan, section 8.5): slow for large matrices, and as exact as doubles allow. `matrix` is
/// symmetric, row by row.
pub(super) fn symmetric(mut matrix: Vec<Vec<f64>>) -> Eigen {
    let n = matrix.len();
    let mut vectors: Vec<Vec<f64>> = (0..n)
        .map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect())
        .collect();
    let norm: f64 = matrix.iter().flatten().map(|v| v * v).sum();
    for _ in 0..SWEEPS {
        let off: f64 = (0..n).flat_map(|i| matrix[i][..i].iter()).map(|v| v * v).sum();
        if off <= norm * 1e-28 {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut matrix, &mut vectors, p, q);
            }
        }
    }
    Eigen {
        values: (0..n).map(|i| matrix[i][i]).collect(),
        vectors,
    }
}

/// Makes element `(p, q)` zero.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    let off = matrix[p][q];
    if off == 0.0 || off.abs() < f64::EPSILON * 1e-2 * (matrix[p][p] * matrix[q][q]).abs().sqrt() {
        return;
    }
    let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * off);
    let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let cos = 1.0 / t.hypot(1.0);
    let sin = t * cos;
    let turn = |rows: &mut [Vec<f64>]| {
        let (head, tail) = rows.split_at_mut(q);
        for (a, b) in head[p].iter_mut().zip(&mut tail[0]) {
            (*a, *b) = (cos * *a - sin * *b, sin * *a + cos * *b);
        }
    };
    turn(matrix);
    for row in matrix.iter_mut() {
        (row[p], row[q]) = (cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]);
    }
    turn(vectors);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_put_together_again() {
        let n = 12;
        let matrix: Vec<Vec<f64>> = (0..n)
            .map(|i| {
                (0..n)
                    .map(|j| (((i * j + i + j) * 37 % 101) as f64) / 50.0 - 1.0)
                    .collect()
            })
            .collect();
        let Eigen { values, vectors } = symmetric(matrix.clone());
        for i in 0..n {
            for j in 0..n {
                let sum: f64 = (0..n).map(|k| values[k] * vectors[k][i] * vectors[k][j]).sum();
                assert!((sum - matrix[i][j]).abs() < 1e-12);
                let dot: f64 = vectors[i].iter().zip(&vectors[j]).map(|(a, b)| a * b).sum();
                assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn known_values() {
        let mut values = symmetric(vec![
            vec![2.0, -1.0, 0.0],
            vec![-1.0, 2.0, -1.0],
            vec![0.0, -1.0, 2.0],
        ])
        .values;
        values.sort_by(f64::total_cmp);
        for (got, want) in values.iter().zip([2.0 - 2f64.sqrt(), 2.0, 2.0 + 2f64.sqrt()]) {
            assert!((got - want).abs() < 1e-14);
        }
    }
}
