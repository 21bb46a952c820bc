//! The ordered keys, and where the history of each is.

use kv_proto::span::Span;
use kv_proto::{Bytes, KeyValue, Revision};

use crate::error::StoreError;
use crate::history::{History, Live, Version};
use crate::key::Key;
use crate::keys::{Keys, Spot, touch};
use crate::retention::{Deletion, Note, Past};
use crate::values::Reader;

/// The place of a key's history. It stays the same as long as anything of the key is retained;
/// then another key may get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyId(u32);

impl KeyId {
    /// The place behind these histories.
    ///
    /// # Panics
    ///
    /// If there are 2^32 of them, which take a quarter of a terabyte. Two keys in one place would
    /// be worse than an end.
    pub(crate) fn next(histories: &[History]) -> Self {
        Self::at(histories.len())
    }

    /// The place with this index.
    ///
    /// # Panics
    ///
    /// As [`next`](Self::next).
    pub(crate) fn at(place: usize) -> Self {
        Self(u32::try_from(place).expect("fewer than 2^32 keys"))
    }

    /// The same place after so many others were put before.
    pub(crate) fn moved_by(self, places: usize) -> Self {
        let moved = u32::try_from(places).ok().and_then(|places| self.0.checked_add(places));
        Self(moved.expect("fewer than 2^32 keys"))
    }

    /// As an index.
    pub(crate) fn place(self) -> usize {
        self.0 as usize
    }

    #[cfg(test)]
    pub(crate) fn new(number: u32) -> Self {
        Self(number)
    }
}

/// Every key of which something is retained, in order.
///
/// With the keys there stands nothing but a number, so that they are close together. The histories
/// stand in a table. Places in it are used again, never given back.
#[derive(Debug, Default)]
pub(crate) struct Index {
    keys: Keys,
    histories: Vec<History>,
    /// Places of the table that belong to no key.
    free: Vec<KeyId>,
}

/// A key that exists at the revision looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) id: KeyId,
    pub(crate) modified: Revision,
    pub(crate) seq: u64,
    pub(crate) live: &'a Live,
}

impl Index {
    /// The index in which the history of every key of `keys` is in its place, and that of no key
    /// in those that are `free`.
    pub(crate) fn from_parts(keys: Keys, histories: Vec<History>, free: Vec<KeyId>) -> Self {
        Self { keys, histories, free }
    }

    /// The key's place, if anything of it is retained.
    pub(crate) fn find(&self, key: &[u8]) -> Option<KeyId> {
        self.keys.get(key)
    }

    /// Where each of these keys is or belongs, in their order; none if there are no keys. The
    /// processor has their histories at hand then.
    pub(crate) fn spots(&self, keys: &[&[u8]]) -> Vec<Spot> {
        let spots = self.keys.spots(keys);
        touch(spots.iter().filter_map(|spot| spot.id()).map(|id| self.history(id).clone()));
        spots
    }

    /// The key's place, which most likely is at `spot`. If it has none, it gets one with an empty
    /// history, to which a version must be pushed.
    pub(crate) fn find_or_insert(&mut self, key: &[u8], spot: Option<Spot>) -> KeyId {
        let Self { keys, histories, free } = self;
        let place = || free.pop().unwrap_or_else(|| add_history(histories));
        keys.get_or_insert(key, spot, place)
    }

    /// The history at this place.
    pub(crate) fn history(&self, id: KeyId) -> &History {
        &self.histories[id.place()]
    }

    /// Makes `version` what the key is from now on, and notes what it was. Returns whether it
    /// existed.
    pub(crate) fn make(
        &mut self,
        id: KeyId,
        key: &[u8],
        version: Version,
        past: &mut Past,
    ) -> bool {
        let history = &mut self.histories[id.place()];
        let (at, seq, is_deletion) = (version.modified, version.seq, !version.is_live());
        let old = history.latest.replace(version).filter(Version::is_live);
        let Some(superseded) = old else { return false };
        let deletion = is_deletion.then(|| Deletion { seq, key: key.into() });
        let note = Note::new(at, id, key, superseded, deletion);
        history.before = past.push(Note { before: history.before, ..note });
        true
    }

    /// How many keys of `span` are here, whether they exist or not.
    pub(crate) fn count(&self, span: Span<'_>) -> usize {
        match span {
            Span::One(key) => usize::from(self.keys.get(key).is_some()),
            Span::Between(start, end) => self.keys.count(start, Some(end)),
            Span::From(start) => self.keys.count(start, None),
        }
    }

    /// Removes the key of a note that was the last of it, if the key was deleted and not put since.
    /// Returns the key if so.
    pub(crate) fn forget(&mut self, note: Note) -> Option<Key> {
        let deletion = note.deletion?;
        let history = &mut self.histories[note.id.place()];
        if history.latest.as_ref().is_none_or(|latest| latest.seq != deletion.seq) {
            return None;
        }
        *history = History::default();
        self.keys.remove(deletion.key.as_slice());
        self.free.push(note.id);
        Some(deletion.key)
    }

    /// The keys of `span` that existed at `revision`, in order.
    // A get of one key has no iterator left of it then.
    #[inline]
    pub(crate) fn live_at<'a>(
        &'a self,
        span: Span<'_>,
        revision: Revision,
        past: &'a Past,
    ) -> impl DoubleEndedIterator<Item = Found<'a>> {
        // One key is found in half the time that it takes to find both ends of a range.
        let (one, many) = match span {
            Span::One(key) => (self.keys.get_pair(key), None),
            Span::Between(start, end) => (None, Some(self.keys.range(start, Some(end)))),
            Span::From(start) => (None, Some(self.keys.range(start, None))),
        };
        let pairs = one.into_iter().chain(many.into_iter().flatten());
        pairs.filter_map(move |(key, id)| {
            let (version, live) = self.history(id).live_at(revision, past)?;
            let Version { modified, seq, .. } = *version;
            Some(Found { key: key.as_slice(), id, modified, seq, live })
        })
    }
}

fn add_history(histories: &mut Vec<History>) -> KeyId {
    let id = KeyId::next(histories);
    histories.push(History::default());
    id
}

impl Found<'_> {
    /// The bytes it counts in an answer.
    pub(crate) fn size_bytes(&self, keys_only: bool) -> usize {
        let value_bytes = if keys_only { 0 } else { self.live.value_bytes as usize };
        self.key.len() + value_bytes
    }

    /// Its value, if that is in memory.
    pub(crate) fn value_in_memory(&self, values: &Reader<'_>) -> Option<Bytes> {
        match self.live.value_bytes {
            0 => Some(Bytes::default()),
            _ => values.in_memory(self.seq),
        }
    }

    /// Its value, wherever it is.
    pub(crate) fn value(&self, values: &Reader<'_>) -> Result<Bytes, StoreError> {
        match self.live.value_bytes {
            0 => Ok(Bytes::default()),
            _ => values.load(self.seq),
        }
    }

    /// The pair as it is told to clients, with this value.
    pub(crate) fn to_key_value(self, value: Bytes) -> KeyValue {
        KeyValue {
            key: Bytes::from(self.key),
            value,
            create_revision: self.live.created,
            mod_revision: self.modified,
            version: self.live.version,
            lease: self.live.lease,
        }
    }
}
