//! The table of registers and spills, `ptxas.md`: complete, without spills, and, where there is an nvcc, true.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use peel_kernels::names::SOURCES;

const TABLE: &str = include_str!("../ptxas.md");

#[test]
fn every_kernel_is_in_the_table_and_spills_nothing() {
    for kernel in SOURCES.iter().flat_map(|(_, kernels)| *kernels) {
        let row = TABLE
            .lines()
            .find(|line| line.starts_with(&format!("| {kernel} |")))
            .unwrap_or_else(|| panic!("{kernel} is not in ptxas.md; run scripts/ptxas-table.sh"));
        for cell in row.trim_matches('|').split('|').skip(1) {
            let numbers: Vec<u32> = cell.split('/').map(|n| n.trim().parse().unwrap()).collect();
            let [registers, spills, stack] = numbers[..] else {
                panic!("{kernel}: {cell}");
            };
            // The table says why that one has a stack.
            let most = if *kernel == "paint" { 48 } else { 0 };
            assert!(
                registers <= 255 && spills == 0 && stack <= most,
                "{kernel}: {cell}"
            );
        }
    }
}

/// Minutes of nvcc: on demand (`cargo test --release -p peel-kernels --test ptxas -- --ignored`), with `local/cuda/env.sh` sourced.
#[test]
#[ignore = "compiles every kernel for every card; needs nvcc 13.0.88"]
fn the_table_is_what_the_compiler_says() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/ptxas-table.sh");
    let output = Command::new(script).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), TABLE);
}
