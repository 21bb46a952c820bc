//! What a network tells its owner.

use std::fmt;

use raft_core::{Message, NodeId, Position};

/// Something that happened on the network. Events of one connection come from one thread, in
/// order; those of different connections from different threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetEvent {
    /// A peer sent this message to this node.
    Message(Message),
    /// This node can send to the peer from now on.
    Connected {
        /// Which peer.
        peer: NodeId,
        /// Where clients reach it, if it told.
        client_address: Option<String>,
    },
    /// Messages to this peer were lost: the connection broke or could not be opened, or its queue
    /// was full. What was in flight should not be waited for.
    Unreachable(NodeId),
    /// What became of a snapshot: the one answer to
    /// [`SnapshotSender::send`](crate::SnapshotSender::send).
    SnapshotSent {
        /// Whom it was for.
        to: NodeId,
        /// Where it ends, if all of it arrived and has served its purpose there. `None` if it did
        /// not, or if nobody knows.
        arrived: Option<Position>,
    },
    /// The peer, called at its address, does not want to talk to this node. Something is configured
    /// wrongly on one of them; this node keeps trying. Told once for each reason; but
    /// [`RefusalCode::Directory`] each time, because then this node should stop.
    PeerRefused {
        /// Which peer.
        peer: NodeId,
        /// Its reason.
        refusal: Refusal,
    },
}

/// Why a node refused another's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, for programs.
    pub code: RefusalCode,
    /// The reason, for people. It was written by the other node: at most 512 bytes, and anything
    /// may stand in it.
    pub sentence: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Escaped: the other side must not be able to forge lines of a log.
        write!(f, "{}", self.sentence.escape_debug())
    }
}

/// Why a node refused another's connection. The numbers are part of the format and stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RefusalCode {
    /// 1: the two speak different versions of the protocol.
    Version,
    /// 2: the two belong to different clusters.
    Cluster,
    /// 3: this is not the node that the caller wanted.
    Receiver,
    /// 4: the caller is not among the peers of this node.
    Sender,
    /// 5: the greeting made no sense.
    Malformed,
    /// 6: the caller was met with another data directory, and does not say that it rejoins. It may
    /// have promised what it does not know any more, so it should stop.
    Directory,
    /// 7: the called node cannot write down which data directory the caller has.
    NotNoted,
    /// A reason that this version does not know.
    Other(u32),
}

impl From<u32> for RefusalCode {
    fn from(code: u32) -> Self {
        match code {
            1 => Self::Version,
            2 => Self::Cluster,
            3 => Self::Receiver,
            4 => Self::Sender,
            5 => Self::Malformed,
            6 => Self::Directory,
            7 => Self::NotNoted,
            other => Self::Other(other),
        }
    }
}

impl From<RefusalCode> for u32 {
    fn from(code: RefusalCode) -> Self {
        match code {
            RefusalCode::Version => 1,
            RefusalCode::Cluster => 2,
            RefusalCode::Receiver => 3,
            RefusalCode::Sender => 4,
            RefusalCode::Malformed => 5,
            RefusalCode::Directory => 6,
            RefusalCode::NotNoted => 7,
            RefusalCode::Other(other) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_from_their_numbers() {
        for number in 0..10 {
            assert_eq!(u32::from(RefusalCode::from(number)), number);
        }
    }

    #[test]
    fn a_refusal_cannot_forge_a_line_of_the_log() {
        let refusal = Refusal {
            code: RefusalCode::Other(9),
            sentence: "no\nERROR all is lost\u{1b}[31m".into(),
        };
        assert_eq!(refusal.to_string(), "no\\nERROR all is lost\\u{1b}[31m");
    }
}
