//! [`World`]: a whole cluster of servers, their clients and their troubles, on one thread.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kv_server::replica::Event;
use raft_core::{Message, Time};

use super::agenda::{Agenda, Happening};
use super::clients::Clients;
use super::ledger::Ledger;
use super::mending::Mending;
use super::node::{End, Node, Refusal, client_address};
use super::plan::Plan;
use super::snapshots::{Receipt, Transfer};
use super::tally::Tally;
use super::trouble::{self, Cure};
use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::linearizability;
use crate::network::Network;
use crate::node::seat;
use crate::show;
use crate::trace::Trace;
use crate::violation::{Checked, Violation};

/// More steps than this are none of a run that makes any progress.
const MAX_STEPS: u64 = 3_000_000;

/// A whole cluster.
#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) now: Time,
    /// How many things have happened.
    pub(super) steps: u64,
    pub(super) agenda: Agenda,
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    pub(super) clients: Clients,
    pub(super) ledger: Ledger,
    pub(super) dice: Dice,
    /// Snapshots on their way, by their numbers, and how many there were.
    pub(super) transfers: BTreeMap<u64, Transfer>,
    pub(super) sent: u64,
    pub(super) receipts: Vec<Receipt>,
    /// Once the trouble is over.
    pub(super) mending: Option<Mending>,
    pub(super) tally: Tally,
    pub(super) trace: Trace,
    /// What the clock of the machine is taken to have shown at the beginning. What is asked of it
    /// is how much later it is, and that is simulated.
    pub(super) base: Instant,
}

impl World {
    pub(super) fn new(plan: &Plan, is_traced: bool) -> Self {
        let lateness = Duration::from_secs(1);
        Self {
            now: Time::ZERO,
            steps: 0,
            agenda: Agenda::default(),
            nodes: (0..plan.nodes).map(|at| Node::new(plan, at)).collect(),
            network: Network::with(plan.seed, plan.network, plan.faults, lateness),
            clients: Clients::new(plan),
            ledger: Ledger::new(plan.sizes.revisions),
            dice: trouble::dice(plan.seed),
            transfers: BTreeMap::new(),
            sent: 0,
            receipts: Vec::new(),
            mending: None,
            tally: Tally::default(),
            trace: Trace::new(is_traced),
            base: Instant::now(),
            plan: plan.clone(),
        }
    }

    /// Lets the whole run happen: the part with trouble, the mending, and the judgement of what the
    /// clients have seen.
    pub(super) fn run(&mut self) -> Checked {
        for at in 0..self.nodes.len() {
            self.start(at)?;
        }
        for client in 0..self.clients.count() {
            self.think(client);
        }
        self.later(self.plan.gap, Happening::Strike);
        let ends = self.now + self.plan.span;
        while self.now < ends {
            self.happen()?;
        }
        self.begin_mending()?;
        while !self.happen()? {}
        linearizability::check(&self.clients.history()).map_err(|refusal| Violation {
            rule: "the history of the clients is linearizable",
            detail: refusal.to_string(),
        })
    }

    /// Lets the next thing happen; `true` when everything is over.
    fn happen(&mut self) -> Result<bool, Violation> {
        let Some((at, happening)) = self.agenda.pop() else {
            let detail = format!("after {} steps", self.steps);
            return Err(Violation { rule: "a cluster is never still for ever", detail });
        };
        (self.now, self.steps) = (at, self.steps + 1);
        if self.steps > MAX_STEPS {
            let detail = format!("at {at:?}");
            return Err(Violation { rule: "a run comes to its end", detail });
        }
        match happening {
            Happening::Arrival { message, sent } => self.arrive(message, sent)?,
            Happening::Step { at, start, step } => {
                if self.nodes[at].process.as_ref().is_some_and(|it| it.start == start) {
                    self.step(at, step)?;
                }
            }
            Happening::Ask(client) => self.ask(client)?,
            Happening::Impatience(number) => self.lose_patience(number),
            Happening::Piece(transfer) => self.piece(transfer)?,
            Happening::Strike => self.strike()?,
            Happening::Cure(cure) => self.heal(&cure)?,
            Happening::Probe => return self.probe(),
        }
        self.hand_out_receipts()?;
        Ok(false)
    }

    /// Has something happen after this time.
    pub(super) fn later(&mut self, after: Duration, happening: Happening) {
        self.agenda.push(self.now + after, happening);
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        self.trace.note(self.now, line);
    }

    /// Hands a message to the network.
    pub(super) fn send(&mut self, message: &Message) {
        let link = (seat(message.from), seat(message.to));
        let sent = self.now;
        let arrivals = self.network.send(link, self.now, &mut Coverage::default());
        for at in arrivals.into_iter().flatten() {
            self.agenda.push(at, Happening::Arrival { message: message.clone(), sent });
        }
    }

    fn arrive(&mut self, message: Message, sent: Time) -> Checked {
        let (from, to) = (seat(message.from), seat(message.to));
        if !self.network.delivers((from, to), sent) {
            return Ok(());
        }
        self.trace.note(self.now, || format!("{} hears {}", message.to, show::message(&message)));
        self.turn(to, vec![Event::Message(message)])
    }

    /// The node that leads the latest term, as far as it knows.
    pub(super) fn leader(&self) -> Option<usize> {
        let leads = |at: &usize| {
            let process = self.nodes[*at].process.as_ref();
            process.filter(|process| process.leads).map(|it| it.replica.raft().term())
        };
        (0..self.nodes.len()).filter(|at| leads(at).is_some()).max_by_key(leads)
    }

    /// Starts the process of a node, if it is down. Where there is no room for that, it is tried
    /// again later.
    pub(super) fn start(&mut self, at: usize) -> Checked {
        if self.nodes[at].process.is_some() {
            return Ok(());
        }
        let (plan, now) = (&self.plan, self.now);
        match self.nodes[at].start(plan, now) {
            Ok(()) => {}
            Err(Refusal::System(why)) if self.nodes[at].is_bounded => {
                self.tally.reach("starts without room");
                self.note(|| format!("node {} does not start: {why}", at + 1));
                if self.mending.is_some() {
                    self.nodes[at].set_room(None);
                }
                self.later(Duration::from_millis(500), Happening::Cure(Cure::Start(at)));
                return Ok(());
            }
            Err(Refusal::System(detail)) => {
                let rule = "a node starts where there is room";
                return Err(Violation { rule, detail });
            }
            Err(Refusal::Broken(violation)) => return Err(violation),
        }
        self.note(|| format!("node {} starts", at + 1));
        let Some(process) = &self.nodes[at].process else { return Ok(()) };
        self.ledger.check_digest(at, process.machine.store().digest())?;
        self.turn(at, Vec::new())?;
        self.connect(at)
    }

    /// The processes that run, and the new one of this node, find each other.
    fn connect(&mut self, at: usize) -> Checked {
        let running = |node: &usize| *node != at && self.nodes[*node].process.is_some();
        let others: Vec<usize> = (0..self.nodes.len()).filter(running).collect();
        for other in others {
            for (node, peer) in [(at, other), (other, at)] {
                let peer = self.nodes[peer].id;
                let client_address = Some(client_address(peer));
                self.turn(node, vec![Event::Connected { peer, client_address }])?;
            }
        }
        Ok(())
    }

    /// The process of a node ends.
    pub(super) fn end(&mut self, at: usize, end: End) -> Checked {
        let Some(start) = self.nodes[at].process.as_ref().map(|process| process.start) else {
            return Ok(());
        };
        self.note(|| format!("the process of node {} ends: {end:?}", at + 1));
        self.break_transfers(at);
        self.nodes[at].end(end, &mut self.dice);
        self.forget_requests(at, start);
        let gone = self.nodes[at].id;
        for other in 0..self.nodes.len() {
            if other != at && self.dice.coin() {
                self.turn(other, vec![Event::Unreachable(gone)])?;
            }
        }
        Ok(())
    }

    /// A server is asked to stop, and is started again some time after it has.
    pub(super) fn ask_to_stop(&mut self, at: usize, lasts: Duration) -> Checked {
        let Some(process) = self.process(at) else { return Ok(()) };
        process.is_stopping = true;
        self.later(Duration::from_secs(3) + lasts, Happening::Cure(Cure::Start(at)));
        self.turn(at, vec![Event::Stop])
    }
}
