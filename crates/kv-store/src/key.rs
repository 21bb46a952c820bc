//! A key as the index holds it.

use std::cmp::Ordering;
use std::fmt;

/// The longest key that stands in the index itself: what still leaves a [`Key`] at three words.
const SHORT_BYTES: usize = 22;

/// The bytes of a key, ordered as such.
///
/// Looking for a key compares it with some twenty others. A short one is compared where it stands;
/// only a long one costs a jump to another place in memory, and an allocation.
#[derive(Clone)]
pub(crate) struct Key(Repr);

#[derive(Clone)]
enum Repr {
    /// The first `len` of `bytes`.
    Short {
        len: u8,
        bytes: [u8; SHORT_BYTES],
    },
    Long(Box<[u8]>),
}

impl Key {
    /// The bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Repr::Short { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Long(bytes) => bytes,
        }
    }

    /// The key; what is left here is not to be used.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self(Repr::Short { len: 0, bytes: [0; SHORT_BYTES] }))
    }

    #[inline]
    fn head(&self) -> Head {
        match &self.0 {
            Repr::Short { bytes, .. } => head(bytes),
            // At least as long as a head.
            Repr::Long(bytes) => bytes.first_chunk().map_or((u128::MAX, u64::MAX), head),
        }
    }
}

impl From<&[u8]> for Key {
    fn from(key: &[u8]) -> Self {
        let mut bytes = [0; SHORT_BYTES];
        match (u8::try_from(key.len()), bytes.get_mut(..key.len())) {
            (Ok(len), Some(place)) => {
                place.copy_from_slice(key);
                Self(Repr::Short { len, bytes })
            }
            _ => Self(Repr::Long(key.into())),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.head().cmp(&other.head()).then_with(|| self.as_slice().cmp(other.as_slice()))
    }
}

/// A key that is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needle<'a> {
    head: Head,
    key: &'a [u8],
}

impl<'a> Needle<'a> {
    pub(crate) fn new(key: &'a [u8]) -> Self {
        let mut bytes = [0; SHORT_BYTES];
        let shared = key.len().min(SHORT_BYTES);
        bytes[..shared].copy_from_slice(&key[..shared]);
        Self { head: head(&bytes), key }
    }

    /// How it stands to a key of the index.
    #[inline]
    pub(crate) fn cmp_to(&self, key: &Key) -> Ordering {
        self.head.cmp(&key.head()).then_with(|| self.key.cmp(key.as_slice()))
    }

    /// A byte that is most often another one for another key, also for one that begins or ends
    /// alike.
    pub(crate) fn tag(&self) -> u8 {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut words = [0; SHORT_BYTES + 2];
        words[..16].copy_from_slice(&self.head.0.to_le_bytes());
        words[16..].copy_from_slice(&self.head.1.to_le_bytes());
        let length = self.key.len() as u64;
        let mixed = words.as_chunks::<8>().0.iter().fold(length, |mixed, word| {
            let spread = (mixed ^ u64::from_le_bytes(*word)).wrapping_mul(SPREAD);
            spread ^ (spread >> 32)
        });
        mixed.to_le_bytes()[0]
    }

    pub(crate) fn is_at_or_after(&self, key: &Key) -> bool {
        self.cmp_to(key) != Ordering::Less
    }
}

/// The beginning of a key in two numbers, which order as it does. What is missing counts as zeros,
/// so two keys with equal heads may still differ; with heads that differ, they stand to each other
/// as those do.
type Head = (u128, u64);

fn head(bytes: &[u8; SHORT_BYTES]) -> Head {
    let mut rest = [0; 8];
    rest[..SHORT_BYTES - 16].copy_from_slice(&bytes[16..]);
    let first = bytes.first_chunk().copied().map_or(0, u128::from_be_bytes);
    (first, u64::from_be_bytes(rest))
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_slice().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_come_back_and_keep_their_order() {
        let bytes: Vec<u8> = (0..64).collect();
        for length in 0..64 {
            let (key, longer) = (Key::from(&bytes[..length]), Key::from(&bytes[..=length]));
            assert_eq!(key.as_slice(), &bytes[..length]);
            assert!(key < longer && key == key.clone());
            let other = Key::from([&bytes[..length], &[0xff]].concat().as_slice());
            assert!(longer < other, "the last byte decides");
        }
    }

    #[test]
    fn a_needle_stands_to_keys_as_its_bytes_do() {
        let pieces: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"a", b"a\0", b"b", b"\xff"];
        let starts = [0, 1, 7, 15, 16, 20, 21, 22, 23, 40].map(|length| vec![b'k'; length]);
        let keys: Vec<_> =
            starts.iter().flat_map(|start| pieces.map(|end| [start, end].concat())).collect();
        for (needle, key) in keys.iter().flat_map(|key| keys.iter().map(move |other| (key, other)))
        {
            let order = Needle::new(needle).cmp_to(&Key::from(key.as_slice()));
            assert_eq!(order, needle.cmp(key), "{needle:?} and {key:?}");
        }
    }

    #[test]
    fn a_key_takes_three_words() {
        assert_eq!(size_of::<Key>(), 24);
        assert_eq!(size_of::<Option<Key>>(), 24);
    }
}
