//! Why a network may refuse to start.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use raft_core::NodeId;

use crate::config::LONGEST_WAIT;
use crate::handshake::MAX_CLIENT_ADDRESS_BYTES;
use crate::peers_file::PeersFault;

/// Why a network did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The address to listen on is not to be had.
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread could not be started.
    Thread {
        /// What the system said.
        source: io::Error,
    },
    /// A peer is named twice.
    PeerTwice {
        /// Which one.
        peer: NodeId,
    },
    /// A peer is this node itself.
    PeerIsSelf {
        /// The id of both.
        peer: NodeId,
    },
    /// A peer has an empty address.
    NoAddress {
        /// Which one.
        peer: NodeId,
    },
    /// The address for clients cannot be told to the peers.
    ClientAddress {
        /// The address.
        address: String,
    },
    /// A value that must be above zero is not.
    Zero {
        /// The field of [`Timing`](crate::Timing) or [`Limits`](crate::Limits).
        name: &'static str,
    },
    /// A wait is shorter than one that must fit into it.
    TooShort {
        /// The field of [`Timing`](crate::Timing).
        name: &'static str,
        /// Its value.
        value: Duration,
        /// What it must not be below.
        least_name: &'static str,
        /// The value of that.
        least: Duration,
    },
    /// A wait is longer than a day.
    TooLong {
        /// The field of [`Timing`](crate::Timing), or `network_delay`.
        name: &'static str,
        /// Its value.
        value: Duration,
    },
    /// The limit on frames leaves no room for the smallest messages, or is above 1 GiB.
    FrameLimit {
        /// The limit given.
        value_bytes: usize,
    },
    /// The limit on pieces of snapshots is above 1 GiB.
    PieceLimit {
        /// The limit given.
        value_bytes: usize,
    },
    /// The file that says which data directories the peers had cannot be read.
    PeersUnreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// That file is damaged, or of a later version.
    PeersDamaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        fault: PeersFault,
    },
    /// That file belongs to another data directory than this one: what was beside it is gone.
    PeersOfAnother {
        /// The file.
        file: PathBuf,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, source } => listen_sentence(*address, source, f),
            Self::Thread { source } => write!(
                f,
                "cannot start a network thread: {source}; raise the limit on threads or processes"
            ),
            Self::PeerTwice { peer } => {
                write!(f, "peer {peer} is named twice: give each node one address")
            }
            Self::PeerIsSelf { peer } => write!(
                f,
                "{peer} is this node, and also one of its peers: name only the other nodes"
            ),
            Self::NoAddress { peer } => {
                write!(f, "peer {peer} has no address: give it one as host:port")
            }
            Self::ClientAddress { address } => write!(
                f,
                "the client address {address:?} cannot be told to the peers: give at most \
                 {MAX_CLIENT_ADDRESS_BYTES} bytes without white space"
            ),
            Self::Zero { name } => write!(f, "{name} is zero: give it a value above zero"),
            Self::TooShort { name, value, least_name, least } => write!(
                f,
                "{name} ({value:?}) is below {least_name} ({least:?}): give it at least that"
            ),
            Self::TooLong { name, value } => {
                write!(f, "{name} ({value:?}) is above a day: give it at most {LONGEST_WAIT:?}")
            }
            Self::FrameLimit { value_bytes } => {
                write!(f, "max_frame_bytes is {value_bytes}: give it between 1 KiB and 1 GiB")
            }
            Self::PieceLimit { value_bytes } => {
                write!(f, "snapshots.max_piece_bytes is {value_bytes}: give it at most 1 GiB")
            }
            Self::PeersUnreadable { file, source } => {
                write!(f, "cannot read {}: {source}; let this process read it", file.display())
            }
            Self::PeersDamaged { file, fault } => write!(
                f,
                "{} is damaged ({fault}), so it cannot be told whether a peer lost its data: put \
                 the right file back; or, if no peer lost its data directory, remove it, and it is \
                 made again",
                file.display()
            ),
            Self::PeersOfAnother { file } => write!(
                f,
                "{} belongs to another data directory: what was beside it is lost or was replaced, \
                 and this node may have acknowledged it; put that back, or let this node rejoin \
                 with an empty directory",
                file.display()
            ),
        }
    }
}

fn listen_sentence(
    address: SocketAddr,
    source: &io::Error,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    match source.kind() {
        io::ErrorKind::AddrInUse => write!(
            f,
            "cannot listen on {address}: another process uses this address; stop it or choose \
             another port"
        ),
        io::ErrorKind::AddrNotAvailable => write!(
            f,
            "cannot listen on {address}: it is no address of this machine; choose one that is"
        ),
        io::ErrorKind::PermissionDenied => {
            write!(f, "cannot listen on {address}: permission denied; choose a port above 1023")
        }
        _ => write!(f, "cannot listen on {address}: {source}; choose another address"),
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen { source, .. }
            | Self::Thread { source }
            | Self::PeersUnreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}
