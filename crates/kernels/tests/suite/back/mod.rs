//! The backward pass, family by family.

mod attention;
mod norms;
mod products;
mod steps;

use peel_kernels::{Buffer, Card};

/// A buffer of zeros, as gradients start.
pub fn zeros<C: Card>(card: &C, count: usize) -> Buffer<C, f32> {
    card.put(&vec![0.0f32; count]).unwrap()
}

/// Largest difference in units of the largest wanted value and 1: sums of many products are no more exact than that.
pub fn worst_of(found: &[f32], want: &[f32]) -> f32 {
    let most = want.iter().fold(1.0f32, |most, w| most.max(w.abs()));
    assert_eq!(found.len(), want.len());
    found
        .iter()
        .zip(want)
        .map(|(f, w)| (f - w).abs() / most)
        .fold(0.0, |a, e| {
            if e.is_nan() || a.is_nan() {
                f32::NAN
            } else {
                a.max(e)
            }
        })
}
