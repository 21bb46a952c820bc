//! What no node can do without: nodes that take in the same inputs as `raft-core` and put out the
//! same actions, and decide nothing.
//!
//! They check no term, no position and no quorum; they believe that every message is the next one,
//! and every write the last. What is left is what the types cost that everything travels in: their
//! moves, the two atomic operations for each further owner of an entry, the allocation of a batch,
//! and keeping the end of the log. The distance to [`crate::ours`] is what the protocol costs.

use std::collections::VecDeque;

use raft_core::{
    Action, Body, Entries, Entry, HardState, Index, Input, Message, NodeId, Outcome, Payload,
    PersistId, Position, Term, Ticket, Write,
};

use crate::ours::{Core, Driven};

/// A cluster of three nodes or more that decide nothing.
pub type Floor = Driven<Mover>;

/// How many batches are kept, as a node keeps what others may lack.
const KEPT_BATCHES: usize = 1024;

/// A node that decides nothing. The first one leads.
#[derive(Debug)]
pub struct Mover {
    id: NodeId,
    others: Vec<NodeId>,
    last: Position,
    writes: PersistId,
    kept: VecDeque<Entries>,
    /// What was proposed and not answered.
    tickets: Vec<Ticket>,
    /// Where the first of them is.
    first: Position,
}

impl Core for Mover {
    fn start(id: NodeId, nodes: &[NodeId]) -> Self {
        Self {
            id,
            others: nodes.iter().copied().filter(|node| *node != id).collect(),
            last: Position::new(Term::new(1), Index::ZERO),
            writes: PersistId::ZERO,
            kept: VecDeque::new(),
            tickets: Vec::new(),
            first: Position::ORIGIN,
        }
    }

    fn step(&mut self, input: Input, out: &mut Vec<Action>) {
        match input {
            Input::ProposeOne(ticket, command) => {
                let at = Position::new(self.last.term, self.last.index.next());
                self.tickets.push(ticket);
                self.replicate(Entry { at, payload: Payload::Command(command) }.into(), out);
            }
            Input::Propose(proposals) => {
                let prev = self.last;
                let entry = |((ticket, command), number)| {
                    self.tickets.push(ticket);
                    let at = Position::new(prev.term, prev.index.plus(number));
                    Entry { at, payload: Payload::Command(command) }
                };
                let entries = proposals.into_iter().zip(1..).map(entry).collect();
                self.replicate(entries, out);
            }
            Input::Message(Message { from, body: Body::Append { entries, .. }, .. }) => {
                if let Some(committed) = self.kept.back() {
                    out.push(Action::Apply(committed.clone()));
                }
                self.others[0] = from;
                self.keep_and_write(entries, out);
            }
            Input::Persisted(_) if !self.leads() => {
                let (from, to, term) = (self.id, self.others[0], self.last.term);
                let body = Body::Appended { matched: self.last.index };
                out.push(Action::Send(Message { from, to, term, body }));
            }
            Input::Message(Message { body: Body::Appended { .. }, .. }) => {
                let first = self.first;
                for (ticket, number) in self.tickets.drain(..).zip(0..) {
                    let at = Position::new(first.term, first.index.plus(number));
                    out.push(Action::Resolved(ticket, Outcome::Committed(at)));
                    if number == 0 {
                        let entries = self.kept.back().cloned().unwrap_or_default();
                        out.push(Action::Apply(entries));
                    }
                }
            }
            _ => {}
        }
    }

    fn leads(&self) -> bool {
        self.id == NodeId::new(1)
    }
}

impl Mover {
    fn replicate(&mut self, entries: Entries, out: &mut Vec<Action>) {
        let (prev, term) = (self.last, self.last.term);
        self.first = Position::new(term, prev.index.next());
        for to in &self.others {
            let (entries, commit) = (entries.clone(), prev.index);
            let body = Body::Append { prev, entries, commit };
            out.push(Action::Send(Message { from: self.id, to: *to, term, body }));
        }
        self.keep_and_write(entries, out);
    }

    fn keep_and_write(&mut self, entries: Entries, out: &mut Vec<Action>) {
        self.last = entries.last_position().unwrap_or(self.last);
        if self.kept.len() == KEPT_BATCHES {
            self.kept.pop_front();
        }
        self.kept.push_back(entries.clone());
        self.writes = PersistId::new(self.writes.get() + 1);
        let hard_state = HardState { term: self.last.term, ..HardState::default() };
        let (id, commit) = (self.writes, self.last.index);
        out.push(Action::Persist(Write { id, hard_state, commit, reset: None, entries }));
    }
}
