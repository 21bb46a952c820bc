//! What becomes of a request: taken in, refused at once, or told what consensus made of it.

use std::time::Duration;

use kv_proto::{BackupRequest, Consistency, Error, Outcome, Range};
use raft_core::{Input, Outcome as TicketOutcome, ReadMode, Ticket, Time};

use super::answers::{self, timed_out};
use super::{ApplyWork, Call, ClientTag, Effect, Patience, Replica, Request};
use crate::pending::{Waiting, Want};

/// How long a client may ask to wait at most.
const LONGEST_TIMEOUT: Duration = Duration::from_mins(10);

/// For so many election timeouts a read waits for a follower that is behind; then it is sent on.
const FOLLOWER_READ_TIMEOUTS: u32 = 4;

impl Replica {
    pub(super) fn on_request(&mut self, now: Time, request: Request, effects: &mut Vec<Effect>) {
        let client = request.client;
        let timeout = request.timeout.min(LONGEST_TIMEOUT);
        if self.stop_by.is_some() {
            return effects.push(Effect::Fail(client, Error::ShuttingDown));
        }
        if self.pending.is_full() {
            return effects.push(Effect::Fail(client, Error::Busy));
        }
        if let Err(error) = self.standing.check(&request.call) {
            return effects.push(Effect::Fail(client, error));
        }
        match request.call {
            // One that does not lead says where to go.
            Call::Write(_) if self.was_leader && self.disk.is_full() => {
                let node = self.raft.status().id.get();
                effects.push(Effect::Fail(client, Error::NoSpace { node }));
            }
            Call::Write(command) => {
                let ticket = self.pending.add(client, now, timeout, Want::Write);
                self.proposals.push((ticket, command));
            }
            Call::Read(range) if range.options.consistency == Consistency::Stale => {
                self.read(client, range, Patience::new(now, timeout), effects);
            }
            // Lease reads are not switched on anywhere yet: they get the stronger guarantee.
            Call::Read(range) => {
                let ticket = self.pending.add(client, now, timeout, Want::Read(range));
                if !self.was_leader {
                    let patience = FOLLOWER_READ_TIMEOUTS * self.fate_patience;
                    self.pending.move_on_at(ticket, now + patience);
                }
                self.step(now, Input::Read(ticket, ReadMode::Confirmed), effects);
            }
            Call::Status => {
                let disk = self.disk.state(now);
                let status = answers::status(&self.raft.status(), disk, &self.directory);
                let status = Box::new(status);
                effects.push(Effect::Apply(ApplyWork::Status { client, status }));
            }
            Call::Backup(BackupRequest { piece, consistency }) => {
                if piece == 0 && consistency != Consistency::Stale {
                    let ticket = self.pending.add(client, now, timeout, Want::Backup);
                    return self.step(now, Input::Read(ticket, ReadMode::Confirmed), effects);
                }
                self.back_up(client, piece, Patience::new(now, timeout), effects);
            }
            Call::Digests => {
                let (term, difference) = (self.raft.term().get(), self.standing.difference());
                effects.push(Effect::Apply(ApplyWork::Digests { client, term, difference }));
            }
        }
    }

    fn back_up(
        &self,
        client: ClientTag,
        piece: u64,
        patience: Patience,
        effects: &mut Vec<Effect>,
    ) {
        let term = self.raft.term().get();
        effects.push(Effect::Apply(ApplyWork::Backup { client, piece, term, patience }));
    }

    fn read(&self, client: ClientTag, range: Range, patience: Patience, effects: &mut Vec<Effect>) {
        let term = self.raft.term().get();
        effects.push(Effect::Apply(ApplyWork::Read { client, range, term, patience }));
    }

    /// The core has said what became of a request.
    pub(super) fn on_resolved(
        &mut self,
        now: Time,
        ticket: Ticket,
        outcome: TicketOutcome,
        effects: &mut Vec<Effect>,
    ) {
        // A request that was given up is not there any more.
        let Some(Waiting { client, want, patience, .. }) = self.pending.take(ticket) else {
            return;
        };
        match (outcome, want) {
            (TicketOutcome::Committed(at), _) => self.committed.push_back((at.index, client)),
            (TicketOutcome::ReadAt(_), Want::Read(range)) => {
                self.read(client, range, patience, effects);
            }
            (TicketOutcome::ReadAt(_), Want::Backup) => {
                self.back_up(client, 0, patience, effects);
            }
            // A write becomes neither: only reads and hand-overs do, and none is asked for.
            (TicketOutcome::ReadAt(_) | TicketOutcome::Transferred, _) => {}
            (TicketOutcome::Overwritten, _) => {
                effects.push(Effect::Fail(client, Error::Overwritten));
            }
            (TicketOutcome::Unknown, _) => {
                let waited = now.since(patience.asked_at);
                effects.push(Effect::Fail(client, timed_out(waited, Outcome::Unknown)));
            }
            (TicketOutcome::Rejected(why), _) => {
                effects.push(Effect::Fail(client, answers::explain(&self.directory, why)));
            }
        }
    }
}
