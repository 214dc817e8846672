//! An autoencoder under training on a card, one picture after the other.

use std::collections::BTreeMap;

use candle_core::Tensor;
use half::bf16;
use peel_kernels::ops::back;
use peel_kernels::ops::{self, Compared, Layer, Layout, Moments, Terms, Weight};
use peel_kernels::{Arena, Buffer, Card, Span};

use super::halves::{Halves, Picture};
use super::layers::Layers;
use super::parameters::Parameters;
use super::pour::Pour;
use super::room::Room;
use super::{CardEncoding, Learns, fits};
use crate::card::session::{halves, values};
use crate::card::vae::{CardVae, Seen};
use crate::card::weights::Upload;
use crate::tokenizer::patches;
use crate::{Config, Error, Result, TokenizerConfig};

/// Pictures that an autoencoder is to bring back, and what it is told of them.
#[derive(Debug, Clone)]
pub struct Reconstruction {
    /// In 0..1, `(N, 3, H, W)`; layers `(N, 4, H, W)`, premultiplied.
    pub pictures: Tensor,
    /// Noise of latents, `(N, latent, H / stride, W / stride)`.
    pub noise: Tensor,
    /// Alpha and mask by which pixels weigh, `(N, 1, H, W)` each.
    pub weigh: [Tensor; 2],
    /// What errors and pixels weigh in every picture; [`Terms::clean`] is (0, 1).
    pub terms: Terms,
    /// What the divergence of latents from normal ones weighs.
    pub divergence: f32,
}

/// What came of a [`Reconstruction`]: means, weights included.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rebuilt {
    /// Of the errors of pictures.
    pub error: f32,
    /// Of the divergence of latents.
    pub divergence: f32,
}

/// An autoencoder under training on a card.
#[derive(Debug)]
pub struct CardAutoencoder<C: Card> {
    card: Arena<C>,
    vae: CardVae<Arena<C>>,
    /// Where it lies among the weights.
    name: &'static str,
    parameters: Parameters<Arena<C>>,
    session: Option<Session<C>>,
    room: Room,
}

/// What the CPU hands over for a picture.
#[derive(Debug)]
struct Inputs<C: Card> {
    /// In -1..1, channels last, filled up to a multiple of 8.
    picture: Picture<C>,
    /// The same in patches of a latent each, for a bypass.
    patches: Option<Buffer<C, bf16>>,
    /// In 0..1, planes.
    truth: Buffer<C, f32>,
    /// (latents, channels)
    noise: Buffer<C, f32>,
    /// Alpha and mask.
    weigh: [Buffer<C, f32>; 2],
    terms: Buffer<C, f32>,
    /// What slopes of the divergence are multiplied by, one number.
    divergence: Buffer<C, f32>,
    /// Of errors and divergence, over all pictures of a batch.
    sums: Buffer<C, f32>,
    seen: [Seen<C>; 2],
    one: Buffer<C, f32>,
}

/// A picture's step, written down once.
#[derive(Debug)]
struct Session<C: Card> {
    /// H, W
    size: (usize, usize),
    inputs: Inputs<Arena<C>>,
    step: <Arena<C> as Card>::Recording,
}

/// An autoencoder, what it learns, and what is before it.
struct Learning<'a, C: Card> {
    vae: &'a CardVae<C>,
    name: &'a str,
    card: &'a C,
    parameters: &'a Parameters<C>,
    inputs: &'a Inputs<C>,
    size: (usize, usize),
}

impl<C: Card> Learning<'_, C> {
    fn layers(&self) -> Layers<'_, C> {
        Layers {
            card: self.card,
            parameters: self.parameters,
        }
    }

    fn half(&self, decodes: bool) -> Halves<'_, C> {
        let (half, part) = if decodes {
            (&self.vae.decoder, "decoder")
        } else {
            (&self.vae.encoder, "encoder")
        };
        Halves {
            layers: self.layers(),
            half,
            name: format!("{}.{part}", self.name),
            seen: &self.inputs.seen[usize::from(decodes)],
            one: &self.inputs.one,
            decodes,
        }
    }

    /// A picture's pixels behind the decoder's bypass.
    fn layout(&self) -> Layout {
        Layout {
            pictures: 1,
            channels: self.vae.pictures,
            size: self.size,
            patch: self.vae.config.stride(),
        }
    }

    /// What is said of a bypass, whose inputs are filled up.
    fn bypass_told(&self, half: &str, x: &Buffer<C, bf16>, slopes: &Buffer<C, bf16>) -> Result<()> {
        let (card, name) = (self.card, format!("{}.{half}.bypass", self.name));
        let into = self.parameters.gradient(&format!("{name}.weight"))?;
        let by_bias = self.parameters.gradient(&format!("{name}.bias"))?;
        let outputs = by_bias.len();
        let rows = slopes.len() / outputs;
        let filled = x.len() / rows;
        let all = self.layers().nothing(outputs * filled)?;
        back::linear_back_weight(card, slopes, x, rows, all.all())?;
        let inputs = into.len() / outputs;
        back::add_columns(card, &all, (filled, 0), (into, inputs))?;
        Ok(back::bias_back(card, slopes, rows, by_bias)?)
    }

    /// Both ways through the picture at hand.
    fn step(&self) -> Result<()> {
        let (card, inputs, vae) = (self.card, self.inputs, self.vae);
        let ((h, w), stride, latent) = (self.size, vae.config.stride(), vae.config.latent);
        let (rows, columns) = (h / stride, w / stride);
        let latents = rows * columns;
        let product =
            |x: &Buffer<C, bf16>, weight: &Weight<C>| ops::linear_gated(card, x, latents, weight, None, None);
        let straight = match (&vae.encoder.bypass, &inputs.patches) {
            (Some(bypass), Some(patches)) => Some(product(patches, bypass)?),
            _ => None,
        };
        let encoder = self.half(false);
        let encoded = encoder.forward(&inputs.picture)?;
        let moments = Moments {
            said: &encoded.said,
            straight: straight.as_ref(),
            latent,
        };
        let z = Picture {
            values: moments.draw(card, &inputs.noise, inputs.sums.span(1, 1)?)?,
            h: rows,
            w: columns,
        };
        let decoder = self.half(true);
        let decoded = decoder.forward(&z)?;
        let beside = (vae.decoder.bypass.as_ref())
            .map(|bypass| ops::unpatchify(card, &product(&z.values, bypass)?, self.layout(), (1.0, 0.0)))
            .transpose()?;
        let outputs = vae.decoder.leave.weight.bias.len();
        let sizes = (1, h * w, outputs);
        let planes = ops::planes(card, &decoded.said, sizes, (0, vae.pictures), beside.as_ref())?;

        let slopes = self.loss(&planes)?;
        let nothing = card.buffer(0)?;
        let by_planes = back::planes_back(card, [&slopes, &nothing], sizes)?;
        let by_z = card.buffer(z.values.len())?;
        decoder.backward(&z, &decoded, &by_planes, Some(&by_z))?;
        if let Some(bypass) = &vae.decoder.bypass {
            let slopes = ops::patchify(card, &slopes, self.layout(), (1.0, 0.0))?;
            back::linear_back_input(card, &slopes, latents, bypass, &by_z, true)?;
            self.bypass_told("decoder", &z.values, &slopes)?;
        }
        let (by_moments, by_straight) = moments.draw_back(card, &inputs.noise, &by_z, &inputs.divergence)?;
        encoder.backward(&inputs.picture, &encoded, &by_moments, None)?;
        if let (Some(slopes), Some(patches)) = (&by_straight, &inputs.patches) {
            self.bypass_told("encoder", patches, slopes)?;
        }
        Ok(())
    }

    /// Adds up errors; slopes of the picture that was said, planes in -1..1.
    fn loss(&self, said: &Buffer<C, f32>) -> Result<Buffer<C, f32>> {
        let (card, inputs, (h, w)) = (self.card, self.inputs, self.size);
        let compared = Compared {
            terms: &inputs.terms,
            pictures: 1,
            pixels: h * w,
            shown: (0.5, 0.5),
        };
        let weights = compared.pixel_weights(card, inputs.weigh.each_ref(), (h, w), 1)?;
        let slopes = card.buffer(said.len())?;
        let layer = Layer {
            said,
            // Of no weight: pictures are compared as they are said.
            noisy: said,
            slopes: &slopes,
        };
        let sum: Span<'_, C, f32> = inputs.sums.span(0, 1)?;
        compared.errors(card, &layer, &inputs.truth, &weights, false, sum)?;
        Ok(slopes)
    }
}

impl<C: Card> Session<C> {
    fn open(
        card: &Arena<C>,
        (vae, name): (&CardVae<Arena<C>>, &str),
        parameters: &Parameters<Arena<C>>,
        size: (usize, usize),
    ) -> Result<Self> {
        let bytes = card.plan(|| Self::record(card, (vae, name), parameters, size))?;
        card.within(bytes, || Self::record(card, (vae, name), parameters, size))
    }

    fn record(
        card: &Arena<C>,
        (vae, name): (&CardVae<Arena<C>>, &str),
        parameters: &Parameters<Arena<C>>,
        (h, w): (usize, usize),
    ) -> Result<Self> {
        let (pixels, stride) = (h * w, vae.config.stride());
        let latents = pixels / (stride * stride);
        let seen = || {
            let deepest = vae.config.channels.last().copied().unwrap_or_default();
            Seen::nothing(card, latents, deepest)
        };
        // What a patch holds, filled up.
        let patch = (vae.pictures * stride * stride).next_multiple_of(8);
        let inputs = Inputs {
            picture: Picture {
                values: card.buffer(pixels * vae.pictures.next_multiple_of(8))?,
                h,
                w,
            },
            patches: (vae.encoder.bypass.as_ref())
                .map(|_| card.buffer(latents * patch))
                .transpose()?,
            truth: card.buffer(vae.pictures * pixels)?,
            noise: card.buffer(latents * vae.config.latent)?,
            weigh: [card.buffer(pixels)?, card.buffer(pixels)?],
            terms: card.buffer(Terms::NUMBERS)?,
            divergence: card.buffer(1)?,
            sums: card.buffer(2)?,
            seen: [seen()?, seen()?],
            one: card.put(&[1.0f32])?,
        };
        let learning = Learning {
            vae,
            name,
            card,
            parameters,
            inputs: &inputs,
            size: (h, w),
        };
        let step = card.record(|| learning.step())?;
        Ok(Self {
            size: (h, w),
            inputs,
            step,
        })
    }

    /// Takes over picture `i` of a batch and learns it.
    fn learn(&self, card: &Arena<C>, batch: &Reconstruction, i: usize, stride: usize) -> Result<()> {
        let inputs = &self.inputs;
        let truth = batch.pictures.narrow(0, i, 1)?;
        let x = truth.affine(2.0, -1.0)?;
        let filled = |t: &Tensor, last: usize| -> Result<Vec<bf16>> {
            let own = t.dim(last)?;
            halves(&t.pad_with_zeros(last, 0, own.next_multiple_of(8) - own)?)
        };
        let picture = x.permute((0, 2, 3, 1))?.contiguous()?;
        inputs.picture.values.set(card, &filled(&picture, 3)?)?;
        if let Some(into) = &inputs.patches {
            into.set(card, &filled(&patches(&x, stride)?, 2)?)?;
        }
        let noise = batch.noise.narrow(0, i, 1)?.permute((0, 2, 3, 1))?;
        let [alpha, mask] = &batch.weigh;
        let parts = [
            (truth, &inputs.truth, "picture to bring back"),
            (noise.contiguous()?, &inputs.noise, "noise of latents"),
            (
                alpha.narrow(0, i, 1)?,
                &inputs.weigh[0],
                "alpha that weighs pixels",
            ),
            (mask.narrow(0, i, 1)?, &inputs.weigh[1], "mask that weighs pixels"),
        ];
        for (from, into, what) in parts {
            fits(what, &from, into.len())?;
            into.set(card, &values(&from)?)?;
        }
        Ok(card.replay(&self.step)?)
    }
}

impl<C: Card> CardAutoencoder<C> {
    /// The autoencoder of layers, or that of pictures, as its tensors, by name, are.
    ///
    /// # Errors
    /// [`Error::Card`] if the card fails, [`Error::NotOnCard`] where it is one that cards do not train, or if the model has none.
    pub fn new(card: C, config: &Config, tensors: &BTreeMap<String, Tensor>, layers: bool) -> Result<Self> {
        let TokenizerConfig::Latent { vae, .. } = &config.tokenizer else {
            return Err(Error::Config(format!("{} has no autoencoders", config.name)));
        };
        let (name, pictures) = if layers { ("vae.rgba", 4) } else { ("vae.rgb", 3) };
        if vae.bypass && !(pictures * vae.stride() * vae.stride()).is_multiple_of(8) {
            return Err(Error::NotOnCard(
                "training of a bypass whose patches do not have a multiple of 8 numbers",
            ));
        }
        let card = Arena::new(card);
        let up = Upload { card: &card, tensors };
        let own = CardVae::new(&up, vae, pictures, name)?;
        let learns = |(path, tensor): (&String, &Tensor)| {
            let part = path.strip_prefix(name)?;
            part.starts_with('.').then(|| (path.clone(), tensor.clone()))
        };
        let learning = tensors.iter().filter_map(learns).collect();
        Ok(Self {
            parameters: Parameters::new(&card, &learning)?,
            vae: own,
            card,
            name,
            session: None,
            room: Room::default(),
        })
    }

    /// The card.
    pub fn card(&self) -> &C {
        self.card.card()
    }
}

impl<C: Card> CardEncoding for CardAutoencoder<C> {
    fn learn(&mut self, batch: &Reconstruction) -> Result<Rebuilt> {
        let (n, _, h, w) = batch.pictures.dims4()?;
        let stride = self.vae.config.stride();
        if n == 0 || h == 0 || w == 0 || h % stride != 0 || w % stride != 0 {
            return Err(Error::Shape {
                what: "pictures to bring back",
                expected: format!(
                    "(N, {}, H, W) with H and W multiples of {stride}",
                    self.vae.pictures
                ),
                found: batch.pictures.dims().to_vec(),
            });
        }
        let session = match self.session.take() {
            Some(session) if session.size == (h, w) => session,
            other => {
                // The memory of another size is given back before more is asked for.
                drop(other);
                Session::open(&self.card, (&self.vae, self.name), &self.parameters, (h, w))?
            }
        };
        let session = self.session.insert(session);
        let (card, inputs) = (&self.card, &session.inputs);
        // Numbers of pictures and of latents that a mean is over.
        let pictures = (n * inputs.truth.len()) as f32;
        let latents = (n * inputs.noise.len()) as f32;
        let terms = Terms {
            scale: batch.terms.scale / n as f32,
            ..batch.terms
        };
        inputs.terms.set(card, &terms.numbers())?;
        let divergence = batch.terms.scale * batch.divergence / latents;
        inputs.divergence.set(card, &[divergence])?;
        inputs.sums.set(card, &[0.0, 0.0])?;
        for i in 0..n {
            session.learn(card, batch, i, stride)?;
        }
        let [error, divergence] = card.get(&inputs.sums)?[..] else {
            return Err(Error::NotOnCard("a loss of other than two sums"));
        };
        Ok(Rebuilt {
            error: error / pictures,
            divergence: batch.divergence * divergence / latents,
        })
    }
}

impl<C: Card> Learns for CardAutoencoder<C> {
    type On = C;

    fn learnt(&self) -> (&Arena<C>, &Parameters<Arena<C>>) {
        (&self.card, &self.parameters)
    }

    fn pour(&self) -> Result<()> {
        let pour = Pour {
            card: &self.card,
            from: &self.parameters,
        };
        pour.autoencoder(self.name, &self.vae)
    }

    fn room(&mut self) -> &mut Room {
        &mut self.room
    }
}
