//! Standard output, for what a command was asked for; messages go to standard error.

use std::fmt;
use std::io::{self, Write};

use crate::exit::{Result, Stop};

/// Writes a line to standard output.
pub fn line(text: impl fmt::Display) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Stop::NobodyListens),
        Err(error) => Err(Stop::failed(format!("standard output: {error}"))),
    }
}

/// Writes a line to standard error; when even that fails there is nobody left to tell.
pub fn message(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Bytes as a person says them.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A length of time as a person says it.
pub fn human_time(time: std::time::Duration) -> String {
    let seconds = time.as_secs_f64();
    match time.as_secs() {
        0 => format!("{:.0} ms", seconds * 1e3),
        1..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60),
        whole => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// "1 frame", "8 frames".
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn numbers_as_a_person_says_them() {
        assert_eq!(human_bytes(999), "999 bytes");
        assert_eq!(human_bytes(999_990), "1.0 MB");
        assert_eq!(human_time(Duration::from_millis(40)), "40 ms");
        assert_eq!(human_time(Duration::from_millis(2340)), "2.3 s");
        assert_eq!(human_time(Duration::from_secs(125)), "2 min 05 s");
        assert_eq!(human_time(Duration::from_secs(7325)), "2 h 02 min");
        assert_eq!(
            (count(1, "file"), count(0, "file")),
            ("1 file".into(), "0 files".into())
        );
    }
}
