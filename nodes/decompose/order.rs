//! A word where the plate speaks against the order of the masks.
//!
//! The order itself is the user's: names and order of the layers are known before any pixel, and the same on every frame of a
//! shot, while what a frame shows is neither.

use peel_image::Layer;
use peel_node::{At, Note, Result};
use peel_plate::{Occlusion, occlusion};

use super::Decompose;

/// The share of an overlap that looks like the object listed first below which the order is doubted.
const DOUBTED: f32 = 0.2;

impl Decompose {
    /// Warns of each two masks that overlap where the plate shows the second one's object before the first one's.
    pub(super) fn doubt_order(&self, at: &At<'_>, plate: &Layer) -> Result<()> {
        if self.masks.len() < 2 {
            return Ok(());
        }
        let masks = self.masks_at(at, self.masks.len() - 1)?;
        let names: Vec<&str> = self.names().collect();
        for (first, name) in names.iter().enumerate() {
            for (second, other) in names.iter().enumerate().skip(first + 1) {
                let Some(Occlusion {
                    first: share,
                    overlap,
                }) = occlusion(plate, &masks[first], &masks[second])
                else {
                    continue;
                };
                if share < DOUBTED {
                    at.world.note(Note::Warning(format!(
                        "frame {}: `{name}` is listed before `{other}`, but where their masks overlap ({overlap} pixels) \
                         the plate looks like `{other}`: masks are listed front-most first",
                        at.frame
                    )));
                }
            }
        }
        Ok(())
    }
}
