//! Raft messages as bytes: the bodies of the frames that follow the greeting on a connection.
//! `docs/format.md`, "Raft messages", states every byte.
//!
//! These functions are what the network itself uses. They are public for tools, tests and
//! measurements; moving messages needs none of them.

use std::fmt;

use raft_core::{Index, Message};
use wire::codec::{self, CodecError};
use wire::frame::{write_frame, write_frame_of};

use crate::mirror::{self, ReadPacket, SaidMessages, SaidPacket};

/// The most entries in one message. A core whose append messages have at most 1 MiB, as is the
/// default, never has more.
pub const MAX_ENTRIES_PER_MESSAGE: usize = 32 << 10;

/// The most messages in one frame.
pub const MAX_MESSAGES_PER_FRAME: usize = 8 << 10;

/// What a frame's body takes beyond its messages, in bytes: its kind, and their number.
pub const FRAME_OVERHEAD_BYTES: usize = 4 + 8;

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Raft messages, in the order they were sent.
    Messages(Vec<Message>),
    /// "Are you there?"
    Ping,
    /// "I am", on the same connection.
    Pong,
}

/// Appends one frame with all of `messages` to `out`.
///
/// # Errors
///
/// If one of the limits of the format is exceeded, or the entries of a message do not follow its
/// `prev`. `out` is left as it was.
pub fn encode_messages(out: &mut Vec<u8>, messages: &[Message]) -> Result<(), FormatError> {
    check_message_count(messages.len())?;
    messages.iter().try_for_each(mirror::check)?;
    let packet = SaidPacket::Messages(SaidMessages(messages));
    Ok(write_frame_of(out, &packet, messages.iter().flat_map(mirror::commands))?)
}

/// Appends a frame that says [`Packet::Ping`].
///
/// # Errors
///
/// None in practice; the codec reserves them.
pub fn encode_ping(out: &mut Vec<u8>) -> Result<(), FormatError> {
    Ok(write_frame(out, &SaidPacket::Ping, &[])?)
}

/// Appends a frame that says [`Packet::Pong`].
///
/// # Errors
///
/// None in practice; the codec reserves them.
pub fn encode_pong(out: &mut Vec<u8>) -> Result<(), FormatError> {
    Ok(write_frame(out, &SaidPacket::Pong, &[])?)
}

/// What the body of a frame says. Commands are copied out of it once, into the memory where they
/// stay.
///
/// # Errors
///
/// If `body` is not exactly one packet within the limits of the format.
pub fn decode(body: &[u8]) -> Result<Packet, FormatError> {
    let (packet, mut raw) = codec::decode::<ReadPacket>(body)?;
    let packet = match packet {
        ReadPacket::Messages(messages) => {
            check_message_count(messages.len())?;
            let read = messages.into_iter().map(|message| message.read(&mut raw));
            Packet::Messages(read.collect::<Result<_, _>>()?)
        }
        ReadPacket::Ping => Packet::Ping,
        ReadPacket::Pong => Packet::Pong,
    };
    match raw.len() {
        0 => Ok(packet),
        count => Err(FormatError::BytesLeftOver { count }),
    }
}

/// What a message takes in the body of a frame, in bytes: its metadata and its commands. The frame
/// itself takes [`FRAME_OVERHEAD_BYTES`] more.
pub fn message_bytes(message: &Message) -> usize {
    mirror::message_bytes(message)
}

fn check_message_count(count: usize) -> Result<(), FormatError> {
    match count {
        0..=MAX_MESSAGES_PER_FRAME => Ok(()),
        _ => Err(FormatError::TooManyMessages { count }),
    }
}

/// Bytes that are no message, or a message that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// The metadata is damaged, or too large.
    Codec(CodecError),
    /// More messages than [`MAX_MESSAGES_PER_FRAME`].
    TooManyMessages {
        /// How many.
        count: usize,
    },
    /// More entries than [`MAX_ENTRIES_PER_MESSAGE`].
    TooManyEntries {
        /// How many.
        count: usize,
    },
    /// The entries of a message do not follow each other, or its `prev`.
    EntriesNotConsecutive {
        /// The index that should have come.
        expected: Index,
        /// The index that came.
        found: Index,
    },
    /// Entries beyond the last index there can be.
    IndexOverflow,
    /// A command of 4 GiB or more.
    CommandTooLong {
        /// Its length in bytes.
        count: usize,
    },
    /// A command is announced and not there.
    BytesMissing {
        /// Its length in bytes.
        announced: u32,
        /// How many bytes there were.
        left: usize,
    },
    /// There are bytes that belong to no command.
    BytesLeftOver {
        /// How many.
        count: usize,
    },
    /// The members of a configuration are not in rising order.
    MembersNotInOrder,
    /// What is offered as a snapshot is another message.
    NotASnapshot,
}

impl From<CodecError> for FormatError {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codec(error) => error.fmt(f),
            Self::TooManyMessages { count } => write!(
                f,
                "{count} messages in one frame, above the limit of {MAX_MESSAGES_PER_FRAME}"
            ),
            Self::TooManyEntries { count } => write!(
                f,
                "{count} entries in one message, above the limit of {MAX_ENTRIES_PER_MESSAGE}"
            ),
            Self::EntriesNotConsecutive { expected, found } => {
                write!(f, "an entry at index {found} where {expected} should stand")
            }
            Self::IndexOverflow => write!(f, "entries beyond the last possible index"),
            Self::CommandTooLong { count } => {
                write!(f, "a command of {count} bytes, above the limit of 4 GiB")
            }
            Self::BytesMissing { announced, left } => {
                write!(f, "a command of {announced} bytes is announced, {left} bytes are left")
            }
            Self::BytesLeftOver { count } => {
                write!(f, "{count} bytes that belong to no command")
            }
            Self::MembersNotInOrder => {
                write!(f, "a configuration whose members are not in rising order")
            }
            Self::NotASnapshot => write!(f, "an offer of something that is no snapshot"),
        }
    }
}

impl std::error::Error for FormatError {}
