//! [`Command`]: the bytes of a command, kept in place if they are few, and shared if they are more.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Deref;

/// What a state machine is told to do: bytes that the core does not look into.
///
/// The same command belongs to the log of every node, to messages, to writes and to state
/// machines, any of which may be on another thread. To count so many owners costs more than to
/// copy a few bytes: two atomic operations for each of them. So up to
/// [`IN_PLACE_BYTES`](Self::IN_PLACE_BYTES) are copied, without an allocation, and only more than
/// that are shared by reference count.
///
/// It reads as a slice of bytes, and compares, sorts and hashes as one.
#[derive(Clone)]
pub struct Command(Repr);

/// What has room in place is never shared.
#[derive(Clone)]
enum Repr {
    InPlace { length: u8, bytes: [u8; Command::IN_PLACE_BYTES] },
    Shared(Arc<[u8]>),
}

impl Command {
    /// The longest command that is kept in place, in bytes: as many as fit beside a length in the
    /// size of a shared one and its mark.
    pub const IN_PLACE_BYTES: usize = 22;

    /// A copy of these bytes.
    #[inline]
    pub fn copied_from(bytes: &[u8]) -> Self {
        Self::in_place(bytes).unwrap_or_else(|| Self(Repr::Shared(bytes.into())))
    }

    #[inline]
    fn in_place(given: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::IN_PLACE_BYTES];
        bytes.get_mut(..given.len())?.copy_from_slice(given);
        let length = u8::try_from(given.len()).ok()?;
        Some(Self(Repr::InPlace { length, bytes }))
    }
}

impl Deref for Command {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::InPlace { length, bytes } => &bytes[..usize::from(*length)],
            Repr::Shared(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Command {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Default for Command {
    fn default() -> Self {
        Self::copied_from(&[])
    }
}

impl From<&[u8]> for Command {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        Self::copied_from(bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for Command {
    fn from(bytes: &[u8; N]) -> Self {
        Self::copied_from(bytes)
    }
}

impl<const N: usize> From<[u8; N]> for Command {
    fn from(bytes: [u8; N]) -> Self {
        Self::copied_from(&bytes)
    }
}

/// Copies nothing that is too long to be kept in place.
impl From<Arc<[u8]>> for Command {
    #[inline]
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::in_place(&bytes).unwrap_or(Self(Repr::Shared(bytes)))
    }
}

impl From<Vec<u8>> for Command {
    fn from(bytes: Vec<u8>) -> Self {
        Self::in_place(&bytes).unwrap_or_else(|| Self(Repr::Shared(bytes.into())))
    }
}

impl From<Box<[u8]>> for Command {
    fn from(bytes: Box<[u8]>) -> Self {
        Self::in_place(&bytes).unwrap_or_else(|| Self(Repr::Shared(bytes.into())))
    }
}

impl FromIterator<u8> for Command {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        Vec::from_iter(bytes).into()
    }
}

impl PartialEq for Command {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Command {}

impl PartialOrd for Command {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Command {
    fn cmp(&self, other: &Self) -> Ordering {
        self[..].cmp(&other[..])
    }
}

impl Hash for Command {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self[..].hash(state);
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Command {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self[..].serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Command {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(length: usize) -> Vec<u8> {
        (0..length).map(|number| u8::try_from(number).expect("few")).collect()
    }

    #[test]
    fn it_reads_as_the_bytes_it_was_made_of_whatever_their_number() {
        for length in 0..=2 * Command::IN_PLACE_BYTES {
            let bytes = numbered(length);
            let made = [
                Command::copied_from(&bytes),
                Command::from(bytes.clone()),
                Command::from(bytes.clone().into_boxed_slice()),
                Command::from(Arc::<[u8]>::from(&bytes[..])),
            ];
            for command in &made {
                assert_eq!(command[..], bytes[..]);
                assert_eq!(command.clone(), made[0]);
            }
        }
    }

    #[test]
    fn only_what_is_too_long_for_its_place_is_shared() {
        let owners_of_two = |length| {
            let bytes: Arc<[u8]> = numbered(length).into();
            let command = Command::from(Arc::clone(&bytes));
            let _copy = command.clone();
            Arc::strong_count(&bytes)
        };
        assert_eq!(owners_of_two(Command::IN_PLACE_BYTES), 1);
        assert_eq!(owners_of_two(Command::IN_PLACE_BYTES + 1), 3);
    }

    #[test]
    fn commands_sort_as_their_bytes_do() {
        let sorted = [&b""[..], b"a", b"a longer one than fits in place", b"b"];
        let mut commands = sorted.map(Command::from);
        commands.reverse();
        commands.sort();
        assert_eq!(commands, sorted.map(Command::from));
    }

    /// Entries lie side by side in every batch, and travel inside messages and actions.
    #[test]
    fn a_command_takes_no_more_room_than_three_words() {
        assert_eq!(size_of::<Command>(), 24);
        assert_eq!(size_of::<crate::Payload>(), 24);
        assert_eq!(size_of::<crate::Entry>(), 40);
    }
}
