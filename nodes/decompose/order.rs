//! The order of the masks, and what the plate says of it.
//!
//! Names and outputs are known before any pixel and the same on every frame of a shot; what a frame shows is neither. So
//! each layer keeps the name of its mask, and the order touches only which mask is peeled first and how the stack's layers lie.

use std::borrow::Cow;

use peel_image::Layer;
use peel_node::{At, Note, Result};
use peel_plate::{front_most_first, occlusion};

use super::{Decompose, Order};

impl Decompose {
    /// The node with its masks in the order in which the frame at hand is peeled. Warns where masks overlap and the plate shows
    /// them in another order than they are listed in, and the list is kept.
    pub(super) fn ordered(&self, at: &At<'_>, plate: &Layer) -> Result<Cow<'_, Decompose>> {
        let listed = Cow::Borrowed(self);
        if self.masks.len() < 2 {
            return Ok(listed);
        }
        let masks = self.masks_at(at, self.masks.len() - 1)?;
        let names: Vec<&str> = self.names().collect();
        let mut before = Vec::new();
        for (first, name) in names.iter().enumerate() {
            for (second, other) in names.iter().enumerate().skip(first + 1) {
                let Some(found) = occlusion(plate, &masks[first], &masks[second]) else {
                    continue;
                };
                match (found.is_first_before(), self.order) {
                    (Some(true), _) => before.push((first, second)),
                    (Some(false), Order::Auto) => before.push((second, first)),
                    (Some(false), Order::AsListed) => at.world.note(Note::Warning(format!(
                        "frame {}: `{name}` is listed before `{other}`, but where their masks overlap ({} pixels) \
                         the plate looks like `{other}`: masks are listed front-most first",
                        at.frame, found.overlap
                    ))),
                    (None, _) => {}
                }
            }
        }
        if self.order == Order::AsListed {
            return Ok(listed);
        }
        match front_most_first(names.len(), &before) {
            None => {
                at.world.note(Note::Warning(format!(
                    "frame {}: the objects lie over each other in a circle; they are peeled as they are listed",
                    at.frame
                )));
                Ok(listed)
            }
            Some(order) if order.is_sorted() => Ok(listed),
            Some(order) => {
                let node = self.reordered(&order);
                let names: Vec<&str> = node.names().collect();
                let text = format!("frame {} is peeled in the order {}", at.frame, names.join(", "));
                at.world.note(Note::Info(text));
                Ok(Cow::Owned(node))
            }
        }
    }

    /// The same with its masks, and what belongs to each of them, in another order.
    fn reordered(&self, order: &[usize]) -> Decompose {
        Decompose {
            masks: order.iter().map(|&mask| self.masks[mask].clone()).collect(),
            // `check` has seen to it that there is one a mask.
            margins: self
                .margins
                .as_ref()
                .map(|all| order.iter().map(|&mask| all[mask]).collect()),
            ..self.clone()
        }
    }
}
