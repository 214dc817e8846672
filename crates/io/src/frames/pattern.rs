//! File names with a place for the frame number.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Error, Result};

/// A path with at most one place for a frame number: `####` (at least so many digits) or `%04d`. Without such a
/// place it names one file for all frames. Digits that stand there as digits, as in `_v012`, are part of the name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FramePattern {
    /// Everything before the number, folders too.
    before: String,
    /// Least number of digits; `None` where there is no number.
    digits: Option<usize>,
    /// Everything after the number.
    after: String,
    /// As it was written.
    text: String,
}

impl FromStr for FramePattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<FramePattern> {
        let failed = |reason: &str| Error::Pattern {
            text: text.to_owned(),
            reason: reason.to_owned(),
        };
        if text.is_empty() {
            return Err(failed("it is empty"));
        }
        let places = places(text);
        let (before, digits, after) = match places.as_slice() {
            [] => (text, None, ""),
            [(range, digits)] => (&text[..range.start], Some(*digits), &text[range.end..]),
            _ => return Err(failed("it has more than one place for the frame number")),
        };
        if after.contains(['/', std::path::MAIN_SEPARATOR]) {
            return Err(failed(
                "the frame number belongs into the file's name, not a folder's",
            ));
        }
        if digits.is_some_and(|digits| digits > 32) {
            return Err(failed("a frame number has at most 32 digits"));
        }
        Ok(FramePattern {
            before: before.into(),
            digits,
            after: after.into(),
            text: text.into(),
        })
    }
}

/// Runs of `#`, and `%d`, `%4d`, `%04d`: where they are and how many digits they ask for.
fn places(text: &str) -> Vec<(std::ops::Range<usize>, usize)> {
    let bytes = text.as_bytes();
    let run = |from: usize, wanted: fn(&u8) -> bool| bytes[from..].iter().take_while(|&b| wanted(b)).count();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = match bytes[at] {
            b'#' => {
                let hashes = run(at, |&b| b == b'#');
                found.push((at..at + hashes, hashes));
                hashes
            }
            b'%' => {
                let digits = run(at + 1, u8::is_ascii_digit);
                let end = at + 1 + digits;
                if bytes.get(end) == Some(&b'd') {
                    let count = text[at + 1..end]
                        .parse()
                        .unwrap_or(if digits == 0 { 1 } else { usize::MAX });
                    found.push((at..end + 1, count));
                    digits + 2
                } else {
                    1
                }
            }
            _ => 1,
        };
        at += length;
    }
    found
}

impl FramePattern {
    /// Whether there is a place for the frame number.
    pub fn has_frame(&self) -> bool {
        self.digits.is_some()
    }

    /// The path of a frame. Without a place for the number: the same path for every frame.
    pub fn path(&self, frame: i32) -> PathBuf {
        let Some(digits) = self.digits else {
            return PathBuf::from(&self.text);
        };
        let sign = if frame < 0 { "-" } else { "" };
        let number = frame.unsigned_abs();
        PathBuf::from(format!("{}{sign}{number:0digits$}{}", self.before, self.after))
    }

    /// The frame whose path this is.
    pub fn frame_of(&self, path: &Path) -> Option<i32> {
        let middle = path
            .to_str()?
            .strip_prefix(&self.before)?
            .strip_suffix(&self.after)?;
        let frame = number(middle)?;
        // `frame.7.exr` is not of `frame.####.exr`.
        (self.path(frame) == path).then_some(frame)
    }

    /// The frames that exist on the disk, relative to `folder` where the pattern is relative; in order. Empty
    /// where there is no place for the number, or no such folder.
    pub fn existing(&self, folder: &Path) -> Result<Vec<i32>> {
        if self.digits.is_none() {
            return Ok(Vec::new());
        }
        let whole = folder.join(&self.before);
        // A pattern may begin with the number: then `before` ends in its folder.
        let (parent, start) = match self.before.rsplit_once(['/', std::path::MAIN_SEPARATOR]) {
            Some((_, start)) => (
                whole.parent().filter(|_| !start.is_empty()).unwrap_or(&whole),
                start,
            ),
            None => (folder, self.before.as_str()),
        };
        let parent = if parent == Path::new("") {
            Path::new(".")
        } else {
            parent
        };
        let entries = match std::fs::read_dir(parent) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::reading(parent, error)),
        };
        let mut frames = BTreeSet::new();
        for entry in entries {
            let entry = entry.map_err(|error| Error::reading(parent, error))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let Some(middle) = name
                .strip_prefix(start)
                .and_then(|rest| rest.strip_suffix(&self.after))
            else {
                continue;
            };
            if let Some(frame) = number(middle)
                && self.path(frame).file_name().and_then(|name| name.to_str()) == Some(name)
            {
                frames.insert(frame);
            }
        }
        Ok(frames.into_iter().collect())
    }
}

/// A frame number as it stands in a file's name.
fn number(text: &str) -> Option<i32> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let sound = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if sound { text.parse().ok() } else { None }
}

impl fmt::Display for FramePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The last of `existing` (in order) that is not after `frame`: what holds where `frame` is missing.
pub fn nearest_earlier(existing: &[i32], frame: i32) -> Option<i32> {
    existing.iter().rev().copied().find(|&earlier| earlier <= frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> FramePattern {
        text.parse().unwrap()
    }

    #[test]
    fn formats_both_notations() {
        assert_eq!(pattern("a/plate.####.exr").path(7), Path::new("a/plate.0007.exr"));
        assert_eq!(pattern("plate.%04d.exr").path(-7), Path::new("plate.-0007.exr"));
        assert_eq!(pattern("plate.%d.exr").path(12), Path::new("plate.12.exr"));
        assert_eq!(pattern("plate.##.exr").path(1001), Path::new("plate.1001.exr"));
        assert_eq!(pattern("plate_v012.exr").path(5), Path::new("plate_v012.exr"));
        assert_eq!(pattern("100%.exr").path(5), Path::new("100%.exr"));
    }

    #[test]
    fn a_version_is_data() {
        let plate = pattern("shot_v012.####.exr");
        assert_eq!(plate.frame_of(Path::new("shot_v012.1003.exr")), Some(1003));
        assert_eq!(plate.frame_of(Path::new("shot_v013.1003.exr")), None);
        assert!(!pattern("shot_v012.exr").has_frame());
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            ("", "empty"),
            ("a.##.##.exr", "more than one"),
            ("f.####/a.exr", "folder"),
        ] {
            let error = text.parse::<FramePattern>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!("a.%99999999999999999999d.exr".parse::<FramePattern>().is_err());
    }

    #[test]
    fn lists_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        for name in [
            "p.0003.exr",
            "p.0001.exr",
            "p.12345.exr",
            "p.-0002.exr",
            "p.7.exr",
            "p.0003.png",
            "q.0004.exr",
        ] {
            std::fs::write(folder.path().join("in").join(name), "").unwrap();
        }
        let there = pattern("in/p.####.exr").existing(folder.path()).unwrap();
        assert_eq!(there, [-2, 1, 3, 12345]);
        let absolute = pattern(folder.path().join("in/p.####.exr").to_str().unwrap());
        assert_eq!(absolute.existing(Path::new("elsewhere")).unwrap(), there);
        assert!(
            pattern("none/p.####.exr")
                .existing(folder.path())
                .unwrap()
                .is_empty()
        );
        std::fs::write(folder.path().join("in/0042.exr"), "").unwrap();
        assert_eq!(pattern("in/####.exr").existing(folder.path()).unwrap(), [42]);
        assert_eq!(
            pattern("####.exr").existing(&folder.path().join("in")).unwrap(),
            [42]
        );
        assert_eq!(nearest_earlier(&there, 2), Some(1));
        assert_eq!(nearest_earlier(&there, 3), Some(3));
        assert_eq!(nearest_earlier(&there, -3), None);
    }
}
