//! A write, as it travels through the log.
//!
//! The bytes of a command are a format byte, its metadata through the codec, then the key, then the
//! value (of a put) or the range end (of a delete), both raw. They outlive the process that wrote
//! them: a layout once released is never changed, new commands get new variants at the end of
//! `Meta`, and a new layout gets a new format byte.

use serde::{Deserialize, Serialize};
use wire::codec;

use crate::error::{Error, Part};
use crate::ids::{LeaseId, Revision};
use crate::limits::Limits;
use crate::span::Span;

/// The first byte of every command of this layout.
const FORMAT: u8 = 1;

/// A write. It borrows its keys and values: from the caller when it is made, from the log when it
/// is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Store a value at a key.
    Put(Put<'a>),
    /// Remove keys.
    Delete(Delete<'a>),
    /// Forget old revisions.
    Compact(Compact),
}

/// Stores a value at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put<'a> {
    /// Where.
    pub key: &'a [u8],
    /// The new value. `None` keeps the value the key has, and is an error if there is no such key.
    pub value: Option<&'a [u8]>,
    /// What becomes of the key's lease.
    pub lease: LeaseChange,
    /// Whether to answer with the pair as it was before.
    pub prev: bool,
}

impl<'a> Put<'a> {
    /// Stores `value` at `key`, without a lease and without asking for what was there.
    pub const fn new(key: &'a [u8], value: &'a [u8]) -> Self {
        Self { key, value: Some(value), lease: LeaseChange::Detach, prev: false }
    }
}

/// What a put does to the lease of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseChange {
    /// The key has no lease from now on.
    #[default]
    Detach,
    /// The key goes when this lease ends. An error if there is no such lease.
    Attach(LeaseId),
    /// The key keeps the lease it has, if any. An error if there is no such key.
    Keep,
}

/// Removes keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete<'a> {
    /// The first key; with `range_end`, see [`Span::parse`].
    pub key: &'a [u8],
    /// Where to stop; empty for the one key.
    pub range_end: &'a [u8],
    /// Whether to answer with the pairs that were removed. They must then fit one reply: if they
    /// do not, nothing is removed and the error is [`Error::TooLarge`].
    pub prev: bool,
}

impl<'a> Delete<'a> {
    /// Removes one key, without asking for what was there.
    pub const fn key(key: &'a [u8]) -> Self {
        Self { key, range_end: &[], prev: false }
    }
}

/// Forgets old revisions: those before the one that it names cannot be read any more. It changes
/// no key and makes no revision of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compact {
    /// The oldest revision that can be read from now on. [`Error::Compacted`] if that is so
    /// already, or a later one; [`Error::FutureRevision`] if it does not exist yet.
    Revision(Revision),
    /// The last so many revisions before the current one can be read from now on, and no more.
    /// Never an error: if there are no more, nothing changes.
    Keep(u64),
}

/// What stands before the raw bytes. The order of the variants and fields is the format.
#[derive(Serialize, Deserialize)]
enum Meta {
    Put { key_bytes: u32, keep_value: bool, lease: LeaseChange, prev: bool },
    Delete { key_bytes: u32, prev: bool },
    Compact(Compact),
}

impl<'a> Command<'a> {
    /// Appends the bytes of this command to `out`.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] for a key of 4 GiB or more; `out` is left as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let (meta, key, rest) = match self {
            Self::Put(put) => {
                let meta = Meta::Put {
                    key_bytes: key_bytes(put.key)?,
                    keep_value: put.value.is_none(),
                    lease: put.lease,
                    prev: put.prev,
                };
                (meta, put.key, put.value.unwrap_or_default())
            }
            Self::Delete(delete) => {
                let meta = Meta::Delete { key_bytes: key_bytes(delete.key)?, prev: delete.prev };
                (meta, delete.key, delete.range_end)
            }
            Self::Compact(compact) => (Meta::Compact(*compact), [].as_slice(), [].as_slice()),
        };
        let start = out.len();
        if let Err(error) = codec::encode(out, &(FORMAT, meta)) {
            out.truncate(start);
            return Err(error.into());
        }
        out.extend_from_slice(key);
        out.extend_from_slice(rest);
        Ok(())
    }

    /// Reads a command back from exactly its bytes, borrowing the key and the value.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if they are no command this version knows, and
    /// [`Error::InvalidOptions`] for a put that both keeps the value and brings one.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        let Some((&FORMAT, bytes)) = bytes.split_first() else {
            return Err(Error::malformed("a command in an unknown format"));
        };
        let (meta, raw) = codec::decode(bytes)?;
        match meta {
            Meta::Put { key_bytes, keep_value, lease, prev } => {
                let (key, rest) = split_key(raw, key_bytes)?;
                let value = match (keep_value, rest) {
                    (false, value) => Some(value),
                    (true, []) => None,
                    (true, _) => return Err(Error::value_kept_and_given()),
                };
                Ok(Self::Put(Put { key, value, lease, prev }))
            }
            Meta::Delete { key_bytes, prev } => {
                let (key, range_end) = split_key(raw, key_bytes)?;
                Ok(Self::Delete(Delete { key, range_end, prev }))
            }
            Meta::Compact(compact) if raw.is_empty() => Ok(Self::Compact(compact)),
            Meta::Compact(_) => Err(Error::malformed("bytes behind a compaction")),
        }
    }

    /// Checks everything that can be told without looking at the store.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyKey`], or [`Error::TooLarge`] with the limit that was passed.
    pub fn validate(&self, limits: &Limits) -> Result<(), Error> {
        match self {
            Self::Put(put) => {
                limits.check_key(put.key)?;
                limits.check_value(put.value.unwrap_or_default())
            }
            Self::Delete(delete) => {
                Span::parse(delete.key, delete.range_end)?;
                limits.check_key(delete.key)?;
                limits.check_range_end(delete.range_end)
            }
            Self::Compact(_) => Ok(()),
        }
    }
}

fn key_bytes(key: &[u8]) -> Result<u32, Error> {
    u32::try_from(key.len()).map_err(|_| Error::TooLarge {
        part: Part::Key,
        size_bytes: key.len() as u64,
        limit_bytes: u64::from(u32::MAX),
    })
}

fn split_key(raw: &[u8], key_bytes: u32) -> Result<(&[u8], &[u8]), Error> {
    raw.split_at_checked(key_bytes as usize)
        .ok_or_else(|| Error::malformed("a command shorter than its key"))
}
