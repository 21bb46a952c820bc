//! Replicas on one thread, with disks and links that do what a test tells them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kv_proto::{
    BackupPiece, Command, Consistency, Difference, Error, Header, Limits, Put, Range, Reply,
};
use kv_server::directory::Directory;
use kv_server::disk_health::DiskNotice;
use kv_server::log_keep::LogKeep;
use kv_server::members::Members;
use kv_server::replica::{ApplyWork, Call, ClientTag, Effect, Event, Replica, Request};
use kv_store::{Position, Store};
use raft_core::{
    Body, Boot, Config, Index, LogRead, Message, NodeId, Payload, PersistId, Raft, ReadLog,
    RoleKind, Time,
};
use raft_storage::{MemoryLog, Room};

/// How long a client waits if the test does not say.
const PATIENCE: Duration = Duration::from_secs(5);

const ELECTION_TIMEOUT_MAX: Duration = Duration::from_millis(300);

/// The time between two heartbeats of a leader, and between two nodes that ask for votes when all
/// of them start.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(50);

/// How much of their logs the nodes keep.
pub(crate) const KEEP: LogKeep = LogKeep { entries: 100, bytes: 1 << 20 };

pub(crate) struct Cluster {
    now: Time,
    nodes: BTreeMap<u64, Node>,
    /// Messages under way, in the order in which they were sent.
    network: VecDeque<Message>,
    cut_off: BTreeSet<u64>,
    are_entries_lost: bool,
}

struct Node {
    replica: Replica,
    store: Store,
    log: MemoryLog,
    /// Writes that are durable only when the test lets the disk go on.
    held: Option<Vec<PersistId>>,
    log_writes: usize,
    /// How often its log was to give back room.
    log_rooms_freed: usize,
    /// Up to where the log was cut.
    cut: Option<Index>,
    answers: BTreeMap<u64, Result<Answer, Error>>,
    has_stopped: bool,
    /// What it has told people about its disk.
    notices: Vec<DiskNotice>,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) header: Header,
    pub(crate) reply: Reply,
}

impl Cluster {
    pub(crate) fn new(size: u64) -> Self {
        let members = members(size);
        let nodes = (1..=size).map(|id| (id, Node::new(id, &members))).collect();
        let mut cluster = Self {
            now: Time::ZERO,
            nodes,
            network: VecDeque::new(),
            cut_off: BTreeSet::new(),
            are_entries_lost: false,
        };
        for id in 1..=size {
            for other in 1..=size {
                cluster.connect(id, other);
            }
        }
        cluster
    }

    /// From now on node `id` can send to `other`.
    pub(crate) fn connect(&mut self, id: u64, other: u64) {
        let client_address = Some(format!("node-{other}:9080"));
        self.event(id, Event::Connected { peer: NodeId::new(other), client_address });
    }

    /// From now on it cannot.
    pub(crate) fn disconnect(&mut self, id: u64, other: u64) {
        self.event(id, Event::Unreachable(NodeId::new(other)));
    }

    /// The process of a node ends, and starts again with its log. It can send to nobody.
    pub(crate) fn restart(&mut self, id: u64) {
        let (now, members) = (self.now, members(self.nodes.len() as u64));
        self.node(id).start_again(id, &members, now);
    }

    /// Three nodes, led by this one.
    pub(crate) fn with_leader(leader: u64) -> Self {
        let mut cluster = Self::new(3);
        let others: Vec<u64> = cluster.nodes.keys().copied().filter(|id| *id != leader).collect();
        // The others sleep until the leader has campaigned.
        while cluster.role(leader) != RoleKind::Leader {
            cluster.now = cluster.nodes[&leader].replica.deadline().max(cluster.now);
            cluster.event(leader, Event::Wake);
            cluster.settle();
        }
        cluster.pass(Duration::from_millis(100));
        assert!(others.iter().all(|id| cluster.role(*id) == RoleKind::Follower));
        cluster
    }

    /// The state of a node durably holds everything up to `index`.
    pub(crate) fn stored(&mut self, node: u64, index: u64) {
        self.event(node, Event::Stored(Index::new(index)));
    }

    /// Up to where a node has had its log cut.
    pub(crate) fn cut(&self, node: u64) -> Option<u64> {
        self.nodes[&node].cut.map(Index::get)
    }

    pub(crate) fn put(&mut self, node: u64, request: u64, key: &str, value: &str) {
        self.put_later(node, request, key, value);
        self.turn(node);
    }

    /// Puts `key` = `value`, for a client that waits this long.
    pub(crate) fn put_within(&mut self, node: u64, request: u64, timeout: Duration) {
        self.request(node, request, timeout, Call::Write(encode("key", "value")));
        self.turn(node);
    }

    /// As [`Cluster::put`], without ending the turn.
    pub(crate) fn put_later(&mut self, node: u64, request: u64, key: &str, value: &str) {
        self.request(node, request, PATIENCE, Call::Write(encode(key, value)));
    }

    pub(crate) fn get(&mut self, node: u64, request: u64, key: &str, consistency: Consistency) {
        let mut range = Range::key(key);
        range.options.consistency = consistency;
        self.request(node, request, PATIENCE, Call::Read(range));
        self.turn(node);
    }

    pub(crate) fn status(&mut self, node: u64, request: u64) {
        self.request(node, request, PATIENCE, Call::Status);
        self.turn(node);
    }

    pub(crate) fn stop(&mut self, node: u64) {
        self.event(node, Event::Stop);
        self.turn(node);
    }

    /// Node `node` hears that its state differs from that of all others.
    pub(crate) fn differs(&mut self, node: u64, is_outvoted: bool) {
        let others = self.ids().into_iter().filter(|id| *id != node).collect();
        let difference = Difference { index: 64, others, is_outvoted };
        self.event(node, Event::Differs(Some(difference)));
        self.turn(node);
    }

    fn request(&mut self, node: u64, request: u64, timeout: Duration, call: Call) {
        let client = ClientTag { connection: 1, request, most_reply_bytes: 0 };
        self.event(node, Event::Requests(vec![Request { client, timeout, call }]));
    }

    /// The answer to a request, which must be there by now.
    pub(crate) fn answer(&self, node: u64, request: u64) -> Result<Answer, Error> {
        let answer = self.nodes[&node].answers.get(&request);
        answer.unwrap_or_else(|| panic!("request {request} was not answered")).clone()
    }

    pub(crate) fn error(&self, node: u64, request: u64) -> Error {
        self.answer(node, request).expect_err("it should have failed")
    }

    /// The value that a get found.
    pub(crate) fn found(&self, node: u64, request: u64) -> Option<Vec<u8>> {
        match self.answer(node, request).expect("it was answered").reply {
            Reply::Range(range) => range.kvs.first().map(|kv| kv.value.to_vec()),
            other => panic!("another kind of reply: {other:?}"),
        }
    }

    /// The value that this node's store has.
    pub(crate) fn value(&self, node: u64, key: &str) -> Option<Vec<u8>> {
        let range = self.nodes[&node].store.range(&Range::key(key)).unwrap();
        range.kvs.first().map(|kv| kv.value.to_vec())
    }

    /// How often a node's log was to give back room.
    pub(crate) fn log_rooms_freed(&self, node: u64) -> usize {
        self.nodes[&node].log_rooms_freed
    }

    pub(crate) fn log_writes(&self, node: u64) -> usize {
        self.nodes[&node].log_writes
    }

    pub(crate) fn has_stopped(&self, node: u64) -> bool {
        self.nodes[&node].has_stopped
    }

    /// From now on nothing becomes durable at this node.
    pub(crate) fn hold_disk(&mut self, node: u64) {
        self.node(node).held = Some(Vec::new());
    }

    pub(crate) fn release_disk(&mut self, node: u64) {
        for id in self.node(node).held.take().unwrap_or_default() {
            self.event(node, Event::Persisted(id));
        }
        self.turn(node);
    }

    /// The room on the disk of a node changes.
    pub(crate) fn set_room(&mut self, node: u64, room: Room) {
        self.event(node, Event::LogRoom(room));
        self.turn(node);
    }

    /// There is no room for a node's state file, or there is again.
    pub(crate) fn set_state_waits(&mut self, node: u64, waits: bool) {
        self.event(node, Event::StateRoom(waits));
        self.turn(node);
    }

    /// What a node has told people about its disk since this was last asked.
    pub(crate) fn take_notices(&mut self, node: u64) -> Vec<DiskNotice> {
        std::mem::take(&mut self.node(node).notices)
    }

    /// The term of a node.
    pub(crate) fn term(&self, node: u64) -> u64 {
        self.nodes[&node].replica.raft().term().get()
    }

    pub(crate) fn cut_off(&mut self, node: u64) {
        self.cut_off.insert(node);
    }

    pub(crate) fn heal(&mut self, node: u64) {
        self.cut_off.remove(&node);
    }

    /// Lets time pass until another node than `old` leads; returns which.
    pub(crate) fn wait_for_other_leader(&mut self, old: u64) -> u64 {
        for _ in 0..1000 {
            self.pass(Duration::from_millis(10));
            let others = self.nodes.keys().copied().filter(|id| *id != old);
            if let Some(leader) = others.into_iter().find(|id| self.role(*id) == RoleKind::Leader) {
                return leader;
            }
        }
        panic!("no other leader in ten seconds");
    }

    /// Lets time pass in small steps.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now = self.now + Duration::from_millis(1);
            for id in self.ids() {
                if self.now >= self.nodes[&id].replica.deadline() {
                    self.event(id, Event::Wake);
                    self.turn(id);
                }
            }
        }
    }

    /// Ends the node's turn and lets everybody finish what follows from it.
    pub(crate) fn turn(&mut self, node: u64) {
        let mut effects = Vec::new();
        let now = self.now;
        self.node(node).replica.end_turn(now, &mut effects);
        self.carry_out(node, effects);
        self.settle();
    }

    /// From now on, entries are lost on their way, or not any more.
    pub(crate) fn lose_entries(&mut self, are_lost: bool) {
        self.are_entries_lost = are_lost;
    }

    /// Delivers messages until there are none.
    pub(crate) fn settle(&mut self) {
        while let Some(message) = self.network.pop_front() {
            let (from, to) = (message.from.get(), message.to.get());
            let has_entries =
                matches!(&message.body, Body::Append { entries, .. } if !entries.is_empty());
            if self.are_entries_lost && has_entries {
                continue;
            }
            if self.cut_off.contains(&from) || self.cut_off.contains(&to) {
                continue;
            }
            self.event(to, Event::Message(message));
            let mut effects = Vec::new();
            let now = self.now;
            self.node(to).replica.end_turn(now, &mut effects);
            self.carry_out(to, effects);
        }
    }

    pub(crate) fn event(&mut self, node: u64, event: Event) {
        let mut effects = Vec::new();
        let now = self.now;
        self.node(node).replica.handle(now, event, &mut effects);
        self.carry_out(node, effects);
    }

    fn carry_out(&mut self, id: u64, effects: Vec<Effect>) {
        for effect in effects {
            let node = self.node(id);
            match effect {
                Effect::Send(message) => self.network.push_back(message),
                Effect::Persist(write) => {
                    node.log_writes += 1;
                    node.log.append(std::slice::from_ref(&write)).expect("it follows");
                    match &mut node.held {
                        Some(held) => held.push(write.id),
                        None => self.event(id, Event::Persisted(write.id)),
                    }
                }
                Effect::ReadLog(read) | Effect::Apply(ApplyWork::ReadLog(read)) => {
                    let read = node.read_log(&read);
                    self.event(id, Event::LogRead(read));
                }
                Effect::Compact(upto) => node.cut = Some(upto),
                Effect::FreeLogRoom => node.log_rooms_freed += 1,
                Effect::Apply(work) => node.apply(work),
                Effect::Fail(client, error) => node.answered(client, Err(error)),
                Effect::RoleChanged(_) | Effect::Trace(_) | Effect::DiscardSnapshot => {}
                Effect::Disk(notice) => node.notices.push(notice),
                Effect::Stop => node.has_stopped = true,
            }
        }
    }

    /// The node that leads, apart from those that have stopped.
    pub(crate) fn leader(&self) -> Option<u64> {
        let leads = |id: &u64| self.role(*id) == RoleKind::Leader && !self.has_stopped(*id);
        self.ids().into_iter().find(leads)
    }

    pub(crate) fn role(&self, node: u64) -> RoleKind {
        self.nodes[&node].replica.raft().status().role
    }

    fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node of the cluster")
    }
}

impl Node {
    fn new(id: u64, members: &Members) -> Self {
        let boot = Boot::new(members.to_config());
        let raft = Raft::restore(Config::new(NodeId::new(id)), boot, Time::ZERO).unwrap();
        let directory = Directory::new(members, id, format!("node-{id}:9080"));
        Self {
            replica: Replica::new(raft, directory, ELECTION_TIMEOUT_MAX, KEEP),
            store: Store::new(Limits::default()),
            log: MemoryLog::new(),
            held: None,
            log_writes: 0,
            log_rooms_freed: 0,
            cut: None,
            answers: BTreeMap::new(),
            has_stopped: false,
            notices: Vec::new(),
        }
    }

    fn start_again(&mut self, id: u64, members: &Members, now: Time) {
        let boot = self.log.recovered().boot(members.to_config(), raft_core::Position::ORIGIN);
        let raft = Raft::restore(Config::new(NodeId::new(id)), boot, now).unwrap();
        let directory = Directory::new(members, id, format!("node-{id}:9080"));
        let replica = Replica::new(raft, directory, ELECTION_TIMEOUT_MAX, KEEP);
        self.replica = replica.electing_at_start(HEARTBEAT);
        self.store = Store::new(Limits::default());
    }

    fn read_log(&mut self, wanted: &ReadLog) -> LogRead {
        let ReadLog { purpose, first, last, max_bytes } = *wanted;
        let entries = self.log.read(first, last, max_bytes).expect("nothing was cut off");
        LogRead { purpose, first, entries }
    }

    fn apply(&mut self, work: ApplyWork) {
        match work {
            ApplyWork::Entries { entries, waiters } => {
                let mut waiters: BTreeMap<_, _> = waiters.into_iter().collect();
                for entry in entries.iter() {
                    let at = Position { term: entry.at.term.get(), index: entry.at.index.get() };
                    let Payload::Command(command) = &entry.payload else {
                        self.store.skip(at).expect("it has no disk");
                        continue;
                    };
                    let applied = self.store.apply(at, command).expect("it has no disk");
                    if let Some(client) = waiters.remove(&entry.at.index) {
                        let header = Header { revision: applied.revision, ..Header::default() };
                        let answer = applied.result.map(|reply| Answer { header, reply });
                        self.answered(client, answer);
                    }
                }
                assert!(waiters.is_empty(), "somebody waits for an entry that is not there");
            }
            ApplyWork::Read { client, range, .. } => {
                let header = Header { revision: self.store.revision(), ..Header::default() };
                let found = self.store.range(&range).map(Reply::Range);
                self.answered(client, found.map(|reply| Answer { header, reply }));
            }
            ApplyWork::Status { client, mut status } => {
                status.node.applied_index = self.store.applied_index();
                let reply = Reply::Status(*status);
                self.answered(client, Ok(Answer { header: Header::default(), reply }));
            }
            ApplyWork::Backup { client, .. } => {
                let (bytes, header) = (Arc::from([]), Header::default());
                let piece = BackupPiece { bytes, is_last: true, done: 0, total: 0 };
                self.answered(client, Ok(Answer { header, reply: Reply::Backup(piece) }));
            }
            ApplyWork::Digests { .. } => panic!("nobody asks for digests here"),
            ApplyWork::ReadLog(_) => panic!("it is for the log"),
            ApplyWork::CancelSnapshots => {}
            ApplyWork::SendSnapshot(_) | ApplyWork::InstallSnapshot(_) => {
                panic!("nobody is so far behind")
            }
        }
    }

    fn answered(&mut self, client: ClientTag, answer: Result<Answer, Error>) {
        let before = self.answers.insert(client.request, answer);
        assert!(before.is_none(), "request {} was answered twice", client.request);
    }
}

fn members(size: u64) -> Members {
    let list: Vec<String> = (1..=size).map(|id| format!("{id}=node-{id}:8080")).collect();
    list.join(",").parse().unwrap()
}

fn encode(key: &str, value: &str) -> raft_core::Command {
    let mut bytes = Vec::new();
    Command::Put(Put::new(key.as_bytes(), value.as_bytes())).encode(&mut bytes).unwrap();
    bytes.into()
}
