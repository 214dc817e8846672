//! The ST-LPIPS network, as `stlpips_pytorch` 0.0.2 has it with `net="alex", variant="shift_tolerant"`.
//!
//! ```text
//! picture 2 p - 1, (x - shift) / scale
//!   conv 11, pad 2 ► blur, stride 2 ► relu                      = slice 1
//!   max 3, stride 1 ► blur, stride 2 ► conv 5, pad 2 ► relu     = slice 2
//!   max 3, stride 1 ► blur, stride 2 ► conv 3, pad 1 ► relu     = slice 3
//!   conv 3, pad 1 ► relu                                        = slice 4
//!   conv 3, pad 1 ► relu                                        = slice 5
//! ```
//!
//! Every convolution has stride 1. `blur` reflects two pixels around the picture and takes the binomial 3 x 3 filter [1 2 1]/4 at every
//! second pixel. Distance: each slice normalised to length 1 over its channels at every pixel, squared differences weighted by the
//! calibrated `lin` vectors, mean over the pixels, sum over the slices.

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::data::loader::planes;
use crate::data::raster::Raster;
use crate::{Error, Result};

/// Slices of the network.
const SLICES: usize = 5;
/// Padding of each slice's convolution.
const PADDING: [usize; SLICES] = [2, 2, 1, 1, 1];
/// Mean and spread of the picture's channels, from -1 to 1.
const SHIFT: [f32; 3] = [-0.030, -0.088, -0.188];
const SCALE: [f32; 3] = [0.458, 0.448, 0.450];
/// Keeps normalisation away from 0.
const EPSILON: f32 = 1e-10;
/// Long side above which pictures are brought down first (area average).
const LARGEST: usize = 512;
/// Short side below which the network's third slice is empty.
const SMALLEST: usize = 24;

/// The loaded network.
#[derive(Debug, Clone)]
pub struct StLpips {
    /// `(out, in, k, k)` and `(1, out, 1, 1)` of each slice.
    convolutions: Vec<(Tensor, Tensor)>,
    /// Weights of each slice's channels.
    linear: Vec<Vec<f32>>,
}

/// What the network sees in a picture.
#[derive(Debug, Clone)]
pub struct Features {
    slices: Vec<Slice>,
}

/// Activations, channel by channel.
#[derive(Debug, Clone)]
struct Slice {
    channels: usize,
    height: usize,
    width: usize,
    values: Vec<f32>,
}

impl StLpips {
    /// Reads the weights that `crates/train/scripts/stlpips.py` writes: `conv0.weight`, `conv0.bias`, `lin0` and so on to 4.
    ///
    /// # Errors
    /// If the file cannot be read or does not hold them.
    pub fn load(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Err(Error::content(
                path,
                "there is no such file; `crates/train/scripts/stlpips.py` makes it",
            ));
        }
        let tensors = candle_core::safetensors::load(path, &Device::Cpu)?;
        let get = |name: String| {
            let tensor = tensors
                .get(&name)
                .ok_or_else(|| Error::content(path, format!("it has no tensor `{name}`")))?;
            Ok::<_, Error>(tensor.to_dtype(DType::F32)?)
        };
        let mut convolutions = Vec::with_capacity(SLICES);
        let mut linear = Vec::with_capacity(SLICES);
        let mut inputs = 3;
        for i in 0..SLICES {
            let (weight, bias) = (get(format!("conv{i}.weight"))?, get(format!("conv{i}.bias"))?);
            let lin = get(format!("lin{i}"))?.flatten_all()?.to_vec1::<f32>()?;
            let (outputs, from, ..) = weight.dims4()?;
            if from != inputs || bias.elem_count() != outputs || lin.len() != outputs {
                return Err(Error::content(
                    path,
                    format!("the sizes of slice {i} do not fit together"),
                ));
            }
            inputs = outputs;
            convolutions.push((weight, bias.reshape((1, outputs, 1, 1))?));
            linear.push(lin);
        }
        Ok(Self { convolutions, linear })
    }

    /// What the network sees in a display-referred picture, clipped to 0..1. More than 512 pixels on the long side are averaged down.
    ///
    /// # Errors
    /// If the picture is smaller than 24 pixels.
    pub fn features(&self, picture: &Raster<3>) -> Result<Features> {
        let (width, height) = (picture.width, picture.height);
        if width.min(height) < SMALLEST {
            return Err(Error::Evaluation(format!(
                "ST-LPIPS needs pictures of at least {SMALLEST} pixels; this one has {width} x {height}"
            )));
        }
        let scale = LARGEST as f64 / width.max(height) as f64;
        let side = |n: usize| ((n as f64 * scale).round() as usize).max(SMALLEST);
        let shrunk = if scale < 1.0 {
            &picture.resized(side(width), side(height))
        } else {
            picture
        };
        let scaled = shrunk.map(|p| {
            std::array::from_fn::<_, 3, _>(|c| (2.0 * p[c].clamp(0.0, 1.0) - 1.0 - SHIFT[c]) / SCALE[c])
        });
        let mut values = Vec::with_capacity(3 * scaled.pixels.len());
        planes(&scaled.pixels, &mut values);
        self.slices(Slice {
            channels: 3,
            height: scaled.height,
            width: scaled.width,
            values,
        })
    }

    fn slices(&self, mut at: Slice) -> Result<Features> {
        let mut slices = Vec::with_capacity(SLICES);
        for (i, (weight, bias)) in self.convolutions.iter().enumerate() {
            if i == 1 || i == 2 {
                at = at.max_pooled().blurred();
            }
            let input = Tensor::from_vec(at.values, (1, at.channels, at.height, at.width), &Device::Cpu)?;
            let out = input.conv2d(weight, PADDING[i], 1, 1, 1)?.broadcast_add(bias)?;
            let (_, channels, height, width) = out.dims4()?;
            at = Slice {
                channels,
                height,
                width,
                values: out.flatten_all()?.to_vec1::<f32>()?,
            };
            if i == 0 {
                at = at.blurred();
            }
            at.values.iter_mut().for_each(|v| *v = v.max(0.0));
            slices.push(at.clone());
        }
        Ok(Features { slices })
    }

    /// ST-LPIPS of two pictures of one size by their features; 0 for equal ones.
    ///
    /// # Errors
    /// If the pictures have different sizes.
    pub fn distance(&self, a: &Features, b: &Features) -> Result<f32> {
        let mut sum = 0.0;
        for ((a, b), weights) in a.slices.iter().zip(&b.slices).zip(&self.linear) {
            let plane = a.height * a.width;
            if (a.height, a.width) != (b.height, b.width) || a.channels != weights.len() {
                return Err(Error::Evaluation("ST-LPIPS compares pictures of one size".into()));
            }
            let (long_a, long_b) = (a.lengths(), b.lengths());
            let mut total = 0f64;
            for (c, weight) in weights.iter().enumerate() {
                let (a, b) = (&a.values[c * plane..][..plane], &b.values[c * plane..][..plane]);
                let squares: f64 = (0..plane)
                    .map(|i| f64::from(a[i] / (long_a[i] + EPSILON) - b[i] / (long_b[i] + EPSILON)).powi(2))
                    .sum();
                total += f64::from(*weight) * squares;
            }
            sum += total / plane as f64;
        }
        Ok(sum as f32)
    }
}

impl Features {
    /// The mean of each channel of the last slice: what the Fréchet distance is over.
    #[must_use]
    pub fn pooled(&self) -> Vec<f64> {
        let Some(last) = self.slices.last() else {
            return Vec::new();
        };
        let mean = |plane: &[f32]| plane.iter().map(|v| f64::from(*v)).sum::<f64>() / plane.len() as f64;
        last.values.chunks(last.height * last.width).map(mean).collect()
    }
}

impl Slice {
    fn planes(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks(self.height * self.width)
    }

    /// Each channel through `f`, which appends a plane of the new size.
    fn each(&self, height: usize, width: usize, f: impl Fn(&[f32], &mut Vec<f32>)) -> Self {
        let mut values = Vec::with_capacity(self.channels * height * width);
        self.planes().for_each(|plane| f(plane, &mut values));
        Self {
            channels: self.channels,
            height,
            width,
            values,
        }
    }

    /// The largest of 3 x 3, stride 1, without padding.
    fn max_pooled(&self) -> Self {
        let (height, width) = (self.height - 2, self.width - 2);
        self.each(height, width, |plane, out| {
            for y in 0..height {
                let rows: [&[f32]; 3] = std::array::from_fn(|i| &plane[(y + i) * self.width..][..self.width]);
                out.extend((0..width).map(|x| {
                    let largest = |row: &[f32]| row[x].max(row[x + 1]).max(row[x + 2]);
                    rows.iter().fold(f32::NEG_INFINITY, |m, row| m.max(largest(row)))
                }));
            }
        })
    }

    /// Two pixels reflected on each side, then the 3 x 3 binomial filter at every second pixel.
    fn blurred(&self) -> Self {
        let side = |n: usize| (n + 4 - 3) / 2 + 1;
        let (height, width) = (side(self.height), side(self.width));
        let reflected = |padded: usize, n: usize| {
            let at = padded.abs_diff(2);
            if at >= n { 2 * (n - 1) - at } else { at }
        };
        let columns: Vec<[usize; 3]> = (0..width)
            .map(|x| std::array::from_fn(|i| reflected(2 * x + i, self.width)))
            .collect();
        self.each(height, width, |plane, out| {
            for y in 0..height {
                let row = |i: usize| &plane[reflected(2 * y + i, self.height) * self.width..][..self.width];
                let (above, at, below) = (row(0), row(1), row(2));
                out.extend(columns.iter().map(|[l, m, r]| {
                    let across = |row: &[f32]| row[*l] + 2.0 * row[*m] + row[*r];
                    (across(above) + 2.0 * across(at) + across(below)) / 16.0
                }));
            }
        })
    }

    /// Length of each pixel's channels.
    fn lengths(&self) -> Vec<f32> {
        let mut squares = vec![0f32; self.height * self.width];
        for plane in self.planes() {
            squares.iter_mut().zip(plane).for_each(|(s, v)| *s += v * v);
        }
        squares.iter_mut().for_each(|s| *s = s.sqrt());
        squares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The picture of scripts/stlpips.py, from 0 to 1.
    fn pattern(which: usize, width: usize, height: usize) -> Raster<3> {
        Raster::from_fn(width, height, |x, y| {
            std::array::from_fn(|c| {
                ((x * (3 + which) + y * (5 + c) + x * y * (1 + which)) % 61) as f32 / 60.0
            })
        })
    }

    /// A network with a few channels and random weights, against PyTorch with the wheel's own layers.
    #[test]
    fn a_small_network_is_that_of_the_wheel() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("golden.safetensors");
        std::fs::write(&path, include_bytes!("golden.safetensors")).unwrap();
        let net = StLpips::load(&path).unwrap();
        let golden = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        let want = |name: &str| golden[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (a, b) = (pattern(0, 37, 30), pattern(1, 37, 30));
        let (a, b) = (net.features(&a).unwrap(), net.features(&b).unwrap());
        for (i, slice) in a.slices.iter().enumerate() {
            let want = want(&format!("slice{i}"));
            let largest = want.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert_eq!(slice.values.len(), want.len(), "slice {i}");
            for (a, b) in slice.values.iter().zip(&want) {
                assert!((a - b).abs() < 1e-5 * largest, "slice {i}: {a} {b}");
            }
        }
        let (got, want) = (net.distance(&a, &b).unwrap(), want("distance")[0]);
        assert!((got - want).abs() < 1e-5 * want, "{got} {want}");
        assert_eq!(net.distance(&a, &a).unwrap(), 0.0);
    }

    /// The whole network, if its weights are there.
    #[test]
    fn the_network_is_that_of_the_wheel() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../local/perceptual/stlpips.safetensors");
        if !path.exists() {
            eprintln!(
                "skipped: {} is not there; crates/train/scripts/stlpips.py makes it",
                path.display()
            );
            return;
        }
        let net = StLpips::load(&path).unwrap();
        for (width, height, want) in WHEEL {
            let features = |which| net.features(&pattern(which, width, height)).unwrap();
            let got = net.distance(&features(0), &features(1)).unwrap();
            assert!(
                (got - want).abs() < 2e-5 * want,
                "{width} x {height}: {got} {want}"
            );
        }
    }

    /// Distances that scripts/stlpips.py prints with `--print`.
    const WHEEL: [(usize, usize, f32); 2] = [(64, 64, 0.173_377_74), (97, 75, 0.181_978_55)];

    #[test]
    fn too_small_a_picture_is_an_error() {
        let net = StLpips {
            convolutions: Vec::new(),
            linear: Vec::new(),
        };
        assert!(net.features(&Raster::filled(64, 23, [0.0; 3])).is_err());
        assert!(StLpips::load(Path::new("nowhere.safetensors")).is_err());
    }
}
