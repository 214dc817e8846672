//! Parts of the autoencoder, on channels-last pictures (N, H, W, C).

use candle_core::{D, Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::layers::{Conv, Linear, Start};
use crate::ops::conv::Step;
use crate::ops::group_norm::group_norm_silu;
use crate::ops::linear::linear;

/// Added to the variance of a group, as in latent diffusion.
pub(crate) const EPSILON: f32 = 1e-6;

/// Group norm, then SiLU.
#[derive(Debug, Clone)]
pub(super) struct NormSilu {
    groups: usize,
    /// (channels)
    weight: Tensor,
    /// (channels)
    bias: Tensor,
}

impl NormSilu {
    pub fn new(channels: usize, groups: usize, vb: &VarBuilder) -> Result<Self> {
        Ok(Self {
            groups,
            weight: vb.get_with_hints(channels, "weight", Init::Const(1.0))?,
            bias: vb.get_with_hints(channels, "bias", Init::Const(0.0))?,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        group_norm_silu(x, self.groups, &self.weight, &self.bias, EPSILON)
    }

    /// The norm without SiLU, (N, H, W, C) to (N, H W, C).
    fn plain(&self, x: &Tensor) -> Result<Tensor> {
        let (n, h, w, c) = x.dims4()?;
        let grouped = x.reshape((n, h * w, self.groups, c / self.groups))?;
        let centred = grouped.broadcast_sub(&grouped.mean_keepdim((1, 3))?)?;
        let deviation = (centred.sqr()?.mean_keepdim((1, 3))? + f64::from(EPSILON))?.sqrt()?;
        centred
            .broadcast_div(&deviation)?
            .reshape((n, h * w, c))?
            .broadcast_mul(&self.weight)?
            .broadcast_add(&self.bias)
    }
}

/// Norm, SiLU, convolution, twice, added to the input; its channels are matched by a product where they change.
#[derive(Debug, Clone)]
pub(super) struct Residual {
    norm1: NormSilu,
    conv1: Conv,
    norm2: NormSilu,
    conv2: Conv,
    shortcut: Option<Linear>,
}

impl Residual {
    pub fn new(inputs: usize, outputs: usize, groups: usize, vb: &VarBuilder) -> Result<Self> {
        let conv =
            |from: usize, name: &str| Conv::new(from, outputs, Step::Same, Start::Scaled(1.0), &vb.pp(name));
        let shortcut = || Linear::new(inputs, outputs, Start::Scaled(1.0), &vb.pp("shortcut"));
        Ok(Self {
            norm1: NormSilu::new(inputs, groups, &vb.pp("norm1"))?,
            conv1: conv(inputs, "conv1")?,
            norm2: NormSilu::new(outputs, groups, &vb.pp("norm2"))?,
            conv2: conv(outputs, "conv2")?,
            shortcut: (inputs != outputs).then(shortcut).transpose()?,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.conv1.forward(&self.norm1.forward(x)?, None)?;
        let y = self.conv2.forward(&self.norm2.forward(&y)?, None)?;
        match &self.shortcut {
            Some(shortcut) => shortcut.forward(x)?.add(&y),
            None => x.add(&y),
        }
    }
}

/// One head of attention over all pixels. Memory grows with the square of their number: 1 GB for a plate of 1024 px (128 x 128
/// latents).
#[derive(Debug, Clone)]
struct Attention {
    norm: NormSilu,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
}

impl Attention {
    fn new(channels: usize, groups: usize, vb: &VarBuilder) -> Result<Self> {
        let layer = |name: &str| Linear::new(channels, channels, Start::Scaled(1.0), &vb.pp(name));
        Ok(Self {
            norm: NormSilu::new(channels, groups, &vb.pp("norm"))?,
            q: layer("q")?,
            k: layer("k")?,
            v: layer("v")?,
            out: layer("out")?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let c = x.dim(D::Minus1)?;
        let tokens = self.norm.plain(x)?;
        let q = (self.q.forward(&tokens)? * (1.0 / (c as f64).sqrt()))?;
        let (k, v) = (self.k.forward(&tokens)?, self.v.forward(&tokens)?);
        // A sample at a time, through the product whose sums have one order on every machine.
        let product = |a: &Tensor, b: Tensor| {
            let b = b.contiguous()?;
            linear(a, &b, None, &Tensor::zeros(b.dim(0)?, b.dtype(), b.device())?)
        };
        let found = (0..x.dim(0)?)
            .map(|i| {
                let scores = product(&q.get(i)?, k.get(i)?)?;
                product(&candle_nn::ops::softmax(&scores, D::Minus1)?, v.get(i)?.t()?)
            })
            .collect::<Result<Vec<_>>>()?;
        x.add(&self.out.forward(&Tensor::stack(&found, 0)?)?.reshape(x.shape())?)
    }
}

/// Residual, attention, residual, at the coarsest level.
#[derive(Debug, Clone)]
pub(super) struct Middle {
    first: Residual,
    attention: Attention,
    second: Residual,
}

impl Middle {
    pub fn new(channels: usize, groups: usize, vb: &VarBuilder) -> Result<Self> {
        Ok(Self {
            first: Residual::new(channels, channels, groups, &vb.pp("first"))?,
            attention: Attention::new(channels, groups, &vb.pp("attention"))?,
            second: Residual::new(channels, channels, groups, &vb.pp("second"))?,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.second
            .forward(&self.attention.forward(&self.first.forward(x)?)?)
    }
}

/// A convolution that halves: output pixel i looks at input pixels 2 i, 2 i + 1 and 2 i + 2, zero beyond the end (latent
/// diffusion pads on one side only).
#[derive(Debug, Clone)]
pub(super) struct Down(Conv);

impl Down {
    pub fn new(channels: usize, vb: &VarBuilder) -> Result<Self> {
        Ok(Self(Conv::new(
            channels,
            channels,
            Step::Half,
            Start::Scaled(1.0),
            vb,
        )?))
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (h, w) = (x.dim(1)?, x.dim(2)?);
        // The convolution at hand is centred on even pixels: with one more pixel before, those are the odd ones, and the first
        // result, which looks before the picture, is dropped.
        let padded = x.pad_with_zeros(1, 1, 1)?.pad_with_zeros(2, 1, 1)?;
        let all = self.0.forward(&padded, None)?;
        all.narrow(1, 1, h / 2)?.narrow(2, 1, w / 2)?.contiguous()
    }
}
