//! Single flight: what several ask for at once is made once.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use peel_node::{Error, Key, Result};

use crate::cancel::CancelToken;
use crate::crew::Crew;
use crate::sync::lock;

/// How often a waiting thread looks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// What is being made at this moment, by key.
pub(crate) struct Flights<T> {
    flying: Mutex<HashMap<Key, Arc<Flight<T>>>>,
}

struct Flight<T> {
    pilot: ThreadId,
    state: Mutex<State<T>>,
    landed: Condvar,
}

enum State<T> {
    Flying,
    Landed(T),
    /// The pilot failed, was cancelled or panicked. Whoever waits has to fly itself: an error belongs to the
    /// node and frame in which it arose, and another render's wish to stop is no reason to stop this one.
    Abandoned,
}

impl<T: Clone> Flights<T> {
    pub fn new() -> Flights<T> {
        Flights {
            flying: Mutex::new(HashMap::new()),
        }
    }

    /// Makes the thing of this key, or waits (from a seat of `crew`) for whoever is making it.
    pub fn join(
        &self,
        key: Key,
        crew: &Crew,
        cancel: &CancelToken,
        make: &mut dyn FnMut() -> Result<T>,
    ) -> Result<T> {
        loop {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let flight = {
                let mut flying = lock(&self.flying);
                match flying.get(&key) {
                    Some(flight) => Arc::clone(flight),
                    None => {
                        let flight = Arc::new(Flight {
                            pilot: thread::current().id(),
                            state: Mutex::new(State::Flying),
                            landed: Condvar::new(),
                        });
                        flying.insert(key, Arc::clone(&flight));
                        drop(flying);
                        return self.fly(key, &flight, make);
                    }
                }
            };
            // A node that asks for its own key from within would wait for itself.
            if flight.pilot == thread::current().id() {
                return make();
            }
            match crew.waiting(|| flight.wait(cancel)) {
                Some(result) => return result,
                None => continue,
            }
        }
    }

    fn fly(&self, key: Key, flight: &Flight<T>, make: &mut dyn FnMut() -> Result<T>) -> Result<T> {
        /// Lands whatever happens, a panic included.
        struct Landing<'a, T> {
            flights: &'a Flights<T>,
            flight: &'a Flight<T>,
            key: Key,
            outcome: Option<State<T>>,
        }
        impl<T> Drop for Landing<'_, T> {
            fn drop(&mut self) {
                lock(&self.flights.flying).remove(&self.key);
                *lock(&self.flight.state) = self.outcome.take().unwrap_or(State::Abandoned);
                self.flight.landed.notify_all();
            }
        }
        let mut landing = Landing {
            flights: self,
            flight,
            key,
            outcome: None,
        };
        let result = make();
        if let Ok(made) = &result {
            landing.outcome = Some(State::Landed(made.clone()));
        }
        result
    }
}

impl<T: Clone> Flight<T> {
    /// The result; `None` where the flight was abandoned.
    fn wait(&self, cancel: &CancelToken) -> Option<Result<T>> {
        let mut state = lock(&self.state);
        loop {
            match &*state {
                State::Landed(made) => return Some(Ok(made.clone())),
                State::Abandoned => return None,
                State::Flying if cancel.is_cancelled() => return Some(Err(Error::Cancelled)),
                State::Flying => {
                    state = self
                        .landed
                        .wait_timeout(state, PATIENCE)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const KEY: Key = Key([7; 32]);

    #[test]
    fn many_ask_one_makes() {
        let (flights, crew, cancel) = (Flights::new(), Crew::new(1), CancelToken::new());
        let made = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    crew.seated(|| {
                        let value = flights.join(KEY, &crew, &cancel, &mut || {
                            made.fetch_add(1, Ordering::SeqCst);
                            // Gives the seat away, so that the others come to ask meanwhile.
                            crew.waiting(|| thread::sleep(Duration::from_millis(50)));
                            Ok(42)
                        });
                        assert_eq!(value.unwrap(), 42);
                    });
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn a_cancelled_pilot_does_not_cancel_the_others() {
        let (flights, crew) = (Flights::new(), Crew::new(2));
        thread::scope(|scope| {
            let old = scope.spawn(|| {
                crew.seated(|| {
                    flights.join(KEY, &crew, &CancelToken::new(), &mut || {
                        crew.waiting(|| thread::sleep(Duration::from_millis(40)));
                        Err::<i32, _>(Error::Cancelled)
                    })
                })
            });
            thread::sleep(Duration::from_millis(10));
            let new = crew.seated(|| flights.join(KEY, &crew, &CancelToken::new(), &mut || Ok(1)));
            assert_eq!(new.unwrap(), 1);
            assert!(matches!(old.join().unwrap(), Err(Error::Cancelled)));
        });
    }

    #[test]
    fn asking_from_within_does_not_hang() {
        let (flights, crew, cancel) = (Flights::new(), Crew::new(1), CancelToken::new());
        let value = crew.seated(|| {
            flights.join(KEY, &crew, &cancel, &mut || {
                flights.join(KEY, &crew, &cancel, &mut || Ok(3))
            })
        });
        assert_eq!(value.unwrap(), 3);
    }
}
