//! A whole cluster of real nodes on one thread, in which nothing happens unless the test says so:
//! no message arrives, no write becomes durable and no time passes by itself. The [`Witness`]
//! checks every step.

mod disk;
mod marks;
mod members;
mod network;
pub(crate) mod show;
mod snapshots;
mod witness;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use raft_core::{
    Action, Body, ClusterConfig, Command, Config, Counters, Entries, Entry, HardState, Index,
    Input, LogRead, Message, NodeId, Outcome, Payload, Position, Raft, ReadLog, ReadMode, RoleKind,
    Snapshot, Status, Term, Ticket, Time, invariants,
};

pub(crate) use disk::{Disk, log_of_terms};
pub(crate) use members::{disk_with, ids, joint, replace, voters};
pub(crate) use network::{Link, Network};
use snapshots::Transfer;
use witness::Witness;

/// A settled cluster has nothing left to do; one that never settles is in a loop.
const MAX_STEPS_TO_SETTLE: usize = 100_000;

pub(crate) struct Node {
    pub(crate) id: NodeId,
    config: Config,
    /// None while it is down.
    pub(crate) raft: Option<Raft>,
    pub(crate) disk: Disk,
    /// Its state machine: everything that it was told to apply, or got with a snapshot.
    pub(crate) applied: Vec<Entry>,
    /// How many of those would survive a loss of power.
    saved: usize,
    /// The snapshot that is to take the place of its state machine.
    pub(crate) installing: Option<Snapshot>,
    /// Snapshots that it wants to be sent, or that are on their way.
    pub(crate) transfers: BTreeMap<NodeId, Transfer>,
    /// What its disk lost after it was durable, until it has recovered.
    lost: Vec<Entry>,
    /// Entries it asked for and has not received, as the log was when it asked.
    pub(crate) log_reads: VecDeque<(ReadLog, Entries)>,
    /// What it has done since the test began.
    pub(crate) counters: Counters,
    /// The commit index that the witness has looked at.
    checked_commit: Index,
}

pub(crate) struct Cluster {
    pub(crate) now: Time,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    /// Who was there from the beginning; the others start as nodes that join.
    founders: BTreeSet<NodeId>,
    pub(crate) network: Network,
    pub(crate) witness: Witness,
    tickets: u64,
    numbers: u64,
    /// How often rare things happened, by name: so that a test notices when it no longer reaches
    /// what it is for.
    pub(crate) marks: BTreeMap<&'static str, usize>,
    /// What happened since it was last taken; None if nobody wants to know.
    transcript: Option<String>,
}

pub(crate) fn n(id: u64) -> NodeId {
    NodeId::new(id)
}

/// Making clusters.
impl Cluster {
    /// Nodes 1 to `size`, all started on empty disks.
    pub(crate) fn new(size: u64) -> Self {
        Self::configured(size, |_| {})
    }

    pub(crate) fn configured(size: u64, change: impl Fn(&mut Config)) -> Self {
        Self::with_disks(size, change, |_| Disk::default())
    }

    /// Nodes 1 to `size`, all started on what `disk` says was left on theirs.
    pub(crate) fn with_disks(
        size: u64,
        change: impl Fn(&mut Config),
        disk: impl Fn(NodeId) -> Disk,
    ) -> Self {
        let mut cluster = Self::stopped(size, change, disk);
        (1..=size).for_each(|id| cluster.restart(n(id)));
        cluster
    }

    /// The same, with none of them started.
    pub(crate) fn stopped(
        size: u64,
        change: impl Fn(&mut Config),
        disk: impl Fn(NodeId) -> Disk,
    ) -> Self {
        let founders: BTreeSet<_> = (1..=size).map(n).collect();
        let mut cluster = Self {
            now: Time::ZERO,
            nodes: BTreeMap::new(),
            founders: founders.clone(),
            network: Network::default(),
            witness: Witness::of(ClusterConfig::of_voters(founders)),
            tickets: 0,
            numbers: 0,
            marks: BTreeMap::new(),
            transcript: None,
        };
        for id in (1..=size).map(n) {
            let mut config = Config::new(id);
            change(&mut config);
            cluster.add(Node::stopped(id, config, disk(id)));
        }
        cluster
    }

    /// Gives a node that was not started the disk of earlier runs.
    pub(crate) fn set_disk(&mut self, id: NodeId, disk: Disk) {
        let config = self.nodes[&id].config.clone();
        self.add(Node::stopped(id, config, disk));
    }

    fn add(&mut self, node: Node) {
        self.witness.writes(node.disk.newest.start(), node.disk.newest.entries());
        self.nodes.insert(node.id, node);
    }

    /// Keeps a transcript from now on.
    pub(crate) fn record(&mut self) {
        self.transcript.get_or_insert_default();
    }

    pub(crate) fn take_transcript(&mut self) -> String {
        self.transcript.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// Notes what a test does with messages by itself.
    pub(crate) fn note_all(&mut self, what: &str, messages: &[Message]) {
        for message in messages {
            self.note(|| format!("{what} {}", show::message(message)));
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(transcript) = &mut self.transcript {
            transcript.push_str(&line());
            transcript.push('\n');
        }
    }
}

impl Node {
    fn stopped(id: NodeId, config: Config, disk: Disk) -> Self {
        Self {
            id,
            config,
            raft: None,
            disk,
            applied: Vec::new(),
            saved: 0,
            installing: None,
            transfers: BTreeMap::new(),
            lost: Vec::new(),
            log_reads: VecDeque::new(),
            counters: Counters::default(),
            checked_commit: Index::ZERO,
        }
    }

    /// The part of the state machine that would survive a loss of power.
    fn saved(&self) -> &[Entry] {
        &self.applied[..self.saved]
    }

    /// The entry at `index`, in the state machine or in the log.
    fn entry(&self, index: Index) -> Option<&Entry> {
        entry_at(&self.applied, index).or_else(|| self.disk.newest.entry(index))
    }

    /// The position at `index`, in the state machine or in the log.
    fn position(&self, index: Index) -> Option<Position> {
        position_at(&self.applied, index).or_else(|| self.disk.newest.position(index))
    }

    /// The same, of what would survive a loss of power.
    fn durable_position(&self, index: Index) -> Option<Position> {
        position_at(self.saved(), index).or_else(|| self.disk.durable.position(index))
    }

    fn has(&self, at: Position) -> bool {
        self.position(at.index) == Some(at)
    }

    fn has_durably(&self, at: Position) -> bool {
        self.durable_position(at.index) == Some(at)
    }

    /// Whether its disk held this once, and lost it, and the node knows that it lost something.
    fn has_lost(&self, at: Position) -> bool {
        self.lost.iter().any(|entry| entry.at == at)
    }

    /// What it says of itself, while it is up.
    pub(crate) fn status(&self) -> Option<Status> {
        self.raft.as_ref().map(Raft::status)
    }
}

/// The entry of this index among entries from 1 on.
fn entry_at(entries: &[Entry], index: Index) -> Option<&Entry> {
    entries.get(usize::try_from(index.get()).ok()?.checked_sub(1)?)
}

/// The same, as a position, that before the first included.
fn position_at(entries: &[Entry], index: Index) -> Option<Position> {
    let entry = entry_at(entries, index).map(|entry| entry.at);
    entry.or((index == Index::ZERO).then_some(Position::ORIGIN))
}

fn last_of(entries: &[Entry]) -> Position {
    entries.last().map_or(Position::ORIGIN, |entry| entry.at)
}

/// The members that these entries, all from the first on, tell of last.
fn members_in(entries: &[Entry]) -> Option<ClusterConfig> {
    entries.iter().rev().find_map(|entry| match &entry.payload {
        Payload::Config(cluster) => Some(ClusterConfig::clone(cluster)),
        Payload::Noop | Payload::Command(_) => None,
    })
}

/// One step of one node.
impl Cluster {
    /// Takes one step of a node that is up, checks everything, and carries out what it wants.
    pub(crate) fn step(&mut self, id: NodeId, input: Input) {
        let Some(mut node) = self.nodes.remove(&id) else { return };
        let Some(raft) = &mut node.raft else {
            self.nodes.insert(id, node);
            return;
        };
        let before = raft.clone();
        let mut actions = Vec::new();
        raft.step(self.now, input, &mut actions);
        if let Err(violation) = invariants::check(&before, raft) {
            panic!("{id}: {violation}");
        }
        // The disk is told first and the witness looks next, so that the other actions are judged
        // by what is true after the step.
        for action in &actions {
            if let Action::Persist(write) = action {
                let prev = write.entries.first().map(|entry| entry.at.index.prev());
                let prev = prev.and_then(|index| node.disk.newest.position(index));
                self.witness.writes(write.reset.or(prev).unwrap_or_default(), &write.entries);
                let first = write.entries.first().map(|first| first.at.index);
                let replaced = write.reset.map(|at| at.index).or(first);
                let is_safe = replaced.is_none_or(|first| first > node.checked_commit);
                assert!(is_safe, "{id} replaces what is committed");
                node.disk.accept(write.clone());
            }
        }
        if !node.disk.durable.hard_state.recovering {
            node.lost.clear();
        }
        self.witness.observe(&before, &node, &self.nodes);
        node.checked_commit = node.status().map_or(Index::ZERO, |status| status.commit);
        for action in actions {
            self.note(|| line(id, &action));
            self.carry_out(&mut node, action);
        }
        self.nodes.insert(id, node);
    }

    fn carry_out(&mut self, node: &mut Node, action: Action) {
        node.counters.count(&action);
        if let Some(mark) = marks::of(&action) {
            *self.marks.entry(mark).or_default() += 1;
        }
        match action {
            Action::Send(message) => {
                self.witness.sends(node, &message, &self.nodes);
                self.network.send(message);
            }
            Action::Apply(entries) => {
                assert!(node.installing.is_none(), "nothing is applied to what is replaced");
                self.witness.applies(node, &entries);
                node.applied.extend(entries.iter().cloned());
            }
            Action::ReadLog(request) => {
                let mut others = node.log_reads.iter().map(|(other, _)| other.purpose);
                let is_first = others.all(|purpose| purpose != request.purpose);
                assert!(is_first, "one read of each purpose at a time");
                node.log_reads.push_back((request, node.disk.read(&request)));
            }
            Action::Resolved(ticket, outcome) => self.witness.resolved(node, ticket, outcome),
            Action::SendSnapshot(request) => {
                let other = node.transfers.insert(request.to, Transfer::asked(request));
                assert!(other.is_none(), "one snapshot to each at a time");
            }
            Action::InstallSnapshot(snapshot) => {
                self.witness.installs(node, &snapshot);
                node.installing = Some(snapshot);
            }
            Action::Compact(upto) => {
                assert!(node.saved as u64 >= upto.get(), "only what is saved is cut");
                node.disk.compact(upto);
            }
            Action::Persist(_)
            | Action::RoleChanged(_)
            | Action::ConfigChanged(_)
            | Action::Trace(_) => {}
        }
    }
}

fn line(id: NodeId, action: &Action) -> String {
    match action {
        Action::Send(_) => format!("  {}", show::action(action)),
        _ => format!("  {id} {}", show::action(action)),
    }
}

/// What can happen to one node.
impl Cluster {
    pub(crate) fn restart(&mut self, id: NodeId) {
        let founders = self.founders.contains(&id).then(|| self.founders.clone());
        let founders = ClusterConfig::of_voters(founders.unwrap_or_default());
        let now = self.now;
        let node = self.nodes.get_mut(&id).expect("a node");
        if node.raft.is_some() {
            return;
        }
        let cluster = members_in(node.saved()).unwrap_or(founders);
        let boot = node.disk.boot(last_of(node.saved()), cluster);
        let mut config = node.config.clone();
        config.seed += 1000 * boot.hard_state.boots;
        node.raft = Some(Raft::restore(config, boot, now).expect("the disk holds together"));
        self.note(|| format!("start {id}"));
        self.step(id, Input::Wake);
    }

    /// Stops a node, after the first `kept` of its pending writes had reached the disk.
    pub(crate) fn crash(&mut self, id: NodeId, kept: usize) {
        let node = self.nodes.get_mut(&id).expect("a node");
        node.raft = None;
        node.disk.crash(kept);
        node.applied.truncate(node.saved);
        node.installing = None;
        node.transfers.clear();
        node.log_reads.clear();
        node.checked_commit = Index::ZERO;
        self.network.lose_all_to(id);
        self.witness.crashed(id);
        self.note(|| format!("crash {id}"));
    }

    /// Wakes a node; one that had been due may not be due again at once.
    pub(crate) fn wake(&mut self, id: NodeId) {
        self.note(|| format!("wake {id}"));
        self.step(id, Input::Wake);
        if let Some(raft) = &self.nodes[&id].raft {
            assert!(raft.deadline() > self.now, "{id} wants to be woken for ever");
        }
    }

    /// Makes up to `count` pending writes of a node durable, and tells it.
    pub(crate) fn persist(&mut self, id: NodeId, count: usize) {
        let synced = self.nodes.get_mut(&id).and_then(|node| node.disk.sync(count));
        if let Some(write) = synced {
            self.note(|| format!("durable {id} #{}", write.get()));
            self.step(id, Input::Persisted(write));
        }
    }

    /// Makes everything durable that is on its way to any disk.
    pub(crate) fn persist_everywhere(&mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.persist(id, usize::MAX);
        }
    }

    /// Answers the oldest question for entries of a node with at most `max_entries` of them.
    pub(crate) fn answer_log_read(&mut self, id: NodeId, max_entries: usize) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some((request, entries)) = node.log_reads.pop_front() else { return };
        let entries = entries.slice(0..max_entries.min(entries.len()));
        let ReadLog { purpose, first, .. } = request;
        self.note(|| format!("log read {id} {}", show::entries(&entries)));
        self.step(id, Input::LogRead(LogRead { purpose, first, entries }));
    }

    /// A number that was never given before, to make a command unique.
    pub(crate) fn fresh_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Proposes commands of this content, which no other proposal of the test may have.
    pub(crate) fn propose(&mut self, id: NodeId, commands: &[&str]) -> Vec<Ticket> {
        let mut proposals: Vec<(Ticket, Command)> = Vec::new();
        for command in commands {
            let ticket = self.ticket();
            let command = Command::from(command.as_bytes());
            self.witness.proposes(id, ticket, command.clone());
            proposals.push((ticket, command));
        }
        let tickets: Vec<_> = proposals.iter().map(|(ticket, _)| *ticket).collect();
        self.note(|| format!("propose {id} '{}'", commands.join("' '")));
        let input = match &proposals[..] {
            [(ticket, command)] => Input::ProposeOne(*ticket, command.clone()),
            _ => Input::Propose(proposals),
        };
        self.step(id, input);
        tickets
    }

    pub(crate) fn read(&mut self, id: NodeId) -> Ticket {
        self.read_by(id, ReadMode::Confirmed)
    }

    pub(crate) fn read_by(&mut self, id: NodeId, mode: ReadMode) -> Ticket {
        let ticket = self.ticket();
        self.witness.reads(id, ticket);
        let how = if mode == ReadMode::Lease { " by lease" } else { "" };
        self.note(|| format!("read {id}{how}"));
        self.step(id, Input::Read(ticket, mode));
        ticket
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket::new(self.tickets)
    }

    /// Tells a node that its connection to `peer` broke, which loses what was under way on it.
    pub(crate) fn unreachable(&mut self, id: NodeId, peer: NodeId) {
        self.note(|| format!("unreachable {peer} from {id}"));
        while self.network.take((id, peer), 0).is_some() {}
        self.step(id, Input::Unreachable(peer));
    }
}

/// What can happen to messages.
impl Cluster {
    /// Delivers the message at this place on the link.
    pub(crate) fn deliver(&mut self, link: Link, at: usize) {
        if let Some(message) = self.network.take(link, at) {
            self.receive(message);
        }
    }

    /// Hands a message to the node it is for, wherever it comes from.
    pub(crate) fn receive(&mut self, message: Message) {
        self.note(|| format!("deliver {}", show::message(&message)));
        if let Body::Snapshot(snapshot) = &message.body {
            self.snapshot_arrives(message.from, message.to, snapshot.at);
        }
        self.step(message.to, Input::Message(message));
    }

    /// Delivers every message of this kind that is under way, in order; returns how many.
    pub(crate) fn deliver_kind(&mut self, kind: &str) -> usize {
        let mut count = 0;
        for link in self.network.busy_links() {
            let queued = self.network.queued(link).count();
            let mut at = 0;
            for _ in 0..queued {
                let is_kind = |message: &Message| show::kind(&message.body) == kind;
                if self.network.queued(link).nth(at).is_some_and(is_kind) {
                    self.deliver(link, at);
                    count += 1;
                } else {
                    at += 1;
                }
            }
        }
        count
    }

    /// Cuts every link between a node of one group and a node of the other, both ways.
    pub(crate) fn cut_between(&mut self, one: &[u64], other: &[u64]) {
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (n(*a), n(*b)))) {
            self.cut((a, b));
            self.cut((b, a));
        }
    }

    /// Cuts every link of a node, both ways.
    pub(crate) fn isolate(&mut self, id: NodeId) {
        for other in self.nodes.keys().copied().filter(|other| *other != id) {
            self.network.cut((id, other));
            self.network.cut((other, id));
        }
        self.note(|| format!("cut {id}"));
    }

    pub(crate) fn cut(&mut self, link: Link) {
        self.network.cut(link);
        self.note(|| format!("cut {} -> {}", link.0, link.1));
    }

    pub(crate) fn heal(&mut self) {
        self.network.heal();
        self.note(|| "heal".to_owned());
    }
}

/// Time, and what follows by itself.
impl Cluster {
    /// Lets everything happen that needs no time, until nothing is left.
    pub(crate) fn settle(&mut self) {
        let everyone: Vec<_> = self.nodes.keys().copied().collect();
        self.settle_among(&everyone);
    }

    /// The same, for messages between, and disks of, these nodes alone.
    pub(crate) fn settle_among(&mut self, ids: &[NodeId]) {
        for _ in 0..MAX_STEPS_TO_SETTLE {
            let links = self.network.busy_links();
            let is_inside = |link: &&Link| ids.contains(&link.0) && ids.contains(&link.1);
            let nodes = || ids.iter().map(|id| &self.nodes[id]);
            if let Some(link) = links.iter().find(is_inside) {
                self.deliver(*link, 0);
            } else if let Some(node) = nodes().find(|node| !node.disk.pending.is_empty()) {
                self.persist(node.id, usize::MAX);
            } else if let Some(node) = nodes().find(|node| !node.log_reads.is_empty()) {
                self.answer_log_read(node.id, usize::MAX);
            } else if !self.settle_snapshots(ids) {
                return;
            }
        }
        panic!("the cluster never settles");
    }

    /// When the next node wants to be woken.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.nodes.values().filter_map(|node| node.raft.as_ref()).map(Raft::deadline).min()
    }

    /// Lets `span` pass and wakes each node whenever it is due, with nothing else happening.
    pub(crate) fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.wake_due();
        }
        self.now = end;
    }

    /// Wakes the nodes that are due.
    pub(crate) fn wake_due(&mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            let raft = self.nodes[&id].raft.as_ref();
            if raft.is_some_and(|raft| raft.deadline() <= self.now) {
                self.wake(id);
            }
        }
    }

    /// Lets time pass until this node is due, and wakes only it: it is the first to notice.
    pub(crate) fn time_out(&mut self, id: NodeId) {
        if let Some(raft) = &self.nodes[&id].raft {
            self.now = self.now.max(raft.deadline());
            self.wake(id);
        }
    }

    /// Lets `span` pass in a cluster whose disks and links take no time.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.settle();
        while let Some(due) = self.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.wake_due();
            self.settle();
        }
        self.now = end;
    }

    /// Makes this node the leader: the others do not notice before it does.
    pub(crate) fn elect(&mut self, id: NodeId) {
        for _ in 0..4 {
            // Time for the others to forget the leader they have.
            self.now = self.now + Duration::from_millis(300);
            self.time_out(id);
            self.settle();
            if self.status(id).role == RoleKind::Leader {
                return;
            }
        }
        panic!("{id} is not elected");
    }
}

/// What there is to see.
impl Cluster {
    pub(crate) fn status(&self, id: NodeId) -> Status {
        self.nodes[&id].status().expect("a node that is up")
    }

    /// The leader of the latest term that has one, if it is up and thinks so itself.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let up = self.nodes.values().filter_map(Node::status);
        let leaders = up.filter(|status| status.role == RoleKind::Leader);
        leaders.max_by_key(|status| status.term).map(|status| status.id)
    }

    pub(crate) fn outcome(&self, ticket: Ticket) -> Option<Outcome> {
        self.witness.outcome(ticket)
    }

    /// The terms of the entries of a node's log.
    pub(crate) fn terms(&self, id: NodeId) -> Vec<u64> {
        self.nodes[&id].disk.newest.entries().iter().map(|entry| entry.at.term.get()).collect()
    }
}

/// A node's term and vote after earlier runs.
pub(crate) fn hard_state(term: u64, vote: Option<u64>) -> HardState {
    HardState { term: Term::new(term), vote: vote.map(n), boots: 1, recovering: false }
}
