//! Twins of the plate's kernels. The formulas are those of the plate's solver, where their reasons are.

use half::f16;

use crate::ops::Light;

const SLOPE_AT_WHITE: f64 = 1.055 / 2.4;
const ROLL: f64 = 0.019_929;

/// Linear to encoded: sRGB up to 1, logarithmic above, linear below 0.
#[must_use]
pub fn encode(linear: f32, light: Light) -> f32 {
    let (x, white) = (
        f64::from(linear) * f64::from(light.exposure),
        f64::from(light.white),
    );
    let y = if x > 1.0 {
        white + ROLL * (white * SLOPE_AT_WHITE / ROLL * (x - 1.0)).ln_1p()
    } else if x <= 0.003_130_8 {
        white * 12.92 * x
    } else {
        white * (1.055 * x.powf(1.0 / 2.4) - 0.055)
    };
    y as f32
}

/// Encoded to linear.
#[must_use]
pub fn decode(encoded: f32, light: Light) -> f32 {
    let (y, white) = (f64::from(encoded), f64::from(light.white));
    let s = y / white;
    let x = if s <= 0.003_130_8 * 12.92 {
        s / 12.92
    } else if s <= 1.0 {
        ((s + 0.055) / 1.055).powf(2.4)
    } else {
        1.0 + ROLL / (white * SLOPE_AT_WHITE) * ((y - white) / ROLL).exp_m1()
    };
    (x / f64::from(light.exposure)) as f32
}

/// The background under an effect, encoded.
#[must_use]
pub fn unshadow(plate: f32, transmittance: f32, own: f32, gate: f32, most: f32, light: Light) -> f32 {
    if gate <= 0.0 {
        return plate;
    }
    let through = 1.0 - (1.0 - transmittance).min(most) * gate;
    encode((decode(plate, light) - gate * own).max(0.0) / through, light)
}

/// `top + (1 - top alpha) bottom`, each operation rounded.
#[must_use]
pub fn over(top: [f32; 4], bottom: [f32; 4]) -> [f32; 4] {
    let rest = 1.0 - top[3];
    std::array::from_fn(|c| top[c] + rest * bottom[c])
}

/// Background and foreground in halves such that over of the two rounds to the plate's half, however it is evaluated: the first
/// alpha from the given one on, and the first of three foregrounds, whose sum is safely inside the plate's rounding interval.
#[must_use]
pub fn recompose(plate: [f32; 4], clean: [f32; 3], alpha: f32) -> ([f32; 4], [f32; 4]) {
    let untouched = (plate, [0.0; 4]);
    let target = plate.map(round);
    let opacity = target[3];
    let mut a = if alpha.is_nan() {
        0.0
    } else {
        round(alpha.clamp(0.0, 1.0) * opacity.clamp(0.0, 1.0))
    };
    let finite = target.iter().chain(&clean).all(|v| v.is_finite());
    if !finite || a.is_nan() || a <= 0.0 {
        return untouched;
    }
    let rest = (1.0 - a).max(f32::MIN_POSITIVE);
    let (mut cover, mut share) = (1.0, 1.0);
    if opacity != 1.0 {
        cover = round((opacity - a).max(0.0) / rest).min(1.0);
        share = cover / opacity;
    }
    let mut below = clean.map(|v| round((v * share).clamp(-65504.0, 65504.0)));
    if opacity != 1.0 {
        for (x, t) in below.iter_mut().zip(&target) {
            let most = t / rest * (1.0 - 1.0 / 2048.0);
            *x = round(x.clamp(most.min(0.0), most.max(0.0)));
        }
    }
    let mut q = 1.0 - a;
    for (x, t) in below.iter().zip(&target) {
        let same_sign = *x > 0.0 && *t >= 0.0 || *x < 0.0 && *t <= 0.0;
        if same_sign && (q * x).abs() > t.abs() {
            q = t / x;
        }
    }
    a = round_up(1.0 - q).min(1.0);
    let mut step = unit(a).max(1.0 / 8192.0);
    loop {
        let q = 1.0 - a;
        let colours: Option<Vec<f32>> = (0..3).map(|c| colour(target[c], q * below[c])).collect();
        if let Some(colours) = colours
            && safe(a, q * cover, target[3])
        {
            let foreground = [colours[0], colours[1], colours[2], a];
            return ([below[0], below[1], below[2], cover], foreground);
        }
        if a >= 1.0 {
            return untouched;
        }
        a = round_up((a + step).min(1.0));
        step *= 1.5;
    }
}

fn round(v: f32) -> f32 {
    f16::from_f32(v).to_f32()
}

/// Distance from a half to the next larger one of its binade.
fn unit(v: f32) -> f32 {
    let magnitude = v.abs().max(2f32.powi(-14));
    f32::from_bits(magnitude.to_bits() & 0x7f80_0000) / 1024.0
}

fn round_up(v: f32) -> f32 {
    let nearest = round(v);
    if nearest >= v {
        nearest
    } else {
        round(nearest + unit(nearest))
    }
}

fn safe(p: f32, rest: f32, target: f32) -> bool {
    let bound = (p.abs() + rest.abs()) / 4_194_304.0 + f32::MIN_POSITIVE;
    let (value, step, magnitude) = (p + rest, unit(target), target.abs());
    let power = magnitude > 2f32.powi(-14) && magnitude.to_bits() & 0x007f_ffff == 0;
    let below = if power { step / 4.0 } else { step / 2.0 };
    let (low, high) = if target >= 0.0 {
        (magnitude - below, magnitude + step / 2.0)
    } else {
        (-magnitude - step / 2.0, below - magnitude)
    };
    p.is_finite() && value - bound > low && value + bound < high
}

fn colour(target: f32, rest: f32) -> Option<f32> {
    let wanted = target - rest;
    let nearest = round(wanted);
    let towards = unit(nearest).copysign(wanted - nearest);
    [nearest, nearest + towards, nearest - towards]
        .into_iter()
        .map(|p| {
            let kept = if target >= 0.0 && rest <= target {
                p.max(0.0)
            } else {
                p
            };
            round(kept)
        })
        .find(|p| safe(*p, rest, target))
}
