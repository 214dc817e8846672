//! Files and sequences of files, as Read and Mask see them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use peel_image::Rect;
use peel_io::frames::nearest_earlier;
use peel_io::{FramePattern, Info, PartInfo};
use peel_node::{At, Choice, Error, FilePath, Format, KeyBuilder, Reader, Result};

/// What to do where a sequence lacks a frame.
#[derive(Choice, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// That frame fails; the others go on.
    Error,
    /// The nearest earlier frame stands in.
    Hold,
    /// Nothing stands in, in the size of a frame that is there.
    Black,
}

/// The file behind a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// This file, or one that stands in for it.
    File(PathBuf),
    /// No file, and nothing in the size of this one.
    Black(PathBuf),
}

impl Found {
    /// The file that gives the pixels, or at least the size.
    pub fn file(&self) -> &Path {
        match self {
            Found::File(path) | Found::Black(path) => path,
        }
    }

    /// Whether there are no pixels to read.
    pub fn is_black(&self) -> bool {
        matches!(self, Found::Black(_))
    }

    /// Adds what was found, and whether it is still the same, to a key.
    pub fn identity(&self, at: &At<'_>, key: &mut KeyBuilder) -> Result<()> {
        let identity = at.world.identity(self.file())?;
        key.int(self.is_black().into())
            .str(&identity.path.to_string_lossy());
        key.int(identity.size.into()).int(identity.modified);
        Ok(())
    }
}

/// Reports a path that cannot be a file's or a sequence's.
pub fn check(path: &FilePath, param: &str, reader: &mut Reader) {
    if let Err(error) = path.as_str().parse::<FramePattern>() {
        reader.error_at(param, error.to_string());
    }
}

/// The file of a frame, or what stands in for it.
pub fn find(at: &At<'_>, path: &FilePath, frame: i32, missing: Missing) -> Result<Found> {
    let pattern: FramePattern = path.as_str().parse()?;
    let resolve = |frame: i32| at.world.resolve(&pattern.path(frame).to_string_lossy());
    let wanted = resolve(frame);
    // Asked through the world, so that a file that appears later is noticed.
    let is_there = || at.world.identity(&wanted).is_ok();
    if missing == Missing::Error || !pattern.has_frame() || is_there() {
        return Ok(Found::File(wanted));
    }
    let existing = pattern.existing(&at.world.resolve(""))?;
    let (stand_in, found): (_, fn(PathBuf) -> Found) = match missing {
        Missing::Hold => (nearest_earlier(&existing, frame), Found::File),
        _ => (
            nearest_earlier(&existing, frame).or(existing.first().copied()),
            Found::Black,
        ),
    };
    match stand_in {
        Some(frame) => Ok(found(resolve(frame))),
        None => {
            let what = if missing == Missing::Hold {
                "earlier frame to hold"
            } else {
                "frame to take the size from"
            };
            Err(Error::message(format!(
                "{}: no such file, and no {what}",
                wanted.display()
            )))
        }
    }
}

/// Checks what a file claims to hold against what may be used, before anything else believes it. `bytes` is the
/// size of a pixel in memory.
pub fn within_budget(at: &At<'_>, info: &Info, format: &Format, bytes: usize) -> Result<()> {
    let needed = format.data.area().saturating_mul(bytes as u64);
    let what = || format!("a picture of {} pixels", format.data);
    Ok(at.world.budget().check(&info.path, what, needed)?)
}

/// The format of a file's layer before its pixels are read: the data window around all parts in which the layer
/// can be, and the attributes that do not describe the storage of pixels. `None` stands for the layer that
/// is read where none is named.
pub fn format(info: &Info, layer: Option<&str>) -> Format {
    let layers = info.layers();
    let name = match layer {
        Some(name) => name,
        None if layers.iter().any(String::is_empty) => "",
        None => layers.first().map_or("", String::as_str),
    };
    let holds = |part: &&PartInfo| {
        part.channels
            .iter()
            .any(|channel| channel.name.rsplit_once('.').map_or("", |(layer, _)| layer) == name)
    };
    let around =
        |parts: &mut dyn Iterator<Item = &PartInfo>| parts.fold(Rect::EMPTY, |all, p| all.union(p.data));
    let mut data = around(&mut info.parts.iter().filter(holds));
    if data.is_empty() {
        // A layer that is named after its part.
        data = around(&mut info.parts.iter());
    }
    let mut attributes = BTreeMap::new();
    for attribute in info.parts.iter().flat_map(|part| &part.attributes) {
        // The primaries are those of the working space from here on.
        if attribute.name != "chromaticities" {
            attributes
                .entry(attribute.name.clone())
                .or_insert_with(|| attribute.clone());
        }
    }
    Format {
        pixel_aspect: info.pixel_aspect,
        attributes: Arc::new(attributes),
        ..Format::new(info.display, data)
    }
}
