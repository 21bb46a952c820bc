//! Numbers by which states are told apart: equal things have equal ones, in every run.
//!
//! With n states, two different ones are taken for the same with a probability of about n^2 / 2^65:
//! one in thirty thousand for a hundred million. The generator of the standard library would do as
//! well, but a third of all time went into it.

use std::hash::{Hash, Hasher};

/// The fingerprint of this value.
pub(crate) fn fingerprint(value: &impl Hash) -> u64 {
    let mut mixer = Mixer(0x243f_6a88_85a3_08d3);
    value.hash(&mut mixer);
    mixer.finish()
}

/// Multiplies each word into what was there, and folds the upper half of the product back.
struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word, 0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        fold(self.0, 0xd6e8_feb8_6659_fd93)
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_differs_in_a_bit_or_in_its_order_has_another_fingerprint() {
        let mut seen = BTreeSet::new();
        for a in 0..300_u64 {
            for b in 0..300_u64 {
                seen.insert(fingerprint(&(a, b)));
            }
        }
        assert_eq!(seen.len(), 300 * 300);
        assert_ne!(fingerprint(&[1_u8, 2]), fingerprint(&[1_u8, 2, 0]));
        assert_eq!(fingerprint(&vec![3_u64]), fingerprint(&vec![3_u64]));
    }
}
