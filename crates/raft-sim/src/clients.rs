//! [`Clients`]: who asks what of whom, and what became of it.
//!
//! A client asks one thing, or a burst of writes, and waits for the answers, though not for ever.
//! Every operation has a number, which is its ticket, the value that it puts, and its place in the
//! list of all; so do those of the operator and of the simulator itself.

use std::time::Duration;

use raft_core::{Entry, Index, Input, NodeId, Outcome, Payload, ReadMode, Rejection, Ticket};

use crate::asked::{Asked, Asker, Fate, Occasion, What};
use crate::coverage::{Coverage, Mark};
use crate::dice::Dice;
use crate::linearizability::{Answer, Call, Operation};
use crate::machine::{Command, Machine, Value};
use crate::node::Node;
use crate::scenario::{Scenario, Workload};
use crate::violation::{Checked, Violation, check};

/// How often a client asks the oldest leader, in a thousand times; and where there are several.
const MISLED: u64 = 150;
const MISLED_OFTEN: u64 = 500;

/// Everything that was ever asked.
#[derive(Debug)]
pub(crate) struct Clients {
    dice: Dice,
    /// For whoever reaches one node alone.
    stranded_dice: Dice,
    workload: Workload,
    /// Whether there are leases to read by.
    reads_by_lease: bool,
    /// How many operations may still be asked for.
    left: usize,
    /// How many operations each client waits for.
    waiting: Vec<usize>,
    asked: Vec<Asked>,
}

/// What a client asks next: the input for a node, and the operations in it.
pub(crate) struct Question {
    pub(crate) input: Input,
    pub(crate) operations: std::ops::Range<usize>,
}

impl Clients {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            dice: Dice::new(scenario.seed, "clients"),
            stranded_dice: Dice::new(scenario.seed, "stranded"),
            workload: scenario.workload,
            reads_by_lease: scenario.lease_drift.is_some(),
            left: scenario.operations,
            waiting: vec![0; scenario.workload.clients],
            asked: Vec::new(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// How many operations there were.
    pub(crate) fn asked(&self) -> usize {
        self.asked.len()
    }

    pub(crate) fn fate(&self, operation: usize) -> Fate {
        self.asked[operation].fate
    }

    /// Which node was asked.
    pub(crate) fn asked_of(&self, operation: usize) -> NodeId {
        self.asked[operation].node
    }

    /// What was asked for under this ticket.
    pub(crate) fn what(&self, ticket: Ticket) -> Option<What> {
        self.asked.get(usize::try_from(ticket.get()).ok()?).map(|asked| asked.what)
    }

    /// Whether this start of a node has yet to tell the outcome of this ticket.
    pub(crate) fn is_open(&self, ticket: Ticket, start: u64) -> bool {
        let place = usize::try_from(ticket.get()).unwrap_or(usize::MAX);
        self.asked.get(place).is_some_and(|asked| asked.is_open() && asked.start == start)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// How long a client thinks.
    pub(crate) fn think(&mut self) -> Duration {
        self.dice.around(self.workload.think)
    }

    /// Whom a client asks: the leader, if it believes there is one, or anybody.
    pub(crate) fn choose(&mut self, nodes: &[Node], leader: Option<usize>) -> usize {
        let anybody = self.dice.place(nodes.len());
        match leader {
            Some(leader) if self.dice.chance(self.workload.leader_per_mille) => leader,
            _ => anybody,
        }
    }

    /// Now and then, a client has not heard of the latest leader, and asks the one that has
    /// believed for the longest time to be it.
    pub(crate) fn misled(&mut self, nodes: &[Node]) -> Option<usize> {
        let leads = |at: &usize| nodes[*at].raft.is_some() && nodes[*at].seen.leads;
        let leaders = (0..nodes.len()).filter(leads);
        let often = if leaders.clone().count() > 1 { MISLED_OFTEN } else { MISLED };
        let oldest = leaders.min_by_key(|at| nodes[*at].seen.led);
        oldest.filter(|_| self.dice.chance(often))
    }

    /// What this client asks on this occasion.
    pub(crate) fn ask(&mut self, client: usize, occasion: Occasion) -> Question {
        let is_read = self.dice.chance(self.workload.read_per_mille);
        let burst = 1 + self.dice.place(usize::try_from(self.workload.burst).unwrap_or(1));
        let count = if is_read { 1 } else { burst.min(self.left) };
        self.left = self.left.saturating_sub(count);
        self.waiting[client] = count;
        let first = self.asked.len();
        if is_read {
            let key = self.key();
            let input = self.read(Asker::Client(client), key, occasion);
            return Question { input, operations: first..first + 1 };
        }
        let mut proposal = || {
            let key = self.key();
            self.write(Asker::Client(client), key, occasion)
        };
        let input = if count == 1 {
            let (ticket, command) = proposal();
            Input::ProposeOne(ticket, command)
        } else {
            Input::Propose((0..count).map(|_| proposal()).collect())
        };
        Question { input, operations: first..first + count }
    }

    /// How long somebody who reaches one node alone waits before the next question.
    pub(crate) fn think_stranded(&mut self, election: Duration) -> Duration {
        self.stranded_dice.around(election / 10)
    }

    /// What somebody asks who reaches one node alone.
    pub(crate) fn read_stranded(&mut self, occasion: Occasion) -> Input {
        let key = self.stranded_dice.below(u64::from(self.workload.keys));
        let what = What::Read(u8::try_from(key).unwrap_or(0));
        Input::Read(self.note(Asker::Stranded, what, occasion), ReadMode::Lease)
    }

    fn key(&mut self) -> u8 {
        u8::try_from(self.dice.below(u64::from(self.workload.keys))).unwrap_or(0)
    }

    /// Takes note of something that is asked now, by whomever.
    pub(crate) fn note(&mut self, by: Asker, what: What, occasion: Occasion) -> Ticket {
        self.asked.push(occasion.ask(by, what));
        Ticket::new(self.asked.len() as u64 - 1)
    }

    pub(crate) fn read(&mut self, by: Asker, key: u8, occasion: Occasion) -> Input {
        let is_by_lease = by != Asker::Probe && self.reads_by_lease && self.dice.coin();
        let mode = if is_by_lease { ReadMode::Lease } else { ReadMode::Confirmed };
        Input::Read(self.note(by, What::Read(key), occasion), mode)
    }

    pub(crate) fn write(
        &mut self,
        by: Asker,
        key: u8,
        occasion: Occasion,
    ) -> (Ticket, raft_core::Command) {
        let command = Command { number: self.asked.len() as u64, key };
        let ticket = self.note(by, What::Write(command), occasion);
        // What the simulator itself wants to write fits every limit.
        let is_padded = by != Asker::Probe;
        let padding = if is_padded { self.dice.below(self.workload.padding_bytes + 1) } else { 0 };
        let bytes = command.encode(usize::try_from(padding).unwrap_or(0));
        (ticket, bytes.into())
    }

    /// A node told the outcome of a ticket. Returns the client that has nothing left to wait for.
    pub(crate) fn resolved(
        &mut self,
        node: &Node,
        ticket: Ticket,
        outcome: Outcome,
        at: u64,
        coverage: &mut Coverage,
    ) -> Result<Option<usize>, Violation> {
        let number = usize::try_from(ticket.get()).unwrap_or(usize::MAX);
        let Some(asked) = self.asked.get(number).copied() else {
            check(false, "an outcome has a ticket that was given", || format!("{ticket:?}"))?;
            return Ok(None);
        };
        let is_its = asked.node == node.id && asked.start == node.start;
        check(is_its && asked.fate == Fate::Open, "a ticket has one outcome", || {
            format!("{} tells {outcome:?} of #{number}, which is {asked:?}", node.id)
        })?;
        let is_refusal = matches!(outcome, Outcome::Rejected(_) | Outcome::Overwritten);
        check(!is_refusal || !asked.is_committed, "what was refused is dead", || {
            format!("{} tells {outcome:?} of #{number}, which is committed", node.id)
        })?;
        count(asked.what, outcome, node, coverage);
        let fate = match (outcome, asked.what) {
            (Outcome::Committed(position), What::Write(_)) => Fate::Committed(position),
            (Outcome::ReadAt(index), What::Read(key)) => {
                check_read(node, number, index, asked.floor)?;
                Fate::Answered(Answer { at, value: node.machine.read(key) })
            }
            (Outcome::Committed(_), What::Change) | (Outcome::Transferred, What::Transfer(_)) => {
                Fate::Done
            }
            // Somebody else knows, but not this node any more.
            (Outcome::Unknown, What::Write(_) | What::Change) => Fate::Lost,
            (Outcome::Rejected(_), _) | (Outcome::Overwritten, What::Write(_) | What::Change) => {
                Fate::Refused
            }
            (Outcome::Committed(_), What::Read(_) | What::Transfer(_))
            | (
                Outcome::ReadAt(_) | Outcome::Overwritten | Outcome::Transferred | Outcome::Unknown,
                _,
            ) => {
                let rule = "an outcome fits what was asked";
                check(false, rule, || format!("#{number} is {asked:?} and {outcome:?}"))?;
                Fate::Lost
            }
        };
        self.asked[number].fate = fate;
        Ok(if matches!(fate, Fate::Committed(_)) { None } else { self.answer(number, coverage) })
    }

    /// A node has applied a command, which replaced this. Returns the client that has nothing left
    /// to wait for.
    pub(crate) fn applied(
        &mut self,
        node: &Node,
        command: Command,
        replaced: Value,
        at: u64,
        coverage: &mut Coverage,
    ) -> Result<Option<usize>, Violation> {
        let number = usize::try_from(command.number).unwrap_or(usize::MAX);
        let Some(asked) = self.asked.get(number) else { return Ok(None) };
        if asked.node != node.id || asked.start != node.start {
            return Ok(None);
        }
        let is_told = matches!(asked.fate, Fate::Committed(at) if at == node.machine.applied);
        check(is_told, "an outcome is told before its entry is applied", || {
            format!("{} applies #{number} at {}: {asked:?}", node.id, node.machine.applied)
        })?;
        self.asked[number].fate = Fate::Answered(Answer { at, value: replaced });
        Ok(self.answer(number, coverage))
    }

    /// An entry is committed, which was asked for under this ticket if it is a change of members:
    /// nobody may have been told that it never will be.
    pub(crate) fn committed(&mut self, entry: &Entry, change: Option<Ticket>) -> Checked {
        let number = match &entry.payload {
            Payload::Command(bytes) => Command::decode(bytes).map(|command| command.number),
            Payload::Config(_) if change.is_some() => change.map(Ticket::get),
            Payload::Config(_) | Payload::Noop => return Ok(()),
        };
        let place = number.and_then(|number| usize::try_from(number).ok());
        let asked = place.and_then(|place| self.asked.get_mut(place));
        let fate = asked.map(|asked| {
            asked.is_committed = true;
            asked.fate
        });
        check(fate.is_some_and(|fate| fate != Fate::Refused), "what was refused is dead", || {
            format!("operation {number:?} is committed at {}, and was {fate:?}", entry.at)
        })
    }

    fn answer(&mut self, number: usize, coverage: &mut Coverage) -> Option<usize> {
        if self.asked[number].by == Asker::Gone {
            coverage.reach(Mark::LateOutcome);
        }
        self.release(number)
    }

    /// Whoever waits for this operation waits no longer. Returns the client that has nothing left
    /// to wait for.
    pub(crate) fn give_up(&mut self, number: usize) -> Option<usize> {
        if !self.asked[number].is_open() {
            return None;
        }
        let free = self.release(number);
        self.asked[number].by = Asker::Gone;
        free
    }

    fn release(&mut self, number: usize) -> Option<usize> {
        let Asker::Client(client) = self.asked[number].by else { return None };
        self.waiting[client] -= 1;
        (self.waiting[client] == 0).then_some(client)
    }

    /// A snapshot took the place of the state of this node, and of what it was to apply up to
    /// there. Returns the clients that have nothing left to wait for.
    pub(crate) fn overtaken(&mut self, node: NodeId, upto: Index) -> Vec<usize> {
        let is_overtaken = |asked: &Asked| {
            let is_covered = matches!(asked.fate, Fate::Committed(at) if at.index <= upto);
            is_covered && asked.node == node
        };
        let all = 0..self.asked.len();
        let overtaken: Vec<_> = all.filter(|number| is_overtaken(&self.asked[*number])).collect();
        let ends = |number: usize| {
            self.asked[number].fate = Fate::Lost;
            self.release(number)
        };
        overtaken.into_iter().filter_map(ends).collect()
    }

    /// Answers a read from this state at once: a mistake to be noticed.
    pub(crate) fn answer_at_once(&mut self, number: usize, machine: &Machine, at: u64) {
        let asked = &mut self.asked[number];
        if let What::Read(key) = asked.what {
            asked.fate = Fate::Answered(Answer { at, value: machine.read(key) });
        }
    }

    /// What was asked for under this ticket never reaches the node.
    pub(crate) fn lose(&mut self, ticket: Ticket) {
        let place = usize::try_from(ticket.get()).unwrap_or(usize::MAX);
        if let Some(asked) = self.asked.get_mut(place) {
            asked.fate = Fate::Lost;
        }
    }

    /// The process of a node has ended. Returns how many proposals it took with it, and the clients
    /// that have nothing left to wait for.
    pub(crate) fn stopped(&mut self, node: NodeId) -> (usize, Vec<usize>) {
        let nodes = [node];
        let lost: Vec<_> = self.open(&nodes).collect();
        let mut proposals = 0;
        let ends = |number: usize| {
            self.asked[number].fate = Fate::Lost;
            proposals += usize::from(matches!(self.asked[number].what, What::Write(_)));
            self.release(number)
        };
        let free = lost.into_iter().filter_map(ends).collect();
        (proposals, free)
    }

    /// The operations that were asked of these nodes and have no outcome yet.
    pub(crate) fn open<'a>(&'a self, nodes: &'a [NodeId]) -> impl Iterator<Item = usize> + 'a {
        let is_at = |asked: &Asked| nodes.contains(&asked.node);
        let all = self.asked.iter().enumerate();
        all.filter(move |(_, asked)| asked.is_open() && is_at(asked)).map(|(number, _)| number)
    }

    /// What the clients have seen.
    pub(crate) fn history(&self, coverage: &mut Coverage) -> Vec<Operation> {
        let mut history = Vec::with_capacity(self.asked.len());
        // Reads of stranded clients are judged by what was committed when they came. To explain
        // them as well takes long where nobody else reads, and much has no known outcome.
        for asked in self.asked.iter().filter(|asked| asked.by != Asker::Stranded) {
            let (key, call) = match asked.what {
                What::Read(key) => (key, Call::Read),
                What::Write(Command { key, number }) => (key, Call::Write(Some(number))),
                What::Change | What::Transfer(_) => continue,
            };
            let answer = match asked.fate {
                Fate::Answered(answer) => Some(answer),
                Fate::Refused | Fate::Done => continue,
                Fate::Open | Fate::Committed(_) | Fate::Lost => {
                    coverage.reach(Mark::UnknownOutcome);
                    None
                }
            };
            history.push(Operation { key, call, invoked: asked.at, answer });
        }
        history
    }
}

/// A read must see everything that was committed when it was asked, and may be answered.
fn check_read(node: &Node, number: usize, index: Index, floor: Index) -> Checked {
    check(index >= floor, "a read sees everything committed before it", || {
        format!("#{number} may read at {index}, and {floor} was committed when it came")
    })?;
    let applied = node.machine.applied;
    check(applied.index >= index, "a read is answered when it may be served", || {
        format!("{} may answer #{number} at {index}, and has applied {applied}", node.id)
    })
}

fn count(what: What, outcome: Outcome, node: &Node, coverage: &mut Coverage) {
    let mark = match outcome {
        Outcome::Committed(_) if what == What::Change => Mark::MembersChanged,
        Outcome::Committed(_) => Mark::Written,
        Outcome::ReadAt(_) if node.seen.leads => Mark::ReadOnLeader,
        Outcome::ReadAt(_) => Mark::ReadOnFollower,
        Outcome::Overwritten if what == What::Change => Mark::ChangeOverwritten,
        Outcome::Overwritten => Mark::Overwritten,
        Outcome::Transferred => Mark::Transferred,
        Outcome::Unknown => Mark::OutcomeOvertaken,
        Outcome::Rejected(why) => return count_refusal(why, coverage),
    };
    coverage.reach(mark);
}

fn count_refusal(why: Rejection, coverage: &mut Coverage) {
    coverage.reach(match why {
        Rejection::NotLeader { .. } => Mark::NotLeader,
        Rejection::Busy => Mark::Busy,
        Rejection::TooLarge { .. } => Mark::TooLarge,
        Rejection::ChangeUnderWay => Mark::ChangeUnderWay,
        Rejection::NotReady => Mark::ChangeTooEarly,
        Rejection::NotCaughtUp { .. } => Mark::NotCaughtUp,
        Rejection::UnknownMember { .. } => Mark::UnknownMember,
        Rejection::NoVoters => Mark::NoVoters,
        Rejection::NoChange => Mark::NoChange,
        Rejection::TransferUnderWay { .. } => Mark::TransferUnderWay,
        Rejection::Leaving => Mark::LeaderLeaving,
        Rejection::TransferFailed { .. } => Mark::TransferFailed,
    });
}
