//! Memory for bands of pixels, used again by the thread that let go of it.
//!
//! Pictures come and go in bands of a megabyte or two. Allocators hand blocks of that size back to the system after a
//! moment, and the system clears every page before it gives it out again: a fifth of the time of a 4K composite.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::{Pixel, TRANSPARENT};

/// Bands that a thread keeps.
const MOST: usize = 3;
/// Pixels for which this is worth while, and 2 MiB, up to which a thread may keep them.
const SIZES: std::ops::RangeInclusive<usize> = 1 << 12..=1 << 17;

thread_local! {
    static SPARE: RefCell<Vec<Vec<Pixel>>> = const { RefCell::new(Vec::new()) };
}

/// A vector of pixels that goes back to its thread's spare ones.
#[derive(PartialEq, Debug)]
pub(crate) struct Pixels(Vec<Pixel>);

impl Pixels {
    /// So many transparent pixels.
    pub fn transparent(count: usize) -> Pixels {
        match spare(count) {
            Some(mut pixels) => {
                pixels.clear();
                pixels.resize(count, TRANSPARENT);
                Pixels(pixels)
            }
            None => Pixels(vec![TRANSPARENT; count]),
        }
    }

    /// So many pixels of no meaning, for whoever overwrites them all.
    pub fn stale(count: usize) -> Pixels {
        match spare(count) {
            Some(mut pixels) => {
                pixels.resize(count, TRANSPARENT);
                Pixels(pixels)
            }
            // New memory is clear as it comes, page by page when it is touched: clearing it here would touch a whole picture on one thread.
            None => Pixels(vec![TRANSPARENT; count]),
        }
    }
}

/// A vector with room for so many pixels, and not for many more; it may hold old ones.
fn spare(count: usize) -> Option<Vec<Pixel>> {
    if !SIZES.contains(&count) {
        return None;
    }
    let take = |spare: &RefCell<Vec<Vec<Pixel>>>| {
        let mut spare = spare.borrow_mut();
        let fits = |pixels: &Vec<Pixel>| (count..=2 * count).contains(&pixels.capacity());
        let at = spare.iter().position(fits)?;
        Some(spare.swap_remove(at))
    };
    SPARE.try_with(take).ok().flatten()
}

impl From<Vec<Pixel>> for Pixels {
    fn from(pixels: Vec<Pixel>) -> Pixels {
        Pixels(pixels)
    }
}

impl Clone for Pixels {
    fn clone(&self) -> Pixels {
        let mut pixels = spare(self.len()).unwrap_or_else(|| Vec::with_capacity(self.len()));
        pixels.clear();
        pixels.extend_from_slice(self);
        Pixels(pixels)
    }
}

impl Drop for Pixels {
    fn drop(&mut self) {
        let pixels = std::mem::take(&mut self.0);
        if !SIZES.contains(&pixels.capacity()) {
            return;
        }
        // A thread that is ending keeps nothing.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MOST {
                spare.push(pixels);
            }
        });
    }
}

impl Deref for Pixels {
    type Target = [Pixel];

    fn deref(&self) -> &[Pixel] {
        &self.0
    }
}

impl DerefMut for Pixels {
    fn deref_mut(&mut self) -> &mut [Pixel] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_again_is_transparent_again() {
        let mut first = Pixels::transparent(5000);
        first.fill([1.0; 4]);
        let (place, copy) = (first.as_ptr(), first.clone());
        drop(first);
        let again = Pixels::transparent(4800);
        assert_eq!(again.as_ptr(), place);
        assert!(again.len() == 4800 && again.iter().all(|pixel| *pixel == TRANSPARENT));
        assert!(copy.iter().all(|pixel| *pixel == [1.0; 4]));
        drop(again);
        let stale = Pixels::stale(4700);
        assert!(stale.as_ptr() == place && stale.len() == 4700);
    }

    #[test]
    fn a_thread_keeps_little() {
        drop((0..20).map(|_| Pixels::transparent(1 << 16)).collect::<Vec<_>>());
        drop(Pixels::transparent(1 << 18));
        drop(Pixels::transparent(16));
        SPARE.with(|spare| {
            let spare = spare.borrow();
            assert!(spare.len() <= MOST);
            assert!(spare.iter().all(|pixels| SIZES.contains(&pixels.capacity())));
        });
    }
}
