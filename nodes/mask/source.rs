//! Where coverage comes from.

use peel_image::colour::{ColourSpace, srgb_encode, unpremultiply};
use peel_image::math::{hypot, sin_cos_degrees};
use peel_image::recolor::luminance;
use peel_image::{Matte, Pixel, Rect, shape};
use peel_node::{Animated, At, Choice, Error, FilePath, Input, Reader, Result, Rgb, Vec2, socket};

use super::file::MatteFile;

/// Where coverage comes from.
#[derive(Choice, Clone, Debug)]
pub enum Source {
    /// A file or a sequence of files: its alpha channel where that says something, else its
    /// luminance or red channel.
    File(FilePath),
    /// One channel of a file or a sequence of files.
    Channel {
        /// The file, or a frame pattern.
        path: FilePath,
        /// The channel's full name, for instance `bear.A` or `depth.Z`.
        name: String,
    },
    /// Another matte.
    Matte(Input<socket::Matte>),
    /// A layer's alpha.
    Alpha(Input<socket::Layer>),
    /// A layer's luminance: 0 at `low`, 1 at `high`, linear between.
    Luminance {
        /// The layer.
        input: Input<socket::Layer>,
        /// Light up to here is outside.
        #[param(default = 0.0, soft = 0.0..=1.0)]
        low: Animated<f32>,
        /// Light from here on is inside; below `low`, dark is inside.
        #[param(default = 1.0, soft = 0.0..=1.0)]
        high: Animated<f32>,
    },
    /// Where a layer has a certain colour.
    Key {
        /// The layer.
        input: Input<socket::Layer>,
        /// The colour, in scene-linear light of the working space.
        colour: Animated<Rgb>,
        /// Colours as near as this are inside: the distance in red, green and blue after the sRGB curve.
        #[param(default = 0.1, soft = 0.0..=0.5, hard = 0.0..)]
        tolerance: Animated<f32>,
        /// How much farther a colour may be before it is outside.
        #[param(default = 0.1, soft = 0.0..=0.5, hard = 0.0..)]
        softness: Animated<f32>,
    },
    /// The inside of a closed line through points. What the line goes around twice in the same sense counts
    /// once; a loop in the other sense cuts a hole.
    Polygon {
        /// Corners; the last one is joined to the first.
        #[param(unit = "pixels")]
        points: Vec<Animated<Vec2>>,
    },
    /// The inside of an ellipse.
    Ellipse {
        /// Its middle.
        #[param(unit = "pixels")]
        centre: Animated<Vec2>,
        /// Half its width and half its height, before it is turned.
        #[param(unit = "pixels")]
        radius: Animated<Vec2>,
        /// How far it is turned; positive is clockwise on the screen.
        #[param(default = 0.0, unit = "degrees", soft = -180.0..=180.0)]
        rotate: Animated<f64>,
    },
}

impl Source {
    /// What is wrong across its own parameters.
    pub fn check(&self, reader: &mut Reader) {
        if let Source::Polygon { points } = self
            && points.len() < 3
        {
            let message = format!(
                "a polygon needs three points or more, this one has {}",
                points.len()
            );
            reader.error_at("from.points", message);
        }
    }

    /// The file behind it, where there is one.
    pub fn file(&self) -> Option<MatteFile<'_>> {
        match self {
            Source::File(path) => Some(MatteFile { path, channel: None }),
            Source::Channel { path, name } => Some(MatteFile {
                path,
                channel: Some(name),
            }),
            _ => None,
        }
    }

    /// The input slot behind it, where there is one.
    pub fn slot(&self) -> Option<usize> {
        match self {
            Source::Matte(input) => Some(input.slot),
            Source::Alpha(input) | Source::Luminance { input, .. } | Source::Key { input, .. } => {
                Some(input.slot)
            }
            _ => None,
        }
    }

    /// Whether it is a shape that needs a frame.
    pub fn is_drawn(&self) -> bool {
        matches!(self, Source::Polygon { .. } | Source::Ellipse { .. })
    }

    /// The smallest window around a drawn shape; empty for anything else.
    pub fn bounds(&self, frame: i32) -> Rect {
        let mut edges = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
        let mut hold = |x: f64, y: f64| {
            edges = [edges[0].min(x), edges[1].min(y), edges[2].max(x), edges[3].max(y)];
        };
        match self {
            Source::Polygon { points } => {
                for point in points {
                    let Vec2 { x, y } = point.at(frame);
                    hold(x, y);
                }
            }
            Source::Ellipse {
                centre,
                radius,
                rotate,
            } => {
                let (centre, radius) = (centre.at(frame), radius.at(frame));
                let (sin, cos) = sin_cos_degrees(rotate.at(frame));
                let across = hypot(radius.x * cos, radius.y * sin);
                let down = hypot(radius.x * sin, radius.y * cos);
                hold(centre.x - across, centre.y - down);
                hold(centre.x + across, centre.y + down);
            }
            _ => return Rect::EMPTY,
        }
        // A pixel more, for rounding. `as` saturates.
        let [x0, y0, x1, y1] = edges;
        Rect::new(
            x0.floor() as i32,
            y0.floor() as i32,
            x1.ceil() as i32,
            y1.ceil() as i32,
        )
        .grow(1)
    }

    /// Coverage inside `region`, of anything but files.
    pub fn fill(&self, at: &At<'_>, display: Rect, region: Rect) -> Result<Matte> {
        let frame = at.frame;
        match self {
            Source::File(_) | Source::Channel { .. } => Err(Error::message("a file is not made by regions")),
            Source::Matte(input) => Ok(at.matte(input, region)?.crop(region)),
            Source::Alpha(input) => {
                let layer = at.layer(input, region)?;
                Ok(Matte::from_fn(display, region, |x, y| {
                    coverage(layer.get(x, y)[3])
                }))
            }
            Source::Luminance { input, low, high } => {
                let layer = at.layer(input, region)?;
                let weights = at.world.working_space().luminance_weights();
                let (low, high) = (low.at(frame), high.at(frame));
                let width = high - low;
                let ramp = |light: f32| {
                    if width == 0.0 {
                        f32::from(light >= high)
                    } else {
                        coverage((light - low) / width)
                    }
                };
                Ok(Matte::from_fn(display, region, |x, y| {
                    let [r, g, b, _] = layer.get(x, y);
                    ramp(luminance([r, g, b], weights))
                }))
            }
            Source::Key {
                input,
                colour,
                tolerance,
                softness,
            } => {
                let layer = at.layer(input, region)?;
                let working = at.world.working_space();
                let key = encoded(colour.at(frame).into(), working);
                let (inner, soft) = (tolerance.at(frame), softness.at(frame));
                Ok(Matte::from_fn(display, region, |x, y| {
                    let pixel = layer.get(x, y);
                    coverage(nearness(pixel, key, inner, soft, working) * pixel[3])
                }))
            }
            Source::Polygon { points } => {
                let points: Vec<(f64, f64)> = points.iter().map(|point| point.at(frame).into()).collect();
                Ok(shape::polygon(&points, display).crop(region))
            }
            Source::Ellipse {
                centre,
                radius,
                rotate,
            } => {
                let (centre, radius) = (centre.at(frame).into(), radius.at(frame).into());
                Ok(shape::ellipse(centre, radius, rotate.at(frame), display).crop(region))
            }
        }
    }
}

/// What a number counts for as coverage: clamped to 0..1, and nothing where it is not a number.
pub fn coverage(value: f32) -> f32 {
    if value > 0.0 { value.min(1.0) } else { 0.0 }
}

/// A colour as it looks on a screen, where distances are nearer to what the eye calls near than in light.
fn encoded(rgb: [f32; 3], working: ColourSpace) -> [f32; 3] {
    working.to(ColourSpace::LinearRec709).apply(rgb).map(srgb_encode)
}

/// 1 where a pixel's colour is within `inner` of the key, 0 beyond `inner + soft`, smooth between.
fn nearness(pixel: Pixel, key: [f32; 3], inner: f32, soft: f32, working: ColourSpace) -> f32 {
    let [r, g, b, _] = unpremultiply(pixel);
    let colour = encoded([r, g, b], working);
    let distance = colour
        .iter()
        .zip(key)
        .map(|(c, k)| (c - k) * (c - k))
        .sum::<f32>()
        .sqrt();
    if distance <= inner {
        return 1.0;
    }
    let t = (distance - inner) / soft;
    if t < 1.0 {
        1.0 - t * t * (3.0 - 2.0 * t)
    } else {
        0.0
    }
}
