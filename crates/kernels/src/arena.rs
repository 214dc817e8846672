//! A card whose pieces of memory come out of one large one, sized beforehand.
//!
//! Work over the same sizes allocates in the same order. So it is run once without a card being touched, to learn how much it
//! needs at its height ([`Arena::plan`]), and then within a slab of just that size ([`Arena::within`]): the driver is asked
//! once, a card that is too small says so before anything is computed, and every buffer has the address that it had the
//! last time, which recorded launches rely on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::card::{Argument, Card, Error, Launch, Result};

/// What drivers align to; kernels load 16 bytes at once.
const ALIGNMENT: usize = 256;

/// See the [module](self).
#[derive(Debug)]
pub struct Arena<C: Card> {
    card: C,
    /// Where pieces come from; none: each from the card.
    slab: RefCell<Option<Rc<Slab<C>>>>,
}

#[derive(Debug)]
struct Slab<C: Card> {
    /// None while planning.
    memory: Option<C::Memory>,
    share: RefCell<Share>,
}

/// A piece of memory: the card's own, or part of the slab.
#[derive(Debug)]
pub struct Piece<C: Card>(Kind<C>);

#[derive(Debug)]
enum Kind<C: Card> {
    Own(C::Memory),
    Part(Part<C>),
}

#[derive(Debug)]
struct Part<C: Card> {
    slab: Rc<Slab<C>>,
    at: usize,
    bytes: usize,
}

impl<C: Card> Drop for Part<C> {
    fn drop(&mut self) {
        self.slab.share.borrow_mut().give(self.at, self.bytes);
    }
}

impl<C: Card> Piece<C> {
    /// Memory of the card and where in it; none while planning.
    fn place(&self) -> Option<(&C::Memory, usize)> {
        match &self.0 {
            Kind::Own(memory) => Some((memory, 0)),
            Kind::Part(part) => Some((part.slab.memory.as_ref()?, part.at)),
        }
    }
}

/// Which bytes of a slab are free: where each run starts, and its length.
#[derive(Debug)]
struct Share {
    free: BTreeMap<usize, usize>,
    height: usize,
}

impl Share {
    fn new(bytes: usize) -> Self {
        Self {
            free: BTreeMap::from([(0, bytes)]),
            height: 0,
        }
    }

    /// The first run that is long enough.
    fn take(&mut self, bytes: usize) -> Option<usize> {
        let (&at, &length) = self.free.iter().find(|(_, length)| **length >= bytes)?;
        self.free.remove(&at);
        if length > bytes {
            self.free.insert(at + bytes, length - bytes);
        }
        self.height = self.height.max(at + bytes);
        Some(at)
    }

    fn give(&mut self, mut at: usize, mut bytes: usize) {
        if let Some((&before, &length)) = self.free.range(..at).next_back()
            && before + length == at
        {
            self.free.remove(&before);
            (at, bytes) = (before, length + bytes);
        }
        if let Some(length) = self.free.remove(&(at + bytes)) {
            bytes += length;
        }
        self.free.insert(at, bytes);
    }
}

impl<C: Card> Arena<C> {
    /// Over a card. Outside of [`Arena::within`] every piece is the card's own.
    pub fn new(card: C) -> Self {
        Self {
            card,
            slab: RefCell::new(None),
        }
    }

    /// The card.
    pub fn card(&self) -> &C {
        &self.card
    }

    /// The bytes that `work` needs at its height. It runs without a card: nothing is launched or copied to it, and what is copied
    /// from it is zero.
    ///
    /// # Errors
    /// What `work` reports.
    pub fn plan<T, E>(
        &self,
        work: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<usize, E> {
        let slab = Rc::new(Slab {
            memory: None,
            share: RefCell::new(Share::new(usize::MAX / 2)),
        });
        drop(self.from(slab.clone(), work)?);
        let height = slab.share.borrow().height;
        Ok(height)
    }

    /// Runs `work`, whose memory comes out of one piece of `bytes`, given back when the last of its buffers is gone.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or what `work` reports.
    pub fn within<T, E: From<Error>>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let slab = Slab {
            memory: Some(self.card.allocate(bytes)?),
            share: RefCell::new(Share::new(bytes)),
        };
        self.from(Rc::new(slab), work)
    }

    fn from<T>(&self, slab: Rc<Slab<C>>, work: impl FnOnce() -> T) -> T {
        let before = self.slab.replace(Some(slab));
        let result = work();
        self.slab.replace(before);
        result
    }

    fn is_planning(&self) -> bool {
        self.slab
            .borrow()
            .as_ref()
            .is_some_and(|slab| slab.memory.is_none())
    }
}

impl<C: Card> Card for Arena<C> {
    type Memory = Piece<C>;
    /// None where it was planned only.
    type Recording = Option<C::Recording>;

    fn allocate(&self, bytes: usize) -> Result<Piece<C>> {
        let slab = self.slab.borrow().clone();
        let Some(slab) = slab else {
            return Ok(Piece(Kind::Own(self.card.allocate(bytes)?)));
        };
        let bytes = bytes.next_multiple_of(ALIGNMENT);
        let at = slab.share.borrow_mut().take(bytes);
        let at = at.ok_or(Error::OutOfMemory { bytes })?;
        Ok(Piece(Kind::Part(Part { slab, at, bytes })))
    }

    fn upload(&self, memory: &Piece<C>, at: usize, bytes: &[u8]) -> Result<()> {
        match memory.place() {
            Some((memory, start)) => self.card.upload(memory, start + at, bytes),
            None => Ok(()),
        }
    }

    fn download(&self, memory: &Piece<C>, at: usize, bytes: &mut [u8]) -> Result<()> {
        match memory.place() {
            Some((memory, start)) => self.card.download(memory, start + at, bytes),
            None => {
                bytes.fill(0);
                Ok(())
            }
        }
    }

    fn launch(&self, launch: &Launch<'_, Piece<C>>) -> Result<()> {
        let arguments: Option<Vec<Argument<'_, C::Memory>>> = launch
            .arguments
            .iter()
            .map(|argument| {
                Some(match argument {
                    Argument::Memory(piece, at) => {
                        let (memory, start) = piece.place()?;
                        Argument::Memory(memory, start + at)
                    }
                    Argument::Null => Argument::Null,
                    Argument::Int(v) => Argument::Int(*v),
                    Argument::Float(v) => Argument::Float(*v),
                })
            })
            .collect();
        match arguments {
            Some(arguments) if !self.is_planning() => self.card.launch(&Launch {
                kernel: launch.kernel,
                grid: launch.grid,
                threads: launch.threads,
                shared: launch.shared,
                arguments: &arguments,
            }),
            _ => Ok(()),
        }
    }

    fn record<E: From<Error>>(
        &self,
        work: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<Self::Recording, E> {
        if self.is_planning() {
            work()?;
            return Ok(None);
        }
        self.card.record(work).map(Some)
    }

    fn replay(&self, recording: &Self::Recording) -> Result<()> {
        match recording {
            Some(recording) => self.card.replay(recording),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_whole_again() {
        let mut share = Share::new(1024);
        let places = [256, 256, 512].map(|bytes| share.take(bytes));
        assert_eq!(places, [Some(0), Some(256), Some(512)]);
        assert_eq!(share.take(1), None);
        share.give(256, 256);
        share.give(512, 512);
        assert_eq!(share.take(768), Some(256));
        share.give(256, 768);
        share.give(0, 256);
        assert_eq!((share.take(1024), share.height), (Some(0), 1024));
    }
}
