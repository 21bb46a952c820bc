//! Snapshots on their way: what the real server has a sending thread, a connection and a receiving
//! thread for. What they carry, and how it is put together and checked, is the real thing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kv_server::replica::Event;
use kv_server::snapshots::{Shortage, check_arrival, offer, position};
use kv_store::snapshot::{Restore, Restored, SnapshotError};
use raft_core::{Body, Message, NodeId, Position, SendSnapshot, Snapshot, Term, Time};
use raft_storage::Disk;

use super::agenda::Happening;
use super::node::{DRAFT, End, Refusal, STATE, founders, listen, no_store, open_store};
use super::slips::Slip;
use super::trouble::Cure;
use super::world::World;
use crate::disk::SimDisk;
use crate::node::seat;
use crate::violation::{Checked, Violation};

/// A snapshot on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    from: usize,
    to: usize,
    /// The processes at both ends: it ends with either.
    starts: (u64, u64),
    message: Message,
    offered: Snapshot,
    content: kv_store::snapshot::Snapshot,
    has_begun: bool,
}

/// Where snapshots arrive: one at a time.
#[derive(Debug, Default)]
pub(super) struct Desk {
    stage: Stage,
    shortage: Shortage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Receiving {
        transfer: u64,
        term: Term,
        restore: Box<Restore>,
    },
    /// It is whole, and waits for the order to install it.
    Arrived {
        transfer: u64,
        restored: Restored,
    },
}

/// Why a desk does not take what arrives.
#[derive(Debug)]
enum Refused {
    /// Another snapshot is there, or there was no room of late.
    Unwanted,
    /// It cannot be taken in.
    Failed(SnapshotError),
}

/// What a process that sent a snapshot is to hear of it.
#[derive(Debug)]
pub(super) struct Receipt {
    sender: usize,
    /// Which start of its process it was.
    start: u64,
    to: NodeId,
    /// Where it ends, if it arrived.
    arrived: Option<Position>,
}

impl World {
    /// The apply thread is to send the state to another node.
    pub(super) fn send_snapshot(&mut self, at: usize, request: &SendSnapshot) -> Option<Event> {
        let founders = founders(&self.plan);
        let node = &self.nodes[at];
        let process = node.process.as_ref()?;
        let to = seat(request.to);
        let offered = offer(request, process.machine.store(), &founders);
        let (Ok((message, content)), Some(receiver)) = (offered, &self.nodes[to].process) else {
            return Some(Event::SnapshotSent { to: request.to, arrived: None });
        };
        let Body::Snapshot(offered) = message.body.clone() else { return None };
        let starts = (process.start, receiver.start);
        self.sent += 1;
        let from = at;
        let transfer = Transfer { from, to, starts, message, offered, content, has_begun: false };
        self.note(|| {
            format!("node {} sends node {} a snapshot of {}", at + 1, to + 1, transfer.offered.at)
        });
        self.transfers.insert(self.sent, transfer);
        self.tally.reach("snapshots sent");
        self.next_piece(self.sent);
        None
    }

    fn next_piece(&mut self, transfer: u64) {
        let gap = self.dice.around(Duration::from_millis(20));
        self.later(gap, Happening::Piece(transfer));
    }

    /// A leader leads no more: what has not arrived whole is given up, and it hears of that.
    pub(super) fn cancel_snapshots(&mut self, at: usize) {
        let processes = || self.nodes.iter().filter_map(|node| node.process.as_ref());
        let is_whole = |number| processes().any(|process| process.desk.arrived() == Some(number));
        let from_here = self.transfers.iter().filter(|(_, transfer)| transfer.from == at);
        let partial = from_here.map(|(number, _)| *number).filter(|number| !is_whole(*number));
        self.abandon(partial.collect());
    }

    /// The next piece of a snapshot arrives, or the connection turns out to be broken.
    pub(super) fn piece(&mut self, number: u64) -> Checked {
        let Some(mut transfer) = self.transfers.remove(&number) else { return Ok(()) };
        if !self.is_connected(&transfer) {
            self.end_transfer(number, &transfer, None);
            return Ok(());
        }
        let piece = transfer.content.next_piece().map_err(|error| Violation {
            rule: "a snapshot can be read while it is sent",
            detail: error.to_string(),
        })?;
        match self.take_in(number, &mut transfer, piece.as_deref()) {
            Ok(()) if piece.is_none() => self.arrive_whole(number, transfer),
            Ok(()) => {
                self.transfers.insert(number, transfer);
                self.next_piece(number);
                Ok(())
            }
            Err(Refused::Unwanted) => {
                self.end_transfer(number, &transfer, None);
                Ok(())
            }
            Err(Refused::Failed(error)) => self.refuse_snapshot(number, &transfer, &error),
        }
    }

    /// The desk of the receiver takes in a piece, or hears that there are no more. Before the first
    /// one it makes room.
    fn take_in(
        &mut self,
        number: u64,
        transfer: &mut Transfer,
        piece: Option<&[u8]>,
    ) -> Result<(), Refused> {
        let now = self.instant();
        let receiver = &mut self.nodes[transfer.to];
        let Some(process) = &mut receiver.process else { return Err(Refused::Unwanted) };
        if !std::mem::replace(&mut transfer.has_begun, true) {
            process.desk.begin(number, transfer.message.term, now, || {
                let file = receiver.disk.create(DRAFT).map_err(no_room)?;
                Restore::begin_on(file, Path::new(STATE))
            })?;
        }
        let restore = process.desk.restore(number).ok_or(Refused::Unwanted)?;
        piece.map_or(Ok(()), |piece| restore.take(piece)).map_err(Refused::Failed)
    }

    /// What the clock of the machine is taken to show now.
    fn instant(&self) -> Instant {
        self.base + self.now.since(Time::ZERO)
    }

    fn arrive_whole(&mut self, number: u64, transfer: Transfer) -> Checked {
        let founders = founders(&self.plan);
        let Some(process) = self.nodes[transfer.to].process.as_mut() else { return Ok(()) };
        let Stage::Receiving { restore, .. } = std::mem::take(&mut process.desk.stage) else {
            return Ok(());
        };
        let restored = match restore.finish() {
            Ok(restored) => restored,
            Err(error) => return self.refuse_snapshot(number, &transfer, &error),
        };
        check_arrival(&restored, &transfer.offered, &founders)
            .map_err(|detail| Violation { rule: "what arrives is what was offered", detail })?;
        process.desk.shortage.is_over();
        process.desk.stage = Stage::Arrived { transfer: number, restored };
        let (at, message) = (transfer.to, transfer.message.clone());
        self.transfers.insert(number, transfer);
        self.turn(at, vec![Event::SnapshotArrived(message)])
    }

    /// A snapshot could not be taken in.
    fn refuse_snapshot(
        &mut self,
        number: u64,
        transfer: &Transfer,
        error: &SnapshotError,
    ) -> Checked {
        let at = transfer.to;
        let now = self.instant();
        self.note(|| format!("node {} refuses a snapshot: {error}", at + 1));
        if let Some(process) = &mut self.nodes[at].process {
            process.desk.stage = Stage::Idle;
        }
        remove_draft(&self.nodes[at].disk);
        let SnapshotError::NoRoom { .. } = error else {
            let rule = "only room keeps a snapshot out";
            return Err(Violation { rule, detail: error.to_string() });
        };
        self.tally.reach("snapshots without room");
        if let Some(process) = &mut self.nodes[at].process {
            process.desk.shortage.noticed(now, "it is full".to_owned());
        }
        self.end_transfer(number, transfer, None);
        self.turn(at, vec![Event::SnapshotHasNoRoom])
    }

    /// The order to install came: the apply thread puts the draft in the place of the state.
    pub(super) fn install(&mut self, at: usize, snapshot: &Snapshot) -> Result<Event, Refusal> {
        let (plan, disk) = (&self.plan, self.nodes[at].disk.clone());
        let Some(process) = self.nodes[at].process.as_mut() else {
            return Ok(Event::SnapshotInstalled(None));
        };
        let (number, restored) = match std::mem::take(&mut process.desk.stage) {
            Stage::Arrived { transfer, restored } => (transfer, restored),
            other => {
                process.desk.stage = other;
                return Ok(Event::SnapshotInstalled(None));
            }
        };
        if position(restored.position()) != snapshot.at {
            process.desk.stage = Stage::Arrived { transfer: number, restored };
            return Ok(Event::SnapshotInstalled(None));
        }
        if !plan.has(Slip::InstallForgotten) {
            let replaced = process.machine.replace(|store| {
                drop(std::mem::replace(store, no_store()));
                disk.rename(DRAFT, STATE)?;
                if !plan.has(Slip::InstallUnsynced) {
                    disk.sync_directory()?;
                }
                let (new, steps) = open_store(&disk, plan)?;
                let state_room = listen(&new);
                *store = new;
                Ok::<_, Refusal>((state_room, steps))
            });
            (process.state_room, process.steps) = replaced?;
        }
        self.tally.reach("snapshots installed");
        if let Some(transfer) = self.transfers.remove(&number) {
            self.end_transfer(number, &transfer, Some(snapshot.at));
        }
        Ok(Event::SnapshotInstalled(Some(snapshot.at.index)))
    }

    /// What has arrived will not be installed.
    pub(super) fn discard_snapshot(&mut self, at: usize) {
        let process = self.nodes[at].process.as_ref();
        let Some(number) = process.and_then(|process| process.desk.arrived()) else { return };
        self.clear_desk(number);
        self.abandon(vec![number]);
    }

    /// The process of a node has ended, and every connection with it.
    pub(super) fn break_transfers(&mut self, at: usize) {
        let broken = self.transfers.iter().filter(|(_, it)| it.from == at || it.to == at);
        self.abandon(broken.map(|(number, _)| *number).collect());
    }

    /// These do not arrive.
    fn abandon(&mut self, numbers: Vec<u64>) {
        for number in numbers {
            if let Some(transfer) = self.transfers.remove(&number) {
                self.end_transfer(number, &transfer, None);
            }
        }
    }

    /// The sender hears what became of it, soon.
    fn end_transfer(&mut self, number: u64, transfer: &Transfer, arrived: Option<Position>) {
        self.clear_desk(number);
        let Transfer { from: sender, starts: (start, _), ref message, .. } = *transfer;
        self.receipts.push(Receipt { sender, start, to: message.to, arrived });
    }

    /// Tells senders what became of their snapshots.
    pub(super) fn hand_out_receipts(&mut self) -> Checked {
        while let Some(Receipt { sender, start, to, arrived }) = self.receipts.pop() {
            let process = self.nodes[sender].process.as_ref();
            if process.is_some_and(|process| process.start == start) {
                self.turn(sender, vec![Event::SnapshotSent { to, arrived }])?;
            }
        }
        Ok(())
    }

    fn clear_desk(&mut self, number: u64) {
        for node in &mut self.nodes {
            let Some(process) = &mut node.process else { continue };
            let is_meant = match process.desk.stage {
                Stage::Receiving { transfer, .. } | Stage::Arrived { transfer, .. } => {
                    transfer == number
                }
                Stage::Idle => false,
            };
            if is_meant {
                process.desk.stage = Stage::Idle;
                remove_draft(&node.disk);
            }
        }
    }

    fn is_connected(&self, transfer: &Transfer) -> bool {
        let Transfer { from, to, starts, .. } = *transfer;
        let runs = |at: usize, start| {
            self.nodes[at].process.as_ref().is_some_and(|process| process.start == start)
        };
        let carries = |link| self.network.delivers(link, self.now);
        runs(from, starts.0) && runs(to, starts.1) && carries((from, to)) && carries((to, from))
    }

    /// A node cannot go on with its state: its process ends, and is started again later.
    pub(super) fn give_up(&mut self, at: usize, why: &str) -> Checked {
        self.note(|| format!("node {} gives up: {why}", at + 1));
        self.end(at, End::Kill)?;
        self.later(Duration::from_secs(1), Happening::Cure(Cure::Start(at)));
        Ok(())
    }
}

impl Desk {
    /// The snapshot that is whole, and waits to be installed.
    fn arrived(&self) -> Option<u64> {
        match self.stage {
            Stage::Arrived { transfer, .. } => Some(transfer),
            Stage::Receiving { .. } | Stage::Idle => None,
        }
    }

    /// Makes room for a snapshot, unless another is more important, or there was none of late.
    fn begin(
        &mut self,
        transfer: u64,
        term: Term,
        now: Instant,
        begin: impl FnOnce() -> Result<Restore, SnapshotError>,
    ) -> Result<(), Refused> {
        let is_taken = match &self.stage {
            Stage::Arrived { .. } => true,
            Stage::Receiving { term: other, .. } => *other > term,
            Stage::Idle => false,
        };
        if is_taken || self.shortage.refusal(now).is_some() {
            return Err(Refused::Unwanted);
        }
        self.stage = Stage::Idle;
        let restore = Box::new(begin().map_err(Refused::Failed)?);
        self.stage = Stage::Receiving { transfer, term, restore };
        Ok(())
    }

    /// What has arrived of this snapshot, as long as it is the one that arrives.
    fn restore(&mut self, number: u64) -> Option<&mut Restore> {
        match &mut self.stage {
            Stage::Receiving { transfer, restore, .. } if *transfer == number => Some(restore),
            _ => None,
        }
    }
}

fn no_room(error: std::io::Error) -> SnapshotError {
    SnapshotError::NoRoom { file: DRAFT.into(), source: Arc::new(error) }
}

/// Removes what is left of a draft, if anything is.
fn remove_draft(disk: &SimDisk) {
    let _ = disk.remove(DRAFT);
}
