//! One node: the core, its log on files, its connections, and the state machine, joined by one
//! loop.
//!
//! The log and the network have threads of their own. What they have to tell comes through two
//! queues. Peers may say much, so theirs has a bound, at which their connections wait. The log and
//! the clients only answer and ask one thing at a time; nothing waits for them, so that the loop
//! and the log never wait for each other.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::TcpListener;
use std::path::Path;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, select_biased, unbounded};
use raft_core::{
    Action, ClusterConfig, Config, Input, NodeId, Outcome, Payload, Position, Raft, Ticket, Time,
};
use raft_net_tcp::{Directory, DirectoryId, NetEvent, Network, RefusalCode};
use raft_storage::thread::{LogEvent, LogRequest, LogThread};
use raft_storage::{FileDisk, Log, Options};

/// Keeps nodes of other clusters out, and logs apart.
const CLUSTER_ID: u64 = 7;

/// Messages from peers that may wait for the loop.
const MAX_WAITING_MESSAGES: usize = 1000;

/// Writes that may wait for the disk.
const MAX_WAITING_WRITES: usize = 1000;

/// The members of the cluster, and where each listens.
pub(crate) type Members = BTreeMap<NodeId, String>;

/// What the loop waits for.
pub(crate) enum Event {
    /// Something for the core.
    Input(Input),
    /// A client has a proposal or a read, under this ticket, and waits to be told the count.
    Request(Ticket, Input, Sender<u64>),
}

/// The state machine, in memory: it is built anew from the log at every start.
#[derive(Default)]
struct Counter {
    count: u64,
    /// A client that got no answer asks again, and may so get into the log twice. It counts once.
    last_request: u64,
}

impl Counter {
    fn apply(&mut self, request: u64) {
        if request > self.last_request {
            self.last_request = request;
            self.count += 1;
        }
    }
}

pub(crate) struct Node {
    raft: Raft,
    started_at: Instant,
    /// What the log and the clients say.
    inside: Receiver<Event>,
    /// What the peers say.
    outside: Receiver<Event>,
    log: LogThread<Log<FileDisk>>,
    network: Network,
    counter: Counter,
    /// Who waits for an answer. To forget a client is an answer too: that it should ask again.
    clients: BTreeMap<Ticket, Sender<u64>>,
}

impl Node {
    /// Opens the log in `dir` and brings the node back to where it was. The sender is for clients.
    pub(crate) fn open(
        id: NodeId,
        members: &Members,
        listener: TcpListener,
        dir: &Path,
    ) -> Result<(Self, Sender<Event>), Box<dyn Error>> {
        let options = Options::new(id, CLUSTER_ID, "the durable counter");
        let (log, recovered) = Log::open(FileDisk::create(dir)?, &options)?;
        if let Some(damage) = recovered.damage {
            return Err(
                format!("the log of {id} is damaged, so it does not start: {damage}").into()
            );
        }
        let cluster = ClusterConfig::of_voters(members.keys().copied());
        let boot = recovered.boot(cluster, Position::ORIGIN);
        let raft = Raft::restore(Config::new(id), boot, Time::ZERO)?;

        let (tell_inside, inside) = unbounded();
        let (tell_outside, outside) = bounded(MAX_WAITING_MESSAGES);
        // With the log goes what the node has promised: the others are to notice if it is another.
        let (path, rejoins) = (dir.to_owned(), false);
        let directory = Directory { id: DirectoryId::new(log.id()), path, rejoins };
        let log = start_log(log, tell_inside.clone())?;
        let network = start_network(id, members, listener, directory, tell_outside)?;
        let (counter, clients, started_at) = (Counter::default(), BTreeMap::new(), Instant::now());
        let node = Self { raft, started_at, inside, outside, log, network, counter, clients };
        Ok((node, tell_inside))
    }

    /// Runs until the log fails.
    pub(crate) fn run(mut self) {
        loop {
            // It is due at the deadline and harmless before, so every turn begins with it.
            self.step(Input::Wake);
            let patience = self.raft.deadline().since(self.now());
            let event = select_biased! {
                recv(self.inside) -> event => event,
                recv(self.outside) -> event => event,
                default(patience) => continue,
            };
            match event {
                Ok(Event::Input(input)) => self.step(input),
                Ok(Event::Request(ticket, input, client)) => {
                    self.clients.insert(ticket, client);
                    self.step(input);
                }
                Err(_) => return,
            }
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.started_at.elapsed()
    }

    fn step(&mut self, input: Input) {
        let mut actions = Vec::new();
        self.raft.step(self.now(), input, &mut actions);
        for action in actions {
            self.carry_out(action);
        }
    }

    /// Does one thing for the core. What has an answer is answered by another thread.
    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Send(message) => self.network.send(message),
            Action::Persist(write) => self.ask_log(LogRequest::Write(write)),
            Action::ReadLog(wanted) => self.ask_log(LogRequest::Read(wanted)),
            Action::Apply(entries) => {
                for entry in entries.iter() {
                    if let Payload::Command(command) = &entry.payload {
                        self.apply(command);
                    }
                }
            }
            Action::Resolved(ticket, Outcome::ReadAt(_)) => self.answer(ticket),
            Action::Resolved(_, Outcome::Committed(_)) => {} // answered when it is applied
            Action::Resolved(ticket, _) => drop(self.clients.remove(&ticket)), // not leading, say
            _ => {} // for people, for other members, for logs that are cut
        }
    }

    fn ask_log(&self, request: LogRequest) {
        // A log that has stopped has ended the process.
        let _ = self.log.requests().send(request);
    }

    fn apply(&mut self, command: &[u8]) {
        let Ok(request) = command.try_into().map(u64::from_le_bytes) else { return };
        self.counter.apply(request);
        self.answer(Ticket::new(request));
    }

    fn answer(&mut self, ticket: Ticket) {
        if let Some(client) = self.clients.remove(&ticket) {
            // It may have lost its patience.
            let _ = client.send(self.counter.count);
        }
    }
}

/// A thread that writes and reads the log. What it reports has happened, as far as a disk can say.
fn start_log(
    log: Log<FileDisk>,
    inside: Sender<Event>,
) -> std::io::Result<LogThread<Log<FileDisk>>> {
    LogThread::spawn(log, Some(MAX_WAITING_WRITES), move |event| {
        let input = match event {
            LogEvent::Persisted(id) => Input::Persisted(id),
            LogEvent::Read(read) => Input::LogRead(read),
            // A full disk: what was asked for waits until there is room again.
            LogEvent::Room(room) => return eprintln!("room for the log: {room:?}"),
            LogEvent::Failed(why) => {
                // Nobody knows what the disk holds now: only a new start can tell.
                eprintln!("the log has failed: {why}");
                std::process::exit(1);
            }
        };
        // The loop may be gone already; then nobody waits for this.
        let _ = inside.send(Event::Input(input));
    })
}

fn start_network(
    id: NodeId,
    members: &Members,
    listener: TcpListener,
    directory: Directory,
    outside: Sender<Event>,
) -> Result<Network, Box<dyn Error>> {
    let others = members.iter().filter(|(peer, _)| **peer != id);
    let peers = others.map(|(peer, address)| (*peer, address.clone())).collect();
    let mut config = raft_net_tcp::Config::new(id, CLUSTER_ID, listener.local_addr()?, peers);
    config.directory = Some(directory);
    let network = Network::start_on(listener, config, move |event| {
        let input = match event {
            NetEvent::Message(message) => Input::Message(message),
            NetEvent::Unreachable(peer) => Input::Unreachable(peer),
            // Its log is never cut, so it sends no snapshots.
            NetEvent::Connected { .. } | NetEvent::SnapshotSent { .. } => return,
            NetEvent::PeerRefused { peer, refusal } => {
                eprintln!("{peer} refuses to talk to {id}: {refusal}");
                if refusal.code == RefusalCode::Directory {
                    // It may have promised what it does not know any more.
                    std::process::exit(1);
                }
                return;
            }
        };
        let _ = outside.send(Event::Input(input));
    })?;
    Ok(network)
}
