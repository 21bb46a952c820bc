//! [`Status`]: what a node knows of itself, as plain data for people, metrics and tests.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::ClusterConfig;
use crate::node::Raft;
use crate::progress::{Mode, Progress};
use crate::role::Role;
use crate::types::{Index, NodeId, Position, Term, Time};

/// The four roles of a node, without their data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RoleKind {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it could win an election (thesis §9.6).
    PreCandidate,
    /// Campaigns.
    Candidate,
    /// Leads.
    Leader,
}

/// A node's state at one moment. With [`Counters`](crate::Counters), all that metrics need.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Status {
    /// Which node this is.
    pub id: NodeId,
    /// The latest time that the node was told. Every other time here is at or before it.
    pub now: Time,
    /// How often it has started, this time included.
    pub boots: u64,

    /// Its role.
    pub role: RoleKind,
    /// Its term.
    pub term: Term,
    /// Whom it voted for in this term.
    pub vote: Option<NodeId>,
    /// The leader of this term, as far as the node knows.
    pub leader: Option<NodeId>,
    /// When it last heard from a leader other than itself. (With leases by the clock, its own start
    /// counts too, right before which it may have heard from one.)
    pub leader_heard_at: Option<Time>,
    /// To whom leadership is being handed over.
    pub transfer_to: Option<NodeId>,

    /// The members of the cluster, by the latest configuration in its log.
    pub cluster: Arc<ClusterConfig>,
    /// Whether a change of them is not finished: the configuration is joint, or not known to be
    /// committed. A leader takes in no other change meanwhile.
    pub change_under_way: bool,
    /// Whether its log lost entries, and does not have them back yet: it neither votes nor
    /// campaigns.
    pub recovering: bool,
    /// Where the snapshot ends that is being installed.
    pub installing: Option<Position>,

    /// The position before the first entry of its log.
    pub start: Position,
    /// The position of the last entry of its log.
    pub last: Position,
    /// The last index that is durable here.
    pub durable: Index,
    /// The last index known to be committed.
    pub commit: Index,
    /// The last index handed out to be applied.
    pub handed_out: Index,
    /// Since when the driver has made nothing durable although a write is with it: the time that
    /// the disk needs, if it is looked at often enough.
    pub disk_stands_since: Option<Time>,

    /// Bytes of the log held in memory.
    pub cached_bytes: usize,
    /// Bytes that a leader has taken in and not committed; 0 on other nodes.
    pub uncommitted_bytes: usize,
    /// Messages held back until what they promise is durable.
    pub held_messages: usize,
    /// Proposals of this node that await their outcome.
    pub pending_proposals: usize,
    /// Reads that await their outcome.
    pub pending_reads: usize,
    /// Messages dropped since the start because they made no sense.
    pub dropped_messages: u64,

    /// What the leader knows of each other member, in no particular order; empty on other nodes.
    pub peers: Vec<PeerStatus>,
}

/// What a leader knows of one other member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PeerStatus {
    /// Which member.
    pub id: NodeId,
    /// How it is sent entries.
    pub state: PeerState,
    /// When it was last heard of in this term; when this node was elected or the member was added,
    /// if that was later.
    pub heard_at: Time,
    /// The last index known to be durable there. How far it is behind: [`Status::last`] less this.
    pub matched: Index,
    /// The next index to be sent.
    pub next: Index,
    /// Append messages that it has not answered.
    pub inflight_messages: usize,
    /// The size of their entries in bytes; 0 while it is probed.
    pub inflight_bytes: usize,
    /// Whether entries for it are being read back from the log.
    pub reading_log: bool,
}

/// How a leader sends entries to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PeerState {
    /// It is not known where the logs agree: one message at a time, until one matches.
    Probing,
    /// The logs agree: one message after the other, without waiting for answers.
    Replicating,
    /// It needs entries that the log no longer holds: it waits for a snapshot, and is sent nothing.
    AwaitingSnapshot,
}

/// Single facts, which cost nothing to tell.
impl Raft {
    /// The node's role.
    pub fn role(&self) -> RoleKind {
        self.role.kind()
    }

    /// Whom it voted for in its term.
    pub fn vote(&self) -> Option<NodeId> {
        self.hard_state.vote
    }

    /// The position of the last entry of its log.
    pub fn last(&self) -> Position {
        self.log.last()
    }

    /// The last index that is durable here.
    pub fn durable(&self) -> Index {
        self.log.durable()
    }

    /// The last index known to be committed.
    pub fn commit(&self) -> Index {
        self.commit
    }
}

impl Raft {
    /// What this node knows of itself. It is made anew for every call, in a time that grows with
    /// the number of members.
    pub fn status(&self) -> Status {
        let (peers, uncommitted_bytes) = match &self.role {
            Role::Leader(leader) => (&leader.peers[..], leader.uncommitted.bytes()),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => (&[][..], 0),
        };
        let cluster = Arc::clone(self.log.cluster());
        let is_committed = self.log.config_index() <= self.commit;
        Status {
            id: self.config.id,
            now: self.now,
            boots: self.hard_state.boots,
            role: self.role.kind(),
            term: self.term(),
            vote: self.hard_state.vote,
            leader: self.role.leader(self.config.id),
            leader_heard_at: self.leader_heard_at,
            transfer_to: self.transfer.as_ref().map(|transfer| transfer.to),
            change_under_way: cluster.outgoing.is_some() || !is_committed,
            cluster,
            recovering: self.hard_state.recovering,
            installing: self.installing.as_ref().map(|snapshot| snapshot.at),
            start: self.log.start(),
            last: self.log.last(),
            durable: self.log.durable(),
            commit: self.commit,
            handed_out: self.handed_out,
            disk_stands_since: self.log.disk_stands_since(),
            cached_bytes: self.log.cached_bytes(),
            uncommitted_bytes,
            held_messages: self.held.len(),
            pending_proposals: self.proposals.len(),
            pending_reads: self.pending_reads(),
            dropped_messages: self.dropped_messages,
            peers: peers.iter().map(|peer| self.peer_status(peer)).collect(),
        }
    }

    fn peer_status(&self, peer: &Progress) -> PeerStatus {
        PeerStatus {
            id: peer.id,
            state: match peer.mode {
                Mode::Probe { .. } => PeerState::Probing,
                Mode::Replicate(_) => PeerState::Replicating,
                Mode::Snapshot => PeerState::AwaitingSnapshot,
            },
            heard_at: peer.heard_at,
            matched: peer.matched,
            next: peer.next,
            inflight_messages: peer.inflight_messages(),
            inflight_bytes: peer.inflight_bytes(),
            reading_log: self.reading_for.contains(&peer.id),
        }
    }
}
