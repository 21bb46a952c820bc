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
//!
//! Everything is checked as it happens, in constant time per entry: that two logs are equal
//! follows, entry by entry, from each new one having the same predecessor everywhere.

mod ledger;
mod promises;

use std::collections::BTreeMap;

use raft_core::{ClusterConfig, Entry, Index, NodeId, Position, RoleKind, Status, Term};

use crate::machine::Machine;
use crate::model::place;
use crate::node::Node;
use crate::violation::{Checked, check};
use ledger::Ledger;

/// Knows everything, and forgets nothing.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<(NodeId, Term), NodeId>,
    ledger: Ledger,
    /// The digest of the state after every committed entry that some node has applied.
    digests: Vec<u64>,
}

impl Oracle {
    /// The last index that any node ever knew to be committed.
    pub(crate) fn commit(&self) -> Index {
        Index::new(self.ledger.committed().len() as u64)
    }

    pub(crate) fn leader_of(&self, term: Term) -> Option<NodeId> {
        self.leaders.get(&term).copied()
    }

    /// Whether a later term than this has a leader.
    pub(crate) fn has_leader_after(&self, term: Term) -> bool {
        self.leaders.range(term.next()..).next().is_some()
    }

    /// The committed position at `index`.
    pub(crate) fn committed(&self, index: Index) -> Option<Position> {
        self.ledger.committed().get(place(index)?).copied()
    }

    /// Takes note of entries that some node writes after `prev`.
    pub(crate) fn written(&mut self, prev: Position, entries: &[Entry]) -> Checked {
        self.ledger.written(prev, entries)
    }

    /// Looks at the node at `at` after its step.
    pub(crate) fn observe(
        &mut self,
        nodes: &[Node],
        at: usize,
        status: &Status,
        cluster: &ClusterConfig,
    ) -> Checked {
        let node = &nodes[at];
        check_disk(node, status)?;
        if status.role == RoleKind::Leader && node.seen.led != status.term {
            self.observe_leader(node, status)?;
        }
        for index in node.seen.commit.next().get()..=status.commit.get() {
            self.observe_committed(nodes, node, (Index::new(index), status.term), cluster)?;
        }
        Ok(())
    }

    fn observe_leader(&mut self, node: &Node, status: &Status) -> Checked {
        let first = *self.leaders.entry(status.term).or_insert(node.id);
        check(first == node.id, "one leader a term", || {
            format!("{first} and {} lead term {}", node.id, status.term)
        })?;
        // Log Matching does the rest.
        let last = self.ledger.last_before(status.term);
        check(node.storage.newest.holds(last), "a leader holds every committed entry", || {
            format!("{} leads term {} without {last}", node.id, status.term)
        })
    }

    fn observe_committed(
        &mut self,
        nodes: &[Node],
        node: &Node,
        (index, term): (Index, Term),
        cluster: &ClusterConfig,
    ) -> Checked {
        let rule = "no two nodes take different entries for committed";
        let Some(at) = node.storage.newest.position(index) else {
            return check(false, rule, || format!("{} has nothing at {index}", node.id));
        };
        if let Some(committed) = self.committed(index) {
            return check(at == committed, rule, || {
                format!("{} takes {at} for committed, another one {committed}", node.id)
            });
        }
        check(is_durable(nodes, cluster, at), "what is committed is durable on a quorum", || {
            let holds = |node: &&Node| node.storage.durable.holds(at);
            let holders: Vec<_> = nodes.iter().filter(holds).map(|node| node.id.get()).collect();
            format!("{} takes {at} for committed, durable on nodes {holders:?}", node.id)
        })?;
        self.ledger.commit(at, term);
        Ok(())
    }

    /// Looks at an entry that a node applies, and at its state after that.
    pub(crate) fn applied(&mut self, node: &Node, entry: &Entry, machine: &Machine) -> Checked {
        let (id, at) = (node.id, entry.at);
        let committed = self.committed(at.index);
        check(committed == Some(at), "what is applied is committed", || {
            format!("{id} applies {at}, and {committed:?} is committed there")
        })?;
        check(node.storage.durable.holds(at), "what is applied is durable here", || {
            format!("{id} applies {at}, which it could lose")
        })?;
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

/// Whether `at` would survive on a quorum, of both configurations if there are two.
fn is_durable(nodes: &[Node], cluster: &ClusterConfig, at: Position) -> bool {
    let is_held = |id: &NodeId| {
        let node = nodes.iter().find(|node| node.id == *id);
        node.is_some_and(|node| node.storage.durable.holds(at))
    };
    let voters = std::iter::once(&cluster.voters).chain(&cluster.outgoing);
    voters
        .into_iter()
        .all(|voters| 2 * voters.iter().filter(|id| is_held(id)).count() > voters.len())
}

/// What a node says of itself must be what its disk was told.
fn check_disk(node: &Node, status: &Status) -> Checked {
    let rule = "a node is what its disk was told";
    let (newest, durable) = (&node.storage.newest, &node.storage.durable);
    let told = (newest.hard_state.term, newest.hard_state.vote, newest.last());
    check((status.term, status.vote, status.last) == told, rule, || {
        format!("{} is {status:?}, and its disk was told {told:?}", node.id)
    })?;
    let at = durable.position(status.durable);
    check(at.is_some() && at == newest.position(status.durable), rule, || {
        format!("{} takes {} for durable, which is {at:?}", node.id, status.durable)
    })
}
