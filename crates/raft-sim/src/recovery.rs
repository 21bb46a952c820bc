//! The end of a run: the faults end for a majority of the nodes, and for them everything has to go
//! well from then on.
//!
//! All nodes are healed, or only a random majority. The others stay as they are for ever: down,
//! stopped, deaf, dumb, or with clocks that run wild. Then, within a bounded time and a bounded
//! number of elections, a write is accepted, each healed node serves a read that was asked after
//! it, and every ticket given to a healed node has its outcome. The time is bounded between one
//! step forward and the next: a long log takes long to send where windows are small.
//!
//! After that, nothing is lost any more, and the healed nodes keep the leader they have: none of
//! them even looks for another, whatever the others say (partial connectivity).

use raft_core::Input;

use crate::clients::{Asker, Fate};
use crate::coverage::Mark;
use crate::dice::Dice;
use crate::network::Links;
use crate::queue::Event;
use crate::violation::{Checked, check};
use crate::world::World;

/// A recovery takes fewer elections than this.
const MAX_ELECTIONS: u64 = 20;

/// In so many times the longest election timeout, something has come forward. A sync that began
/// before the faults ended may take a good part of it.
const MAX_TIMEOUTS: u32 = 40;

/// So many times the longest election timeout it takes until everybody follows the leader, once
/// nothing is lost; and so many more it is watched.
const SETTLING_TIMEOUTS: u32 = 3;
const WATCHED_TIMEOUTS: u32 = 8;

/// What a recovery has come to.
#[derive(Debug)]
pub(crate) struct Recovery {
    is_healed: Vec<bool>,
    /// A write that was asked for since.
    write: Option<usize>,
    /// For each node, a read that was asked for after that was done.
    reads: Vec<Option<usize>>,
    is_done: bool,
    /// From now on, nobody has a reason to look for another leader.
    is_settled: bool,
}

impl World {
    /// Ends the faults, and lets the cluster recover.
    pub(crate) fn recover(&mut self) -> Checked {
        let mut dice = Dice::new(self.scenario.seed, "recovery");
        let count = self.nodes.len();
        let is_healed = choose(&mut dice, count);
        let is_all = is_healed.iter().all(|is_healed| *is_healed);
        self.coverage.reach(if is_all { Mark::RecoveredAll } else { Mark::RecoveredMajority });
        self.trace.note(self.now, || format!("the faults end: {is_healed:?}"));
        self.network.calm_down();
        for outsider in (0..count).filter(|at| !is_healed[*at]) {
            self.network.cut(estrange(&mut dice, outsider));
        }
        let reads = vec![None; count];
        let healed: Vec<usize> = (0..count).filter(|at| is_healed[*at]).collect();
        self.recovery =
            Some(Recovery { is_healed, write: None, reads, is_done: false, is_settled: false });
        for at in healed {
            let node = &mut self.nodes[at];
            node.storage.calm_down();
            node.ambush = None;
            node.clock.mend(self.now);
            self.resume(at)?;
            self.restart(at)?;
            self.set_timer(at);
        }
        self.queue.push(self.now, Event::Probe);
        self.wait_for_recovery()?;
        self.watch()
    }

    /// Lets the recovered cluster be, and looks whether it is content.
    fn watch(&mut self) -> Checked {
        self.network.lose_nothing();
        let election = self.scenario.timing.election_max;
        let settled = self.now + SETTLING_TIMEOUTS * election;
        while self.now < settled {
            self.step()?;
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.is_settled = true;
        }
        let end = self.now + WATCHED_TIMEOUTS * election;
        while self.now < end {
            self.step()?;
        }
        Ok(())
    }

    /// A node looks for another leader.
    pub(crate) fn check_content(&self, at: usize) -> Checked {
        let is_settled = self.recovery.as_ref().is_some_and(|recovery| recovery.is_settled);
        let is_right = !is_settled || self.is_given_up(at);
        check(is_right, "healthy nodes keep the leader they have", || {
            format!("{} looks for another than {:?}", self.nodes[at].id, self.leader())
        })
    }

    fn wait_for_recovery(&mut self) -> Checked {
        let patience = MAX_TIMEOUTS * self.scenario.timing.election_max;
        let elections = self.coverage.count(Mark::Elected) + MAX_ELECTIONS;
        let (mut limit, mut reached) = (self.now + patience, 0);
        while self.recovery.as_ref().is_some_and(|recovery| !recovery.is_done) {
            self.step()?;
            let progress = self.progress();
            if progress > reached {
                (limit, reached) = (self.now + patience, progress);
            }
            let is_early = self.now <= limit && self.coverage.count(Mark::Elected) <= elections;
            check(is_early, "a cluster recovers when the faults end", || self.obstacle())?;
        }
        Ok(())
    }

    /// How far the logs of the healed nodes have come: it may go back for a while, and grows in
    /// the end.
    fn progress(&self) -> u64 {
        let healed = (0..self.nodes.len()).filter(|at| !self.is_given_up(*at));
        let reached = healed.map(|at| {
            let node = &self.nodes[at];
            node.seen.commit.get() + node.storage.durable.last().index.get()
        });
        reached.sum()
    }

    /// Whether this node is left as it is.
    pub(crate) fn is_given_up(&self, at: usize) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| !recovery.is_healed[at])
    }

    /// Asks for what is missing, and looks whether everything is there.
    pub(crate) fn probe(&mut self) -> Checked {
        let Some(recovery) = &self.recovery else { return Ok(()) };
        if self.is_answered(recovery.write) {
            self.probe_reads()?;
        } else if !self.is_open(recovery.write) {
            self.probe_write()?;
        }
        self.conclude();
        Ok(())
    }

    fn probe_write(&mut self) -> Checked {
        let Some(at) = self.leader().filter(|at| !self.is_given_up(*at)) else { return Ok(()) };
        if let Some(recovery) = &mut self.recovery {
            recovery.write = Some(self.clients.asked());
        }
        let (node, floor) = (&self.nodes[at], self.oracle.commit());
        let write = self.clients.write(Asker::Probe, node, 0, self.steps, floor);
        self.input(at, Input::Propose(vec![write]))
    }

    fn probe_reads(&mut self) -> Checked {
        for at in 0..self.nodes.len() {
            let Some(recovery) = &self.recovery else { break };
            let read = recovery.reads[at];
            let is_asked = self.is_answered(read) || self.is_open(read);
            if !recovery.is_healed[at] || is_asked || !self.nodes[at].runs() {
                continue;
            }
            if let Some(recovery) = &mut self.recovery {
                recovery.reads[at] = Some(self.clients.asked());
            }
            let floor = self.oracle.commit();
            let input = self.clients.read(Asker::Probe, &self.nodes[at], 0, self.steps, floor);
            self.input(at, input)?;
        }
        Ok(())
    }

    fn conclude(&mut self) {
        let Some(recovery) = &self.recovery else { return };
        let healed = recovery.is_healed.iter().zip(&recovery.reads).zip(&self.nodes);
        let mut healed = healed.filter(|((is_healed, _), _)| **is_healed);
        let is_served = healed.all(|((_, read), _)| self.is_answered(*read));
        let is_done = is_served && self.unresolved().is_empty();
        if let Some(recovery) = &mut self.recovery {
            recovery.is_done = is_done;
        }
        if is_done {
            return;
        }
        let again = self.now + self.scenario.timing.election_min / 2;
        self.queue.push(again, Event::Probe);
    }

    /// The tickets of healed nodes that have no outcome.
    fn unresolved(&self) -> Vec<usize> {
        let healed = |at: &usize| !self.is_given_up(*at);
        let nodes = (0..self.nodes.len()).filter(healed).map(|at| self.nodes[at].id);
        self.clients.open(&nodes.collect::<Vec<_>>()).collect()
    }

    fn is_answered(&self, operation: Option<usize>) -> bool {
        let fate = operation.map(|operation| self.clients.fate(operation));
        matches!(fate, Some(Fate::Answered(_)))
    }

    fn is_open(&self, operation: Option<usize>) -> bool {
        let fate = operation.map(|operation| self.clients.fate(operation));
        matches!(fate, Some(Fate::Open | Fate::Committed(_)))
    }

    /// What is in the way of a recovery.
    fn obstacle(&self) -> String {
        let open = self.unresolved();
        let leader = self.leader().map(|at| self.nodes[at].id);
        let elections = self.coverage.count(Mark::Elected);
        format!(
            "leader {leader:?} after {elections} elections in all, {} operations without outcome \
             (the first is {:?}), {:?}",
            open.len(),
            open.first(),
            self.recovery
        )
    }
}

/// Everybody, or a bare majority.
fn choose(dice: &mut Dice, count: usize) -> Vec<bool> {
    let mut is_healed = vec![true; count];
    if dice.coin() {
        for _ in 0..count.saturating_sub(1) / 2 {
            is_healed[dice.place(count)] = false;
        }
    }
    is_healed
}

/// What an outsider is cut off from: everything, or all it could hear, or all that could hear it.
fn estrange(dice: &mut Dice, outsider: usize) -> Links {
    let is_dumb = Links::between(|from| from == outsider, |_| true);
    let is_deaf = Links::between(|_| true, |to| to == outsider);
    match dice.below(3) {
        0 => is_dumb,
        1 => is_deaf,
        _ => is_dumb.union(is_deaf),
    }
}
