//! Which object stands before which.

use super::*;

/// The front one, and the one behind it.
const BOXES: [Rect; 2] = [
    Rect {
        x0: 10,
        y0: 10,
        x1: 34,
        y1: 34,
    },
    Rect {
        x0: 24,
        y0: 14,
        x1: 54,
        y1: 40,
    },
];

/// The red box before the blue one, and their whole masks in this order.
fn boxes(order: [usize; 2]) -> TestInputs {
    let plate = Layer::from_fn(FRAME, FRAME, |x, y| {
        if BOXES[0].contains(x, y) {
            [0.8, 0.1, 0.1, 1.0]
        } else if BOXES[1].contains(x, y) {
            [0.1, 0.2, 0.7, 1.0]
        } else {
            [0.3, 0.3, 0.3, 1.0]
        }
    });
    order
        .iter()
        .fold(TestInputs::new().with(plate), |inputs, &which| {
            inputs.with(Matte::from_fn(FRAME, BOXES[which], |_, _| 1.0))
        })
}

/// What is said of the order, from the note at `from` on.
fn told(world: &TestWorld, from: usize) -> Vec<String> {
    let notes = world.notes().into_iter().skip(from);
    notes
        .map(|note| format!("{note:?}"))
        .filter(|note| {
            note.contains("front-most") || note.contains("in the order") || note.contains("circle")
        })
        .collect()
}

#[test]
fn masks_in_the_wrong_order_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let warnings = |names: &[&str], order| {
        let before = world.notes().len();
        node(names).render(&world.at(&boxes(order), 1)).unwrap();
        told(&world, before)
    };
    assert!(warnings(&["front", "back"], [0, 1]).is_empty());
    let told = warnings(&["back", "front"], [1, 0]);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("`back` is listed before `front`"), "{told:?}");
}

#[test]
fn the_plate_may_say_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let render = |names: &[&str], order, by, margins: [f32; 2], parts| {
        let node = Decompose {
            order: by,
            margins: Some(margins.to_vec()),
            parts,
            ..node(names)
        };
        let from = world.notes().len();
        let values = node.render(&world.at(&boxes(order), 1)).unwrap();
        (values, told(&world, from))
    };
    for parts in [false, true] {
        let (right, _) = render(&["front", "back"], [0, 1], Order::AsListed, [0.6, 0.4], parts);
        // Listed in the right order nothing is changed, listed in the wrong one each layer is what it is in the right one.
        let (same, said) = render(&["front", "back"], [0, 1], Order::Auto, [0.6, 0.4], parts);
        assert!(said.is_empty(), "{said:?}");
        assert!(format!("{same:?}") == format!("{right:?}"));
        let (turned, said) = render(&["back", "front"], [1, 0], Order::Auto, [0.4, 0.6], parts);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("in the order front, back"), "{said:?}");
        assert!(format!("{:?}", stack(&turned)) == format!("{:?}", stack(&right)));
        // Outputs stand in the order of the list: background, back, front.
        let shown = |values: &[Value], output: usize| format!("{:?}", values[output]);
        assert!(shown(&turned, 1) == shown(&right, 2) && shown(&turned, 2) == shown(&right, 1));
        if parts {
            assert!(shown(&turned, 3) == shown(&right, 5) && shown(&turned, 6) == shown(&right, 4));
        }
        // As listed, the wrong order gives other layers.
        let (wrong, _) = render(&["back", "front"], [1, 0], Order::AsListed, [0.4, 0.6], parts);
        assert!(format!("{:?}", stack(&wrong)) != format!("{:?}", stack(&right)));
    }
}

#[test]
fn where_the_plate_shows_no_order_the_list_says_it() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let grey = Layer::from_fn(FRAME, FRAME, |_, _| [0.3, 0.3, 0.3, 1.0]);
    let inputs = TestInputs::new().with(grey).with(blob(10, 8)).with(blob(16, 12));
    let node = |order| Decompose {
        order,
        ..node(&["a", "b"])
    };
    let auto = node(Order::Auto).render(&world.at(&inputs, 1)).unwrap();
    let listed = node(Order::AsListed).render(&world.at(&inputs, 1)).unwrap();
    assert!(format!("{auto:?}") == format!("{listed:?}"));
    assert!(told(&world, 0).is_empty());
}
