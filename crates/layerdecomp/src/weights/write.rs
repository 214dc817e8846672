//! A safetensors file, written a tensor at a time: each is computed when its turn comes and forgotten when it is on disk.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use crate::{Error, Result};

/// What the header says of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// Number format as safetensors names it.
    pub dtype: &'static str,
    pub shape: Vec<usize>,
}

impl Slot {
    /// Bytes of a number.
    fn each(&self) -> usize {
        match self.dtype {
            "F32" => 4,
            "F16" | "BF16" => 2,
            _ => 1,
        }
    }

    /// Bytes of the tensor.
    pub fn bytes(&self) -> u64 {
        (self.each() * self.shape.iter().product::<usize>()) as u64
    }
}

#[derive(Serialize)]
struct Header<'a> {
    dtype: &'a str,
    shape: &'a [usize],
    data_offsets: [u64; 2],
}

/// Writes the file; `bytes` makes the tensor of a name, as long as its slot says.
///
/// # Errors
/// What `bytes` reports, or that the file cannot be written.
pub(super) fn write(
    path: &Path,
    slots: &BTreeMap<String, Slot>,
    mut bytes: impl FnMut(&str) -> Result<Vec<u8>>,
) -> Result<()> {
    // Wide numbers first, so that every tensor lies at a multiple of its numbers' size.
    let mut order: Vec<(&String, &Slot)> = slots.iter().collect();
    order.sort_by_key(|(name, slot)| (std::cmp::Reverse(slot.each()), *name));
    let (mut header, mut at) = (BTreeMap::new(), 0);
    for (name, slot) in &order {
        let end = at + slot.bytes();
        let entry = Header {
            dtype: slot.dtype,
            shape: &slot.shape,
            data_offsets: [at, end],
        };
        header.insert(name.as_str(), entry);
        at = end;
    }
    let mut header = serde_json::to_vec(&header).map_err(|e| Error::Weights {
        path: path.to_path_buf(),
        reason: e.to_string(),
    })?;
    header.resize(header.len().next_multiple_of(8), b' ');

    let file = std::fs::File::create(path).map_err(Error::file(path))?;
    let mut file = BufWriter::new(file);
    let mut put = |bytes: &[u8]| file.write_all(bytes).map_err(Error::file(path));
    put(&(header.len() as u64).to_le_bytes())?;
    put(&header)?;
    for (name, slot) in order {
        let bytes = bytes(name)?;
        if bytes.len() as u64 != slot.bytes() {
            return Err(Error::Weights {
                path: path.to_path_buf(),
                reason: format!("{name}: {} bytes where {} are due", bytes.len(), slot.bytes()),
            });
        }
        put(&bytes)?;
    }
    file.flush().map_err(Error::file(path))
}
