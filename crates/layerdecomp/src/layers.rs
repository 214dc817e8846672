//! Layers with weights. Every matrix product with a weight goes through [`Linear`]: the seam for other number formats.

use std::sync::Arc;

use candle_core::{DType, Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::ops::conv::{Step, conv3x3};
use crate::ops::group_norm::group_norm_silu;
use crate::ops::linear::linear;
use crate::ops::norm::EPSILON;

/// Uniform initial weights within `gain / √inputs`, as PyTorch's layers start.
fn uniform(inputs: usize, gain: f64) -> Init {
    let bound = gain / (inputs as f64).sqrt();
    Init::Uniform {
        lo: -bound,
        up: bound,
    }
}

/// `x Wᵀ + b`. Computed in f32; the weight may be stored in fewer bits, and does not learn then.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// (outputs, inputs): f32, f16, bf16, or whole numbers as u8.
    weight: Tensor,
    /// One for each output where the weight is whole numbers.
    scale: Option<Arc<[f32]>>,
    /// (outputs)
    bias: Tensor,
}

/// How a layer starts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    /// Uniform weights, scaled.
    Scaled(f64),
    /// Nothing: the layer's result is zero until trained.
    Zero,
}

impl Linear {
    pub fn new(inputs: usize, outputs: usize, start: Start, vb: &VarBuilder) -> Result<Self> {
        let (weight, bias) = match start {
            Start::Scaled(gain) => (uniform(inputs, gain), uniform(inputs, 1.0)),
            Start::Zero => (Init::Const(0.0), Init::Const(0.0)),
        };
        let bias = vb.get_with_hints(outputs, "bias", bias)?;
        if vb.contains_tensor("scale") {
            let scale = vb.get_with_hints(outputs, "scale", Init::Const(1.0))?;
            return Ok(Self {
                weight: vb.get_with_hints_dtype((outputs, inputs), "weight", weight, DType::U8)?,
                scale: Some(scale.to_vec1()?.into()),
                bias,
            });
        }
        Ok(Self {
            weight: vb.get_with_hints((outputs, inputs), "weight", weight)?,
            scale: None,
            bias,
        })
    }

    /// (.., inputs) to (.., outputs).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        linear(x, &self.weight, self.scale.as_ref(), &self.bias)
    }
}

/// A 3x3 convolution over channels-last pictures.
#[derive(Debug, Clone)]
pub(crate) struct Conv {
    /// (3, 3, inputs, outputs): channels last, as the pictures.
    weight: Tensor,
    /// (outputs)
    bias: Tensor,
    step: Step,
}

impl Conv {
    pub fn new(inputs: usize, outputs: usize, step: Step, start: Start, vb: &VarBuilder) -> Result<Self> {
        let (weight, bias) = match start {
            Start::Scaled(gain) => (uniform(9 * inputs, gain), uniform(9 * inputs, 1.0)),
            Start::Zero => (Init::Const(0.0), Init::Const(0.0)),
        };
        Ok(Self {
            weight: vb.get_with_hints((3, 3, inputs, outputs), "weight", weight)?,
            bias: vb.get_with_hints(outputs, "bias", bias)?,
            step,
        })
    }

    /// (N, H, W, inputs), with the last of the inputs taken from `skip`, to (N, H', W', outputs).
    pub fn forward(&self, x: &Tensor, skip: Option<&Tensor>) -> Result<Tensor> {
        conv3x3(x, skip, &self.weight, &self.bias, self.step)
    }
}

/// Groups of a norm over channels: of 16 each, or the nearest count that divides them.
pub(crate) fn groups(channels: usize) -> usize {
    let most = (channels / 16).max(1);
    (1..=most)
        .rev()
        .find(|g| channels.is_multiple_of(*g))
        .unwrap_or(1)
}

/// Convolution, group norm over groups of 16 channels, SiLU.
#[derive(Debug, Clone)]
pub(crate) struct ConvBlock {
    conv: Conv,
    groups: usize,
    /// (outputs)
    norm_weight: Tensor,
    /// (outputs)
    norm_bias: Tensor,
}

impl ConvBlock {
    pub fn new(inputs: usize, outputs: usize, step: Step, vb: &VarBuilder) -> Result<Self> {
        Ok(Self {
            conv: Conv::new(inputs, outputs, step, Start::Scaled(1.0), &vb.pp("conv"))?,
            groups: groups(outputs),
            norm_weight: vb.get_with_hints(outputs, "norm.weight", Init::Const(1.0))?,
            norm_bias: vb.get_with_hints(outputs, "norm.bias", Init::Const(0.0))?,
        })
    }

    /// As [`Conv::forward`].
    pub fn forward(&self, x: &Tensor, skip: Option<&Tensor>) -> Result<Tensor> {
        let y = self.conv.forward(x, skip)?;
        group_norm_silu(&y, self.groups, &self.norm_weight, &self.norm_bias, EPSILON)
    }
}
