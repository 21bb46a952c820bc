//! The messages under way, in no order.
//!
//! A message that is never delivered is a lost one, so nothing needs to lose any: of two clusters
//! that differ in one message under way, the one that has it can do all that the other can. It is
//! a set: while a message is under way, a second one that says the same adds nothing that
//! [`Action::Repeat`](crate::Action) does not.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use raft_core::{Body, Message, RoleKind};

use crate::fingerprint::fingerprint;
use crate::node::Node;

/// A set of messages; equal sets are equal however they came about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Network {
    /// Sorted by fingerprint.
    messages: Vec<(u64, Arc<Message>)>,
}

impl Hash for Network {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for (fingerprint, _) in &self.messages {
            state.write_u64(*fingerprint);
        }
    }
}

impl Network {
    pub(crate) fn insert(&mut self, message: Message) {
        let fingerprint = fingerprint(&message);
        if let Err(at) = self.messages.binary_search_by_key(&fingerprint, |(key, _)| *key) {
            self.messages.insert(at, (fingerprint, Arc::new(message)));
        }
    }

    pub(crate) fn remove(&mut self, message: &Message) {
        self.messages.retain(|(_, other)| **other != *message);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.messages.iter().map(|(_, message)| message)
    }

    /// Forgets what can never matter again.
    pub(crate) fn forget_spent(&mut self, is_spent: impl Fn(&Message) -> bool) {
        self.messages.retain(|(_, message)| !is_spent(message));
    }
}

/// Whether it makes no difference any more if this message arrives. A node's term on disk is the
/// earliest it will ever be in again, so what is of an earlier one is out of date for good.
pub(crate) fn is_spent(message: &Message, from: &Node, to: &Node) -> bool {
    let lasting_term = |node: &Node| node.disk.durable.hard_state.term;
    let (term, is_over) = (message.term, lasting_term(to) > message.term);
    if lasting_term(to) < term {
        return false;
    }
    let is_current = |role| to.status.role == role && to.status.term == term;
    match &message.body {
        // Within a term, nobody becomes a candidate or a leader for the second time.
        Body::VoteReply { .. } => !is_current(RoleKind::Candidate),
        Body::Appended { .. }
        | Body::AppendRejected { .. }
        | Body::HeartbeatReply { .. }
        | Body::Recover { .. } => !is_current(RoleKind::Leader),
        Body::TimeoutNow { .. } | Body::RecoverReply { .. } => is_over,
        // The answer would tell the sender of a later term than its own.
        Body::Vote { .. } | Body::Append { .. } | Body::Heartbeat { .. } => {
            is_over && lasting_term(from) > term
        }
        _ => false,
    }
}
