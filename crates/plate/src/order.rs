//! Which of two masked objects stands before the other, to go by what the plate shows where their masks overlap.
//!
//! Masks are listed front-most first, and a wrong order takes the front object's pixels for the other's. Where masks overlap,
//! the plate shows the front object: its colours go on there from where its mask is alone. Objects that look alike, masks that
//! hardly overlap, and a mask that lies within the other's tell nothing.

use peel_image::{Layer, Matte, Rect};

use crate::region::coverage;
use crate::{Plane, Rgb, exact, pushpull};

/// Coverage from which a mask counts.
const COVERS: f32 = 0.5;

/// Cells on the longer side of what is looked at.
const CELLS: usize = 96;

/// Cells that an overlap, and what each mask covers alone around it, must have at least.
const FEWEST: usize = 6;

/// Added to linear light before the logarithm: below it differences are noise.
const DIM: f32 = 0.02;

/// Mean difference of the two objects' colours, in stops, below which they look alike.
const ALIKE: f32 = 0.4;

/// The share of an overlap that looks like one mask's object from which on that object stands in front.
const SURE: f32 = 0.8;

/// What the plate says of two masks that overlap.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Occlusion {
    /// The part of the overlap that looks like the first mask's object, 0 to 1, clearer places counting more.
    pub first: f32,
    /// Plate pixels in the overlap.
    pub overlap: u64,
}

impl Occlusion {
    /// Whether the first mask's object stands before the second's; `None` where the overlap looks like both.
    pub fn is_first_before(&self) -> Option<bool> {
        match self.first {
            share if share >= SURE => Some(true),
            share if share <= 1.0 - SURE => Some(false),
            _ => None,
        }
    }
}

/// Objects front-most first, as numbers from 0 to `count`: as listed, but for those that stand before an earlier one, which
/// come right before it. `before` holds pairs of which the first stands before the second. `None` where they go round in a circle.
pub fn front_most_first(count: usize, before: &[(usize, usize)]) -> Option<Vec<usize>> {
    let mut order = Vec::with_capacity(count);
    // Objects on the way from the one that is asked for to those before it.
    let mut way: Vec<usize> = Vec::new();
    for object in 0..count {
        way.push(object);
        while let Some(&last) = way.last() {
            if order.contains(&last) {
                way.pop();
                continue;
            }
            let fronts = before.iter().filter(|(_, back)| *back == last);
            let next = fronts
                .map(|(front, _)| *front)
                .filter(|front| !order.contains(front))
                .min();
            match next {
                Some(front) if way.contains(&front) => return None,
                Some(front) => way.push(front),
                None => order.push(last),
            }
        }
    }
    Some(order)
}

/// What the plate shows where two masks overlap; `None` where that says nothing.
pub fn occlusion(plate: &Layer, first: &Matte, second: &Matte) -> Option<Occlusion> {
    let both = first
        .tight_window(COVERS)
        .intersect(second.tight_window(COVERS))
        .intersect(plate.data());
    if both.is_empty() {
        return None;
    }
    let around = both.width().max(both.height()) as i32 / 2 + 8;
    let window = both.grow(around).intersect(plate.data());
    let step = window.width().max(window.height()).div_ceil(CELLS).max(1);
    let size = (window.width().div_ceil(step), window.height().div_ceil(step));
    let covers = |matte: &Matte, x: i32, y: i32| coverage(matte.get(x, y)) > COVERS;
    let only_first = Look::new(plate, window, step, size, |x, y| {
        covers(first, x, y) && !covers(second, x, y)
    });
    let only_second = Look::new(plate, window, step, size, |x, y| {
        covers(second, x, y) && !covers(first, x, y)
    });
    let overlap = Look::new(plate, window, step, size, |x, y| {
        covers(first, x, y) && covers(second, x, y)
    });
    if [&only_first, &only_second, &overlap]
        .iter()
        .any(|look| look.cells() < FEWEST)
    {
        return None;
    }
    let (one, other) = (only_first.continued(), only_second.continued());
    let (mut like_first, mut all, mut cells) = (0.0, 0.0, 0.0);
    for i in (0..size.0 * size.1).filter(|&i| overlap.known.values[i] > 0.0) {
        let apart = |a: &Rgb, b: &Rgb| -> f32 {
            let channels = a.iter().zip(b);
            channels
                .map(|(a, b)| (a.values[i] - b.values[i]).powi(2))
                .sum::<f32>()
        };
        let clear = apart(&one, &other).sqrt();
        all += clear;
        cells += 1.0;
        if apart(&overlap.colour, &one) < apart(&overlap.colour, &other) {
            like_first += clear;
        }
    }
    (all >= ALIKE * cells).then(|| Occlusion {
        first: like_first / all,
        overlap: overlap.pixels,
    })
}

/// Colours of some pixels, cell by cell.
struct Look {
    /// Base-2 logarithm of linear light.
    colour: Rgb,
    /// 1 where a cell has such pixels.
    known: Plane,
    pixels: u64,
}

impl Look {
    fn new(
        plate: &Layer,
        window: Rect,
        step: usize,
        (width, height): (usize, usize),
        wanted: impl Fn(i32, i32) -> bool,
    ) -> Look {
        let mut sums = vec![[0f32; 4]; width * height];
        let mut pixels = 0;
        for y in window.y0..window.y1 {
            for (x, pixel) in (window.x0..).zip(plate.span(y, window.x0, window.x1).1) {
                if wanted(x, y) && exact::is_finite(*pixel) {
                    let cell = (y - window.y0) as usize / step * width + (x - window.x0) as usize / step;
                    (0..3).for_each(|c| sums[cell][c] += (pixel[c].max(0.0) + DIM).log2());
                    sums[cell][3] += 1.0;
                    pixels += 1;
                }
            }
        }
        // A few pixels at a mask's border are of neither object.
        let least = 0.25 * (step * step) as f32;
        let plane = |f: &dyn Fn(&[f32; 4]) -> f32| Plane {
            width,
            height,
            values: sums.iter().map(f).collect(),
        };
        Look {
            colour: std::array::from_fn(|c| plane(&|sum| sum[c] / sum[3].max(1.0))),
            known: plane(&|sum| f32::from(sum[3] > least)),
            pixels,
        }
    }

    fn cells(&self) -> usize {
        self.known.values.iter().filter(|&&known| known > 0.0).count()
    }

    /// The colours, continued to where they are not known.
    fn continued(&self) -> Rgb {
        std::array::from_fn(|c| pushpull::fill(&self.colour[c], &self.known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solver::noise::Noise;

    const FRAME: Rect = Rect {
        x0: 0,
        y0: 0,
        x1: 160,
        y1: 120,
    };

    fn disc(centre: (f32, f32), radius: f32) -> Matte {
        Matte::from_fn(FRAME, FRAME, |x, y| {
            (radius + 0.5 - (x as f32 - centre.0).hypot(y as f32 - centre.1)).clamp(0.0, 1.0)
        })
    }

    /// A colour with waves and grain in it, from dark to light.
    fn object(noise: &mut Noise) -> impl Fn(i32, i32) -> [f32; 3] + use<> {
        let colour: [f32; 3] = std::array::from_fn(|_| 0.02 + 0.9 * noise.unit());
        let (fast, wide, shade) = (
            0.05 + 0.6 * noise.unit(),
            0.4 * noise.unit(),
            0.006 * noise.unit(),
        );
        move |x, y| {
            let wave = 1.0 + wide * (fast * x as f32).sin() * (0.8 * fast * y as f32).cos();
            let grain = 1.0 + 0.1 * ((x.wrapping_mul(7919) ^ y.wrapping_mul(104_729)) & 63) as f32 / 63.0;
            colour.map(|c| c * wave * grain * (1.0 - shade * y as f32).max(0.2))
        }
    }

    #[test]
    fn the_front_object_is_told_by_its_colours() {
        let mut noise = Noise::new(21);
        let (mut sure, mut wrong, mut unsure) = (0, 0, 0);
        for case in 0..200 {
            let centres = [
                (60.0 + 10.0 * noise.unit(), 50.0 + 20.0 * noise.unit()),
                (85.0 + 15.0 * noise.unit(), 50.0 + 20.0 * noise.unit()),
            ];
            let mattes = centres.map(|centre| disc(centre, 22.0 + 12.0 * noise.unit()));
            let looks = [object(&mut noise), object(&mut noise)];
            let front = case % 2;
            let plate = Layer::from_fn(FRAME, FRAME, |x, y| {
                let mut seen = [0.2, 0.25, 0.2];
                for which in [1 - front, front] {
                    let (m, colour) = (mattes[which].get(x, y), looks[which](x, y));
                    seen = std::array::from_fn(|c| m * colour[c] + (1.0 - m) * seen[c]);
                }
                [seen[0], seen[1], seen[2], 1.0]
            });
            match occlusion(&plate, &mattes[0], &mattes[1]) {
                Some(occlusion) => match occlusion.is_first_before() {
                    Some(first) => {
                        sure += 1;
                        wrong += usize::from(first != (front == 0));
                    }
                    None => unsure += 1,
                },
                None => unsure += 1,
            }
        }
        println!("{sure} sure, {wrong} of them wrong, {unsure} unsure");
        assert!(
            wrong == 0 && sure >= 150,
            "{sure} sure, {wrong} wrong, {unsure} unsure"
        );
    }

    #[test]
    fn what_stands_before_another_comes_right_before_it() {
        let order = |before: &[(usize, usize)]| front_most_first(4, before);
        assert_eq!(order(&[]), Some(vec![0, 1, 2, 3]));
        assert_eq!(order(&[(0, 1), (1, 2)]), Some(vec![0, 1, 2, 3]));
        assert_eq!(order(&[(2, 0)]), Some(vec![2, 0, 1, 3]));
        assert_eq!(order(&[(3, 2), (2, 1), (1, 0)]), Some(vec![3, 2, 1, 0]));
        assert_eq!(order(&[(3, 0), (2, 0)]), Some(vec![2, 3, 0, 1]));
        assert_eq!(order(&[(1, 0), (2, 1), (0, 2)]), None);
        assert_eq!(front_most_first(0, &[]), Some(Vec::new()));
    }

    #[test]
    fn what_tells_nothing_says_so() {
        let plate = Layer::from_fn(FRAME, FRAME, |x, _| {
            [if x < 80 { 0.1 } else { 0.6 }, 0.3, 0.2, 1.0]
        });
        let (left, right) = (disc((60.0, 60.0), 30.0), disc((90.0, 60.0), 30.0));
        let far = disc((140.0, 20.0), 10.0);
        let within = disc((60.0, 60.0), 10.0);
        let grey = Layer::from_fn(FRAME, FRAME, |_, _| [0.2, 0.2, 0.2, 1.0]);
        let broken = Layer::from_fn(FRAME, FRAME, |_, _| [f32::NAN; 4]);
        let none = Matte::new(FRAME, Rect::EMPTY);
        for (plate, first, second) in [
            (&plate, &left, &far),
            (&plate, &left, &within),
            (&plate, &left, &none),
            (&grey, &left, &right),
            (&broken, &left, &right),
        ] {
            assert_eq!(occlusion(plate, first, second), None);
        }
        assert!(occlusion(&plate, &left, &right).is_some());
    }
}
