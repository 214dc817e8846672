//! Reused working memory: fresh large allocations cost a page fault for every 4 KiB, over and over.

use std::cell::RefCell;

thread_local! {
    static POOL: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Lends `work` a buffer of `len` values with **unspecified** contents. Calls may nest.
pub(super) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    // Taken out of the pool, not borrowed: a rayon worker that waits inside `work` may run another task which asks too.
    let mut buffer = POOL.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    let result = work(&mut buffer[..len]);
    POOL.with_borrow_mut(|pool| pool.push(buffer));
    result
}

#[cfg(test)]
mod tests {
    use super::with_scratch;

    #[test]
    fn nested_buffers_are_distinct() {
        with_scratch(4, |a| {
            a.fill(1.0);
            with_scratch(8, |b| b.fill(2.0));
            assert_eq!(a, [1.0; 4]);
        });
    }
}
