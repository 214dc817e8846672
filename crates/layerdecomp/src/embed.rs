//! Where and when: position and time as features.

use candle_core::{Device, Result, Tensor};

/// Features of a time before its feed-forward layers.
pub(crate) const TIME_FEATURES: usize = 256;

/// At which share of the learning rate a weight should learn: 1 for convolutions, less for the transformer.
///
/// AdamW moves every weight by about the learning rate, whatever its gradient. What all tokens have in common moves a feature through all
/// its weights together, many times as fast as what tells tokens apart; at the rate of the convolutions it soon drowns every token,
/// and the norm at the end of the transformer leaves nothing of what it found. Where a time comes in, that is worst: at pure
/// noise its 128 cosines are all 1.
#[must_use]
pub fn learning_share(name: &str) -> f32 {
    match name.split('.').next() {
        Some("time") => 1.0 / 16.0,
        Some("blocks" | "embed" | "stream_types") => 0.5,
        _ => 1.0,
    }
}

/// Sines and cosines of the place of each token, (rows columns, width): a quarter of the features each for sin y, cos y, sin x
/// and cos x, with frequencies `100^(-i / quarter)`.
///
/// Coordinates are scaled so that the longer side spans 0..8 whatever its number of tokens: a model trained at one size
/// sees familiar positions at another. Both axes share the scale, so shapes are not stretched.
pub(crate) fn positions(rows: usize, columns: usize, width: usize, device: &Device) -> Result<Tensor> {
    let quarter = width / 4;
    let scale = 8.0 / rows.max(columns) as f64;
    let frequency = |i: usize| (-(100f64.ln()) * i as f64 / quarter as f64).exp();
    let mut out = Vec::with_capacity(rows * columns * width);
    for y in 0..rows {
        for x in 0..columns {
            for axis in [y, x] {
                let place = axis as f64 * scale;
                out.extend((0..quarter).map(|i| (place * frequency(i)).sin() as f32));
                out.extend((0..quarter).map(|i| (place * frequency(i)).cos() as f32));
            }
        }
    }
    Tensor::from_vec(out, (rows * columns, width), device)
}

/// Cosines and sines of times, (N,) to (N, [`TIME_FEATURES`]): frequencies `1000 · 1000^(-i / half)`.
pub(crate) fn times(time: &Tensor, device: &Device) -> Result<Tensor> {
    let half = TIME_FEATURES / 2;
    let time = time.to_vec1::<f32>()?;
    let mut out = Vec::with_capacity(time.len() * TIME_FEATURES);
    for t in &time {
        let angle = |i: usize| f64::from(*t) * 1000.0 * (-(1000f64.ln()) * i as f64 / half as f64).exp();
        out.extend((0..half).map(|i| angle(i).cos() as f32));
        out.extend((0..half).map(|i| angle(i).sin() as f32));
    }
    Tensor::from_vec(out, (time.len(), TIME_FEATURES), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_share_one_scale_on_both_axes() {
        let p = positions(2, 4, 8, &Device::Cpu)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        assert_eq!(p.len(), 8);
        // Token (1, 2): y = 2, x = 4 on the 0..8 scale; frequencies 1 and 0.1.
        let want = [
            2f32.sin(),
            0.2f32.sin(),
            2f32.cos(),
            0.2f32.cos(),
            4f32.sin(),
            0.4f32.sin(),
            4f32.cos(),
            0.4f32.cos(),
        ];
        assert!(
            p[6].iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6),
            "{:?}",
            p[6]
        );
    }

    #[test]
    fn time_zero_is_ones_and_zeros() {
        let t = Tensor::new(&[0f32, 0.5], &Device::Cpu).unwrap();
        let t = times(&t, &Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
        assert!(t[0][..128].iter().all(|v| *v == 1.0) && t[0][128..].iter().all(|v| *v == 0.0));
        assert!((t[1][0] - 500f32.cos()).abs() < 1e-5 && (t[1][128] - 500f32.sin()).abs() < 1e-5);
    }
}
