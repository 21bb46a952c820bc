//! Messages that promise something, held back until what they promise is durable.
//!
//! This is where "every action may be carried out the moment it is seen" is made true. Two rules
//! cover the whole protocol:
//! 1. No message leaves before the term it speaks in is durable.
//! 2. No message leaves before the vote or the entries it vouches for are durable.
//!
//! A message that is still held when its term ends is dropped: it would arrive in the past. So is
//! a request for votes when the campaign ends, and an acknowledgement of what leaves the log again.

use alloc::collections::VecDeque;

use crate::message::{Body, Message};
use crate::types::{Index, PersistId, Term};

/// How many messages are held at most: more than a leader has in flight to one follower, or a
/// cluster has members.
const MAX_HELD: usize = 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    /// In the order of the writes they wait for.
    messages: VecDeque<(PersistId, Message)>,
}

impl Held {
    /// Keeps `message` until the write `until` is durable. When as many are held as may be, it
    /// counts as lost on the network, which every peer can cope with.
    pub(crate) fn hold(&mut self, until: PersistId, message: Message) {
        if self.messages.is_empty() {
            self.messages.push_back((until, message));
        } else {
            self.hold_with_others(until, message);
        }
    }

    /// [`Held::hold`], for what is seldom held: it does not get in the way of those who send.
    #[cold]
    pub(crate) fn hold_back(&mut self, until: PersistId, message: Message) {
        self.hold(until, message);
    }

    #[cold]
    fn hold_with_others(&mut self, until: PersistId, message: Message) {
        if self.messages.len() >= MAX_HELD || self.is_said_already(until, &message) {
            return;
        }
        match self.messages.iter().rev().take_while(|(id, _)| *id > until).count() {
            0 => self.messages.push_back((until, message)),
            later => self.messages.insert(self.messages.len() - later, (until, message)),
        }
    }

    /// Whether the last message that waits for `until` acknowledges as much as `message`.
    fn is_said_already(&self, until: PersistId, message: &Message) -> bool {
        let held = self.messages.iter().rfind(|(id, _)| *id == until);
        let is_acknowledgement = matches!(message.body, Body::Appended { .. });
        is_acknowledgement && held.is_some_and(|(_, held)| held == message)
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The next message that waits for no write after `durable`.
    pub(crate) fn release(&mut self, durable: PersistId) -> Option<Message> {
        self.messages.pop_front_if(|(until, _)| *until <= durable).map(|(_, message)| message)
    }

    /// Drops everything, because a new term begins. Pre-votes too: the term that they speak of is
    /// either the new one, and no longer in question, or still further off.
    pub(crate) fn forget_ended_term(&mut self) {
        self.messages.clear();
    }

    /// Drops the requests for votes and pre-votes: the campaign is over, and the end of the log
    /// that they speak of may soon be replaced.
    pub(crate) fn forget_campaign(&mut self) {
        self.messages.retain(|(_, message)| {
            let body = &message.body;
            !matches!(body, Body::PreVote { .. } | Body::Vote { .. } | Body::TransferVote { .. })
        });
    }

    /// Drops what vouches for entries from `from` on: they are removed. (The leader of a term never
    /// contradicts itself, so only one that lies comes this far.)
    pub(crate) fn forget_acknowledged(&mut self, from: Index) {
        let vouches = |body: &Body| matches!(body, Body::Appended { matched } if *matched >= from);
        self.messages.retain(|(_, message)| !vouches(&message.body));
    }

    /// Whether nothing beyond `last` is vouched for.
    pub(crate) fn vouches_up_to(&self, last: Index) -> bool {
        let is_within =
            |body: &Body| !matches!(body, Body::Appended { matched } if *matched > last);
        self.messages.iter().all(|(_, message)| is_within(&message.body))
    }

    /// Counts the writes that are waited for from `origin` on, and keeps only the first of messages
    /// that say the same.
    pub(crate) fn normalise(&mut self, origin: PersistId) {
        for (until, message) in core::mem::take(&mut self.messages) {
            if self.messages.iter().all(|(_, other)| *other != message) {
                self.messages.push_back((until.counted_from(origin), message));
            }
        }
    }

    /// Whether everything held was said in `term`, or is a pre-vote for a later one.
    pub(crate) fn is_all_of(&self, term: Term) -> bool {
        self.messages.iter().all(|(_, message)| match message.body {
            Body::PreVote { .. } | Body::PreVoteReply { granted: true } => message.term > term,
            _ => message.term == term,
        })
    }
}
