//! Fréchet distance between two clouds of features.

use super::eigen::symmetric;

/// Feature vectors seen so far: enough of them for mean and covariance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cloud {
    count: usize,
    sum: Vec<f64>,
    /// Upper triangle of the sum of outer products, row by row.
    products: Vec<f64>,
}

impl Cloud {
    /// Adds a vector; all have one length.
    pub fn add(&mut self, vector: Vec<f64>) {
        let n = vector.len();
        self.sum.resize(n, 0.0);
        self.products.resize(n * (n + 1) / 2, 0.0);
        let mut at = 0;
        for (i, a) in vector.iter().enumerate() {
            self.sum[i] += a;
            for b in &vector[i..] {
                self.products[at] += a * b;
                at += 1;
            }
        }
        self.count += 1;
    }

    /// How many vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn mean(&self) -> Vec<f64> {
        self.sum.iter().map(|v| v / self.count as f64).collect()
    }

    /// Sample covariance (`n - 1`).
    fn covariance(&self) -> Vec<Vec<f64>> {
        let (n, mean) = (self.sum.len(), self.mean());
        let mut out = vec![vec![0.0; n]; n];
        let mut at = 0;
        for i in 0..n {
            for j in i..n {
                let value =
                    (self.products[at] - self.count as f64 * mean[i] * mean[j]) / (self.count as f64 - 1.0);
                (out[i][j], out[j][i]) = (value, value);
                at += 1;
            }
        }
        out
    }
}

/// The squared Fréchet distance of the normal distributions with the clouds' means and covariances,
///
/// `|m_a - m_b|^2 + Tr(C_a + C_b - 2 (C_a C_b)^(1/2))`.
///
/// The trace of the root is that of `(C_a^(1/2) C_b C_a^(1/2))^(1/2)`, which is symmetric; eigenvalues below 0, which rounding makes of
/// those that are 0, count as 0. With fewer vectors than features the covariances are singular and the distance is biased upwards:
/// compare only distances over the same number of cases. `None` for fewer than two vectors.
#[must_use]
pub fn frechet(a: &Cloud, b: &Cloud) -> Option<f64> {
    if a.count < 2 || b.count < 2 || a.sum.len() != b.sum.len() {
        return None;
    }
    let means: f64 = a.mean().iter().zip(b.mean()).map(|(a, b)| (a - b).powi(2)).sum();
    let (ca, cb) = (a.covariance(), b.covariance());
    let trace = |m: &[Vec<f64>]| (0..m.len()).map(|i| m[i][i]).sum::<f64>();
    let traces = trace(&ca) + trace(&cb);

    // In the basis of C_a's eigenvectors its root is diagonal: the middle is diag(r) V C_b V^T diag(r).
    let eigen = symmetric(ca);
    let roots: Vec<f64> = eigen.values.iter().map(|v| v.max(0.0).sqrt()).collect();
    let turned = product(&product(&eigen.vectors, &cb), &transposed(&eigen.vectors));
    let middle = turned
        .iter()
        .zip(&roots)
        .map(|(row, ri)| row.iter().zip(&roots).map(|(v, rj)| ri * v * rj).collect())
        .collect();
    let root: f64 = symmetric(middle).values.iter().map(|v| v.max(0.0).sqrt()).sum();
    Some((means + traces - 2.0 * root).max(0.0))
}

fn transposed(m: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..m.len())
        .map(|j| m.iter().map(|row| row[j]).collect())
        .collect()
}

fn product(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let row = |a: &Vec<f64>| {
        let mut out = vec![0.0; b.len()];
        for (v, b) in a.iter().zip(b) {
            out.iter_mut().zip(b).for_each(|(o, b)| *o += v * b);
        }
        out
    };
    a.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of scripts/frechet_reference.py.
    fn cloud(which: usize, count: usize, features: usize) -> Cloud {
        let mut cloud = Cloud::default();
        for i in 0..count {
            let value = |j: usize| {
                (((i * i * 7 + j * 13 + i * j * (3 + which)) % 83) as f64) / 41.0 + 0.1 * which as f64
            };
            cloud.add((0..features).map(value).collect());
        }
        cloud
    }

    #[test]
    fn equal_to_scipy() {
        // crates/train/scripts/frechet_reference.py; the second has fewer vectors than features.
        for (count, features, want) in REFERENCE {
            let got = frechet(&cloud(0, count, features), &cloud(1, count, features)).unwrap();
            assert!(
                (got - want).abs() < 1e-6 * want,
                "{count} x {features}: {got} {want}"
            );
        }
    }

    const REFERENCE: [(usize, usize, f64); 2] =
        [(40, 8, 0.378_041_757_182_004_7), (10, 16, 4.148_200_879_681_809)];

    #[test]
    fn the_same_cloud_is_at_no_distance() {
        let a = cloud(0, 30, 6);
        assert!(frechet(&a, &a).unwrap() < 1e-9);
        let mut single = Cloud::default();
        single.add(vec![1.0; 6]);
        assert_eq!(frechet(&a, &single), None);
    }
}
