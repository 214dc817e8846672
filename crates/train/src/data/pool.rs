//! The packed pictures that `scripts/fetch_sources.sh` makes: `pool.bin` and `index.json`.

use std::path::Path;

use serde::Deserialize;

use super::pairs::Pair;
use super::raster::Raster;
use super::rng::Rng;
use crate::{Error, Result};

/// Which side of the split by source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// To learn from.
    Train,
    /// Never learned from.
    HeldOut,
}

#[derive(Debug, Deserialize)]
struct Entry {
    kind: Kind,
    group: String,
    name: String,
    held_out: bool,
    width: usize,
    height: usize,
    offset: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Background,
    Object,
    Triplet,
}

/// An 8-bit picture with its halved copies, so that any scale is sampled near its own resolution.
#[derive(Debug)]
pub struct Photo {
    /// Name of the source.
    pub name: String,
    /// Largest first.
    levels: Vec<Bytes3>,
}

#[derive(Debug)]
struct Bytes3 {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 3]>,
}

impl Bytes3 {
    fn halved(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let at = |x: usize, y: usize, c: usize| u16::from(self.pixels[y * self.width + x][c]);
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                pixels.push(std::array::from_fn(|c| {
                    let sum = at(2 * x, 2 * y, c)
                        + at(2 * x + 1, 2 * y, c)
                        + at(2 * x, 2 * y + 1, c)
                        + at(2 * x + 1, 2 * y + 1, c);
                    ((sum + 2) / 4) as u8
                }));
            }
        }
        Self {
            width,
            height,
            pixels,
        }
    }
}

impl Photo {
    fn new(name: String, width: usize, height: usize, bytes: &[u8]) -> Self {
        let pixels = bytes.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect();
        let mut levels = vec![Bytes3 {
            width,
            height,
            pixels,
        }];
        while let Some(last) = levels.last()
            && last.width.min(last.height) >= 48
        {
            levels.push(last.halved());
        }
        Self { name, levels }
    }

    /// Width and height of the largest copy.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.levels[0].width, self.levels[0].height)
    }

    /// The square of side `side` at `(x, y)` of the largest copy, as a picture of `size` pixels, 0..1.
    #[must_use]
    pub fn square(&self, x: usize, y: usize, side: usize, size: usize) -> Raster<3> {
        let mut level = 0;
        while level + 1 < self.levels.len() && (side >> (level + 1)) >= size {
            level += 1;
        }
        let from = &self.levels[level];
        let (x, y, side) = (x >> level, y >> level, (side >> level).max(1));
        Raster::from_fn(side, side, |i, j| {
            let (i, j) = ((x + i).min(from.width - 1), (y + j).min(from.height - 1));
            from.pixels[j * from.width + i].map(|v| f32::from(v) / 255.0)
        })
        .resized(size, size)
    }

    /// Bilinear value of the endlessly mirrored picture at `(u, v)` in pixels of the largest copy, from the copy whose
    /// pixels are about `footprint` wide.
    #[must_use]
    pub fn mirrored(&self, u: f32, v: f32, footprint: f32) -> [f32; 3] {
        let level = (footprint.max(1.0).log2().round() as usize).min(self.levels.len() - 1);
        let from = &self.levels[level];
        let scale = 1.0 / (1u32 << level) as f32;
        let fold = |x: f32, n: usize| {
            let n = n as f32;
            let t = x.rem_euclid(2.0 * n);
            (if t < n { t } else { 2.0 * n - t }).clamp(0.0, n - 1.001)
        };
        let (x, y) = (fold(u * scale, from.width), fold(v * scale, from.height));
        let (ix, iy) = (x as usize, y as usize);
        let (tx, ty) = (x - ix as f32, y - iy as f32);
        let next = |i: usize, n: usize| (i + 1).min(n - 1);
        let rows = [iy * from.width, next(iy, from.height) * from.width];
        let columns = [ix, next(ix, from.width)];
        std::array::from_fn(|c| {
            let at = |r: usize, k: usize| f32::from(from.pixels[rows[r] + columns[k]][c]);
            let top = at(0, 0) * (1.0 - tx) + at(0, 1) * tx;
            let bottom = at(1, 0) * (1.0 - tx) + at(1, 1) * tx;
            (top * (1.0 - ty) + bottom * ty) / 255.0
        })
    }
}

/// A cut-out object: premultiplied RGBA.
#[derive(Debug)]
pub struct Cutout {
    /// Name of the source.
    pub name: String,
    /// Premultiplied, 0..1, cropped to its alpha.
    pub picture: Raster<4>,
}

/// A rendered triplet: plate, background, mask of the visible object, layer.
#[derive(Debug)]
pub struct Triplet {
    /// Name of the source.
    pub name: String,
    /// Everything visible.
    pub plate: Raster<3>,
    /// The object and its effects removed.
    pub background: Raster<3>,
    /// The visible object.
    pub mask: Raster<1>,
    /// Object with shadow and reflection, premultiplied.
    pub layer: Raster<4>,
}

/// A picture of a pool, decoded.
enum Picture {
    Photo(Photo),
    Cutout(Cutout),
    Triplet(Triplet),
}

/// One split of the pool, grouped so that each group is drawn with its own weight.
#[derive(Debug, Default)]
pub struct Pool {
    /// Photographs and painted scenes, ground and wall textures, abstract pictures.
    pub photos: Groups<Photo>,
    /// Stamps (mostly photographs), furniture (renders), clip art, emoji.
    pub cutouts: Groups<Cutout>,
    /// Rendered triplets.
    pub triplets: Vec<Triplet>,
    /// Real pairs; not of the pool's file, but of a folder that [`super::pairs::load`] reads.
    pub pairs: Vec<Pair>,
    /// Pieces of photographs have no fewer pixels than the picture that they become, where the photograph has as many: none is enlarged.
    pub detailed: bool,
    /// Share of the pieces of photographs that come changed, as for training they may: turned, in another tone, two in one.
    pub varied: f32,
    /// Share of the samples whose mask is one that a first call has drawn tighter ([`super::mask::tightened`]).
    pub tightened: f32,
}

/// Named groups of one kind.
#[derive(Debug)]
pub struct Groups<T>(Vec<(String, Vec<T>)>);

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Groups<T> {
    fn push(&mut self, group: &str, item: T) {
        match self.0.iter_mut().find(|(name, _)| name == group) {
            Some((_, items)) => items.push(item),
            None => self.0.push((group.to_owned(), vec![item])),
        }
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|(_, items)| items.len()).sum()
    }

    /// True where there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A random item of a group drawn by `weights`; groups without a weight count 1.
    #[must_use]
    pub fn draw(&self, rng: &mut Rng, weights: &[(&str, f32)]) -> &T {
        let weight = |name: &str| {
            weights
                .iter()
                .find(|(group, _)| *group == name)
                .map_or(1.0, |(_, weight)| *weight)
        };
        let total: f32 = self.0.iter().map(|(name, _)| weight(name)).sum();
        let mut at = rng.unit() * total;
        let mut chosen = &self.0[0].1;
        for (name, items) in &self.0 {
            let weight = weight(name);
            if weight > 0.0 {
                chosen = items;
                if at < weight {
                    break;
                }
            }
            at -= weight;
        }
        &chosen[rng.below(chosen.len())]
    }
}

fn raster<const C: usize>(width: usize, height: usize, bytes: &[u8]) -> Raster<C> {
    let pixels = bytes
        .chunks_exact(C)
        .map(|p| std::array::from_fn(|c| f32::from(p[c]) / 255.0))
        .collect();
    Raster {
        width,
        height,
        pixels,
    }
}

impl Pool {
    /// Reads one split of the pool in `dir`.
    ///
    /// # Errors
    /// If a file is missing, does not hold what the index says, or the split has no background or no object.
    pub fn load(dir: &Path, split: Split) -> Result<Self> {
        use std::os::unix::fs::FileExt;

        let index = dir.join("index.json");
        let text = std::fs::read_to_string(&index).map_err(Error::file(&index))?;
        let entries: Vec<Entry> = serde_json::from_str(&text).map_err(|e| Error::content(&index, e))?;
        let path = dir.join("pool.bin");
        let file = std::fs::File::open(&path).map_err(Error::file(&path))?;
        let length = file.metadata().map_err(Error::file(&path))?.len();

        let mut pool = Self::default();
        let mut bytes = Vec::new();
        for entry in entries
            .into_iter()
            .filter(|e| e.held_out == (split == Split::HeldOut))
        {
            let channels = match entry.kind {
                Kind::Background => 3,
                Kind::Object => 4,
                Kind::Triplet => 3 + 3 + 1 + 4,
            };
            let size = entry.width.saturating_mul(entry.height).saturating_mul(channels);
            if size == 0 || (entry.offset as u64).saturating_add(size as u64) > length {
                return Err(Error::content(
                    &index,
                    format!("{} lies outside pool.bin", entry.name),
                ));
            }
            bytes.resize(size, 0);
            file.read_exact_at(&mut bytes, entry.offset as u64)
                .map_err(Error::file(&path))?;
            let group = entry.group.clone();
            match entry.decode(&bytes) {
                Picture::Photo(photo) => pool.photos.push(&group, photo),
                Picture::Cutout(cutout) => pool.cutouts.push(&group, cutout),
                Picture::Triplet(triplet) => pool.triplets.push(triplet),
            }
        }
        if pool.photos.is_empty() || pool.cutouts.is_empty() {
            return Err(Error::content(
                &index,
                format!("no backgrounds or no objects in the {split:?} split"),
            ));
        }
        Ok(pool)
    }
}

impl Entry {
    fn decode(self, bytes: &[u8]) -> Picture {
        let (w, h, name) = (self.width, self.height, self.name);
        let plane = w * h;
        match self.kind {
            Kind::Background => Picture::Photo(Photo::new(name, w, h, bytes)),
            Kind::Object => Picture::Cutout(Cutout {
                name,
                picture: raster(w, h, bytes),
            }),
            Kind::Triplet => Picture::Triplet(Triplet {
                name,
                plate: raster(w, h, &bytes[..3 * plane]),
                background: raster(w, h, &bytes[3 * plane..6 * plane]),
                mask: raster(w, h, &bytes[6 * plane..7 * plane]),
                layer: raster(w, h, &bytes[7 * plane..]),
            }),
        }
    }
}
