//! What a put costs in allocations, stage by stage, on three nodes without threads and sockets: the
//! code that a put passes through is the server's own, what moves it from one stage to the next is
//! here. Only what this thread allocates is counted, so the thread that writes the state file
//! behind does not matter.
//!
//! Not counted, because it belongs to no put: the blocks of the queues between threads.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use allocation_counter::measure;
use kv_proto::{
    Call, Command, FrameReader, Header, Limits, OLDEST_PROTOCOL_VERSION, Put, Request, Response,
};
use kv_server::clients::{Reply, parse};
use kv_server::directory::Directory;
use kv_server::log_keep::LogKeep;
use kv_server::members::Members;
use kv_server::replica::{ApplyWork, ClientTag, Effect, Event, Replica};
use kv_store::{Applied, Position, Store};
use raft_core::{
    Boot, Config, Entries, Entry, Index, Message, NodeId, Payload, Raft, RoleKind, Time, Write,
};
use raft_net_tcp::format::{Packet, decode, encode_messages};
use raft_storage::{FileDisk, Log};
use tempfile::TempDir;

/// What is counted at a time, and what the figures are for.
const PUTS: u64 = 1024;

/// Allocations of [`PUTS`] puts, at most, in the order in which a put passes by: where; where puts
/// come one at a time; where 16 come together.
///
/// What they are: a batch of requests and each command; the batch that is proposed, and who waits
/// for it; metadata of a record; the answers of a batch. At a follower, the message in its parts,
/// and again each command.
const STAGES: [(&str, u64, u64); 9] = [
    ("leader: request", 2064, 1232),
    ("leader: replica", 1040, 464),
    ("leader: message out", 16, 16),
    ("leader: log", 1040, 80),
    ("leader: apply", 1100, 240),
    ("leader: reply", 16, 16),
    ("follower: message in", 5136, 1360),
    ("follower: replica", 16, 16),
    ("follower: log", 1040, 80),
];

#[test]
fn a_put_allocates_no_more_than_it_did() {
    let mut cluster = Cluster::start();
    let counted = [1, 16].map(|together| {
        // All keys are there, and all queues have their size.
        cluster.put_all(together);
        cluster.allocations.clear();
        cluster.put_all(together);
        std::mem::take(&mut cluster.allocations)
    });
    println!("allocations of {PUTS} puts: one at a time, 16 together");
    let mut all = [0; 2];
    let mut worse = Vec::new();
    for (stage, bounds) in STAGES.map(|(stage, alone, together)| (stage, [alone, together])) {
        let here = [0, 1].map(|at| counted[at].get(stage).copied().unwrap_or(0));
        println!("{stage:>22} {:>6} {:>6}", here[0], here[1]);
        all = [all[0] + here[0], all[1] + here[1]];
        if here[0] > bounds[0] || here[1] > bounds[1] {
            worse.push(format!("{stage}: {here:?} and not {bounds:?}"));
        }
    }
    println!("{:>22} {:>6} {:>6}", "all", all[0], all[1]);
    assert!(worse.is_empty(), "there are more allocations than before: {}", worse.join("; "));
}

/// Three nodes, of which the first leads.
struct Cluster {
    nodes: [Node; 3],
    /// Frames under way, and to whom.
    network: VecDeque<(usize, Vec<u8>)>,
    /// Frames that were read: their memory is used again, as a connection does.
    read: Vec<Vec<u8>>,
    /// What the connection of a client takes in, and what waits to be sent to it.
    client: FrameReader,
    unsent: Vec<u8>,
    answers: u64,
    allocations: BTreeMap<String, u64>,
}

struct Node {
    replica: Replica,
    log: Log<FileDisk>,
    // Dropped before its directory: it writes to the end.
    store: Store,
    from_peers: FrameReader,
    effects: Vec<Effect>,
    _directory: TempDir,
}

impl Cluster {
    fn start() -> Self {
        let members: Members = "1=one:8080,2=two:8080,3=three:8080".parse().unwrap();
        let nodes = [1, 2, 3].map(|id| Node::start(id, &members));
        let mut cluster = Self {
            nodes,
            network: VecDeque::new(),
            read: Vec::new(),
            client: FrameReader::new(1 << 20),
            unsent: Vec::new(),
            answers: 0,
            allocations: BTreeMap::new(),
        };
        // The others sleep until it leads.
        while cluster.nodes[0].replica.raft().role() != RoleKind::Leader {
            cluster.turn(0, [Event::Wake], cluster.nodes[0].replica.deadline());
            cluster.settle();
        }
        cluster
    }

    /// Puts [`PUTS`] keys, so many at once.
    fn put_all(&mut self, together: u64) {
        self.answers = 0;
        for first in (0..PUTS).step_by(usize::try_from(together).unwrap()) {
            let mut arriving = Vec::new();
            (first..first + together).for_each(|id| ask(id, &mut arriving));
            let requests = self.count(0, "request", |cluster| cluster.take_requests(&arriving));
            self.turn(0, [Event::Requests(requests)], Time::ZERO);
            self.settle();
        }
        assert_eq!(self.answers, PUTS);
    }

    /// Does something at a node, and notes what it allocates at this stage.
    fn count<T>(&mut self, at: usize, stage: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let mut done = None;
        let allocations = measure(|| done = Some(work(self))).count_total;
        // The two followers do the same.
        let whose = ["leader: ", "follower: ", "other: "][at];
        *self.allocations.entry(format!("{whose}{stage}")).or_default() += allocations;
        done.expect("it was done")
    }

    fn take_requests(&mut self, mut arriving: &[u8]) -> Vec<kv_server::replica::Request> {
        let mut requests = Vec::new();
        while !arriving.is_empty() {
            self.client.fill(&mut arriving).unwrap();
            while let Some(body) = self.client.next_frame().unwrap() {
                requests.push(parse(7, body, &Limits::default()).expect("a put"));
            }
        }
        requests
    }

    /// One turn of a node's loop, at this time, with all that follows from it at that node.
    fn turn(&mut self, at: usize, events: impl IntoIterator<Item = Event>, now: Time) {
        let mut events = events.into_iter().collect::<VecDeque<_>>();
        while !events.is_empty() {
            let mut effects = std::mem::take(&mut self.nodes[at].effects);
            self.count(at, "replica", |cluster| {
                let replica = &mut cluster.nodes[at].replica;
                events.drain(..).for_each(|event| replica.handle(now, event, &mut effects));
                replica.end_turn(now, &mut effects);
            });
            for effect in effects.drain(..) {
                events.extend(self.carry_out(at, effect));
            }
            self.nodes[at].effects = effects;
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Send(message) => self.send(at, &message),
            Effect::Persist(write) => return Some(self.persist(at, &write)),
            Effect::Apply(ApplyWork::Entries { entries, waiters }) => {
                let applied = |cluster: &mut Self| cluster.apply(at, &entries, &waiters);
                let replies = self.count(at, "apply", applied);
                self.count(at, "reply", |cluster| cluster.answer(replies));
            }
            Effect::RoleChanged(_) | Effect::Trace(_) => {}
            effect => panic!("nobody asked for {effect:?}"),
        }
        None
    }

    fn send(&mut self, at: usize, message: &Message) {
        let to = usize::try_from(message.to.get() - 1).unwrap();
        let mut frame = self.read.pop().unwrap_or_default();
        frame.clear();
        self.count(at, "message out", |_| {
            encode_messages(&mut frame, std::slice::from_ref(message)).unwrap();
        });
        self.network.push_back((to, frame));
    }

    fn persist(&mut self, at: usize, write: &Write) -> Event {
        self.count(at, "log", |cluster| {
            cluster.nodes[at].log.append(std::slice::from_ref(write)).unwrap();
        });
        Event::Persisted(write.id)
    }

    /// Lets messages arrive until there are none.
    fn settle(&mut self) {
        while let Some((to, frame)) = self.network.pop_front() {
            let packet = self.count(to, "message in", |cluster| {
                let reader = &mut cluster.nodes[to].from_peers;
                let mut arriving = frame.as_slice();
                while !arriving.is_empty() {
                    reader.fill(&mut arriving).unwrap();
                }
                decode(reader.next_frame().unwrap().expect("all of it has arrived")).unwrap()
            });
            self.read.push(frame);
            let Packet::Messages(messages) = packet else { panic!("{packet:?}") };
            self.turn(to, messages.into_iter().map(Event::Message), Time::ZERO);
        }
    }

    /// As the apply thread does: applies, and collects the answers.
    fn apply(
        &mut self,
        at: usize,
        entries: &Entries,
        waiters: &[(Index, ClientTag)],
    ) -> Vec<Reply> {
        let store = &mut self.nodes[at].store;
        let mut waiters = waiters.iter().peekable();
        let mut replies = Vec::new();
        for entry in entries.iter() {
            let applied = apply(store, entry);
            let waiter = waiters.next_if(|(index, _)| *index == entry.at.index);
            if let (Some((_, client)), Some(applied)) = (waiter, applied) {
                let header = Header { revision: applied.revision, ..Header::default() };
                let result = applied.result.map(|reply| (header, reply));
                replies.push(Reply { client: *client, result });
            }
        }
        replies
    }

    /// As the clients' thread does.
    fn answer(&mut self, replies: Vec<Reply>) {
        for Reply { client, result } in replies {
            let (header, reply) = result.expect("every put is done");
            let reply = reply.for_version(OLDEST_PROTOCOL_VERSION);
            let done = Response::Done { id: client.request, header, reply };
            done.write(&mut self.unsent).unwrap();
            self.answers += 1;
        }
        self.unsent.clear();
    }
}

impl Node {
    fn start(id: u64, members: &Members) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = raft_storage::Options {
            reserve_bytes: 0,
            background: false,
            ..raft_storage::Options::new(NodeId::new(id), 1, "one,two,three")
        };
        let disk = FileDisk::create(directory.path()).unwrap();
        let (log, _) = Log::open(disk, &options).unwrap();
        let state = directory.path().join("state");
        let store = Store::open(&state, &kv_store::Options::default()).unwrap();
        let boot = Boot::new(members.to_config());
        let raft = Raft::restore(Config::new(NodeId::new(id)), boot, Time::ZERO).unwrap();
        let addresses = Directory::new(members, id, format!("node-{id}:9080"));
        let keep = LogKeep { entries: 100, bytes: 1 << 20 };
        let replica = Replica::new(raft, addresses, Duration::from_millis(300), keep);
        let (from_peers, effects) = (FrameReader::new(1 << 20), Vec::new());
        Self { replica, log, store, from_peers, effects, _directory: directory }
    }
}

fn apply(store: &mut Store, entry: &Entry) -> Option<Applied> {
    let at = Position { term: entry.at.term.get(), index: entry.at.index.get() };
    let Payload::Command(command) = &entry.payload else {
        store.skip(at).unwrap();
        return None;
    };
    Some(store.apply(at, command).unwrap())
}

/// The frame of a put of a value of 256 bytes at one of [`PUTS`] keys.
fn ask(id: u64, stream: &mut Vec<u8>) {
    let (key, mut command) = (format!("key/{id:012}"), Vec::new());
    Command::Put(Put::new(key.as_bytes(), &[7; 256])).encode(&mut command).unwrap();
    let request = Request { id, timeout_millis: 5000, call: Call::Write(&command) };
    request.write(stream).unwrap();
}
