//! One step of one node: the real core takes one input, everything is checked, and what it wants
//! is carried out.

use std::sync::Arc;

use raft_core::invariants::Before;
use raft_core::{
    Action, Body, DropReason, Entry, Event as Told, Input, Message, Outcome, Payload, Raft,
    ReadMode, ReadPurpose, RoleKind, Ticket, VoteAnswer, Write,
};

use crate::asked::What;
use crate::coverage::{Coverage, Mark};
use crate::faults::Fault;
use crate::nemesis::{Moment, Stop};
use crate::node::{Node, Seen};
use crate::planted::Blunder;
use crate::queue::Event;
use crate::show;
use crate::storage::{Done, End};
use crate::violation::{Checked, Violation, check};
use crate::world::World;

impl World {
    /// Takes one step of a node whose process runs.
    pub(crate) fn drive(&mut self, at: usize, input: Input) -> Checked {
        let node = &mut self.nodes[at];
        let Some(raft) = &mut node.raft else { return Ok(()) };
        let now = node.clock.read(self.now);
        let id = node.id;
        self.trace.note(self.now, || format!("{id} {}", show::input(&input)));
        let lease_asked = match &input {
            Input::Read(ticket, ReadMode::Lease) => Some(*ticket),
            _ => None,
        };
        let asked_to_lead = match &input {
            Input::Message(Message { body: Body::TimeoutNow { last }, .. }) => Some(*last),
            _ => None,
        };
        let change_asked = match &input {
            Input::ChangeConfig(ticket, _) => Some(*ticket),
            _ => None,
        };
        if let Input::TransferLeadership(ticket, _) = &input {
            self.operator.begun(id, *ticket);
        }
        let before = Before::of(raft);
        let mut actions = std::mem::take(&mut self.actions);
        raft.step(now, input, &mut actions);
        before.check(raft).map_err(|violation| Violation {
            rule: violation.rule,
            detail: format!("{id} breaks an invariant of its own"),
        })?;
        // The disk is told first and the oracle looks next, so that the other actions are judged
        // by what is true after the step.
        for action in &actions {
            if let Action::Persist(write) = action {
                check_replaced(node, write)?;
                self.oracle.written(node, write)?;
                let change = write.entries.iter().rfind(|entry| is_config(entry));
                if let (Some(ticket), Some(entry)) = (change_asked, change) {
                    self.operator.placed(ticket, entry.at);
                }
                node.storage.write(write.clone())?;
            }
        }
        self.observe(at)?;
        for action in actions.drain(..) {
            self.trace.note(self.now, || format!("{id}    {}", show::action(&action)));
            if let Action::Resolved(ticket, Outcome::ReadAt(_)) = &action
                && lease_asked == Some(*ticket)
            {
                self.check_lease(at)?;
            }
            if let Action::Trace(Told::AskedToLead { by }) = &action {
                let last = self.nodes[at].storage.newest.last();
                check(asked_to_lead == Some(last), "who takes over has the leader's log", || {
                    format!("{id} does for {by} at {last}, and was asked at {asked_to_lead:?}")
                })?;
            }
            self.carry_out(at, action)?;
        }
        self.actions = actions;
        self.start_disk(at);
        self.set_timer(at);
        Ok(())
    }

    fn observe(&mut self, at: usize) -> Checked {
        let Some(raft) = &self.nodes[at].raft else { return Ok(()) };
        let (commit, term, leads) = (raft.commit(), raft.term(), raft.role() == RoleKind::Leader);
        let known = self.oracle.commit();
        let seen = self.nodes[at].seen.commit;
        check(commit >= seen, "the commit index never goes back", || {
            format!("{} goes back from {seen} to {commit}", self.nodes[at].id)
        })?;
        self.oracle.observe(&self.nodes, at, raft)?;
        let node = &mut self.nodes[at];
        let led = if leads { term } else { node.seen.led };
        let cluster = Arc::clone(node.cluster());
        node.seen = Seen { commit, led, leads, cluster };
        for entry in node.storage.newest.entries_after(known) {
            if entry.at.index > commit {
                break;
            }
            self.clients.committed(entry, self.operator.ticket_at(entry.at))?;
            if let Payload::Config(config) = &entry.payload {
                let (_, old) = node.cluster_at(entry.at.index.prev());
                if config.outgoing.is_some() {
                    self.coverage.reach(Mark::JointEntered);
                } else if old.outgoing.is_some() {
                    self.coverage.reach(Mark::JointLeft);
                }
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, at: usize, action: Action) -> Checked {
        match action {
            Action::Send(message) => {
                self.oracle.sent(&self.nodes, at, &message)?;
                self.send(message);
                Ok(())
            }
            // The disk was told before everything else.
            Action::Persist(_) | Action::RoleChanged(_) | Action::ConfigChanged(_) => Ok(()),
            Action::Apply(entries) => entries.iter().try_for_each(|entry| self.apply(at, entry)),
            Action::ReadLog(read) => {
                self.coverage.reach(match read.purpose {
                    ReadPurpose::Apply => Mark::ReadLogToApply,
                    ReadPurpose::Replicate(_) => Mark::ReadLogForPeer,
                });
                self.nodes[at].storage.read(read);
                Ok(())
            }
            Action::Resolved(ticket, outcome) => {
                self.check_outcome(at, ticket, outcome)?;
                let (node, steps) = (&self.nodes[at], self.steps);
                let resolved =
                    self.clients.resolved(node, ticket, outcome, steps, &mut self.coverage)?;
                self.release(resolved);
                Ok(())
            }
            Action::SendSnapshot(request) => self.send_snapshot(at, request),
            Action::InstallSnapshot(snapshot) => self.begin_install(at, &snapshot),
            Action::Compact(upto) => self.compact(at, upto),
            Action::Trace(told) => {
                count(&told, &mut self.coverage);
                match told {
                    Told::ElectionTimeout { .. } => self.check_content(at)?,
                    Told::Recovered { .. } => self.oracle.recovered(&self.nodes[at])?,
                    Told::Elected { .. } => {
                        if let Some(fault) = self.at_election.take() {
                            self.queue.push(self.now, Event::StrikeElected(fault, at));
                        }
                    }
                    _ => {}
                }
                check(
                    self.may_be_told(&told),
                    "a correct node sends nothing that makes no sense",
                    || format!("{} drops a message: {told:?}", self.nodes[at].id),
                )
            }
        }
    }

    /// A change is made as it was asked for, and leadership went to the node it was to go to.
    fn check_outcome(&self, at: usize, ticket: Ticket, outcome: Outcome) -> Checked {
        match (outcome, self.clients.what(ticket)) {
            (Outcome::Committed(position), Some(what)) => {
                let is_committed = self.oracle.committed(position.index) == Some(position);
                check(is_committed, "what is told as committed is", || {
                    format!("{} says that {position} is", self.nodes[at].id)
                })?;
                if what != What::Change {
                    return Ok(());
                }
                self.operator.check_done(ticket, position, self.oracle.config(position))
            }
            (Outcome::Transferred, Some(What::Transfer(to))) => {
                check(self.oracle.has_led(to), "who was handed the leadership leads", || {
                    format!("{} says that {to} leads", self.nodes[at].id)
                })
            }
            _ => Ok(()),
        }
    }

    /// A read was answered at once, by a leader that is alone or has a lease.
    fn check_lease(&mut self, at: usize) -> Checked {
        let node = &self.nodes[at];
        let others = node.cluster().voters.iter().filter(|id| **id != node.id).count();
        if others == 0 {
            return Ok(());
        }
        self.coverage.reach(Mark::LeaseRead);
        let handing_over = self.operator.transfer_at(node.id);
        let is_open = handing_over.is_some_and(|ticket| self.clients.is_open(ticket, node.start));
        check(!is_open, "no read relies on a lease during a hand-over", || {
            format!("{} answers one", self.nodes[at].id)
        })
    }

    /// Correct nodes have nothing to drop but what comes from nodes that were removed, or are not
    /// known to be members yet.
    fn may_be_told(&self, told: &Told) -> bool {
        match told {
            Told::MessageDropped { reason: DropReason::UnknownSender, .. } => {
                self.scenario.faults.has(Fault::Changes)
            }
            Told::MessageDropped { .. } => false,
            _ => true,
        }
    }

    fn apply(&mut self, at: usize, entry: &Entry) -> Checked {
        let node = &mut self.nodes[at];
        let follows = entry.at.index == node.machine.applied.index.next();
        let is_free = node.installing.is_none();
        check(is_free, "nothing is applied while a snapshot is installed", || {
            format!("{} applies {}", node.id, entry.at)
        })?;
        check(follows, "entries are applied one after the other", || {
            format!("{} applies {} after {}", node.id, entry.at, node.machine.applied)
        })?;
        let skips =
            self.scenario.has(Blunder::SkippedEntry) && at == 0 && entry.at.index.get() == 20;
        let applied = if skips {
            node.machine.skip(entry);
            None
        } else {
            node.machine.apply(entry)
        };
        let save_every = self.scenario.workload.save_every;
        if save_every.is_some_and(|every| entry.at.index.get().is_multiple_of(every)) {
            node.saved = node.machine.clone();
            self.expect_compaction(at);
        }
        let node = &self.nodes[at];
        if entry.at.index.get() == 1 && at >= self.scenario.nodes {
            self.coverage.reach(Mark::Joined);
        }
        self.oracle.applied(node, entry, &node.machine)?;
        let Some((command, replaced)) = applied else { return Ok(()) };
        let (steps, coverage) = (self.steps, &mut self.coverage);
        let done = self.clients.applied(node, command, replaced, steps, coverage)?;
        self.release(done);
        Ok(())
    }

    /// Has the disk begin what waits, if it is idle.
    pub(crate) fn start_disk(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if let Some(takes) = node.storage.start(&mut self.coverage) {
            let done = Event::DiskDone { node: at, start: node.start };
            self.queue.push(self.now + takes, done);
        }
    }

    pub(crate) fn disk_done(&mut self, at: usize, start: u64) -> Checked {
        let node = &mut self.nodes[at];
        if node.start != start || node.raft.is_none() {
            return Ok(());
        }
        let is_writing = node.storage.is_writing();
        let ambush = node.ambush.take_if(|_| is_writing);
        if let Some((stop, Moment::WhileWriting)) = ambush {
            return self.stop(at, stop);
        }
        let done = node.storage.finish(&mut self.coverage)?;
        if node.runs() {
            self.start_disk(at);
        }
        match done {
            Done::Nothing => Ok(()),
            Done::Persisted(id) => {
                self.input(at, Input::Persisted(id))?;
                ambush.map_or(Ok(()), |(stop, _)| self.stop(at, stop))
            }
            Done::Read(read) => self.input(at, Input::LogRead(read)),
            Done::Failed => {
                let lasts = self.scenario.timing.election_min;
                self.stop(at, Stop { end: End::Kill, lasts })
            }
        }
    }

    /// Sets the timer of a node whose process runs.
    pub(crate) fn set_timer(&mut self, at: usize) {
        let node = &self.nodes[at];
        let Some(deadline) = node.raft.as_ref().map(Raft::deadline) else { return };
        self.queue.set_timer(at, Some(node.clock.reaches(deadline, self.now)));
    }

    pub(crate) fn timer(&mut self, at: usize) -> Checked {
        let node = &mut self.nodes[at];
        let Some(deadline) = node.raft.as_ref().map(Raft::deadline) else { return Ok(()) };
        if node.is_paused {
            return Ok(());
        }
        if deadline > node.clock.read(self.now) {
            self.set_timer(at);
            return Ok(());
        }
        self.steps += 1;
        self.drive(at, Input::Wake)?;
        let node = &mut self.nodes[at];
        let now = node.clock.read(self.now);
        let is_over = node.raft.as_ref().is_none_or(|raft| raft.deadline() > now);
        check(is_over, "a node that was woken sleeps again", || {
            format!("{} wants to be woken for ever", node.id)
        })
    }
}

/// What is committed is never replaced, and a leader replaces nothing at all.
fn check_replaced(node: &Node, write: &Write) -> Checked {
    let Some(first) = write.entries.first() else { return Ok(()) };
    let (id, at, seen) = (node.id, first.at, &node.seen);
    check(at.index > seen.commit, "what is committed stays as it is", || {
        format!("{id} replaces {at} and what follows, committed up to {}", seen.commit)
    })?;
    let leads_on = seen.leads && write.hard_state.term == seen.led;
    let last = node.storage.newest.last();
    check(!leads_on || at.index > last.index, "a leader only appends to its log", || {
        format!("{id} replaces {at} of a log up to {last}")
    })
}

fn is_config(entry: &Entry) -> bool {
    matches!(entry.payload, Payload::Config(_))
}

fn count(told: &Told, coverage: &mut Coverage) {
    let mark = match told {
        Told::Elected { .. } => Mark::Elected,
        Told::QuorumLost { .. } => Mark::QuorumLost,
        Told::Truncated { .. } => Mark::Truncated,
        Told::Backtracked { .. } => Mark::Backtracked,
        Told::LeftOut { .. } => Mark::LeaderRemoved,
        Told::Recovered { .. } => Mark::LogRecovered,
        Told::AskedToLead { .. } => Mark::AskedToLead,
        Told::DiskStalled { .. } => Mark::DiskStalled,
        Told::VoteAsked { answer, .. } => match answer {
            VoteAnswer::AlreadyVoted => Mark::AlreadyVoted,
            VoteAnswer::LogBehind => Mark::LogBehind,
            VoteAnswer::LeaderAlive => Mark::LeaderAlive,
            VoteAnswer::OldTerm => Mark::OldTerm,
            VoteAnswer::Recovering => Mark::VoteWithheld,
            VoteAnswer::Granted => return,
        },
        _ => return,
    };
    coverage.reach(mark);
}
