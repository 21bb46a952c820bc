//! Taking in commands at the leader (paper §5.3): which are refused, and how the others get into
//! the log.
//!
//! Commands that came together stay together: in one run of entries that the log, the write to
//! disk, the message to every follower and the state machine share. One that came alone is a run
//! of its own, for which nothing is allocated.

use alloc::vec::Vec;

use crate::api::{Action, Outcome, Rejection};
use crate::command::Command;
use crate::config::Limits;
use crate::entry::{Entries, Entry, Payload};
use crate::log::fitting;
use crate::node::Raft;
use crate::role::Role;
use crate::types::{Position, Ticket};

impl Raft {
    /// One command.
    pub(crate) fn on_propose_one(
        &mut self,
        ticket: Ticket,
        command: Command,
        out: &mut Vec<Action>,
    ) {
        let uncommitted = self.check_takes_proposals().map(|leader| leader.uncommitted.bytes());
        let admitted = uncommitted.and_then(|bytes| admit(&self.config.limits, bytes, &command));
        if let Err(why) = admitted {
            return out.push(Action::Resolved(ticket, Outcome::Rejected(why)));
        }
        let at = Position::new(self.term(), self.log.last().index.next());
        self.proposals.push(at, ticket);
        self.append_as_leader(Entry { at, payload: Payload::Command(command) }, out);
    }

    /// Any number of commands.
    pub(crate) fn on_propose(
        &mut self,
        mut proposals: Vec<(Ticket, Command)>,
        out: &mut Vec<Action>,
    ) {
        let limits = &self.config.limits;
        let mut refuse = |ticket, why| out.push(Action::Resolved(ticket, Outcome::Rejected(why)));
        let mut uncommitted_bytes = match self.check_takes_proposals() {
            Ok(leader) => leader.uncommitted.bytes(),
            Err(why) => return proposals.into_iter().for_each(|(ticket, _)| refuse(ticket, why)),
        };
        proposals.retain(|(ticket, command)| {
            let admitted = admit(limits, uncommitted_bytes, command);
            match admitted {
                Ok(total_bytes) => uncommitted_bytes = total_bytes,
                Err(why) => refuse(*ticket, why),
            }
            admitted.is_ok()
        });
        if !proposals.is_empty() {
            self.append_proposals(proposals);
            self.replicate(out);
        }
    }

    /// Appends these commands, in batches of the size of a message: nothing later, neither a
    /// message nor a write to disk, has to cut them up.
    fn append_proposals(&mut self, proposals: Vec<(Ticket, Command)>) {
        let mut rest = proposals.into_iter();
        while !rest.as_slice().is_empty() {
            let commands = rest.as_slice().iter().map(|(_, command)| command.len());
            let sizes = commands.map(Entry::size_of_command);
            let count = fitting(sizes, self.config.limits.max_append_bytes);
            let (term, last) = (self.term(), self.log.last().index);
            let batch = rest.by_ref().take(count).zip(1..).map(|((ticket, command), number)| {
                let at = Position::new(term, last.plus(number));
                self.proposals.push(at, ticket);
                Entry { at, payload: Payload::Command(command) }
            });
            let batch = batch.collect();
            self.append_own(batch);
        }
    }

    /// Appends an entry to the leader's own log and sends it on.
    pub(crate) fn append_as_leader(&mut self, entry: Entry, out: &mut Vec<Action>) {
        self.append_own(entry.into());
        self.replicate(out);
    }

    #[inline]
    fn append_own(&mut self, entries: Entries) {
        let (Role::Leader(leader), Some(last)) = (&mut self.role, entries.last_position()) else {
            return;
        };
        leader.uncommitted.push(last.index, entries.size_bytes());
        self.log.append(entries);
    }
}

/// What is uncommitted, in bytes, once this command is taken in too; or why it is not.
fn admit(limits: &Limits, uncommitted_bytes: usize, command: &Command) -> Result<usize, Rejection> {
    let size_bytes = Entry::size_of_command(command.len());
    let limit_bytes = limits.max_proposal_bytes;
    let total_bytes = uncommitted_bytes + size_bytes;
    if size_bytes > limit_bytes {
        Err(Rejection::TooLarge { size_bytes, limit_bytes })
    } else if uncommitted_bytes > 0 && total_bytes > limits.max_uncommitted_bytes {
        Err(Rejection::Busy)
    } else {
        Ok(total_bytes)
    }
}
