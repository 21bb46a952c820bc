//! What a client is told where there is no result to tell: why not, where to go instead, and how
//! this node is.

use std::time::Duration;

use kv_proto::{DiskState, Error, NodeStatus, Outcome, Part, Role, StatusReply};
use raft_core::{NodeId, Rejection, RoleKind, Status};

use crate::directory::Directory;

/// What to say to a request that the core has refused.
pub(super) fn explain(directory: &Directory, why: Rejection) -> Error {
    match why {
        // Another will lead soon, as far as one can tell.
        Rejection::NotLeader { leader: None }
        | Rejection::TransferUnderWay { .. }
        | Rejection::TransferFailed { .. }
        | Rejection::Leaving => Error::NoLeader,
        Rejection::NotLeader { leader: Some(leader) } => not_leader(directory, leader),
        Rejection::Busy => Error::Busy,
        Rejection::ChangeUnderWay
        | Rejection::NotReady
        | Rejection::NotCaughtUp { .. }
        | Rejection::UnknownMember { .. }
        | Rejection::NoVoters
        | Rejection::NoChange => Error::Internal {
            reason: "a change of the members was refused that no client can ask for".to_owned(),
        },
        Rejection::TooLarge { size_bytes, limit_bytes } => Error::TooLarge {
            part: Part::Request,
            size_bytes: size_bytes as u64,
            limit_bytes: limit_bytes as u64,
        },
    }
}

/// Where to go instead.
pub(super) fn not_leader(directory: &Directory, leader: NodeId) -> Error {
    let client_address = directory.client_address(leader.get());
    Error::NotLeader { leader: leader.get(), client_address }
}

/// What a request that ran out of time has done.
pub(crate) fn timed_out(waited: Duration, outcome: Outcome) -> Error {
    let waited_millis = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    Error::Timeout { waited_millis, outcome }
}

/// What a node and its members are, as far as the replica knows; the apply thread knows the rest.
pub(super) fn status(raft: &Status, disk: DiskState, directory: &Directory) -> StatusReply {
    let node = NodeStatus {
        member: directory.member(raft.id.get()),
        role: match raft.role {
            RoleKind::Follower => Role::Follower,
            RoleKind::PreCandidate | RoleKind::Candidate => Role::Candidate,
            RoleKind::Leader => Role::Leader,
        },
        term: raft.term.get(),
        leader: raft.leader.map(NodeId::get),
        commit_index: raft.commit.get(),
        applied_index: 0,
        last_index: raft.last.index.get(),
        state_digest: 0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        disk,
        sending: Vec::new(),
    };
    StatusReply { node, members: directory.members() }
}
