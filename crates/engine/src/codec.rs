//! The form of a result on disk: lossless, little-endian, ended by a checksum.
//!
//! ```text
//! "PEELVAL1"  key [32]
//! u32 pictures, each: u8 kind (0 layer, 1 matte), i32 display [4], i32 data [4], f32 pixel aspect,
//!                     f32 pixels row-major over data ([4] a pixel for a layer, one for a matte)
//! u32 values, each:   u8 0, u32 picture        a layer
//!                     u8 1, u32 picture        a matte
//!                     u8 2, u32 layers, each: u32 length, name, u32 picture
//! BLAKE3 of all of the above [32]
//! ```
//! Pictures stand apart from values because a stack shares its layers with the outputs beside it.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use peel_image::{Layer, Matte, NamedLayer, Rect, Stack};
use peel_node::{Key, Value};

use crate::memory::Values;

const MAGIC: &[u8; 8] = b"PEELVAL1";

/// Bytes of pixels that are converted in one go.
const CHUNK: usize = 1 << 16;

#[derive(Clone)]
enum Picture {
    Layer(Arc<Layer>),
    Matte(Arc<Matte>),
}

/// Writes a result.
pub(crate) fn write(out: &mut impl Write, key: &Key, values: &[Value]) -> io::Result<()> {
    let (pictures, index) = pictures(values);
    let at = |layer: &Arc<Layer>| index.get(&Arc::as_ptr(layer).cast()).copied().unwrap_or_default();
    let mut out = Hashing {
        inner: out,
        hasher: blake3::Hasher::new(),
    };
    out.write_all(MAGIC)?;
    out.write_all(&key.0)?;
    put_u32(&mut out, pictures.len() as u32)?;
    for picture in &pictures {
        match picture {
            Picture::Layer(layer) => {
                out.write_all(&[0])?;
                put_windows(&mut out, layer.display(), layer.data(), layer.pixel_aspect())?;
                put_floats(&mut out, layer.pixels().as_flattened())?;
            }
            Picture::Matte(matte) => {
                out.write_all(&[1])?;
                put_windows(&mut out, matte.display(), matte.data(), 1.0)?;
                put_floats(&mut out, matte.values())?;
            }
        }
    }
    put_u32(&mut out, values.len() as u32)?;
    for value in values {
        match value {
            Value::Layer(layer) => {
                out.write_all(&[0])?;
                put_u32(&mut out, at(layer))?;
            }
            Value::Matte(matte) => {
                out.write_all(&[1])?;
                put_u32(
                    &mut out,
                    index.get(&Arc::as_ptr(matte).cast()).copied().unwrap_or_default(),
                )?;
            }
            Value::Stack(stack) => {
                out.write_all(&[2])?;
                put_u32(&mut out, stack.layers.len() as u32)?;
                for named in &stack.layers {
                    put_u32(&mut out, named.name.len() as u32)?;
                    out.write_all(named.name.as_bytes())?;
                    put_u32(&mut out, at(&named.layer))?;
                }
            }
        }
    }
    let sum = out.hasher.finalize();
    out.inner.write_all(sum.as_bytes())
}

/// Reads a result from a file of `length` bytes and verifies it. Nothing is allocated beyond what a file
/// of that length can hold.
pub(crate) fn read(input: &mut impl Read, length: u64, key: &Key) -> io::Result<Values> {
    let mut input = Hashing {
        inner: input,
        hasher: blake3::Hasher::new(),
    };
    if &get::<8>(&mut input)? != MAGIC || get::<32>(&mut input)? != key.0 {
        return Err(damaged("it belongs to something else"));
    }
    let mut pictures = Vec::new();
    let mut pixels: u64 = 0;
    for _ in 0..get_u32(&mut input)? {
        let [kind] = get(&mut input)?;
        let (display, data, aspect) = get_windows(&mut input)?;
        let channels = if kind == 0 { 4 } else { 1 };
        pixels = pixels.saturating_add(data.area().saturating_mul(channels * 4));
        if pixels > length {
            return Err(damaged("it is shorter than it says"));
        }
        let floats = get_floats(&mut input, (data.area() * channels) as usize)?;
        pictures.push(match kind {
            0 => Picture::Layer(Arc::new(layer(display, data, &floats)?.with_pixel_aspect(aspect))),
            1 => Picture::Matte(Arc::new(
                Matte::from_values(display, data, floats)
                    .ok_or_else(|| damaged("a matte of another size"))?,
            )),
            _ => return Err(damaged("an unknown kind of picture")),
        });
    }
    let find = |at: u32| {
        pictures
            .get(at as usize)
            .cloned()
            .ok_or_else(|| damaged("a picture is missing"))
    };
    let find_layer = |at| match find(at)? {
        Picture::Layer(layer) => Ok(layer),
        Picture::Matte(_) => Err(damaged("a matte stands where a layer belongs")),
    };
    let mut values = Vec::new();
    for _ in 0..get_u32(&mut input)? {
        values.push(match get(&mut input)? {
            [0] => Value::Layer(find_layer(get_u32(&mut input)?)?),
            [1] => match find(get_u32(&mut input)?)? {
                Picture::Matte(matte) => Value::Matte(matte),
                Picture::Layer(_) => return Err(damaged("a layer stands where a matte belongs")),
            },
            [2] => {
                let mut layers = Vec::new();
                for _ in 0..get_u32(&mut input)? {
                    let size = u64::from(get_u32(&mut input)?);
                    if size > length {
                        return Err(damaged("a name is longer than the file"));
                    }
                    let mut name = vec![0; size as usize];
                    input.read_exact(&mut name)?;
                    let name = String::from_utf8(name).map_err(|_| damaged("a name is not text"))?;
                    layers.push(NamedLayer {
                        name,
                        layer: find_layer(get_u32(&mut input)?)?,
                    });
                }
                Stack { layers }.into()
            }
            _ => return Err(damaged("an unknown kind of value")),
        });
    }
    let sum = input.hasher.finalize();
    if &get::<32>(input.inner)? != sum.as_bytes() || input.inner.read(&mut [0])? != 0 {
        return Err(damaged("the checksum is wrong"));
    }
    Ok(values.into())
}

/// The pictures in these values, each once, and their numbers by address.
fn pictures(values: &[Value]) -> (Vec<Picture>, HashMap<*const (), u32>) {
    let mut list = Vec::new();
    let mut index = HashMap::new();
    let mut add = |address: *const (), picture: Picture| {
        index.entry(address).or_insert_with(|| {
            list.push(picture);
            list.len() as u32 - 1
        });
    };
    for value in values {
        match value {
            Value::Layer(layer) => add(Arc::as_ptr(layer).cast(), Picture::Layer(Arc::clone(layer))),
            Value::Matte(matte) => add(Arc::as_ptr(matte).cast(), Picture::Matte(Arc::clone(matte))),
            Value::Stack(stack) => {
                for named in &stack.layers {
                    add(
                        Arc::as_ptr(&named.layer).cast(),
                        Picture::Layer(Arc::clone(&named.layer)),
                    );
                }
            }
        }
    }
    (list, index)
}

/// Hashes whatever goes through.
struct Hashing<'a, T> {
    inner: &'a mut T,
    hasher: blake3::Hasher,
}

impl<T: Write> Write for Hashing<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashing<'_, T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.hasher.update(&bytes[..read]);
        Ok(read)
    }
}

fn damaged(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn layer(display: Rect, data: Rect, floats: &[f32]) -> io::Result<Layer> {
    let (pixels, _) = floats.as_chunks::<4>();
    Layer::from_pixels(display, data, pixels.to_vec()).ok_or_else(|| damaged("a layer of another size"))
}

fn put_u32(out: &mut impl Write, value: u32) -> io::Result<()> {
    out.write_all(&value.to_le_bytes())
}

fn put_windows(out: &mut impl Write, display: Rect, data: Rect, aspect: f32) -> io::Result<()> {
    for rect in [display, data] {
        for edge in [rect.x0, rect.y0, rect.x1, rect.y1] {
            out.write_all(&edge.to_le_bytes())?;
        }
    }
    out.write_all(&aspect.to_le_bytes())
}

fn put_floats(out: &mut impl Write, floats: &[f32]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK);
    for chunk in floats.chunks(CHUNK / 4) {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|v| v.to_le_bytes()));
        out.write_all(&bytes)?;
    }
    Ok(())
}

fn get<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn get_u32(input: &mut impl Read) -> io::Result<u32> {
    Ok(u32::from_le_bytes(get(input)?))
}

fn get_windows(input: &mut impl Read) -> io::Result<(Rect, Rect, f32)> {
    let mut edges = [0; 8];
    for edge in &mut edges {
        *edge = i32::from_le_bytes(get(input)?);
    }
    let [a, b, c, d, e, f, g, h] = edges;
    let aspect = f32::from_le_bytes(get(input)?);
    Ok((
        Rect {
            x0: a,
            y0: b,
            x1: c,
            y1: d,
        },
        Rect {
            x0: e,
            y0: f,
            x1: g,
            y1: h,
        },
        aspect,
    ))
}

fn get_floats(input: &mut impl Read, count: usize) -> io::Result<Vec<f32>> {
    let mut floats = Vec::with_capacity(count);
    let mut bytes = vec![0; CHUNK.min(count * 4)];
    while floats.len() < count {
        let part = &mut bytes[..CHUNK.min((count - floats.len()) * 4)];
        input.read_exact(part)?;
        floats.extend(part.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)));
    }
    Ok(floats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_share_their_layers_again() {
        let display = Rect::of_size(5, 4);
        let ball = Arc::new(
            Layer::from_fn(display, Rect::new(1, 1, 3, 3), |x, y| {
                [x as f32, f32::NAN, -0.0, y as f32]
            })
            .with_pixel_aspect(2.0),
        );
        let stack = Stack {
            layers: vec![NamedLayer {
                name: "bäll".into(),
                layer: Arc::clone(&ball),
            }],
        };
        let matte = Matte::from_fn(display, display, |x, _| x as f32 * 0.1);
        let values = [Value::Layer(ball), matte.into(), stack.into()];
        let mut bytes = Vec::new();
        write(&mut bytes, &Key([3; 32]), &values).unwrap();
        assert!(bytes.len() < 2 * 64 + 20 * 4 + 200, "the layer is stored once");
        let back = read(&mut bytes.as_slice(), bytes.len() as u64, &Key([3; 32])).unwrap();
        let mut again = Vec::new();
        write(&mut again, &Key([3; 32]), &back).unwrap();
        assert_eq!(bytes, again);
        let (Value::Layer(layer), Value::Stack(stack)) = (&back[0], &back[2]) else {
            panic!()
        };
        assert!(Arc::ptr_eq(layer, &stack.layers[0].layer));
        assert_eq!(layer.pixel_aspect(), 2.0);
    }

    #[test]
    fn a_window_that_no_file_can_hold_is_refused_before_it_is_allocated() {
        let huge = Rect {
            x0: 0,
            y0: 0,
            x1: i32::MAX,
            y1: i32::MAX,
        };
        let mut bytes = Vec::new();
        bytes.extend(MAGIC);
        bytes.extend([0; 32]);
        put_u32(&mut bytes, 1).unwrap();
        bytes.push(0);
        put_windows(&mut bytes, huge, huge, 1.0).unwrap();
        let failed = read(&mut bytes.as_slice(), bytes.len() as u64, &Key([0; 32])).unwrap_err();
        assert!(failed.to_string().contains("shorter"));
    }
}
