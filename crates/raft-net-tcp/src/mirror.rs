//! The metadata of Raft messages as it stands on the wire: plain numbers, in the order of
//! `docs/format.md`. The types of `raft-core` may change their shape; these may not.
//!
//! Commands stand raw behind the metadata, in the order of their entries. The index of an entry is
//! not written: entries follow each other, so the position before the first one says it all.

use std::sync::Arc;

use raft_core::{
    Body, ClusterConfig, Command, Entries, Entry, Index, Message, NodeId, Payload, Position,
    ReadMode, Snapshot, Term,
};
use serde::{Deserialize, Serialize, Serializer};

use crate::format::{FormatError, MAX_ENTRIES_PER_MESSAGE};

/// What a frame between two nodes holds. The order of the variants is their number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WirePacket<M> {
    Messages(M),
    Ping,
    Pong,
}

/// A packet that was read.
pub(crate) type ReadPacket = WirePacket<Vec<ReadMessage>>;

/// A packet that is written from where its messages are.
pub(crate) type SaidPacket<'a> = WirePacket<SaidMessages<'a>>;

/// The metadata of a message, with its entries `E`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireMessage<E> {
    from: u64,
    to: u64,
    term: u64,
    body: WireBody<E>,
}

/// A message that was read.
pub(crate) type ReadMessage = WireMessage<Vec<WireEntry>>;

/// Messages to be written, all of which were [checked](check).
#[derive(Debug)]
pub(crate) struct SaidMessages<'a>(pub(crate) &'a [Message]);

impl Serialize for SaidMessages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(WireMessage::of))
    }
}

/// Entries to be written.
#[derive(Debug)]
pub(crate) struct SaidEntries<'a>(&'a Entries);

impl Serialize for SaidEntries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(WireEntry::of))
    }
}

/// The order of the variants is their number: append, never insert.
#[derive(Debug, Serialize, Deserialize)]
enum WireBody<E> {
    PreVote { last: WirePosition },
    PreVoteReply { granted: bool },
    Vote { last: WirePosition },
    VoteReply { granted: bool },
    Append { prev: WirePosition, commit: u64, entries: E },
    Appended { matched: u64 },
    AppendRejected { prev: u64, hint: WirePosition },
    Heartbeat { commit: u64, round: u64 },
    HeartbeatReply { round: u64 },
    ReadIndex { id: u64 },
    ReadIndexReply { id: u64, index: u64 },
    TimeoutNow { last: WirePosition },
    TransferVote { last: WirePosition },
    Snapshot { at: WirePosition, cluster: Box<WireConfig> },
    Recover { id: u64, last: WirePosition },
    RecoverReply { id: u64, last: WirePosition },
    LeaseReadIndex { id: u64 },
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct WirePosition {
    term: u64,
    index: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireEntry {
    term: u64,
    payload: WirePayload,
}

/// The order of the variants is their number: append, never insert.
#[derive(Debug, Serialize, Deserialize)]
enum WirePayload {
    Noop,
    /// So many raw bytes behind the metadata.
    Command {
        bytes: u32,
    },
    Config(Box<WireConfig>),
}

/// Members in strictly rising order.
#[derive(Debug, Serialize, Deserialize)]
struct WireConfig {
    voters: Vec<u64>,
    outgoing: Option<Vec<u64>>,
    learners: Vec<u64>,
}

impl<'a> WireMessage<SaidEntries<'a>> {
    /// The metadata of `message`, which was [checked](check).
    pub(crate) fn of(message: &'a Message) -> Self {
        Self {
            from: message.from.get(),
            to: message.to.get(),
            term: message.term.get(),
            body: WireBody::of(&message.body),
        }
    }
}

impl ReadMessage {
    /// The message of this metadata. Its commands are taken off the front of `raw`.
    pub(crate) fn read(self, raw: &mut &[u8]) -> Result<Message, FormatError> {
        Ok(Message {
            from: NodeId::new(self.from),
            to: NodeId::new(self.to),
            term: Term::new(self.term),
            body: read_body(self.body, raw)?,
        })
    }
}

/// Whether a message can be written.
pub(crate) fn check(message: &Message) -> Result<(), FormatError> {
    let Body::Append { prev, entries, .. } = &message.body else { return Ok(()) };
    check_entry_count(entries.len())?;
    let mut index = prev.index;
    for entry in entries.iter() {
        index = successor(index)?;
        let (expected, found) = (index, entry.at.index);
        if found != expected {
            return Err(FormatError::EntriesNotConsecutive { expected, found });
        }
        let count = command_of(entry).map_or(0, <[u8]>::len);
        if u32::try_from(count).is_err() {
            return Err(FormatError::CommandTooLong { count });
        }
    }
    Ok(())
}

/// The commands of a message, in order: what stands raw behind the metadata.
pub(crate) fn commands(message: &Message) -> impl Iterator<Item = &[u8]> {
    let entries = match &message.body {
        Body::Append { entries, .. } => &entries[..],
        _ => &[],
    };
    entries.iter().filter_map(command_of)
}

fn command_of(entry: &Entry) -> Option<&[u8]> {
    match &entry.payload {
        Payload::Command(command) => Some(command),
        Payload::Noop | Payload::Config(_) => None,
    }
}

/// See [`crate::format::message_bytes`].
pub(crate) fn message_bytes(message: &Message) -> usize {
    const ADDRESS_AND_TERM: usize = 3 * 8;
    const TAG: usize = 4;
    const COUNT: usize = 8;
    const POSITION: usize = 16;
    let body = match &message.body {
        Body::PreVote { .. }
        | Body::Vote { .. }
        | Body::TimeoutNow { .. }
        | Body::TransferVote { .. } => POSITION,
        Body::PreVoteReply { .. } | Body::VoteReply { .. } => 1,
        Body::Append { entries, .. } => {
            POSITION + 8 + COUNT + entries.iter().map(entry_bytes).sum::<usize>()
        }
        Body::AppendRejected { .. } | Body::Recover { .. } | Body::RecoverReply { .. } => {
            8 + POSITION
        }
        Body::Snapshot(snapshot) => POSITION + config_bytes(&snapshot.cluster),
        Body::Heartbeat { .. } | Body::ReadIndexReply { .. } => 16,
        Body::Appended { .. } | Body::HeartbeatReply { .. } | Body::ReadIndex { .. } => 8,
    };
    ADDRESS_AND_TERM + TAG + body
}

fn entry_bytes(entry: &Entry) -> usize {
    const TERM_AND_TAG: usize = 8 + 4;
    let payload = match &entry.payload {
        Payload::Noop => 0,
        Payload::Command(bytes) => 4 + bytes.len(),
        Payload::Config(config) => config_bytes(config),
    };
    TERM_AND_TAG + payload
}

fn config_bytes(config: &ClusterConfig) -> usize {
    let outgoing = config.outgoing.as_ref().map_or(0, |old| 8 + 8 * old.len());
    8 + 8 * config.voters.len() + 1 + outgoing + 8 + 8 * config.learners.len()
}

impl<'a> WireBody<SaidEntries<'a>> {
    fn of(body: &'a Body) -> Self {
        match body {
            Body::PreVote { last } => Self::PreVote { last: (*last).into() },
            Body::PreVoteReply { granted } => Self::PreVoteReply { granted: *granted },
            Body::Vote { last } => Self::Vote { last: (*last).into() },
            Body::VoteReply { granted } => Self::VoteReply { granted: *granted },
            Body::Append { prev, entries, commit } => Self::Append {
                prev: (*prev).into(),
                commit: commit.get(),
                entries: SaidEntries(entries),
            },
            Body::Appended { matched } => Self::Appended { matched: matched.get() },
            Body::AppendRejected { prev, hint } => {
                Self::AppendRejected { prev: prev.get(), hint: (*hint).into() }
            }
            Body::Heartbeat { commit, round } => {
                Self::Heartbeat { commit: commit.get(), round: *round }
            }
            Body::HeartbeatReply { round } => Self::HeartbeatReply { round: *round },
            Body::ReadIndex { id, mode: ReadMode::Confirmed } => Self::ReadIndex { id: *id },
            Body::ReadIndex { id, mode: ReadMode::Lease } => Self::LeaseReadIndex { id: *id },
            Body::ReadIndexReply { id, index } => {
                Self::ReadIndexReply { id: *id, index: index.get() }
            }
            Body::TimeoutNow { last } => Self::TimeoutNow { last: (*last).into() },
            Body::TransferVote { last } => Self::TransferVote { last: (*last).into() },
            Body::Snapshot(Snapshot { at, cluster }) => {
                Self::Snapshot { at: (*at).into(), cluster: Box::new(write_config(cluster)) }
            }
            Body::Recover { id, last } => Self::Recover { id: *id, last: (*last).into() },
            Body::RecoverReply { id, last } => Self::RecoverReply { id: *id, last: (*last).into() },
        }
    }
}

fn read_body(body: WireBody<Vec<WireEntry>>, raw: &mut &[u8]) -> Result<Body, FormatError> {
    Ok(match body {
        WireBody::PreVote { last } => Body::PreVote { last: last.into() },
        WireBody::PreVoteReply { granted } => Body::PreVoteReply { granted },
        WireBody::Vote { last } => Body::Vote { last: last.into() },
        WireBody::VoteReply { granted } => Body::VoteReply { granted },
        WireBody::Append { prev, commit, entries } => Body::Append {
            prev: prev.into(),
            entries: read_entries(prev.into(), entries, raw)?,
            commit: Index::new(commit),
        },
        WireBody::Appended { matched } => Body::Appended { matched: Index::new(matched) },
        WireBody::AppendRejected { prev, hint } => {
            Body::AppendRejected { prev: Index::new(prev), hint: hint.into() }
        }
        WireBody::Heartbeat { commit, round } => {
            Body::Heartbeat { commit: Index::new(commit), round }
        }
        WireBody::HeartbeatReply { round } => Body::HeartbeatReply { round },
        WireBody::ReadIndex { id } => Body::ReadIndex { id, mode: ReadMode::Confirmed },
        WireBody::LeaseReadIndex { id } => Body::ReadIndex { id, mode: ReadMode::Lease },
        WireBody::ReadIndexReply { id, index } => {
            Body::ReadIndexReply { id, index: Index::new(index) }
        }
        WireBody::TimeoutNow { last } => Body::TimeoutNow { last: last.into() },
        WireBody::TransferVote { last } => Body::TransferVote { last: last.into() },
        WireBody::Snapshot { at, cluster } => {
            let cluster = Arc::new(read_config(*cluster)?);
            Body::Snapshot(Snapshot { at: at.into(), cluster })
        }
        WireBody::Recover { id, last } => Body::Recover { id, last: last.into() },
        WireBody::RecoverReply { id, last } => Body::RecoverReply { id, last: last.into() },
    })
}

fn read_entries(
    prev: Position,
    entries: Vec<WireEntry>,
    raw: &mut &[u8],
) -> Result<Entries, FormatError> {
    check_entry_count(entries.len())?;
    let mut index = prev.index;
    let mut read = Vec::with_capacity(entries.len());
    for entry in entries {
        index = successor(index)?;
        read.push(Entry {
            at: Position::new(Term::new(entry.term), index),
            payload: read_payload(entry.payload, raw)?,
        });
    }
    Ok(Entries::from(read))
}

fn check_entry_count(count: usize) -> Result<(), FormatError> {
    match count {
        0..=MAX_ENTRIES_PER_MESSAGE => Ok(()),
        _ => Err(FormatError::TooManyEntries { count }),
    }
}

fn successor(index: Index) -> Result<Index, FormatError> {
    match index.get().checked_add(1) {
        Some(next) => Ok(Index::new(next)),
        None => Err(FormatError::IndexOverflow),
    }
}

impl WireEntry {
    /// The metadata of `entry`, which was [checked](check).
    fn of(entry: &Entry) -> Self {
        let payload = match &entry.payload {
            Payload::Noop => WirePayload::Noop,
            Payload::Command(command) => {
                WirePayload::Command { bytes: u32::try_from(command.len()).unwrap_or(u32::MAX) }
            }
            Payload::Config(config) => WirePayload::Config(Box::new(write_config(config))),
        };
        Self { term: entry.at.term.get(), payload }
    }
}

fn read_payload(payload: WirePayload, raw: &mut &[u8]) -> Result<Payload, FormatError> {
    Ok(match payload {
        WirePayload::Noop => Payload::Noop,
        WirePayload::Command { bytes } => {
            let missing = FormatError::BytesMissing { announced: bytes, left: raw.len() };
            let (command, rest) = raw.split_at_checked(bytes as usize).ok_or(missing)?;
            *raw = rest;
            Payload::Command(Command::copied_from(command))
        }
        WirePayload::Config(config) => Payload::Config(Arc::new(read_config(*config)?)),
    })
}

fn write_config(config: &ClusterConfig) -> WireConfig {
    let numbers =
        |ids: &std::collections::BTreeSet<NodeId>| ids.iter().map(|id| id.get()).collect();
    WireConfig {
        voters: numbers(&config.voters),
        outgoing: config.outgoing.as_ref().map(numbers),
        learners: numbers(&config.learners),
    }
}

fn read_config(config: WireConfig) -> Result<ClusterConfig, FormatError> {
    let members = |ids: Vec<u64>| {
        if ids.is_sorted_by(|a, b| a < b) {
            Ok(ids.into_iter().map(NodeId::new).collect())
        } else {
            Err(FormatError::MembersNotInOrder)
        }
    };
    Ok(ClusterConfig {
        voters: members(config.voters)?,
        outgoing: config.outgoing.map(members).transpose()?,
        learners: members(config.learners)?,
    })
}

impl From<Position> for WirePosition {
    fn from(position: Position) -> Self {
        Self { term: position.term.get(), index: position.index.get() }
    }
}

impl From<WirePosition> for Position {
    fn from(position: WirePosition) -> Self {
        Self::new(Term::new(position.term), Index::new(position.index))
    }
}
