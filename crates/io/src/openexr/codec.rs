//! Blocks in the compressions that the `exr` crate takes apart: RLE, PIZ, PXR24, B44 and DWA.
//!
//! What it is given is checked first, since it trusts some sizes in a file so far that a damaged one can ask for
//! hundreds of gigabytes and abort the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::exr::meta::MetaData;
use ::exr::meta::attribute::IntegerBounds;
use ::exr::meta::header::Header as ExrHeader;
use ::exr::prelude::Vec2;

use super::grid::{Grid, Place};
use super::header::{self, Header};
use crate::info::SampleType;
use crate::{Error, Result};

/// What the crate makes of a file's header. It must agree with [`Header`] in all that is used here.
pub(super) struct Understood(Vec<ExrHeader>);

impl Understood {
    pub fn read(path: &Path, header: &Header) -> Result<Understood> {
        let failed = |error| of_codec(path, error);
        let (_, input) = header::open(path)?;
        let theirs = guarded(path, || {
            let meta = MetaData::read_from_buffered(input, true).map_err(failed)?;
            MetaData::validate(&meta.headers, false).map_err(failed)?;
            Ok(meta.headers)
        })?;
        let differ = || Error::damaged(path, "its header can be read in two ways");
        if theirs.len() != header.parts.len() {
            return Err(differ());
        }
        for (theirs, ours) in theirs.iter().zip(&header.parts) {
            let grid = Grid::of(ours);
            let block = theirs.max_block_pixel_size();
            let same_names = theirs.channels.list.len() == ours.channels.len()
                && theirs
                    .channels
                    .list
                    .iter()
                    .zip(&ours.channels)
                    .all(|(theirs, ours)| {
                        String::from_utf8_lossy(theirs.name.as_slice()) == ours.name
                            && theirs.sample_type.bytes_per_sample() as u64 == ours.sample.bytes()
                    });
            if !same_names
                || (theirs.layer_size.0, theirs.layer_size.1) != (grid.width, grid.height)
                || (block.0, block.1) != (grid.block_width, grid.block_height)
            {
                return Err(differ());
            }
        }
        Ok(Understood(theirs.into_iter().collect()))
    }

    /// Blocks of a part, smaller levels included: as many as its table of places has entries.
    pub fn entries(&self, part: usize) -> u64 {
        self.0.get(part).map_or(0, |part| part.chunk_count as u64)
    }

    /// The codec of a part.
    pub fn codec(mut self, part: usize) -> Option<Codec> {
        (part < self.0.len()).then(|| Codec(self.0.swap_remove(part)))
    }
}

/// Takes the blocks of a part apart.
pub(super) struct Codec(ExrHeader);

impl Codec {
    /// The samples of a block of `whole` bytes, row by row, in each row channel by channel, little-endian. `stored` must be
    /// smaller than that: one of the same size is stored as it is.
    pub fn decompress(
        &self,
        path: &Path,
        stored: Vec<u8>,
        place: Place,
        channels: &[(usize, SampleType)],
    ) -> Result<Vec<u8>> {
        let pixel = self.0.channels.bytes_per_pixel;
        let whole = place.width * place.height * pixel;
        self.check_claims(path, &stored, whole)?;
        let bounds = IntegerBounds {
            position: Vec2(place.x as i32, place.y as i32),
            size: Vec2(place.width, place.height),
        };
        let mut samples = guarded(path, || {
            self.0
                .compression
                .decompress_image_section_from_le(&self.0, stored, bounds, false)
                .map_err(|error| of_codec(path, error))
        })?;
        if samples.len() != whole {
            return Err(Error::damaged(
                path,
                "a block of its pixels has another size than it should",
            ));
        }
        if cfg!(target_endian = "big") {
            to_native_endian(&mut samples, place.width, channels.iter().map(|&(_, kind)| kind));
        }
        Ok(samples)
    }

    /// The sizes that a DWA block claims for its sections, which the crate would allocate without a look.
    fn check_claims(&self, path: &Path, stored: &[u8], whole: usize) -> Result<()> {
        use ::exr::prelude::Compression::{DWAA, DWAB};
        if !matches!(self.0.compression, DWAA(_) | DWAB(_)) {
            return Ok(());
        }
        // Eleven 64-bit counters: version; sizes of the sections; counts of coefficients (see OpenEXR's
        // internal_dwa_compressor.h). None can sensibly pass a few times the block's own size.
        let (counters, _) = stored.as_chunks::<8>();
        let most = 4 * whole as u64 + (1 << 16);
        let claims = counters
            .iter()
            .take(10)
            .skip(1)
            .map(|&counter| u64::from_le_bytes(counter));
        if claims.max().unwrap_or(0) > most {
            return Err(Error::damaged(
                path,
                "a DWA block claims more data than its pixels can have",
            ));
        }
        Ok(())
    }
}

/// The crate gives and takes numbers as this machine has them: turns every sample of some rows round, for machines that
/// are not little-endian.
pub(super) fn to_native_endian(
    samples: &mut [u8],
    width: usize,
    channels: impl Iterator<Item = SampleType> + Clone,
) {
    let mut rest = samples;
    while !rest.is_empty() {
        for kind in channels.clone() {
            let size = kind.bytes() as usize;
            let (row, after) = rest.split_at_mut((width * size).min(rest.len()));
            row.chunks_mut(size).for_each(<[u8]>::reverse);
            rest = after;
        }
    }
}

/// The last line of defence: a panic in the crate is damage in the file.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::damaged(path, "its compressed pixels make no sense")))
}

/// The crate's error in our words.
fn of_codec(path: &Path, error: ::exr::error::Error) -> Error {
    match error {
        ::exr::error::Error::Io(source) => Error::reading(path, source),
        ::exr::error::Error::NotSupported(what) => Error::Unsupported {
            path: path.to_owned(),
            part: None,
            feature: format!("something in it ({what}) is"),
            advice: "write it with ZIP or PIZ compression".into(),
        },
        other => Error::damaged(path, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_turned_one_by_one() {
        let channels = [SampleType::Half, SampleType::Float];
        let mut samples = vec![1, 2, 3, 4, 10, 11, 12, 13, 20, 21, 22, 23];
        samples.extend_from_within(..);
        to_native_endian(&mut samples, 2, channels.into_iter());
        let expected = [2, 1, 4, 3, 13, 12, 11, 10, 23, 22, 21, 20];
        assert_eq!(samples, [expected, expected].concat());
    }
}
