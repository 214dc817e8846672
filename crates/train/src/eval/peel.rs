//! The whole of Peel on a case: network and full-resolution solver, in scene-linear light.

use peel_image::quantise::half;
use peel_image::{Layer, Matte, Rect};
use peel_plate::{Network, Options, Step, peel_one};

use super::{Case, Method};
use crate::data::raster::Raster;
use crate::metrics::{Answer, Compositing, to_display, to_linear};
use crate::{Error, Result};

/// What `Decompose` makes of a case, frame by frame.
#[derive(Debug, Clone)]
pub struct Peel {
    /// The model.
    pub network: Network,
    /// As the node's parameters.
    pub options: Options,
}

impl Method for Peel {
    fn name(&self) -> String {
        match self.options.steps {
            0 | 1 => "peel, one call".into(),
            steps => format!("peel, {} {steps}", self.options.sampler),
        }
    }

    fn answer(&self, cases: &[Case]) -> Result<Vec<Answer>> {
        cases.iter().map(|case| self.decompose(case)).collect()
    }
}

impl Peel {
    fn decompose(&self, case: &Case) -> Result<Answer> {
        let failed = |reason: String| Error::Evaluation(format!("{}: {reason}", case.name));
        let (plate, matte) = scene(case).ok_or_else(|| failed("its pictures are not whole".into()))?;
        let step = peel_one(&plate, &matte, &self.network, &self.options, &|_| true)
            .map_err(|e| failed(e.to_string()))?;
        Ok(answer(&plate, &step))
    }
}

/// Plate and matte as the compositor has them.
fn scene(case: &Case) -> Option<(Layer, Matte)> {
    let truth = &case.truth;
    let frame = Rect::of_size(truth.plate.width as u32, truth.plate.height as u32);
    let pixels = to_linear(&truth.plate)
        .pixels
        .iter()
        .map(|&[r, g, b]| [r, g, b, 1.0])
        .collect();
    let plate = Layer::from_pixels(frame, frame, pixels)?;
    let matte = Matte::from_values(frame, frame, truth.mask.pixels.iter().map(|m| m[0]).collect())?;
    Some((plate, matte))
}

fn answer(plate: &Layer, step: &Step) -> Answer {
    let frame = plate.display();
    let at = |layer: &Layer, x: usize, y: usize| layer.get(frame.x0 + x as i32, frame.y0 + y as i32);
    let (width, height) = (frame.width(), frame.height());
    let background = Raster::from_fn(width, height, |x, y| {
        let [r, g, b, _] = at(&step.background, x, y);
        [r, g, b]
    });
    let foreground = Raster::from_fn(width, height, |x, y| at(&step.foreground, x, y));
    let mut exact = 0f32;
    for (i, (f, b)) in foreground.pixels.iter().zip(&background.pixels).enumerate() {
        let c = at(plate, i % width, i / width);
        for channel in 0..3 {
            let laid = half(half(f[channel]) + (1.0 - half(f[3])) * half(b[channel]));
            let off = (laid - half(c[channel])).abs();
            exact = exact.max(if off.is_nan() { f32::INFINITY } else { off });
        }
    }
    Answer {
        background: to_display(&background),
        foreground: Some(foreground),
        compositing: Compositing::Linear,
        exact: Some(exact),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Regions, Tally, test_case};

    #[test]
    fn true_layers_of_a_step_score_as_such() {
        let case = test_case();
        let (plate, _) = scene(&case).unwrap();
        let frame = plate.display();
        // The shadow's linear transmittance and the object, over the true background: exact before rounding.
        let (below, above) = (to_linear(&case.truth.background), to_linear(&case.truth.plate));
        let step = Step {
            background: Layer::from_fn(frame, frame, |x, y| {
                let [r, g, b] = *below.at(x as usize, y as usize);
                [half(r), half(g), half(b), 1.0]
            }),
            foreground: Layer::from_fn(frame, frame, |x, y| {
                let t = above.at(x as usize, y as usize)[0] / below.at(x as usize, y as usize)[0];
                [0.0, 0.0, 0.0, 1.0 - t]
            }),
            report: peel_one(
                &Layer::new(frame, frame),
                &Matte::new(frame, frame),
                &Nothing,
                &Options::default(),
                &|_| true,
            )
            .unwrap()
            .report,
        };
        let answer = answer(&plate, &step);
        let mut tally = Tally::default();
        tally.add(&case, &Regions::of(&case), &answer);
        let scores = tally.scores();
        assert!(
            scores.both.unwrap() > 60.0 && scores.recomposition.unwrap() > 60.0,
            "{scores:?}"
        );
        assert!(scores.alpha.unwrap() < 0.02, "{scores:?}");
        assert!(scores.exact.unwrap() < 1e-3);
    }

    /// A model that is never asked: an empty matte has nothing to remove.
    struct Nothing;

    impl peel_plate::Decomposer for Nothing {
        fn decompose(
            &self,
            _: &peel_plate::Rgb,
            _: &peel_plate::Plane,
            _: &peel_plate::Sampling,
            _: &dyn Fn(f32) -> bool,
        ) -> peel_plate::Result<peel_plate::Prediction> {
            Err(peel_plate::Error::Cancelled)
        }

        fn working_size(&self) -> usize {
            16
        }

        fn digest(&self) -> String {
            "nothing".into()
        }
    }
}
