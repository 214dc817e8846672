//! The memory that a file may ask for.

use std::path::Path;

use crate::{Error, Result};

/// How many bytes one read may allocate for pixels. A size in a file is a claim, not a fact: it is checked
/// against this, and against the file's length, before anything is allocated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Most bytes for the pixels of one read, working space included.
    pub max_bytes: u64,
}

impl Default for Budget {
    /// 8 GB: an 8K plate with a dozen layers.
    fn default() -> Budget {
        Budget {
            max_bytes: 8_000_000_000,
        }
    }
}

impl Budget {
    /// A budget of this many bytes.
    pub fn bytes(max_bytes: u64) -> Budget {
        Budget { max_bytes }
    }

    /// Whether `needed` bytes may be allocated; `what` names what asks, for the error.
    pub fn check(&self, path: &Path, what: impl FnOnce() -> String, needed: u64) -> Result<()> {
        if needed <= self.max_bytes {
            return Ok(());
        }
        Err(Error::OverBudget {
            path: path.to_owned(),
            what: what(),
            needed,
            allowed: self.max_bytes,
        })
    }
}
