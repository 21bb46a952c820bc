//! Snapshots and damaged logs. The state machine is the list of what was applied, so a snapshot of
//! it is the beginning of the committed log, and nothing but its end needs to travel.

use raft_core::{Index, Input, NodeId, Payload, Position, SendSnapshot, Snapshot};

use super::{Cluster, Node, last_of, members_in, show};

/// A snapshot that a node wants to be sent, until it is told what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    request: SendSnapshot,
    /// Where the snapshot ends that is on its way.
    sent: Option<Position>,
    has_arrived: bool,
}

impl Transfer {
    pub(crate) fn asked(request: SendSnapshot) -> Self {
        Self { request, sent: None, has_arrived: false }
    }
}

impl Node {
    /// The members as its state machine knows them.
    fn members_applied(&self, founders: raft_core::ClusterConfig) -> raft_core::ClusterConfig {
        members_in(&self.applied).unwrap_or(founders)
    }
}

/// The log is cut.
impl Cluster {
    /// The state machine becomes durable as it is.
    pub(crate) fn save(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.raft.is_some() && node.installing.is_none() {
            node.saved = node.applied.len();
        }
    }

    /// The state machine becomes durable, and the log may be cut but for its last `keep` entries.
    pub(crate) fn compact(&mut self, id: NodeId, keep: u64) {
        self.save(id);
        let upto = last_of(self.nodes[&id].saved()).index;
        self.note(|| format!("compact {id} up to {upto}, keep {keep}"));
        self.step(id, Input::Compact { upto, keep });
    }
}

/// Snapshots on their way.
impl Cluster {
    /// Begins to send the snapshot that a node wants to be sent.
    pub(crate) fn send_snapshot(&mut self, from: NodeId, to: NodeId) {
        let founders = self.witness.founders().clone();
        let node = self.nodes.get_mut(&from).expect("a node");
        let cluster = node.members_applied(founders).into();
        let at = last_of(&node.applied);
        let Some(transfer) = node.transfers.get_mut(&to).filter(|other| other.sent.is_none())
        else {
            return;
        };
        assert!(at.index >= transfer.request.at_least, "the state machine covers what was cut");
        transfer.sent = Some(at);
        let message = transfer.request.message(Snapshot { at, cluster });
        self.note(|| format!("send {}", show::message(&message)));
        self.network.send(message);
    }

    /// A node is told what became of a snapshot, as far as is known.
    pub(crate) fn end_transfer(&mut self, from: NodeId, to: NodeId) {
        let Some(node) = self.nodes.get_mut(&from) else { return };
        let Some(transfer) = node.transfers.remove(&to) else { return };
        let arrived = transfer.sent.filter(|_| transfer.has_arrived);
        let what = arrived.map_or("nobody knows of".to_owned(), |at| format!("{at} arrived with"));
        self.note(|| format!("snapshot from {from}: {what} {to}"));
        self.step(from, Input::SnapshotSent { to, arrived });
    }

    pub(crate) fn snapshot_arrives(&mut self, from: NodeId, to: NodeId, at: Position) {
        if self.nodes.get(&to).is_none_or(|node| node.raft.is_none()) {
            return;
        }
        let sender = self.nodes.get_mut(&from);
        let transfer = sender.and_then(|sender| sender.transfers.get_mut(&to));
        if let Some(transfer) = transfer.filter(|transfer| transfer.sent == Some(at)) {
            transfer.has_arrived = true;
        }
    }

    /// The snapshots that are to be sent, from whom and to whom, and whether they are on their way.
    pub(crate) fn transfers(&self) -> Vec<(NodeId, NodeId, bool)> {
        let of_node = |node: &Node| {
            let transfers = node.transfers.iter();
            let own = |(to, other): (&NodeId, &Transfer)| (node.id, *to, other.sent.is_some());
            transfers.map(own).collect::<Vec<_>>()
        };
        self.nodes.values().flat_map(of_node).collect()
    }

    /// Takes the next step of one of these nodes' snapshots, when nothing is under way.
    pub(crate) fn settle_snapshots(&mut self, ids: &[NodeId]) -> bool {
        let mut nodes = ids.iter().map(|id| &self.nodes[id]);
        if let Some(node) = nodes.find(|node| node.installing.is_some()) {
            self.install(node.id, true);
            return true;
        }
        let is_inside =
            |(from, to, _): &(NodeId, NodeId, bool)| ids.contains(from) && ids.contains(to);
        let Some((from, to, is_sent)) = self.transfers().into_iter().find(is_inside) else {
            return false;
        };
        if is_sent {
            self.end_transfer(from, to);
        } else {
            self.send_snapshot(from, to);
        }
        true
    }
}

/// Snapshots that take the place of a state machine.
impl Cluster {
    /// Replaces a state machine by the snapshot that has come, or fails to, and says so.
    pub(crate) fn install(&mut self, id: NodeId, is_done: bool) {
        if is_done {
            self.replace_state(id);
        }
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.installing.take().is_some() {
            let what = if is_done { "installed" } else { "not installed" };
            self.note(|| format!("snapshot {what} at {id}"));
            self.step(id, Input::SnapshotInstalled(is_done));
        }
    }

    /// Replaces a state machine; the node is not told yet.
    pub(crate) fn replace_state(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("a node");
        let Some(Snapshot { at, cluster }) = &node.installing else { return };
        let length = usize::try_from(at.index.get()).expect("a short log");
        let state = self.witness.committed()[..length].to_vec();
        assert_eq!(last_of(&state), *at, "a snapshot ends where the committed log does");
        let is_config = |payload: &Payload| matches!(payload, Payload::Config(_));
        if state.iter().any(|entry| is_config(&entry.payload)) {
            assert_eq!(members_in(&state).as_ref(), Some(&**cluster), "it brings the members");
        }
        (node.applied, node.saved) = (state, length);
    }
}

/// Disks that lose what they held.
impl Cluster {
    /// Damages the log of a node that is down, from this index on.
    pub(crate) fn damage(&mut self, id: NodeId, from: Index) {
        self.note(|| format!("damage {id} from {from} on"));
        let node = self.nodes.get_mut(&id).expect("a node");
        assert!(node.raft.is_none(), "damage is found when a node starts");
        let lost = node.disk.damage(from);
        node.lost.extend(lost);
    }
}
