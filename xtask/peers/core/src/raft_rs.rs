//! What both ways to drive `raft-rs` share: its settings, whose turn it is, and how messages reach
//! a node. All of it is inlined: neither of the two pays for being one of two.

use raft::eraftpb::Message;
use raft::{Config, RawNode, Storage};

/// Pre-vote and check-quorum are on, as they always are in `raft-core`, and followers learn of a
/// commit with the next append, so that both libraries send the same messages.
fn settings(id: u64, max_message_bytes: u64) -> Config {
    Config {
        max_size_per_msg: max_message_bytes,
        check_quorum: true,
        skip_bcast_commit: true,
        pre_vote: true,
        ..Config::new(id)
    }
}

/// A node with nobody to tell what it does.
pub(crate) fn node<S: Storage>(id: u64, max_message_bytes: u64, storage: S) -> RawNode<S> {
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    RawNode::new(&settings(id, max_message_bytes), storage, &logger).expect("the settings fit")
}

/// Goes round until no node has anything to do; `turn` tells whether this one had. When the
/// leader's turn comes again, all its followers have answered.
#[inline]
pub(crate) fn go_round(nodes: usize, mut turn: impl FnMut(usize) -> bool) {
    let mut idle = 0;
    for node in (0..nodes).cycle() {
        idle = if turn(node) { 0 } else { idle + 1 };
        if idle == nodes {
            return;
        }
    }
}

/// Brings messages to whom they are for; the first node has the id 1.
#[inline]
pub(crate) fn deliver<S: Storage>(nodes: &mut [RawNode<S>], messages: Vec<Message>) {
    for message in messages {
        let to = usize::try_from(message.to - 1).expect("nodes are few");
        nodes[to].step(message).expect("the message makes sense");
    }
}
