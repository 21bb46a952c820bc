//! What a server answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{LeaseId, Revision};

/// A key or a value: shared, so that a store can answer without copying it.
pub type Bytes = Arc<[u8]>;

/// A successful answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To a put.
    Put(PutReply),
    /// To a delete.
    Delete(DeleteReply),
    /// To a range.
    Range(RangeReply),
    /// To the question how the node is.
    Status(StatusReply),
    /// To a compaction.
    Compact(CompactReply),
    /// To the request for a piece of a backup.
    Backup(BackupPiece),
    /// To the question for digests.
    Digests(DigestsReply),
}

impl Reply {
    /// The same to a client that speaks this version of the protocol, without what is new to it.
    #[must_use]
    pub fn for_version(mut self, version: u16) -> Self {
        if let Self::Status(status) = &mut self {
            if version < 2 {
                status.node.disk = DiskState::Fine;
            }
            if version < 3 {
                status.node.sending.clear();
            }
        }
        self
    }
}

/// Who answered, and when in the life of the store: it comes with every successful answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The cluster.
    pub cluster_id: u64,
    /// The node that answered.
    pub node_id: u64,
    /// The current revision of the store there, also when an old one was read. For a write: the
    /// revision it made, or found if it changed nothing.
    pub revision: Revision,
    /// The node's term.
    pub term: u64,
}

/// A key, its value and its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// Its value; empty if only keys were asked for.
    pub value: Bytes,
    /// The revision that created the key, after its last deletion.
    pub create_revision: Revision,
    /// The revision that last changed it.
    pub mod_revision: Revision,
    /// How often it was put since it was created, beginning with 1.
    pub version: u64,
    /// The lease it is attached to.
    pub lease: Option<LeaseId>,
}

/// The answer to a put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutReply {
    /// The pair as it was before, if that was asked for and there was one.
    pub prev: Option<KeyValue>,
}

/// The answer to a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteReply {
    /// How many keys were removed.
    pub deleted: u64,
    /// What they were, in the order of the keys, if that was asked for.
    pub prev: Vec<KeyValue>,
}

/// The answer to a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    /// The pairs, in the order asked for.
    pub kvs: Vec<KeyValue>,
    /// How many pairs there are, whatever the limits.
    pub count: u64,
    /// A limit, in pairs or in bytes, cut the answer short.
    pub more: bool,
    /// The first key that was left out: ask for it, with the same range end and the header's
    /// revision (or the revision first asked for), to go on. Only for ranges in ascending order
    /// of their keys, and only if there is `more`.
    pub next_key: Option<Bytes>,
}

/// The answer to a compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactReply {
    /// The oldest revision that can be read from now on.
    pub compacted: Revision,
    /// How many superseded versions lie before it that are still to be forgotten. Each command
    /// takes a few; [`Compact::Keep`](crate::Compact::Keep) of `u64::MAX` takes many and nothing
    /// else.
    pub overdue: u64,
}

/// A piece of a backup. The pieces one behind the other are the file; `docs/format.md` says how
/// they look, and how they are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupPiece {
    /// Its bytes.
    pub bytes: Bytes,
    /// Whether it is the last.
    pub is_last: bool,
    /// How much of the store has been told with this piece, out of `total`.
    pub done: u64,
    /// How much there is; never below `done`. Only good for showing people how far it is.
    pub total: u64,
}

/// The digests that a node's state had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestsReply {
    /// At the last index that it has applied.
    pub applied: StateDigest,
    /// At indexes before that, in their order: multiples of a number that all nodes share.
    pub checkpoints: Vec<StateDigest>,
    /// That the state differs from that of other nodes, if this node has found that out.
    pub difference: Option<Difference>,
}

/// The digest of a state. Two nodes have the same at the same index, unless something is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateDigest {
    /// The index of the last entry applied.
    pub index: u64,
    /// The digest after it.
    pub digest: u64,
}

/// That a node's state differs from that of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The index at which they were compared.
    pub index: u64,
    /// The nodes that had another digest there, in the order of their ids.
    pub others: Vec<u64>,
    /// Whether a majority of the cluster agrees on another digest. Then the node does not serve
    /// any more; otherwise nobody can tell who is right.
    pub is_outvoted: bool,
}

/// How a node sees itself and its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReply {
    /// The node that was asked.
    pub node: NodeStatus,
    /// Every configured member, the node itself among them, in the order of their ids.
    pub members: Vec<Member>,
}

/// One node of the cluster, as it sees itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Who it is, and where.
    pub member: Member,
    /// Its role in the protocol.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Whom it knows as the leader of that term.
    pub leader: Option<u64>,
    /// The last index it knows to be committed.
    pub commit_index: u64,
    /// The last index it has applied.
    pub applied_index: u64,
    /// The last index of its log.
    pub last_index: u64,
    /// A digest of its state at `applied_index`: equal on all nodes at the same index.
    pub state_digest: u64,
    /// The version of its software.
    pub version: String,
    /// How its disk is. Told only if it is not fine, in a kind of answer of its own, since version
    /// 2 of the protocol.
    #[serde(skip)]
    pub disk: DiskState,
    /// The snapshots of its state that are on their way to other nodes, in the order of their ids.
    /// Told only if there are any, in a kind of answer of its own, since version 3 of the
    /// protocol.
    #[serde(skip)]
    pub sending: Vec<Sending>,
}

/// How far a snapshot has come that a node sends to another, which lacks what was cut off the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// The node that gets it.
    pub to: u64,
    /// Pieces handed to the operating system so far, those among them that were sent again.
    pub pieces: u64,
    /// Bytes handed to it so far.
    pub bytes: u64,
    /// How much of the state is in the pieces that were made, out of `total`.
    pub done: u64,
    /// How much there is; never below `done`. Only good for showing people how far it is.
    pub total: u64,
}

/// How the disk of a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskState {
    /// Nothing is known to be wrong with it.
    #[default]
    Fine,
    /// A write has waited for it for longer than an election takes. The node does not lead if
    /// others can.
    Slow,
    /// There is no room. The node takes no writes, and does not lead if others can; it votes, and
    /// answers reads.
    Full,
}

impl DiskState {
    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Slow => "slow",
            Self::Full => "full",
        }
    }
}

/// Where a member of the cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Where other nodes reach it, as `HOST:PORT`.
    pub raft_address: String,
    /// Where clients reach it, as `HOST:PORT`; `None` while the answering node has not learned it.
    pub client_address: Option<String>,
}

/// The part a node plays at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

impl Role {
    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
        }
    }
}
