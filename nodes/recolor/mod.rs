//! Recolor: change the colours of a layer.
//!
//! # What it does
//!
//! In this order: exposure, grade, ASC CDL, hue, saturation. Each is off at its default, and a Recolor with
//! everything at its default passes its input on.
//!
//! - `exposure` in stops: +1 doubles the light.
//! - `grade`: `a = multiply * (gain - lift) / (white - black)`, `b = offset + lift - a * black`,
//!   `out = (a * in + b) ^ (1 / gamma)`; what is negative passes through the power as it is.
//! - `cdl`: the ASC CDL, version 1.2: `(in * slope + offset) ^ power`, then saturation about the Rec.709 luma;
//!   from the parameters, or from a `.cdl`, `.cc` or `.ccc` file.
//! - `hue` turns all colours about the grey axis and keeps their luminance; `saturation` moves them away from
//!   their luminance.
//!
//! `mask` keeps the change inside a matte, and `mix` weakens it: `in + (out - in) * matte * mix`.
//!
//! # When to use it
//!
//! To fit a peeled object to another light, to warm a shadow, to apply the grade that comes from the set.
//!
//! # Colour and alpha
//!
//! Works on scene-linear light of the graph's working space, un-premultiplied: colour is divided by alpha,
//! changed, and multiplied again. `space` names another space to work in, for instance `AcesCct` for a CDL that
//! was made for it. Light without alpha is changed as it is and stays; empty pixels stay empty. Nothing is
//! clamped unless a clamp is asked for. Alpha never changes.
//!
//! # Example
//!
//! `example.ron` warms a grey ellipse.

mod cdl_file;

use std::sync::Arc;

use peel_image::recolor::{self, Correction, Exposure, HueShift, Saturation};
use peel_image::{ColourSpace, Layer, Pixel, Rect};
use peel_node::{
    Animated, At, Error, FilePath, Format, Input, KeyBuilder, Node, Output, Params, Reader, RegionNode,
    Result, Rgb, SocketType, Temperament, Value, socket,
};

/// Changes the colours of a layer.
#[derive(Params)]
pub struct Recolor {
    /// The layer to change.
    input: Input<socket::Layer>,
    /// More or less light.
    #[param(default = 0.0, unit = "stops", soft = -5.0..=5.0, hard = -100.0..=100.0)]
    exposure: Animated<f32>,
    /// Black and white point, lift, gain, gamma.
    #[param(default)]
    grade: Grade,
    /// What comes from the set.
    #[param(default)]
    cdl: Cdl,
    /// Turns all colours about the grey axis; positive turns red towards green.
    #[param(default = 0.0, unit = "degrees", soft = -180.0..=180.0)]
    hue: Animated<f32>,
    /// 0 is grey, 1 is unchanged.
    #[param(default = 1.0, soft = 0.0..=2.0)]
    saturation: Animated<f32>,
    /// The colour space to work in; the graph's working space where it is left out.
    space: Option<ColourSpace>,
    /// Where to change anything; everywhere where it is left out.
    mask: Option<Input<socket::Matte>>,
    /// How much of the change to make.
    #[param(default = 1.0, hard = 0.0..=1.0)]
    mix: Animated<f32>,
}

/// A line through black and white point, then a power.
#[derive(Params)]
pub struct Grade {
    /// What becomes `lift`.
    #[param(default = Rgb::ZERO, soft = -1.0..=1.0)]
    black: Animated<Rgb>,
    /// What becomes `gain`.
    #[param(default = Rgb::ONE, soft = 0.0..=4.0)]
    white: Animated<Rgb>,
    /// What black becomes.
    #[param(default = Rgb::ZERO, soft = -1.0..=1.0)]
    lift: Animated<Rgb>,
    /// What white becomes.
    #[param(default = Rgb::ONE, soft = 0.0..=4.0)]
    gain: Animated<Rgb>,
    /// Multiplies the line's slope.
    #[param(default = Rgb::ONE, soft = 0.0..=4.0)]
    multiply: Animated<Rgb>,
    /// Is added at the end of the line.
    #[param(default = Rgb::ZERO, soft = -1.0..=1.0)]
    offset: Animated<Rgb>,
    /// The power's inverse: above 1 lightens the middle.
    #[param(default = Rgb::ONE, soft = 0.2..=5.0, hard = 0.001..=1000.0)]
    gamma: Animated<Rgb>,
    /// Makes what is below 0 black.
    #[param(default = false)]
    clamp_black: bool,
    /// Makes what is above 1 white.
    #[param(default = false)]
    clamp_white: bool,
    /// Does the opposite: takes a graded picture back.
    #[param(default = false)]
    reverse: bool,
}

/// An ASC CDL.
#[derive(Params)]
#[params(check = Self::check)]
pub struct Cdl {
    /// A `.cdl`, `.cc` or `.ccc` file to take slope, offset, power and saturation from.
    file: Option<FilePath>,
    /// Which correction of the file, by its id; the first one where it is left out.
    id: Option<String>,
    /// Multiplies.
    #[param(default = Rgb::ONE, soft = 0.0..=4.0)]
    slope: Animated<Rgb>,
    /// Is added.
    #[param(default = Rgb::ZERO, soft = -1.0..=1.0)]
    offset: Animated<Rgb>,
    /// The exponent; below 1 lightens the middle.
    #[param(default = Rgb::ONE, soft = 0.2..=5.0, hard = 0.001..=1000.0)]
    power: Animated<Rgb>,
    /// Saturation about the Rec.709 luma.
    #[param(default = 1.0, soft = 0.0..=4.0)]
    saturation: Animated<f32>,
    /// Clamps to 0..1 as the standard does; without it, values above 1 survive.
    #[param(default = false)]
    clamp: bool,
}

impl Grade {
    /// The grade at a frame; an error where its numbers make no curve.
    fn at(&self, frame: i32) -> Result<recolor::Grade> {
        let grade = recolor::Grade {
            black: self.black.at(frame).into(),
            white: self.white.at(frame).into(),
            lift: self.lift.at(frame).into(),
            gain: self.gain.at(frame).into(),
            multiply: self.multiply.at(frame).into(),
            offset: self.offset.at(frame).into(),
            gamma: self.gamma.at(frame).into(),
            clamp_black: self.clamp_black,
            clamp_white: self.clamp_white,
        };
        if let Some(problem) = grade.problem() {
            return Err(Error::message(format!("grade: {problem}")));
        }
        let flat = |c: usize| grade.multiply[c] == 0.0 || grade.gain[c] == grade.lift[c];
        if self.reverse && (0..3).any(flat) {
            let message = "grade: it cannot be reversed, since all colours become one: `multiply` is 0, or \
                           `gain` equals `lift`";
            return Err(Error::message(message));
        }
        Ok(grade)
    }
}

impl Cdl {
    fn check(&self, reader: &mut Reader) {
        let plain = Cdl::default();
        let written = self.slope != plain.slope
            || self.offset != plain.offset
            || self.power != plain.power
            || self.saturation != plain.saturation;
        if self.file.is_some() && written {
            reader.error_at(
                "cdl",
                "the numbers come from the file; leave them or the file out",
            );
        } else if self.file.is_none() && self.id.is_some() {
            reader.error_at("cdl", "`id` names a correction of a file; name the file too");
        }
    }

    fn at(&self, at: &At<'_>) -> Result<recolor::Cdl> {
        if let Some(file) = &self.file {
            let cdl = cdl_file::load(at, file, self.id.as_deref())?;
            return Ok(recolor::Cdl {
                clamp: self.clamp,
                ..cdl
            });
        }
        let frame = at.frame;
        Ok(recolor::Cdl {
            slope: self.slope.at(frame).into(),
            offset: self.offset.at(frame).into(),
            power: self.power.at(frame).into(),
            saturation: self.saturation.at(frame),
            clamp: self.clamp,
        })
    }
}

impl Recolor {
    fn space(&self, at: &At<'_>) -> ColourSpace {
        self.space.unwrap_or(at.world.working_space())
    }

    /// Everything that is done to a colour at this frame; `None` where that is nothing.
    fn correction(&self, at: &At<'_>) -> Result<Option<Correction>> {
        let (frame, working, space) = (at.frame, at.world.working_space(), self.space(at));
        let weights = space.luminance_weights();
        let (stops, degrees, amount) = (
            self.exposure.at(frame),
            self.hue.at(frame),
            self.saturation.at(frame),
        );
        let (grade, cdl) = (self.grade.at(frame)?, self.cdl.at(at)?);
        let correction = Correction {
            there: working.to(space),
            exposure: (stops != 0.0).then_some(Exposure { stops }),
            grade: (grade != recolor::Grade::default()).then(|| grade.curve()),
            reverse: self.grade.reverse,
            cdl: (cdl != recolor::Cdl::default()).then_some(cdl),
            hue: (degrees.rem_euclid(360.0) != 0.0).then(|| HueShift::new(degrees, weights)),
            saturation: (amount != 1.0).then_some(Saturation { amount, weights }),
            back: space.to(working),
        };
        let nothing = correction.exposure.is_none()
            && correction.grade.is_none()
            && correction.cdl.is_none()
            && correction.hue.is_none()
            && correction.saturation.is_none();
        Ok((!nothing).then_some(correction))
    }
}

impl Node for Recolor {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }

    fn temperament(&self) -> Temperament<'_> {
        Temperament::Region(self)
    }

    fn format(&self, at: &At<'_>, _output: usize) -> Result<Format> {
        // A grade without a curve should be told before pixels are made.
        self.correction(at)?;
        at.format(&self.input)
    }

    fn identity(&self, at: &At<'_>, key: &mut KeyBuilder) -> Result<()> {
        match &self.cdl.file {
            Some(file) => cdl_file::identity(at, file, key),
            None => Ok(()),
        }
    }

    fn uniform(&self, at: &At<'_>, _output: usize) -> Result<Option<Pixel>> {
        let (None, Some(pixel)) = (&self.mask, at.uniform(&self.input)?) else {
            return Ok(None);
        };
        let mut row = [pixel];
        if let Some(correction) = self.correction(at)? {
            let mix = [self.mix.at(at.frame)];
            correction.apply_row(&mut row, (mix != [1.0]).then_some(&mix));
        }
        Ok(Some(row[0]))
    }

    fn pass_through(&self, at: &At<'_>, _output: usize) -> Option<usize> {
        let masked = |mask| Ok::<_, Error>(at.format(mask)?.data.is_empty());
        let nowhere = self.mask.as_ref().map_or(Ok(false), masked).ok()?;
        let same = nowhere || self.mix.at(at.frame) == 0.0 || self.correction(at).ok()?.is_none();
        same.then_some(self.input.slot)
    }
}

impl RegionNode for Recolor {
    fn fill(&self, at: &At<'_>, _output: usize, region: Rect) -> Result<Value> {
        let correction = self.correction(at)?;
        let mix = self.mix.at(at.frame);
        let matte = self
            .mask
            .as_ref()
            .map(|mask| at.matte(mask, region))
            .transpose()?;

        let input = at.layer(&self.input, region)?;
        let mut layer: Layer = if input.data() == region {
            // Nobody else has it, as a rule: it is changed in place.
            Arc::unwrap_or_clone(input)
        } else {
            input.crop(region)
        };
        let Some(correction) = correction else {
            return Ok(layer.into());
        };
        let mut amounts = (matte.is_some() || mix != 1.0).then(|| vec![mix; region.width()]);
        for y in region.y0..region.y1 {
            if let (Some(amounts), Some(matte)) = (&mut amounts, &matte) {
                for (x, amount) in (region.x0..).zip(amounts) {
                    *amount = mix * matte.get(x, y);
                }
            }
            correction.apply_row(layer.row_mut(y), amounts.as_deref());
        }
        Ok(layer.into())
    }
}

#[cfg(test)]
mod tests {
    use peel_image::{Matte, TRANSPARENT};
    use peel_node::testing::{TestInputs, TestWorld};

    use super::*;

    const FRAME: Rect = Rect {
        x0: 0,
        y0: 0,
        x1: 4,
        y1: 2,
    };

    fn plain() -> Recolor {
        Recolor {
            input: Input::on_slot(0),
            exposure: Animated::Constant(0.0),
            grade: Grade::default(),
            cdl: Cdl::default(),
            hue: Animated::Constant(0.0),
            saturation: Animated::Constant(1.0),
            space: None,
            mask: None,
            mix: Animated::Constant(1.0),
        }
    }

    fn render(node: &Recolor, inputs: &TestInputs) -> Layer {
        let world = TestWorld::new(".");
        let Value::Layer(layer) = node.fill(&world.at(inputs, 1), 0, FRAME).unwrap() else {
            panic!("a layer")
        };
        layer.as_ref().clone()
    }

    fn one(node: &Recolor, pixel: Pixel) -> Pixel {
        render(
            node,
            &TestInputs::new().with(Layer::from_fn(FRAME, FRAME, |_, _| pixel)),
        )
        .get(0, 0)
    }

    #[test]
    fn colour_is_changed_unpremultiplied() {
        let grade = Grade {
            gamma: Animated::Constant(Rgb::grey(2.0)),
            ..Grade::default()
        };
        let node = Recolor { grade, ..plain() };
        assert_eq!(one(&node, [0.25, 0.25, 0.25, 1.0]), [0.5, 0.5, 0.5, 1.0]);
        assert_eq!(one(&node, [0.125, 0.125, 0.125, 0.5]), [0.25, 0.25, 0.25, 0.5]);
    }

    #[test]
    fn light_without_alpha_is_kept_and_emptiness_stays_empty() {
        let grade = Grade {
            offset: Animated::Constant(Rgb::grey(0.5)),
            ..Grade::default()
        };
        let node = Recolor {
            grade,
            exposure: Animated::Constant(1.0),
            ..plain()
        };
        assert_eq!(one(&node, [0.25, 0.0, 0.0, 0.0]), [1.0, 0.5, 0.5, 0.0]);
        assert_eq!(one(&node, TRANSPARENT), TRANSPARENT);
    }

    #[test]
    fn highlights_survive_and_clamps_are_asked_for() {
        let node = Recolor {
            exposure: Animated::Constant(2.0),
            ..plain()
        };
        assert_eq!(one(&node, [3.0, -1.0, 0.5, 1.0]), [12.0, -4.0, 2.0, 1.0]);
        let grade = Grade {
            clamp_black: true,
            clamp_white: true,
            ..Grade::default()
        };
        let node = Recolor {
            exposure: Animated::Constant(2.0),
            grade,
            ..plain()
        };
        assert_eq!(one(&node, [3.0, -1.0, 0.5, 1.0]), [1.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn a_mask_and_mix_weaken_the_change() {
        let mask = Matte::from_fn(FRAME, FRAME, |x, _| x as f32 / 2.0);
        let picture = Layer::from_fn(FRAME, FRAME, |_, _| [0.5, 0.5, 0.5, 1.0]);
        let inputs = TestInputs::new().with(picture).with(mask);
        let node = Recolor {
            exposure: Animated::Constant(1.0),
            mask: Some(Input::on_slot(1)),
            ..plain()
        };
        let layer = render(&node, &inputs);
        assert_eq!([0, 1, 2].map(|x| layer.get(x, 0)[0]), [0.5, 0.75, 1.0]);
        let half = Recolor {
            mix: Animated::Constant(0.5),
            ..node
        };
        assert_eq!(render(&half, &inputs).get(2, 0)[0], 0.75);
    }

    #[test]
    fn a_grade_goes_there_and_back() {
        let grade = |reverse| Grade {
            lift: Animated::Constant(Rgb::new(0.1, 0.0, -0.05)),
            gain: Animated::Constant(Rgb::new(1.4, 0.8, 1.0)),
            gamma: Animated::Constant(Rgb::new(1.2, 1.0, 0.7)),
            reverse,
            ..Grade::default()
        };
        let pixel = [0.3, 0.6, 2.5, 1.0];
        let there = one(
            &Recolor {
                grade: grade(false),
                ..plain()
            },
            pixel,
        );
        let back = one(
            &Recolor {
                grade: grade(true),
                ..plain()
            },
            there,
        );
        assert!(
            back.iter().zip(pixel).all(|(a, b)| (a - b).abs() < 1e-5),
            "{back:?}"
        );
    }

    #[test]
    fn a_cdl_may_work_in_its_own_space() {
        let cdl = || Cdl {
            offset: Animated::Constant(Rgb::grey(0.1)),
            ..Cdl::default()
        };
        let node = Recolor {
            cdl: cdl(),
            space: Some(ColourSpace::AcesCct),
            ..plain()
        };
        let [r, g, b, _] = one(&node, [0.18, 0.18, 0.18, 1.0]);
        // An offset of 0.1 in ACEScct is 0.1 * 17.52 stops.
        let wanted = 0.18 * (0.1f32 * 17.52).exp2();
        assert!(
            [r, g, b].iter().all(|c| (c - wanted).abs() < 1e-4),
            "{r} {g} {b}, expected {wanted}"
        );
    }

    #[test]
    fn nonsense_is_an_error_and_nothing_passes_through() {
        let world = TestWorld::new(".");
        let inputs = TestInputs::new().with(Layer::new(FRAME, FRAME));
        assert_eq!(plain().pass_through(&world.at(&inputs, 1), 0), Some(0));
        let flat = Grade {
            white: Animated::Constant(Rgb::ZERO),
            ..Grade::default()
        };
        let node = Recolor {
            grade: flat,
            ..plain()
        };
        assert_eq!(node.pass_through(&world.at(&inputs, 1), 0), None);
        assert!(
            node.format(&world.at(&inputs, 1), 0)
                .unwrap_err()
                .to_string()
                .contains("white equals black")
        );
    }
}
