//! [`Status`]: what a node knows of itself, as plain data for people, metrics and tests.

use alloc::vec::Vec;

use crate::types::{Index, NodeId, Position, Term};

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

/// A snapshot of a node's state at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Status {
    /// Which node this is.
    pub id: NodeId,
    /// Its role.
    pub role: RoleKind,
    /// Its term.
    pub term: Term,
    /// Whom it voted for in this term.
    pub vote: Option<NodeId>,
    /// The leader of this term, as far as the node knows.
    pub leader: Option<NodeId>,
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
    /// Bytes of the log held in memory.
    pub cached_bytes: usize,
    /// Proposals of this node that await their outcome.
    pub pending_proposals: usize,
    /// Reads that await their outcome.
    pub pending_reads: usize,
    /// Messages dropped so far because they made no sense.
    pub dropped_messages: u64,
    /// What the leader knows of each other member; empty on other nodes.
    pub peers: Vec<PeerStatus>,
}

/// What a leader knows of one other member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PeerStatus {
    /// Which member.
    pub id: NodeId,
    /// The last index known to be durable there.
    pub matched: Index,
    /// The next index to be sent.
    pub next: Index,
    /// Whether the leader is still searching for where the logs agree.
    pub probing: bool,
    /// Whether it needs entries that the log no longer holds: it waits for a snapshot.
    pub awaits_snapshot: bool,
    /// Append messages in flight.
    pub inflight_messages: usize,
}
