//! Elementary functions that compile to the same vector instructions everywhere.

/// `e^x`, relative error below 2e-7, flushed to 0 below -87 and capped at `e^88`.
///
/// Range reduction by `ln 2` in two parts and a degree-6 polynomial (Cephes `expf`).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    let clamped = x.clamp(-87.0, 88.0);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_4, clamped);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_2e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let y = p.mul_add(r * r, r) + 1.0;
    // 2^n from the integer that the rounding left in the low bits of `shifted`.
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    let value = y * scale;
    if x < -87.0 { 0.0 } else { value }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Sum of a slice in eight interleaved lanes: one order on every machine, and vector adds.
#[inline(always)]
pub(super) fn sum(values: &[f32]) -> f32 {
    let (body, tail) = values.as_chunks::<8>();
    let mut lanes = [0.0f32; 8];
    for chunk in body {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += v;
        }
    }
    fold(lanes) + tail.iter().sum::<f32>()
}

/// Sum of products, in eight lanes as [`sum`].
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_body, a_tail) = a.as_chunks::<8>();
    let (b_body, b_tail) = b.as_chunks::<8>();
    let mut lanes = [0.0f32; 8];
    for (x, y) in a_body.iter().zip(b_body) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane = x.mul_add(*y, *lane);
        }
    }
    fold(lanes) + a_tail.iter().zip(b_tail).map(|(x, y)| x * y).sum::<f32>()
}

#[inline(always)]
fn fold(l: [f32; 8]) -> f32 {
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_follows_f64() {
        for i in -8700..=8800 {
            let x = i as f32 / 100.0;
            let want = f64::from(x).exp();
            assert!(
                (f64::from(exp(x)) / want - 1.0).abs() < 2e-7,
                "{x}: {} {want}",
                exp(x)
            );
        }
        assert_eq!((exp(0.0), exp(-200.0)), (1.0, 0.0));
        assert!(exp(200.0).is_finite() && exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_cover_the_tail() {
        let v: Vec<f32> = (1..=19).map(|i| i as f32).collect();
        assert_eq!((sum(&v), dot(&v, &v)), (190.0, 2470.0));
    }
}
