//! [`Machine`]: the store of a node, and the answers that come from it, without a thread.
//!
//! The apply thread has one, and so has a simulator. It carries out what it is told in the order in
//! which it is told, and that order is what makes reads linearizable.

use kv_proto::{Difference, DigestsReply, Error, Header, Range, Reply as ProtoReply, StatusReply};
use kv_store::{AHEAD, Draft, Position, Store, StoreError};
use raft_core::{Entries, Entry, Index, Payload};

use crate::checkpoints::Checkpoints;
use crate::clients::{Reply, found_bytes};
use crate::replica::ClientTag;
use crate::snapshots::write_members;

/// A store, who it belongs to, and what is remembered of its past.
#[derive(Debug)]
pub struct Machine {
    store: Store,
    /// The header of every answer, without its revision and term.
    identity: Header,
    /// Up to where the loop was told that the state is stored.
    told_stored: Index,
    checkpoints: Checkpoints,
}

impl Machine {
    /// The machine of the node that `identity` names.
    pub fn new(store: Store, identity: Header) -> Self {
        let (told_stored, checkpoints) = (Index::ZERO, Checkpoints::default());
        Self { store, identity, told_stored, checkpoints }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Has `replace` put another store in the place of this one: that of a snapshot. Returns what
    /// it returns.
    ///
    /// # Errors
    ///
    /// Those of `replace`. The store is what that has left.
    pub fn replace<T, E>(
        &mut self,
        replace: impl FnOnce(&mut Store) -> Result<T, E>,
    ) -> Result<T, E> {
        let replaced = replace(&mut self.store)?;
        self.told_stored = Index::new(self.store.durable().index);
        self.checkpoints = Checkpoints::default();
        Ok(replaced)
    }

    /// Up to where the state is stored, if that is `step` entries beyond what was returned last.
    pub fn newly_stored(&mut self, step: u64) -> Option<Index> {
        let stored = Index::new(self.store.durable().index);
        let is_due = stored.get() - self.told_stored.get() >= step;
        is_due.then(|| {
            self.told_stored = stored;
            stored
        })
    }

    /// Whether something was applied that [`newly_stored`](Self::newly_stored) has not told of.
    pub fn has_more_to_store(&self) -> bool {
        self.told_stored.get() < self.store.applied_index()
    }

    /// Applies these entries, and adds the answers to those who wait for one of them. The waiters
    /// are in the order of the indexes.
    ///
    /// # Errors
    ///
    /// If the state cannot be kept or read: the process should end.
    pub fn apply(
        &mut self,
        entries: &Entries,
        waiters: &[(Index, ClientTag)],
        answers: &mut Vec<Reply>,
    ) -> Result<(), StoreError> {
        let mut waiters = waiters.iter().peekable();
        for entries in entries.chunks(AHEAD) {
            self.store.look_ahead(entries.iter().filter_map(command));
            for entry in entries {
                let waiter = waiters.next_if(|(index, _)| *index == entry.at.index);
                answers.extend(self.apply_one(entry, waiter.map(|(_, client)| *client))?);
                self.checkpoints.note(self.store.digest());
            }
        }
        Ok(())
    }

    fn apply_one(
        &mut self,
        entry: &Entry,
        waiter: Option<ClientTag>,
    ) -> Result<Option<Reply>, StoreError> {
        let at = Position { term: entry.at.term.get(), index: entry.at.index.get() };
        let command = match &entry.payload {
            Payload::Command(command) => command,
            Payload::Noop => return self.store.skip(at).map(|()| None),
            Payload::Config(cluster) => {
                return self.store.set_members(at, &write_members(cluster)).map(|()| None);
            }
        };
        let applied = self.store.apply(at, command)?;
        Ok(waiter.map(|client| {
            let term = entry.at.term.get();
            let header = Header { revision: applied.revision, term, ..self.identity };
            Reply { client, result: applied.result.map(|reply| (header, reply)) }
        }))
    }

    /// Answers a read from the state as it is now, if it `may` still be answered; or settles what
    /// the answer is, and leaves it to others to read the values that are on disk.
    pub fn read(
        &self,
        client: ClientTag,
        range: &Range,
        term: u64,
        may: Result<(), Error>,
    ) -> Read {
        let header = self.header(term);
        match may.and_then(|()| self.store.find(range)) {
            Ok(draft) => Read::Found(Found { client, header, draft }),
            Err(error) => Read::Refused(Reply { client, result: Err(error) }),
        }
    }

    /// Completes what the replica says of its node.
    pub fn status(&self, client: ClientTag, mut status: StatusReply) -> Reply {
        let (applied_index, state_digest) = self.store.digest();
        status.node.applied_index = applied_index;
        status.node.state_digest = state_digest;
        let header = self.header(status.node.term);
        Reply { client, result: Ok((header, ProtoReply::Status(status))) }
    }

    /// Tells which digests the state had, and what is known of a difference.
    pub fn digests(&self, client: ClientTag, term: u64, difference: Option<Difference>) -> Reply {
        let told = self.checkpoints.reply(self.store.digest());
        let reply = ProtoReply::Digests(DigestsReply { difference, ..told });
        Reply { client, result: Ok((self.header(term), reply)) }
    }

    /// The header of an answer from the state as it is now.
    pub fn header(&self, term: u64) -> Header {
        Header { revision: self.store.revision(), term, ..self.identity }
    }
}

/// What became of a read at its turn.
#[derive(Debug)]
pub enum Read {
    /// It is answered, with an error.
    Refused(Reply),
    /// What the answer is, is settled.
    Found(Found),
}

/// The answer to a read, of which values may be missing that are on disk. It does not mind what is
/// applied meanwhile.
#[derive(Debug)]
pub struct Found {
    client: ClientTag,
    header: Header,
    draft: Draft,
}

impl Found {
    /// Whether [`answer`](Self::answer) has nothing to do.
    pub fn is_complete(&self) -> bool {
        self.draft.is_complete()
    }

    /// How many values have yet to be read.
    pub(crate) fn missing(&self) -> usize {
        self.draft.missing()
    }

    /// What the answer will take in memory, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        found_bytes(self.draft.pairs(), self.draft.size_bytes())
    }

    /// Reads what is missing, and sorts what is to be sorted, if the read `may` still be answered.
    ///
    /// # Errors
    ///
    /// If the state cannot be read: the process should end.
    pub fn answer(self, may: Result<(), Error>) -> Result<Reply, StoreError> {
        let Self { client, header, draft } = self;
        let result = match may {
            Ok(()) => Ok((header, ProtoReply::Range(draft.complete()?))),
            Err(error) => Err(error),
        };
        Ok(Reply { client, result })
    }
}

/// What an entry holds for the store.
fn command(entry: &Entry) -> Option<&[u8]> {
    match &entry.payload {
        Payload::Command(command) => Some(command),
        Payload::Noop | Payload::Config(_) => None,
    }
}
