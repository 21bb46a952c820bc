//! How far the snapshots have come that this node sends, for people who wait for them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kv_proto::Sending;
use kv_store::snapshot::Snapshot;
use raft_core::NodeId;
use raft_net_tcp::{SnapshotSender, SnapshotSource};

/// How much of the state was read for each node that was sent it: one entry a node, that of its
/// latest snapshot.
#[derive(Debug, Default)]
pub struct Outgoing(Mutex<BTreeMap<NodeId, Arc<Share>>>);

/// How much was read of how much there is, as [`Snapshot::progress`] tells it.
#[derive(Debug, Default)]
struct Share {
    done: AtomicU64,
    total: AtomicU64,
}

impl Outgoing {
    /// The pieces of `content` for a node, and from now on how many of them were read.
    pub(crate) fn pieces(&self, to: NodeId, content: Snapshot) -> Pieces {
        let read = Arc::new(Share::default());
        read.note(&content);
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shares.insert(to, Arc::clone(&read));
        Pieces { content, read }
    }

    /// Those that are on their way.
    pub(crate) fn sending(&self, sender: &SnapshotSender) -> Vec<Sending> {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|to, _| sender.progress(*to).is_some());
        let told = shares.iter().filter_map(|(to, read)| {
            let sent = sender.progress(*to)?;
            let total = read.total.load(Ordering::Relaxed);
            let done = read.done.load(Ordering::Relaxed).min(total);
            Some(Sending { to: to.get(), pieces: sent.pieces, bytes: sent.bytes, done, total })
        });
        told.collect()
    }
}

impl Share {
    fn note(&self, content: &Snapshot) {
        let (done, total) = content.progress();
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }
}

/// The pieces of a view of the store.
pub(crate) struct Pieces {
    content: Snapshot,
    read: Arc<Share>,
}

impl SnapshotSource for Pieces {
    fn piece(&mut self, number: u64) -> Result<Option<Vec<u8>>, String> {
        self.content.go_back_to(number);
        if self.content.next_number() != number {
            return Err(format!("piece {number} of the snapshot was asked for out of order"));
        }
        let piece = self.content.next_piece().map_err(|error| error.to_string());
        self.read.note(&self.content);
        piece
    }
}
