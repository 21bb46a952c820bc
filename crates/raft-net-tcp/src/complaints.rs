//! Keeps the log readable: what goes wrong again and again is said once, then once a minute.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use raft_core::NodeId;

use crate::event::RefusalCode;
use crate::link::lock;

/// How long the same complaint is kept quiet.
const QUIET: Duration = Duration::from_mins(1);

/// How many different complaints are remembered. Peers and causes are few; a peer that invents
/// causes is not remembered without end.
const MOST_REMEMBERED: usize = 1024;

/// What a line of the log complains about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// The peer cannot be connected to.
    Dial,
    /// The peer refused this node.
    RefusedByPeer(RefusalCode),
    /// This node does not talk to the peer that it called.
    NotWanted(RefusalCode),
    /// An open connection to or from the peer broke.
    Lost,
    /// This node refused a connection.
    Refused(RefusalCode),
    /// A connection whose greeting never came, or was none of ours.
    Stranger,
    /// More connections than there is room for.
    Crowd,
    /// The peer sent what is no message.
    Garbage,
    /// The peer sent messages in another's name.
    Spoofed,
    /// A message that can never be sent.
    Unsendable,
    /// Messages were dropped because the queue was full.
    QueueFull,
    /// The peer did not take in a snapshot.
    SnapshotSent,
    /// The peer sent a snapshot that is of no use.
    SnapshotReceived,
    /// The system let no connection or thread be made.
    System,
}

/// What was complained about lately.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    said: Mutex<BTreeMap<(Option<NodeId>, Cause), Instant>>,
}

impl Complaints {
    /// Whether this is to be said now. `peer` is a configured one, or `None`: a stranger's claim
    /// to be somebody must not fill the memory.
    pub(crate) fn is_due(&self, peer: Option<NodeId>, cause: Cause) -> bool {
        self.is_due_at(peer, cause, Instant::now())
    }

    /// The connection with this peer is well again: what goes wrong from now on is news.
    pub(crate) fn forget(&self, peer: NodeId) {
        lock(&self.said).retain(|(of, cause), _| *of != Some(peer) || *cause == Cause::Lost);
    }

    fn is_due_at(&self, peer: Option<NodeId>, cause: Cause, now: Instant) -> bool {
        let mut said = lock(&self.said);
        let key = (peer, cause);
        if let Some(last) = said.get(&key)
            && now.duration_since(*last) < QUIET
        {
            return false;
        }
        if said.len() >= MOST_REMEMBERED {
            said.retain(|_, last| now.duration_since(*last) < QUIET);
        }
        if said.len() >= MOST_REMEMBERED {
            return false;
        }
        said.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N2: Option<NodeId> = Some(NodeId::new(2));
    const N3: Option<NodeId> = Some(NodeId::new(3));

    #[test]
    fn a_cause_is_said_once_a_minute_and_for_each_peer() {
        let complaints = Complaints::default();
        let start = Instant::now();
        assert!(complaints.is_due_at(N2, Cause::Dial, start));
        assert!(!complaints.is_due_at(N2, Cause::Dial, start));
        assert!(complaints.is_due_at(N3, Cause::Dial, start));
        assert!(complaints.is_due_at(N2, Cause::Garbage, start));
        let cluster = Cause::RefusedByPeer(RefusalCode::Cluster);
        assert!(complaints.is_due_at(N2, cluster, start));
        assert!(complaints.is_due_at(N2, Cause::Dial, start + QUIET));
    }

    #[test]
    fn after_a_good_connection_a_failure_is_news() {
        let complaints = Complaints::default();
        assert!(complaints.is_due(N2, Cause::Dial));
        complaints.forget(NodeId::new(2));
        assert!(complaints.is_due(N2, Cause::Dial));
    }

    #[test]
    fn invented_causes_do_not_take_memory_without_end() {
        let complaints = Complaints::default();
        let now = Instant::now();
        let due = (0..5000)
            .filter(|code| complaints.is_due_at(N2, Cause::Refused(RefusalCode::Other(*code)), now))
            .count();
        assert_eq!(due, MOST_REMEMBERED);
        assert!(complaints.is_due_at(N2, Cause::Dial, now + QUIET), "room again");
    }
}
