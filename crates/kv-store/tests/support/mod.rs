//! A store with the log that feeds it, in few words.

#![allow(dead_code, reason = "every test file uses some of it")]

pub(crate) mod sim_disk;
pub(crate) mod workload;

use kv_proto::{
    Command, Delete, DeleteReply, Error, KeyValue, Limits, Put, PutReply, Range, RangeReply, Reply,
    Revision,
};
use kv_store::{Applied, Position, Retention, Store};

/// Applies commands at the next index, as a log would.
#[derive(Debug)]
pub(crate) struct Fed {
    pub(crate) store: Store,
}

impl Fed {
    pub(crate) fn new() -> Self {
        Self { store: Store::new(Limits::default()) }
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self { store: Store::new(limits) }
    }

    pub(crate) fn with_retention(revisions: u64, history_bytes: u64) -> Self {
        let retention = Retention { revisions, history_bytes };
        Self { store: Store::with_retention(Limits::default(), retention) }
    }

    /// What becomes of these bytes.
    pub(crate) fn apply_bytes(&mut self, command: &[u8]) -> Applied {
        self.store.apply(entry(self.store.applied_index() + 1), command).expect("it has no disk")
    }

    /// An entry without a command.
    pub(crate) fn skip(&mut self) {
        self.store.skip(entry(self.store.applied_index() + 1)).expect("it has no disk");
    }

    /// What becomes of this command.
    pub(crate) fn apply(&mut self, command: Command<'_>) -> Applied {
        self.apply_bytes(&encode(&command))
    }

    pub(crate) fn try_put(&mut self, put: Put<'_>) -> Result<PutReply, Error> {
        match self.apply(Command::Put(put)).result? {
            Reply::Put(reply) => Ok(reply),
            other => panic!("a put was answered with {other:?}"),
        }
    }

    pub(crate) fn try_delete(&mut self, delete: Delete<'_>) -> Result<DeleteReply, Error> {
        match self.apply(Command::Delete(delete)).result? {
            Reply::Delete(reply) => Ok(reply),
            other => panic!("a delete was answered with {other:?}"),
        }
    }

    /// Puts, and returns the revision after it.
    pub(crate) fn put(&mut self, key: &str, value: &str) -> u64 {
        self.try_put(Put::new(key.as_bytes(), value.as_bytes())).expect("the put succeeds");
        self.revision()
    }

    /// Deletes, and returns how many keys went.
    pub(crate) fn delete(&mut self, key: &str, range_end: &str) -> u64 {
        let delete = Delete { key: key.as_bytes(), range_end: range_end.as_bytes(), prev: false };
        self.try_delete(delete).expect("the delete succeeds").deleted
    }

    pub(crate) fn revision(&self) -> u64 {
        self.store.revision().get()
    }

    pub(crate) fn get(&self, key: &str) -> Option<KeyValue> {
        self.range(&Range::key(key)).kvs.into_iter().next()
    }

    pub(crate) fn range(&self, range: &Range) -> RangeReply {
        self.store.range(range).expect("the range is valid")
    }

    /// The value of `key` at a revision.
    pub(crate) fn value_at(&self, key: &str, revision: u64) -> Result<Option<String>, Error> {
        let reply = self.store.range(&at(Range::key(key), revision))?;
        Ok(reply.kvs.first().map(|kv| text(&kv.value)))
    }

    /// The keys of a range, in the order of the answer.
    pub(crate) fn keys(&self, range: &Range) -> Vec<String> {
        self.range(range).kvs.iter().map(|kv| text(&kv.key)).collect()
    }
}

/// An entry of a log in which only one term wrote.
pub(crate) fn entry(index: u64) -> Position {
    Position { term: 1, index }
}

pub(crate) fn encode(command: &Command<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    command.encode(&mut bytes).expect("a short key");
    bytes
}

/// The same range at an older revision.
pub(crate) fn at(mut range: Range, revision: u64) -> Range {
    range.options.revision = Some(Revision::new(revision));
    range
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
