//! What nodes say to each other.

use crate::api::ReadMode;
use crate::entry::Entries;
use crate::snapshot::Snapshot;
use crate::types::{Index, NodeId, Position, Term};

/// One message between two nodes. The network may lose, repeat, delay and reorder messages as it
/// likes; it must not change them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Message {
    /// Who sent it.
    pub from: NodeId,
    /// Whom it is for.
    pub to: NodeId,
    /// The sender's term. (In a pre-vote and in a granted pre-vote reply: the term the candidate
    /// *would* campaign in, which nobody has entered yet.)
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// What a [`Message`] says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Body {
    /// "Would you vote for me in this term?" It changes nothing at the receiver
    /// (thesis §9.6).
    PreVote {
        /// The last entry of the asking node's log.
        last: Position,
    },
    /// The answer to [`Body::PreVote`].
    PreVoteReply {
        /// Whether the receiver would vote for the asking node.
        granted: bool,
    },
    /// RequestVote (paper §5.2).
    Vote {
        /// The last entry of the candidate's log.
        last: Position,
    },
    /// The answer to [`Body::Vote`]. A granted one leaves only after the vote is durable.
    VoteReply {
        /// Whether the receiver voted for the candidate.
        granted: bool,
    },
    /// AppendEntries (paper §5.3). With no entries it asks whether `prev` matches.
    Append {
        /// The position right before the first entry.
        prev: Position,
        /// The entries to store.
        entries: Entries,
        /// The leader's commit index.
        commit: Index,
    },
    /// The answer to [`Body::Append`] when the logs agree: everything up to `matched` is equal to
    /// the leader's log *and durable* at the sender.
    Appended {
        /// The last index that is known to be equal and durable.
        matched: Index,
    },
    /// The answer to [`Body::Append`] when the receiver's log has no entry at `prev`, or one of
    /// another term.
    AppendRejected {
        /// The index of the `prev` that did not match.
        prev: Index,
        /// The latest position of the receiver's log at which the two may agree: at or before
        /// `prev` in index and in term. Everything between it and `prev` need not be tried
        /// (the term-wise backtracking of paper §5.3).
        hint: Position,
    },
    /// InstallSnapshot (paper §7). It is not the core that sends it, but the driver, together with
    /// the state machine's content, when [`Action::SendSnapshot`](crate::Action::SendSnapshot)
    /// asks for it. The receiver's driver passes it in once the content has arrived, whole and
    /// verified. It is answered with [`Body::Appended`].
    Snapshot(Snapshot),
    /// "I lead this term." Sent at every heartbeat interval and whenever a read needs proof of
    /// leadership. It says nothing about logs, so its reply never waits for a disk.
    Heartbeat {
        /// The leader's commit index, capped at what this follower is known to hold.
        commit: Index,
        /// Grows with every broadcast; the reply repeats it.
        round: u64,
    },
    /// The answer to [`Body::Heartbeat`]: "you led when I received round `round`".
    HeartbeatReply {
        /// The round of the heartbeat that is answered.
        round: u64,
    },
    /// The leader asks the receiver to campaign at once (thesis §3.10).
    TimeoutNow {
        /// The last entry of the leader's log: the receiver obeys only if its own ends there. One
        /// that arrives late, when the leader has gone on, changes nothing.
        last: Position,
    },
    /// [`Body::Vote`] on behalf of a leader that hands over: a voter that asks with this is
    /// answered even by nodes that hear from that leader.
    TransferVote {
        /// The last entry of the candidate's log.
        last: Position,
    },
    /// A follower asks at which index a linearizable read may be served (thesis §6.4).
    ReadIndex {
        /// The follower's own name for this question, never used for another.
        id: u64,
        /// Whether the leader may rely on its lease.
        mode: ReadMode,
    },
    /// The answer to [`Body::ReadIndex`], sent only after the leader proved that it leads.
    ReadIndexReply {
        /// As in the question.
        id: u64,
        /// The leader's commit index when the question arrived.
        index: Index,
    },
    /// "My log lost what came after `last`. How far does yours go?" A node that recovers from a
    /// damaged log asks the leader.
    Recover {
        /// The recovering node's own name for this question, never used for another.
        id: u64,
        /// The last entry of its log.
        last: Position,
    },
    /// The answer to [`Body::Recover`].
    RecoverReply {
        /// As in the question.
        id: u64,
        /// The last entry of the leader's log when the question arrived.
        last: Position,
    },
}

impl Body {
    /// Whether only the leader of a term says this.
    pub(crate) fn is_of_leader(&self) -> bool {
        matches!(self, Self::Append { .. } | Self::Heartbeat { .. } | Self::Snapshot(_))
    }
}
