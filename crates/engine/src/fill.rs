//! Region nodes at work: a window cut into bands, filled in parallel.

use std::sync::Arc;

use peel_image::{Layer, Matte, Rect};
use peel_node::{Error, Format, RegionNode, Result, SocketType, Value};

use crate::cut::pixel_bytes;
use crate::eval::Evaluation;
use crate::frame::FrameState;
use crate::program::Source;
use crate::trace::Work;

/// Pixels of a band: small enough for the outer caches with its inputs, large enough to be worth a call.
const BAND_PIXELS: usize = 1 << 17;

impl Evaluation<'_> {
    /// The pixels of a region node's output in a window inside its data window.
    pub fn fill(
        &self,
        frame: &FrameState,
        source: Source,
        node: &dyn RegionNode,
        window: Rect,
        format: &Format,
        depth: usize,
    ) -> Result<Value> {
        let socket = self.program.units[source.unit].outputs[source.output].socket;
        self.check_memory(frame, source.unit, format, window, pixel_bytes(socket))?;
        let band = |band: Rect| self.fill_band(frame, source, node, band, depth);
        let rows = self.band_rows(window);
        if window.height() < 2 * rows {
            return band(window);
        }
        match socket {
            // A stack's layers have windows of their own, which only the node knows.
            SocketType::Stack => band(window),
            SocketType::Layer => {
                let mut whole =
                    Layer::to_overwrite(format.display, window).with_pixel_aspect(format.pixel_aspect);
                self.fill_rows(window, rows, whole.pixels_mut(), |part, pixels| {
                    if let Value::Layer(layer) = band(part)? {
                        pixels.copy_from_slice(layer.pixels());
                    }
                    Ok(())
                })?;
                Ok(Value::Layer(Arc::new(whole)))
            }
            SocketType::Matte => {
                let mut whole = Matte::new(format.display, window);
                self.fill_rows(window, rows, whole.values_mut(), |part, values| {
                    if let Value::Matte(matte) = band(part)? {
                        values.copy_from_slice(matte.values());
                    }
                    Ok(())
                })?;
                Ok(Value::Matte(Arc::new(whole)))
            }
        }
    }

    /// Works through the rows of a picture, band by band, on all free seats.
    fn fill_rows<T: Send>(
        &self,
        window: Rect,
        rows: usize,
        pixels: &mut [T],
        work: impl Fn(Rect, &mut [T]) -> Result<()> + Sync,
    ) -> Result<()> {
        let bands = window
            .bands(rows)
            .zip(pixels.chunks_mut(rows * window.width()))
            .collect();
        self.engine.crew.each(bands, |(band, pixels)| work(band, pixels))
    }

    /// One call of the node, and a look at what came back.
    fn fill_band(
        &self,
        frame: &FrameState,
        Source { unit, output }: Source,
        node: &dyn RegionNode,
        band: Rect,
        depth: usize,
    ) -> Result<Value> {
        let known = (self.key(frame, unit, depth)?, self.chain(frame, unit, depth)?);
        let socket = self.program.units[unit].outputs[output].socket;
        self.call(frame, unit, depth, Some(known), |at| {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let mut going = self.begin(frame, unit, Work::Fill);
            let value = node.fill(at, output, band)?;
            if let Some(going) = &mut going {
                going.made(value.bytes());
            }
            drop(going);
            let fits = value.socket_type() == socket
                && match &value {
                    Value::Layer(layer) => layer.data() == band,
                    Value::Matte(matte) => matte.data() == band,
                    Value::Stack(stack) => band.encloses(stack.data()),
                };
            if !fits {
                let text =
                    format!("asked for a {socket} in {band}, it gave something else (a fault in the node)");
                return Err(Error::message(text));
            }
            Ok(value)
        })
    }

    /// Rows of a band of this window.
    pub fn band_rows(&self, window: Rect) -> usize {
        self.engine
            .options
            .band_rows
            .unwrap_or_else(|| (BAND_PIXELS / window.width().max(1)).clamp(8, 1024))
            .max(1)
    }
}
