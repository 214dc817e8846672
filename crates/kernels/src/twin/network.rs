//! Twins of the network's kernels.

use crate::ops::{Activation, Layout, Step};

/// `x / (1 + e^-x)`
#[must_use]
pub fn silu(v: f64) -> f64 {
    v / (1.0 + (-v).exp())
}

/// The tanh form: `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
#[must_use]
pub fn gelu(v: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (v + 0.044_715 * v * v * v);
    0.5 * v * (1.0 + inner.tanh())
}

fn activated(activation: Activation, v: f64) -> f64 {
    match activation {
        Activation::None => v,
        Activation::Gelu => gelu(v),
        Activation::Silu => silu(v),
    }
}

/// `activation(x Wᵀ + b)`: `x` (rows, k), `w` (n, k), `bias` (n); the result (rows, n).
#[must_use]
pub fn linear(x: &[f32], w: &[f32], bias: &[f32], activation: Activation) -> Vec<f32> {
    let k = w.len() / bias.len();
    x.chunks_exact(k)
        .flat_map(|row| {
            w.chunks_exact(k).zip(bias).map(move |(w, b)| {
                let sum: f64 = row
                    .iter()
                    .zip(w)
                    .map(|(x, w)| f64::from(*x) * f64::from(*w))
                    .sum();
                activated(activation, sum + f64::from(*b)) as f32
            })
        })
        .collect()
}

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Conv {
    /// Pictures, height, width, channels.
    pub size: [usize; 4],
    /// Channels of the skip.
    pub skip: usize,
    /// See [`Step`].
    pub step: Step,
}

/// A 3x3 convolution with zero padding, channels last; weights (n, 3, 3, channels of both).
#[must_use]
pub fn conv3x3(
    conv: Conv,
    x: &[f32],
    skip: &[f32],
    w: &[f32],
    bias: &[f32],
    activation: Activation,
) -> Vec<f32> {
    let [pictures, h, width, c] = conv.size;
    let both = c + conv.skip;
    let (out_h, out_w) = conv.step.result((h, width));
    // The picture that the kernel sees in x's place.
    let seen = |p: usize, y: isize, xx: isize, channel: usize| -> f64 {
        let (limit_h, limit_w, by) = match conv.step {
            Step::Double => (2 * h, 2 * width, 2),
            _ => (h, width, 1),
        };
        if y < 0 || xx < 0 || y >= limit_h as isize || xx >= limit_w as isize {
            return 0.0;
        }
        f64::from(x[((p * h + y as usize / by) * width + xx as usize / by) * c + channel])
    };
    let beside = |p: usize, y: isize, xx: isize, channel: usize| -> f64 {
        if y < 0 || xx < 0 || y >= out_h as isize || xx >= out_w as isize {
            return 0.0;
        }
        f64::from(skip[((p * out_h + y as usize) * out_w + xx as usize) * conv.skip + channel])
    };
    let (stride, ahead) = match conv.step {
        Step::Half => (2, 0),
        Step::HalfBehind => (2, 1),
        Step::Same | Step::Double => (1, 0),
    };
    let mut out = Vec::with_capacity(pictures * out_h * out_w * bias.len());
    for p in 0..pictures {
        for y in 0..out_h as isize {
            for xx in 0..out_w as isize {
                for (n, b) in bias.iter().enumerate() {
                    let mut sum = f64::from(*b);
                    for tap in 0..9 {
                        let (dy, dx) = (tap / 3 - 1, tap % 3 - 1);
                        for channel in 0..both {
                            let weight = f64::from(w[(n * 9 + tap as usize) * both + channel]);
                            sum += weight
                                * if channel < c {
                                    seen(p, y * stride + dy + ahead, xx * stride + dx + ahead, channel)
                                } else {
                                    beside(p, y + dy, xx + dx, channel - c)
                                };
                        }
                    }
                    out.push(activated(activation, sum) as f32);
                }
            }
        }
    }
    out
}

/// `softmax(q kᵀ) v` of one sample: `own` (t, 3 heads f), `other` (s, 3 heads f); the result (t, heads f).
#[must_use]
pub fn attention(own: &[f32], other: &[f32], heads: usize, f: usize) -> Vec<f32> {
    let width = heads * f;
    let rows: Vec<&[f32]> = other
        .chunks_exact(3 * width)
        .chain(own.chunks_exact(3 * width))
        .collect();
    let mut out = Vec::new();
    for query in own.chunks_exact(3 * width) {
        for h in 0..heads {
            let part = |row: &[f32], i: usize| -> Vec<f64> {
                row[i * width + h * f..][..f]
                    .iter()
                    .map(|v| f64::from(*v))
                    .collect()
            };
            let q = part(query, 0);
            let scores: Vec<f64> = rows
                .iter()
                .map(|row| part(row, 1).iter().zip(&q).map(|(k, q)| k * q).sum())
                .collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
            let total: f64 = weights.iter().sum();
            let mut found = vec![0.0; f];
            for (weight, row) in weights.iter().zip(&rows) {
                for (found, v) in found.iter_mut().zip(part(row, 2)) {
                    *found += weight / total * v;
                }
            }
            out.extend(found.iter().map(|v| *v as f32));
        }
    }
    out
}

/// `softmax(x scale)` over rows of `n`.
#[must_use]
pub fn softmax_rows(x: &[f32], n: usize, scale: f32) -> Vec<f32> {
    x.chunks_exact(n)
        .flat_map(|row| {
            let scaled: Vec<f64> = row.iter().map(|v| f64::from(*v) * f64::from(scale)).collect();
            let most = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scaled.iter().map(|v| (v - most).exp()).sum();
            scaled.into_iter().map(move |v| ((v - most).exp() / sum) as f32)
        })
        .collect()
}

fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    (mean, values.map(|v| (v - mean) * (v - mean)).sum::<f64>() / count)
}

/// Layer norm of queries and keys of each head, queries by 1 / √f besides; in place.
pub fn qk_norm(tokens: &mut [f32], heads: usize, f: usize, epsilon: f64) {
    for row in tokens.chunks_exact_mut(3 * heads * f) {
        for (part, head) in row.chunks_exact_mut(f).take(2 * heads).enumerate() {
            let (mean, variance) = moments(head.iter().map(|v| f64::from(*v)));
            let by = if part < heads {
                1.0 / (f as f64).sqrt()
            } else {
                1.0
            };
            for v in head {
                *v = ((f64::from(*v) - mean) / (variance + epsilon).sqrt() * by) as f32;
            }
        }
    }
}

/// `(x - mean) / sd (1 + scale) + shift`, shift and scale of a row being given.
#[must_use]
pub fn norm_modulate(
    x: &[f32],
    d: usize,
    epsilon: f64,
    of_row: impl Fn(usize) -> (Vec<f32>, Vec<f32>),
) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for (i, row) in x.chunks_exact(d).enumerate() {
        let (mean, variance) = moments(row.iter().map(|v| f64::from(*v)));
        let (shift, scale) = of_row(i);
        out.extend(
            row.iter()
                .zip(shift.iter().zip(&scale))
                .map(|(v, (shift, scale))| {
                    let normal = (f64::from(*v) - mean) / (variance + epsilon).sqrt();
                    (normal * (1.0 + f64::from(*scale)) + f64::from(*shift)) as f32
                }),
        );
    }
    out
}

/// Rows of each segment, `rows` of `n` values, less the segment's mean row.
#[must_use]
pub fn less_means(x: &[f32], rows: usize, n: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for segment in x.chunks_exact(rows * n) {
        let mean = |column: usize| {
            let values = segment.iter().skip(column).step_by(n);
            values.map(|v| f64::from(*v)).sum::<f64>() / rows as f64
        };
        let means: Vec<f64> = (0..n).map(mean).collect();
        let less = |(i, v): (usize, &f32)| (f64::from(*v) - means[i % n]) as f32;
        out.extend(segment.iter().enumerate().map(less));
    }
    out
}

/// `activation(groupnorm(x) weight + bias)` of one sample (pixels, channels).
#[must_use]
pub fn group_norm(
    x: &[f32],
    groups: usize,
    weight: &[f32],
    bias: &[f32],
    epsilon: f64,
    activation: Activation,
) -> Vec<f32> {
    let c = weight.len();
    let size = c / groups;
    let moments: Vec<(f64, f64)> = (0..groups)
        .map(|g| {
            let of_group = x.iter().enumerate().filter(move |(i, _)| i % c / size == g);
            moments(of_group.map(|(_, v)| f64::from(*v)))
        })
        .collect();
    x.iter()
        .enumerate()
        .map(|(i, v)| {
            let channel = i % c;
            let (mean, variance) = moments[channel / size];
            let normal = (f64::from(*v) - mean) / (variance + epsilon).sqrt();
            activated(
                activation,
                normal * f64::from(weight[channel]) + f64::from(bias[channel]),
            ) as f32
        })
        .collect()
}

/// Planes to tokens: (N, c, h, w) to (N, h/p w/p, c p p).
#[must_use]
pub fn patchify(x: &[f32], layout: Layout, (scale, offset): (f32, f32)) -> Vec<f32> {
    let ((h, w), p, c) = (layout.size, layout.patch, layout.channels);
    let mut out = Vec::with_capacity(x.len());
    for n in 0..layout.pictures {
        for row in 0..h / p {
            for column in 0..w / p {
                for channel in 0..c {
                    for y in 0..p {
                        for xx in 0..p {
                            let at = ((n * c + channel) * h + row * p + y) * w + column * p + xx;
                            out.push(x[at] * scale + offset);
                        }
                    }
                }
            }
        }
    }
    out
}

/// Channels of channels-last pictures as planes, with a base added.
#[must_use]
pub fn planes(
    x: &[f32],
    (pictures, pixels, stride): (usize, usize, usize),
    (first, channels): (usize, usize),
    base: &[f32],
) -> Vec<f32> {
    let mut out = Vec::new();
    for n in 0..pictures {
        for c in 0..channels {
            for pixel in 0..pixels {
                let own = base.get(out.len()).copied().unwrap_or(0.0);
                out.push(own + x[(n * pixels + pixel) * stride + first + c]);
            }
        }
    }
    out
}

/// A sum of buffers times factors, from left to right, each product and each sum rounded.
#[must_use]
pub fn combine(terms: &[(f32, &[f32])]) -> Vec<f32> {
    let count = terms.first().map_or(0, |t| t.1.len());
    (0..count)
        .map(|i| {
            let mut products = terms.iter().map(|(k, x)| k * x[i]);
            let first = products.next().unwrap_or(0.0);
            products.fold(first, |sum, v| sum + v)
        })
        .collect()
}

/// What a refiner sees, (pictures, H, W, 16), from planes.
#[must_use]
pub fn refiner_inputs(
    [plate, mask, background, foreground]: [&[f32]; 4],
    (h, w): (usize, usize),
    scale: usize,
) -> Vec<f32> {
    let (rows, columns) = (h * scale, w * scale);
    let mut inputs = vec![0.0; mask.len() * 16];
    let tap = |i: usize, size: usize| {
        let at = ((i as f64 + 0.5) / scale as f64 - 0.5).max(0.0);
        let near = (at as usize).min(size - 1);
        (near, (near + 1).min(size - 1), at - near as f64)
    };
    for (i, to) in inputs.chunks_mut(16).enumerate() {
        let (n, pixel) = (i / (rows * columns), i % (rows * columns));
        let (top, below, y) = tap(pixel / columns, h);
        let (left, beside, x) = tap(pixel % columns, w);
        let said = |planes: &[f32], plane: usize| {
            let at = |row: usize, column: usize| f64::from(planes[(plane * h + row) * w + column]);
            let line = |row: usize| at(row, left) * (1.0 - x) + at(row, beside) * x;
            line(top) * (1.0 - y) + line(below) * y
        };
        let alpha = said(foreground, 4 * n + 3);
        to[3] = mask[i];
        to[10] = alpha as f32;
        for c in 0..3 {
            let (b, f) = (said(background, 3 * n + c), said(foreground, 4 * n + c));
            to[c] = plate[(3 * n + c) * rows * columns + pixel];
            (to[4 + c], to[7 + c]) = (b as f32, f as f32);
            to[11 + c] = (f64::from(to[c]) - f - (1.0 - alpha) * b) as f32;
        }
    }
    inputs
}
