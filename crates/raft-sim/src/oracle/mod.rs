//! [`Oracle`]: the one who sees the whole cluster, and knows what must never happen in it.
//!
//! 1. Election Safety: one leader a term; and one vote a node and term, over all its starts.
//! 2. Log Matching: wherever two logs hold the same position, they are the same up to it
//!    (`ledger`).
//! 3. Leader Completeness: a new leader holds every entry that was committed in earlier terms.
//! 4. State Machine Safety: no two nodes take different entries for committed at one index, and
//!    equal indexes give equal states.
//! 5. What is committed is durable on a quorum of the configuration in force; what is applied is
//!    durable here, too.
//! 6. No message leaves before the term, the vote and the entries it vouches for are durable
//!    (`promises`).
//! 7. What a node says of itself is what its disk was told.
//! 8. A leader was elected by a quorum of the configuration in force, which is the latest in its
//!    log; and members change in steps whose majorities overlap (`membership`).
//!
//! Everything is checked as it happens, in constant time per entry: that two logs are equal
//! follows, entry by entry, from each new one having the same predecessor everywhere.

mod ledger;
mod membership;
mod promises;

use std::collections::BTreeMap;
use std::sync::Arc;

use raft_core::{
    ClusterConfig, Entry, Index, NodeId, Payload, Position, Raft, RoleKind, Term, Write,
};

use crate::machine::Machine;
use crate::node::{Node, seat};
use crate::violation::{Checked, check};
use ledger::Ledger;
use membership::Change;
pub(crate) use membership::is_quorum;

/// Knows everything, and forgets nothing.
#[derive(Debug)]
pub(crate) struct Oracle {
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<(NodeId, Term), NodeId>,
    ledger: Ledger,
    /// The last committed configuration, and where it is.
    cluster: (Index, Arc<ClusterConfig>),
    /// The changes of members that are made in the step which is looked at.
    changes: Vec<Change>,
    /// The digest of the state after every committed entry that some node has applied.
    digests: Vec<u64>,
}

impl Oracle {
    /// Sees a cluster that nobody has started yet.
    pub(crate) fn new(founders: ClusterConfig) -> Self {
        Self {
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            ledger: Ledger::default(),
            cluster: (Index::ZERO, Arc::new(founders)),
            changes: Vec::new(),
            digests: Vec::new(),
        }
    }

    /// The last index that any node ever knew to be committed.
    pub(crate) fn commit(&self) -> Index {
        Index::new(self.ledger.committed().len() as u64)
    }

    pub(crate) fn leader_of(&self, term: Term) -> Option<NodeId> {
        self.leaders.get(&term).copied()
    }

    /// Whether this node has ever led.
    pub(crate) fn has_led(&self, node: NodeId) -> bool {
        self.leaders.values().any(|leader| *leader == node)
    }

    /// The configuration in the entry at this position, if it is one.
    pub(crate) fn config(&self, at: Position) -> Option<&ClusterConfig> {
        self.ledger.config(at).map(|config| &**config)
    }

    /// Whether a later term than this has a leader.
    pub(crate) fn has_leader_after(&self, term: Term) -> bool {
        self.leaders.range(term.next()..).next().is_some()
    }

    /// The committed position at `index`.
    pub(crate) fn committed(&self, index: Index) -> Option<Position> {
        self.ledger.committed().get(place(index)?).copied()
    }

    /// Takes note of what a node is about to write.
    pub(crate) fn written(&mut self, node: &Node, write: &Write) -> Checked {
        if let Some(start) = write.reset {
            let is_committed = self.committed(start.index) == Some(start);
            check(is_committed, "a log begins anew behind what is committed", || {
                format!("{} begins anew behind {start}", node.id)
            })?;
        }
        let Some(first) = write.entries.first() else { return Ok(()) };
        let in_log = node.storage.newest.position(first.at.index.prev());
        let prev = write.reset.or(in_log).unwrap_or_default();
        let mut cluster = node.cluster_at(prev.index);
        for entry in write.entries.iter() {
            let Payload::Config(config) = &entry.payload else { continue };
            if self.ledger.is_new(entry.at) {
                let (old_at, old, new) = (cluster.0, Arc::clone(cluster.1), Arc::clone(config));
                self.changes.push(Change { at: entry.at, old_at, old, new });
            }
            cluster = (entry.at.index, config);
        }
        self.ledger.written(prev, &write.entries)
    }

    /// Looks at the node at `at` after its step.
    pub(crate) fn observe(&mut self, nodes: &[Node], at: usize, raft: &Raft) -> Checked {
        let node = &nodes[at];
        check_disk(node, raft)?;
        let (cluster, latest, term) = (raft.cluster(), node.cluster(), raft.term());
        // Mostly it is the very same.
        let is_it = std::ptr::eq(&raw const **latest, cluster) || **latest == *cluster;
        check(is_it, "the latest configuration in the log is in force", || {
            format!("{} goes by {cluster:?}, and its log says {latest:?}", node.id)
        })?;
        if raft.role() == RoleKind::Leader && node.seen.led != term {
            self.observe_leader(node, term)?;
        }
        for index in node.seen.commit.next().get()..=raft.commit().get() {
            self.observe_committed(nodes, node, (Index::new(index), term))?;
        }
        let changes = std::mem::take(&mut self.changes);
        changes.iter().try_for_each(|change| {
            self.check_change(change)?;
            self.check_promoted(nodes, node, change)
        })
    }

    fn observe_leader(&mut self, node: &Node, term: Term) -> Checked {
        let first = *self.leaders.entry(term).or_insert(node.id);
        check(first == node.id, "one leader a term", || {
            format!("{first} and {} lead term {term}", node.id)
        })?;
        let cluster = &node.seen.cluster;
        let own = node.storage.durable.hard_state;
        let voted = |id| {
            let is_own = id == node.id && (own.term, own.vote) == (term, Some(node.id));
            is_own || self.votes.get(&(id, term)) == Some(&node.id)
        };
        check(is_quorum(cluster, voted), "a leader was elected by a quorum", || {
            format!("{} leads term {term} without one of {cluster:?}", node.id)
        })?;
        // Log Matching does the rest.
        let last = self.ledger.last_before(term);
        let log = &node.storage.newest;
        let holds_it = log.holds(last) || last.index < log.start().index;
        check(holds_it, "a leader holds every committed entry", || {
            format!("{} leads term {term} without {last}", node.id)
        })
    }

    fn observe_committed(
        &mut self,
        nodes: &[Node],
        node: &Node,
        (index, term): (Index, Term),
    ) -> Checked {
        let rule = "no two nodes take different entries for committed";
        if index < node.storage.newest.start().index {
            return check(index <= self.commit(), "a snapshot covers what is committed", || {
                format!("{} takes {index} for committed, by a snapshot", node.id)
            });
        }
        let Some(at) = node.storage.newest.position(index) else {
            return check(false, rule, || format!("{} has nothing at {index}", node.id));
        };
        if let Some(committed) = self.committed(index) {
            return check(at == committed, rule, || {
                format!("{} takes {at} for committed, another one {committed}", node.id)
            });
        }
        // Who finds out first is the leader, by what was in force when its step began.
        let cluster = &node.seen.cluster;
        // The acknowledgement of a node whose log was damaged since may still be under way. It
        // counts, because such a node does not vote until it has back what it lost.
        let is_held = |id| {
            let node = &nodes[seat(id)];
            node.has_durably(at) || node.storage.has_lost(at)
        };
        check(is_quorum(cluster, is_held), "what is committed is durable on a quorum", || {
            let members = cluster.members();
            let holders: Vec<_> = members.filter(|id| is_held(*id)).map(NodeId::get).collect();
            format!("{} takes {at} for committed, on nodes {holders:?} of {cluster:?}", node.id)
        })?;
        self.ledger.commit(at, term);
        if let Some(config) = self.ledger.config(at) {
            self.cluster = (index, Arc::clone(config));
        }
        Ok(())
    }

    /// A node says that it has back what it lost, and will vote. A later leader may have committed
    /// what this node held without its help; it has yet to hear of that.
    pub(crate) fn recovered(&self, node: &Node) -> Checked {
        let term = node.storage.newest.hard_state.term;
        let counts = |at: &&Position| self.ledger.is_committed_by(term, **at);
        let missing = node.storage.lost().iter().filter(counts).find(|at| !node.has_durably(**at));
        check(missing.is_none(), "a recovered log has what it acknowledged", || {
            format!("{} takes its log for whole, and lacks {missing:?}", node.id)
        })
    }

    /// Looks at an entry that a node applies, and at its state after that.
    pub(crate) fn applied(&mut self, node: &Node, entry: &Entry, machine: &Machine) -> Checked {
        let (id, at) = (node.id, entry.at);
        let committed = self.committed(at.index);
        check(committed == Some(at), "what is applied is committed", || {
            format!("{id} applies {at}, and {committed:?} is committed there")
        })?;
        check(node.has_durably(at), "what is applied is durable here", || {
            format!("{id} applies {at}, which it could lose")
        })?;
        self.has_state(node, machine)
    }

    /// A node has this state now.
    pub(crate) fn has_state(&mut self, node: &Node, machine: &Machine) -> Checked {
        let (id, at) = (node.id, machine.applied);
        let Some(place) = place(at.index) else { return Ok(()) };
        if place == self.digests.len() {
            self.digests.push(machine.digest);
        }
        let expected = self.digests.get(place).copied();
        check(expected == Some(machine.digest), "equal indexes give equal states", || {
            format!("{id} has another state than others after {at}")
        })
    }
}

/// Where what belongs to this index lies in a list that begins with index 1.
fn place(index: Index) -> Option<usize> {
    index.get().checked_sub(1).and_then(|place| usize::try_from(place).ok())
}

/// What a node says of itself must be what its disk was told.
fn check_disk(node: &Node, raft: &Raft) -> Checked {
    let rule = "a node is what its disk was told";
    let (newest, durable) = (&node.storage.newest, &node.storage.durable);
    let told = (newest.hard_state.term, newest.hard_state.vote, newest.last());
    check((raft.term(), raft.vote(), raft.last()) == told, rule, || {
        format!("{} is {:?}, and its disk was told {told:?}", node.id, raft.status())
    })?;
    let at = newest.position(raft.durable());
    check(at.is_some_and(|at| node.has_durably(at)), rule, || {
        format!("{} takes {} for durable, and {} is", node.id, raft.durable(), durable.last())
    })
}
