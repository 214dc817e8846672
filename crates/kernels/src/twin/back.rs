//! Twins of the backward pass: slopes, in f64, straight from the formulas of the layers.

use super::network::{Conv, silu};
use crate::ops::{Activation, Step};

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| f64::from(*v)).collect()
}

fn narrow(x: &[f64]) -> Vec<f32> {
    x.iter().map(|v| *v as f32).collect()
}

/// The derivative of an activation at `v`.
#[must_use]
pub fn slope(activation: Activation, v: f64) -> f64 {
    match activation {
        Activation::None => 1.0,
        Activation::Silu => {
            let share = 1.0 / (1.0 + (-v).exp());
            share + silu(v) * (1.0 - share)
        }
        Activation::Gelu => {
            let root = (2.0 / std::f64::consts::PI).sqrt();
            let tanh = (root * (v + 0.044_715 * v * v * v)).tanh();
            let inner = root * (1.0 + 3.0 * 0.044_715 * v * v);
            0.5 * (1.0 + tanh) + 0.5 * v * (1.0 - tanh * tanh) * inner
        }
    }
}

/// Slopes of a linear layer's x, weight and bias: `x` (rows, k), `w` (n, k), `dy` (rows, n).
#[must_use]
pub fn linear_back(x: &[f32], w: &[f32], dy: &[f32], n: usize) -> [Vec<f32>; 3] {
    let k = w.len() / n;
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; n]);
    for (row, dy) in dy.chunks_exact(n).enumerate() {
        for (j, dy) in dy.iter().map(|v| f64::from(*v)).enumerate() {
            db[j] += dy;
            for i in 0..k {
                dx[row * k + i] += dy * f64::from(w[j * k + i]);
                dw[j * k + i] += dy * f64::from(x[row * k + i]);
            }
        }
    }
    [narrow(&dx), narrow(&dw), narrow(&db)]
}

/// Slopes of a convolution's x, skip and weight, the last as training keeps it: (3, 3, channels of both, n); sizes as for
/// [`conv3x3`](super::conv3x3).
#[must_use]
pub fn conv3x3_back(conv: Conv, x: &[f32], skip: &[f32], w: &[f32], dy: &[f32], n: usize) -> [Vec<f32>; 3] {
    let [pictures, h, width, c] = conv.size;
    let both = c + conv.skip;
    let (out_h, out_w) = conv.step.result((h, width));
    let (stride, by, before) = match conv.step {
        Step::Same => (1, 1, 1),
        Step::Half => (2, 1, 1),
        Step::HalfBehind => (2, 1, 0),
        Step::Double => (1, 2, 1),
    };
    let (mut dx, mut ds, mut dw) = (vec![0.0; x.len()], vec![0.0; skip.len()], vec![0.0; w.len()]);
    for pixel in 0..pictures * out_h * out_w {
        let (column, line, p) = (pixel % out_w, pixel / out_w % out_h, pixel / out_w / out_h);
        for tap in 0..9 {
            let seen = |stride: usize, before: usize, height: usize, width: usize| {
                let y = (line * stride + tap / 3).checked_sub(before)?;
                let x = (column * stride + tap % 3).checked_sub(before)?;
                (y < height && x < width).then_some((y, x))
            };
            let of_x = seen(stride, before, by * h, by * width);
            let of_skip = seen(1, 1, out_h, out_w);
            for channel in 0..both {
                let at = if channel < c {
                    of_x.map(|(y, x)| ((p * h + y / by) * width + x / by) * c + channel)
                } else {
                    of_skip.map(|(y, x)| ((p * out_h + y) * out_w + x) * conv.skip + channel - c)
                };
                let Some(at) = at else { continue };
                for output in 0..n {
                    let slope = f64::from(dy[pixel * n + output]);
                    let weight = f64::from(w[(output * 9 + tap) * both + channel]);
                    let (value, by) = if channel < c {
                        (x[at], &mut dx)
                    } else {
                        (skip[at], &mut ds)
                    };
                    by[at] += slope * weight;
                    dw[(tap * both + channel) * n + output] += slope * f64::from(value);
                }
            }
        }
    }
    [narrow(&dx), narrow(&ds), narrow(&dw)]
}

/// Slopes of packed queries, keys and values of one sample: of `own` (t, 3 heads f) and of `other` (s, 3 heads f), from those of what
/// was found, (t, heads f).
#[must_use]
pub fn attention_back(own: &[f32], other: &[f32], dy: &[f32], heads: usize, f: usize) -> [Vec<f32>; 2] {
    let width = heads * f;
    let s = other.len() / (3 * width);
    let tokens = wide(&[other, own].concat());
    let all = tokens.len() / (3 * width);
    let mut slopes = vec![0.0; tokens.len()];
    let at = |token: usize, part: usize, head: usize| (token * 3 + part) * width + head * f;
    for query in s..all {
        for head in 0..heads {
            let q = at(query, 0, head);
            let dot = |a: usize, b: usize| -> f64 { (0..f).map(|i| tokens[a + i] * tokens[b + i]).sum() };
            let scores: Vec<f64> = (0..all).map(|key| dot(q, at(key, 1, head))).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|s| (s - most).exp()).sum();
            let of_found = wide(&dy[(query - s) * width + head * f..][..f]);
            let weighed: Vec<f64> = (0..all)
                .map(|key| (0..f).map(|i| of_found[i] * tokens[at(key, 2, head) + i]).sum())
                .collect();
            let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp() / total).collect();
            let mean: f64 = weights.iter().zip(&weighed).map(|(w, v)| w * v).sum();
            for key in 0..all {
                let of_score = weights[key] * (weighed[key] - mean);
                let (k, v) = (at(key, 1, head), at(key, 2, head));
                for i in 0..f {
                    slopes[v + i] += weights[key] * of_found[i];
                    slopes[q + i] += of_score * tokens[k + i];
                    slopes[k + i] += of_score * tokens[q + i];
                }
            }
        }
    }
    let slopes = narrow(&slopes);
    let (of_other, of_own) = slopes.split_at(other.len());
    [of_own.to_vec(), of_other.to_vec()]
}

/// Slopes of a row from those of its normalised form, `(x - mean) / sd`; and that form.
fn norm_back(x: &[f64], dn: &[f64], epsilon: f64) -> (Vec<f64>, Vec<f64>) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let rate = 1.0 / (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n + epsilon).sqrt();
    let normal: Vec<f64> = x.iter().map(|v| (v - mean) * rate).collect();
    let total = dn.iter().sum::<f64>() / n;
    let along = dn.iter().zip(&normal).map(|(d, v)| d * v).sum::<f64>() / n;
    let dx = dn
        .iter()
        .zip(&normal)
        .map(|(d, v)| rate * (d - total - v * along));
    (dx.collect(), normal)
}

/// Slopes of [`qk_norm`](super::qk_norm)'s tokens before it; values are passed on.
#[must_use]
pub fn qk_norm_back(tokens: &[f32], dy: &[f32], heads: usize, f: usize, epsilon: f64) -> Vec<f32> {
    let mut out = dy.to_vec();
    for (row, dy) in tokens
        .chunks_exact(3 * heads * f)
        .zip(out.chunks_exact_mut(3 * heads * f))
    {
        for part in 0..2 * heads {
            let by = if part < heads {
                1.0 / (f as f64).sqrt()
            } else {
                1.0
            };
            let dn: Vec<f64> = dy[part * f..][..f].iter().map(|v| f64::from(*v) * by).collect();
            let (dx, _) = norm_back(&wide(&row[part * f..][..f]), &dn, epsilon);
            dy[part * f..][..f].copy_from_slice(&narrow(&dx));
        }
    }
    out
}

/// Slopes of [`norm_modulate`](super::norm_modulate)'s x, and row by row of its shift and scale; the scale of a row is given.
#[must_use]
pub fn norm_modulate_back(
    x: &[f32],
    dy: &[f32],
    d: usize,
    epsilon: f64,
    scale_of_row: impl Fn(usize) -> Vec<f32>,
) -> [Vec<f32>; 3] {
    let (mut dx, mut scales) = (Vec::new(), Vec::new());
    for (i, (x, dy)) in x.chunks_exact(d).zip(dy.chunks_exact(d)).enumerate() {
        let scale = scale_of_row(i);
        let dn: Vec<f64> = dy
            .iter()
            .zip(&scale)
            .map(|(dy, scale)| f64::from(*dy) * (1.0 + f64::from(*scale)))
            .collect();
        let (slopes, normal) = norm_back(&wide(x), &dn, epsilon);
        dx.extend(narrow(&slopes));
        scales.extend(dy.iter().zip(normal).map(|(dy, n)| (f64::from(*dy) * n) as f32));
    }
    [dx, dy.to_vec(), scales]
}

/// Slopes of [`group_norm`](super::group_norm)'s x of one sample, its weight and its bias.
#[must_use]
pub fn group_norm_back(
    (x, dy): (&[f32], &[f32]),
    groups: usize,
    (weight, bias): (&[f32], &[f32]),
    epsilon: f64,
    activation: Activation,
) -> [Vec<f32>; 3] {
    let c = weight.len();
    let size = c / groups;
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; c], vec![0.0; c]);
    for group in 0..groups {
        let of_group: Vec<usize> = (0..x.len()).filter(|i| i % c / size == group).collect();
        let values: Vec<f64> = of_group.iter().map(|i| f64::from(x[*i])).collect();
        let (_, normal) = norm_back(&values, &values, epsilon);
        let mut dn = Vec::with_capacity(of_group.len());
        for (i, normal) in of_group.iter().zip(normal) {
            let channel = i % c;
            let (w, b) = (f64::from(weight[channel]), f64::from(bias[channel]));
            let before = f64::from(dy[*i]) * slope(activation, normal * w + b);
            db[channel] += before;
            dw[channel] += before * normal;
            dn.push(before * w);
        }
        let (slopes, _) = norm_back(&values, &dn, epsilon);
        for (i, slope) in of_group.into_iter().zip(slopes) {
            dx[i] = slope;
        }
    }
    [narrow(&dx), narrow(&dw), narrow(&db)]
}

/// Slopes of [`softmax_rows`](super::softmax_rows)'s x from those of its result y.
#[must_use]
pub fn softmax_rows_back(y: &[f32], dy: &[f32], n: usize, scale: f32) -> Vec<f32> {
    let rows = y.chunks_exact(n).zip(dy.chunks_exact(n));
    rows.flat_map(|(y, dy)| {
        let (y, dy) = (wide(y), wide(dy));
        let along: f64 = y.iter().zip(&dy).map(|(y, d)| y * d).sum();
        let dx = y.iter().zip(&dy).map(|(y, d)| f64::from(scale) * y * (d - along));
        narrow(&dx.collect::<Vec<_>>())
    })
    .collect()
}
