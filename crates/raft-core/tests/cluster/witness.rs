//! The one who sees the whole cluster, and knows what must never happen in it.
//!
//! 1. Election Safety: one leader a term.
//! 2. Log Matching: wherever two logs hold the same position, the entry and the position before it
//!    are the same (and so, by induction, all before).
//! 3. Leader Completeness: a new leader holds every committed entry.
//! 4. State Machine Safety: no two nodes take different entries for committed at one index.
//! 5. What is committed is durable on a majority of the configuration in force, of both when it is
//!    joint, and what is applied is durable here too.
//! 6. No message leaves before the term, the vote and the entries it vouches for are durable.
//! 7. A ticket has one outcome, and it is true: what was rejected or overwritten never becomes
//!    committed, a read sees everything that was committed before it was asked.
//! 8. Every majority of a configuration has a node in common with every majority of the one before.
//! 9. A snapshot holds what is committed, and goes only to who lacks it. A node that lost a part of
//!    its log, or is about to replace its state, neither votes nor leads until it is whole.
//! 10. Whoever is asked to take over has the whole log of the leader that asks.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::{
    Body, ClusterConfig, Command, ConfigChange, Entry, Index, Message, NodeId, Outcome, Payload,
    Position, Raft, RoleKind, Snapshot, Status, Term, Ticket,
};

use super::Node;

#[derive(Clone, Debug, Default)]
pub(crate) struct Witness {
    founders: ClusterConfig,
    leaders: BTreeMap<Term, NodeId>,
    /// Every entry ever written anywhere, with the position before it.
    written: BTreeMap<Position, (Payload, Position)>,
    committed: Vec<Entry>,
    /// Commands of which it was said that nothing will come of them.
    refused: BTreeSet<Command>,
    open: BTreeMap<Ticket, Open>,
    outcomes: BTreeMap<Ticket, Outcome>,
}

#[derive(Clone, Debug)]
struct Open {
    node: NodeId,
    asked: Asked,
}

#[derive(Clone, Debug)]
enum Asked {
    Proposal(Command),
    /// With everything that was committed when it was asked.
    Read(Index),
    Change(ConfigChange),
    Transfer(NodeId),
}

/// Tickets.
impl Witness {
    pub(crate) fn of(founders: ClusterConfig) -> Self {
        Self { founders, ..Self::default() }
    }

    pub(crate) fn changes(&mut self, node: NodeId, ticket: Ticket, change: ConfigChange) {
        self.open.insert(ticket, Open { node, asked: Asked::Change(change) });
    }

    pub(crate) fn transfers(&mut self, node: NodeId, ticket: Ticket, to: NodeId) {
        self.open.insert(ticket, Open { node, asked: Asked::Transfer(to) });
    }

    pub(crate) fn proposes(&mut self, node: NodeId, ticket: Ticket, command: Command) {
        self.open.insert(ticket, Open { node, asked: Asked::Proposal(command) });
    }

    pub(crate) fn reads(&mut self, node: NodeId, ticket: Ticket) {
        let asked = Asked::Read(self.commit());
        self.open.insert(ticket, Open { node, asked });
    }

    /// Whoever asked a node that stopped gets no answer.
    pub(crate) fn crashed(&mut self, node: NodeId) {
        self.open.retain(|_, open| open.node != node);
    }

    pub(crate) fn resolved(&mut self, node: &Node, ticket: Ticket, outcome: Outcome) {
        let Some(open) = self.open.remove(&ticket) else {
            panic!("ticket {} was resolved twice, or never given out", ticket.get());
        };
        assert_eq!(open.node, node.id, "a ticket is answered where it was given");
        match (open.asked, outcome) {
            (Asked::Proposal(command), Outcome::Committed(at)) => {
                let entry = &self.committed[place(at.index)];
                assert_eq!(*entry, Entry { at, payload: Payload::Command(command) });
            }
            (Asked::Proposal(command), Outcome::Rejected(_) | Outcome::Overwritten) => {
                let payload = Payload::Command(command.clone());
                let is_committed = self.committed.iter().any(|entry| entry.payload == payload);
                assert!(!is_committed, "a proposal said to be dead is committed");
                self.refused.insert(command);
            }
            (Asked::Read(floor), Outcome::ReadAt(index)) => {
                assert!(index >= floor, "a read at {index} misses what is committed up to {floor}");
                let applied = node.applied.last().map_or(Index::ZERO, |entry| entry.at.index);
                assert!(applied >= index, "a read was answered before {index} came out to apply");
            }
            (Asked::Change(change), Outcome::Committed(at)) => {
                let entry = &self.committed[place(at.index)];
                let Payload::Config(config) = &entry.payload else {
                    panic!("no change: {entry:?}")
                };
                assert!(entry.at == at && is_done(&change, config), "{change:?} and {config:?}");
            }
            (Asked::Transfer(to), Outcome::Transferred) => {
                let leader = node.status().and_then(|status| status.leader);
                assert_eq!(leader, Some(to), "a hand-over is said to be done");
            }
            (Asked::Proposal(_), Outcome::Unknown)
            | (Asked::Change(_), Outcome::Overwritten | Outcome::Unknown)
            | (Asked::Read(_) | Asked::Change(_) | Asked::Transfer(_), Outcome::Rejected(_)) => {}
            (asked, outcome) => panic!("{asked:?} has the outcome {outcome:?}"),
        }
        self.outcomes.insert(ticket, outcome);
    }

    pub(crate) fn outcome(&self, ticket: Ticket) -> Option<Outcome> {
        self.outcomes.get(&ticket).copied()
    }

    /// The tickets that wait for their outcome, and where.
    pub(crate) fn open(&self) -> impl Iterator<Item = (NodeId, Ticket)> {
        self.open.iter().map(|(ticket, open)| (open.node, *ticket))
    }
}

/// Logs.
impl Witness {
    /// The last index that any node ever knew to be committed.
    pub(crate) fn commit(&self) -> Index {
        Index::new(self.committed.len() as u64)
    }

    pub(crate) fn founders(&self) -> &ClusterConfig {
        &self.founders
    }

    pub(crate) fn committed(&self) -> &[Entry] {
        &self.committed
    }

    pub(crate) fn leaders(&self) -> &BTreeMap<Term, NodeId> {
        &self.leaders
    }

    /// Notes entries that a node writes after `prev`.
    pub(crate) fn writes(&mut self, prev: Position, entries: &[Entry]) {
        let mut prev = prev;
        for entry in entries {
            if let Payload::Config(config) = &entry.payload {
                let before = self.members_at(prev);
                assert!(overlap(before, config), "{before:?} and {config:?} are apart");
            }
            let seen =
                self.written.entry(entry.at).or_insert_with(|| (entry.payload.clone(), prev));
            assert_eq!(seen.0, entry.payload, "two entries at {}", entry.at);
            assert_eq!(seen.1, prev, "two pasts of {}", entry.at);
            prev = entry.at;
        }
    }

    /// The configuration in force in a log that ends here.
    fn members_at(&self, end: Position) -> &ClusterConfig {
        let mut at = end;
        loop {
            match self.written.get(&at) {
                Some((Payload::Config(config), _)) => return config,
                Some((_, prev)) => at = *prev,
                None => return &self.founders,
            }
        }
    }

    /// The configuration in force by what is committed.
    pub(crate) fn members(&self) -> &ClusterConfig {
        self.members_at(self.committed.last().map_or(Position::ORIGIN, |entry| entry.at))
    }

    /// Looks at a node after its step, among all `nodes`.
    pub(crate) fn observe(&mut self, before: &Raft, node: &Node, nodes: &BTreeMap<NodeId, Node>) {
        let Some(raft) = &node.raft else { return };
        let status = raft.status();
        check_disk(&status, node);
        let is_whole = !status.recovering && node.installing.is_none();
        assert!(is_whole || status.role == RoleKind::Follower, "{} is not fit to lead", node.id);
        if status.role == RoleKind::Leader {
            self.observe_leader(&status, node);
        }
        self.observe_commit(status.commit, before.cluster(), node, nodes);
    }

    fn observe_leader(&mut self, status: &Status, node: &Node) {
        let durable = node.disk.durable.hard_state;
        let is_own_vote_durable = durable.term == status.term && durable.vote == Some(node.id);
        assert!(is_own_vote_durable, "{} leads, and may forget that it voted", node.id);
        match self.leaders.insert(status.term, node.id) {
            Some(leader) => assert_eq!(leader, node.id, "two leaders of term {}", status.term),
            None => {
                for entry in &self.committed {
                    assert!(node.has(entry.at), "the leader lacks {}", entry.at);
                }
            }
        }
    }

    /// `cluster` is the configuration in which the decision was made: the one before the step.
    fn observe_commit(
        &mut self,
        commit: Index,
        cluster: &ClusterConfig,
        node: &Node,
        nodes: &BTreeMap<NodeId, Node>,
    ) {
        for index in node.checked_commit.next().get()..=commit.get() {
            let entry = node.entry(Index::new(index)).expect("commit lies in the log");
            if let Some(committed) = self.committed.get(place(entry.at.index)) {
                assert_eq!(entry, committed, "{} takes another entry for committed", node.id);
                continue;
            }
            self.committed.push(entry.clone());
            let everyone = nodes.values().chain([node]);
            // A node that lost it, and knows, elects nobody who lacks it.
            let holders =
                everyone.filter(|other| other.has_durably(entry.at) || other.has_lost(entry.at));
            let holders: BTreeSet<_> = holders.map(|holder| holder.id).collect();
            let is_safe = is_quorum(cluster, &holders);
            assert!(is_safe, "{} is committed on {holders:?} of {cluster:?}", entry.at);
            if let Payload::Command(command) = &entry.payload {
                assert!(!self.refused.contains(command), "{} was said to be dead", entry.at);
            }
        }
    }

    pub(crate) fn applies(&self, node: &Node, entries: &[Entry]) {
        let mut next = node.applied.last().map_or(Index::ZERO, |entry| entry.at.index).next();
        for entry in entries {
            assert_eq!(entry.at.index, next, "applied entries follow each other");
            assert_eq!(Some(entry), self.committed.get(place(next)), "it is committed");
            assert!(node.disk.durable.holds(entry.at), "{} is applied but not durable", entry.at);
            next = next.next();
        }
    }

    /// A snapshot is to take the place of a state machine: it brings news, and nothing but what is
    /// committed.
    pub(crate) fn installs(&self, node: &Node, snapshot: &Snapshot) {
        let applied = node.applied.len() as u64;
        assert!(snapshot.at.index.get() > applied, "{} would go back", node.id);
        assert_eq!(self.committed[place(snapshot.at.index)].at, snapshot.at, "it is committed");
        assert!(node.installing.is_none(), "{} installs one at a time", node.id);
    }

    /// Checks that what a message promises is on the sender's disk.
    pub(crate) fn sends(&self, node: &Node, message: &Message, nodes: &BTreeMap<NodeId, Node>) {
        let (disk, shown) = (&node.disk, super::show::message(message));
        let durable = disk.durable.hard_state;
        assert_eq!(message.from, node.id);
        assert_ne!(message.to, node.id);
        let spoken = match message.body {
            Body::PreVote { .. } => {
                assert_eq!(message.term, disk.newest.hard_state.term.next(), "{shown}");
                disk.newest.hard_state.term
            }
            Body::PreVoteReply { granted: true } => disk.newest.hard_state.term,
            _ => message.term,
        };
        assert_eq!(spoken, disk.newest.hard_state.term, "said in a term that is over: {shown}");
        assert_eq!(spoken, durable.term, "its term is not durable: {shown}");
        match &message.body {
            Body::Vote { last } | Body::TransferVote { last } => {
                assert_eq!(durable.vote, Some(node.id), "the candidate's own vote: {shown}");
                assert!(node.has_durably(*last), "its log may vanish: {shown}");
            }
            Body::VoteReply { granted: true } => {
                assert_eq!(durable.vote, Some(message.to), "the vote is not durable: {shown}");
                assert!(!durable.recovering, "{} votes without a log: {shown}", node.id);
            }
            Body::Append { prev, entries, commit } => {
                let is_own = entries.iter().all(|entry| disk.newest.holds(entry.at));
                assert!(disk.newest.holds(*prev) && is_own, "not from its log: {shown}");
                assert!(*commit <= self.commit(), "{shown}");
            }
            Body::Appended { matched } => Self::check_promise(node, message.to, *matched, nodes),
            Body::TimeoutNow { last } => {
                let target = &nodes[&message.to];
                let has_gone_on = target.disk.durable.hard_state.term > message.term;
                let is_able = target.has_durably(*last) || target.has_lost(*last);
                assert!(has_gone_on || is_able, "it lacks entries: {shown}");
            }
            Body::Heartbeat { commit, .. } => {
                let follower = &nodes[&message.to];
                let is_held = follower.durable_position(*commit).is_some();
                let has_lost = follower.disk.durable.hard_state.recovering;
                assert!(is_held || has_lost, "the follower does not hold that: {shown}");
            }
            _ => {}
        }
    }

    fn check_promise(node: &Node, leader: NodeId, matched: Index, nodes: &BTreeMap<NodeId, Node>) {
        let Some(promised) = node.durable_position(matched) else {
            panic!("{} promised {matched}, which is not durable", node.id);
        };
        assert!(node.has(promised), "{} promised what it replaced", node.id);
        let Some(leader) = nodes.get(&leader) else { return };
        let leads = leader.raft.as_ref().map(raft_core::Raft::status).is_some_and(|status| {
            status.role == RoleKind::Leader && status.term == node.disk.durable.hard_state.term
        });
        let is_equal = leader.has(promised);
        assert!(!leads || is_equal, "{} promised another log than {}'s", node.id, leader.id);
    }
}

/// Whether these nodes decide in this configuration.
fn is_quorum(cluster: &ClusterConfig, nodes: &BTreeSet<NodeId>) -> bool {
    let mut sets = [Some(&cluster.voters), cluster.outgoing.as_ref()].into_iter().flatten();
    sets.all(|voters| 2 * voters.intersection(nodes).count() > voters.len())
}

/// Whether no two decisions, one in each of these configurations, can be made by different nodes.
fn overlap(one: &ClusterConfig, other: &ClusterConfig) -> bool {
    let voters = one.members().chain(other.members()).collect::<BTreeSet<_>>();
    assert!(voters.len() < 12, "every set of them is looked at");
    let pick = |chosen: u32, wanted: u32| -> BTreeSet<NodeId> {
        let numbered = voters.iter().enumerate();
        numbered.filter(|(at, _)| (chosen >> at) & 1 == wanted).map(|(_, id)| *id).collect()
    };
    (0..1_u32 << voters.len())
        .all(|chosen| !is_quorum(one, &pick(chosen, 1)) || !is_quorum(other, &pick(chosen, 0)))
}

/// Whether this is what the change was to bring, or the joint configuration before it.
fn is_done(change: &ConfigChange, config: &ClusterConfig) -> bool {
    let ClusterConfig { voters, learners, .. } = config;
    match change {
        ConfigChange::AddLearner(id) => learners.contains(id) && !voters.contains(id),
        ConfigChange::Promote(id) => voters.contains(id) && !learners.contains(id),
        ConfigChange::Demote(id) => learners.contains(id) && !config.is_voter(*id),
        ConfigChange::Remove(id) => !config.is_member(*id),
        ConfigChange::Replace { voters: wanted, .. } => voters == wanted,
    }
}

/// What a node says of itself must be what its disk was told.
fn check_disk(status: &Status, node: &Node) {
    let Node { id, disk, .. } = node;
    assert_eq!(status.term, disk.newest.hard_state.term, "{id} has not written its term");
    assert_eq!(status.vote, disk.newest.hard_state.vote, "{id} has not written its vote");
    assert_eq!(status.last, disk.newest.last(), "{id} has not written its log");
    assert!(status.start >= disk.newest.start(), "{id} needs what was cut off");
    let durable = node.durable_position(status.durable);
    assert_eq!(durable, node.position(status.durable), "{id} is wrong on what is durable");
    assert!(durable.is_some(), "{id} takes for durable what is not");
}

/// Where the entry of this index lies in a log from 1 on.
fn place(index: Index) -> usize {
    usize::try_from(index.prev().get()).expect("a small log")
}
