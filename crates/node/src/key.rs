//! Content keys: same key, same bytes.

use std::fmt;

/// A BLAKE3 hash of everything that a result depends on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// The key as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}..)", &self.hex()[..12])
    }
}

/// Collects what a key depends on. Every item is written with its type and length, so that two different
/// sequences of items never give the same bytes.
#[derive(Clone)]
pub struct KeyBuilder(blake3::Hasher);

impl KeyBuilder {
    /// Starts a key for one purpose, for instance a node's kind and version.
    pub fn new(purpose: &str) -> KeyBuilder {
        let mut builder = KeyBuilder(blake3::Hasher::new());
        builder.str(purpose);
        builder
    }

    /// Adds text.
    pub fn str(&mut self, text: &str) -> &mut Self {
        self.tagged(b's', text.as_bytes())
    }

    /// Adds raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.tagged(b'b', bytes)
    }

    /// Adds an integer.
    pub fn int(&mut self, value: i128) -> &mut Self {
        self.tagged(b'i', &value.to_le_bytes())
    }

    /// Adds a number by its bits; -0 counts as 0.
    pub fn float(&mut self, value: f64) -> &mut Self {
        let value = if value == 0.0 { 0.0 } else { value };
        self.tagged(b'f', &value.to_bits().to_le_bytes())
    }

    /// Adds another key.
    pub fn key(&mut self, key: &Key) -> &mut Self {
        self.tagged(b'k', &key.0)
    }

    /// The key of all that was added.
    pub fn finish(&self) -> Key {
        Key(*self.0.finalize().as_bytes())
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) -> &mut Self {
        self.0
            .update(&[tag])
            .update(&(bytes.len() as u64).to_le_bytes())
            .update(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_boundaries_count() {
        let ab_c = KeyBuilder::new("t").str("ab").str("c").finish();
        let a_bc = KeyBuilder::new("t").str("a").str("bc").finish();
        assert_ne!(ab_c, a_bc);
    }

    #[test]
    fn signed_zero_is_zero() {
        assert_eq!(
            KeyBuilder::new("t").float(0.0).finish(),
            KeyBuilder::new("t").float(-0.0).finish()
        );
    }
}
