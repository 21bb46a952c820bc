//! The end of a run: the faults end for a majority of the members, and for them everything has to
//! go well from then on.
//!
//! All nodes are healed, or only so many as are needed, chosen at random: a majority of the last
//! committed configuration, and of each that may yet turn out to be in force. The others stay as
//! they are for ever: down, stopped, deaf, dumb, or with clocks that run wild. Then, within a
//! bounded time and a bounded number of elections, a write is accepted, each healed member serves a
//! read that was asked after it, and every ticket given to a healed member has its outcome. (Nobody
//! tells a node that was removed what became of its tickets.) The time is bounded between one step
//! forward and the next: a long log takes long to send where windows are small.
//!
//! After that, nothing is lost any more, and the healed nodes keep the leader they have: none of
//! them even looks for another, whatever the others say (partial connectivity). Only a node that
//! was asked to take over while there were faults may still do so, once its disk lets it.

use raft_core::{Index, Input, Raft};

use crate::asked::{Asker, Fate};
use crate::coverage::Mark;
use crate::dice::Dice;
use crate::network::Links;
use crate::node::seat;
use crate::oracle::is_quorum;
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
        self.withdraw_changes();
        let count = self.nodes.len();
        let Some(is_healed) = self.choose(&mut dice) else {
            self.coverage.reach(Mark::TooManyDamaged);
            return Ok(());
        };
        let is_all = is_healed.iter().all(|is_healed| *is_healed);
        self.coverage.reach(if is_all { Mark::RecoveredAll } else { Mark::RecoveredMajority });
        if self.oracle.cluster().0 > Index::ZERO {
            self.coverage.reach(Mark::RecoveredChanged);
        }
        self.trace.note(self.now, || format!("the faults end: {is_healed:?}"));
        self.network.calm_down();
        self.courier.calm_down();
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

    /// No change of members waits in the inbox of a process that was stopped: once begun, it could
    /// take more nodes than are healed.
    fn withdraw_changes(&mut self) {
        for node in &mut self.nodes {
            let is_change = |input: &mut Input| matches!(input, Input::ChangeConfig(..));
            while let Some(at) = node.inbox.iter_mut().position(is_change) {
                if let Some(Input::ChangeConfig(ticket, _)) = node.inbox.remove(at) {
                    self.clients.lose(ticket);
                }
            }
        }
    }

    /// Lets the recovered cluster be, and looks whether it is content.
    fn watch(&mut self) -> Checked {
        self.network.lose_nothing();
        let election = self.scenario.timing.election_max;
        let settled = self.now + SETTLING_TIMEOUTS * election;
        while self.now < settled {
            self.step()?;
        }
        let is_settled = !self.is_takeover_due();
        if let Some(recovery) = &mut self.recovery {
            recovery.is_settled = is_settled;
        }
        let end = self.now + WATCHED_TIMEOUTS * election;
        while self.now < end {
            self.step()?;
        }
        Ok(())
    }

    /// Whether a node that was not healed is in a later term than the healed: it was asked to take
    /// over before, and its disk holds back what it says of that, for as long as it likes. Then it
    /// is heard once, and costs an election: a node in a later term has to be let in again.
    fn is_takeover_due(&self) -> bool {
        let term = |at: usize| self.nodes[at].raft.as_ref().map(Raft::term);
        let (healed, others): (Vec<usize>, Vec<usize>) =
            (0..self.nodes.len()).partition(|at| self.is_healed_member(*at));
        others.into_iter().filter_map(term).max() > healed.into_iter().filter_map(term).max()
    }

    /// A node looks for another leader.
    pub(crate) fn check_content(&self, at: usize) -> Checked {
        let is_settled = self.recovery.as_ref().is_some_and(|recovery| recovery.is_settled);
        let is_right = !is_settled || !self.is_healed_member(at);
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

    /// Whether this node is left as it is: it was not chosen, or nobody can start it again.
    pub(crate) fn is_given_up(&self, at: usize) -> bool {
        let is_lost = self.nodes[at].storage.is_lost();
        self.recovery.as_ref().is_some_and(|recovery| is_lost || !recovery.is_healed[at])
    }

    /// Whether this node is healed, and belongs to the cluster as far as that is settled.
    fn is_healed_member(&self, at: usize) -> bool {
        !self.is_given_up(at) && self.oracle.cluster().1.is_member(self.nodes[at].id)
    }

    /// Everybody, or, in random order, as many as are needed. Who has no vote may be among them.
    /// Nobody, if too many logs are damaged.
    fn choose(&self, dice: &mut Dice) -> Option<Vec<bool>> {
        let count = self.nodes.len();
        let clusters = self.oracle.possible_clusters();
        let suffices = |is_healed: &[bool]| {
            let votes = |id| is_healed[seat(id)] && !self.nodes[seat(id)].is_recovering();
            clusters.iter().all(|cluster| is_quorum(cluster, votes))
        };
        if !suffices(&vec![true; count]) {
            return None;
        }
        if dice.coin() {
            return Some(vec![true; count]);
        }
        let mut is_healed = vec![false; count];
        let mut order: Vec<usize> = (0..count).collect();
        (1..count).rev().for_each(|at| order.swap(at, dice.place(at + 1)));
        for at in &order {
            is_healed[*at] = !suffices(&is_healed);
        }
        // Of those that came early, some may not be needed after all.
        let votes = |id| clusters.iter().any(|cluster| cluster.is_voter(id));
        for at in order.into_iter().filter(|at| votes(self.nodes[*at].id)) {
            let was_healed = std::mem::replace(&mut is_healed[at], false);
            is_healed[at] = was_healed && !suffices(&is_healed);
        }
        Some(is_healed)
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
        let (ticket, command) = self.clients.write(Asker::Probe, 0, self.occasion(at));
        self.input(at, Input::ProposeOne(ticket, command))
    }

    fn probe_reads(&mut self) -> Checked {
        for at in 0..self.nodes.len() {
            let Some(recovery) = &self.recovery else { break };
            let read = recovery.reads[at];
            let is_asked = self.is_answered(read) || self.is_open(read);
            if !self.is_healed_member(at) || is_asked || !self.nodes[at].runs() {
                continue;
            }
            if let Some(recovery) = &mut self.recovery {
                recovery.reads[at] = Some(self.clients.asked());
            }
            let input = self.clients.read(Asker::Probe, 0, self.occasion(at));
            self.input(at, input)?;
        }
        Ok(())
    }

    fn conclude(&mut self) {
        let Some(recovery) = &self.recovery else { return };
        let mut members = (0..self.nodes.len()).filter(|at| self.is_healed_member(*at));
        let is_served = members.all(|at| self.is_answered(recovery.reads[at]));
        let is_joint = self.oracle.cluster().1.outgoing.is_some();
        let mut members = (0..self.nodes.len()).filter(|at| self.is_healed_member(*at));
        let is_whole = members.all(|at| !self.nodes[at].is_recovering());
        let is_settled = !is_joint && is_whole;
        let is_done = is_served && is_settled && self.unresolved().is_empty();
        if let Some(recovery) = &mut self.recovery {
            recovery.is_done = is_done;
        }
        if is_done {
            return;
        }
        let again = self.now + self.scenario.timing.election_min / 2;
        self.queue.push(again, Event::Probe);
    }

    /// The tickets of healed members that have no outcome.
    fn unresolved(&self) -> Vec<usize> {
        let members = (0..self.nodes.len()).filter(|at| self.is_healed_member(*at));
        let members: Vec<_> = members.map(|at| self.nodes[at].id).collect();
        self.clients.open(&members).collect()
    }

    fn is_answered(&self, operation: Option<usize>) -> bool {
        let fate = operation.map(|operation| self.clients.fate(operation));
        matches!(fate, Some(Fate::Answered(_)))
    }

    /// Whether its outcome is yet to come. Who was removed meanwhile may never hear of it.
    fn is_open(&self, operation: Option<usize>) -> bool {
        let Some(operation) = operation else { return false };
        let is_told = self.is_healed_member(seat(self.clients.asked_of(operation)));
        is_told && matches!(self.clients.fate(operation), Fate::Open | Fate::Committed(_))
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
