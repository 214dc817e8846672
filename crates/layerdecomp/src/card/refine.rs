//! The refiner on a card, one picture after the other: [`crate::Model::refine`] with bf16 between products.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use peel_kernels::ops::{self, Activation, Conv, Ending, REFINER_INPUTS, Step};
use peel_kernels::{Buffer, Card};

use super::layers::conv_block;
use super::session::values;
use super::weights::{ConvBlock, Kernel, Upload};
use crate::refine::INPUTS;
use crate::{Conditions, Config, Error, Prediction, Result};

/// See the module.
#[derive(Debug)]
pub(super) struct Refiner<C: Card> {
    pub scale: usize,
    pub enter: ConvBlock<C>,
    pub down: ConvBlock<C>,
    pub middle: ConvBlock<C>,
    pub up: ConvBlock<C>,
    pub fine: Kernel<C>,
    pub out: Kernel<C>,
}

impl<C: Card> Refiner<C> {
    /// Uploads that of a model which has one, with its weights.
    pub fn new(card: &C, config: &Config, tensors: &BTreeMap<String, Tensor>) -> Result<Option<Self>> {
        let up = Upload { card, tensors };
        let Some(refine) = config.refine.as_ref().filter(|_| up.has("refine.out.bias")) else {
            return Ok(None);
        };
        let width = refine.width;
        if width % 8 != 0 {
            return Err(Error::NotOnCard("a refiner whose width is no multiple of 8"));
        }
        let block = |name: &str, skip: usize| up.conv_block(&format!("refine.{name}"), skip);
        Ok(Some(Self {
            scale: refine.scale,
            enter: block("enter", 0)?,
            down: block("down", 0)?,
            middle: block("middle", 0)?,
            up: block("up", width)?,
            fine: up.kernel("refine.fine", INPUTS)?,
            out: up.kernel("refine.out", 0)?,
        }))
    }

    /// The sides of plates whose layers have these, which it looks at.
    pub fn larger(&self, (n, h, w): (usize, usize, usize), plate: &Tensor) -> Result<(usize, usize)> {
        let (high, wide) = (h * self.scale, w * self.scale);
        let expected = [n, 3, high, wide];
        if high % 4 == 0 && wide % 4 == 0 && plate.dims() == expected {
            return Ok((high, wide));
        }
        Err(Error::Shape {
            what: "plate to refine",
            expected: format!("{expected:?}, with sides that are multiples of 4"),
            found: plate.dims().to_vec(),
        })
    }

    /// Alpha (N, 1, H, W) at the finer size.
    pub fn alpha(&self, card: &C, c: &Conditions, p: &Prediction) -> Result<Tensor> {
        let (n, _, h, w) = p.background.dims4()?;
        let (high, wide) = self.larger((n, h, w), &c.plate)?;
        let one = |i: usize| -> Result<Tensor> {
            let planes =
                |t: &Tensor| -> Result<Buffer<C, f32>> { Ok(card.put(&values(&t.narrow(0, i, 1)?)?)?) };
            let (plate, mask) = (planes(&c.plate)?, planes(&c.mask)?);
            let (background, foreground) = (planes(&p.background)?, planes(&p.foreground)?);
            let seen = [&plate, &mask];
            let said = [&background, &foreground];
            let alpha = self.one(card, seen, said, (h, w))?;
            Ok(Tensor::from_vec(
                card.get(&alpha)?,
                (1, 1, high, wide),
                &Device::Cpu,
            )?)
        };
        let parts = (0..n).map(one).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&parts, 0)?)
    }

    /// That of one picture, on the card.
    fn one(
        &self,
        card: &C,
        seen: [&Buffer<C, f32>; 2],
        said: [&Buffer<C, f32>; 2],
        (h, w): (usize, usize),
    ) -> Result<Buffer<C, f32>> {
        let (inputs, alpha) = ops::refiner_inputs(card, seen, said, (1, h, w), self.scale)?;
        let (high, wide) = (h * self.scale, w * self.scale);
        let width = self.enter.channels();
        let size = |part: usize, channels: usize| [1, high / part, wide / part, channels];
        let half = conv_block(
            card,
            &self.enter,
            &inputs,
            None,
            size(1, REFINER_INPUTS),
            Step::Half,
        )?;
        let quarter = conv_block(card, &self.down, &half, None, size(2, width), Step::Half)?;
        let channels = self.down.channels();
        let quarter = conv_block(card, &self.middle, &quarter, None, size(4, channels), Step::Same)?;
        let skip = Some((&half, width));
        let half = conv_block(card, &self.up, &quarter, skip, size(4, channels), Step::Double)?;
        let fine = Conv {
            x: &half,
            skip: Some((&inputs, REFINER_INPUTS)),
            size: size(2, self.up.channels()),
            weight: &self.fine.weight,
            step: Step::Double,
        };
        let Ending::Bf16(fine) = ops::conv3x3(card, &fine, Activation::Silu, false)? else {
            return Err(Error::NotOnCard(
                "a convolution that ends in f32 where bf16 was asked for",
            ));
        };
        let out = Conv {
            x: &fine,
            skip: None,
            size: size(1, self.fine.weight.bias.len()),
            weight: &self.out.weight,
            step: Step::Same,
        };
        let Ending::F32(out) = ops::conv3x3(card, &out, Activation::None, true)? else {
            return Err(Error::NotOnCard(
                "a convolution that ends in bf16 where f32 was asked for",
            ));
        };
        let stride = self.out.weight.bias.len();
        Ok(ops::planes(
            card,
            &out,
            (1, high * wide, stride),
            (0, 1),
            Some(&alpha),
        )?)
    }
}
