//! The cards of the suite: emulated ones, and, in a build for cards on a machine with one, that one.

use peel_emulate::Emulated;
use peel_kernels::{Argument, Card, Error, Launch, Result};

/// One of them.
#[derive(Debug)]
pub enum Tested {
    Emulated(Emulated),
    #[cfg(feature = "cuda")]
    Real(peel_kernels::Cuda),
}

#[derive(Debug)]
pub enum Memory {
    Emulated(<Emulated as Card>::Memory),
    #[cfg(feature = "cuda")]
    Real(<peel_kernels::Cuda as Card>::Memory),
}

#[derive(Debug)]
pub enum Recording {
    Emulated(<Emulated as Card>::Recording),
    #[cfg(feature = "cuda")]
    Real(<peel_kernels::Cuda as Card>::Recording),
}

/// All of them. With `PEEL_CARD_ONLY` in the environment, as compute-sanitizer is run, only the real one.
pub fn cards() -> Vec<Tested> {
    let mut cards = Vec::new();
    if std::env::var_os("PEEL_CARD_ONLY").is_none() {
        cards.extend([1, 77].map(|seed| Tested::Emulated(Emulated::open(seed).unwrap())));
    }
    #[cfg(feature = "cuda")]
    if let peel_kernels::Found::Device { name, .. } = peel_kernels::probe(0) {
        eprintln!("and on {name}");
        cards.push(Tested::Real(peel_kernels::Cuda::open(0).unwrap()));
    }
    assert!(!cards.is_empty(), "there is no card");
    cards
}

/// A call on the card that it is, with the memory, or whatever else, of that card.
macro_rules! on {
    ($card:expr, $other:expr, |$own:ident, $of:ident| $work:expr) => {
        match ($card, $other) {
            (Tested::Emulated($own), Memory::Emulated($of)) => $work,
            #[cfg(feature = "cuda")]
            (Tested::Real($own), Memory::Real($of)) => $work,
            #[cfg(feature = "cuda")]
            _ => panic!("memory of another card"),
        }
    };
}

/// Arguments with the memory of one kind of card.
fn arguments<'a, M>(
    arguments: &'a [Argument<'a, Memory>],
    own: impl Fn(&'a Memory) -> Option<&'a M>,
) -> Vec<Argument<'a, M>> {
    let one = |argument: &Argument<'a, Memory>| match argument {
        Argument::Memory(memory, at) => match own(memory) {
            Some(memory) => Argument::Memory(memory, *at),
            None => panic!("memory of another card"),
        },
        Argument::Null => Argument::Null,
        Argument::Int(v) => Argument::Int(*v),
        Argument::Float(v) => Argument::Float(*v),
    };
    arguments.iter().map(one).collect()
}

impl Card for Tested {
    type Memory = Memory;
    type Recording = Recording;

    fn allocate(&self, bytes: usize) -> Result<Memory> {
        match self {
            Self::Emulated(card) => card.allocate(bytes).map(Memory::Emulated),
            #[cfg(feature = "cuda")]
            Self::Real(card) => card.allocate(bytes).map(Memory::Real),
        }
    }

    fn upload(&self, memory: &Memory, at: usize, bytes: &[u8]) -> Result<()> {
        on!(self, memory, |card, memory| card.upload(memory, at, bytes))
    }

    fn download(&self, memory: &Memory, at: usize, bytes: &mut [u8]) -> Result<()> {
        on!(self, memory, |card, memory| card.download(memory, at, bytes))
    }

    fn launch(&self, launch: &Launch<'_, Memory>) -> Result<()> {
        let Launch {
            kernel,
            grid,
            threads,
            shared,
            arguments: given,
        } = *launch;
        macro_rules! launched {
            ($card:expr, $kind:path) => {{
                #[allow(unreachable_patterns, reason = "without cards there is one kind")]
                let own = arguments(given, |memory| match memory {
                    $kind(memory) => Some(memory),
                    _ => None,
                });
                $card.launch(&Launch {
                    kernel,
                    grid,
                    threads,
                    shared,
                    arguments: &own,
                })
            }};
        }
        match self {
            Self::Emulated(card) => launched!(card, Memory::Emulated),
            #[cfg(feature = "cuda")]
            Self::Real(card) => launched!(card, Memory::Real),
        }
    }

    fn record<E: From<Error>>(
        &self,
        work: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<Recording, E> {
        match self {
            Self::Emulated(card) => card.record(work).map(Recording::Emulated),
            #[cfg(feature = "cuda")]
            Self::Real(card) => card.record(work).map(Recording::Real),
        }
    }

    fn replay(&self, recording: &Recording) -> Result<()> {
        match (self, recording) {
            (Self::Emulated(card), Recording::Emulated(recording)) => card.replay(recording),
            #[cfg(feature = "cuda")]
            (Self::Real(card), Recording::Real(recording)) => card.replay(recording),
            #[cfg(feature = "cuda")]
            _ => panic!("a recording of another card"),
        }
    }
}
