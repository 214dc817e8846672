//! Mattes from files.

use peel_image::{Matte, Rect};
use peel_node::{At, FilePath, Format, KeyBuilder, Note, Result};

use super::source::coverage;
use crate::files::{self, Found, Missing};

/// A file's matte: one of its channels, by name or by what it is.
pub struct MatteFile<'a> {
    pub path: &'a FilePath,
    pub channel: Option<&'a str>,
}

impl MatteFile<'_> {
    fn find(&self, at: &At<'_>, missing: Missing) -> Result<Found> {
        files::find(at, self.path, at.frame, missing)
    }

    /// Windows and metadata; the data window is that of all channels that could be meant.
    pub fn format(&self, at: &At<'_>, missing: Missing) -> Result<Format> {
        let found = self.find(at, missing)?;
        let info = peel_io::probe(found.file())?;
        let layer = self
            .channel
            .map(|channel| channel.rsplit_once('.').map_or("", |(layer, _)| layer));
        let mut format = files::format(&info, layer);
        if found.is_black() {
            format.data = Rect::EMPTY;
        }
        files::within_budget(at, &info, &format, size_of::<f32>())?;
        Ok(format)
    }

    /// Adds the file's identity to a key.
    pub fn identity(&self, at: &At<'_>, missing: Missing, key: &mut KeyBuilder) -> Result<()> {
        self.find(at, missing)?.identity(at, key)
    }

    /// The matte: coverage, whatever numbers the file holds.
    pub fn load(&self, at: &At<'_>, missing: Missing) -> Result<Matte> {
        let found = self.find(at, missing)?;
        if found.is_black() {
            return Ok(Matte::new(self.format(at, missing)?.display, Rect::EMPTY));
        }
        let mut matte = peel_io::read_channel(found.file(), self.channel, &at.world.budget())?;
        let mut odd = 0u64;
        for value in matte.values_mut() {
            odd += u64::from(value.is_nan());
            *value = coverage(*value);
        }
        if odd > 0 {
            let file = found.file().display();
            let message = format!("{file}: {odd} values of the matte are not numbers and count as 0");
            at.world.note(Note::Warning(message));
        }
        Ok(matte)
    }
}
