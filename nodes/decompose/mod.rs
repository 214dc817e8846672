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
//! - under the object, the background is made up, joined to what is around it; where the model leaves a haze or a ghost, patches
//!   from around the object go on in its place, and texture is laid over both.
//!
//! The outputs are `background`, then one layer a mask under the name of the mask's node, then `stack`: the
//! background and all layers, bottom to top. Laid over each other they are the plate: the same half-float
//! pixels, checked on every frame.
//!
//! Where two masks overlap and the plate shows the object of the later one before the other, a warning says so; with
//! `order: Auto` that object is peeled first, on the frames on which it is seen so. Names stay with their masks: only the order of
//! the stack's layers changes.
//!
//! With `parts`, each object and its effect are layers of their own as well: `NAME.object` is the object alone,
//! `NAME.effect` its shadow and reflection, which go on under it. The stack then holds these two in place of `NAME`.
//!
//! ## Sequences
//!
//! With `motion` set, a frame is helped by its neighbours. Where another frame shows the background that this one hides,
//! its pixels are taken, in this frame's light: of the frames that most others agree with, from the nearest one in which
//! neither object nor effect is near, since a shadow goes on fainter past where its end is seen; never averaged, so that
//! grain stays grain. Frames up to `window` on both sides are looked at; of each pixel eight that show it have a say, so
//! that a wide window takes no more memory than a narrow one. `Locked` is for a camera
//! that does not move; `Homography` finds the motion of one that pans, turns or zooms, on the background alone, and resamples
//! once. Shadows come out by comparison: what a frame lacks against the others is the effect.
//!
//! What no frame shows is made up on key frames (every `key_every` frames, at numbers that it divides) and taken from there
//! by the others: it stays the same until the next key frame. A mask that an object in front cuts into is
//! completed from frames that see past it.
//!
//! `made_up: Neighbour` makes it up on every frame instead, the model's sampling started from what the frame before it (toward the
//! key frame) was found to have there, and so on back to the key frame, which starts from noise. With `motion: Off` too,
//! frames are then chained, as if the camera stood still. It follows the light and lies nearer to what is there, but is less still.
//!
//! A frame's pixels depend on the frames around it and on nothing that was rendered before, so that a farm may render them in
//! any order and in any chunks. Frames that are missing around it are passed over, with one line; so are masks
//! of another size there. A frame rendered alone runs the model on all frames that it looks at; in a range each frame is
//! run once and kept in the cache.
//!
//! Each step is cached on its own, in memory and on disk: changing the third mask runs only the third step and
//! those after it. An empty mask runs nothing. The same seed gives the same pixels.
//!
//! ## What the file says
//!
//! Beside model, weights, device, seed and steps, a file that holds the `stack` says for each mask how light was shown to the model
//! (`peel:light`: the factor on linear light, and where white lies on the model's scale), how far the layers laid over each other
//! in half are from the plate (`peel:recomposition`: 0, or it is a fault), and how far the model's own layers were from the picture
//! that it saw (`peel:raw_model`, in dB). Masks stand front-most first there, as they were peeled.
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

mod chain;
mod choices;
mod figures;
mod model;
mod order;
mod proof;
mod shot;
mod steps;

use std::sync::Arc;

use peel_image::{Layer, Stack};
use peel_node::{
    At, Attributes, Device, Error, Format, FrameNode, Input, KeptStep, KeyBuilder, LayerFormat, Node, Output,
    Param, Params, Reader, Resource, Result, SocketType, Temperament, Value, nearest, socket,
};
use peel_plate::sequence::reach;
use peel_plate::{Light, Options, Quality, Report, Sampler, Step, separate, settle};

pub use choices::{LightShown, MadeUp, Motion, Order, Weights, Where};
use figures::{Figures, facts};
use model::Loaded;

/// The names that outputs have whatever the masks are called.
const BACKGROUND: &str = "background";
const STACK: &str = "stack";

/// What an object alone and its effect alone are called after their mask.
const PARTS: [&str; 2] = ["object", "effect"];

/// Peels objects off a plate, each with its shadow and reflection.
#[derive(Params, Clone)]
#[params(check = Self::check)]
pub struct Decompose {
    /// The picture to take apart.
    plate: Input<socket::Layer>,
    /// One matte an object, front-most first.
    masks: Vec<Input<socket::Matte>>,
    /// Which object stands before which.
    #[param(default = Order::AsListed)]
    order: Order,
    /// The model: a folder in `weights/`, or the path of one.
    #[param(default = "layerdecomp-s")]
    model: String,
    /// Sampling steps; 0 and 1 both mean one call without noise, whose backgrounds are the nearest with `layerdecomp-s`. Two have less
    /// false alpha; more lose background. Its look at the mask before them is a call of its own (`tighten` in `config.ron`).
    #[param(default = 1, soft = 1.0..=50.0, hard = 0.0..=1000.0)]
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
    /// little. It pays with models of gigabytes. A card multiplies bf16, or the same whole numbers as the processor.
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
    /// Whether what is made up under an object gets shapes and detail from matching texture around it.
    #[param(default = true)]
    texture_fill: bool,
    /// How much around an object the model sees, in parts of the object's longer side.
    #[param(default = 3.0, soft = 0.5..=5.0, hard = 0.0..=10.0)]
    margin: f32,
    /// The same for each mask, in the order of `masks`, in place of `margin`.
    margins: Option<Vec<f32>>,
    /// Pixels on the long side of what the model sees; the size that it was trained at where it is left out.
    #[param(unit = "pixels", hard = 16.0..=1024.0)]
    working_size: Option<u32>,
    /// How light is shown to the model; chosen from the plate where it is left out.
    light: Option<LightShown>,
    /// The frame whose plate says how light is shown on every frame, so that a shot is seen in one light whatever is rendered
    /// of it. Where it is left out each frame's own plate says it. `light` goes before it.
    light_frame: Option<i32>,
    /// Whether there are outputs for each object alone and each effect alone, `NAME.object` and `NAME.effect`; the stack
    /// holds them in place of `NAME`.
    #[param(default = false)]
    parts: bool,
    /// How the camera moves, for frames that help each other out with what they show. A frame is on its own unless it is
    /// said here: with the wrong motion a background would be taken from elsewhere.
    #[param(default = Motion::Off)]
    motion: Motion,
    /// How many frames are looked at on either side.
    #[param(default = 8, unit = "frames", soft = 1..=16, hard = 0..=32)]
    window: u32,
    /// Looks at every n-th frame of the neighbours only, for objects that move slowly: `window: 4, window_step: 10` looks 40
    /// frames far.
    #[param(default = 1, unit = "frames", soft = 1..=25, hard = 1..=1000)]
    window_step: u32,
    /// What no frame shows is made up at frame numbers that this divides; the frames after one, or before the
    /// first there is, take it from there. 0 makes it up on each frame anew.
    #[param(default = 24, unit = "frames", soft = 0..=100, hard = 0..=100000)]
    key_every: u32,
    /// Where that comes from on the frames between.
    #[param(default = MadeUp::KeyFrame)]
    made_up: MadeUp,
}

/// The most frames between key frames where each starts from its neighbour: what a frame rendered alone may cost.
const LONGEST_CHAIN: u32 = 240;

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
        if self.made_up == MadeUp::Neighbour {
            if self.steps < 2 || self.sampler == "one-call" {
                let message = "one call starts from nothing: `Neighbour` takes two `steps` at least";
                reader.error_at("made_up", message);
            }
            if self.key_every > LONGEST_CHAIN {
                let message = format!(
                    "with `made_up: Neighbour` there are at most {LONGEST_CHAIN} frames between key frames, not {}",
                    self.key_every
                );
                reader.error_at("key_every", message);
            }
        }
        if let Some(margins) = &self.margins {
            if margins.len() != self.masks.len() {
                let message = format!(
                    "{} margins for {} masks: give one a mask",
                    margins.len(),
                    self.masks.len()
                );
                reader.error_at("margins", message);
            }
            for (i, margin) in margins
                .iter()
                .enumerate()
                .filter(|(_, m)| !(0.0..=10.0).contains(*m))
            {
                reader.error_at(
                    &format!("margins[{i}]"),
                    format!("a margin is 0 to 10, not {margin}"),
                );
            }
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

    fn names(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
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

    /// What the solver is told for a mask.
    fn options(&self, index: usize) -> Options {
        let own = self.margins.as_ref().and_then(|margins| margins.get(index));
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
            margin: own.copied().unwrap_or(self.margin),
            light: self.light.as_ref().map(LightShown::light),
            working_size: self.working_size.map(|size| size as usize),
            quality: Quality::Detail,
        }
    }

    /// The same at a frame, where another frame may say how light is shown.
    fn options_at(&self, at: &At<'_>, index: usize) -> Result<Options> {
        let mut options = self.options(index);
        if let (None, Some(frame)) = (options.light, self.light_frame) {
            options.light = Some(self.light_of(&at.on_frame(frame)).map_err(|error| match error {
                Error::Cancelled => error,
                other => Error::message(format!(
                    "`light_frame: {frame}` has no plate to choose the light from: {other}"
                )),
            })?);
        }
        Ok(options)
    }

    /// How light is shown to the model by the plate of a frame; looked for once.
    fn light_of(&self, at: &At<'_>) -> Result<Light> {
        let mut key = KeyBuilder::new("light of a plate");
        key.key(&at.input_key(&self.plate)?);
        let mut make = || {
            let plate = at.layer(&self.plate, at.format(&self.plate)?.data)?;
            Ok(Arc::new(Light::of_plate(&plate)) as Resource)
        };
        let light = at.world.resource(key.finish(), &mut make)?;
        let light = light.downcast::<Light>();
        light
            .map(|light| *light)
            .map_err(|_| Error::message("another resource has the key of this plate's light"))
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
        let mut sequence = Vec::new();
        if self.motion != Motion::Off {
            let motion = Param::show(&self.motion).to_lowercase();
            sequence.push(format!(
                "{motion}, window {} by {}",
                self.window, self.window_step
            ));
        }
        if self.motion != Motion::Off || self.made_up == MadeUp::Neighbour {
            sequence.push(format!("key frames every {}", self.key_every));
        }
        if self.made_up == MadeUp::Neighbour {
            sequence.push("started from the neighbour".to_owned());
        }
        if !sequence.is_empty() {
            add("sequence", sequence.join(", "));
        }
        if self.order == Order::Auto {
            add("order", "as the plate shows it".to_owned());
        }
        Ok(attributes)
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
        outputs.extend(self.part_names().iter().map(|name| layer(name)));
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
        if output + 1 == self.outputs().len() {
            let mut above: Vec<String> = self.names().map(str::to_owned).collect();
            if self.parts {
                above = self.part_names();
            }
            let names = std::iter::once(BACKGROUND.to_owned()).chain(above.into_iter().rev());
            layers.extend(names.map(|name| LayerFormat {
                name,
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

    fn neighbour_frames(&self, slot: usize, frame: i32) -> Vec<i32> {
        let mut frames = self.frames_beside(frame);
        // How light is shown hangs on that frame's plate alone.
        if let (0, None, Some(other)) = (slot, &self.light, self.light_frame)
            && other != frame
            && !frames.contains(&other)
        {
            frames.push(other);
        }
        frames
    }
}

impl FrameNode for Decompose {
    fn render(&self, at: &At<'_>) -> Result<Vec<Value>> {
        let model = self.model(at)?;
        let plate = at.layer(&self.plate, at.format(&self.plate)?.data)?;
        let ordered = self.ordered(at, &plate)?;
        let steps = match ordered.motion {
            Motion::Off => ordered.alone(at, &model, self.masks.len(), &|share| at.world.progress(share))?,
            Motion::Locked | Motion::Homography => ordered.together(at, &model)?,
        };
        let background = steps.last().map_or(&plate, |step| &step.background);
        let named = |(name, step): (&str, &Peeled)| (name.to_owned(), Arc::clone(&step.foreground));
        let foregrounds: Vec<_> = ordered.names().zip(&steps).map(named).collect();
        let mut stack = settled(&plate, background, &foregrounds)?;
        // Outputs stand in the order of the list, whatever that of the layers is.
        let names = std::iter::once(BACKGROUND).chain(self.names());
        let mut values = names
            .map(|name| found(&stack, name))
            .collect::<Result<Vec<_>>>()?;
        if self.parts {
            stack = settled(&plate, background, &ordered.parts(at, &model, &plate, &steps)?)?;
            for name in self.part_names() {
                values.push(found(&stack, &name)?);
            }
        }
        stack.facts = facts(ordered.names().zip(&steps));
        values.push(stack.into());
        Ok(values)
    }

    /// With `order: Auto` as if the masks were in order: no pixels are looked at for this.
    fn steps(&self, at: &At<'_>) -> Result<Vec<KeptStep>> {
        let model = self.model(at)?;
        if self.motion != Motion::Off {
            return self.steps_together(at, &model);
        }
        self.steps_alone(at, &model)
    }

    /// The steps are on disk; laying them together is quick.
    fn keep_on_disk(&self) -> bool {
        false
    }

    fn is_dear(&self) -> bool {
        true
    }
}

/// What a step leaves, what it takes off, and what was found out.
#[derive(Clone)]
struct Peeled {
    background: Arc<Layer>,
    foreground: Arc<Layer>,
    figures: Figures,
}

impl Decompose {
    /// Objects and effects on layers of their own, front-most first, by name.
    fn part_names(&self) -> Vec<String> {
        if !self.parts {
            return Vec::new();
        }
        self.names()
            .flat_map(|name| PARTS.map(|part| format!("{name}.{part}")))
            .collect()
    }

    fn parts(
        &self,
        at: &At<'_>,
        model: &Loaded,
        plate: &Arc<Layer>,
        steps: &[Peeled],
    ) -> Result<Vec<(String, Arc<Layer>)>> {
        let mut layers = Vec::new();
        let mut below = plate;
        for (index, (mask, step)) in self.masks.iter().zip(steps).enumerate() {
            let matte = at.matte(mask, at.format(mask)?.data)?;
            let mut report = Report::default();
            let size = model.network(at)?.working_size();
            report.reach = reach(&matte, below.data(), &self.options(index), size);
            let Peeled {
                background,
                foreground,
                ..
            } = step;
            let step_made = Step {
                background: background.as_ref().clone(),
                foreground: foreground.as_ref().clone(),
                report,
            };
            let parts = separate(below, &step_made, &matte)
                .map_err(|error| steps::of_mask(error, &mask.edge.node))?;
            layers.push(Arc::new(parts.object));
            layers.push(Arc::new(parts.effect));
            below = background;
        }
        Ok(self.part_names().into_iter().zip(layers).collect())
    }
}

/// The layers as one stack, proven to be the plate.
fn settled(plate: &Layer, background: &Arc<Layer>, foregrounds: &[(String, Arc<Layer>)]) -> Result<Stack> {
    let stack = settle(plate, background, foregrounds)
        .map_err(|error| Error::message(format!("laying the layers together: {error}")))?;
    proof::prove(plate, &stack)?;
    Ok(stack)
}

fn found(stack: &Stack, name: &str) -> Result<Value> {
    let layer = stack.get(name).cloned();
    layer
        .map(Value::Layer)
        .ok_or_else(|| Error::message(format!("the layer `{name}` is gone")))
}

#[cfg(test)]
mod tests;
