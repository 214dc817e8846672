use peel_image::Layer;
use peel_node::testing::{TestInputs, TestWorld};
use peel_node::{Interpolation, Keys, Rgb, Vec2};

use super::*;

const FRAME: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 40,
    y1: 30,
};

fn mask(from: Source) -> Mask {
    Mask {
        from,
        grow: Animated::Constant(0.0),
        feather: Animated::Constant(0.0),
        invert: false,
        combine: None,
        like: Some(Input::on_slot(0)),
        missing: Missing::Error,
    }
}

fn point(x: f64, y: f64) -> Animated<Vec2> {
    Animated::Constant(Vec2::new(x, y))
}

fn ellipse() -> Source {
    Source::Ellipse {
        centre: point(20.0, 15.0),
        radius: point(10.0, 6.0),
        rotate: Animated::Constant(25.0),
    }
}

fn inputs() -> TestInputs {
    let picture = Layer::from_fn(FRAME, FRAME, |x, y| {
        let light = x as f32 / 20.0;
        if y < 15 {
            [light, 0.0, 0.0, 0.5]
        } else {
            [light, light, light, 1.0]
        }
    });
    let square = Matte::from_fn(FRAME, Rect::new(4, 4, 12, 12), |_, _| 1.0);
    TestInputs::new().with(picture).with(square)
}

fn render(node: &Mask) -> (Format, Matte) {
    let (world, inputs) = (TestWorld::new("."), inputs());
    let at = world.at(&inputs, 1);
    let format = node.format(&at, 0).unwrap();
    let Value::Matte(matte) = node.fill(&at, 0, format.data).unwrap() else {
        panic!("a matte")
    };
    (format, matte.as_ref().clone())
}

fn area(matte: &Matte) -> f64 {
    matte.values().iter().map(|&value| f64::from(value)).sum()
}

#[test]
fn shapes_cover_their_area_inside_their_window() {
    let (format, matte) = render(&mask(ellipse()));
    assert!((area(&matte) - std::f64::consts::PI * 60.0).abs() < 0.5);
    assert!(FRAME.encloses(format.data) && format.data != FRAME);
    let square = Source::Polygon {
        points: vec![point(2.0, 3.0), point(8.5, 3.0), point(8.5, 9.0), point(2.0, 9.0)],
    };
    let (_, matte) = render(&mask(square));
    assert_eq!(area(&matte), 39.0);
    assert_eq!(matte.get(8, 5), 0.5);
}

#[test]
fn alpha_luminance_and_key_look_at_a_layer() {
    let (_, alpha) = render(&mask(Source::Alpha(Input::on_slot(0))));
    assert_eq!((alpha.get(3, 3), alpha.get(3, 20)), (0.5, 1.0));
    let bright = Source::Luminance {
        input: Input::on_slot(0),
        low: Animated::Constant(0.5),
        high: Animated::Constant(1.0),
    };
    let (_, bright) = render(&mask(bright));
    assert_eq!(
        [5, 10, 15, 20, 30].map(|x| bright.get(x, 20)),
        [0.0, 0.0, 0.5, 1.0, 1.0]
    );
    let red = Source::Key {
        input: Input::on_slot(0),
        colour: Animated::Constant(Rgb::new(1.0, 0.0, 0.0)),
        tolerance: Animated::Constant(0.05),
        softness: Animated::Constant(0.1),
    };
    let (_, red) = render(&mask(red));
    // Un-premultiplied, x = 10 is a red of 1; its alpha of 0.5 counts.
    assert_eq!((red.get(10, 3), red.get(10, 20), red.get(35, 3)), (0.5, 0.0, 0.0));
}

#[test]
fn growth_feather_and_invert_in_this_order() {
    let square = || Source::Matte(Input::on_slot(1));
    let (format, grown) = render(&Mask {
        grow: Animated::Constant(2.0),
        ..mask(square())
    });
    assert_eq!(format.data, Rect::new(2, 2, 14, 14));
    assert_eq!(grown.get(2, 8), 1.0);
    assert!(grown.get(2, 2) < 0.2, "corners get round");
    let (_, shrunk) = render(&Mask {
        grow: Animated::Constant(-2.0),
        ..mask(square())
    });
    assert_eq!(area(&shrunk), 16.0);
    let soft = Mask {
        feather: Animated::Constant(3.0),
        ..mask(square())
    };
    let (_, matte) = render(&soft);
    // An edge passes one half where it stood; the square's other edges take a little.
    assert!((matte.get(3, 8) + matte.get(4, 8) - 1.0).abs() < 2e-2);
    let (format, inverted) = render(&Mask { invert: true, ..soft });
    assert_eq!(format.data, FRAME);
    assert_eq!(inverted.get(8, 8), 1.0 - matte.get(8, 8));
    assert_eq!(inverted.get(39, 29), 1.0);
}

#[test]
fn two_mattes_become_one() {
    let rest = |combine| Mask {
        combine: Some(combine),
        ..mask(ellipse())
    };
    let (_, first) = render(&mask(ellipse()));
    let (_, union) = render(&rest(Combine::Union(Input::on_slot(1))));
    assert_eq!((union.get(5, 5), union.get(20, 15)), (1.0, 1.0));
    let (_, both) = render(&rest(Combine::Intersect(Input::on_slot(1))));
    assert_eq!((both.get(5, 5), both.get(20, 15)), (0.0, 0.0));
    assert_eq!(both.get(11, 11), first.get(11, 11));
    let (_, less) = render(&rest(Combine::Subtract(Input::on_slot(1))));
    assert_eq!((less.get(11, 11), less.get(20, 15)), (0.0, 1.0));
}

#[test]
fn bands_are_the_whole_bit_for_bit() {
    let (world, inputs) = (TestWorld::new("."), inputs());
    for (grow, feather) in [(0.0, 0.0), (3.4, 5.0), (-2.2, 0.0), (-4.0, 7.5)] {
        for from in [
            ellipse(),
            Source::Matte(Input::on_slot(1)),
            Source::Alpha(Input::on_slot(0)),
        ] {
            let node = Mask {
                grow: Animated::Constant(grow),
                feather: Animated::Constant(feather),
                invert: grow < -3.0,
                ..mask(from)
            };
            let (format, whole) = render(&node);
            for band in format.data.bands(4) {
                let value = node.fill(&world.at(&inputs, 1), 0, band).unwrap();
                assert_eq!(
                    value,
                    whole.crop(band).into(),
                    "grow {grow}, feather {feather}, {band}"
                );
            }
        }
    }
}

#[test]
fn a_matte_that_reaches_far_is_made_once_and_is_the_same() {
    let frame = Rect::of_size(60, 700);
    let square = Matte::from_fn(frame, Rect::new(10, 200, 50, 500), |x, y| {
        ((x * y) % 5) as f32 / 4.0
    });
    let (world, inputs) = (TestWorld::new("."), TestInputs::new().with(square));
    let node = Mask {
        grow: Animated::Constant(12.0),
        feather: Animated::Constant(9.0),
        ..mask(Source::Matte(Input::on_slot(0)))
    };
    assert!(matches!(node.temperament(), Temperament::Frame(_)));
    let at = world.at(&inputs, 1);
    let window = node.format(&at, 0).unwrap().data;
    // Three bands here, one there.
    let whole = node.render(&at).unwrap().remove(0);
    let Value::Matte(whole) = whole else {
        panic!("a matte")
    };
    for band in window.bands(100) {
        assert!(
            node.fill(&at, 0, band).unwrap() == whole.crop(band).into(),
            "{band}"
        );
    }
}

#[test]
fn animated_points_move() {
    let keys = |from: (f64, f64), to: (f64, f64)| {
        let keys = vec![(1, Vec2::new(from.0, from.1)), (11, Vec2::new(to.0, to.1))];
        Animated::Keys(Keys::new(keys, Interpolation::Linear).unwrap())
    };
    let points = vec![
        keys((0.0, 0.0), (10.0, 0.0)),
        keys((4.0, 0.0), (14.0, 0.0)),
        keys((4.0, 9.0), (14.0, 9.0)),
    ];
    let node = mask(Source::Polygon { points });
    let (world, inputs) = (TestWorld::new("."), inputs());
    let window = |frame| node.format(&world.at(&inputs, frame), 0).unwrap().data;
    // A pixel of slack on each side, cut off by the frame.
    assert_eq!(
        [1, 6, 11].map(|frame| (window(frame).x0, window(frame).x1)),
        [(0, 5), (4, 10), (9, 15)]
    );
}

#[test]
fn a_plain_matte_passes_through() {
    let (world, inputs) = (TestWorld::new("."), inputs());
    let node = mask(Source::Matte(Input::on_slot(1)));
    assert_eq!(node.pass_through(&world.at(&inputs, 1), 0), Some(1));
    let node = Mask {
        feather: Animated::Constant(1.0),
        ..node
    };
    assert_eq!(node.pass_through(&world.at(&inputs, 1), 0), None);
}
