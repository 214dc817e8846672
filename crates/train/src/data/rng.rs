//! Random numbers that depend on a position, not on who draws them first.

/// A small generator (SplitMix64, Steele, Lea and Flood 2014) whose start is a hash of seed, stream and index, so that sample
/// `i` of seed `s` is the same whatever thread makes it.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Rng {
    /// The generator of sample `index` in `stream` (data, noise, ..) under `seed`.
    #[must_use]
    pub fn new(seed: u64, stream: u64, index: u64) -> Self {
        let mut state = mix(seed.wrapping_add(0x9E37_79B9_7F4A_7C15));
        state = mix(state ^ mix(stream.wrapping_add(0xD1B5_4A32_D192_ED03)));
        Self {
            state: mix(state ^ mix(index.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1))),
        }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// Uniform in 0..1, 1 excluded.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Uniform between `low` and `high`.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Between `low` and `high`, uniform in the logarithm; both positive.
    pub fn log_range(&mut self, low: f32, high: f32) -> f32 {
        (low.ln() + (high.ln() - low.ln()) * self.unit()).exp()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// Uniform in `0..n`; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 {
            0
        } else {
            ((u128::from(self.bits()) * n as u128) >> 64) as usize
        }
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f32 {
        self.normal_pair().0
    }

    /// Two independent standard normals.
    pub fn normal_pair(&mut self) -> (f32, f32) {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let (sin, cos) = (std::f32::consts::TAU * self.unit()).sin_cos();
        (radius * cos, radius * sin)
    }

    /// Fills `out` with standard normals.
    pub fn fill_normal(&mut self, out: &mut [f32]) {
        for pair in out.chunks_mut(2) {
            let (a, b) = self.normal_pair();
            pair[0] = a;
            if let Some(second) = pair.get_mut(1) {
                *second = b;
            }
        }
    }

    /// -1 or 1.
    pub fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_decides_the_numbers() {
        let draw = |seed, stream, index| {
            let mut rng = Rng::new(seed, stream, index);
            [rng.bits(), rng.bits()]
        };
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        assert_ne!(draw(1, 2, 3), draw(1, 2, 4));
        assert_ne!(draw(1, 2, 3), draw(1, 3, 3));
        assert_ne!(draw(1, 2, 3), draw(2, 2, 3));
    }

    #[test]
    fn moments_are_right() {
        let mut rng = Rng::new(7, 0, 0);
        let mut values = vec![0.0; 40_001];
        rng.fill_normal(&mut values);
        let n = values.len() as f32;
        let mean = values.iter().sum::<f32>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n;
        assert!(
            mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03,
            "{mean} {variance}"
        );
        let mean = (0..40_000).map(|_| rng.unit()).sum::<f32>() / 40_000.0;
        assert!((mean - 0.5).abs() < 0.01);
        assert!((0..1000).all(|_| rng.below(7) < 7));
    }
}
