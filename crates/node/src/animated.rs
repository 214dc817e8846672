//! Animated parameters: a constant, or values at frames and a way between them.

use crate::params::{IntoDefault, Param, Reader, Rgb, Shape, Vec2};
use crate::syntax::{Form, Syntax};
use crate::{Diagnostic, KeyBuilder};

/// A parameter that may change from frame to frame: a plain value, or
/// `Keys([(frame, value), ..], interpolation)`.
#[derive(Clone, PartialEq, Debug)]
pub enum Animated<T> {
    /// The same at every frame.
    Constant(T),
    /// Values at frames.
    Keys(Keys<T>),
}

/// Values at frames, at least one, the frames strictly increasing. Before the first and after the last
/// frame their values hold.
#[derive(Clone, PartialEq, Debug)]
pub struct Keys<T> {
    keys: Vec<(i32, T)>,
    interpolation: Interpolation,
}

/// The way between two keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, crate::Choice)]
pub enum Interpolation {
    /// The earlier value, until the next key's frame.
    Hold,
    /// In a straight line.
    #[default]
    Linear,
    /// In a smooth curve that starts and ends at rest and never goes past the keys' values.
    Smooth,
}

/// A value made of numbers, between which there is a way.
pub trait Animate: Param + Clone {
    /// How many numbers.
    const LANES: usize;

    /// One of its numbers, by index below [`Self::LANES`].
    fn lane(&self, index: usize) -> f64;

    /// A value from its numbers.
    fn from_lanes(lane: impl FnMut(usize) -> f64) -> Self;
}

impl<T: Animate> Keys<T> {
    /// Keys of these values; `None` unless there is one at least and the frames strictly increase.
    pub fn new(keys: Vec<(i32, T)>, interpolation: Interpolation) -> Option<Keys<T>> {
        let increasing = keys.windows(2).all(|pair| pair[0].0 < pair[1].0);
        (increasing && !keys.is_empty()).then_some(Keys { keys, interpolation })
    }

    fn at(&self, frame: i32) -> T {
        let after = self.keys.partition_point(|key| key.0 <= frame);
        let Some(before) = after.checked_sub(1) else {
            return self.keys[0].1.clone();
        };
        // A key's own frame gives exactly its value, whatever the rounding between keys.
        if after == self.keys.len()
            || self.keys[before].0 == frame
            || self.interpolation == Interpolation::Hold
        {
            return self.keys[before].1.clone();
        }
        let width = self.frame(after) - self.frame(before);
        let t = (f64::from(frame) - self.frame(before)) / width;
        T::from_lanes(|lane| {
            let (a, b) = (self.keys[before].1.lane(lane), self.keys[after].1.lane(lane));
            match self.interpolation {
                Interpolation::Smooth => {
                    let (m0, m1) = (self.slope(before, lane), self.slope(after, lane));
                    // Cubic Hermite, written from the nearer end's value so that it never overshoots by
                    // rounding.
                    let (t2, t3) = (t * t, t * t * t);
                    let rise = (3.0 * t2 - 2.0 * t3) * (b - a);
                    let bend = width * ((t3 - 2.0 * t2 + t) * m0 + (t3 - t2) * m1);
                    (a + rise + bend).clamp(a.min(b), a.max(b))
                }
                _ => a * (1.0 - t) + b * t,
            }
        })
    }

    fn frame(&self, index: usize) -> f64 {
        f64::from(self.keys[index].0)
    }

    /// The curve's slope at a key, per frame: 0 at both ends and where the values turn round, else the
    /// weighted harmonic mean of its neighbours' (Fritsch and Butland, "A method for constructing local
    /// monotone piecewise cubic interpolants", 1984), which keeps every piece monotone.
    fn slope(&self, index: usize, lane: usize) -> f64 {
        if index == 0 || index + 1 == self.keys.len() {
            return 0.0;
        }
        let value = |i: usize| self.keys[i].1.lane(lane);
        let (h0, h1) = (
            self.frame(index) - self.frame(index - 1),
            self.frame(index + 1) - self.frame(index),
        );
        let (d0, d1) = (
            (value(index) - value(index - 1)) / h0,
            (value(index + 1) - value(index)) / h1,
        );
        if d0 * d1 <= 0.0 {
            return 0.0;
        }
        let (w0, w1) = (2.0 * h1 + h0, h1 + 2.0 * h0);
        (w0 + w1) / (w0 / d0 + w1 / d1)
    }
}

impl<T: Animate> Animated<T> {
    /// The value at a frame.
    pub fn at(&self, frame: i32) -> T {
        match self {
            Animated::Constant(value) => value.clone(),
            Animated::Keys(keys) => keys.at(frame),
        }
    }

    /// Whether a test holds at every key, and so, for tests of a convex range, at every frame.
    pub fn all(&self, mut test: impl FnMut(&T) -> bool) -> bool {
        match self {
            Animated::Constant(value) => test(value),
            Animated::Keys(keys) => keys.keys.iter().all(|(_, value)| test(value)),
        }
    }
}

impl<T: Animate> From<T> for Animated<T> {
    fn from(value: T) -> Animated<T> {
        Animated::Constant(value)
    }
}

impl<T: Animate> IntoDefault<Animated<T>> for T {
    fn into_default(self) -> Animated<T> {
        Animated::Constant(self)
    }
}

impl<T: Animate> Param for Animated<T> {
    fn shape() -> Shape {
        let shape = T::shape();
        Shape {
            type_name: format!("{}, animated", shape.type_name),
            ..shape
        }
    }

    fn read(syntax: &Syntax, reader: &mut Reader) -> Option<Animated<T>> {
        let Form::Tuple(Some(name), items) = &syntax.form else {
            return T::read(syntax, reader).map(Animated::Constant);
        };
        if name.text != "Keys" {
            reader.mismatch(
                syntax,
                &format!("{} or `Keys([(frame, value), ..])`", T::shape().type_name),
            );
            return None;
        }
        let (list, interpolation) = match items.as_slice() {
            [list] => (list, Some(Interpolation::default())),
            [list, way] => (list, Interpolation::read(way, reader)),
            _ => {
                reader.mismatch(syntax, "`Keys([(frame, value), ..])` or `Keys([..], Smooth)`");
                return None;
            }
        };
        let Form::List(pairs) = &list.form else {
            reader.mismatch(list, "a list of keys `[(frame, value), ..]`");
            return None;
        };
        let keys: Vec<Option<(i32, T)>> = pairs.iter().map(|pair| read_key(pair, reader)).collect();
        let keys = keys.into_iter().collect::<Option<Vec<_>>>()?;
        if keys.is_empty() {
            reader.report(
                Diagnostic::error(list.span, "an animation without keys has no value")
                    .expected("expected one `(frame, value)` at least"),
            );
            return None;
        }
        if let Some(at) = keys.windows(2).position(|pair| pair[0].0 >= pair[1].0) {
            let (earlier, later) = (keys[at].0, keys[at + 1].0);
            reader.report(
                Diagnostic::error(pairs[at + 1].span, "the frames of an animation must increase")
                    .expected(format!("expected a frame after {earlier}, found {later}"))
                    .related(pairs[at].span, "the key before"),
            );
            return None;
        }
        Keys::new(keys, interpolation?).map(Animated::Keys)
    }

    /// Only the value at the frame counts: another key elsewhere changes nothing here.
    fn hash(&self, frame: i32, key: &mut KeyBuilder) {
        self.at(frame).hash(frame, key);
    }

    fn show(&self) -> String {
        match self {
            Animated::Constant(value) => value.show(),
            Animated::Keys(Keys { keys, interpolation }) => {
                let pairs: Vec<String> = keys
                    .iter()
                    .map(|(frame, value)| format!("({frame}, {})", value.show()))
                    .collect();
                format!("Keys([{}], {})", pairs.join(", "), interpolation.show())
            }
        }
    }
}

fn read_key<T: Param>(pair: &Syntax, reader: &mut Reader) -> Option<(i32, T)> {
    let Form::Tuple(None, parts) = &pair.form else {
        reader.mismatch(pair, "a key `(frame, value)`");
        return None;
    };
    let [frame, value] = parts.as_slice() else {
        reader.mismatch(pair, "a key `(frame, value)`");
        return None;
    };
    let frame = reader.unlimited(|reader| i32::read(frame, reader));
    let value = T::read(value, reader);
    Some((frame?, value?))
}

macro_rules! animate_number {
    ($($type:ty: $from:expr;)*) => {$(
        impl Animate for $type {
            const LANES: usize = 1;

            fn lane(&self, _index: usize) -> f64 {
                f64::from(*self)
            }

            fn from_lanes(mut lane: impl FnMut(usize) -> f64) -> $type {
                $from(lane(0))
            }
        }
    )*};
}

animate_number! {
    f64: |value: f64| value;
    f32: |value: f64| value as f32;
    // To the nearest, halves away from 0; `as` saturates, and between two i32 nothing else can arise.
    i32: |value: f64| value.round() as i32;
}

impl Animate for Vec2 {
    const LANES: usize = 2;

    fn lane(&self, index: usize) -> f64 {
        [self.x, self.y][index]
    }

    fn from_lanes(mut lane: impl FnMut(usize) -> f64) -> Vec2 {
        Vec2::new(lane(0), lane(1))
    }
}

impl Animate for Rgb {
    const LANES: usize = 3;

    fn lane(&self, index: usize) -> f64 {
        f64::from([self.r, self.g, self.b][index])
    }

    fn from_lanes(mut lane: impl FnMut(usize) -> f64) -> Rgb {
        Rgb::new(lane(0) as f32, lane(1) as f32, lane(2) as f32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(pairs: &[(i32, f64)], interpolation: Interpolation) -> Animated<f64> {
        Animated::Keys(Keys::new(pairs.to_vec(), interpolation).unwrap())
    }

    #[test]
    fn hold_linear_and_smooth() {
        let pairs = [(0, 0.0), (10, 100.0)];
        assert_eq!(keys(&pairs, Interpolation::Hold).at(9), 0.0);
        assert_eq!(keys(&pairs, Interpolation::Linear).at(3), 30.0);
        // Smoothstep between two keys: 3 t^2 - 2 t^3.
        assert!((keys(&pairs, Interpolation::Smooth).at(3) - 21.6).abs() < 1e-12);
        for interpolation in [Interpolation::Hold, Interpolation::Linear, Interpolation::Smooth] {
            let animated = keys(&pairs, interpolation);
            assert_eq!(
                (animated.at(-5), animated.at(10), animated.at(99)),
                (0.0, 100.0, 100.0)
            );
        }
    }

    #[test]
    fn smooth_has_pchip_slopes_inside() {
        // scipy.interpolate.PchipInterpolator([0, 10, 30, 40], [0, 10, 50, 60]).derivative()(10).
        let Animated::Keys(keys) = keys(
            &[(0, 0.0), (10, 10.0), (30, 50.0), (40, 60.0)],
            Interpolation::Smooth,
        ) else {
            panic!("keys are keys");
        };
        assert!(
            (keys.slope(1, 0) - 90.0 / 70.0).abs() < 1e-12,
            "{}",
            keys.slope(1, 0)
        );
    }

    #[test]
    fn every_component_moves() {
        let animated = Animated::Keys(
            Keys::new(
                vec![(1, Vec2::ZERO), (3, Vec2::new(2.0, -4.0))],
                Interpolation::Linear,
            )
            .unwrap(),
        );
        assert_eq!(animated.at(2), Vec2::new(1.0, -2.0));
        let whole = Animated::Keys(Keys::new(vec![(0, 0), (3, 10)], Interpolation::Linear).unwrap());
        assert_eq!((whole.at(1), whole.at(2)), (3, 7));
    }

    #[test]
    fn keys_must_increase() {
        assert!(Keys::<f64>::new(vec![], Interpolation::Linear).is_none());
        assert!(Keys::new(vec![(1, 0.0), (1, 1.0)], Interpolation::Linear).is_none());
    }

    #[test]
    fn the_key_of_a_frame_knows_only_that_frame() {
        let hash = |animated: &Animated<f64>, frame| {
            let mut key = KeyBuilder::new("test");
            animated.hash(frame, &mut key);
            key.finish()
        };
        let moving = keys(&[(0, 1.0), (10, 2.0)], Interpolation::Linear);
        assert_eq!(hash(&moving, 0), hash(&Animated::Constant(1.0), 0));
        assert_ne!(hash(&moving, 0), hash(&moving, 5));
    }

    fn increasing_keys() -> impl Strategy<Value = Vec<(i32, f64)>> {
        prop::collection::btree_map(-1000i32..1000, -1e6f64..1e6, 1..8)
            .prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn never_past_the_neighbouring_keys(pairs in increasing_keys(), frame in -1100i32..1100) {
            for interpolation in [Interpolation::Hold, Interpolation::Linear, Interpolation::Smooth] {
                let value = keys(&pairs, interpolation).at(frame);
                let before = pairs.iter().rev().find(|key| key.0 <= frame).unwrap_or(&pairs[0]).1;
                let after = pairs.iter().find(|key| key.0 >= frame).unwrap_or(&pairs[pairs.len() - 1]).1;
                let slack = 1e-9 * before.abs().max(after.abs());
                prop_assert!(value >= before.min(after) - slack && value <= before.max(after) + slack);
            }
        }

        #[test]
        fn keys_are_met_exactly(pairs in increasing_keys()) {
            for interpolation in [Interpolation::Hold, Interpolation::Linear, Interpolation::Smooth] {
                let animated = keys(&pairs, interpolation);
                for &(frame, value) in &pairs {
                    prop_assert_eq!(animated.at(frame), value);
                }
            }
        }
    }
}
