//! The ordered keys, and where the history of each is.

use std::collections::BTreeMap;

use kv_proto::span::Span;
use kv_proto::{Bytes, KeyValue, Revision};

use crate::error::StoreError;
use crate::history::{History, Live, Version};
use crate::key::Key;
use crate::values::Reader;

/// The place of a key's history. It stays the same as long as anything of the key is retained;
/// then another key may get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyId(u32);

/// Every key of which something is retained, in order.
///
/// The tree holds nothing but the key and a number, because its nodes are half empty after
/// inserts in order: whatever stands in them is paid for almost twice. The histories stand close
/// together in a table. Places in it are used again, never given back.
#[derive(Debug, Default)]
pub(crate) struct Index {
    keys: BTreeMap<Key, KeyId>,
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
    /// The key's place, if anything of it is retained.
    pub(crate) fn find(&self, key: &[u8]) -> Option<KeyId> {
        self.keys.get(key).copied()
    }

    /// The key's place. If it has none, it gets one with an empty history, to which a version must
    /// be pushed.
    pub(crate) fn find_or_insert(&mut self, key: &[u8]) -> KeyId {
        let Self { keys, histories, free } = self;
        let place = || free.pop().unwrap_or_else(|| add_history(histories));
        *keys.entry(key.into()).or_insert_with(place)
    }

    /// The history at this place.
    pub(crate) fn history(&self, id: KeyId) -> &History {
        &self.histories[id.0 as usize]
    }

    /// The history at this place, to push a version to.
    pub(crate) fn history_mut(&mut self, id: KeyId) -> &mut History {
        &mut self.histories[id.0 as usize]
    }

    /// The keys of `span` that existed at `revision`, in order.
    pub(crate) fn live_at(
        &self,
        span: Span<'_>,
        revision: Revision,
    ) -> impl DoubleEndedIterator<Item = Found<'_>> {
        self.keys.range::<[u8], _>(span.bounds()).filter_map(move |(key, &id)| {
            let (version, live) = self.history(id).live_at(revision)?;
            let Version { modified, seq, .. } = *version;
            Some(Found { key: key.as_slice(), id, modified, seq, live })
        })
    }

    /// Removes a key of which nothing is left, and frees its place.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        if let Some(id) = self.keys.remove(key) {
            debug_assert!(self.history(id).is_empty(), "versions of the key are retained");
            self.free.push(id);
        }
    }
}

fn add_history(histories: &mut Vec<History>) -> KeyId {
    // Half a terabyte of them. Two keys in one place would be worse than an end.
    let id = u32::try_from(histories.len()).expect("fewer than 2^32 keys");
    histories.push(History::default());
    KeyId(id)
}

impl Found<'_> {
    /// The bytes it counts in an answer.
    pub(crate) fn size_bytes(&self, keys_only: bool) -> usize {
        let value_bytes = if keys_only { 0 } else { self.live.value_bytes as usize };
        self.key.len() + value_bytes
    }

    /// Its value.
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
