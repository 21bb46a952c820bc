//! One number that sums up everything that was applied, in order.

/// A running 64-bit digest, sensitive to order.
///
/// Guarantee: each step is a bijection of the state for a given word. Two digests that differ stay
/// different while both are fed the same, so a divergence is never forgotten by itself; several
/// unrelated differences cancel each other out with a chance of about one in 2^64.
///
/// It finds mistakes, not attacks: whoever can choose what is fed can make two digests equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(u64);

/// Odd, so that multiplying by it can be undone; 2^64 divided by the golden ratio, so that it
/// spreads every bit of its input upwards.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl Digest {
    /// The digest of nothing.
    pub(crate) const EMPTY: Self = Self(MULTIPLIER);

    /// The digest with this value, to go on from.
    pub(crate) const fn resume(value: u64) -> Self {
        Self(value)
    }

    /// Its value.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, number: u64) {
        let spread = (self.0 ^ number).wrapping_mul(MULTIPLIER);
        // Brings the well-mixed upper half down, which the multiplication alone never does.
        self.0 = spread ^ (spread >> 32);
    }

    /// Adds bytes. Their length goes first, so that no two sequences of bytes are fed alike.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.number(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.number(u64::from_le_bytes(word));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &[&[u8]]) -> Digest {
        let mut digest = Digest::EMPTY;
        for piece in pieces {
            digest.bytes(piece);
        }
        digest
    }

    #[test]
    fn every_bit_counts() {
        let plain = of(&[&[0; 40]]);
        for bit in 0..8 * 40 {
            let mut flipped = [0; 40];
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(of(&[&flipped]), plain, "bit {bit}");
        }
    }

    #[test]
    fn order_and_borders_count() {
        assert_ne!(of(&[b"a", b"b"]), of(&[b"b", b"a"]));
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"a"]), of(&[b"a\0"]));
        assert_ne!(of(&[b""]), of(&[]));
    }

    #[test]
    fn a_difference_outlives_everything_that_is_fed_alike() {
        let (mut left, mut right) = (of(&[b"left"]), of(&[b"right"]));
        for number in 0..10_000 {
            left.number(number);
            right.number(number);
            assert_ne!(left, right);
        }
    }

    #[test]
    fn the_same_on_every_machine() {
        assert_eq!(of(&[b"raft", b"key and value"]).get(), 0x43b0_bf2e_b4fd_46ee);
    }
}
