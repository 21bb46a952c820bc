//! Records: one [`Write`] each, whole or not there.
//!
//! A record fills whole sectors; what follows is their contents, without what closes each sector
//! (see `sector`). The payload is the metadata of every entry, one after the other through the
//! codec, then the bytes of every command, one after the other.
//!
//! ```text
//! offset  size  what
//!      0     4  "RRec"
//!      4     4  flags: bit 0, there is a vote; bit 1, the node recovers; bit 2, the log begins
//!              anew here; the others are zero
//!      8     8  sequence: the number of this record, from 1
//!     16     8  durable: the last record known to be durable when this one was written
//!     24     4  seal of the first sector of the record before; 0 for the first
//!     28     4  length of the payload in bytes
//!     32     4  CRC-32C of the seals of all its sectors but the first, in order; 0 without any
//!     36     4  number of entries
//!     40     8  index of the position before the first entry (of the last entry, if there is none;
//!              of the position that the log begins after, if it begins anew)
//!     48     8  its term
//!     56     8  term of the last entry (as before, if there is none)
//!     64     8  current term
//!     72     8  vote, 0 without one
//!     80     8  starts of the node
//!     88     8  commit index
//!     96     n  payload, then zeros to the end of the sector
//! ```

use std::sync::Arc;

use raft_core::{
    ClusterConfig, Command, Entry, HardState, Index, NodeId, Payload, Position, Term, Write,
};
use serde::{Deserialize, Serialize};
use wire::codec;

use crate::error::WriteError;
use crate::fields::{put_u32, put_u64, u32_at, u64_at};
use crate::sector::{self, Place, SECTOR_BYTES};

/// The size of a record's header.
pub(crate) const HEADER_BYTES: usize = 96;

/// The largest payload of one record: 256 MiB. A node that keeps to the default limits of
/// raft-core writes less than a third of it.
pub const MAX_PAYLOAD_BYTES: usize = 256 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"RRec");
const HAS_VOTE: u32 = 1;
const IS_RECOVERING: u32 = 2;
const IS_RESET: u32 = 4;

/// The flags that a hard state may have.
pub(crate) const HARD_STATE_FLAGS: u32 = HAS_VOTE | IS_RECOVERING;

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) sequence: u64,
    pub(crate) durable: u64,
    pub(crate) previous: u32,
    pub(crate) payload_bytes: u32,
    /// CRC-32C of the seals of all sectors but the first.
    pub(crate) rest: u32,
    pub(crate) entries: u32,
    /// Whether the log is emptied here, and begins anew after `prev`.
    pub(crate) is_reset: bool,
    pub(crate) prev: Position,
    pub(crate) last_term: Term,
    pub(crate) hard_state: HardState,
    pub(crate) commit: Index,
}

impl Header {
    /// The position of the last entry of the log once this record is in it.
    pub(crate) fn last(&self) -> Position {
        Position::new(self.last_term, self.prev.index.plus(u64::from(self.entries)))
    }

    /// How many sectors the record fills.
    pub(crate) fn sectors(&self) -> usize {
        sector::sectors_for(HEADER_BYTES + self.payload_bytes as usize)
    }

    /// The header at the front of a sector's contents, if there is one.
    pub(crate) fn decode(content: &[u8]) -> Result<Self, &'static str> {
        let flags = u32_at(content, 4);
        let header = Self {
            sequence: u64_at(content, 8),
            durable: u64_at(content, 16),
            previous: u32_at(content, 24),
            payload_bytes: u32_at(content, 28),
            rest: u32_at(content, 32),
            entries: u32_at(content, 36),
            is_reset: flags & IS_RESET != 0,
            prev: position_at(content, 40),
            last_term: Term::new(u64_at(content, 56)),
            hard_state: hard_state_at(content, 64, flags),
            commit: Index::new(u64_at(content, 88)),
        };
        let rules = [
            (u32_at(content, 0) == MAGIC, "no record begins here"),
            (
                flags & !(HARD_STATE_FLAGS | IS_RESET) == 0,
                "it has flags that this version does not know",
            ),
            (header.payload_bytes as usize <= MAX_PAYLOAD_BYTES, "its payload is too large"),
            (header.prev.index.get() < u64::MAX - u64::from(u32::MAX), "its index is too large"),
            (header.entries > 0 || header.payload_bytes == 0, "it has a payload without entries"),
            (header.entries > 0 || header.last_term == header.prev.term, "it names two last terms"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(broken),
            None => Ok(header),
        }
    }

    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        put_u32(&mut out, 0, MAGIC);
        let reset = if self.is_reset { IS_RESET } else { 0 };
        put_u32(&mut out, 4, flags(self.hard_state) | reset);
        put_u64(&mut out, 8, self.sequence);
        put_u64(&mut out, 16, self.durable);
        put_u32(&mut out, 24, self.previous);
        put_u32(&mut out, 28, self.payload_bytes);
        put_u32(&mut out, 32, self.rest);
        put_u32(&mut out, 36, self.entries);
        put_position(&mut out, 40, self.prev);
        put_u64(&mut out, 56, self.last_term.get());
        put_hard_state(&mut out, 64, self.hard_state);
        put_u64(&mut out, 88, self.commit.get());
        out
    }
}

/// The flags that go with a hard state.
pub(crate) fn flags(hard_state: HardState) -> u32 {
    let vote = if hard_state.vote.is_some() { HAS_VOTE } else { 0 };
    let recovering = if hard_state.recovering { IS_RECOVERING } else { 0 };
    vote | recovering
}

pub(crate) fn put_hard_state(out: &mut [u8], at: usize, hard_state: HardState) {
    put_u64(out, at, hard_state.term.get());
    put_u64(out, at + 8, hard_state.vote.map_or(0, NodeId::get));
    put_u64(out, at + 16, hard_state.boots);
}

pub(crate) fn hard_state_at(bytes: &[u8], at: usize, flags: u32) -> HardState {
    let vote = (flags & HAS_VOTE != 0).then(|| NodeId::new(u64_at(bytes, at + 8)));
    let (term, boots) = (Term::new(u64_at(bytes, at)), u64_at(bytes, at + 16));
    HardState { term, vote, boots, recovering: flags & IS_RECOVERING != 0 }
}

/// Positions are written as people read the log: index first.
pub(crate) fn put_position(out: &mut [u8], at: usize, position: Position) {
    put_u64(out, at, position.index.get());
    put_u64(out, at + 8, position.term.get());
}

pub(crate) fn position_at(bytes: &[u8], at: usize) -> Position {
    Position::new(Term::new(u64_at(bytes, at + 8)), Index::new(u64_at(bytes, at)))
}

/// What the codec writes of one entry. Mirrors of the core's types, so that a change over there
/// cannot change the format in silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryMeta {
    pub(crate) term: u64,
    pub(crate) kind: KindMeta,
}

/// What kind of entry it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KindMeta {
    Noop,
    Command { bytes: u32 },
    Config(Box<ConfigMeta>),
}

/// The members of a cluster, as the codec writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigMeta {
    voters: Vec<u64>,
    outgoing: Option<Vec<u64>>,
    learners: Vec<u64>,
}

impl ConfigMeta {
    fn of(config: &ClusterConfig) -> Self {
        let ids = |nodes: &std::collections::BTreeSet<NodeId>| {
            nodes.iter().map(|node| node.get()).collect()
        };
        Self {
            voters: ids(&config.voters),
            outgoing: config.outgoing.as_ref().map(ids),
            learners: ids(&config.learners),
        }
    }

    pub(crate) fn config(&self) -> ClusterConfig {
        let nodes = |ids: &Vec<u64>| ids.iter().copied().map(NodeId::new).collect();
        ClusterConfig {
            voters: nodes(&self.voters),
            outgoing: self.outgoing.as_ref().map(nodes),
            learners: nodes(&self.learners),
        }
    }
}

impl EntryMeta {
    fn of(entry: &Entry) -> Result<Self, WriteError> {
        let kind = match &entry.payload {
            Payload::Noop => KindMeta::Noop,
            Payload::Command(command) => {
                let bytes = command.len();
                KindMeta::Command { bytes: fitting_u32(bytes)? }
            }
            Payload::Config(config) => KindMeta::Config(Box::new(ConfigMeta::of(config))),
        };
        Ok(Self { term: entry.at.term.get(), kind })
    }

    fn command_bytes(&self) -> usize {
        match self.kind {
            KindMeta::Command { bytes } => bytes as usize,
            KindMeta::Noop | KindMeta::Config(_) => 0,
        }
    }
}

fn fitting_u32(bytes: usize) -> Result<u32, WriteError> {
    let too_large = WriteError::TooLarge { bytes, limit: MAX_PAYLOAD_BYTES };
    if bytes > MAX_PAYLOAD_BYTES { Err(too_large) } else { u32::try_from(bytes).or(Err(too_large)) }
}

/// What the codec writes of an entry with a command: its term, its kind and a length.
const COMMAND_META_BYTES: usize = 8 + 4 + 4;

/// A write that is laid out, but whose place is not decided yet.
#[derive(Debug)]
pub(crate) struct Draft<'w> {
    pub(crate) header: Header,
    metas: Vec<u8>,
    write: &'w Write,
}

impl<'w> Draft<'w> {
    /// Lays out `write`, whose entries continue `prev`. The caller fills in what chains the record
    /// to the one before: sequence, durable, previous.
    pub(crate) fn new(write: &'w Write, prev: Position) -> Result<Self, WriteError> {
        let mut metas = Vec::with_capacity(COMMAND_META_BYTES * write.entries.len());
        let mut commands_bytes = 0;
        for entry in write.entries.iter() {
            let meta = EntryMeta::of(entry)?;
            commands_bytes += meta.command_bytes();
            codec::encode(&mut metas, &meta)
                .map_err(|_| WriteError::Malformed { rule: "an entry's metadata is too large" })?;
        }
        let header = Header {
            sequence: 0,
            durable: 0,
            previous: 0,
            payload_bytes: fitting_u32(metas.len() + commands_bytes)?,
            rest: 0,
            entries: fitting_u32(write.entries.len())?,
            is_reset: write.reset.is_some(),
            prev,
            last_term: write.entries.last_position().unwrap_or(prev).term,
            hard_state: write.hard_state,
            commit: write.commit,
        };
        Ok(Self { header, metas, write })
    }

    /// Appends the sealed sectors to `out`; returns the seal of the first.
    ///
    /// The first sector is sealed last: it names the seals of the others, so that a sector which
    /// was written at the same place for another record is not taken for one of this.
    pub(crate) fn encode(&mut self, log_id: u64, place: Place, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        sector::push_content(out, &[0; HEADER_BYTES]);
        sector::push_content(out, &self.metas);
        for command in commands(self.write) {
            sector::push_content(out, command);
        }
        sector::pad(out);
        let (first, others) = out[start..].split_at_mut(SECTOR_BYTES);
        self.header.rest = sector::seal_rest(log_id, place, others);
        first[..HEADER_BYTES].copy_from_slice(&self.header.encode());
        sector::seal(log_id, place, 0, first)
    }
}

fn commands(write: &Write) -> impl Iterator<Item = &[u8]> {
    write.entries.iter().filter_map(|entry| match &entry.payload {
        Payload::Command(command) => Some(&command[..]),
        Payload::Noop | Payload::Config(_) => None,
    })
}

/// Takes the metadata off the front of the payload of a whole record; returns it with the
/// bytes of the commands.
///
/// The list grows with what is decoded, never with what is announced.
pub(crate) fn decode_metas<'p>(
    header: &Header,
    payload: &'p [u8],
) -> Result<(Vec<EntryMeta>, &'p [u8]), &'static str> {
    let mut metas = Vec::new();
    let mut rest = payload;
    let (mut term, mut commands_bytes) = (header.prev.term.get(), 0);
    for _ in 0..header.entries {
        let (meta, behind) =
            codec::decode::<EntryMeta>(rest).map_err(|_| "its entries cannot be decoded")?;
        if meta.term < term {
            return Err("the terms of its entries go down");
        }
        term = meta.term;
        commands_bytes += meta.command_bytes();
        metas.push(meta);
        rest = behind;
    }
    if term != header.last_term.get() {
        return Err("its last entry is of another term than it says");
    }
    // With the feature, a mistake that fuzzing has to find: lengths are believed.
    if commands_bytes != rest.len() && cfg!(not(feature = "planted-bugs")) {
        return Err("its commands are longer or shorter than it says");
    }
    Ok((metas, rest))
}

/// The entries of a record, from index `from` on.
pub(crate) fn entries_from<'r>(
    header: &Header,
    metas: &'r [EntryMeta],
    commands: &'r [u8],
    from: Index,
) -> impl Iterator<Item = Entry> + 'r {
    let first = header.prev.index.next();
    let mut rest = commands;
    (0..).zip(metas).filter_map(move |(nth, meta)| {
        let at = Position::new(Term::new(meta.term), first.plus(nth));
        let (command, behind) = rest.split_at_checked(meta.command_bytes())?;
        rest = behind;
        (at.index >= from).then(|| Entry { at, payload: payload_of(meta, command) })
    })
}

fn payload_of(meta: &EntryMeta, command: &[u8]) -> Payload {
    match &meta.kind {
        KindMeta::Noop => Payload::Noop,
        KindMeta::Command { .. } => Payload::Command(Command::copied_from(command)),
        KindMeta::Config(config) => Payload::Config(Arc::new(config.config())),
    }
}
