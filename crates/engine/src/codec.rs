//! The form of a result on disk: lossless, little-endian, ended by a checksum.
//!
//! ```text
//! "PEELVAL3"  key [32]
//! u32 pictures, each: u8 kind (0 layer, 1 matte), i32 display [4], i32 data [4], f32 pixel aspect,
//!                     samples (see `samples`)
//! u32 values, each:   u8 0, u32 picture        a layer
//!                     u8 1, u32 picture        a matte
//!                     u8 2, u32 layers, each: u32 length, name, u32 picture
//!                           u32 facts, each: u32 length, name, u32 length, value
//! BLAKE3 of all of the above [32]
//! ```
//! Pictures stand apart from values because a stack shares its layers with the outputs beside it.
//!
//! [`verify`] comes before [`read`]: what a verified file says of sizes is what some Peel has written.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::sync::Arc;

use peel_image::{Layer, Matte, NamedLayer, Rect, Stack};
use peel_node::{Key, Value};

use crate::memory::Values;
use crate::samples;

const MAGIC: &[u8; 8] = b"PEELVAL3";

/// Length of the checksum.
const SUM: u64 = 32;

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
                samples::write(&mut out, layer.data(), 4, layer.pixels().as_flattened())?;
            }
            Picture::Matte(matte) => {
                out.write_all(&[1])?;
                put_windows(&mut out, matte.display(), matte.data(), 1.0)?;
                samples::write(&mut out, matte.data(), 1, matte.values())?;
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
                    put_text(&mut out, &named.name)?;
                    put_u32(&mut out, at(&named.layer))?;
                }
                put_u32(&mut out, stack.facts.len() as u32)?;
                for text in stack.facts.iter().flat_map(|(name, value)| [name, value]) {
                    put_text(&mut out, text)?;
                }
            }
        }
    }
    let sum = out.hasher.finalize();
    out.inner.write_all(sum.as_bytes())
}

/// Whether a file of `length` bytes is whole: its checksum is that of its content.
pub(crate) fn verify(input: &mut impl Read, length: u64) -> io::Result<()> {
    let content = length
        .checked_sub(SUM)
        .ok_or_else(|| damaged("it is too short"))?;
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut input.take(content), &mut hasher)?;
    if &get::<32>(input)? != hasher.finalize().as_bytes() {
        return Err(damaged("the checksum is wrong"));
    }
    Ok(())
}

/// Reads a result from a file that has been verified.
pub(crate) fn read(input: &mut impl Read, key: &Key) -> io::Result<Values> {
    if &get::<8>(input)? != MAGIC || get::<32>(input)? != key.0 {
        return Err(damaged("it belongs to something else"));
    }
    let mut pictures = Vec::new();
    for _ in 0..get_u32(input)? {
        let kind = get(input)?;
        let (display, data, aspect) = get_windows(input)?;
        pictures.push(match kind {
            [0] => {
                let floats = samples::read(input, data, 4)?;
                Picture::Layer(Arc::new(layer(display, data, &floats)?.with_pixel_aspect(aspect)))
            }
            [1] => {
                let matte = Matte::from_values(display, data, samples::read(input, data, 1)?);
                Picture::Matte(Arc::new(matte.ok_or_else(|| damaged("a matte of another size"))?))
            }
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
    for _ in 0..get_u32(input)? {
        values.push(match get(input)? {
            [0] => Value::Layer(find_layer(get_u32(input)?)?),
            [1] => match find(get_u32(input)?)? {
                Picture::Matte(matte) => Value::Matte(matte),
                Picture::Layer(_) => return Err(damaged("a layer stands where a matte belongs")),
            },
            [2] => {
                let mut layers = Vec::new();
                for _ in 0..get_u32(input)? {
                    layers.push(NamedLayer {
                        name: get_text(input)?,
                        layer: find_layer(get_u32(input)?)?,
                    });
                }
                let mut facts = BTreeMap::new();
                for _ in 0..get_u32(input)? {
                    facts.insert(get_text(input)?, get_text(input)?);
                }
                Stack { layers, facts }.into()
            }
            _ => return Err(damaged("an unknown kind of value")),
        });
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

pub(crate) fn damaged(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn layer(display: Rect, data: Rect, floats: &[f32]) -> io::Result<Layer> {
    let (pixels, _) = floats.as_chunks::<4>();
    Layer::from_pixels(display, data, pixels.to_vec()).ok_or_else(|| damaged("a layer of another size"))
}

fn put_u32(out: &mut impl Write, value: u32) -> io::Result<()> {
    out.write_all(&value.to_le_bytes())
}

fn put_text(out: &mut impl Write, text: &str) -> io::Result<()> {
    put_u32(out, text.len() as u32)?;
    out.write_all(text.as_bytes())
}

fn get_text(input: &mut impl Read) -> io::Result<String> {
    let mut text = vec![0; get_u32(input)? as usize];
    input.read_exact(&mut text)?;
    String::from_utf8(text).map_err(|_| damaged("a name is not text"))
}

fn put_windows(out: &mut impl Write, display: Rect, data: Rect, aspect: f32) -> io::Result<()> {
    put_rect(out, display)?;
    put_rect(out, data)?;
    out.write_all(&aspect.to_le_bytes())
}

pub(crate) fn put_rect(out: &mut impl Write, rect: Rect) -> io::Result<()> {
    for edge in [rect.x0, rect.y0, rect.x1, rect.y1] {
        out.write_all(&edge.to_le_bytes())?;
    }
    Ok(())
}

pub(crate) fn get<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn get_u32(input: &mut impl Read) -> io::Result<u32> {
    Ok(u32::from_le_bytes(get(input)?))
}

fn get_windows(input: &mut impl Read) -> io::Result<(Rect, Rect, f32)> {
    Ok((
        get_rect(input)?,
        get_rect(input)?,
        f32::from_le_bytes(get(input)?),
    ))
}

pub(crate) fn get_rect(input: &mut impl Read) -> io::Result<Rect> {
    let mut edges = [0; 4];
    for edge in &mut edges {
        *edge = i32::from_le_bytes(get(input)?);
    }
    let [x0, y0, x1, y1] = edges;
    Ok(Rect { x0, y0, x1, y1 })
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
            facts: [("peel:light".to_owned(), "größer".to_owned())].into(),
        };
        let matte = Matte::from_fn(display, display, |x, _| x as f32 * 0.1);
        let values = [Value::Layer(ball), matte.into(), stack.into()];
        let mut bytes = Vec::new();
        write(&mut bytes, &Key([3; 32]), &values).unwrap();
        assert!(bytes.len() < 2 * 64 + 20 * 4 + 200, "the layer is stored once");
        verify(&mut bytes.as_slice(), bytes.len() as u64).unwrap();
        let back = read(&mut bytes.as_slice(), &Key([3; 32])).unwrap();
        let mut again = Vec::new();
        write(&mut again, &Key([3; 32]), &back).unwrap();
        assert_eq!(bytes, again);
        let (Value::Layer(layer), Value::Stack(stack)) = (&back[0], &back[2]) else {
            panic!()
        };
        assert!(Arc::ptr_eq(layer, &stack.layers[0].layer));
        assert_eq!(stack.facts["peel:light"], "größer");
        assert_eq!(layer.pixel_aspect(), 2.0);
    }
}
