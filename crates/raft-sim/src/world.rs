//! [`World`]: a whole cluster, its clients and its troubles, on one thread. Nothing happens but the
//! events of its queue, and each of them is one step.
//!
//! What a node does in a step is in `drive`, what befalls it in `mischief`, and how everything has
//! to end well in `recovery`.

use raft_core::{Action, Input, Message, Time};

use crate::asked::Occasion;
use crate::clients::{Clients, Question};
use crate::coverage::{Coverage, Mark};
use crate::faults::Fault;
use crate::linearizability;
use crate::nemesis::Nemesis;
use crate::network::Network;
use crate::node::{self, Node, seat};
use crate::operator::Operator;
use crate::oracle::Oracle;
use crate::planted::Blunder;
use crate::queue::{Event, Queue};
use crate::recovery::Recovery;
use crate::scenario::Scenario;
use crate::snapshots::Courier;
use crate::trace::Trace;
use crate::violation::{Checked, Violation};

/// More input than this does not wait for a stopped process: messages beyond it are lost.
const MAX_INBOX: usize = 64;

/// More events than this are never under way: messages beyond it are lost.
const MAX_QUEUE: usize = 20_000;

/// A whole cluster.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) now: Time,
    /// How many events have happened.
    pub(crate) steps: u64,
    pub(crate) queue: Queue,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) clients: Clients,
    pub(crate) nemesis: Nemesis,
    pub(crate) operator: Operator,
    pub(crate) courier: Courier,
    pub(crate) oracle: Oracle,
    /// A fault that waits for the next election.
    pub(crate) at_election: Option<Fault>,
    /// Once the faults have ended.
    pub(crate) recovery: Option<Recovery>,
    pub(crate) coverage: Coverage,
    pub(crate) trace: Trace,
    /// The actions of one step: kept for its memory.
    pub(crate) actions: Vec<Action>,
}

impl World {
    pub(crate) fn new(scenario: &Scenario, is_traced: bool) -> Self {
        Self {
            now: Time::ZERO,
            steps: 0,
            queue: Queue::default(),
            nodes: (0..scenario.seats()).map(|at| Node::new(scenario, at)).collect(),
            network: Network::new(scenario),
            clients: Clients::new(scenario),
            nemesis: Nemesis::new(scenario),
            operator: Operator::new(scenario),
            courier: Courier::new(scenario),
            oracle: Oracle::new(node::founders(scenario)),
            at_election: None,
            recovery: None,
            coverage: Coverage::default(),
            trace: Trace::new(is_traced),
            actions: Vec::new(),
            scenario: scenario.clone(),
        }
    }

    /// Lets the whole run happen: the part with faults, the recovery, and the judgement of what
    /// the clients have seen.
    pub(crate) fn run(&mut self) -> Checked {
        for at in 0..self.nodes.len() {
            self.restart(at)?;
        }
        for client in 0..self.clients.count() {
            self.think(client);
        }
        for fault in self.scenario.faults.iter().filter(|fault| fault.strikes()) {
            self.expect(fault);
        }
        while self.steps < self.scenario.steps {
            self.step()?;
        }
        self.recover()?;
        self.judge()
    }

    /// Lets the next event happen.
    pub(crate) fn step(&mut self) -> Checked {
        let Some((at, event)) = self.queue.pop() else {
            let detail = format!("nothing is under way after {} events", self.steps);
            return Err(Violation { rule: "a cluster is never still for ever", detail });
        };
        self.now = at;
        self.happen(event)
    }

    fn happen(&mut self, event: Event) -> Checked {
        // A timer that was set again, or for an earlier time, is not an event.
        if let Event::Wake(at) = event {
            return self.timer(at);
        }
        self.steps += 1;
        match event {
            Event::Wake(at) => self.timer(at),
            Event::Arrival { message, sent } => self.arrive(message, sent),
            Event::DiskDone { node, start } => self.disk_done(node, start),
            Event::Client(client) => self.ask(client),
            Event::Stranded { node, until } => self.ask_stranded(node, until),
            Event::Campaign(at) => self.call_election(at),
            Event::Impatience(operation) => {
                let client = self.clients.give_up(operation);
                self.release(client);
                Ok(())
            }
            Event::Strike(fault) => self.strike(fault),
            Event::StrikeElected(fault, at) => self.strike_elected(fault, at),
            Event::Mend(links) => {
                self.mend(links);
                Ok(())
            }
            Event::Lag(lag) => {
                self.lag(lag);
                Ok(())
            }
            Event::CatchUp(at) => {
                self.network.catch_up(at);
                Ok(())
            }
            Event::DamageAgain(at) => self.damage_again(at),
            Event::Restart(at) => self.restart(at),
            Event::Resume(at) => self.resume(at),
            Event::Probe => self.probe(),
            Event::Compact(at) => self.suggest_compaction(at),
            Event::Parcel { parcel, sent } => self.deliver(parcel, sent),
            Event::Receipt(receipt) => self.take_receipt(&receipt),
            Event::Installed { node, start } => self.end_install(node, start),
        }
    }

    /// Hands a message to the network.
    pub(crate) fn send(&mut self, message: Message) {
        let link = (seat(message.from), seat(message.to));
        if self.queue.len() > MAX_QUEUE {
            return;
        }
        if let Some(old) = self.nodes[link.0].echoes.answering(&message.body)
            && self.recovery.is_none()
            && self.network.echoes_now()
        {
            self.coverage.reach(Mark::MessageRepeated);
            let echo = Event::Arrival { message: old.clone(), sent: self.now };
            self.queue.push(self.now, echo);
        }
        let [first, second] = self.network.send(link, self.now, &mut self.coverage);
        let sent = self.now;
        if let Some(at) = second {
            self.queue.push(at, Event::Arrival { message: message.clone(), sent });
        }
        if let Some(at) = first {
            self.queue.push(at, Event::Arrival { message, sent });
        }
    }

    fn arrive(&mut self, message: Message, sent: Time) -> Checked {
        let (from, to) = (seat(message.from), seat(message.to));
        if !self.network.delivers((from, to), sent) || self.nodes[to].raft.is_none() {
            if let Some(more) = self.network.hold_back(&mut self.coverage) {
                self.queue.push(self.now + more, Event::Arrival { message, sent });
            }
            return Ok(());
        }
        if self.nodes[to].is_paused && self.nodes[to].inbox.len() >= MAX_INBOX {
            self.coverage.reach(Mark::InboxFull);
            return Ok(());
        }
        self.network.echo(&message, &mut self.nodes[to].echoes);
        self.input(to, Input::Message(message))
    }

    /// What a node heard before it started comes once more, within an election.
    pub(crate) fn repeat_echoes(&mut self, at: usize) {
        if self.recovery.is_some() {
            return;
        }
        for message in self.nodes[at].echoes.iter() {
            self.coverage.reach(Mark::MessageRepeated);
            let due = self.now + self.network.echoes_after(self.scenario.timing.election_max);
            self.queue.push(due, Event::Arrival { message: message.clone(), sent: self.now });
        }
    }

    /// Gives input to a node: at once, or when its process goes on; not at all if it is down.
    pub(crate) fn input(&mut self, at: usize, input: Input) -> Checked {
        let node = &mut self.nodes[at];
        if node.raft.is_none() {
            return Ok(());
        }
        if node.is_paused {
            node.inbox.push_back(input);
            return Ok(());
        }
        self.drive(at, input)
    }

    /// The node that leads the latest term, if its process runs.
    pub(crate) fn leader(&self) -> Option<usize> {
        let running = (0..self.nodes.len()).filter(|at| self.nodes[*at].runs());
        let leads = |at: &usize| {
            let node = &self.nodes[*at];
            node.seen.leads && self.oracle.leader_of(node.seen.led) == Some(node.id)
        };
        running.filter(leads).max_by_key(|at| self.nodes[*at].seen.led)
    }

    /// Something is asked of the node at this place, now.
    pub(crate) fn occasion(&self, at: usize) -> Occasion {
        let Node { id, start, .. } = self.nodes[at];
        Occasion { node: id, start, at: self.steps, floor: self.oracle.commit() }
    }

    /// A client thinks, and then asks.
    pub(crate) fn think(&mut self, client: usize) {
        if self.recovery.is_none() && !self.clients.is_done() {
            let at = self.now + self.clients.think();
            self.queue.push(at, Event::Client(client));
        }
    }

    /// A client that has nothing left to wait for, if it is one, goes on.
    pub(crate) fn release(&mut self, client: Option<usize>) {
        if let Some(client) = client {
            self.think(client);
        }
    }

    fn ask(&mut self, client: usize) -> Checked {
        if self.recovery.is_some() || self.clients.is_done() {
            return Ok(());
        }
        let leader = self.leader();
        let at = self.clients.choose(&self.nodes, leader);
        let at = self.clients.misled(&self.nodes).unwrap_or(at);
        let node = &self.nodes[at];
        if node.raft.is_none() {
            // Nobody is there: the connection is refused, and nothing was asked.
            self.think(client);
            return Ok(());
        }
        let occasion = self.occasion(at);
        let Question { input, operations } = self.clients.ask(client, occasion);
        for operation in operations.clone() {
            let gives_up = self.now + self.scenario.workload.patience;
            self.queue.push(gives_up, Event::Impatience(operation));
        }
        if self.scenario.has(Blunder::StaleRead) && matches!(input, Input::Read(..)) {
            self.clients.answer_at_once(operations.start, &self.nodes[at].machine, self.steps);
            self.think(client);
            return Ok(());
        }
        self.input(at, input)
    }

    /// Where reads rely on clocks, somebody reaches this leader alone from now on, and reads there
    /// for longer than a lease of its can last.
    pub(crate) fn strand_somebody(&mut self, at: usize) {
        if self.scenario.lease_drift.is_some() {
            let until = self.now + 2 * self.scenario.timing.election_max;
            self.queue.push(self.now, Event::Stranded { node: at, until });
        }
    }

    fn ask_stranded(&mut self, at: usize, until: Time) -> Checked {
        if self.recovery.is_some() || self.now > until || self.nodes[at].raft.is_none() {
            return Ok(());
        }
        let again = self.now + self.clients.think_stranded(self.scenario.timing.election_min);
        self.queue.push(again, Event::Stranded { node: at, until });
        self.coverage.reach(Mark::StrandedRead);
        let occasion = self.occasion(at);
        let input = self.clients.read_stranded(occasion);
        self.input(at, input)
    }

    /// What the clients have seen must be explained by a single copy.
    fn judge(&mut self) -> Checked {
        let history = self.clients.history(&mut self.coverage);
        self.coverage.reach(Mark::HistoryChecked);
        linearizability::check(&history).map_err(|refusal| Violation {
            rule: "the history of the clients is linearizable",
            detail: refusal.to_string(),
        })
    }
}
