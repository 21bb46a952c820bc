//! [`Machine`]: the replicated state, a handful of registers, and the commands that change it.
//!
//! Every write returns what it replaced, so that a history tells more than reads alone would. There
//! is no delete: it would be one more write, but one that leaves less of a trace.

use std::sync::Arc;

use raft_core::{ClusterConfig, Entry, Payload, Position, Snapshot};

/// The most keys there can be.
pub(crate) const MAX_KEYS: usize = 8;

/// What a register holds: the number of the operation that wrote it; nothing before the first.
pub type Value = Option<u64>;

/// A write: operation `number` puts its own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) number: u64,
    pub(crate) key: u8,
}

/// What a command takes before its padding.
const COMMAND_BYTES: usize = 9;

impl Command {
    pub(crate) fn encode(self, padding_bytes: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(COMMAND_BYTES + padding_bytes);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.resize(COMMAND_BYTES + padding_bytes, self.key);
        bytes
    }

    /// None if these bytes are no command: nobody proposes any such.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        Some(Self { number: u64::from_le_bytes(*number), key: *rest.first()? })
    }
}

/// The state of one replica after the entries up to `applied`. A copy of it is a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) applied: Position,
    /// The members as of there.
    pub(crate) cluster: Arc<ClusterConfig>,
    /// Sums up everything that was applied, in order.
    pub(crate) digest: u64,
    values: [Value; MAX_KEYS],
}

impl Machine {
    /// The state of a node that knows these members from the beginning.
    pub(crate) fn new(cluster: ClusterConfig) -> Self {
        Self {
            applied: Position::ORIGIN,
            cluster: Arc::new(cluster),
            digest: 0,
            values: [None; MAX_KEYS],
        }
    }

    /// What the core is told of a snapshot of this state.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { at: self.applied, cluster: Arc::clone(&self.cluster) }
    }

    pub(crate) fn read(&self, key: u8) -> Value {
        self.values[usize::from(key) % MAX_KEYS]
    }

    /// Applies the next entry; returns the command, if it is one, and what it replaced.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Option<(Command, Value)> {
        self.applied = entry.at;
        self.mix(entry.at.term.get());
        if let Payload::Config(config) = &entry.payload {
            self.cluster = Arc::clone(config);
        }
        let Payload::Command(bytes) = &entry.payload else { return None };
        let command = Command::decode(bytes)?;
        let register = &mut self.values[usize::from(command.key) % MAX_KEYS];
        let replaced = register.replace(command.number);
        self.mix(command.number);
        self.mix(replaced.unwrap_or(u64::MAX));
        Some((command, replaced))
    }

    /// Leaves out the next entry: a mistake to be noticed.
    pub(crate) fn skip(&mut self, entry: &Entry) {
        self.applied = entry.at;
    }

    fn mix(&mut self, number: u64) {
        let spread = (self.digest ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.digest = spread ^ (spread >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_they_were_written() {
        for padding in [0, 1, 300] {
            let command = Command { number: 1 << 40, key: 3 };
            assert_eq!(Command::decode(&command.encode(padding)), Some(command));
        }
        assert_eq!(Command::decode(b"short"), None);
    }
}
