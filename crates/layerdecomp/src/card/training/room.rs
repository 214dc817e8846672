//! How much of a batch a card takes at once.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// Samples that fit into the card at once, by height and width, where fewer did than were asked for.
#[derive(Debug, Default)]
pub(super) struct Room {
    most: BTreeMap<(usize, usize), usize>,
    pub remarks: Vec<String>,
}

impl Room {
    /// Does `work`, which is told of the first sample and of their number, for all `n` in as few parts as fit.
    ///
    /// # Errors
    /// What `work` reports; that it has no room only where that is so of a single sample.
    pub fn divide(
        &mut self,
        n: usize,
        (h, w): (usize, usize),
        mut work: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        while done < n {
            let count = self.most.get(&(h, w)).copied().unwrap_or(n).min(n - done);
            match work(done, count) {
                Ok(()) => done += count,
                Err(Error::Card(peel_kernels::Error::OutOfMemory { .. })) if count > 1 => {
                    let fewer = count / 2;
                    self.most.insert((h, w), fewer);
                    self.remarks.push(format!(
                        "the card has no room to learn {count} pictures of {w}x{h} at once; it takes {fewer}"
                    ));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
