//! The list of the paths.

use crate::{consensus, log, network, protocol, store};

/// One path, all of whose steps cost the same.
#[derive(Debug)]
pub(crate) struct Path {
    /// Under which its figure is stored.
    pub(crate) name: &'static str,
    /// What one step is.
    pub(crate) meaning: &'static str,
    /// How many are counted. As many before them are not.
    pub(crate) steps: u32,
    /// Makes everything ready for so many steps, and returns what takes one. It panics if a step
    /// does not do what it is there for: a path that leads nowhere is quickly walked.
    pub(crate) start: fn(u32) -> Box<dyn FnMut()>,
}

/// In the order in which a put walks through them, then a get.
pub(crate) const PATHS: [Path; 14] = [
    Path {
        name: "request-put",
        meaning: "a put taken off a client's stream, and checked",
        steps: 2000,
        start: |_| protocol::take_put(),
    },
    Path {
        name: "core-1",
        meaning: "one command proposed, to committed and applied on all of three nodes",
        steps: 2000,
        start: |_| consensus::commit(1),
    },
    Path {
        name: "core-16",
        meaning: "the same, 16 commands proposed at once",
        steps: 500,
        start: |_| consensus::commit(16),
    },
    Path {
        name: "core-256",
        meaning: "the same, 256 commands proposed at once",
        steps: 100,
        start: |_| consensus::commit(256),
    },
    Path {
        name: "append-write",
        meaning: "an append of 16 entries as a frame for a follower",
        steps: 1000,
        start: |_| network::write_append(),
    },
    Path {
        name: "append-read",
        meaning: "the same taken off the follower's stream",
        steps: 1000,
        start: |_| network::read_append(),
    },
    Path {
        name: "log-1",
        meaning: "a write of one entry, to written and synced",
        steps: 500,
        start: |steps| log::append(1, steps),
    },
    Path {
        name: "log-16",
        meaning: "the same of 16 entries",
        steps: 500,
        start: |steps| log::append(16, steps),
    },
    Path {
        name: "store-insert",
        meaning: "a put of a new key applied",
        steps: 2000,
        start: store::insert,
    },
    Path {
        name: "store-put",
        meaning: "a put of a key that exists applied",
        steps: 2000,
        start: store::overwrite,
    },
    Path {
        name: "reply-put",
        meaning: "the answer to a put as a frame",
        steps: 2000,
        start: |_| protocol::answer_put(),
    },
    Path {
        name: "request-get",
        meaning: "a get taken off a client's stream, and checked",
        steps: 2000,
        start: |_| protocol::take_get(),
    },
    Path {
        name: "store-get",
        meaning: "a get of one key, its value in memory",
        steps: 2000,
        start: |_| store::get(),
    },
    Path {
        name: "reply-get",
        meaning: "the answer to a get as a frame",
        steps: 2000,
        start: |_| protocol::answer_get(),
    },
];
