//! Everything that can be refused or go wrong with a request: one enum, with numbers that stay.
//!
//! | code | error | a write was |
//! | --- | --- | --- |
//! | 0 | `Internal` | perhaps applied |
//! | 1 | `NotLeader` | not applied |
//! | 2 | `NoLeader` | not applied |
//! | 3 | `Busy` | not applied |
//! | 4 | `TooLarge` | not applied |
//! | 5 | `EmptyKey` | not applied |
//! | 6 | `FutureRevision` | (a read) |
//! | 7 | `Compacted` | (a read) |
//! | 8 | `KeyNotFound` | not applied |
//! | 9 | `LeaseNotFound` | not applied |
//! | 10 | `InvalidOptions` | not applied |
//! | 11 | `Malformed` | not applied |
//! | 12 | `UnsupportedVersion` | not applied |
//! | 13 | `TooManyInFlight` | not applied (reserved: a server stops reading instead) |
//! | 14 | `ShuttingDown` | not applied |
//! | 15 | `Overwritten` | not applied |
//! | 16 | `LeadershipLost` | perhaps applied |
//! | 17 | `Timeout` | as it says |
//! | 18 | `Diverged` | not applied |
//! | 19 | `NoSpace` | not applied |

use std::fmt;

use serde::{Deserialize, Serialize};
use wire::codec::CodecError;

use crate::ids::{LeaseId, Revision};

/// Why a request was not answered as asked. The order of the variants is the wire format: new ones
/// go to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Error {
    /// The server broke one of its own rules.
    Internal {
        /// Which one.
        reason: String,
    },
    /// Only the leader takes writes, and this node knows who that is.
    NotLeader {
        /// The leader's id.
        leader: u64,
        /// Where clients reach it, if known.
        client_address: Option<String>,
    },
    /// This node knows no leader: an election is under way, or it is cut off.
    NoLeader,
    /// The server has as much work waiting as it takes.
    Busy,
    /// Something is larger than a limit.
    TooLarge {
        /// What.
        part: Part,
        /// How large it is, in bytes.
        size_bytes: u64,
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The key is empty.
    EmptyKey,
    /// A read at a revision that does not exist yet.
    FutureRevision {
        /// The revision asked for.
        asked: Revision,
        /// The current one.
        current: Revision,
    },
    /// A read at a revision whose history is gone.
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The oldest revision that can still be read.
        compacted: Revision,
    },
    /// A put that keeps the old value or the old lease, of a key that does not exist.
    KeyNotFound,
    /// There is no such lease.
    LeaseNotFound {
        /// The lease asked for.
        lease: LeaseId,
    },
    /// Options that exclude each other, or mean nothing.
    InvalidOptions {
        /// Which ones, and what to do.
        reason: String,
    },
    /// The bytes are not a request of this protocol.
    Malformed {
        /// What was wrong with them.
        reason: String,
    },
    /// The two sides know no common version of the protocol.
    UnsupportedVersion {
        /// The oldest version the server knows.
        server_min: u16,
        /// The newest version the server knows.
        server_max: u16,
    },
    /// The connection has more requests waiting than the handshake allowed.
    TooManyInFlight {
        /// The limit.
        limit: u32,
    },
    /// The server is being stopped and takes no new requests.
    ShuttingDown,
    /// Leadership was lost, and another leader's entry took the place of this write.
    Overwritten,
    /// Leadership was lost while the write was under way: the next leader may or may not have it.
    LeadershipLost,
    /// The answer took too long.
    Timeout {
        /// How long was waited, in milliseconds.
        waited_millis: u64,
        /// Whether the request may still take effect.
        outcome: Outcome,
    },
    /// The node's state differs from that of the majority, so that it must not be asked. Since
    /// version 2 of the protocol.
    Diverged {
        /// The node.
        node: u64,
        /// The index of the log at which the states were compared.
        index: u64,
    },
    /// The disk of the node that leads is full. Since version 2 of the protocol.
    NoSpace {
        /// The node.
        node: u64,
    },
}

/// What a failed write has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Nothing, and it never will: it can be sent again.
    NotApplied,
    /// It may have taken effect, or still do.
    Unknown,
}

/// The part of a request or an answer that a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The key.
    Key,
    /// The end of a range of keys.
    RangeEnd,
    /// The value.
    Value,
    /// The whole request.
    Request,
    /// The pairs that a delete was asked to return.
    PreviousPairs,
}

impl Error {
    /// The number of this error, which never changes its meaning: the tag it has on the wire.
    pub fn code(&self) -> u32 {
        match self {
            Self::Internal { .. } => 0,
            Self::NotLeader { .. } => 1,
            Self::NoLeader => 2,
            Self::Busy => 3,
            Self::TooLarge { .. } => 4,
            Self::EmptyKey => 5,
            Self::FutureRevision { .. } => 6,
            Self::Compacted { .. } => 7,
            Self::KeyNotFound => 8,
            Self::LeaseNotFound { .. } => 9,
            Self::InvalidOptions { .. } => 10,
            Self::Malformed { .. } => 11,
            Self::UnsupportedVersion { .. } => 12,
            Self::TooManyInFlight { .. } => 13,
            Self::ShuttingDown => 14,
            Self::Overwritten => 15,
            Self::LeadershipLost => 16,
            Self::Timeout { .. } => 17,
            Self::Diverged { .. } => 18,
            Self::NoSpace { .. } => 19,
        }
    }

    /// What a write that ended with this error has done.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Internal { .. } | Self::LeadershipLost => Outcome::Unknown,
            Self::Timeout { outcome, .. } => *outcome,
            _ => Outcome::NotApplied,
        }
    }

    /// Whether the same request may well succeed later, or at another node.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::NotLeader { .. }
                | Self::NoLeader
                | Self::Busy
                | Self::TooManyInFlight { .. }
                | Self::ShuttingDown
                | Self::Overwritten
                | Self::LeadershipLost
                | Self::Timeout { .. }
                | Self::Diverged { .. }
                | Self::NoSpace { .. }
        )
    }

    /// The same to a client that speaks this version of the protocol: what it does not know is
    /// told with the nearest word that it does.
    #[must_use]
    pub fn for_version(self, version: u16) -> Self {
        match self {
            // "Use another node" is what it is to do.
            Self::Diverged { .. } if version < 2 => Self::ShuttingDown,
            // "Try again shortly" is.
            Self::NoSpace { .. } if version < 2 => Self::Busy,
            known => known,
        }
    }

    /// [`Error::Malformed`], with the reason.
    pub fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed { reason: reason.into() }
    }

    pub(crate) fn value_kept_and_given() -> Self {
        Self::InvalidOptions {
            reason: "a put that keeps the value cannot bring a new one: leave one of them out"
                .into(),
        }
    }
}

impl From<CodecError> for Error {
    fn from(error: CodecError) -> Self {
        Self::malformed(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internal { reason } => write!(f, "{INTERNAL} ({reason})"),
            Self::NotLeader { leader, client_address } => {
                write!(f, "only the leader takes writes: send them to node {leader}")?;
                match client_address {
                    Some(address) => write!(f, " at {address}"),
                    None => Ok(()),
                }
            }
            Self::NoLeader => f.write_str(NO_LEADER),
            Self::Busy => write!(f, "the server has too much waiting: try again shortly"),
            Self::TooLarge { part, size_bytes, limit_bytes } => write!(
                f,
                "{part} of {size_bytes} bytes is above the limit of {limit_bytes}: {}",
                part.advice()
            ),
            Self::EmptyKey => write!(f, "the key is empty: give it at least one byte"),
            Self::FutureRevision { asked, current } => {
                write!(f, "revision {asked} does not exist yet: the current one is {current}")
            }
            Self::Compacted { asked, compacted } => {
                write!(f, "the history of revision {asked} is gone: read at {compacted} or later")
            }
            Self::KeyNotFound => f.write_str(KEY_NOT_FOUND),
            Self::LeaseNotFound { lease } => {
                write!(f, "there is no lease {lease}: it has ended, or never was; ask for another")
            }
            Self::InvalidOptions { reason } => f.write_str(reason),
            Self::Malformed { reason } => write!(f, "{MALFORMED} ({reason})"),
            Self::UnsupportedVersion { server_min, server_max } => write!(
                f,
                "the server speaks versions {server_min} to {server_max} of the protocol, the \
                 client none of them: update the older of the two"
            ),
            Self::TooManyInFlight { limit } => {
                write!(f, "more than {limit} requests wait on one connection: await some answers")
            }
            Self::ShuttingDown => write!(f, "the server is stopping: use another node"),
            Self::Overwritten => f.write_str(OVERWRITTEN),
            Self::LeadershipLost => write!(f, "leadership changed under the write, so {UNKNOWN}"),
            Self::Timeout { waited_millis, outcome } => match outcome {
                Outcome::NotApplied => write!(f, "no answer within {waited_millis} ms{NO_EFFECT}"),
                Outcome::Unknown => write!(f, "no answer within {waited_millis} ms, so {UNKNOWN}"),
            },
            Self::NoSpace { node } => write!(
                f,
                "the disk of node {node} is full, and nothing was changed: make room on it; writes \
                 go on by themselves then, and reads do now"
            ),
            Self::Diverged { node, index } => write!(
                f,
                "node {node} does not serve: at index {index} its state differs from that of the \
                 majority; use another node, and start this one with --rejoin on an empty directory"
            ),
        }
    }
}

const INTERNAL: &str =
    "the server broke a rule of its own: see its log, report it, and check what was done";
const NO_LEADER: &str =
    "no node leads at the moment: try again shortly, and check that a majority of the nodes is up";
const KEY_NOT_FOUND: &str =
    "the key does not exist, so it has no value or lease to keep: put it with a value first";
const MALFORMED: &str = "this is not understood: are both sides of the same store and version?";
const OVERWRITTEN: &str = "leadership changed and the write was not applied: send it again";
const NO_EFFECT: &str = ", and nothing was changed: try again, or allow more time";
const UNKNOWN: &str = "the write may or may not have been applied: read before repeating it";

impl std::error::Error for Error {}

impl Part {
    fn advice(self) -> &'static str {
        match self {
            Self::Key | Self::RangeEnd => "use a shorter one",
            Self::Value => "store it in several parts",
            Self::Request => "send less at once",
            Self::PreviousPairs => "delete a smaller range, or do not ask for what was there",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "a key",
            Self::RangeEnd => "a range end",
            Self::Value => "a value",
            Self::Request => "a request",
            Self::PreviousPairs => "an answer with the deleted pairs",
        })
    }
}
