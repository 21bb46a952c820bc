//! Counters, for metrics and for people. They start at zero with the network and only grow, but
//! for the state of the queue and of the connection.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use raft_core::NodeId;

/// The counters of a whole network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetStats {
    /// Those of each peer.
    pub peers: BTreeMap<NodeId, PeerStats>,
    /// Connections to this node that were turned away: strangers, wrong greetings, slow ones.
    pub connections_refused: u64,
    /// Messages given to [`send`](crate::Network::send) that no peer could be meant with.
    pub messages_misaddressed: u64,
}

/// The counters of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerStats {
    /// Whether this node can send to the peer now.
    pub connected: bool,
    /// How often it connected.
    pub connects: u64,
    /// Messages that wait to be written.
    pub queued_messages: usize,
    /// Their size in bytes.
    pub queued_bytes: usize,
    /// Messages handed to the operating system.
    pub sent_messages: u64,
    /// Bytes handed to the operating system, pings and headers included.
    pub sent_bytes: u64,
    /// In how many writes. Fewer than messages means that they were put together.
    pub sent_writes: u64,
    /// Messages that arrived and were handed out.
    pub received_messages: u64,
    /// Bytes that arrived from it.
    pub received_bytes: u64,
    /// Messages dropped because the queue was full.
    pub dropped_queue_full: u64,
    /// Messages dropped because there was no connection to write them to.
    pub dropped_unreachable: u64,
    /// Messages dropped because they can never be sent: too large, or entries out of order.
    pub dropped_unsendable: u64,
    /// Messages that arrived and named another sender or receiver than the connection's.
    pub dropped_spoofed: u64,
    /// How far the snapshot has come that is being sent to it; `None` if none is.
    pub snapshot: Option<SnapshotProgress>,
}

/// How far a snapshot has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// Pieces handed to the operating system, those among them that had to be sent again.
    pub pieces: u64,
    /// Bytes handed to it.
    pub bytes: u64,
}

/// The counters of one peer while they count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connected: AtomicBool,
    pub(crate) connects: Counter,
    pub(crate) sent_messages: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) sent_writes: Counter,
    pub(crate) received_messages: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) dropped_queue_full: Counter,
    pub(crate) dropped_unreachable: Counter,
    pub(crate) dropped_unsendable: Counter,
    pub(crate) dropped_spoofed: Counter,
}

impl Counters {
    /// Messages were handed to the system, in one write of so many bytes.
    pub(crate) fn wrote(&self, messages: usize, bytes: usize) {
        self.sent_messages.add(messages);
        self.sent_bytes.add(bytes);
        self.sent_writes.add(1);
    }

    pub(crate) fn snapshot(&self, queued_messages: usize, queued_bytes: usize) -> PeerStats {
        PeerStats {
            connected: self.connected.load(Ordering::Relaxed),
            connects: self.connects.get(),
            queued_messages,
            queued_bytes,
            sent_messages: self.sent_messages.get(),
            sent_bytes: self.sent_bytes.get(),
            sent_writes: self.sent_writes.get(),
            received_messages: self.received_messages.get(),
            received_bytes: self.received_bytes.get(),
            dropped_queue_full: self.dropped_queue_full.get(),
            dropped_unreachable: self.dropped_unreachable.get(),
            dropped_unsendable: self.dropped_unsendable.get(),
            dropped_spoofed: self.dropped_spoofed.get(),
            snapshot: None,
        }
    }
}

/// A number that only grows. Nothing is ordered by it.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
