//! What is found out while a step is made, for the metadata of the file.
//!
//! It is known with the pixels and no sooner, so it travels with them: in the cache beside a step's layers, and on in the stack.

use std::collections::BTreeMap;

use peel_image::{Matte, Rect};
use peel_plate::{Light, Report};

use super::Peeled;

/// Of one step.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Figures {
    /// How light was shown to the model.
    light: Light,
    /// Largest difference between plate and layers laid over each other, in half.
    recomposition_max: f32,
    /// How near the model's own layers came to the picture that it saw, in dB; infinite where none was run.
    raw_model: f32,
}

/// A step's figures as a matte has them.
const WINDOW: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 4,
    y1: 1,
};

impl Figures {
    pub(super) fn of(report: &Report) -> Figures {
        Figures {
            light: report.light,
            recomposition_max: report.recomposition_max,
            raw_model: report.raw_model_psnr,
        }
    }

    /// The same of a step whose layers were made anew.
    pub(super) fn laid_again(self, report: &Report) -> Figures {
        Figures {
            recomposition_max: report.recomposition_max,
            ..self
        }
    }

    /// In a form that caches keep.
    pub(super) fn to_matte(self) -> Matte {
        let Light { exposure, white } = self.light;
        let numbers = [exposure, white, self.recomposition_max, self.raw_model];
        Matte::from_fn(WINDOW, WINDOW, |x, _| numbers[x as usize])
    }

    pub(super) fn of_matte(matte: &Matte) -> Option<Figures> {
        let &[exposure, white, recomposition_max, raw_model] = matte.values() else {
            return None;
        };
        Some(Figures {
            light: Light { exposure, white },
            recomposition_max,
            raw_model,
        })
    }
}

/// The steps' figures as a file says them, by the names of their masks.
pub(super) fn facts<'a>(
    steps: impl Iterator<Item = (&'a str, &'a Peeled)> + Clone,
) -> BTreeMap<String, String> {
    let each = |say: &dyn Fn(&Figures) -> String| {
        let said = steps
            .clone()
            .map(|(name, step)| format!("{name}: {}", say(&step.figures)));
        said.collect::<Vec<_>>().join("; ")
    };
    let raw = |figures: &Figures| match figures.raw_model {
        db if db.is_finite() => format!("{db:.2} dB"),
        _ => "exact".to_owned(),
    };
    [
        (
            "light",
            each(&|figures| {
                format!(
                    "exposure {}, white {}",
                    figures.light.exposure, figures.light.white
                )
            }),
        ),
        (
            "recomposition",
            each(&|figures| figures.recomposition_max.to_string()),
        ),
        ("raw_model", each(&raw)),
    ]
    .into_iter()
    .map(|(name, value)| (format!("peel:{name}"), value))
    .collect()
}
