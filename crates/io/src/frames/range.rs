//! Ranges of frames as farms and artists write them.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// Most frames in one range: a day at 120 frames a second. A slip of the keyboard must not fill the memory.
const MOST_FRAMES: i64 = 10_368_000;

/// Frames in the order in which they were asked for, each once.
///
/// Written `1001-1100`, `1001-1100x2` or `1001-1100:2` (every second one), `1,3,7-9`, and with negative frames
/// `-5--1`. A backward range such as `10-1` runs backward. OpenJD's chunks (`5-5`) are ranges too.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct FrameRange {
    frames: Vec<i32>,
}

impl FrameRange {
    /// One frame.
    pub fn single(frame: i32) -> FrameRange {
        FrameRange { frames: vec![frame] }
    }

    /// The frames from `first` to `last`, both included.
    pub fn new(first: i32, last: i32) -> FrameRange {
        let frames = if first <= last {
            (first..=last).collect()
        } else {
            (last..=first).rev().collect()
        };
        FrameRange { frames }
    }

    /// From frames in any order; what comes twice counts once.
    pub fn from_frames(frames: impl IntoIterator<Item = i32>) -> FrameRange {
        let mut seen = std::collections::HashSet::new();
        FrameRange {
            frames: frames.into_iter().filter(|&frame| seen.insert(frame)).collect(),
        }
    }

    /// The frames, in the order asked for.
    pub fn frames(&self) -> &[i32] {
        &self.frames
    }

    /// The frames, in the order asked for.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = i32> + '_ {
        self.frames.iter().copied()
    }

    /// How many frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The smallest frame.
    pub fn first(&self) -> Option<i32> {
        self.frames.iter().copied().min()
    }

    /// The largest frame.
    pub fn last(&self) -> Option<i32> {
        self.frames.iter().copied().max()
    }

    /// Whether the frame is in it.
    pub fn contains(&self, frame: i32) -> bool {
        self.frames.contains(&frame)
    }
}

impl FromStr for FrameRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<FrameRange> {
        let failed = |reason: String| Error::Range {
            text: text.to_owned(),
            reason,
        };
        let mut frames = Vec::new();
        let mut count = 0;
        for piece in text.split(',') {
            let piece = piece.trim();
            if piece.is_empty() {
                return Err(failed(
                    if text.trim().is_empty() {
                        "it is empty"
                    } else {
                        "a frame is missing"
                    }
                    .into(),
                ));
            }
            let (first, last, step) = piece_of(piece).map_err(failed)?;
            count += (i64::from(last) - i64::from(first)).abs() / i64::from(step) + 1;
            if count > MOST_FRAMES {
                return Err(failed(format!("{count} frames are more than {MOST_FRAMES}")));
            }
            let step = step as usize;
            if first <= last {
                frames.extend((first..=last).step_by(step));
            } else {
                frames.extend((last..=first).rev().step_by(step));
            }
        }
        Ok(FrameRange::from_frames(frames))
    }
}

/// First and last frame and step of `a`, `a-b`, `a-bxn` or `a-b:n`.
fn piece_of(piece: &str) -> std::result::Result<(i32, i32, i32), String> {
    let number = |text: &str| {
        let text = text.trim();
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("{text:?} is not a frame number"));
        }
        text.parse::<i32>()
            .map_err(|_| format!("frame {text} is out of reach"))
    };
    let (span, step) = match piece.split_once(['x', ':']) {
        Some((span, step)) => (
            span,
            number(step).map_err(|_| format!("{:?} is not a step", step.trim()))?,
        ),
        None => (piece, 1),
    };
    if step < 1 {
        return Err(format!("the step {step} is not at least 1"));
    }
    // The first `-` that is not a sign.
    let dash = span
        .char_indices()
        .skip_while(|&(at, c)| at == 0 && c == '-')
        .find(|&(_, c)| c == '-');
    match dash {
        Some((at, _)) => Ok((number(&span[..at])?, number(&span[at + 1..])?, step)),
        None if step > 1 => Err(format!("{piece:?} has a step and no end")),
        None => number(span).map(|frame| (frame, frame, step)),
    }
}

impl fmt::Display for FrameRange {
    /// The shortest way to write it that parses to the same frames in the same order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.frames.as_slice();
        let mut first = true;
        while let [start, ..] = rest {
            let step = |pair: &[i32]| i64::from(pair[1]) - i64::from(pair[0]);
            let stride = rest.get(..2).map_or(0, step);
            let steps = rest.windows(2).take_while(|pair| step(pair) == stride).count();
            // Two frames apart are shorter as a list than as a range with a step.
            let run = if stride.abs() == 1 || steps >= 2 {
                steps + 1
            } else {
                1
            };
            if !first {
                f.write_str(",")?;
            }
            first = false;
            write!(f, "{start}")?;
            if run > 1 {
                write!(f, "-{}", rest[run - 1])?;
                if stride.abs() > 1 {
                    write!(f, "x{}", stride.abs())?;
                }
            }
            rest = &rest[run..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(text: &str) -> Vec<i32> {
        text.parse::<FrameRange>().unwrap().frames
    }

    fn problem(text: &str) -> String {
        text.parse::<FrameRange>().unwrap_err().to_string()
    }

    #[test]
    fn every_way_to_write_one() {
        assert_eq!(frames("1001-1004"), [1001, 1002, 1003, 1004]);
        assert_eq!(frames("1001-1006x2"), [1001, 1003, 1005]);
        assert_eq!(frames("1-7:3"), [1, 4, 7]);
        assert_eq!(frames("1,3,7-9"), [1, 3, 7, 8, 9]);
        assert_eq!(frames(" 5 - 5 "), [5]);
        assert_eq!(frames("-5--3"), [-5, -4, -3]);
        assert_eq!(frames("-1-1"), [-1, 0, 1]);
        assert_eq!(frames("3-1"), [3, 2, 1]);
        assert_eq!(frames("1-3,2-4"), [1, 2, 3, 4]);
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, part) in [
            ("", "empty"),
            ("1,,2", "missing"),
            ("a-b", "\"a\" is not a frame number"),
            ("1-", "\"\" is not a frame number"),
            ("1-5x0", "at least 1"),
            ("1-5xq", "\"q\" is not a step"),
            ("5x2", "no end"),
            ("99999999999", "out of reach"),
            ("0-2000000000", "more than"),
            ("1-2-3", "not a frame number"),
            ("+5", "not a frame number"),
        ] {
            assert!(problem(text).contains(part), "{text:?}: {}", problem(text));
        }
    }

    #[test]
    fn display_comes_back() {
        for text in [
            "1001-1100",
            "1-9x2",
            "1,3,7-9",
            "-5--1",
            "3-1",
            "7",
            "1,5",
            "9-1x4",
            "1-2",
        ] {
            let range: FrameRange = text.parse().unwrap();
            assert_eq!(range.to_string(), text);
            assert_eq!(range.to_string().parse::<FrameRange>().unwrap(), range);
        }
        assert_eq!(
            FrameRange::from_frames([1, 2, 3, 5, 7, 9, 20]).to_string(),
            "1-3,5-9x2,20"
        );
    }
}
