//! The digests that the state had, so that nodes can compare theirs although they are never at the
//! same index at the same time.

use std::collections::VecDeque;

use kv_proto::{DigestsReply, StateDigest};

/// A digest is remembered at every index that this divides: at the same ones on every node.
const STEP: u64 = 64;

/// How many are remembered: those of the last 65 536 entries, in 16 KiB. A node that lags further
/// behind is compared when it has come closer.
const MAX_CHECKPOINTS: usize = 1024;

/// How many are told at once: the latest, thinned out to this many.
const MAX_TOLD: usize = 128;

/// The digests that a state had at checkpoints, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Checkpoints(VecDeque<StateDigest>);

impl Checkpoints {
    /// The state has this digest at this index. Only checkpoints are remembered.
    pub fn note(&mut self, (index, digest): (u64, u64)) {
        if !index.is_multiple_of(STEP) {
            return;
        }
        if self.0.len() == MAX_CHECKPOINTS {
            self.0.pop_front();
        }
        self.0.push_back(StateDigest { index, digest });
    }

    /// What another node is told, when the state has `applied` now. Of those further back only the
    /// multiples of larger and larger steps are told, so that nodes far apart have some in common.
    pub fn reply(&self, (index, digest): (u64, u64)) -> DigestsReply {
        let mut step = STEP;
        let told = loop {
            let told = |at: &&StateDigest| at.index.is_multiple_of(step);
            if self.0.iter().filter(told).count() <= MAX_TOLD {
                break self.0.iter().filter(told).copied().collect();
            }
            step *= 2;
        };
        let applied = StateDigest { index, digest };
        DigestsReply { applied, checkpoints: told, difference: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(last: u64) -> Checkpoints {
        let mut checkpoints = Checkpoints::default();
        (1..=last).for_each(|index| checkpoints.note((index, index * 7)));
        checkpoints
    }

    #[test]
    fn two_nodes_that_are_not_too_far_apart_have_a_checkpoint_in_common() {
        for (ahead, behind) in [(70, 65), (100_000, 99_000), (100_000, 40_000), (1 << 20, 1 << 20)]
        {
            let (one, other) = (up_to(ahead).reply((0, 0)), up_to(behind).reply((0, 0)));
            assert!(one.checkpoints.len() <= MAX_TOLD);
            let shared = one.checkpoints.iter().filter(|at| other.checkpoints.contains(at)).count();
            assert!(shared > 0, "{ahead} and {behind}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        assert_eq!(up_to(1 << 20).0.len(), MAX_CHECKPOINTS);
    }
}
