//! Huffman codes as deflate writes them (RFC 1951, section 3.2.7).

use super::deflate::Bits;

/// Symbols of the largest alphabet.
const MOST: usize = 288;

/// A canonical code: for each symbol its bits, first bit lowest, and their number (0: not used).
pub(super) struct Code {
    /// Code in the lower half, its length in the upper.
    entries: [u32; MOST],
    symbols: usize,
}

impl Code {
    /// The best code for symbols that occur so often, none longer than `longest` bits.
    pub fn of(counts: &[u32], longest: u8) -> Code {
        let lengths = lengths(counts, longest);
        let mut entries = [0; MOST];
        let mut per_length = [0u32; 16];
        for &length in &lengths[..counts.len()] {
            per_length[usize::from(length)] += 1;
        }
        per_length[0] = 0;
        let mut next = [0u32; 17];
        for length in 1..16 {
            next[length + 1] = (next[length] + per_length[length]) << 1;
        }
        for (entry, &length) in entries.iter_mut().zip(&lengths[..counts.len()]) {
            if length > 0 {
                let code = &mut next[usize::from(length)];
                *entry = (code.reverse_bits() >> (32 - u32::from(length))) | u32::from(length) << 16;
                *code += 1;
            }
        }
        Code {
            entries,
            symbols: counts.len(),
        }
    }

    /// A symbol's bits and their number.
    #[inline]
    pub fn get(&self, symbol: usize) -> (u64, u32) {
        let entry = self.entries[symbol];
        (u64::from(entry & 0xffff), entry >> 16)
    }

    /// Bits that so many of each symbol take, with those that follow each.
    pub fn bits(&self, counts: &[u32], extra: impl Fn(usize) -> u32) -> u64 {
        let each = |(symbol, &count): (usize, &u32)| {
            u64::from(count) * u64::from(self.get(symbol).1 + extra(symbol))
        };
        counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(each)
            .sum()
    }

    /// The lengths of all codes up to the last that is used, and of at least `least`.
    fn lengths(&self, least: usize) -> Vec<u8> {
        let used = |symbol: &usize| self.entries[*symbol] != 0;
        let count = (0..self.symbols).rev().find(used).map_or(0, |last| last + 1);
        (0..count.max(least))
            .map(|symbol| self.get(symbol).1 as u8)
            .collect()
    }
}

/// Code lengths after Huffman; where that makes them too long, the shortest of the long ones give way until the
/// code fits, which is near enough to the best for the few times that it happens.
fn lengths(counts: &[u32], longest: u8) -> [u8; MOST] {
    let mut out = [0; MOST];
    // Rarest first; equal ones by number, so that the code depends on nothing else.
    let mut order: Vec<(u32, u16)> = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(symbol, &count)| (count, symbol as u16))
        .collect();
    order.sort_unstable();
    if order.len() < 2 {
        // A code of one symbol still takes a bit.
        for (_, symbol) in order {
            out[usize::from(symbol)] = 1;
        }
        return out;
    }
    // Two queues, both sorted: the symbols, and the inner nodes in the order in which they are made.
    let leaves = order.len();
    let mut weights: Vec<u64> = order.iter().map(|&(count, _)| u64::from(count)).collect();
    let mut parents = vec![0usize; 2 * leaves - 1];
    let (mut leaf, mut inner) = (0, leaves);
    for node in leaves..2 * leaves - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            let lighter = leaf < leaves && (inner >= node || weights[leaf] <= weights[inner]);
            let child = if lighter { &mut leaf } else { &mut inner };
            weight += weights[*child];
            parents[*child] = node;
            *child += 1;
        }
        weights.push(weight);
    }
    let mut depths = vec![0usize; 2 * leaves - 1];
    let mut per_length = [0u32; 64];
    for node in (0..2 * leaves - 2).rev() {
        depths[node] = depths[parents[node]] + 1;
        if node < leaves {
            // Weights that grow like Fibonacci's numbers to 2^32 reach a depth of 47.
            per_length[depths[node].min(63)] += 1;
        }
    }
    limit(&mut per_length, usize::from(longest));
    let by_length = (1..=longest).rev().flat_map(|length| {
        let count = per_length[usize::from(length)] as usize;
        std::iter::repeat_n(length, count)
    });
    for (&(_, symbol), length) in order.iter().zip(by_length) {
        out[usize::from(symbol)] = length;
    }
    out
}

/// Shortens codes to `longest` bits, and lengthens others as far as that takes.
fn limit(per_length: &mut [u32; 64], longest: usize) {
    let too_long: u32 = per_length[longest + 1..].iter().sum();
    per_length[longest + 1..].fill(0);
    per_length[longest] += too_long;
    let whole = 1u64 << longest;
    let mut taken: u64 = (1..=longest)
        .map(|length| u64::from(per_length[length]) << (longest - length))
        .sum();
    while taken > whole {
        // The longest code that can be made longer makes room for one of the longest.
        let Some(length) = (1..longest).rev().find(|&length| per_length[length] > 0) else {
            return;
        };
        per_length[longest] -= 1;
        per_length[length] -= 1;
        per_length[length + 1] += 2;
        taken -= 1;
    }
}

/// The order in which the lengths of the code for lengths stand.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The head of a block: both codes, in a code of their own.
pub(super) struct Head {
    literals: usize,
    distances: usize,
    /// Symbol, and what follows it in how many bits.
    steps: Vec<(usize, u64, u32)>,
    code: Code,
    /// Lengths of `code` that are written.
    written: usize,
}

impl Head {
    pub fn of(literals: &Code, distances: &Code) -> Head {
        let (one, two) = (literals.lengths(257), distances.lengths(1));
        let mut all = one.clone();
        all.extend(&two);
        let steps = runs(&all);
        let mut counts = [0; 19];
        for &(symbol, ..) in &steps {
            counts[symbol] += 1;
        }
        let code = Code::of(&counts, 7);
        let used = |&&symbol: &&usize| code.get(symbol).1 > 0;
        let unused = ORDER.iter().rev().take_while(|symbol| !used(symbol)).count();
        Head {
            literals: one.len(),
            distances: two.len(),
            steps,
            code,
            written: (ORDER.len() - unused).max(4),
        }
    }

    /// Bits that it takes, with those that say what kind of block follows.
    pub fn bits(&self) -> u64 {
        let steps: u32 = self
            .steps
            .iter()
            .map(|&(symbol, _, extra)| self.code.get(symbol).1 + extra)
            .sum();
        u64::from(3 + 14 + steps) + 3 * self.written as u64
    }

    pub fn write(&self, bits: &mut Bits<'_>) {
        bits.put(self.literals as u64 - 257, 5);
        bits.put(self.distances as u64 - 1, 5);
        bits.put(self.written as u64 - 4, 4);
        for &symbol in &ORDER[..self.written] {
            bits.put(u64::from(self.code.get(symbol).1), 3);
        }
        for &(symbol, extra, count) in &self.steps {
            let (code, length) = self.code.get(symbol);
            bits.put(code | extra << length, length + count);
        }
    }
}

/// Lengths as symbols of the code for lengths: 16 repeats the last one 3 to 6 times, 17 and 18 stand for 3 to 10 and 11
/// to 138 zeros.
fn runs(lengths: &[u8]) -> Vec<(usize, u64, u32)> {
    let mut out = Vec::new();
    for run in lengths.chunk_by(|a, b| a == b) {
        let (length, mut left) = (usize::from(run[0]), run.len());
        if length > 0 {
            out.push((length, 0, 0));
            left -= 1;
        }
        while left >= 3 {
            let (symbol, least, most, bits) = match (length, left) {
                (0, 11..) => (18, 11, 138, 7),
                (0, _) => (17, 3, 10, 3),
                _ => (16, 3, 6, 2),
            };
            let count = left.min(most);
            out.push((symbol, (count - least) as u64, bits));
            left -= count;
        }
        out.extend(std::iter::repeat_n((length, 0, 0), left));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn codes_are_complete_and_no_longer_than_asked(
            mut counts in prop::collection::vec(0u32..50, 2..280), skew in 0usize..40,
        ) {
            // Fibonacci's numbers make the deepest trees.
            let (mut a, mut b) = (1u32, 1u32);
            for count in counts.iter_mut().take(skew) {
                *count = a;
                (a, b) = (b, a + b);
            }
            for longest in [9, 14, 15] {
                let lengths = lengths(&counts, longest);
                let used = counts.iter().filter(|count| **count > 0).count();
                let taken: u64 = (0..counts.len())
                    .filter(|&symbol| lengths[symbol] > 0)
                    .map(|symbol| 1 << (longest - lengths[symbol]))
                    .sum();
                for (symbol, &count) in counts.iter().enumerate() {
                    prop_assert_eq!(count > 0, lengths[symbol] > 0);
                    prop_assert!(lengths[symbol] <= longest);
                }
                if used > 1 {
                    prop_assert_eq!(taken, 1 << longest);
                }
            }
        }
    }
}
