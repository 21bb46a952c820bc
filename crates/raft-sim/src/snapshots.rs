//! Snapshots: states are saved, logs are cut, snapshots travel, and take the place of states.
//!
//! A snapshot is a copy of a [`Machine`]. It goes its own way, which may be long, and ends in
//! nothing; whoever sent it may be told so, or told nothing for certain. Where it is installed, the
//! power may fail before, or right after: then the log has yet to be told.

use std::time::Duration;

use raft_core::{Index, Input, Position, SendSnapshot, Snapshot};

use crate::coverage::Mark;
use crate::dice::Dice;
use crate::faults::Fault;
use crate::machine::Machine;
use crate::nemesis::Stop;
use crate::node::seat;
use crate::planted::Blunder;
use crate::queue::Event;
use crate::scenario::{Scenario, SnapshotTraits};
use crate::storage::End;
use crate::violation::{Checked, check};
use crate::world::World;

/// More snapshots than this, received and not installed, are forgotten, oldest first.
const MAX_RECEIVED: usize = 4;

/// Senders that are not told that a snapshot arrived, though it did, in a thousand.
const UNTOLD_PER_MILLE: u64 = 100;

/// Where nodes stop, or disks fail: installs that end so, in a thousand.
const CUT_SHORT_PER_MILLE: u64 = 150;

/// A snapshot may wait for its receiver's disk to be at work, and looks so often.
const LOOKS: u8 = 8;

/// Carries snapshots.
#[derive(Debug)]
pub(crate) struct Courier {
    dice: Dice,
    traits: SnapshotTraits,
}

/// A snapshot on its way.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    request: SendSnapshot,
    content: Machine,
    /// How often it may yet look whether its receiver's disk is at work.
    looks: u8,
    /// In which start of the sender.
    start: u64,
}

/// What a sender is told of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    request: SendSnapshot,
    arrived: Option<Position>,
    start: u64,
}

impl Courier {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self { dice: Dice::new(scenario.seed, "snapshots"), traits: scenario.snapshots }
    }

    /// Loses nothing any more.
    pub(crate) fn calm_down(&mut self) {
        self.traits.lost_per_mille = 0;
    }

    fn takes(&mut self) -> Duration {
        self.dice.between(Duration::ZERO, self.traits.longest)
    }

    /// How long it takes to put a snapshot in the place of a state: one sync, or as long as it
    /// travelled, if the state is large.
    fn install_takes(&mut self, sync: Duration) -> Duration {
        let is_large = self.dice.coin();
        self.dice.between(Duration::ZERO, if is_large { self.traits.longest } else { sync })
    }
}

/// Saving states, and cutting logs.
impl World {
    /// The state of a node was saved: the log may be cut, soon.
    pub(crate) fn expect_compaction(&mut self, at: usize) {
        if self.scenario.snapshots.keep.is_some() && self.courier.dice.coin() {
            let soon =
                self.now + self.courier.dice.between(Duration::ZERO, self.scenario.disk.sync_max);
            self.queue.push(soon, Event::Compact(at));
        }
    }

    /// The driver says how much of the log it does not need.
    pub(crate) fn suggest_compaction(&mut self, at: usize) -> Checked {
        let Some(keep) = self.scenario.snapshots.keep else { return Ok(()) };
        let node = &self.nodes[at];
        let has = if self.scenario.has(Blunder::CutUnsaved) { &node.machine } else { &node.saved };
        let upto = has.applied.index;
        self.input(at, Input::Compact { upto, keep })
    }

    /// The core says that the log may be cut.
    pub(crate) fn compact(&mut self, at: usize, upto: Index) -> Checked {
        let node = &mut self.nodes[at];
        let is_saved = upto <= node.saved.applied.index || self.scenario.has(Blunder::CutUnsaved);
        check(is_saved, "a log is cut where the state holds what is cut off", || {
            format!("{} cuts {upto}, and saved {}", node.id, node.saved.applied)
        })?;
        self.coverage.reach(Mark::Compacted);
        node.storage.compact(upto);
        Ok(())
    }
}

/// Sending.
impl World {
    pub(crate) fn send_snapshot(&mut self, at: usize, request: SendSnapshot) -> Checked {
        let node = &self.nodes[at];
        let is_saved = node.saved.applied.index >= request.at_least && self.courier.dice.coin();
        let content = if is_saved { node.saved.clone() } else { node.machine.clone() };
        let reaches = content.applied.index >= request.at_least;
        check(reaches, "a snapshot reaches where the log begins", || {
            format!("{} is to send {request:?}, and applied {}", node.id, content.applied)
        })?;
        self.coverage.reach(Mark::SnapshotSent);
        let looks = if self.courier.dice.coin() { LOOKS } else { 0 };
        let parcel = Parcel { request, content, looks, start: node.start };
        let at = self.now + self.courier.takes();
        if self.courier.dice.chance(self.courier.traits.lost_per_mille) {
            self.coverage.reach(Mark::SnapshotLost);
            self.send_receipt(at, &parcel, None);
        } else {
            let sent = self.now;
            self.queue.push(at, Event::Parcel { parcel: Box::new(parcel), sent });
        }
        Ok(())
    }

    fn send_receipt(&mut self, at: raft_core::Time, parcel: &Parcel, arrived: Option<Position>) {
        let Parcel { request, start, .. } = *parcel;
        self.queue.push(at, Event::Receipt(Receipt { request, arrived, start }));
    }

    pub(crate) fn take_receipt(&mut self, receipt: &Receipt) -> Checked {
        let SendSnapshot { from, to, .. } = receipt.request;
        if self.nodes[seat(from)].start != receipt.start {
            return Ok(());
        }
        self.input(seat(from), Input::SnapshotSent { to, arrived: receipt.arrived })
    }

    /// A snapshot arrives; half of them do so in the middle of a write, if there is one soon.
    pub(crate) fn deliver(&mut self, mut parcel: Box<Parcel>, sent: raft_core::Time) -> Checked {
        let to = seat(parcel.request.to);
        if parcel.looks > 0 && !self.nodes[to].storage.is_writing() {
            parcel.looks -= 1;
            let soon = self.courier.dice.between(Duration::ZERO, self.scenario.disk.sync_max);
            self.queue.push(self.now + soon, Event::Parcel { parcel, sent });
            return Ok(());
        }
        self.hand_in(&parcel, sent)
    }

    fn hand_in(&mut self, parcel: &Parcel, sent: raft_core::Time) -> Checked {
        let Parcel { request, content, .. } = parcel;
        let (from, to) = (seat(request.from), seat(request.to));
        let is_there = self.network.delivers((from, to), sent) && self.nodes[to].raft.is_some();
        let is_told = !self.courier.dice.chance(UNTOLD_PER_MILLE);
        let told_at =
            self.now + self.courier.dice.between(Duration::ZERO, self.scenario.network.delay_max);
        let arrived = Some(content.applied).filter(|_| is_there && is_told);
        self.send_receipt(told_at, parcel, arrived);
        if !is_there {
            self.coverage.reach(Mark::SnapshotLost);
            return Ok(());
        }
        let mut snapshot = content.snapshot();
        if self.scenario.has(Blunder::SnapshotWithoutMembers) {
            snapshot.cluster = std::sync::Arc::new(crate::node::founders(&self.scenario));
        }
        let received = &mut self.nodes[to].received;
        if received.len() == MAX_RECEIVED {
            received.remove(0);
        }
        received.push(content.clone());
        self.input(to, Input::Message(request.message(snapshot)))
    }
}

/// Installing.
impl World {
    /// The core wants this snapshot, which has arrived, in the place of the state.
    pub(crate) fn begin_install(&mut self, at: usize, snapshot: &Snapshot) -> Checked {
        let node = &mut self.nodes[at];
        let content = node.received.iter().rfind(|content| content.applied == snapshot.at);
        check(content.is_some(), "what is installed has arrived", || {
            format!("{} has no {snapshot:?}", node.id)
        })?;
        node.installing = content.cloned();
        let takes = self.courier.install_takes(self.scenario.disk.sync_max);
        self.queue.push(self.now + takes, Event::Installed { node: at, start: node.start });
        Ok(())
    }

    /// The state has been replaced, or has not.
    pub(crate) fn end_install(&mut self, at: usize, start: u64) -> Checked {
        let node = &mut self.nodes[at];
        if node.start != start || node.raft.is_none() {
            return Ok(());
        }
        if node.is_paused {
            let later = self.now + self.scenario.timing.election_min;
            self.queue.push(later, Event::Installed { node: at, start });
            return Ok(());
        }
        let Some(content) = node.installing.take() else { return Ok(()) };
        node.received.clear();
        let is_cut_short = self.recovery.is_none() && self.courier.dice.chance(CUT_SHORT_PER_MILLE);
        let faults = self.scenario.faults;
        if is_cut_short && faults.has(Fault::BadDisks) {
            self.coverage.reach(Mark::InstallFailed);
            return self.input(at, Input::SnapshotInstalled(false));
        }
        node.saved = content.clone();
        if is_cut_short && faults.has(Fault::Crashes) {
            self.coverage.reach(Mark::CrashedAfterInstall);
            let lasts = self.scenario.timing.election_min;
            return self.stop(at, Stop { end: End::PowerLoss, lasts });
        }
        self.coverage.reach(Mark::SnapshotInstalled);
        let upto = content.applied;
        node.machine = content;
        self.oracle.has_state(&self.nodes[at], &self.nodes[at].machine)?;
        for client in self.clients.overtaken(self.nodes[at].id, upto.index) {
            self.release(Some(client));
        }
        self.input(at, Input::SnapshotInstalled(true))
    }
}
