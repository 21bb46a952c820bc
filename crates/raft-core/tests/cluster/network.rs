//! A network that may do everything a real one does, but only when told: one queue of messages for
//! each direction between two nodes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft_core::{Message, NodeId};

/// From whom, to whom.
pub(crate) type Link = (NodeId, NodeId);

/// More on one link than this is lost, oldest first: no network has room for everything.
const MAX_QUEUED: usize = 256;

#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    queues: BTreeMap<Link, VecDeque<Message>>,
    cut: BTreeSet<Link>,
}

impl Network {
    pub(crate) fn send(&mut self, message: Message) {
        let link = (message.from, message.to);
        if self.cut.contains(&link) {
            return;
        }
        let queue = self.queues.entry(link).or_default();
        queue.push_back(message);
        if queue.len() > MAX_QUEUED {
            queue.pop_front();
        }
    }

    /// The links with messages on them, in order.
    pub(crate) fn busy_links(&self) -> Vec<Link> {
        let busy = self.queues.iter().filter(|(_, queue)| !queue.is_empty());
        busy.map(|(link, _)| *link).collect()
    }

    pub(crate) fn queued(&self, link: Link) -> impl Iterator<Item = &Message> {
        self.queues.get(&link).into_iter().flatten()
    }

    /// The place of the first message on the link that fits.
    pub(crate) fn find(&self, link: Link, fits: impl Fn(&Message) -> bool) -> Option<usize> {
        self.queued(link).position(fits)
    }

    /// Takes the message at this place off the link, leaving those before it: reordering.
    pub(crate) fn take(&mut self, link: Link, at: usize) -> Option<Message> {
        self.queues.get_mut(&link)?.remove(at)
    }

    /// Puts a second copy of the message at this place at the end of the link.
    pub(crate) fn duplicate(&mut self, link: Link, at: usize) {
        let message = self.queued(link).nth(at).cloned();
        if let Some(message) = message {
            self.send(message);
        }
    }

    /// Loses what is under way on this link, and everything sent from now on.
    pub(crate) fn cut(&mut self, link: Link) {
        self.queues.remove(&link);
        self.cut.insert(link);
    }

    /// Every link works again.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Loses everything under way to this node.
    pub(crate) fn lose_all_to(&mut self, to: NodeId) {
        self.queues.retain(|link, _| link.1 != to);
    }
}
