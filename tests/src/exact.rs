//! EXR files read without Peel, and the promise that their layers lay back together into the plate.

use std::collections::BTreeMap;
use std::path::Path;

use exr::prelude::{FlatSamples, ReadChannels, ReadLayers};
use half::f16;

/// A channel as it stands in a file.
pub struct Channel {
    x0: i32,
    y0: i32,
    width: usize,
    height: usize,
    /// Whether it is stored in half.
    pub half: bool,
    values: Vec<f32>,
}

impl Channel {
    /// The value at a pixel; 0 outside the data window.
    pub fn at(&self, x: i32, y: i32) -> f32 {
        let (x, y) = (
            i64::from(x) - i64::from(self.x0),
            i64::from(y) - i64::from(self.y0),
        );
        let inside = x >= 0 && y >= 0 && (x as usize) < self.width && (y as usize) < self.height;
        if inside {
            self.values[y as usize * self.width + x as usize]
        } else {
            0.0
        }
    }

    /// Pixels in its data window.
    pub fn area(&self) -> usize {
        self.values.len()
    }
}

/// An EXR file as the `exr` crate reads it.
pub struct File {
    /// By full name.
    pub channels: BTreeMap<String, Channel>,
    /// The layers' names in the order in which their channels come.
    pub layers: Vec<String>,
    /// Width and height of the display window.
    pub size: (i32, i32),
    /// Text attributes.
    pub texts: BTreeMap<String, String>,
}

/// Reads all channels of all parts.
pub fn read(path: &Path) -> File {
    let image = exr::prelude::read()
        .no_deep_data()
        .largest_resolution_level()
        .all_channels()
        .all_layers()
        .all_attributes()
        .non_parallel()
        .from_file(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let size = image.attributes.display_window.size;
    let (mut channels, mut layers, mut texts) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
    for part in &image.layer_data {
        for (name, value) in &part.attributes.other {
            if let exr::prelude::AttributeValue::Text(text) = value {
                texts.insert(name.to_string(), text.to_string());
            }
        }
        for channel in &part.channel_data.list {
            let name = channel.name.to_string();
            let layer = name.rsplit_once('.').map_or("", |(layer, _)| layer).to_owned();
            if !layers.contains(&layer) {
                layers.push(layer);
            }
            let (half, values) = match &channel.sample_data {
                FlatSamples::F16(values) => (true, values.iter().map(|v| v.to_f32()).collect()),
                FlatSamples::F32(values) => (false, values.clone()),
                FlatSamples::U32(values) => (false, values.iter().map(|&v| v as f32).collect()),
            };
            let position = part.attributes.layer_position;
            let channel = Channel {
                x0: position.x(),
                y0: position.y(),
                width: part.size.width(),
                height: part.size.height(),
                half,
                values,
            };
            assert!(
                channels.insert(name.clone(), channel).is_none(),
                "{name} is there twice"
            );
        }
    }
    File {
        channels,
        layers,
        size: (size.width() as i32, size.height() as i32),
        texts,
    }
}

impl File {
    /// A pixel of a layer; `""` is the base layer. `red` and the like count as `R`.
    pub fn pixel(&self, layer: &str, x: i32, y: i32) -> [f32; 4] {
        let value = |short: &str, long: &str| {
            let full = |suffix: &str| {
                if layer.is_empty() {
                    suffix.to_owned()
                } else {
                    format!("{layer}.{suffix}")
                }
            };
            let channel = self
                .channels
                .get(&full(short))
                .or_else(|| self.channels.get(&full(long)));
            channel.unwrap_or_else(|| panic!("no {}", full(short))).at(x, y)
        };
        [
            value("R", "red"),
            value("G", "green"),
            value("B", "blue"),
            value("A", "alpha"),
        ]
    }
}

/// Over of the layers, bottom to top, in single precision without fused operations.
fn laid(file: &File, order: &[&str], x: i32, y: i32) -> [f32; 4] {
    let mut layers = order.iter();
    let bottom = file.pixel(layers.next().expect("a bottom layer"), x, y);
    layers.fold(bottom, |below, layer| {
        let above = file.pixel(layer, x, y);
        std::array::from_fn(|i| above[i] + below[i] * (1.0 - above[3]))
    })
}

/// Fails unless the layers of a stack's file, laid over each other in this order, and the flattened picture in
/// it too, are the plate: the same halves at every pixel, NaN where the plate has NaN.
pub fn assert_recomposes(stack: &Path, order: &[&str], plate: impl Fn(i32, i32) -> [f32; 4]) {
    let file = read(stack);
    let mut layers = vec![""];
    layers.extend(order);
    for layer in &layers {
        assert!(
            file.layers.iter().any(|found| found == layer),
            "{}: no layer {layer:?}",
            stack.display()
        );
    }
    assert_eq!(
        file.layers.len(),
        layers.len(),
        "{}: {:?}",
        stack.display(),
        file.layers
    );
    let same = |a: f32, b: f32| {
        let (a, b) = (f16::from_f32(a), f16::from_f32(b));
        a == b || a.is_nan() && b.is_nan()
    };
    let (width, height) = file.size;
    for y in 0..height {
        for x in 0..width {
            let wanted = plate(x, y);
            for got in [laid(&file, order, x, y), file.pixel("", x, y)] {
                let exact = got.iter().zip(wanted).all(|(&got, wanted)| same(got, wanted));
                assert!(
                    exact,
                    "{} at ({x}, {y}): {got:?}, not {wanted:?}",
                    stack.display()
                );
            }
        }
    }
}

/// The pixels of an opaque plate's file.
pub fn opaque(plate: &File) -> impl Fn(i32, i32) -> [f32; 4] + '_ {
    |x, y| {
        [
            plate.channels["R"].at(x, y),
            plate.channels["G"].at(x, y),
            plate.channels["B"].at(x, y),
            1.0,
        ]
    }
}
