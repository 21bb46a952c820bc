//! What the real server has threads for, as steps: the loop, the log, the apply thread, and the one
//! that writes the state.

use std::time::Duration;

use kv_server::clients::Reply;
use kv_server::disk_health::DiskNotice;
use kv_server::machine::Read;
use kv_server::replica::{ApplyWork, Effect, Event};
use raft_core::{DropReason, Entries, Entry, Event as Told, Payload, RoleKind};
use raft_storage::Room;
use raft_storage::thread::{LogEvent, LogRequest};

use super::agenda::{Happening, Step};
use super::node::{End, Process, Refusal};
use super::slips::Slip;
use super::world::World;
use crate::violation::{Checked, Violation, check};

/// How often a full disk is looked at again.
const LOOK_FOR_ROOM_AFTER: Duration = Duration::from_millis(200);

/// How many entries the state holds more when the loop is told at once.
const STORED_STEP: u64 = 1024;

impl World {
    /// One turn of the loop of a node: it takes these events, and what it says is done.
    pub(super) fn turn(&mut self, at: usize, events: Vec<Event>) -> Checked {
        let now = self.now;
        let Some(process) = &mut self.nodes[at].process else { return Ok(()) };
        let mut effects = Vec::new();
        for event in events {
            process.room.hear(&event);
            process.replica.handle(now, event, &mut effects);
        }
        if now >= process.replica.deadline() {
            process.replica.handle(now, Event::Wake, &mut effects);
        }
        process.replica.end_turn(now, &mut effects);
        let mut stops = false;
        for effect in effects {
            stops |= matches!(effect, Effect::Stop);
            self.carry_out(at, effect)?;
        }
        if stops {
            return self.finish(at);
        }
        self.set_timer(at);
        Ok(())
    }

    fn set_timer(&mut self, at: usize) {
        let Some(process) = &mut self.nodes[at].process else { return };
        // Whatever is overdue is done a moment later: time passes.
        let due = process.replica.deadline().max(self.now + Duration::from_micros(10));
        if process.wakes_at != Some(due) {
            process.wakes_at = Some(due);
            let start = process.start;
            self.agenda.push(due, Happening::Step { at, start, step: Step::Wake(due) });
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect) -> Checked {
        match effect {
            Effect::Send(message) => self.send(&message),
            Effect::Persist(write) => {
                self.check_allowance(at, &write.entries)?;
                self.ask_log(at, LogRequest::Write(write));
            }
            Effect::ReadLog(read) => self.ask_log(at, LogRequest::Read(read)),
            Effect::Compact(upto) => {
                self.tally.reach("logs cut");
                self.ask_log(at, LogRequest::Compact(upto));
            }
            Effect::FreeLogRoom => self.ask_log(at, LogRequest::FreeRoom),
            Effect::Apply(work) => self.ask_applier(at, work)?,
            Effect::Fail(client, error) => {
                let is_untold = matches!(error, kv_proto::Error::LeadershipLost)
                    && self.plan.has(Slip::FailureUntold);
                let is_stopping = self.process(at).is_some_and(|it| it.is_stopping);
                if !(is_untold || is_stopping && self.plan.has(Slip::StoppedUntold)) {
                    self.answered(at, Reply { client, result: Err(error) })?;
                }
            }
            Effect::DiscardSnapshot => self.discard_snapshot(at),
            Effect::RoleChanged(change) => {
                let steps = self.steps;
                let Some(process) = self.process(at) else { return Ok(()) };
                let leads = change.role == RoleKind::Leader;
                if process.leads && !leads {
                    process.deposed_at = steps;
                }
                process.leads = leads;
                self.note(|| format!("node {} is {:?} in {}", at + 1, change.role, change.term));
                if leads {
                    self.tally.reach("elections won");
                    self.ledger.elect(at, change.term.get())?;
                }
            }
            Effect::Trace(Told::MessageDropped { from, reason }) => {
                let is_contradiction = reason == DropReason::ConflictsWithCommitted;
                check(!is_contradiction, "no leader contradicts what is committed", || {
                    format!("node {} was told so by {from}", at + 1)
                })?;
            }
            Effect::Trace(_) | Effect::Stop => {}
            Effect::Disk(notice) => self.hear_of_disk(at, notice),
        }
        Ok(())
    }

    fn hear_of_disk(&mut self, at: usize, notice: DiskNotice) {
        self.note(|| format!("node {} {notice}", at + 1));
        self.tally.reach(match notice {
            DiskNotice::Full => "nodes without room",
            DiskNotice::HasRoom => "nodes with room again",
            DiskNotice::HandsOver(_) => "hand-overs for room",
            DiskNotice::Stalled(_) => "leaders whose disk stalled",
            DiskNotice::Slow(_) => "slow disks noticed",
        });
        let Some(process) = self.process(at) else { return };
        match notice {
            DiskNotice::Full => process.is_full = true,
            DiskNotice::HasRoom => {
                process.is_full = false;
                process.room.taken_bytes = 0;
            }
            DiskNotice::HandsOver(_) | DiskNotice::Stalled(_) | DiskNotice::Slow(_) => {}
        }
    }

    /// What a node without room takes of commands is bounded: it is held in memory.
    fn check_allowance(&mut self, at: usize, entries: &Entries) -> Checked {
        let allowance = self.plan.sizes.allowance;
        let Some(process) = self.process(at).filter(|process| process.room.is_short()) else {
            return Ok(());
        };
        let commands = entries.iter().filter(|it| matches!(it.payload, Payload::Command(_)));
        process.room.taken_bytes += commands.map(Entry::size_bytes).sum::<usize>();
        let taken = process.room.taken_bytes;
        let most = allowance.held_bytes + allowance.earlier_bytes;
        check(taken <= most, "a node without room takes what it can afford", || {
            format!("node {} has taken {taken} bytes of commands of at most {most}", at + 1)
        })
    }

    pub(super) fn process(&mut self, at: usize) -> Option<&mut Process> {
        self.nodes[at].process.as_mut()
    }

    /// The process of a node does a step.
    pub(super) fn step(&mut self, at: usize, step: Step) -> Checked {
        match step {
            Step::Wake(due) => {
                let is_due = self.process(at).is_some_and(|it| it.wakes_at == Some(due));
                if is_due {
                    self.turn(at, vec![Event::Wake])?;
                }
                Ok(())
            }
            Step::Log => self.log_step(at, false),
            Step::LookForRoom => self.log_step(at, true),
            Step::Apply => self.apply_step(at),
            Step::ReadValues => self.read_values(at),
            Step::Save => self.save_step(at),
        }
    }

    fn schedule(&mut self, at: usize, after: Duration, step: Step) {
        if let Some(process) = &self.nodes[at].process {
            let start = process.start;
            self.agenda.push(self.now + after, Happening::Step { at, start, step });
        }
    }

    fn ask_log(&mut self, at: usize, request: LogRequest) {
        let Some(process) = self.process(at) else { return };
        process.requests.push(request);
        if !std::mem::replace(&mut process.is_logging, true) {
            let takes = self.sync_time(at);
            self.schedule(at, takes, Step::Log);
        }
    }

    fn sync_time(&mut self, at: usize) -> Duration {
        // Both are drawn, so that a disk that is slow does not change everything that follows.
        let usual = self.dice.around(Duration::from_millis(1));
        let slow = self.dice.around(Duration::from_millis(1500));
        if self.nodes[at].is_slow { slow } else { usual }
    }

    /// The log carries out what it was asked, or looks for room.
    fn log_step(&mut self, at: usize, looks: bool) -> Checked {
        let Some(process) = self.process(at) else { return Ok(()) };
        let mut told = Vec::new();
        let mut tell = |event| told.push(event);
        let done = if looks {
            process.looks_for_room = false;
            process.log.look_for_room(&mut tell)
        } else if let Some(first) = process.requests.pop() {
            process.log.serve(first, || process.requests.pop(), &mut tell)
        } else {
            Ok(())
        };
        process.log.tell_room(&mut tell);
        done.map_err(|error| failed_log(&error))?;
        let goes_on = !process.requests.is_empty();
        if !looks {
            process.is_logging = goes_on;
        }
        let is_short = process.log.told() != Room::Ample;
        let must_look = is_short && !std::mem::replace(&mut process.looks_for_room, is_short);
        if goes_on && !looks {
            let takes = self.sync_time(at);
            self.schedule(at, takes, Step::Log);
        }
        if must_look {
            self.schedule(at, LOOK_FOR_ROOM_AFTER, Step::LookForRoom);
        }
        let events = told.into_iter().filter_map(|event| self.heard(at, event)).collect();
        self.turn(at, events)
    }

    /// What the loop hears of what the log tells.
    fn heard(&mut self, at: usize, event: LogEvent) -> Option<Event> {
        match event {
            LogEvent::Persisted(id) => Some(Event::Persisted(id)),
            LogEvent::Read(read) => {
                self.tally.reach("log read back");
                Some(Event::LogRead(read))
            }
            LogEvent::Room(room) => {
                self.note(|| format!("the log of node {} has {room:?} room", at + 1));
                self.tally.reach(match room {
                    Room::Ample => "logs with room again",
                    Room::Low => "logs with little room",
                    Room::Scarce => "logs with hardly any room",
                });
                let is_unheard = self.plan.has(Slip::RoomUnheard) && room == Room::Ample;
                (!is_unheard).then_some(Event::LogRoom(room))
            }
            LogEvent::Failed(_) => None,
        }
    }

    fn ask_applier(&mut self, at: usize, mut work: ApplyWork) -> Checked {
        if let (ApplyWork::Entries { entries, waiters }, true) =
            (&mut work, self.plan.has(Slip::AnsweredUnapplied))
        {
            self.ledger.note(at, entries)?;
            for (_, client) in std::mem::take(waiters) {
                let reply = kv_proto::Reply::Put(kv_proto::PutReply { prev: None });
                let result = Ok((kv_proto::Header::default(), reply));
                self.answered(at, Reply { client, result })?;
            }
        }
        let overtakes = self.plan.has(Slip::ReadOvertakes);
        let Some(process) = self.process(at) else { return Ok(()) };
        if overtakes && matches!(work, ApplyWork::Read { .. }) {
            process.works.push_front(work);
        } else {
            process.works.push_back(work);
        }
        if !std::mem::replace(&mut process.is_applying, true) {
            let takes = self.dice.around(Duration::from_micros(800));
            self.schedule(at, takes, Step::Apply);
        }
        Ok(())
    }

    /// The apply thread works off its queue.
    pub(super) fn apply_step(&mut self, at: usize) -> Checked {
        let mut events = Vec::new();
        if let Some(process) = self.process(at) {
            process.is_applying = false;
        }
        while let Some(work) = self.process(at).and_then(|process| process.works.pop_front()) {
            match self.work(at, work) {
                Ok(event) => events.extend(event),
                Err(Refusal::System(why)) => return self.give_up(at, &why),
                Err(Refusal::Broken(violation)) => return Err(violation),
            }
        }
        let Some(process) = self.nodes[at].process.as_mut() else { return Ok(()) };
        self.ledger.check_digest(at, process.machine.store().digest())?;
        events.extend(process.machine.newly_stored(STORED_STEP).map(Event::Stored));
        if self.plan.has(Slip::CutUnsaved) {
            let applied = process.machine.store().applied_index();
            events.push(Event::Stored(raft_core::Index::new(applied)));
        }
        let is_due = process.machine.has_more_to_store();
        if is_due && !std::mem::replace(&mut process.is_saving, true) {
            let pause = self.dice.between(Duration::from_millis(1), Duration::from_millis(600));
            self.schedule(at, pause, Step::Save);
        }
        self.turn(at, events)
    }

    /// One piece of work of the apply thread; what the loop hears of it.
    fn work(&mut self, at: usize, work: ApplyWork) -> Result<Option<Event>, Refusal> {
        let now = self.now;
        let Some(process) = self.nodes[at].process.as_mut() else { return Ok(None) };
        let mut answers = Vec::new();
        match work {
            ApplyWork::Entries { entries, waiters } => {
                self.ledger.note(at, &entries).map_err(Refusal::Broken)?;
                process.machine.apply(&entries, &waiters, &mut answers)?;
            }
            ApplyWork::Read { client, range, term, patience } => {
                match process.machine.read(client, &range, term, patience.check_read(now)) {
                    Read::Refused(reply) => answers.push(reply),
                    Read::Found(found) if found.is_complete() => {
                        answers.push(found.answer(Ok(()))?);
                    }
                    Read::Found(found) => {
                        process.unread.push((found, patience));
                        let takes = self.dice.around(Duration::from_millis(4));
                        self.schedule(at, takes, Step::ReadValues);
                    }
                }
            }
            ApplyWork::Status { client, status } => {
                answers.push(process.machine.status(client, *status));
            }
            ApplyWork::Digests { client, term, difference } => {
                answers.push(process.machine.digests(client, term, difference));
            }
            // Nobody asks for one here: they have a thread of their own, and wait for the disk.
            ApplyWork::Backup { .. } => {}
            ApplyWork::ReadLog(read) => self.ask_log(at, LogRequest::Read(read)),
            ApplyWork::SendSnapshot(request) => return Ok(self.send_snapshot(at, &request)),
            ApplyWork::CancelSnapshots => self.cancel_snapshots(at),
            ApplyWork::InstallSnapshot(snapshot) => return self.install(at, &snapshot).map(Some),
        }
        answers
            .into_iter()
            .try_for_each(|answer| self.answered(at, answer))
            .map_err(Refusal::Broken)?;
        Ok(None)
    }

    /// A thread reads the values of one of the answers that wait for them, in whichever order.
    fn read_values(&mut self, at: usize) -> Checked {
        let Some(process) = self.nodes[at].process.as_mut() else { return Ok(()) };
        if process.unread.is_empty() {
            return Ok(());
        }
        let (found, patience) = process.unread.swap_remove(self.dice.place(process.unread.len()));
        let answer = found.answer(patience.check_read(self.now)).map_err(|error| Violation {
            rule: "a sound state file goes on",
            detail: error.to_string(),
        })?;
        self.tally.reach("values read beside");
        self.answered(at, answer)
    }

    /// What was applied is written behind, or it is looked for room.
    fn save_step(&mut self, at: usize) -> Checked {
        let is_unheard = self.plan.has(Slip::StateRoomUnheard);
        let Some(process) = self.nodes[at].process.as_mut() else { return Ok(()) };
        process.steps.step();
        let mut events = Vec::new();
        for waits in process.state_room.try_iter() {
            process.state_waits = waits;
            if waits {
                self.tally.reach("state files without room");
            }
            if waits || !is_unheard {
                events.push(Event::StateRoom(waits));
            }
        }
        let store = process.machine.store();
        if let Err(error) = store.check() {
            let rule = "a sound state file goes on";
            return Err(Violation { rule, detail: error.to_string() });
        }
        events.extend(process.machine.newly_stored(1).map(Event::Stored));
        process.is_saving = process.machine.has_more_to_store();
        let (goes_on, waits) = (process.is_saving, process.state_waits);
        if goes_on {
            let pause = self.dice.between(Duration::from_millis(1), Duration::from_millis(600));
            let takes = self.sync_time(at);
            self.schedule(at, if waits { LOOK_FOR_ROOM_AFTER } else { pause + takes }, Step::Save);
        }
        self.turn(at, events)
    }

    /// A server that was asked to stop has nothing left to do but what is under way already.
    fn finish(&mut self, at: usize) -> Checked {
        let Some(process) = self.process(at) else { return Ok(()) };
        while let Some(first) = process.requests.pop() {
            let next = || process.requests.pop();
            let done = process.log.serve(first, next, &mut |_| {});
            done.map_err(|error| failed_log(&error))?;
        }
        while let Some(work) = self.process(at).and_then(|process| process.works.pop_front()) {
            match self.work(at, work) {
                Ok(_) => {}
                Err(Refusal::System(_)) => break,
                Err(Refusal::Broken(violation)) => return Err(violation),
            }
        }
        while self.process(at).is_some_and(|process| !process.unread.is_empty()) {
            self.read_values(at)?;
        }
        self.check_all_answered(at)?;
        self.note(|| format!("node {} has stopped", at + 1));
        self.end(at, End::Stop)
    }
}

fn failed_log(error: &dyn std::fmt::Display) -> Violation {
    Violation { rule: "a sound log goes on", detail: error.to_string() }
}
