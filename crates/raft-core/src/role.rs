//! The four roles, each with the data that only it has: there is no leader's table on a follower
//! that could be out of date.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use crate::lease::Lease;
use crate::progress::Progress;
use crate::reads::{FollowerReads, LeaderReads};
use crate::status::RoleKind;
use crate::types::{Index, NodeId, PersistId, Ticket, Time};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Follower(Follower),
    PreCandidate(Votes),
    Candidate(Candidate),
    Leader(Leader),
}

/// Follows `leader`, or waits for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Follower {
    pub(crate) leader: Option<NodeId>,
    pub(crate) reads: FollowerReads,
}

/// What each voter said.
pub(crate) type Votes = BTreeMap<NodeId, bool>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Candidate {
    pub(crate) votes: Votes,
    /// The candidate's own vote counts once this write is durable.
    pub(crate) vote_write: PersistId,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leader {
    /// Every other member.
    pub(crate) peers: Vec<Progress>,
    pub(crate) heartbeat_at: Time,
    /// The latest heartbeat round that was sent.
    pub(crate) round: u64,
    /// The latest round that a quorum answered.
    pub(crate) proven_round: u64,
    pub(crate) lease: Lease,
    pub(crate) reads: LeaderReads,
    pub(crate) uncommitted: Uncommitted,
    pub(crate) own_disk: OwnDisk,
}

impl Leader {
    pub(crate) fn peer(&self, id: NodeId) -> Option<&Progress> {
        self.peers.iter().find(|peer| peer.id == id)
    }

    /// The last index that every follower is known to hold.
    pub(crate) fn matched_by_all(&self) -> Index {
        self.peers.iter().map(|peer| peer.matched).min().unwrap_or(Index::new(u64::MAX))
    }
}

/// Whether a leader's own disk keeps up with those that commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OwnDisk {
    /// What was committed at `since`.
    goal: Index,
    since: Time,
}

impl OwnDisk {
    pub(crate) fn new(now: Time) -> Self {
        Self { goal: Index::ZERO, since: now }
    }

    /// For how long something that was committed has not become durable here, as far as is known.
    /// To be asked once in a heartbeat interval.
    pub(crate) fn lag(&mut self, now: Time, durable: Index, commit: Index) -> Duration {
        if durable >= self.goal {
            *self = Self { goal: commit, since: now };
        }
        now.since(self.since)
    }
}

/// How many bytes a leader has taken in and not yet committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Uncommitted {
    /// The last index of each batch, and its size.
    batches: VecDeque<(Index, usize)>,
    bytes: usize,
}

impl Uncommitted {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, last: Index, bytes: usize) {
        self.batches.push_back((last, bytes));
        self.bytes += bytes;
    }

    pub(crate) fn committed(&mut self, commit: Index) {
        while let Some((_, bytes)) = self.batches.pop_front_if(|(last, _)| *last <= commit) {
            self.bytes -= bytes;
        }
    }
}

impl Role {
    pub(crate) fn kind(&self) -> RoleKind {
        match self {
            Self::Follower(_) => RoleKind::Follower,
            Self::PreCandidate(_) => RoleKind::PreCandidate,
            Self::Candidate(_) => RoleKind::Candidate,
            Self::Leader(_) => RoleKind::Leader,
        }
    }

    /// The leader of the term as far as the node `own` in this role knows.
    pub(crate) fn leader(&self, own: NodeId) -> Option<NodeId> {
        match self {
            Self::Follower(follower) => follower.leader,
            Self::PreCandidate(_) | Self::Candidate(_) => None,
            Self::Leader(_) => Some(own),
        }
    }

    /// The unanswered reads of this node's caller that end with the role.
    pub(crate) fn into_local_reads(self) -> Vec<Ticket> {
        match self {
            Self::Follower(follower) => follower.reads.into_tickets().collect(),
            Self::PreCandidate(_) | Self::Candidate(_) => Vec::new(),
            Self::Leader(leader) => leader.reads.into_local_tickets().collect(),
        }
    }
}
