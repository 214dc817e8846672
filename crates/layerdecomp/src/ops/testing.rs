//! Helpers of the operations' tests.

use candle_core::{Device, Result, Tensor, Var};

/// Repeatable values in -1..1.
pub(crate) fn noise(shape: &[usize], seed: usize) -> Tensor {
    let count = shape.iter().product::<usize>();
    let mut state = seed as u64 * 7_919 + 12_345;
    let values: Vec<f32> = (0..count)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Largest difference over the largest magnitude of `want`.
pub(crate) fn relative_error(found: &Tensor, want: &Tensor) -> f32 {
    assert_eq!(found.dims(), want.dims());
    let scalar = |t: Tensor| {
        t.flatten_all()
            .unwrap()
            .max(0)
            .unwrap()
            .to_scalar::<f32>()
            .unwrap()
    };
    let difference = scalar((found - want).unwrap().abs().unwrap());
    difference / scalar(want.abs().unwrap()).max(1e-6)
}

/// Compares a fused operation with a composed one: its result and the gradient of each input, through a weighted sum
/// of the result so that no gradient is uniform.
pub(crate) fn check_gradients(
    inputs: &[Tensor],
    fused: impl Fn(&[Tensor]) -> Result<Tensor>,
    composed: impl Fn(&[Tensor]) -> Result<Tensor>,
    tolerance: f32,
) {
    let run = |f: &dyn Fn(&[Tensor]) -> Result<Tensor>| {
        let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let y = f(&tensors).unwrap();
        let weights = noise(y.dims(), 99);
        let grads = (&y * &weights).unwrap().sum_all().unwrap().backward().unwrap();
        let grads: Vec<Tensor> = tensors.iter().map(|t| grads.get(t).unwrap().clone()).collect();
        (y, grads)
    };
    let (y, grads) = run(&fused);
    let (want, want_grads) = run(&composed);
    let error = relative_error(&y, &want);
    assert!(error < tolerance, "result differs by {error}");
    for (i, (found, want)) in grads.iter().zip(&want_grads).enumerate() {
        let error = relative_error(found, want);
        assert!(error < tolerance, "gradient of input {i} differs by {error}");
    }
}
