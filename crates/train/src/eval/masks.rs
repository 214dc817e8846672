//! The masks that methods are given: those of the cases, or tight and loose ones of the same objects.

use super::Case;
use crate::data::hull::convex_hull;
use crate::data::mask::dilated;
use crate::data::raster::Raster;
use crate::data::rng::Rng;

/// Stream of how far loose masks reach.
const STREAM: u64 = 0x4C4F_4F53;
/// Pixels by which loose masks are dilated, in a picture of 128.
const LOOSE: (f32, f32) = (4.0, 12.0);
/// Pixels by which hulls are dilated, in a picture of 128.
const HULL_MARGIN: f32 = 2.0;

/// Which mask a method gets. Regions are measured by the true object whatever the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masks {
    /// As the case has it.
    Given,
    /// The object's own alpha above one half.
    Tight,
    /// That dilated by 4 to 12 pixels of a picture of 128, each case by an amount of its own.
    Loose,
    /// A lasso: its convex hull, dilated by two pixels of a picture of 128.
    Hull,
}

impl Masks {
    /// The kinds by name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("given", Self::Given),
        ("tight", Self::Tight),
        ("loose", Self::Loose),
        ("hull", Self::Hull),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, m)| *m == self)
            .map_or("", |(name, _)| name)
    }

    /// The case with this mask. Its name decides how far a loose mask reaches.
    #[must_use]
    pub fn apply(self, mut case: Case) -> Case {
        let object = &case.truth.object;
        let tight = || object.map(|a| [f32::from(a[0] > 0.5)]);
        let k = object.width as f32 / 128.0;
        let mask: Raster<1> = match self {
            Self::Given => return case,
            Self::Tight => tight(),
            Self::Loose => {
                let name = blake3::hash(case.name.as_bytes());
                let index = u64::from(name.as_bytes()[0]) << 8 | u64::from(name.as_bytes()[1]);
                let reach = Rng::new(1, STREAM, index).range(LOOSE.0, LOOSE.1);
                dilated(&tight(), reach * k)
            }
            Self::Hull => dilated(&convex_hull(object), HULL_MARGIN * k),
        };
        case.truth.mask = mask;
        case
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::test_case;

    #[test]
    fn looser_masks_hold_tighter_ones() {
        let mut case = test_case();
        case.truth.object = Raster::from_fn(128, 128, |x, y| {
            [f32::from((50..60).contains(&x) && (y > 50) && y < 55 + x / 2)]
        });
        let area = |masks: Masks| {
            let mask = masks.apply(case.clone()).truth.mask;
            assert!(std::iter::zip(&case.truth.object.pixels, &mask.pixels).all(|(o, m)| m[0] >= o[0]));
            mask.pixels.iter().filter(|m| m[0] > 0.5).count()
        };
        assert!(area(Masks::Tight) < area(Masks::Hull));
        assert!(area(Masks::Hull) < area(Masks::Loose));
        assert_eq!(Masks::Given.apply(test_case()).truth.mask, test_case().truth.mask);
        assert_eq!(Masks::Hull.name(), "hull");
    }
}
