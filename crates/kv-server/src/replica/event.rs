//! What happens to a replica, and what it has done.

use std::time::Duration;

use kv_proto::{BackupRequest, Difference, Error, Outcome, Range, StatusReply};
use raft_core::{
    Command, Entries, Event as TraceEvent, Index, LogRead, Message, NodeId, PersistId, Position,
    ReadLog, RoleChange, SendSnapshot, Snapshot, Time, Write,
};
use raft_storage::Room;

use super::timed_out;
use crate::disk_health::DiskNotice;

/// Something that happened to the server.
#[derive(Debug)]
pub enum Event {
    /// Time has passed: due no later than [`Replica::deadline`](super::Replica::deadline).
    Wake,
    /// A message from another node.
    Message(Message),
    /// This node can send to another one from now on.
    Connected {
        /// Which one.
        peer: NodeId,
        /// Where it serves its clients, if it told.
        client_address: Option<String>,
    },
    /// The connection to another node broke.
    Unreachable(NodeId),
    /// The log has every write up to this one safely on disk.
    Persisted(PersistId),
    /// Entries were read back from the log.
    LogRead(LogRead),
    /// The state machine durably holds everything up to this index.
    Stored(Index),
    /// There is more or less room for the log.
    LogRoom(Room),
    /// There is no room for the state file (`true`), or there is again.
    StateRoom(bool),
    /// The state of this node was found to differ so from that of others; or not to, any more.
    Differs(Option<Difference>),
    /// What became of a snapshot for this node, and up to where it goes if it arrived.
    SnapshotSent {
        /// Whom it was for.
        to: NodeId,
        /// Where it ends; `None` if it did not arrive, or nobody knows.
        arrived: Option<Position>,
    },
    /// There was no room for a snapshot.
    SnapshotHasNoRoom,
    /// A snapshot has arrived whole; this message belongs to it.
    SnapshotArrived(Message),
    /// The state is that of the snapshot, up to this index; `None` if it is as it was.
    SnapshotInstalled(Option<Index>),
    /// Clients ask.
    Requests(Vec<Request>),
    /// Finish what is under way, then stop.
    Stop,
}

/// What a client asks, checked against the limits.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks, and its name for the question.
    pub client: ClientTag,
    /// How long it will wait.
    pub timeout: Duration,
    /// What it asks.
    pub call: Call,
}

/// One question of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientTag {
    /// The connection; never used for another one.
    pub connection: u64,
    /// The client's own number for the request.
    pub request: u64,
    /// What the answer may take in memory at most, in bytes: so much is set aside for it.
    pub most_reply_bytes: usize,
}

/// What can be asked.
#[derive(Clone, Debug)]
pub enum Call {
    /// To apply this encoded command.
    Write(Command),
    /// To read.
    Read(Range),
    /// How this node is.
    Status,
    /// To back up what this node holds.
    Backup(BackupRequest),
    /// Which digests this node's state had.
    Digests,
}

/// Something for the server to do.
#[derive(Debug)]
pub enum Effect {
    /// Hand this to the network.
    Send(Message),
    /// Hand this to the log.
    Persist(Write),
    /// Have this read from the log.
    ReadLog(ReadLog),
    /// Have the log forget what lies up to this index.
    Compact(Index),
    /// Have the log give back to the disk what it only keeps to use it again.
    FreeLogRoom,
    /// Hand this to the apply thread, in order.
    Apply(ApplyWork),
    /// Tell a client that its request failed.
    Fail(ClientTag, Error),
    /// The snapshot that has arrived is not installed: forget it.
    DiscardSnapshot,
    /// Tell people about a change of role.
    RoleChanged(RoleChange),
    /// Tell people what happens inside.
    Trace(TraceEvent),
    /// Tell people about the disk.
    Disk(DiskNotice),
    /// Everything is finished and everybody answered: stop.
    Stop,
}

/// Work for the apply thread, which does it in order.
#[derive(Debug)]
pub enum ApplyWork {
    /// Apply these entries, and answer those who wait for one of them.
    Entries {
        /// The entries.
        entries: Entries,
        /// Who waits for the entry at which index, in the order of the indexes.
        waiters: Vec<(Index, ClientTag)>,
    },
    /// Answer a read from the state as it is now.
    Read {
        /// Who asks.
        client: ClientTag,
        /// What for.
        range: Range,
        /// The term for the answer's header.
        term: u64,
        /// How long it may still wait for its turn.
        patience: Patience,
    },
    /// Complete this with what the state machine knows, and answer.
    Status {
        /// Who asks.
        client: ClientTag,
        /// What the replica knows.
        status: Box<StatusReply>,
    },
    /// Have a piece of a backup made; the first shows the state as it is now.
    Backup {
        /// Who asks.
        client: ClientTag,
        /// The number of the piece.
        piece: u64,
        /// The term for the answer's header.
        term: u64,
        /// How long it may still wait for its turn.
        patience: Patience,
    },
    /// Answer with the digests that the state had.
    Digests {
        /// Who asks.
        client: ClientTag,
        /// The term for the answer's header.
        term: u64,
        /// What is known of a difference.
        difference: Option<Difference>,
    },
    /// Send the state to a node that needs it.
    SendSnapshot(SendSnapshot),
    /// Send it to nobody any more.
    CancelSnapshots,
    /// Put the snapshot that has arrived in the place of the state.
    InstallSnapshot(Snapshot),
    /// Ask the log for more entries to apply: in this queue, so that a long log is not read
    /// faster than it is applied.
    ReadLog(ReadLog),
}

/// How long a client waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// When it asked.
    pub asked_at: Time,
    /// From when on it does not wait any more.
    pub deadline: Time,
}

impl Patience {
    pub(crate) fn new(now: Time, timeout: Duration) -> Self {
        Self { asked_at: now, deadline: now + timeout }
    }

    /// What to say to a read whose time is up, instead of answering it.
    ///
    /// # Errors
    ///
    /// That, if its time is up.
    pub fn check_read(&self, now: Time) -> Result<(), Error> {
        if now < self.deadline { Ok(()) } else { Err(self.read_timed_out(now)) }
    }

    /// What to say to a read that is not answered in time.
    pub(crate) fn read_timed_out(&self, now: Time) -> Error {
        timed_out(now.since(self.asked_at), Outcome::NotApplied)
    }
}
