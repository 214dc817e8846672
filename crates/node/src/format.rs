//! What an output looks like at a frame, known before any pixel is computed.

use std::collections::BTreeMap;
use std::sync::Arc;

use peel_image::Rect;

/// Metadata that travels with a picture from Read to Write, by attribute name.
pub type Attributes = BTreeMap<String, peel_io::Attribute>;

/// Windows and metadata of an output at a frame.
#[derive(Clone, PartialEq, Debug)]
pub struct Format {
    /// The frame that the picture is seen through.
    pub display: Rect,
    /// The pixels that exist; for a stack, the window around all its layers.
    pub data: Rect,
    /// Width of a pixel over its height.
    pub pixel_aspect: f32,
    /// For a stack, its layers bottom to top; empty for a layer or a matte.
    pub layers: Vec<LayerFormat>,
    /// Metadata.
    pub attributes: Arc<Attributes>,
}

/// One layer of a stack's format.
#[derive(Clone, PartialEq, Debug)]
pub struct LayerFormat {
    /// Its name in the stack.
    pub name: String,
    /// The pixels that exist.
    pub data: Rect,
}

impl Format {
    /// A format of square pixels without metadata.
    pub fn new(display: Rect, data: Rect) -> Format {
        Format {
            display,
            data,
            pixel_aspect: 1.0,
            layers: Vec::new(),
            attributes: Arc::default(),
        }
    }

    /// The same picture over another data window.
    pub fn with_data(mut self, data: Rect) -> Format {
        self.data = data;
        self
    }
}
