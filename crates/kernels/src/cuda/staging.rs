//! Copies through two pieces of pinned memory: while the card fetches one, the CPU fills the other.
//!
//! A driver copies from ordinary memory through a small pinned buffer of its own, and waits. From pinned memory a card fetches by
//! itself, at the full rate of its bus.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, PinnedHostSlice, result};

/// Bytes of each piece: a 4K plate in f32 goes in 17.
const PIECE: usize = 8 << 20;

#[derive(Debug)]
struct Slot {
    memory: PinnedHostSlice<u8>,
    /// The last copy from or to it.
    copied: CudaEvent,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Staging {
    slots: [Slot; 2],
    /// The slot whose turn it is.
    next: usize,
}

impl Staging {
    #[allow(unsafe_code, reason = "memory with undefined content")]
    pub fn new(context: &Arc<CudaContext>) -> Result<Self, DriverError> {
        let slot = || {
            // SAFETY: any bytes are values of u8, and a slot is written before it is read. Without flags: it is read as well,
            // for which write-combined memory is slow.
            let memory = unsafe { context.alloc_pinned_with_flags(PIECE, 0) }?;
            let copied = context.new_event(None)?;
            Ok(Slot { memory, copied })
        };
        Ok(Self {
            slots: [slot()?, slot()?],
            next: 0,
        })
    }

    fn turn(&mut self) -> &mut Slot {
        self.next = 1 - self.next;
        &mut self.slots[1 - self.next]
    }

    /// To `address` on the card; `bytes` may be changed as soon as this returns.
    #[allow(unsafe_code, reason = "a copy by address")]
    pub fn upload(&mut self, stream: &CudaStream, address: u64, bytes: &[u8]) -> Result<(), DriverError> {
        for (i, piece) in bytes.chunks(PIECE).enumerate() {
            let slot = self.turn();
            slot.copied.synchronize()?;
            let pinned = &mut slot.memory.as_mut_slice()?[..piece.len()];
            pinned.copy_from_slice(piece);
            let to = address + (i * PIECE) as u64;
            // SAFETY: the caller has checked that the destination has room. The slot is not touched again until the event
            // behind this copy has passed.
            unsafe { result::memcpy_htod_async(to, pinned, stream.cu_stream()) }?;
            slot.copied.record(stream)?;
        }
        Ok(())
    }

    /// From `address` on the card, behind all that was given to the stream so far.
    pub fn download(
        &mut self,
        stream: &CudaStream,
        address: u64,
        bytes: &mut [u8],
    ) -> Result<(), DriverError> {
        let mut pieces = bytes.chunks_mut(PIECE).enumerate();
        let mut coming = None;
        loop {
            let next = pieces.next();
            if let Some((i, piece)) = &next {
                self.fetch(stream, address + (i * PIECE) as u64, piece.len())?;
            }
            // While the next piece comes, the one before it is copied out of the other slot.
            if let Some(piece) = coming.take() {
                let slot = &self.slots[if next.is_some() { self.next } else { 1 - self.next }];
                copy_out(slot, piece)?;
            }
            match next {
                Some((_, piece)) => coming = Some(piece),
                None => return Ok(()),
            }
        }
    }

    #[allow(unsafe_code, reason = "a copy by address")]
    fn fetch(&mut self, stream: &CudaStream, address: u64, count: usize) -> Result<(), DriverError> {
        let slot = self.turn();
        slot.copied.synchronize()?;
        let pinned = &mut slot.memory.as_mut_slice()?[..count];
        // SAFETY: the caller has checked that the source lies within its memory. The slot is read once the event has passed.
        unsafe { result::memcpy_dtoh_async(pinned, address, stream.cu_stream()) }?;
        slot.copied.record(stream)
    }
}

fn copy_out(slot: &Slot, piece: &mut [u8]) -> Result<(), DriverError> {
    slot.copied.synchronize()?;
    piece.copy_from_slice(&slot.memory.as_slice()?[..piece.len()]);
    Ok(())
}
