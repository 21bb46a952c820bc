//! What commands do to the store.

use kv_proto::span::Span;
use kv_proto::{
    Command, Compact, CompactReply, Delete, DeleteReply, Error, KeyValue, LeaseChange, LeaseId,
    Part, Put, PutReply, Reply, Revision,
};

use crate::disk::{PutRecord, Record};
use crate::error::{Failure, StoreError};
use crate::history::{Live, Version};
use crate::index::{Found, KeyId};
use crate::key::Key;
use crate::keys::Spot;
use crate::store::Store;

impl Store {
    /// Does what `command` says, or says why not and leaves everything as it was.
    pub(crate) fn execute(&mut self, command: &[u8]) -> Result<Reply, Failure> {
        let spot = self.ahead.next();
        let limit_bytes = self.limits.max_request_bytes;
        if command.len() > limit_bytes as usize {
            return Err(too_large(Part::Request, command.len(), limit_bytes).into());
        }
        let command = Command::decode(command)?;
        command.validate(&self.limits)?;
        match command {
            Command::Put(put) => self.put(&put, spot).map(Reply::Put),
            Command::Delete(delete) => self.delete(&delete).map(Reply::Delete),
            Command::Compact(compact) => self.compact(compact).map(Reply::Compact),
        }
    }

    fn put(&mut self, put: &Put<'_>, spot: Option<Spot>) -> Result<PutReply, Failure> {
        let id = self.place_for(put, spot)?;
        let old = self.found(put.key, id);
        let values = self.values.reader();
        let prev = match old.filter(|_| put.prev) {
            Some(old) => Some(old.to_key_value(old.value(&values)?)),
            None => None,
        };
        let kept;
        let value = match (put.value, old) {
            (Some(value), _) => value,
            (None, Some(old)) => {
                kept = old.value(&values)?;
                &*kept
            }
            (None, None) => return Err(Error::KeyNotFound.into()),
        };
        let modified = self.revision.next();
        let new = successor(put, old.map(|old| old.live), modified, value)?;
        self.revision = modified;
        let record = Record { modified, sub: 0, key: put.key, put: Some(new) };
        self.change(id, &record);
        Ok(PutReply { prev })
    }

    /// Where the history of the put's key is; the key most likely is or belongs at `spot`. If it
    /// has to exist, it is only looked for, so that a refused put leaves nothing behind.
    fn place_for(&mut self, put: &Put<'_>, spot: Option<Spot>) -> Result<KeyId, Error> {
        if let LeaseChange::Attach(lease) = put.lease {
            // None has ever been granted.
            return Err(Error::LeaseNotFound { lease });
        }
        if put.value.is_none() || put.lease == LeaseChange::Keep {
            return self.index.find(put.key).ok_or(Error::KeyNotFound);
        }
        Ok(self.index.find_or_insert(put.key, spot))
    }

    fn delete(&mut self, delete: &Delete<'_>) -> Result<DeleteReply, Failure> {
        let span = Span::parse(delete.key, delete.range_end)?;
        let prev = if delete.prev { self.removed_pairs(span)? } else { Vec::new() };
        let doomed: Vec<(Key, KeyId)> =
            self.live_now(span).map(|found| (found.key.into(), found.id)).collect();
        let deleted = doomed.len() as u64;
        if deleted > 0 {
            self.revision = self.revision.next();
        }
        for (place, (key, id)) in doomed.into_iter().enumerate() {
            let modified = self.revision;
            // More keys than that fit no memory; if they did, only their order would be lost.
            let sub = u32::try_from(place).unwrap_or(u32::MAX);
            self.change(id, &Record { modified, sub, key: key.as_slice(), put: None });
        }
        Ok(DeleteReply { deleted, prev })
    }

    /// Moves the compacted revision; what is superseded before it goes in steps.
    fn compact(&mut self, compact: Compact) -> Result<CompactReply, Failure> {
        let (current, compacted) = (self.revision, self.compacted_revision());
        match compact {
            Compact::Revision(asked) if asked > current => {
                return Err(Error::FutureRevision { asked, current }.into());
            }
            Compact::Revision(asked) if asked <= compacted => {
                return Err(Error::Compacted { asked, compacted }.into());
            }
            Compact::Revision(asked) => self.past.compact(asked),
            Compact::Keep(revisions) => {
                self.past.compact(Revision::new(current.get().saturating_sub(revisions)));
            }
        }
        // How much is overdue is known when this command has taken its part.
        Ok(CompactReply { compacted: self.compacted_revision(), overdue: 0 })
    }

    /// Gives a key a new version. Every change passes through here, and so into the digest.
    fn change(&mut self, id: KeyId, record: &Record<'_>) {
        let digest = &mut self.digest;
        digest.bytes(record.key);
        digest.number(record.modified.get());
        digest.number(u64::from(record.sub));
        match &record.put {
            None => digest.number(0),
            Some(put) => {
                digest.number(put.version);
                digest.number(put.created.get());
                digest.number(put.lease.map_or(0, LeaseId::get));
                digest.bytes(put.value);
            }
        }
        self.make(id, record.key, Version::of(record, self.next_seq));
        self.values.add(self.next_seq, record);
        self.next_seq += 1;
    }

    /// The pairs that a delete is about to remove, if they fit one reply. A single one always
    /// does.
    fn removed_pairs(&self, span: Span<'_>) -> Result<Vec<KeyValue>, Failure> {
        let doomed = || self.live_now(span);
        let (count, bytes) = doomed()
            .fold((0, 0), |(count, bytes), found| (count + 1, bytes + found.size_bytes(false)));
        let limits = &self.limits;
        if count > 1 && bytes > limits.max_reply_bytes as usize {
            return Err(too_large(Part::PreviousPairs, bytes, limits.max_reply_bytes).into());
        }
        if count > limits.max_reply_pairs.max(1) {
            let limit = limits.max_reply_pairs;
            return Err(Error::InvalidOptions {
                reason: format!(
                    "the delete would return {count} pairs, above the limit of {limit} in one \
                     answer: delete a smaller range, or do not ask for what was there"
                ),
            }
            .into());
        }
        let values = self.values.reader();
        let pair = |found: Found<'_>| Ok(found.to_key_value(found.value(&values)?));
        Ok(doomed().map(pair).collect::<Result<_, StoreError>>()?)
    }

    /// The keys of `span` that exist, in order.
    fn live_now(&self, span: Span<'_>) -> impl Iterator<Item = Found<'_>> {
        self.index.live_at(span, self.revision, &self.past)
    }

    fn found<'a>(&'a self, key: &'a [u8], id: KeyId) -> Option<Found<'a>> {
        let (version, live) = self.index.history(id).live()?;
        let Version { modified, seq, .. } = *version;
        Some(Found { key, id, modified, seq, live })
    }
}

/// What a key is after `put`, given what it was; fails if there is nothing to keep.
fn successor<'a>(
    put: &Put<'_>,
    old: Option<&Live>,
    modified: Revision,
    value: &'a [u8],
) -> Result<PutRecord<'a>, Error> {
    Ok(PutRecord {
        created: old.map_or(modified, |old| old.created),
        version: old.map_or(1, |old| old.version.saturating_add(1)),
        lease: match put.lease {
            LeaseChange::Detach => None,
            LeaseChange::Attach(lease) => Some(lease),
            LeaseChange::Keep => old.ok_or(Error::KeyNotFound)?.lease,
        },
        value,
    })
}

fn too_large(part: Part, size_bytes: usize, limit_bytes: u32) -> Error {
    Error::TooLarge { part, size_bytes: size_bytes as u64, limit_bytes: u64::from(limit_bytes) }
}
