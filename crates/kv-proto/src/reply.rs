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
