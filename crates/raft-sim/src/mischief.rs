//! What befalls nodes and links: processes end and start, stop and go on; links are cut; clocks go
//! wrong.

use std::sync::Arc;
use std::time::Duration;

use raft_core::{Input, Raft};

use crate::clock::Speed;
use crate::coverage::Mark;
use crate::faults::Fault;
use crate::machine::Machine;
use crate::nemesis::{Deed, Moment, Stop};
use crate::network::{Lag, Links};
use crate::node::{self, Seen};
use crate::oracle::is_quorum;
use crate::planted::{self, Blunder};
use crate::queue::Event;
use crate::storage::{End, Storage};
use crate::violation::{Checked, Violation};
use crate::world::World;

impl World {
    /// A fault of this kind will strike.
    pub(crate) fn expect(&mut self, fault: Fault) {
        let at = self.now + self.nemesis.gap(fault);
        self.queue.push(at, Event::Strike(fault));
    }

    /// A fault of this kind strikes, unless the faults have ended.
    pub(crate) fn strike(&mut self, fault: Fault) -> Checked {
        if self.recovery.is_some() {
            return Ok(());
        }
        self.expect(fault);
        if fault.is_wanted() {
            return self.intervene(fault);
        }
        if self.nemesis.waits(fault) {
            self.at_election = Some(fault);
            return Ok(());
        }
        let leader = self.leader();
        self.nemesis.deed(fault, leader).map_or(Ok(()), |deed| self.carry_out_deed(fault, deed))
    }

    /// A fault that waited for it strikes who has just been elected.
    pub(crate) fn strike_elected(&mut self, fault: Fault, at: usize) -> Checked {
        if self.recovery.is_some() {
            return Ok(());
        }
        self.coverage.reach(Mark::ElectedAndStruck);
        let deed = self.nemesis.deed_to(fault, at, Some(at));
        deed.map_or(Ok(()), |deed| self.carry_out_deed(fault, deed))
    }

    fn carry_out_deed(&mut self, fault: Fault, deed: Deed) -> Checked {
        match deed {
            Deed::Cut(links, lasts) => {
                let is_partition = fault == Fault::Partitions;
                self.coverage.reach(if is_partition { Mark::Partitioned } else { Mark::LinkCut });
                self.cut(links, lasts);
                Ok(())
            }
            Deed::Isolate(at, lasts, restart) => self.isolate(at, lasts, restart),
            Deed::Lag { first, then, turn, lasts } => self.lag_behind(first, then, (turn, lasts)),
            Deed::Disconnect { from, to, is_told, is_both } => {
                self.disconnect(from, to, is_told)?;
                if is_both { self.disconnect(to, from, is_told) } else { Ok(()) }
            }
            Deed::Stop(at, stop, Moment::Now) => self.stop(at, stop),
            Deed::Stop(at, stop, moment) => {
                self.nodes[at].ambush = Some((stop, moment));
                Ok(())
            }
            Deed::Damage(at, stop, again) => {
                if let Some(after) = again {
                    self.queue.push(self.now + stop.lasts + after, Event::DamageAgain(at));
                }
                self.damage(at, stop)
            }
            Deed::Pause(at, lasts) if self.nodes[at].runs() => {
                self.pause(at);
                self.queue.push(self.now + lasts, Event::Resume(at));
                Ok(())
            }
            Deed::Pause(..) => Ok(()),
            Deed::Speed(at, speed) => {
                let is_slow = speed.percent() < Speed::TRUE.percent();
                self.coverage.reach(if is_slow { Mark::ClockSlow } else { Mark::ClockFast });
                self.trace.note(self.now, || format!("{} clock runs at {speed:?}", node::id(at)));
                self.nodes[at].clock.set_speed(speed, self.now);
                self.set_timer(at);
                Ok(())
            }
            Deed::Jump(at, is_forward, by) => {
                self.coverage.reach(if is_forward { Mark::ClockForward } else { Mark::ClockBack });
                let way = if is_forward { "forward" } else { "back" };
                self.trace.note(self.now, || format!("{} clock {way} by {by:?}", node::id(at)));
                self.nodes[at].clock.jump(is_forward, by, self.now);
                self.set_timer(at);
                Ok(())
            }
        }
    }

    /// A leader is cut off from everybody. Whoever looks after the others may start them anew, and
    /// tells one of them to campaign.
    fn isolate(&mut self, at: usize, lasts: Duration, restart: Option<Stop>) -> Checked {
        self.coverage.reach(Mark::LeaderIsolated);
        let (out, back) = (|node| node == at, |node| node != at);
        self.cut(Links::between(out, back).union(Links::between(back, out)), lasts);
        self.pull_clocks_apart(at);
        self.strand_somebody(at);
        let restart = restart.filter(|_| self.scenario.faults.has(Fault::Kills));
        if let Some(stop) = restart {
            self.coverage.reach(Mark::OthersRestarted);
            let mut others = (0..self.nodes.len()).filter(|other| *other != at);
            others.try_for_each(|other| self.stop(other, stop))?;
        }
        if self.scenario.faults.has(Fault::Campaigns) {
            let (whom, soon) = self.operator.summon(at, self.scenario.timing.election_min);
            let after = restart.map_or(Duration::ZERO, |stop| stop.lasts);
            self.queue.push(self.now + after + soon, Event::Campaign(whom));
        }
        Ok(())
    }

    /// The links of a node lag, after a turn perhaps in another way, and catch up in the end.
    fn lag_behind(
        &mut self,
        first: Lag,
        then: Option<Lag>,
        spans: (Duration, Duration),
    ) -> Checked {
        let (turn, lasts) = spans;
        self.coverage.reach(Mark::LinksLagged);
        self.lag(first);
        if let Some(then) = then {
            self.queue.push(self.now + turn, Event::Lag(then));
        }
        self.queue.push(self.now + 2 * turn + lasts, Event::CatchUp(first.node));
        if self.leader() == Some(first.node) {
            self.pull_clocks_apart(first.node);
            self.strand_somebody(first.node);
        }
        let (other, lag) = first.to_one;
        if lag > first.outward { self.hand_over_late(first.node, other) } else { Ok(()) }
    }

    /// The links of a node take so much longer from now on, unless the faults have ended.
    pub(crate) fn lag(&mut self, lag: Lag) {
        if self.recovery.is_none() {
            self.trace.note(self.now, || format!("{lag:?}"));
            self.network.lag(lag);
        }
    }

    /// These links are cut, for so long.
    fn cut(&mut self, links: Links, lasts: Duration) {
        self.network.cut(links);
        let nodes = self.nodes.len();
        self.trace.note(self.now, || format!("cut {}", show_links(links, nodes)));
        self.queue.push(self.now + lasts, Event::Mend(links));
    }

    /// Where reads rely on clocks, that of this node runs as slow as it may from now on, and all
    /// others as fast.
    fn pull_clocks_apart(&mut self, slow: usize) {
        if self.scenario.lease_drift.is_none() {
            return;
        }
        for at in 0..self.nodes.len() {
            let speed = if at == slow { Speed::SLOWEST_SOUND } else { Speed::FASTEST_SOUND };
            self.nodes[at].clock.set_speed(speed, self.now);
            self.set_timer(at);
        }
    }

    fn damage(&mut self, at: usize, stop: Stop) -> Checked {
        self.nodes[at].is_damaged = self.may_damage(at);
        self.stop(at, stop)
    }

    /// A log that was damaged is damaged again, and the node is back at once: what it asked before
    /// may be answered now.
    pub(crate) fn damage_again(&mut self, at: usize) -> Checked {
        if self.recovery.is_some() || self.nodes[at].raft.is_none() {
            return Ok(());
        }
        self.coverage.reach(Mark::DamagedAgain);
        self.damage(at, Stop { end: End::PowerLoss, lasts: self.scenario.timing.heartbeat / 4 })
    }

    /// Whether the others could go on.
    fn may_damage(&self, at: usize) -> bool {
        let votes = |id| node::seat(id) != at && !self.nodes[node::seat(id)].is_recovering();
        let clusters = self.oracle.possible_clusters();
        clusters.iter().all(|cluster| is_quorum(cluster, votes))
    }

    fn disconnect(&mut self, from: usize, to: usize, is_told: bool) -> Checked {
        if from == to {
            return Ok(());
        }
        self.coverage.reach(Mark::Disconnected);
        let (name, peer) = (node::id(from), node::id(to));
        self.trace.note(self.now, || format!("{name} -> {peer} loses what is under way"));
        self.network.lose_under_way((from, to), self.now);
        if is_told { self.input(from, Input::Unreachable(peer)) } else { Ok(()) }
    }

    /// Links work again.
    pub(crate) fn mend(&mut self, links: Links) {
        if self.recovery.is_none() {
            let nodes = self.nodes.len();
            self.trace.note(self.now, || format!("mend {}", show_links(links, nodes)));
            self.network.mend(links);
        }
    }

    /// The process of a node ends, if it is not down already, and starts again later.
    pub(crate) fn stop(&mut self, at: usize, Stop { end, lasts }: Stop) -> Checked {
        if self.nodes[at].raft.is_none() {
            return Ok(());
        }
        self.coverage.reach(match end {
            End::PowerLoss => Mark::Crashed,
            End::Kill => Mark::Killed,
        });
        let node = &mut self.nodes[at];
        self.trace.note(self.now, || format!("{} stops: {end:?}", node.id));
        if node.storage.is_writing() {
            self.coverage.reach(Mark::CrashedWhileWriting);
        }
        node.storage.stop(end)?;
        node.raft = None;
        node.is_paused = false;
        node.inbox.clear();
        node.seen = Seen::default();
        node.ambush = None;
        node.received.clear();
        node.installing = None;
        self.queue.set_timer(at, None);
        self.queue.push(self.now + lasts, Event::Restart(at));
        let (proposals, free) = self.clients.stopped(node::id(at));
        if proposals > 0 {
            self.coverage.reach(Mark::CrashedWithProposals);
        }
        for client in free {
            self.think(client);
        }
        if self.nodes.iter().all(|node| node.raft.is_none()) {
            self.coverage.reach(Mark::EveryoneDown);
        }
        Ok(())
    }

    /// The process of a node that is down starts.
    pub(crate) fn restart(&mut self, at: usize) -> Checked {
        let is_up = self.nodes[at].raft.is_some();
        if is_up || self.nodes[at].storage.is_lost() || self.is_given_up(at) {
            return Ok(());
        }
        let may_fail = self.recovery.is_none() && self.nodes[at].start > 0;
        let mut config = node::config(&self.scenario, at);
        let node = &mut self.nodes[at];
        if self.scenario.has(Blunder::Amnesia) && node.start.is_multiple_of(4) {
            node.saved = Machine::new(node::first_known(&self.scenario, at));
            node.storage = Storage::new(&self.scenario, at);
        }
        if self.scenario.has(Blunder::AppliedTwice) {
            let before = self.oracle.committed(node.saved.applied.index.prev());
            node.saved.applied = before.unwrap_or_default();
        }
        if std::mem::take(&mut node.is_damaged) && node.storage.damage(&mut self.coverage) {
            self.trace.note(self.now, || format!("{} is damaged", node.id));
            self.coverage.reach(Mark::LogDamaged);
        }
        let (saved, coverage) = (node.saved.clone(), &mut self.coverage);
        let Some(boot) = node.storage.restart(&saved, may_fail, coverage)? else {
            self.trace.note(self.now, || format!("{} fails to start", node::id(at)));
            let again = self.now + self.scenario.timing.election_min;
            self.queue.push(again, Event::Restart(at));
            return Ok(());
        };
        if node.start > 0 {
            coverage.reach(Mark::Restarted);
        }
        let was_added = boot.last.index.get() > 0;
        if was_added && !self.oracle.cluster().1.is_member(node.id) {
            coverage.reach(Mark::RemovedRestarted);
        }
        if saved.applied.index.get() > 0 {
            coverage.reach(Mark::StateRestored);
        }
        node.start += 1;
        config.seed ^= node.start;
        self.trace.note(self.now, || format!("{} starts with {}", node.id, boot.last));
        let raft = Raft::restore(config, boot, node.clock.read(self.now));
        node.machine = saved;
        node.seen.cluster = Arc::clone(node.cluster());
        let raft = raft.map_err(|error| Violation {
            rule: "a node starts with what its disk held",
            detail: format!("{} does not: {error}", node.id),
        })?;
        // From here on, the two are the very same, and compared at no cost.
        let told = raft.status().cluster;
        if *told == *node.machine.cluster {
            node.machine.cluster = told;
        }
        node.raft = Some(planted::plant(raft, &self.scenario));
        self.repeat_echoes(at);
        self.drive(at, Input::Wake)
    }

    fn pause(&mut self, at: usize) {
        let leads = self.leader() == Some(at);
        self.coverage.reach(if leads { Mark::LeaderPaused } else { Mark::FollowerPaused });
        self.trace.note(self.now, || format!("{} is paused", node::id(at)));
        self.nodes[at].is_paused = true;
    }

    /// A process that was stopped goes on: with all its input first, or with its timer.
    pub(crate) fn resume(&mut self, at: usize) -> Checked {
        if !self.nodes[at].is_paused || self.is_given_up(at) {
            return Ok(());
        }
        self.trace.note(self.now, || format!("{} goes on", node::id(at)));
        let node = &mut self.nodes[at];
        node.is_paused = false;
        if node.seen.leads && self.oracle.has_leader_after(node.seen.led) {
            self.coverage.reach(Mark::DeposedWhilePaused);
        }
        let inbox = std::mem::take(&mut node.inbox);
        if node.start.is_multiple_of(2) {
            self.drive(at, Input::Wake)?;
        }
        for input in inbox {
            self.input(at, input)?;
        }
        self.start_disk(at);
        self.set_timer(at);
        Ok(())
    }
}

fn show_links(links: Links, nodes: usize) -> String {
    let shown = links.within(nodes).map(|(from, to)| format!("{}>{}", from + 1, to + 1));
    shown.collect::<Vec<_>>().join(" ")
}
