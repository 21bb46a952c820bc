//! A key as the index holds it.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

/// The longest key that stands in the index itself: what still leaves a [`Key`] at three words.
const SHORT_BYTES: usize = 22;

/// The bytes of a key, ordered as such.
///
/// Looking for a key compares it with some forty others on the way down the tree. A short one is
/// compared where it stands; only a long one costs a jump to another place in memory, and an
/// allocation.
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

/// As the map needs it to look for a key by its bytes: equality and order are those of the bytes.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
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
        self.as_slice().cmp(other.as_slice())
    }
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
    fn a_key_takes_three_words() {
        assert_eq!(size_of::<Key>(), 24);
        assert_eq!(size_of::<Option<Key>>(), 24);
    }
}
