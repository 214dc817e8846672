//! How pictures become tokens and tokens become pictures: the seam between pixel and latent models.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::embed::positions;
use crate::{Conditions, Config, Noisy, Pair, Prediction};

/// The four streams of tokens, in the order of their learned type embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The picture to be decomposed.
    Plate,
    /// The object's mask.
    Mask,
    /// The noisy background.
    Background,
    /// The noisy foreground.
    Foreground,
}

/// A plate and its mask, encoded once.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    /// Tokens of the plate, (N, rows columns, width), without position and type.
    pub plate: Tensor,
    /// Tokens of the mask, likewise.
    pub mask: Tensor,
    /// Rows and columns of tokens.
    pub grid: (usize, usize),
    /// Features that the decoder is given besides the output tokens; the tokenizer's own business.
    pub skips: Vec<Tensor>,
    /// What clean layers are predicted as a difference from, if they are.
    pub base: Option<Pair>,
}

/// Turns pictures into tokens and back.
pub(crate) trait Tokenizer: std::fmt::Debug + Send + Sync {
    /// Encodes the conditions.
    fn conditions(&self, c: &Conditions) -> Result<Encoded>;
    /// Tokens of the noisy background and foreground, (N, rows columns, width) each.
    fn noisy(&self, z: &Noisy) -> Result<(Tensor, Tensor)>;
    /// What the output tokens of background and foreground say, in the space of the noisy streams, without base.
    fn decode(&self, background: &Tensor, foreground: &Tensor, encoded: &Encoded) -> Result<Pair>;
    /// Channels, height and width of the noisy background and foreground of pictures of (height, width).
    fn sizes(&self, h: usize, w: usize) -> [(usize, usize, usize); 2];
    /// From pictures in 0..1 to the space of the noisy streams.
    fn encode_layers(&self, pictures: &Prediction) -> crate::Result<Pair>;
    /// From the space of the noisy streams to pictures in 0..1, not clamped.
    fn decode_layers(&self, layers: &Pair) -> crate::Result<Prediction>;
}

/// Position and type, added to every token.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    /// (4, width)
    types: Tensor,
    fold_mask: bool,
    join: bool,
}

impl Streams {
    pub fn new(config: &Config, vb: &VarBuilder) -> Result<Self> {
        let start = Init::Randn {
            mean: 0.0,
            stdev: 0.5,
        };
        let types = vb.get_with_hints((4, config.width), "stream_types", start)?;
        Ok(Self {
            types,
            fold_mask: config.fold_mask,
            join: config.join,
        })
    }

    /// The condition tokens: plate and mask behind each other, or summed.
    pub fn conditions(&self, encoded: &Encoded) -> Result<Tensor> {
        let places = self.places(encoded)?;
        let plate = self.mark(&encoded.plate, Stream::Plate, &places)?;
        let mask = self.mark(&encoded.mask, Stream::Mask, &places)?;
        if self.fold_mask {
            plate.add(&mask)
        } else {
            Tensor::cat(&[plate, mask], 1)
        }
    }

    /// The noisy tokens: background, then foreground.
    pub fn noisy(&self, background: &Tensor, foreground: &Tensor, encoded: &Encoded) -> Result<Tensor> {
        let places = self.places(encoded)?;
        let background = self.mark(background, Stream::Background, &places)?;
        let foreground = self.mark(foreground, Stream::Foreground, &places)?;
        if self.join {
            let there = encoded.plate.add(&encoded.mask)?;
            return Tensor::cat(&[background.add(&there)?, foreground.add(&there)?], 1);
        }
        Tensor::cat(&[background, foreground], 1)
    }

    fn places(&self, encoded: &Encoded) -> Result<Tensor> {
        let (rows, columns) = encoded.grid;
        positions(rows, columns, self.types.dim(1)?, self.types.device())
    }

    /// `tokens + (places + type)`: (N, T, width).
    fn mark(&self, tokens: &Tensor, stream: Stream, places: &Tensor) -> Result<Tensor> {
        let own = self.types.narrow(0, stream as usize, 1)?;
        tokens.broadcast_add(&places.broadcast_add(&own)?)
    }
}

/// (N, C, H, W) to (N, H/p W/p, C p p): the channels of a patch one after the other, each row by row.
pub(crate) fn patches(x: &Tensor, p: usize) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    x.reshape(&[n, c, h / p, p, w / p, p][..])?
        .permute([0, 2, 4, 1, 3, 5])?
        .reshape((n, h / p * (w / p), c * p * p))
}

/// The inverse of [`patches`] for a grid of rows and columns.
pub(crate) fn pictures(tokens: &Tensor, p: usize, (rows, columns): (usize, usize)) -> Result<Tensor> {
    let (n, _, features) = tokens.dims3()?;
    let c = features / (p * p);
    tokens
        .reshape(&[n, rows, columns, c, p, p][..])?
        .permute([0, 3, 1, 4, 2, 5])?
        .reshape((n, c, rows * p, columns * p))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn patches_keep_channels_together() {
        let x = Tensor::arange(0f32, 32.0, &Device::Cpu)
            .unwrap()
            .reshape((1, 2, 4, 4))
            .unwrap();
        let p = patches(&x, 2).unwrap().to_vec3::<f32>().unwrap();
        assert_eq!(p[0][1], [2.0, 3.0, 6.0, 7.0, 18.0, 19.0, 22.0, 23.0]);
        let back = pictures(&patches(&x, 2).unwrap(), 2, (2, 2)).unwrap();
        assert_eq!(
            back.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            x.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        );
    }
}
