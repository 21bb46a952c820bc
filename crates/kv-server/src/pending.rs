//! The requests that wait for consensus.

use std::collections::BTreeMap;
use std::time::Duration;

use kv_proto::{Error, Outcome, Range};
use raft_core::{Ticket, Time};

use crate::replica::{ClientTag, Patience, timed_out};

/// The most requests that wait at once, over all clients.
const MAX_WAITING: usize = 1 << 17;

/// How often it is looked for requests whose time is up.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The requests that wait, by their tickets. Ordered, so that the same events have the same
/// effects in the same order.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    last_ticket: u64,
    waiting: BTreeMap<Ticket, Waiting>,
    next_check: Time,
}

/// A request that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) client: ClientTag,
    pub(crate) want: Want,
    pub(crate) patience: Patience,
    /// This node led when it took the request in, and does no more.
    is_orphan: bool,
    /// From then on it is better asked of the leader.
    elsewhere_from: Option<Time>,
}

/// What a request waits for.
#[derive(Debug)]
pub(crate) enum Want {
    /// For its write to be committed.
    Write,
    /// For its read to be safe.
    Read(Range),
    /// The same, of a backup.
    Backup,
}

impl Pending {
    pub(crate) fn add(
        &mut self,
        client: ClientTag,
        now: Time,
        timeout: Duration,
        want: Want,
    ) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket::new(self.last_ticket);
        if self.waiting.is_empty() {
            self.next_check = now + CHECK_INTERVAL;
        }
        let patience = Patience::new(now, timeout);
        let waiting = Waiting { client, want, patience, is_orphan: false, elsewhere_from: None };
        self.waiting.insert(ticket, waiting);
        ticket
    }

    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<Waiting> {
        self.waiting.remove(&ticket)
    }

    /// A read that is not safe on this node by then is to be asked of the leader.
    pub(crate) fn move_on_at(&mut self, ticket: Ticket, at: Time) {
        if let Some(waiting) = self.waiting.get_mut(&ticket) {
            waiting.elsewhere_from = Some(at);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING
    }

    /// When [`Pending::take_expired`] is worth a call.
    pub(crate) fn next_check(&self) -> Option<Time> {
        (!self.waiting.is_empty()).then_some(self.next_check)
    }

    /// This node does not lead any more: the writes it took in have until `by` to find their fate.
    pub(crate) fn leadership_lost(&mut self, by: Time) {
        for waiting in self.waiting.values_mut() {
            if matches!(waiting.want, Want::Write) {
                waiting.patience.deadline = waiting.patience.deadline.min(by);
                waiting.is_orphan = true;
            }
        }
    }

    /// Gives up the requests whose time is up. If another node leads, `elsewhere` says so.
    pub(crate) fn take_expired(
        &mut self,
        now: Time,
        elsewhere: impl FnOnce() -> Option<Error>,
    ) -> Vec<(ClientTag, Error)> {
        if now < self.next_check {
            return Vec::new();
        }
        self.next_check = now + CHECK_INTERVAL;
        let elsewhere = elsewhere();
        let expired = self.waiting.extract_if(.., |_, waiting| {
            let moves_on = waiting.elsewhere_from.is_some_and(|at| at <= now);
            waiting.patience.deadline <= now || moves_on && elsewhere.is_some()
        });
        let told = expired.map(|(_, waiting)| {
            let is_over = waiting.patience.deadline <= now;
            let error = elsewhere.clone().filter(|_| !is_over);
            (waiting.client, error.unwrap_or_else(|| waiting.give_up(now)))
        });
        told.collect()
    }

    /// Gives up every request.
    pub(crate) fn take_all(&mut self, now: Time) -> Vec<(ClientTag, Error)> {
        let all = std::mem::take(&mut self.waiting).into_values();
        all.map(|waiting| (waiting.client, waiting.give_up(now))).collect()
    }
}

impl Waiting {
    fn give_up(&self, now: Time) -> Error {
        let waited = now.since(self.patience.asked_at);
        match self.want {
            Want::Read(_) | Want::Backup => timed_out(waited, Outcome::NotApplied),
            Want::Write if self.is_orphan => Error::LeadershipLost,
            Want::Write => timed_out(waited, Outcome::Unknown),
        }
    }
}
