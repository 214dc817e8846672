//! Number formats of stored weights.

use candle_core::Tensor;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// IEEE half: 11 bits of precision, up to 65504.
    F16,
    /// bfloat16: 8 bits of precision, the range of f32.
    Bf16,
    /// Linear layers as whole numbers in -127..=127, each row (output) with its own f32 scale; all else as f16.
    Int8,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Bf16, Self::Int8];
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|p| p.to_string() == text);
        found.ok_or_else(|| format!("{text}: not a number format (f32, f16, bf16, int8)"))
    }
}

/// Whether a weight is the matrix of a linear layer, which [`Precision::Int8`] makes whole numbers.
pub(crate) fn is_product(name: &str, dims: &[usize]) -> bool {
    dims.len() == 2 && name.ends_with(".weight")
}

/// How safetensors names the number format of a linear layer's weight.
pub(super) fn stored_as(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "F32",
        Precision::F16 => "F16",
        Precision::Bf16 => "BF16",
        Precision::Int8 => "U8",
    }
}

/// The name of the scales that belong to a weight of whole numbers.
pub(super) fn scale_name(weight: &str) -> String {
    format!("{}.scale", weight.trim_end_matches(".weight"))
}

/// What is added to a whole number in -127..=127 to store it as u8.
pub(crate) const ZERO: u8 = 128;

/// Rows of (outputs, inputs) as whole numbers with a scale each: `w = scale (q - 128)`.
pub(crate) fn quantised(values: &[f32], inputs: usize) -> (Vec<u8>, Vec<f32>) {
    let mut numbers = Vec::with_capacity(values.len());
    let mut scales = Vec::with_capacity(values.len() / inputs.max(1));
    for row in values.chunks_exact(inputs.max(1)) {
        let scale = row.iter().fold(0f32, |most, v| most.max(v.abs())) / 127.0;
        let rate = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        scales.push(scale);
        numbers.extend(
            row.iter()
                .map(|v| ((v * rate).round() as i32 + i32::from(ZERO)) as u8),
        );
    }
    (numbers, scales)
}

/// The inverse of [`quantised`], but for rounding.
pub(super) fn restored(numbers: &[u8], scales: &[f32], inputs: usize) -> Vec<f32> {
    let rows = numbers.chunks_exact(inputs.max(1)).zip(scales);
    rows.flat_map(|(row, scale)| row.iter().map(move |q| restore(*q, *scale)))
        .collect()
}

/// One number of [`restored`].
pub(crate) fn restore(number: u8, scale: f32) -> f32 {
    (f32::from(number) - f32::from(ZERO)) * scale
}

/// Little-endian bytes of f32, f16 or bf16 numbers.
pub(super) fn bytes(values: &[f32], precision: Precision) -> Vec<u8> {
    match precision {
        Precision::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Precision::F16 | Precision::Int8 => values
            .iter()
            .flat_map(|v| f16::from_f32(*v).to_le_bytes())
            .collect(),
        Precision::Bf16 => values
            .iter()
            .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
            .collect(),
    }
}

/// Values of a tensor of any number format as f32.
pub(super) fn values(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_come_back_within_half_a_step() {
        let values: Vec<f32> = (0..60)
            .map(|i| ((i * 37) % 23) as f32 / 7.0 - 1.5)
            .chain([0.0; 20])
            .collect();
        let (numbers, scales) = quantised(&values, 20);
        assert_eq!((numbers.len(), scales.len(), scales[3]), (80, 4, 0.0));
        let back = restored(&numbers, &scales, 20);
        for (i, (a, b)) in values.iter().zip(&back).enumerate() {
            assert!((a - b).abs() <= 0.5001 * scales[i / 20], "{a} {b}");
        }
    }

    #[test]
    fn names_read_back() {
        for p in Precision::ALL {
            assert_eq!(p.to_string().parse::<Precision>(), Ok(p));
        }
        assert!("f64".parse::<Precision>().is_err());
    }
}
