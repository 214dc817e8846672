//! How launches come to a card: out of an arena, recorded and replayed, within its memory.

use peel_emulate::Emulated;
use peel_kernels::ops;
use peel_kernels::{Arena, Buffer, Card, Error, Result};

/// Doubles three times: two buffers are alive at once.
fn eightfold<C: Card>(card: &C, x: &Buffer<C, f32>) -> Result<Buffer<C, f32>> {
    let mut y = ops::combine(card, &[(2.0, x)])?;
    for _ in 0..2 {
        y = ops::combine(card, &[(2.0, &y)])?;
    }
    Ok(y)
}

#[test]
fn an_arena_is_planned_without_a_card_and_holds_just_what_is_needed() {
    let arena = Arena::new(Emulated::open(1).unwrap().with_memory(2048 + 64));
    let work = || -> Result<Vec<f32>> {
        let x = arena.put(&[1.0f32; 64])?;
        arena.get(&eightfold(&arena, &x)?)
    };
    // The input, and two results of 256 bytes.
    assert_eq!(arena.plan(work).unwrap(), 768);
    assert_eq!(arena.card().launches(), 0);
    assert_eq!(arena.within(768, work).unwrap(), [8.0; 64]);
    assert!(matches!(
        arena.within(512, work),
        Err(Error::OutOfMemory { bytes: 256 })
    ));
    assert!(matches!(
        arena.within(4096, work),
        Err(Error::OutOfMemory { bytes: 4096 })
    ));
    // All of it was given back, and outside of a slab pieces are the card's own.
    assert_eq!(arena.within(2048, work).unwrap(), [8.0; 64]);
    assert_eq!(work().unwrap(), [8.0; 64]);
}

#[test]
fn a_recording_runs_when_it_is_replayed_over_what_is_there_by_then() {
    let arena = Arena::new(Emulated::open(2).unwrap());
    let (x, y, recording) = arena
        .within(1024, || -> Result<_> {
            let x: Buffer<_, f32> = arena.buffer(64)?;
            let mut y = None;
            let recording = arena.record(|| {
                y = Some(eightfold(&arena, &x)?);
                Ok::<_, Error>(())
            })?;
            Ok((x, y.unwrap(), recording))
        })
        .unwrap();
    assert_eq!(arena.card().launches(), 0);
    for value in [1.0, -3.0] {
        x.set(&arena, &[value; 64]).unwrap();
        arena.replay(&recording).unwrap();
        assert_eq!(arena.get(&y).unwrap(), [8.0 * value; 64]);
    }
    assert_eq!(arena.card().launches(), 6);
}

#[test]
fn nothing_is_allocated_or_copied_while_launches_are_recorded() {
    let card = Emulated::open(3).unwrap();
    let x = card.put(&[1.0f32; 4]).unwrap();
    let refused = |work: &dyn Fn() -> Result<()>| card.record(work).unwrap_err().to_string();
    assert!(refused(&|| card.buffer::<f32>(4).map(drop)).contains("recorded"));
    assert!(refused(&|| x.set(&card, &[2.0; 4])).contains("recorded"));
    assert!(refused(&|| card.get(&x).map(drop)).contains("recorded"));
    assert_eq!(card.get(&x).unwrap(), [1.0; 4]);
}
