//! A node that has a state before it has a log: of a new cluster that begins where an old one's
//! state ends.
//!
//! Its log begins at the position of the state, as if everything before had been cut off. All
//! members have to begin at the same one, or they could not agree on what comes next: they take it,
//! and the name of the cluster, from the same state.

use std::path::Path;

use kv_store::Position as StorePosition;
use raft_core::{Entries, HardState, Index, NodeId, PersistId, Position, Term, Write};
use raft_storage::{FileDisk, Log, Options};

use super::OfflineError;
use crate::members::Members;

/// Where a new cluster begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The position of the state.
    pub at: StorePosition,
    /// The digest of the state.
    pub state_digest: u64,
    /// The latest term that was seen; at least that of `at`.
    pub term: u64,
}

impl Beginning {
    /// The name of the cluster of these `members` that begins here. It is another one than that of
    /// the cluster that the same members founded before, so that its nodes keep out; `token` tells
    /// it from one that begins here as well.
    pub fn cluster_id(&self, members: &Members, token: &str) -> u64 {
        let Self { at, state_digest, .. } = self;
        let origin = format!("{members} after {}/{} {state_digest:x} {token}", at.term, at.index);
        crate::members::name_of(&origin)
    }

    /// Makes the log of `node` in `dir`, where there is none: empty, after the position of the
    /// state. The file that makes it one comes last.
    pub(crate) fn make_log(
        &self,
        dir: &Path,
        node: u64,
        members: &Members,
        cluster_id: u64,
    ) -> Result<(), OfflineError> {
        let mut options = Options::new(NodeId::new(node), cluster_id, members.to_string());
        options.background = false;
        let (mut log, _) = Log::open(FileDisk::create(dir)?, &options)?;
        let index = Index::new(self.at.index);
        let start = Position { term: Term::new(self.at.term), index };
        let write = Write {
            id: PersistId::new(1),
            hard_state: HardState { term: Term::new(self.term), ..HardState::default() },
            commit: index,
            reset: (start != Position::ORIGIN).then_some(start),
            entries: Entries::default(),
        };
        Ok(log.append(&[write])?)
    }
}
