//! Pieces of pictures.

use std::sync::Arc;

use peel_image::{Layer, Matte, NamedLayer, Pixel, Rect, Stack};
use peel_node::{Format, SocketType, Value};

/// A picture inside a region. Layers and mattes come with exactly the region as their data window, as far
/// as the format reaches; the layers of a stack keep their own windows, cut to the region.
pub(crate) fn cut(value: &Value, region: Rect, format: &Format) -> Value {
    let window = region.intersect(format.data);
    match value {
        Value::Layer(layer) if layer.data() == window => value.clone(),
        Value::Layer(layer) => layer.crop(window).into(),
        Value::Matte(matte) if matte.data() == window => value.clone(),
        Value::Matte(matte) => matte.crop(window).into(),
        Value::Stack(stack) => {
            let layers = stack.layers.iter().map(|NamedLayer { name, layer }| {
                let window = layer.data().intersect(region);
                let layer = if window == layer.data() {
                    Arc::clone(layer)
                } else {
                    Arc::new(layer.crop(window))
                };
                NamedLayer {
                    name: name.clone(),
                    layer,
                }
            });
            Stack {
                layers: layers.collect(),
                facts: stack.facts.clone(),
            }
            .into()
        }
    }
}

/// A picture without pixels: what lies outside a data window.
pub(crate) fn empty(socket: SocketType, format: &Format) -> Value {
    let layer = || Layer::new(format.display, Rect::EMPTY).with_pixel_aspect(format.pixel_aspect);
    match socket {
        SocketType::Layer => layer().into(),
        SocketType::Matte => Matte::new(format.display, Rect::EMPTY).into(),
        SocketType::Stack => {
            let named = |name: &String| NamedLayer {
                name: name.clone(),
                layer: Arc::new(layer()),
            };
            Stack {
                layers: format.layers.iter().map(|layer| named(&layer.name)).collect(),
                ..Stack::default()
            }
            .into()
        }
    }
}

/// A transparent picture over a window; a stack's layers have no pixels at all.
pub(crate) fn blank(socket: SocketType, format: &Format, window: Rect) -> Value {
    match socket {
        SocketType::Layer => Layer::new(format.display, window)
            .with_pixel_aspect(format.pixel_aspect)
            .into(),
        SocketType::Matte => Matte::new(format.display, window).into(),
        SocketType::Stack => empty(socket, format),
    }
}

/// A picture of one colour over a window.
pub(crate) fn uniform(pixel: Pixel, format: &Format, window: Rect) -> Value {
    let mut layer = Layer::new(format.display, window).with_pixel_aspect(format.pixel_aspect);
    layer.pixels_mut().fill(pixel);
    layer.into()
}

/// Bytes of a pixel on this socket; of one layer for a stack.
pub(crate) fn pixel_bytes(socket: SocketType) -> u64 {
    match socket {
        SocketType::Layer | SocketType::Stack => 16,
        SocketType::Matte => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_smaller_than_promised_is_padded_and_what_fits_is_shared() {
        let display = Rect::of_size(8, 8);
        let format = Format::new(display, display);
        let layer = Value::from(Layer::from_fn(display, Rect::new(2, 2, 4, 4), |_, _| [1.0; 4]));
        let Value::Layer(part) = cut(&layer, Rect::new(0, 3, 99, 5), &format) else {
            panic!()
        };
        assert_eq!(part.data(), Rect::new(0, 3, 8, 5));
        assert_eq!((part.get(3, 3)[0], part.get(4, 3)[0]), (1.0, 0.0));
        let whole = Value::from(Layer::new(display, display));
        let (Value::Layer(a), Value::Layer(b)) = (&whole, cut(&whole, Rect::new(-5, -5, 20, 20), &format))
        else {
            panic!()
        };
        assert!(Arc::ptr_eq(a, &b));
    }

    #[test]
    fn the_layers_of_a_stack_keep_their_own_windows() {
        let display = Rect::of_size(8, 8);
        let ball = Arc::new(Layer::new(display, Rect::new(2, 2, 4, 6)));
        let stack = Value::from(Stack {
            layers: vec![NamedLayer {
                name: "ball".into(),
                layer: ball,
            }],
            ..Stack::default()
        });
        let Value::Stack(part) = cut(&stack, Rect::new(0, 3, 8, 5), &Format::new(display, display)) else {
            panic!()
        };
        assert_eq!(part.layers[0].layer.data(), Rect::new(2, 3, 4, 5));
    }
}
