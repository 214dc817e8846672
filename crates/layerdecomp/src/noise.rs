//! Noise that depends on a seed and a position alone: Philox4x32-10 and Box-Muller.
//!
//! A counter-based generator has no state to share, so the same bytes come out whatever the thread, the batch or the
//! order of the calls. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

use candle_core::{Device, Result, Shape, Tensor};

/// Ten rounds of Philox4x32: 128 random bits for a counter under a key.
#[must_use]
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// An endless, addressable sequence of random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noise {
    seed: u64,
    stream: u64,
}

impl Noise {
    /// The sequence of `seed`; sequences of different `stream`s are independent.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        Self { seed, stream }
    }

    /// Four uniform 32-bit words at `index`.
    #[must_use]
    pub fn words(&self, index: u64) -> [u32; 4] {
        let counter = [
            index as u32,
            (index >> 32) as u32,
            self.stream as u32,
            (self.stream >> 32) as u32,
        ];
        philox(counter, [self.seed as u32, (self.seed >> 32) as u32])
    }

    /// The first `count` standard normal numbers.
    #[must_use]
    pub fn normal(&self, count: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(count.next_multiple_of(4));
        for index in 0..count.div_ceil(4) as u64 {
            let [a, b, c, d] = self.words(index);
            out.extend(box_muller(a, b));
            out.extend(box_muller(c, d));
        }
        out.truncate(count);
        out
    }

    /// The first `count` numbers uniform in `low..high`.
    #[must_use]
    pub fn uniform(&self, count: usize, low: f32, high: f32) -> Vec<f32> {
        let mut out = Vec::with_capacity(count.next_multiple_of(4));
        for index in 0..count.div_ceil(4) as u64 {
            // 24 bits: every step is a different f32, and 1 is never reached.
            out.extend(
                self.words(index)
                    .map(|w| (high - low).mul_add((w >> 8) as f32 / 16_777_216.0, low)),
            );
        }
        out.truncate(count);
        out
    }

    /// A tensor of standard normal numbers, generated on the CPU whatever the device.
    ///
    /// # Errors
    /// If the device refuses the tensor.
    pub fn normal_tensor(&self, shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
        let shape = shape.into();
        Tensor::from_vec(self.normal(shape.elem_count()), shape, device)
    }
}

/// Two normal numbers from two words. In f64, so that the last digits of the platform's `ln` and `cos` are rounded away.
fn box_muller(a: u32, b: u32) -> [f32; 2] {
    let radius = (-2.0 * ((f64::from(a) + 0.5) / 4_294_967_296.0).ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * (f64::from(b) / 4_294_967_296.0)).sin_cos();
    [(radius * cos) as f32, (radius * sin) as f32]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known-answer vectors of Random123 (`kat_vectors`, philox4x32 10).
    #[test]
    fn philox_equals_the_published_vectors() {
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn normal_numbers_have_the_right_moments() {
        let n = 100_000;
        let values = Noise::new(7, 3).normal(n);
        let moment = |p: i32| values.iter().map(|v| f64::from(*v).powi(p)).sum::<f64>() / n as f64;
        assert!(
            moment(1).abs() < 0.01 && (moment(2) - 1.0).abs() < 0.02,
            "{} {}",
            moment(1),
            moment(2)
        );
        assert!(moment(3).abs() < 0.05 && (moment(4) - 3.0).abs() < 0.1);
        assert_ne!(values[..8], Noise::new(7, 4).normal(8)[..]);
        assert_eq!(values[..7], Noise::new(7, 3).normal(7)[..]);
    }

    #[test]
    fn uniform_numbers_stay_inside() {
        let values = Noise::new(1, 0).uniform(10_001, -2.0, 3.0);
        assert!(values.iter().all(|v| (-2.0..3.0).contains(v)));
        let mean = values.iter().sum::<f32>() / 10_001.0;
        assert!((mean - 0.5).abs() < 0.05, "{mean}");
    }
}
