//! With the feature `cuda`: compiles `cu/` for every card that Peel knows, and as PTX for later ones.

#![allow(clippy::expect_used, reason = "a build script ends with a message")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

include!("src/names.rs");

/// A100, L40S and 4090, H100; later cards compile the PTX of the last when they load it.
const TARGETS: [&str; 3] = ["80", "89", "90"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/names.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo:rerun-if-changed=cu");
    for name in ["NVCC", "CUDA_HOME", "CUDA_PATH"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let nvcc = nvcc();
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut table = String::from("const FATBINS: &[(&str, &[u8], &[&str])] = &[\n");
    for (source, kernels) in SOURCES {
        let fatbin = out.join(source).with_extension("fatbin");
        compile(&nvcc, &Path::new("cu").join(source).with_extension("cu"), &fatbin);
        writeln!(
            table,
            "    ({source:?}, include_bytes!({fatbin:?}), &{kernels:?}),"
        )
        .expect("strings grow");
    }
    table.push_str("];\n");
    std::fs::write(out.join("fatbins.rs"), table).expect("OUT_DIR can be written");
}

/// From NVCC, CUDA_HOME or CUDA_PATH, or by its name.
fn nvcc() -> PathBuf {
    if let Some(nvcc) = std::env::var_os("NVCC") {
        return nvcc.into();
    }
    ["CUDA_HOME", "CUDA_PATH"]
        .iter()
        .filter_map(|name| Some(Path::new(&std::env::var_os(name)?).join("bin/nvcc")))
        .find(|nvcc| nvcc.exists())
        .unwrap_or_else(|| "nvcc".into())
}

fn compile(nvcc: &Path, source: &Path, fatbin: &Path) {
    let mut command = Command::new(nvcc);
    command.args(["-std=c++17", "-O3", "--fatbin"]);
    // Comparisons to the bit do not survive contraction; nothing in these files is short of arithmetic.
    if source.ends_with("plate.cu") || source.ends_with("paint.cu") {
        command.arg("-fmad=false");
    }
    for target in TARGETS {
        command.arg(format!("-gencode=arch=compute_{target},code=sm_{target}"));
    }
    let last = TARGETS[TARGETS.len() - 1];
    command.arg(format!("-gencode=arch=compute_{last},code=compute_{last}"));
    command.arg(source).arg("-o").arg(fatbin);
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "{} does not compile {}:\n{}",
            nvcc.display(),
            source.display(),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(e) => panic!(
            "the feature `cuda` compiles kernels with nvcc, and {} does not start: {e}\n\
             get a toolkit without a card by crates/kernels/scripts/setup-cuda.sh, or set NVCC or CUDA_HOME",
            nvcc.display()
        ),
    }
}
