//! What the emulated card has to find, and what never reaches a card.

use peel_emulate::Emulated;
use peel_kernels::ops::{self, Activation, Tokens};
use peel_kernels::{Argument, Buffer, Card, Launch};

use super::Noise;
use super::linear::weight;

fn planted(
    kernel: &'static str,
    grid: u32,
    threads: u32,
    shared: usize,
    with_input: bool,
    count: Option<i32>,
) -> String {
    let card = Emulated::open(3).unwrap();
    let x = card.put(&vec![0.5f32; 64]).unwrap();
    let y: Buffer<Emulated, f32> = card.buffer(64).unwrap();
    let mut arguments = Vec::new();
    if with_input {
        arguments.push(x.argument());
    }
    arguments.push(y.argument());
    arguments.extend(count.map(Argument::Int));
    let launch = Launch {
        kernel,
        grid: [grid, 1, 1],
        threads,
        shared,
        arguments: &arguments,
    };
    match card.launch(&launch) {
        Ok(()) => panic!("{kernel}: not found"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn planted_faults_are_found() {
    let message = planted("planted_missing_barrier", 1, 64, 256, true, None);
    assert!(message.contains("race"), "{message}");
    let message = planted("planted_off_by_one", 1, 128, 0, true, Some(64));
    assert!(message.contains("outside of a buffer"), "{message}");
    let message = planted("planted_divergent_barrier", 1, 64, 0, false, None);
    assert!(message.contains("__syncthreads"), "{message}");
    let message = planted("planted_shared_overrun", 1, 64, 256, false, None);
    assert!(message.contains("shared memory"), "{message}");
    // An argument too few.
    let message = planted("planted_off_by_one", 1, 128, 0, true, None);
    assert!(message.contains("number of arguments"), "{message}");
}

#[test]
fn wrong_sizes_are_refused_before_the_card_sees_them() {
    let card = Emulated::open(1).unwrap();
    let mut noise = Noise(14);
    let (w, ..) = weight(&card, &mut noise, 4, 12, false);
    let x = card.put(&noise.halves(24)).unwrap();
    let message = ops::linear(&card, &x, 2, &w, Activation::None)
        .unwrap_err()
        .to_string();
    assert!(message.contains("multiple of 8"), "{message}");
    let own = card.put(&noise.halves(3 * 40)).unwrap();
    let tokens = Tokens {
        values: &own,
        samples: 1,
        tokens: 1,
    };
    let message = ops::attention(&card, &tokens, None, 1, 40)
        .unwrap_err()
        .to_string();
    assert!(message.contains("40 features"), "{message}");
    assert_eq!(card.launches(), 0);
}
