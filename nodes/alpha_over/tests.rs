//! How layers are laid, and when no pixels are needed to know it.

use peel_image::NamedLayer;
use peel_node::testing::{TestInputs, TestWorld};
use peel_node::{Animated, Input, Inputs, Key};

use super::*;

const FRAME: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 8,
    y1: 4,
};
const A: [f32; 4] = [0.2, 0.1, 0.0, 0.5];
const B: [f32; 4] = [0.3, 0.4, 0.5, 0.75];

fn flat(window: Rect, pixel: [f32; 4]) -> Layer {
    Layer::from_fn(FRAME, window, |_, _| pixel)
}

fn entry(slot: usize) -> EntryOrName {
    EntryOrName(Entry {
        input: Input::on_slot(slot),
        opacity: Animated::Constant(1.0),
        operation: None,
        mask: None,
    })
}

fn over(count: usize) -> AlphaOver {
    AlphaOver {
        layers: (0..count).map(entry).collect(),
        operation: MergeOp::Over,
    }
}

fn render(node: &AlphaOver, inputs: &TestInputs) -> Layer {
    let world = TestWorld::new(".");
    let at = world.at(inputs, 1);
    let format = node.format(&at, 0).unwrap();
    let Value::Layer(layer) = node.fill(&at, 0, format.data).unwrap() else {
        panic!("a layer")
    };
    layer.as_ref().clone()
}

#[test]
fn over_and_its_window() {
    let inputs = TestInputs::new()
        .with(flat(FRAME, B))
        .with(flat(Rect::new(6, 0, 12, 2), A));
    let laid = render(&over(2), &inputs);
    assert_eq!(laid.data(), Rect::new(0, 0, 12, 4));
    assert_eq!(laid.get(0, 0), B);
    assert_eq!(laid.get(9, 1), A);
    for (got, wanted) in laid.get(7, 0).into_iter().zip([0.35, 0.30, 0.25, 0.875]) {
        assert!((got - wanted).abs() < 1e-6);
    }
}

#[test]
fn a_stack_is_its_layers() {
    let named = |name: &str, layer: Layer| NamedLayer {
        name: name.to_owned(),
        layer: Arc::new(layer),
    };
    let (bottom, top) = (flat(FRAME, B), flat(Rect::new(2, 1, 5, 3), A));
    let stack = Stack {
        layers: vec![named("b", bottom.clone()), named("a", top.clone())],
        ..Stack::default()
    };
    let apart = render(&over(2), &TestInputs::new().with(bottom).with(top));
    assert_eq!(render(&over(1), &TestInputs::new().with(stack)), apart);
}

#[test]
fn opacity_and_mask_scale_the_effect() {
    let mask = Matte::from_fn(FRAME, Rect::new(0, 0, 4, 4), |x, _| if x < 2 { 1.0 } else { 0.5 });
    let inputs = TestInputs::new()
        .with(flat(FRAME, B))
        .with(flat(FRAME, A))
        .with(mask);
    let mut node = over(2);
    node.layers[1].0.mask = Some(Input::on_slot(2));
    node.layers[1].0.operation = Some(MergeOp::Plus);
    let laid = render(&node, &inputs);
    assert_eq!(
        laid.get(1, 0),
        [A[0] + B[0], A[1] + B[1], A[2] + B[2], A[3] + B[3]]
    );
    assert!((laid.get(3, 0)[0] - (B[0] + 0.5 * A[0])).abs() < 1e-6);
    assert_eq!(laid.get(5, 0), B, "outside the mask what lies below is untouched");
    node.layers[1].0.opacity = Animated::Constant(0.0);
    assert_eq!(render(&node, &inputs), flat(FRAME, B));
}

#[test]
fn a_mask_on_the_only_layer_cuts_it_out() {
    let mask = Matte::from_fn(FRAME, Rect::new(2, 1, 4, 3), |_, _| 1.0);
    let mut node = over(1);
    node.layers[0].0.mask = Some(Input::on_slot(1));
    let cut = render(&node, &TestInputs::new().with(flat(FRAME, B)).with(mask));
    assert_eq!(cut, flat(Rect::new(2, 1, 4, 3), B));
}

#[test]
fn operations_that_cut_show_outside_the_layer_too() {
    let inputs = TestInputs::new()
        .with(flat(FRAME, B))
        .with(flat(Rect::new(2, 0, 4, 4), A));
    let node = AlphaOver {
        operation: MergeOp::Mask,
        ..over(2)
    };
    let laid = render(&node, &inputs);
    assert_eq!(laid.get(0, 0), TRANSPARENT);
    assert_eq!(laid.get(2, 0), [0.15, 0.2, 0.25, 0.375]);
}

#[test]
fn what_is_no_number_stays_in_its_channel() {
    let odd = [0.5, f32::INFINITY, 0.1, f32::NAN];
    let laid = render(
        &over(2),
        &TestInputs::new()
            .with(flat(FRAME, odd))
            .with(flat(Rect::EMPTY, A)),
    );
    assert_eq!(laid.get(0, 0)[..3], odd[..3]);
}

#[test]
fn nothing_is_asked_for_below_what_is_opaque() {
    let opaque = [0.1, -0.0, 4.0, 1.0];
    let endless = flat(FRAME, [f32::INFINITY; 4]);
    let inputs = TestInputs::new()
        .with(endless.clone())
        .with(flat(FRAME, opaque))
        .with(flat(FRAME, A));
    let mut node = over(3);
    let laid = render(&node, &inputs);
    assert_eq!(
        laid,
        render(
            &over(2),
            &TestInputs::new().with(flat(FRAME, opaque)).with(flat(FRAME, A))
        )
    );
    // The same where the opaque layer is smaller than what is asked for, and pixels decide one by one.
    let inputs = TestInputs::new()
        .with(endless)
        .with(flat(Rect::new(0, 0, 4, 4), opaque))
        .with(flat(FRAME, A));
    assert_eq!(render(&node, &inputs).get(3, 3), laid.get(3, 3));
    node.layers[1].0.opacity = Animated::Constant(0.5);
    assert!(!render(&node, &inputs).get(3, 3)[0].is_finite());
}

#[test]
fn one_plain_layer_passes_through_but_a_stack_does_not() {
    let world = TestWorld::new(".");
    let inputs = TestInputs::new().with(flat(FRAME, B));
    assert_eq!(over(1).pass_through(&world.at(&inputs, 1), 0), Some(0));
    let named = NamedLayer {
        name: "b".to_owned(),
        layer: Arc::new(flat(FRAME, B)),
    };
    let inputs = TestInputs::new().with(Stack {
        layers: vec![named],
        ..Stack::default()
    });
    assert_eq!(over(1).pass_through(&world.at(&inputs, 1), 0), None);
}

/// Inputs that know of themselves where they have but one colour.
struct Flat(TestInputs);

impl Inputs for Flat {
    fn format(&self, slot: usize, frame: i32) -> Result<Format> {
        self.0.format(slot, frame)
    }

    fn key(&self, slot: usize, frame: i32) -> Result<Key> {
        self.0.key(slot, frame)
    }

    fn uniform(&self, slot: usize, frame: i32) -> Result<Option<Pixel>> {
        let window = self.0.format(slot, frame)?.data;
        let Value::Layer(layer) = self.0.pull(slot, frame, window)? else {
            return Ok(None);
        };
        let first = layer.pixels().first().copied();
        Ok(first.filter(|first| layer.pixels().iter().all(|pixel| pixel == first)))
    }

    fn pull(&self, slot: usize, frame: i32, region: Rect) -> Result<Value> {
        self.0.pull(slot, frame, region)
    }
}

#[test]
fn one_colour_over_another_is_one_colour() {
    let opaque = [0.1, -0.25, 4.0, 1.0];
    let part = Rect::new(2, 1, 5, 3);
    let textured = Layer::from_fn(FRAME, FRAME, |x, _| [x as f32, 0.0, 0.0, 1.0]);
    let (below, above) = (flat(FRAME, B), flat(FRAME, A));
    let nothing = flat(Rect::EMPTY, A);
    let larger = flat(FRAME.grow(3), A);
    // Bottom to top, and whether the result is known without pixels.
    let (cover, small_a, small_b) = (flat(FRAME, opaque), flat(part, A), flat(part, B));
    let piles: [(&[&Layer], bool); 9] = [
        (&[&below, &above], true),
        (&[&below, &above, &above], true),
        (&[&below, &nothing, &above], true),
        (&[&nothing, &above], true),
        (&[&larger, &above], false),
        (&[&textured, &cover, &above], true),
        (&[&textured, &above], false),
        (&[&below, &small_a], false),
        (&[&small_b, &small_a], true),
    ];
    for (layers, known) in piles {
        for operation in MergeOp::ALL {
            for opacity in [1.0, 0.3] {
                let inputs = layers
                    .iter()
                    .fold(TestInputs::new(), |inputs, layer| inputs.with((*layer).clone()));
                let mut node = AlphaOver {
                    operation,
                    ..over(layers.len())
                };
                for entry in &mut node.layers[..1] {
                    entry.0.opacity = Animated::Constant(opacity);
                }
                let laid = render(&node, &inputs);
                let (world, flat) = (TestWorld::new("."), Flat(inputs));
                let at = At {
                    inputs: &flat,
                    ..world.at(&flat.0, 1)
                };
                let Some(pixel) = node.uniform(&at, 0).unwrap() else {
                    assert!(!known || operation != MergeOp::Over, "{operation} {opacity}");
                    continue;
                };
                assert!(known || operation != MergeOp::Over, "{operation} {opacity}");
                let same = |other: &Pixel| other.map(f32::to_bits) == pixel.map(f32::to_bits);
                assert!(laid.pixels().iter().all(same), "{operation} {opacity}: {pixel:?}");
            }
        }
    }
}

#[test]
fn entries_without_pixels_pass_the_first_one_through() {
    let world = TestWorld::new(".");
    let inputs = || TestInputs::new().with(flat(FRAME, B)).with(flat(Rect::EMPTY, A));
    let passes = |node: &AlphaOver, inputs: &TestInputs| node.pass_through(&world.at(inputs, 1), 0);
    let mut node = over(2);
    assert_eq!(passes(&node, &inputs()), Some(0));
    // What lies outside nothing is nothing.
    node.layers[1].0.operation = Some(MergeOp::In);
    assert_eq!(passes(&node, &inputs()), None);
    // Nothing shows through a mask without coverage, nor at no opacity.
    let full = || TestInputs::new().with(flat(FRAME, B)).with(flat(FRAME, A));
    node.layers[1].0.mask = Some(Input::on_slot(2));
    assert_eq!(
        passes(&node, &full().with(Matte::new(FRAME, Rect::EMPTY))),
        Some(0)
    );
    assert_eq!(passes(&node, &full().with(Matte::new(FRAME, FRAME))), None);
    node.layers[1].0.mask = None;
    node.layers[1].0.opacity = Animated::Constant(0.0);
    assert_eq!(passes(&node, &full()), Some(0));
    node.layers[0].0.opacity = Animated::Constant(0.5);
    assert_eq!(passes(&node, &full()), None);
}
