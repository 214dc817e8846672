//! Metrics as JSON lines, one event a line.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::trainer::Event;
use crate::{Error, Result};

/// The file of metrics of one phase.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: std::fs::File,
    best: f64,
}

impl Log {
    /// Opens the file to go on at `step`: lines of later steps, written after the checkpoint that the run resumes from, are
    /// dropped.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn open(path: PathBuf, step: u64) -> Result<Self> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::file(&path)(e)),
        };
        let mut kept = String::with_capacity(text.len());
        let mut best = f64::NEG_INFINITY;
        for line in text.lines() {
            // A line that was cut off by a kill is dropped too.
            let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else {
                continue;
            };
            if value["step"].as_u64().is_some_and(|s| s <= step) {
                if let Some(score) = value["score"].as_f64() {
                    best = best.max(score);
                }
                kept.push_str(line);
                kept.push('\n');
            }
        }
        crate::checkpoint::write_whole(&path, kept.as_bytes())?;
        let file = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(Error::file(&path))?;
        Ok(Self { path, file, best })
    }

    /// The best score that the file holds.
    #[must_use]
    pub fn best(&self) -> f64 {
        self.best
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_string(event).map_err(|e| Error::content(&self.path, e))?;
        line.push('\n');
        self.file
            .write_all(line.as_bytes())
            .map_err(Error::file(&self.path))
    }
}
