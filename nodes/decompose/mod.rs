//! Decompose: peel objects off a plate, each with its shadow and reflection.
//!
//! # What it does
//!
//! Takes the object under the first mask off the plate, then the object under the second mask off the
//! background that the first one left, and so on. Masks are listed front-most first. Each step runs
//! LayerDecomp, a diffusion transformer that sees the plate small and as a display would show it; a solver then
//! brings its answer to the plate's resolution and to scene-linear light:
//!
//! - where an object has no effect, the background is the plate, bit for bit;
//! - in its shadow, the background is the plate divided by what the shadow lets through, so texture and grain stay;
//! - under the object, the background is made up, joined to what is around it.
//!
//! The outputs are `background`, then one layer a mask under the name of the mask's node, then `stack`: the
//! background and all layers, bottom to top. Laid over each other they are the plate: the same half-float
//! pixels, checked on every frame.
//!
//! Each step is cached on its own, in memory and on disk: changing the third mask runs only the third step and
//! those after it. An empty mask runs nothing. The same seed gives the same pixels.
//!
//! # When to use it
//!
//! To remove an object with its shadow, or to get it on a layer that can be moved, graded and put back. Masks may
//! be loose: a few pixels around the object do no harm, while holes in the mask leave pieces of the object behind.
//! One mask an object peels better than one mask around two objects.
//!
//! # Colour and alpha
//!
//! Plate and outputs are premultiplied, scene-linear light in the working space; highlights above 1 survive. A
//! shadow is alpha without light: it darkens what it is laid over. A layer may hold light without alpha, such as a
//! reflection; keep it premultiplied. Pixels that are not numbers stay in the background. The masks must
//! have the plate's frame.
//!
//! # Example
//!
//! `example.ron` peels an ellipse with a soft shadow off a grey picture.

mod model;
mod proof;

use std::sync::Arc;

use peel_image::{Layer, Stack};
use peel_layerdecomp::weights::Precision;
use peel_node::{
    At, Attributes, Choice, Device, Error, Format, FrameNode, Input, Key, KeyBuilder, LayerFormat, Node,
    Note, Output, Params, Reader, Result, SocketType, Temperament, Value, nearest, socket,
};
use peel_plate::{Light, Options, Quality, Sampler, peel_one, settle};

use model::Loaded;

/// The names that outputs have whatever the masks are called.
const BACKGROUND: &str = "background";
const STACK: &str = "stack";

/// Raised whenever the same step gives other pixels.
const STEP_VERSION: i128 = 2;

/// Peels objects off a plate, each with its shadow and reflection.
#[derive(Params)]
#[params(check = Self::check)]
pub struct Decompose {
    /// The picture to take apart.
    plate: Input<socket::Layer>,
    /// One matte an object, front-most first.
    masks: Vec<Input<socket::Matte>>,
    /// The model: a folder in `weights/`, or the path of one.
    #[param(default = "layerdecomp-s")]
    model: String,
    /// Sampling steps; 0 and 1 both mean one call without noise. With `layerdecomp-s` two are best: less false alpha
    /// than one call, while more lose background.
    #[param(default = 2, soft = 1.0..=50.0, hard = 0.0..=1000.0)]
    steps: u32,
    /// How more than one step is taken: `ddim`, `dpm++2m` or `unipc`, of which the last two may space their steps otherwise
    /// (`dpm++2m-karras`, `unipc-trailing`, ..). `one-call` ignores `steps`.
    #[param(default = "ddim")]
    sampler: String,
    /// Chooses the model's noise, which invents what nobody saw; the same seed gives the same pixels.
    #[param(default = 0)]
    seed: u64,
    /// Where the model runs; as the command says where it is left out.
    device: Option<Where>,
    /// How the model's linear layers are kept in memory: fewer bits are smaller and slower, and the picture changes a
    /// little. It pays with models of gigabytes.
    #[param(default = Weights::F32)]
    precision: Weights,
    /// How far the hole behind an object reaches past its mask, beyond the one model pixel that it always does.
    /// For masks tighter than their object.
    #[param(default = 0.0, unit = "pixels", soft = 0.0..=50.0, hard = 0.0..=1000.0)]
    grow: f32,
    /// Width over which what is made up fades into the plate; 0 for four tenths of a model pixel.
    #[param(default = 0.0, unit = "pixels", soft = 0.0..=50.0, hard = 0.0..=1000.0)]
    feather: f32,
    /// The weakest shadow or reflection that is taken off, as alpha. Raise it where faint alpha lies on
    /// things that should stay, lower it where a faint shadow is left behind.
    #[param(default = 0.02, soft = 0.005..=0.2, hard = 0.000001..=0.33)]
    effect_threshold: f32,
    /// Whether grain and texture in a shadow stay in the background; otherwise they go with the layer.
    #[param(default = true)]
    keep_grain: bool,
    /// Whether what is made up under an object gets detail from matching texture around it.
    #[param(default = true)]
    texture_fill: bool,
    /// How much around an object the model sees, in parts of the object's longer side.
    #[param(default = 1.0, soft = 0.2..=2.0, hard = 0.0..=10.0)]
    margin: f32,
    /// Pixels on the long side of what the model sees; the size that it was trained at where it is left out.
    #[param(unit = "pixels", hard = 16.0..=1024.0)]
    working_size: Option<u32>,
    /// How light is shown to the model; chosen from each frame where it is left out. Set it to hold a sequence
    /// together whose light changes much.
    light: Option<LightShown>,
}

/// How light is shown to the model.
#[derive(Params, Clone, Debug)]
pub struct LightShown {
    /// More or less light.
    #[param(default = 0.0, unit = "stops", soft = -5.0..=5.0, hard = -20.0..=20.0)]
    exposure: f32,
    /// Where a linear 1 lies on the model's scale; below 1 leaves room for highlights.
    #[param(default = 1.0, hard = 0.5..=1.0)]
    white: f32,
}

/// Where the model runs.
#[derive(Choice, Clone, Copy, Debug)]
pub enum Where {
    /// The processor.
    Cpu,
    /// The first NVIDIA card.
    Cuda,
}

/// How the weights of linear layers are kept in memory; results are computed in f32.
#[derive(Choice, Clone, Copy, Debug)]
pub enum Weights {
    /// 32 bits.
    F32,
    /// 16 bits with 11 bits of precision.
    F16,
    /// 16 bits with 8 bits of precision and the range of f32.
    Bf16,
    /// 8 bits, with a scale for each row.
    Int8,
}

impl Weights {
    fn precision(self) -> Precision {
        match self {
            Weights::F32 => Precision::F32,
            Weights::F16 => Precision::F16,
            Weights::Bf16 => Precision::Bf16,
            Weights::Int8 => Precision::Int8,
        }
    }
}

impl Decompose {
    fn check(&self, reader: &mut Reader) {
        if self.masks.is_empty() {
            reader.error_at("masks", "there is nothing to peel: `masks` is empty");
        }
        if let Err(error) = self.sampler.parse::<Sampler>() {
            let near = nearest(&self.sampler, Sampler::names());
            let hint = near.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
            reader.error_at("sampler", format!("{error}{hint}"));
        }
        for (i, mask) in self.masks.iter().enumerate() {
            let name = &mask.edge.node;
            let place = format!("masks[{i}]");
            if [BACKGROUND, STACK].contains(&name.as_str()) {
                let message =
                    format!("a mask cannot be called `{name}`: Decompose has an output of that name");
                reader.error_at(&place, message);
            } else if self.masks[..i].iter().any(|earlier| earlier.edge.node == *name) {
                reader.error_at(&place, format!("the mask `{name}` is listed twice"));
            }
        }
    }

    fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.masks.iter().map(|mask| mask.edge.node.as_str())
    }

    fn device(&self, at: &At<'_>) -> Device {
        match self.device {
            None => at.world.device(),
            Some(Where::Cpu) => Device::Cpu,
            Some(Where::Cuda) => Device::Cuda,
        }
    }

    fn model(&self, at: &At<'_>) -> Result<Arc<Loaded>> {
        model::load(at, &self.model, self.device(at), self.precision.precision())
    }

    fn options(&self) -> Options {
        Options {
            steps: self.steps as usize,
            // `check` has seen to its name.
            sampler: self.sampler.parse().unwrap_or(Sampler::Ddim),
            seed: self.seed,
            grow: self.grow,
            feather: self.feather,
            effect_threshold: self.effect_threshold,
            keep_grain: self.keep_grain,
            texture_fill: self.texture_fill,
            margin: self.margin,
            light: self.light.as_ref().map(|light| Light {
                exposure: light.exposure.exp2(),
                white: light.white,
            }),
            working_size: self.working_size.map(|size| size as usize),
            quality: Quality::Detail,
        }
    }

    /// What a step depends on beside its plate and its mask.
    fn step_key(&self, at: &At<'_>, model: &Loaded) -> KeyBuilder {
        let mut key = KeyBuilder::new("Decompose step");
        key.int(STEP_VERSION)
            .key(&model.key)
            .str(&self.device(at).to_string());
        // Named in full, so that an option that is added later cannot be forgotten here.
        let Options {
            steps,
            sampler,
            seed,
            grow,
            feather,
            effect_threshold,
            keep_grain,
            texture_fill,
            margin,
            light,
            working_size,
            quality,
        } = self.options();
        key.int(steps.max(1) as i128)
            .str(&sampler.to_string())
            .int(seed.into());
        for number in [grow, feather, effect_threshold, margin] {
            key.float(number.into());
        }
        key.int(keep_grain.into())
            .int(texture_fill.into())
            .int(quality as i128);
        key.int(working_size.map_or(-1, |size| size as i128));
        match light {
            Some(Light { exposure, white }) => key.float(exposure.into()).float(white.into()),
            None => key.str("chosen"),
        };
        key
    }

    /// One mask's step: background and foreground.
    fn step(
        &self,
        at: &At<'_>,
        model: &Loaded,
        index: usize,
        plate: &Layer,
        key: Key,
    ) -> Result<(Arc<Layer>, Arc<Layer>)> {
        let mask = &self.masks[index];
        let name = &mask.edge.node;
        let mut make = || {
            let matte = at.matte(mask, at.format(mask)?.data)?;
            let count = self.masks.len() as f32;
            let progress = |share: f32| at.world.progress((index as f32 + share) / count);
            let step = peel_one(plate, &matte, model.network()?, &self.options(), &progress)
                .map_err(|error| of_mask(error, name))?;
            at.world.note(Note::Info(format!("{name}: {}", step.report)));
            Ok(vec![step.background.into(), step.foreground.into()])
        };
        match at.world.cached(key, &mut make)?.as_slice() {
            [Value::Layer(background), Value::Layer(foreground)] => {
                Ok((background.clone(), foreground.clone()))
            }
            _ => Err(Error::message(format!(
                "{name}: the cache holds something else under this step's key"
            ))),
        }
    }

    fn attributes(&self, at: &At<'_>, plate: &Attributes) -> Result<Attributes> {
        let mut attributes = plate.clone();
        let model = self.model(at)?;
        let mut add = |name: &str, value: String| {
            let name = format!("peel:{name}");
            attributes.insert(name.clone(), peel_io::Attribute::text(name, value));
        };
        add("model", self.model.clone());
        add("weights", model.digest.clone());
        add("device", self.device(at).to_string());
        add("dtype", self.precision.precision().to_string());
        add("sampler", self.sampler.clone());
        add("seed", self.seed.to_string());
        add("steps", self.steps.max(1).to_string());
        add("masks", self.names().collect::<Vec<_>>().join(" "));
        Ok(attributes)
    }
}

fn of_mask(error: peel_plate::Error, name: &str) -> Error {
    match error {
        peel_plate::Error::Cancelled => Error::Cancelled,
        other => Error::message(format!("mask `{name}`: {other}")),
    }
}

impl Node for Decompose {
    fn outputs(&self) -> Vec<Output> {
        let layer = |name: &str| Output {
            name: name.to_owned(),
            socket: SocketType::Layer,
        };
        let mut outputs = vec![layer(BACKGROUND)];
        outputs.extend(self.names().map(layer));
        outputs.push(Output {
            name: STACK.to_owned(),
            socket: SocketType::Stack,
        });
        outputs
    }

    fn temperament(&self) -> Temperament<'_> {
        Temperament::Frame(self)
    }

    /// The windows are as large as they could become: what a layer covers is known once it is made.
    fn format(&self, at: &At<'_>, output: usize) -> Result<Format> {
        let plate = at.format(&self.plate)?;
        let attributes = Arc::new(self.attributes(at, &plate.attributes)?);
        let mut layers = Vec::new();
        if output == self.masks.len() + 1 {
            let names = std::iter::once(BACKGROUND).chain(self.names().rev());
            layers.extend(names.map(|name| LayerFormat {
                name: name.to_owned(),
                data: plate.data,
            }));
        }
        Ok(Format {
            layers,
            attributes,
            ..plate
        })
    }

    fn identity(&self, at: &At<'_>, key: &mut KeyBuilder) -> Result<()> {
        key.key(&self.model(at)?.key).str(&self.device(at).to_string());
        // The layers' names are those of the masks' nodes.
        for name in self.names() {
            key.str(name);
        }
        Ok(())
    }
}

impl FrameNode for Decompose {
    fn render(&self, at: &At<'_>) -> Result<Vec<Value>> {
        let model = self.model(at)?;
        let plate = at.layer(&self.plate, at.format(&self.plate)?.data)?;
        let mut key = self.step_key(at, &model);
        key.key(&at.input_key(&self.plate)?);
        let mut background = plate.clone();
        let mut foregrounds = Vec::new();
        for (index, mask) in self.masks.iter().enumerate() {
            // A step's key holds those of all masks before it, since they made its plate.
            key.key(&at.input_key(mask)?);
            let (below, foreground) = self.step(at, &model, index, &background, key.finish())?;
            foregrounds.push((mask.edge.node.clone(), foreground.as_ref().clone()));
            background = below;
        }
        let stack = settle(&plate, &background, &foregrounds)
            .map_err(|error| Error::message(format!("laying the layers together: {error}")))?;
        proof::prove(&plate, &stack)?;
        self.values(stack)
    }

    fn keep_on_disk(&self) -> bool {
        true
    }
}

impl Decompose {
    /// The outputs, in their order.
    fn values(&self, stack: Stack) -> Result<Vec<Value>> {
        let names = std::iter::once(BACKGROUND).chain(self.names());
        let layers = names.map(|name| {
            let layer = stack.get(name).cloned();
            layer
                .map(Value::Layer)
                .ok_or_else(|| Error::message(format!("the layer `{name}` is gone")))
        });
        let mut values = layers.collect::<Result<Vec<_>>>()?;
        values.push(stack.into());
        Ok(values)
    }
}

#[cfg(test)]
mod tests;
