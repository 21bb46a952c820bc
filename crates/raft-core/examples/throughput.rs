//! How many commands a second the protocol alone can carry: three nodes on one thread, no clock, no
//! disk and no network, 16-byte commands, with so many proposed at a time.
//!
//! `cargo run --release -p raft-core --example throughput`

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use raft_core::{
    Action, Boot, ClusterConfig, Command, Config, Input, Message, NodeId, Outcome, PersistId, Raft,
    RoleKind, Ticket, Time,
};

/// How long each depth is measured.
const MEASURE: Duration = Duration::from_secs(1);

struct Cluster {
    nodes: Vec<Raft>,
    messages: VecDeque<Message>,
    /// For each node, the write that becomes durable next.
    writes: Vec<Option<PersistId>>,
    actions: Vec<Action>,
    committed: u64,
    /// Applied on all nodes together.
    applied: u64,
}

impl Cluster {
    /// Three nodes, the first of which leads.
    fn new() -> Self {
        let ids = [1, 2, 3].map(NodeId::new);
        let restore = |id| {
            let boot = Boot::new(ClusterConfig::of_voters(ids));
            Raft::restore(Config::new(id), boot, Time::ZERO).expect("the configuration fits")
        };
        let mut cluster = Self {
            nodes: ids.map(restore).into(),
            messages: VecDeque::new(),
            writes: vec![None; ids.len()],
            actions: Vec::new(),
            committed: 0,
            applied: 0,
        };
        (0..ids.len()).for_each(|node| cluster.step(node, Input::Wake));
        cluster.settle();
        let deadline = cluster.nodes[0].deadline();
        cluster.step_at(deadline, 0, Input::Wake);
        cluster.settle();
        assert_eq!(cluster.nodes[0].status().role, RoleKind::Leader);
        cluster
    }

    fn step(&mut self, node: usize, input: Input) {
        self.step_at(Time::ZERO, node, input);
    }

    fn step_at(&mut self, now: Time, node: usize, input: Input) {
        self.nodes[node].step(now, input, &mut self.actions);
        for action in self.actions.drain(..) {
            match action {
                Action::Send(message) => self.messages.push_back(message),
                Action::Persist(write) => self.writes[node] = Some(write.id),
                Action::Resolved(_, Outcome::Committed(_)) => self.committed += 1,
                Action::Apply(entries) => self.applied += entries.len() as u64,
                Action::Resolved(..) | Action::ReadLog(_) => unreachable!("nothing is refused"),
                Action::SendSnapshot(_) | Action::InstallSnapshot(_) | Action::Compact(_) => {
                    unreachable!("the log is never cut")
                }
                Action::RoleChanged(_) | Action::ConfigChanged(_) | Action::Trace(_) => {}
            }
        }
    }

    /// Lets everything arrive and become durable.
    fn settle(&mut self) {
        loop {
            if let Some(message) = self.messages.pop_front() {
                let node = usize::try_from(message.to.get() - 1).expect("one of three");
                self.step(node, Input::Message(message));
            } else if let Some(node) = self.writes.iter().position(Option::is_some) {
                let write = self.writes[node].take().expect("it was just found");
                self.step(node, Input::Persisted(write));
            } else {
                return;
            }
        }
    }

    fn propose(&mut self, depth: usize, command: &Command) {
        let (ticket, command) = (Ticket::new(0), command.clone());
        let input = match depth {
            1 => Input::ProposeOne(ticket, command),
            _ => Input::Propose(vec![(ticket, command); depth]),
        };
        self.step(0, input);
        self.settle();
    }
}

fn main() {
    let command: Command = [7_u8; 16].into();
    for depth in [1, 16, 256] {
        let mut cluster = Cluster::new();
        let start = Instant::now();
        while start.elapsed() < MEASURE {
            for _ in 0..100 {
                cluster.propose(depth, &command);
            }
        }
        let elapsed = start.elapsed();
        let per_command = elapsed.as_nanos() / u128::from(cluster.committed);
        let rate = 1_000_000_000 / per_command.max(1);
        println!("depth {depth:>3}: {rate:>9} commands/s, {per_command:>5} ns each");
        assert!(cluster.applied >= cluster.committed);
    }
}
