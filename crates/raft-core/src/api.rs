//! What goes into the core and what comes out of it: [`Input`] and [`Action`].
//!
//! The whole contract is one sentence: **every action may be carried out the moment it is seen,
//! and on any thread.** Only [`Persist`](Action::Persist) among themselves and
//! [`Apply`](Action::Apply) among themselves keep the order in which they came out.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::Command;
use crate::config::{ClusterConfig, ConfigChange};
use crate::entry::Entries;
use crate::message::Message;
use crate::snapshot::{SendSnapshot, Snapshot};
use crate::status::RoleKind;
use crate::types::{Index, NodeId, PersistId, Position, Term, Ticket};

/// Something that happened outside, told to [`Raft::step`](crate::Raft::step).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Input {
    /// Time has passed: due no later than [`Raft::deadline`](crate::Raft::deadline), harmless at
    /// any other moment.
    Wake,
    /// A message arrived. It may be anything: what makes no sense is counted and dropped.
    Message(Message),
    /// Append these commands to the log, in this order (paper §5.3). Each ticket is resolved by
    /// itself: [`Committed`](Outcome::Committed), or rejected at once, or, if leadership is lost
    /// meanwhile, [`Overwritten`](Outcome::Overwritten) or [`Unknown`](Outcome::Unknown). What is
    /// proposed together shares one allocation, one write and one message: give all that has
    /// gathered.
    Propose(Vec<(Ticket, Command)>),
    /// [`Input::Propose`] for one command that came alone: nothing is allocated for it.
    ProposeOne(Ticket, Command),
    /// Change the cluster's members (paper §6). Resolves to [`Outcome::Committed`] once nothing
    /// can undo it; a change through a joint configuration then finishes by itself. One change at
    /// a time.
    ChangeConfig(Ticket, ConfigChange),
    /// Hand leadership to this voter (thesis §3.10). Resolves to [`Outcome::Transferred`] or to a
    /// rejection, after an election timeout at the latest. Until then, this leader rejects
    /// proposals and changes.
    TransferLeadership(Ticket, NodeId),
    /// Start an election now (paper §5.2), as if the election timeout had passed: other nodes that
    /// hear from a leader still say no. A leader ignores it, and so does a node without a vote, one
    /// whose disk stands still or whose log is not whole, and, where leases are in use, one that
    /// has just heard from a leader.
    Campaign,
    /// Make a linearizable read possible, on any member: resolves to [`Outcome::ReadAt`]. A
    /// follower asks the leader and keeps asking until the leader changes; then, or where no leader
    /// is known, it is rejected as [`NotLeader`](Rejection::NotLeader).
    Read(Ticket, ReadMode),
    /// Every [`Write`] up to this one is durable. Numbers that were never given out, or that were
    /// reported before, are ignored.
    Persisted(PersistId),
    /// The answer to [`Action::ReadLog`].
    LogRead(LogRead),
    /// The connection to this node broke: what was in flight to it may be lost. It saves waiting
    /// for the next heartbeat to find that out; no rule depends on it.
    Unreachable(NodeId),
    /// The state machine durably holds everything up to `upto`, so that the log need not (paper
    /// §7): it may be cut there ([`Action::Compact`]), but for its last `keep` committed entries,
    /// which spare a slow follower a snapshot. Said as often as the driver likes. While a snapshot
    /// is on its way to a follower, nothing is cut, so that the follower can go on from it.
    Compact {
        /// The last index that the log need not hold. One beyond what was handed out to be applied
        /// counts as that.
        upto: Index,
        /// How many entries before the commit index are kept.
        keep: u64,
    },
    /// The answer to [`Action::SendSnapshot`].
    SnapshotSent {
        /// Whom it was for.
        to: NodeId,
        /// Up to where the snapshot goes that has arrived there, whole; `None` if it did not, or
        /// if nobody knows. (The core asks again as long as one is needed.)
        arrived: Option<Position>,
    },
    /// The answer to [`Action::InstallSnapshot`]: `true` when the state machine is durably that of
    /// the snapshot, `false` when it is unchanged.
    SnapshotInstalled(bool),
}

/// How a read makes sure that no other leader has committed something meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ReadMode {
    /// By a round of heartbeats (thesis §6.4): right whatever the clocks do.
    #[default]
    Confirmed,
    /// By the clock, if [`Config::lease_drift`](crate::Config) is set and the leader's lease runs
    /// (thesis §6.4.1); else as [`ReadMode::Confirmed`]. Without a message, if the node leads.
    Lease,
}

/// Something for the driver to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Action {
    /// Hand this message to the network, which brings it to [`Message::to`] or loses it. Do not
    /// wait for a network that is slow: lose the message. (What matters is said again, paper §5.5.)
    Send(Message),
    /// Write this to disk, in the order of the writes, and answer with [`Input::Persisted`] once
    /// it would survive a loss of power. Several writes may be synced together and answered with
    /// the last number. A write that fails must end the process: it is neither repeated nor
    /// answered.
    Persist(Write),
    /// Apply these committed entries to the state machine, in order (paper §5.3). They continue
    /// exactly where the last ones ended, and are durable on this node. They come as they commit:
    /// the core does not wait for the state machine.
    Apply(Entries),
    /// Read these entries back from the log, answer with [`Input::LogRead`].
    ReadLog(ReadLog),
    /// Send this follower a snapshot of the state machine: it needs what the log no longer holds
    /// (paper §7). Answer with [`Input::SnapshotSent`]. One for each follower is under way at a
    /// time.
    SendSnapshot(SendSnapshot),
    /// Put this snapshot, which came with [`Body::Snapshot`](crate::Body::Snapshot), in the place
    /// of the state machine, durably and in one step: after a crash, there must be either the old
    /// state or the new. In order with [`Action::Apply`]. Answer with
    /// [`Input::SnapshotInstalled`]. Nothing is handed out to be applied until then.
    InstallSnapshot(Snapshot),
    /// The log may forget everything up to this index, now or later. ([`Boot::start`] may lie
    /// before it after a restart, never behind.)
    ///
    /// [`Boot::start`]: crate::Boot::start
    Compact(Index),
    /// The one answer to a ticket. Proposals that were committed are answered in the order of the
    /// log.
    Resolved(Ticket, Outcome),
    /// This node's role, its term or the leader it follows is another than before.
    RoleChanged(RoleChange),
    /// The cluster has other members from now on (paper §6): the driver may have to open
    /// connections. It may close one to a node that is no member any more. (Until it is committed,
    /// the change may be undone: then this comes again, with the old members.)
    ConfigChanged(Arc<ClusterConfig>),
    /// Something worth showing to a person; it asks for nothing.
    Trace(Event),
}

/// What must become durable together: one atomic unit for the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Write {
    /// Its number: one more than the write before.
    pub id: PersistId,
    /// The term and vote from now on.
    pub hard_state: HardState,
    /// The commit index when this was written: a hint that lets a restarted node apply at once.
    /// Never beyond the last entry of the log including `entries`.
    pub commit: Index,
    /// If there is one, the log is emptied first, whatever it holds, and begins anew after this
    /// position: the state machine was replaced by a snapshot that ends here.
    pub reset: Option<Position>,
    /// Entries to store. If the log already holds an entry at the first index, that entry and
    /// all after it are replaced.
    pub entries: Entries,
}

/// What a node must never forget besides its log (paper figure 2, "persistent state").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HardState {
    /// The latest term this node has seen.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<NodeId>,
    /// How often this node has started. It makes the names that a node gives to its questions
    /// unique over restarts, so that no answer to an earlier run is taken for one to this run.
    pub boots: u64,
    /// Whether this node's log has lost entries that it may have acknowledged, and has not been
    /// given them back yet. Such a node neither votes nor campaigns. Whoever finds a damaged log
    /// sets it before [`Raft::restore`](crate::Raft::restore); the core clears it, in a later
    /// [`Write`].
    pub recovering: bool,
}

impl HardState {
    /// The same, after one more start. (The number may stop growing, 2^64 starts do not happen.)
    pub(crate) fn started_again(self) -> Self {
        Self { boots: self.boots.saturating_add(1), ..self }
    }
}

/// A request for entries that are no longer in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReadLog {
    /// What they are for: copied into the answer.
    pub purpose: ReadPurpose,
    /// The first index wanted.
    pub first: Index,
    /// The last index wanted.
    pub last: Index,
    /// Enough entries to reach this many bytes will do, but at least one.
    pub max_bytes: usize,
}

/// The answer to a [`ReadLog`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LogRead {
    /// As in the request.
    pub purpose: ReadPurpose,
    /// The first index that was asked for.
    pub first: Index,
    /// The entries from `first` on, as many as were read; none if the log could not be read.
    /// The core asks again later.
    pub entries: Entries,
}

/// Why entries are read back. One read of each purpose is under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ReadPurpose {
    /// To be applied here.
    Apply,
    /// To be sent to this follower.
    Replicate(NodeId),
}

/// How the one answer to a ticket can sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Outcome {
    /// The proposal or change is committed at this position; the [`Action::Apply`] that carries it
    /// comes later.
    Committed(Position),
    /// The node that leadership was to be handed to leads.
    Transferred,
    /// Every entry up to this index has come out in an [`Action::Apply`] *before* this answer. A
    /// read of the state machine after those were applied is linearizable (thesis §6.4).
    ReadAt(Index),
    /// Definitely not done, and nothing will come of it.
    Rejected(Rejection),
    /// The proposal was in this node's log when leadership was lost, and another leader's entry
    /// was committed in its place: definitely not done.
    Overwritten,
    /// The proposal was in this node's log when leadership was lost, and then a snapshot took the
    /// place of that part of the log: it was committed or overwritten, and this node cannot tell.
    Unknown,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Rejection {
    /// Only the leader can do that.
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// As much is pending as [`Limits`](crate::Limits) allow: uncommitted bytes, or reads. Try
    /// later.
    Busy,
    /// A change of the members is under way: it is not committed, or not finished.
    ChangeUnderWay,
    /// The leader has not yet committed an entry of its own term, without which no change of the
    /// members is safe. Try again shortly.
    NotReady,
    /// A node that was to vote has not caught up: add it as a learner first, and wait. Or a voter
    /// that the others would need is recovering from a damaged log: wait until it has its entries
    /// back.
    NotCaughtUp {
        /// Which node.
        node: NodeId,
        /// How many entries it lacks, as far as the leader knows; 0 if it is just silent.
        behind: u64,
    },
    /// A change names a node that is no member, or leadership was to go to one that has no vote.
    UnknownMember {
        /// Which node.
        node: NodeId,
    },
    /// Nobody would be left to vote.
    NoVoters,
    /// The cluster is like that already.
    NoChange,
    /// Leadership is being handed over.
    TransferUnderWay {
        /// To this node.
        to: NodeId,
    },
    /// This leader's vote ends with a change of the members that is under way: it takes in nothing
    /// more, so that nothing is left open when it steps down. Another will lead soon.
    Leaving,
    /// Leadership was not handed over in time, went to another, or may no longer go to that node.
    TransferFailed {
        /// Who leads now, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// The proposal or change is larger than [`Limits`](crate::Limits) allow.
    TooLarge {
        /// Its size in bytes.
        size_bytes: usize,
        /// The limit in bytes.
        limit_bytes: usize,
    },
}

/// A change of role, term or leader, for metrics, for redirecting clients and for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RoleChange {
    /// The role from now on.
    pub role: RoleKind,
    /// The term from now on.
    pub term: Term,
    /// The leader of that term, as far as this node knows.
    pub leader: Option<NodeId>,
}

/// Rare moments that let a person follow the protocol. None of them is needed to drive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Event {
    /// Nothing was heard of a leader for a whole election timeout: asking round for pre-votes.
    ElectionTimeout {
        /// The term a campaign would have.
        next_term: Term,
    },
    /// A majority would vote for this node: it campaigns.
    Campaign {
        /// The term it campaigns in.
        term: Term,
    },
    /// A vote or pre-vote of this node was asked for.
    VoteAsked {
        /// By whom.
        candidate: NodeId,
        /// In which term.
        term: Term,
        /// Whether it was only a pre-vote.
        pre: bool,
        /// What was answered, or why not.
        answer: VoteAnswer,
    },
    /// The leader asked this node to take over: it campaigns without asking round first.
    AskedToLead {
        /// The leader.
        by: NodeId,
    },
    /// The leader's own disk has made nothing durable for an election timeout, or for four of them
    /// not what was committed: it steps down, so that a node with a working disk can lead.
    DiskStalled {
        /// The term it led.
        term: Term,
    },
    /// The configuration in which this leader has no vote is committed: it steps down (thesis
    /// §4.2.2).
    LeftOut {
        /// The term it led.
        term: Term,
    },
    /// A majority voted for this node.
    Elected {
        /// The term it leads.
        term: Term,
    },
    /// This leader has not heard from a majority for an election timeout (check-quorum, thesis
    /// §6.2) and steps down.
    QuorumLost {
        /// The term it led.
        term: Term,
    },
    /// Entries of this log conflicted with the leader's and are gone.
    Truncated {
        /// The first index that was removed.
        from: Index,
    },
    /// A follower's log did not match; the leader tries further back.
    Backtracked {
        /// Which follower.
        peer: NodeId,
        /// The next index to be sent to it.
        next: Index,
    },
    /// A follower needs a snapshot: the log no longer holds what it lacks.
    SnapshotNeeded {
        /// Which follower.
        peer: NodeId,
        /// The next index that it would need.
        next: Index,
    },
    /// The log was replaced by a snapshot.
    SnapshotInstalled {
        /// The position the snapshot ends at.
        at: Position,
    },
    /// This node's log has everything back that it could have acknowledged before it was damaged:
    /// the node votes again.
    Recovered {
        /// Up to here, which was the end of the leader's log.
        last: Position,
    },
    /// A message made no sense and was dropped.
    MessageDropped {
        /// Who it claimed to be from.
        from: NodeId,
        /// What was wrong with it.
        reason: DropReason,
    },
}

/// How a request for a vote was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum VoteAnswer {
    /// With yes.
    Granted,
    /// No: the candidate's log lacks entries that this one has (paper §5.4.1).
    LogBehind,
    /// No: this node voted for another in the same term.
    AlreadyVoted,
    /// No: this node hears from a live leader (thesis §4.2.3).
    LeaderAlive,
    /// No: the candidate's term is over.
    OldTerm,
    /// No: this node's log has lost entries, and does not have them back yet.
    Recovering,
}

/// Why a message was dropped: none of these comes from a correct member. (A former member may not
/// know yet that it is a stranger.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum DropReason {
    /// It is addressed to another node, or claims to come from this one.
    WrongAddress,
    /// It votes, confirms or asks to read, but its sender is not a member of the cluster.
    UnknownSender,
    /// Its entries do not follow each other, or `prev`, or are of a term above its own.
    MalformedEntries,
    /// Its snapshot names no voters, or a position that no entry can have.
    MalformedSnapshot,
    /// It would replace committed entries.
    ConflictsWithCommitted,
    /// Another node already leads its term.
    SecondLeader,
    /// It confirms entries or heartbeats that were never sent.
    ImpossibleMatch,
    /// Its term is so far ahead of ours that no elections can have led there.
    ImpossibleTerm,
}
