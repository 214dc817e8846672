//! Threads: how many nodes may work at once, and who does the work.
//!
//! Nodes wait for one another (a frame node is rendered once, however many ask), which a work-stealing pool
//! cannot bear: a worker that waits takes up other work, and that work may wait for what lies under it on
//! the same stack. So node code runs on plain threads that each hold one of a fixed number of *seats*. A
//! thread gives its seat away while it waits, hence somebody can always go on: waiting follows the edges of
//! the graph, which has no cycles.
//!
//! Inside one call a node may use rayon for loops over its own pixels. It must not pull inputs from there;
//! see [`Crew::on_foreign_worker`].

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use peel_node::{Error, Result};

use crate::sync::lock;

/// Stack of the crew's threads, in bytes. Only touched pages cost memory.
const STACK: usize = 16 << 20;

/// The seats.
pub(crate) struct Crew {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A taken seat; given back when dropped.
struct Seat<'a>(&'a Crew);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.freed.notify_one();
    }
}

impl Crew {
    /// A crew in which `threads` work at once, at least one.
    pub fn new(threads: usize) -> Crew {
        Crew {
            free: Mutex::new(threads.max(1)),
            freed: Condvar::new(),
        }
    }

    /// Whether this thread belongs to a rayon pool. There a pull could wait for itself.
    pub fn on_foreign_worker() -> bool {
        rayon::current_thread_index().is_some()
    }

    /// Works on a seat of its own.
    pub fn seated<T>(&self, work: impl FnOnce() -> T) -> T {
        let _seat = self.take_seat();
        work()
    }

    /// Waits, from a seat, without keeping others from working.
    pub fn waiting<T>(&self, wait: impl FnOnce() -> T) -> T {
        drop(Seat(self));
        let out = wait();
        std::mem::forget(self.take_seat());
        out
    }

    /// Works through `items` from a seat, with the help of whatever seats are free. Stops at the first
    /// failure; of several failures the one of the earliest item is returned, so that the same work fails
    /// with the same words on any number of threads.
    pub fn each<I, E>(
        &self,
        items: Vec<I>,
        work: impl Fn(I) -> std::result::Result<(), E> + Sync,
    ) -> std::result::Result<(), E>
    where
        I: Send,
        E: Send,
    {
        let count = items.len();
        let queue = Mutex::new(items.into_iter().enumerate());
        let failure: Mutex<Option<(usize, E)>> = Mutex::new(None);
        let step = || {
            if lock(&failure).is_some() {
                return false;
            }
            let Some((index, item)) = lock(&queue).next() else {
                return false;
            };
            if let Err(error) = work(item) {
                let mut first = lock(&failure);
                if first.as_ref().is_none_or(|(earlier, _)| index < *earlier) {
                    *first = Some((index, error));
                }
            }
            true
        };
        thread::scope(|scope| {
            let mut helpers = Vec::new();
            loop {
                while helpers.len() + 1 < count
                    && lock(&queue).len() > 1
                    && let Some(seat) = self.try_seat()
                {
                    let help = || {
                        let _seat = seat;
                        while step() {}
                    };
                    match thread::Builder::new().stack_size(STACK).spawn_scoped(scope, help) {
                        Ok(helper) => helpers.push(helper),
                        // The system has no thread to spare; this one does the work.
                        Err(_) => break,
                    }
                }
                if !step() {
                    break;
                }
            }
            if !helpers.is_empty() {
                self.waiting(|| {
                    for helper in helpers {
                        if let Err(panic) = helper.join() {
                            std::panic::resume_unwind(panic);
                        }
                    }
                });
            }
        });
        failure
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Goes on with the work on a fresh stack, so that no chain of nodes is too long; the seat goes along.
    /// `None` where the system has no thread to spare.
    pub fn on_fresh_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, work)
                .ok()?;
            Some(
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            )
        })
    }

    /// Works on a seat and a thread of the crew, wherever the caller is: on a rayon worker, on a small stack.
    pub fn on_own_thread<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        Crew::on_fresh_stack(|| self.seated(work))
            .ok_or_else(|| Error::message("the system has no thread to spare"))
    }

    /// Spawns a thread of the crew that takes seats itself.
    pub fn spawn<'scope>(
        scope: &'scope thread::Scope<'scope, '_>,
        work: impl FnOnce() + Send + 'scope,
    ) -> std::io::Result<thread::ScopedJoinHandle<'scope, ()>> {
        thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work)
    }

    fn take_seat(&self) -> Seat<'_> {
        let mut free = lock(&self.free);
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Seat(self)
    }

    fn try_seat(&self) -> Option<Seat<'_>> {
        let mut free = lock(&self.free);
        (*free > 0).then(|| {
            *free -= 1;
            Seat(self)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn never_more_at_work_than_seats_even_when_nested() {
        let crew = Crew::new(3);
        let (now, most, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let leaf = |_| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(std::time::Duration::from_millis(1));
            now.fetch_sub(1, Ordering::SeqCst);
            done.fetch_add(1, Ordering::SeqCst);
            Ok::<(), ()>(())
        };
        crew.seated(|| crew.each((0..6).collect(), |_| crew.each((0..7).collect(), leaf)))
            .unwrap();
        assert_eq!(done.into_inner(), 42);
        assert!(most.into_inner() <= 3);
        assert_eq!(*lock(&crew.free), 3);
    }

    #[test]
    fn the_earliest_failure_wins_on_any_number_of_threads() {
        for threads in 1..5 {
            let crew = Crew::new(threads);
            let failed =
                crew.seated(|| crew.each((0..50).collect(), |i| if i % 9 == 8 { Err(i) } else { Ok(()) }));
            assert_eq!(failed, Err(8));
        }
    }

    #[test]
    fn a_fresh_stack_continues_a_deep_recursion() {
        fn down(depth: usize) -> usize {
            let pad = std::hint::black_box([depth as u8; 4096]);
            if depth == 0 {
                return usize::from(pad[0]);
            }
            let deeper = move || down(depth - 1);
            1 + if depth.is_multiple_of(256) {
                Crew::on_fresh_stack(deeper).unwrap()
            } else {
                deeper()
            }
        }
        assert_eq!(down(20_000), 20_000);
    }
}
