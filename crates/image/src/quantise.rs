//! What a number becomes in a file of 16-bit floats, the type of colour in EXR files.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::{Layer, Pixel};

/// `value` rounded to the nearest half (ties to even) and back. Beyond ±65504 it becomes infinite.
#[inline]
pub fn half(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

/// [`half`] of each channel.
#[inline]
pub fn half_pixel(pixel: Pixel) -> Pixel {
    pixel.map(half)
}

/// [`half`] of every value, in place.
pub fn half_slice(values: &mut [f32]) {
    // A small block on the stack, so that the conversion runs eight at a time where the CPU can.
    let mut block = [f16::ZERO; 256];
    for values in values.chunks_mut(block.len()) {
        let block = &mut block[..values.len()];
        block.convert_from_f32_slice(values);
        block.convert_to_f32_slice(values);
    }
}

/// [`half`] of every pixel of a layer, in place.
pub fn half_layer(layer: &mut Layer) {
    half_slice(layer.pixels_mut().as_flattened_mut());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_nearest_even() {
        assert_eq!(half(1.0 + 1.0 / 2048.0), 1.0);
        assert_eq!(half(1.0 + 3.0 / 2048.0), 1.0 + 2.0 / 1024.0);
        assert_eq!(half(65519.0), 65504.0);
        assert_eq!(half(65520.0), f32::INFINITY);
    }

    #[test]
    fn slices_and_single_values_agree() {
        let mut values: Vec<f32> = (0..5000)
            .map(|n| ((n as f32) * 0.7).sin() * 2f32.powi(n % 40 - 28))
            .collect();
        let expected: Vec<f32> = values.iter().map(|&v| half(v)).collect();
        half_slice(&mut values);
        assert_eq!(values, expected);
        half_slice(&mut values);
        assert_eq!(values, expected, "rounding twice is rounding once");
    }
}
