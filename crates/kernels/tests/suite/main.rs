//! Every kernel on the emulated card against its twin: odd sizes, random numbers, several orders of the threads; and faults
//! planted on purpose, which have to be found. In a build for cards (`--features cuda`) on a machine with one, every case runs there, too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod attention;
mod back;
mod execution;
mod faults;
mod latents;
mod linear;
mod loss;
mod norms;
mod pictures;
mod plate;
mod tested;

use half::bf16;

use tested::cards;

const EPSILON: f32 = 1e-5;

/// Numbers from a counter: SplitMix64.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Of -1..1.
    fn one(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn many(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.one()).collect()
    }

    /// Numbers that bf16 holds.
    fn halves(&mut self, count: usize) -> Vec<bf16> {
        (0..count).map(|_| bf16::from_f32(self.one())).collect()
    }
}

fn wide(values: &[bf16]) -> Vec<f32> {
    values.iter().map(|v| v.to_f32()).collect()
}

/// Largest difference in units of `1 + |want|`; NaN where something was not written.
fn worst(found: &[f32], want: &[f32]) -> f32 {
    assert_eq!(found.len(), want.len());
    found
        .iter()
        .zip(want)
        .map(|(f, w)| {
            if f == w {
                0.0
            } else {
                (f - w).abs() / (1.0 + w.abs())
            }
        })
        .fold(0.0, |a, e| {
            if e.is_nan() || a.is_nan() {
                f32::NAN
            } else {
                a.max(e)
            }
        })
}

/// Prints what the table of the architecture notes says, and holds it to a limit.
fn report(kernel: &str, cases: usize, error: f32, limit: f32) {
    eprintln!("{kernel}: {cases} cases, worst error {error:.1e}");
    assert!(error <= limit, "{kernel}: {error:e} is more than {limit:e}");
}

/// A result in bf16 is right within half a unit of its eight bits.
const BF16: f32 = 1.0 / 256.0;
