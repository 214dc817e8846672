//! What a launcher needs of a card: memory, copies, and kernels by name.

use std::marker::PhantomData;

use bytemuck::Pod;

/// What can go wrong on a card.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no card, or it cannot be used.
    #[error("no CUDA device: {0}")]
    NoDevice(String),
    /// The card's memory is full: smaller batches may fit.
    #[error(
        "the card has no room for another {bytes} bytes; take a smaller batch or picture, or --device cpu"
    )]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// A call of the driver, the compiler or the emulation failed.
    #[error("{what}: {reason}")]
    Failed {
        /// What was tried.
        what: String,
        /// What came back.
        reason: String,
    },
    /// Sizes that a kernel does not take.
    #[error("{what}: {reason}")]
    Shape {
        /// The operation.
        what: &'static str,
        /// The rule that is broken.
        reason: String,
    },
}

/// Of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Fails where `count` bytes from byte `at` on reach past the end of a buffer of `room` bytes; every card asks before it copies.
///
/// # Errors
/// With the three numbers.
pub fn within(at: usize, count: usize, room: usize) -> Result<()> {
    if at.checked_add(count).is_some_and(|end| end <= room) {
        return Ok(());
    }
    Err(Error::Failed {
        what: "copying".into(),
        reason: format!("{count} bytes from byte {at} on reach past the end of a buffer of {room}"),
    })
}

/// An argument of a kernel.
#[derive(Debug)]
pub enum Argument<'a, M> {
    /// Memory, from a byte on.
    Memory(&'a M, usize),
    /// No memory: the kernel does without.
    Null,
    /// `int`
    Int(i32),
    /// `float`
    Float(f32),
}

impl<M> Clone for Argument<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Argument<'_, M> {}

impl<M> Argument<'_, M> {
    /// As launches take it: each argument in a word of its own, from the word's first byte on, as on every little-endian
    /// machine that drives a card. `address` says where memory is.
    #[must_use]
    pub fn words(arguments: &[Self], address: impl Fn(&M) -> u64) -> Vec<u64> {
        let word = |argument: &Self| match argument {
            Argument::Memory(memory, at) => address(memory) + *at as u64,
            Argument::Null => 0,
            Argument::Int(v) => u64::from(v.cast_unsigned()),
            Argument::Float(v) => u64::from(v.to_bits()),
        };
        arguments.iter().map(word).collect()
    }

    /// The pieces of memory among arguments.
    pub fn memories<'a>(arguments: &'a [Argument<'a, M>]) -> impl Iterator<Item = &'a M> {
        arguments.iter().filter_map(|argument| match argument {
            Argument::Memory(memory, _) => Some(*memory),
            _ => None,
        })
    }
}

/// One launch of a kernel.
#[derive(Debug)]
pub struct Launch<'a, M> {
    /// Its name in `cu/`.
    pub kernel: &'static str,
    /// Blocks in x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory.
    pub shared: usize,
    /// In the kernel's order.
    pub arguments: &'a [Argument<'a, M>],
}

/// A card: real (`Cuda`, feature `cuda`) or emulated (`peel_emulate::Emulated`). Work is done in the order in which it is given.
pub trait Card: std::fmt::Debug + 'static {
    /// A piece of its memory, 256-byte aligned.
    type Memory: std::fmt::Debug + 'static;
    /// Launches written down by [`Card::record`]; keeps the memory that they work on.
    type Recording: std::fmt::Debug + 'static;

    /// A piece of memory with undefined content.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or if the driver fails.
    fn allocate(&self, bytes: usize) -> Result<Self::Memory>;

    /// Copies to the card. `at + bytes` lies within the memory.
    ///
    /// # Errors
    /// If the driver fails.
    fn upload(&self, memory: &Self::Memory, at: usize, bytes: &[u8]) -> Result<()>;

    /// Waits for the work given so far and copies from the card.
    ///
    /// # Errors
    /// If the driver fails, or an earlier launch did.
    fn download(&self, memory: &Self::Memory, at: usize, bytes: &mut [u8]) -> Result<()>;

    /// Starts a kernel.
    ///
    /// # Errors
    /// If there is no such kernel, or the driver or the emulation refuses.
    fn launch(&self, launch: &Launch<'_, Self::Memory>) -> Result<()>;

    /// Writes down the launches of `work` in place of starting them: on a real card a CUDA graph, whose replay costs the CPU
    /// one call. `work` neither allocates from the card nor copies: an [`Arena`](crate::Arena) gives it memory.
    ///
    /// # Errors
    /// What `work` reports, or if the driver fails.
    fn record<E: From<Error>>(
        &self,
        work: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<Self::Recording, E>;

    /// Starts recorded launches, over what the memory holds by then.
    ///
    /// # Errors
    /// As [`Card::launch`].
    fn replay(&self, recording: &Self::Recording) -> Result<()>;

    /// A buffer of `len` undefined values.
    ///
    /// # Errors
    /// As [`Card::allocate`].
    fn buffer<T: Pod>(&self, len: usize) -> Result<Buffer<Self, T>>
    where
        Self: Sized,
    {
        // No empty pieces: drivers differ on them.
        let memory = self.allocate((len * size_of::<T>()).max(16))?;
        Ok(Buffer {
            memory,
            len,
            of: PhantomData,
        })
    }

    /// A buffer with these values.
    ///
    /// # Errors
    /// As [`Card::allocate`] and [`Card::upload`].
    fn put<T: Pod>(&self, values: &[T]) -> Result<Buffer<Self, T>>
    where
        Self: Sized,
    {
        let buffer = self.buffer(values.len())?;
        self.upload(&buffer.memory, 0, bytemuck::cast_slice(values))?;
        Ok(buffer)
    }

    /// The values of a buffer.
    ///
    /// # Errors
    /// As [`Card::download`].
    fn get<T: Pod>(&self, buffer: &Buffer<Self, T>) -> Result<Vec<T>>
    where
        Self: Sized,
    {
        let mut values = vec![T::zeroed(); buffer.len];
        self.download(&buffer.memory, 0, bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }
}

/// Values in a card's memory.
#[derive(Debug)]
pub struct Buffer<C: Card, T> {
    memory: C::Memory,
    len: usize,
    of: PhantomData<T>,
}

impl<C: Card, T: Pod> Buffer<C, T> {
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// As an argument.
    #[must_use]
    pub fn argument(&self) -> Argument<'_, C::Memory> {
        self.all().argument()
    }

    /// From a value on, as an argument.
    ///
    /// # Errors
    /// If the buffer has no such value.
    pub fn from(&self, value: usize) -> Result<Argument<'_, C::Memory>> {
        if value >= self.len {
            return Err(Error::Shape {
                what: "argument",
                reason: format!("value {value} of a buffer of {}", self.len),
            });
        }
        Ok(Argument::Memory(&self.memory, value * size_of::<T>()))
    }

    /// Part of the buffer.
    ///
    /// # Errors
    /// If it reaches past the end.
    pub fn span(&self, at: usize, len: usize) -> Result<Span<'_, C, T>> {
        self.all().span(at, len)
    }

    /// All of it.
    #[must_use]
    pub fn all(&self) -> Span<'_, C, T> {
        Span {
            buffer: self,
            at: 0,
            len: self.len,
        }
    }

    /// Overwrites the values from the first on.
    ///
    /// # Errors
    /// If there are more values than room, or the driver fails.
    pub fn set(&self, card: &C, values: &[T]) -> Result<()> {
        if values.len() > self.len {
            return Err(Error::Shape {
                what: "upload",
                reason: format!("{} values into a buffer of {}", values.len(), self.len),
            });
        }
        card.upload(&self.memory, 0, bytemuck::cast_slice(values))
    }
}

/// Part of a buffer: a parameter among all parameters.
#[derive(Debug)]
pub struct Span<'a, C: Card, T> {
    buffer: &'a Buffer<C, T>,
    at: usize,
    len: usize,
}

impl<C: Card, T> Clone for Span<'_, C, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C: Card, T> Copy for Span<'_, C, T> {}

impl<'a, C: Card, T: Pod> Span<'a, C, T> {
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// As an argument.
    #[must_use]
    pub fn argument(&self) -> Argument<'a, C::Memory> {
        Argument::Memory(&self.buffer.memory, self.at * size_of::<T>())
    }

    /// Part of the part.
    ///
    /// # Errors
    /// If it reaches past the end.
    pub fn span(&self, at: usize, len: usize) -> Result<Self> {
        within(at, len, self.len)?;
        Ok(Self {
            at: self.at + at,
            len,
            ..*self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_stay_within_their_buffer() {
        assert!(within(0, 8, 8).is_ok() && within(8, 0, 8).is_ok());
        for (at, count) in [(0, 9), (8, 1), (usize::MAX, 1)] {
            let message = within(at, count, 8).unwrap_err().to_string();
            assert!(message.contains("past the end of a buffer of 8"), "{message}");
        }
    }
}
