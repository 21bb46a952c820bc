//! A replicated counter: three nodes on three threads, with channels for a network.
//!
//! `cargo run -p raft-core --example counter` counts to 5, kills the leader, counts on to 10 with
//! the two nodes that are left, and asks each of them what it holds: nothing is lost.
//!
//! Everything that a program needs round `raft-core` is here: a thread that waits for the next
//! message, client or deadline, and one `match` that does what the core says. Only the disk is
//! a vector, so a node that dies is gone: `crates/durable-counter` has files and sockets instead.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use raft_core::{
    Action, Boot, BootError, ClusterConfig, Config, Entry, Input, LogRead, Message, NodeId,
    Outcome, Payload, Raft, ReadLog, ReadMode, Ticket, Time,
};

/// What the thread of a node waits for.
enum Event {
    /// Another node said something.
    Message(Message),
    /// A client has a proposal or a read, under this ticket, and waits to be told the count.
    Request(Ticket, Input, Sender<u64>),
    /// The node dies, without a word to anybody.
    Kill,
}

/// The way to every node.
type Nodes = BTreeMap<NodeId, SyncSender<Event>>;

/// The state machine: all that it knows, it knows from the log.
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

struct Node {
    raft: Raft,
    started_at: Instant,
    events: Receiver<Event>,
    nodes: Nodes,
    /// The "disk". The entry at index 1 is the first.
    log: Vec<Entry>,
    counter: Counter,
    /// Who waits for an answer. To forget a client is an answer too: that it should ask again.
    clients: BTreeMap<Ticket, Sender<u64>>,
}

impl Node {
    fn now(&self) -> Time {
        Time::ZERO + self.started_at.elapsed()
    }

    fn run(mut self) {
        loop {
            // It is due at the deadline and harmless before, so every turn begins with it.
            self.step(Input::Wake);
            let patience = self.raft.deadline().since(self.now());
            match self.events.recv_timeout(patience) {
                Ok(Event::Message(message)) => self.step(Input::Message(message)),
                Ok(Event::Request(ticket, input, client)) => {
                    self.clients.insert(ticket, client);
                    self.step(input);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::Kill) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Gives one input to the core, and does what comes of it.
    fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut actions = Vec::new();
            self.raft.step(self.now(), input, &mut actions);
            inputs.extend(actions.into_iter().filter_map(|action| self.carry_out(action)));
        }
    }

    /// Does one thing for the core. Some things have an answer.
    fn carry_out(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Send(message) => {
                // A network may lose messages, so nobody minds a queue that is full or gone.
                let _ = self.nodes[&message.to].try_send(Event::Message(message));
            }
            Action::Persist(write) => {
                if let Some(first) = write.entries.first() {
                    let kept = |entry: &Entry| entry.at.index < first.at.index;
                    self.log.truncate(self.log.partition_point(kept));
                    self.log.extend_from_slice(&write.entries);
                }
                // With a real disk, this is sent when it has synced, from whatever thread.
                return Some(Input::Persisted(write.id));
            }
            Action::ReadLog(ReadLog { purpose, first, last, .. }) => {
                let wanted = |entry: &&Entry| (first..=last).contains(&entry.at.index);
                let entries = self.log.iter().filter(wanted).cloned().collect();
                return Some(Input::LogRead(LogRead { purpose, first, entries }));
            }
            Action::Apply(entries) => entries.iter().for_each(|entry| self.apply(entry)),
            Action::Resolved(ticket, Outcome::ReadAt(_)) => self.answer(ticket),
            Action::Resolved(_, Outcome::Committed(_)) => {} // answered when it is applied
            Action::Resolved(ticket, _) => drop(self.clients.remove(&ticket)), // not leading, say
            _ => {} // for people, for other members, for logs that are cut
        }
        None
    }

    fn apply(&mut self, entry: &Entry) {
        let Payload::Command(command) = &entry.payload else { return };
        let request = u64::from_le_bytes(command[..].try_into().expect("we wrote 8 bytes"));
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

fn start_cluster() -> Result<Nodes, BootError> {
    let channels = [1, 2, 3].map(|id| (NodeId::new(id), sync_channel(1000)));
    let nodes: Nodes = channels.iter().map(|(id, (sender, _))| (*id, sender.clone())).collect();
    for (id, (_, events)) in channels {
        let boot = Boot::new(ClusterConfig::of_voters(nodes.keys().copied()));
        let raft = Raft::restore(Config::new(id), boot, Time::ZERO)?;
        let (nodes, started_at) = (nodes.clone(), Instant::now());
        let (log, counter, clients) = Default::default();
        let node = Node { raft, started_at, events, nodes, log, counter, clients };
        thread::spawn(move || node.run());
    }
    Ok(nodes)
}

/// Asks one node after the other until one answers; says which, and the count.
fn ask(nodes: &Nodes, ticket: Ticket, input: &Input) -> Option<(NodeId, u64)> {
    nodes.iter().cycle().take(1000).find_map(|(id, node)| {
        let (reply, answer) = channel();
        node.send(Event::Request(ticket, input.clone(), reply)).ok()?;
        let count = answer.recv_timeout(Duration::from_secs(1));
        count.inspect_err(|_| thread::sleep(Duration::from_millis(10))).ok().map(|n| (*id, n))
    })
}

/// Asks for one more with each of these requests; says which node answered the last one.
fn count(nodes: &Nodes, requests: impl Iterator<Item = u64>) -> Option<NodeId> {
    let answers = requests.map(|request| {
        let (ticket, command) = (Ticket::new(request), request.to_le_bytes().as_slice().into());
        let (id, count) = ask(nodes, ticket, &Input::ProposeOne(ticket, command))?;
        println!("{id} counts to {count}");
        assert_eq!(count, request, "nothing is lost, and nothing counts twice");
        Some(id)
    });
    answers.last()?
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut nodes = start_cluster()?;
    let leader = count(&nodes, 1..=5).ok_or("no node counts")?;
    println!("{leader} leads, and is killed");
    nodes.remove(&leader).ok_or("it is gone already")?.send(Event::Kill)?;
    count(&nodes, 6..=10).ok_or("the two that are left do not count")?;
    for (id, node) in nodes {
        let only = Nodes::from([(id, node)]);
        let ticket = Ticket::new(11);
        let (_, count) = ask(&only, ticket, &Input::Read(ticket, ReadMode::Confirmed))
            .ok_or("it does not answer")?;
        println!("{id} reads {count}");
        assert_eq!(count, 10, "a read sees all that was counted, on whatever node");
    }
    Ok(())
}

#[test]
fn nothing_is_lost_when_the_leader_is_killed() -> Result<(), Box<dyn Error>> {
    main()
}
