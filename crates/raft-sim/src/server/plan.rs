//! [`Plan`]: everything that a seed draws before a run begins.

use std::time::Duration;

use kv_server::allowance::Allowance;
use kv_server::log_keep::LogKeep;
use raft_core::Limits;

use super::slips::{Mistake, Slip};
use super::trouble::Trouble;
use crate::dice::Dice;
use crate::faults::{Fault, Faults};
use crate::scenario::NetworkTraits;

/// One run, before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where everything random comes from.
    pub seed: u64,
    /// How many nodes there are; all of them vote.
    pub nodes: usize,
    /// How long things go wrong.
    pub span: Duration,
    /// What befalls the nodes.
    pub troubles: Vec<Trouble>,
    /// What befalls single messages.
    pub faults: Faults,
    /// How the network behaves.
    pub network: NetworkTraits,
    /// The mean time between two troubles.
    pub gap: Duration,
    /// What the clients do.
    pub workload: Workload,
    /// How large things may be.
    pub sizes: Sizes,
    /// So many nodes stay full when all other trouble is over, until the rest has shown what it
    /// can do without them.
    pub left_full: usize,
    /// A mistake that is made on purpose: none, but to see that it is found.
    pub planted: Option<Mistake>,
}

/// What the clients do.
#[derive(Clone, Debug)]
pub struct Workload {
    /// How many there are.
    pub clients: usize,
    /// How many keys they use.
    pub keys: u8,
    /// The mean time between an answer and the next question.
    pub think: Duration,
    /// How long they wait for an answer.
    pub timeout: Duration,
    /// So many of a thousand questions are reads.
    pub read_per_mille: u64,
    /// The longest value, in bytes.
    pub value_bytes: u64,
}

/// How large things may be: so small that every bound is met, and in the proportions of a real
/// server, of which a reserve of the log is the measure.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Of the core.
    pub limits: Limits,
    /// How much of the log is kept.
    pub keep: LogKeep,
    /// What is taken of commands without room.
    pub allowance: Allowance,
    /// Of one segment of the log, in bytes.
    pub segment_bytes: u64,
    /// Of its reserve, in bytes.
    pub reserve_bytes: u64,
    /// How many old revisions are kept.
    pub revisions: u64,
}

/// The reserve, in bytes.
const RESERVE: usize = 128 << 10;

impl Plan {
    /// What this seed draws.
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let nodes = dice.pick(&[1, 3, 3, 3, 3, 5]);
        let millis = Duration::from_millis;
        let troubles = Trouble::ALL.into_iter().filter(|_| dice.chance(600)).collect();
        let kinds = [Fault::Loss, Fault::Duplication, Fault::Reordering, Fault::Delays];
        let faults = kinds.into_iter().filter(|_| dice.coin()).collect();
        let network = NetworkTraits {
            delay_min: Duration::from_micros(50),
            delay_max: millis(dice.pick(&[1, 3, 20])),
            loss_per_mille: dice.pick(&[5, 50, 150]),
            duplication_per_mille: dice.pick(&[5, 50]),
            late_per_mille: dice.pick(&[2, 20]),
        };
        Self {
            seed,
            nodes,
            span: Duration::from_secs(dice.pick(&[5, 10, 20])),
            troubles,
            faults,
            network,
            gap: millis(dice.pick(&[300, 1000, 3000])),
            workload: Workload::draw(&mut dice),
            sizes: Sizes::draw(&mut dice),
            left_full: dice.place(nodes + 1),
            planted: None,
        }
    }

    pub(super) fn has(&self, slip: Slip) -> bool {
        self.planted == Some(Mistake::Driver(slip))
    }
}

impl Workload {
    fn draw(dice: &mut Dice) -> Self {
        Self {
            clients: dice.pick(&[2, 5, 12]),
            keys: dice.pick(&[2, 4, 6]),
            think: Duration::from_millis(dice.pick(&[5, 20, 80])),
            timeout: Duration::from_millis(dice.pick(&[100, 1000, 5000])),
            read_per_mille: dice.pick(&[100, 400]),
            value_bytes: dice.pick(&[30, 300, 3000]),
        }
    }
}

impl Sizes {
    fn draw(dice: &mut Dice) -> Self {
        let limits = Limits {
            max_append_bytes: dice.pick(&[2 << 10, 16 << 10]),
            max_inflight_messages: dice.pick(&[2, 32]),
            max_inflight_bytes: RESERVE / 2,
            max_uncommitted_bytes: dice.pick(&[16 << 10, 4 * RESERVE]),
            max_cached_bytes: dice.pick(&[0, 4 << 10, RESERVE / 2]),
            ..Limits::default()
        };
        Self {
            limits,
            keep: LogKeep { entries: dice.pick(&[0, 10, 100]), bytes: dice.pick(&[0, 1 << 20]) },
            allowance: Allowance { held_bytes: RESERVE / 2, earlier_bytes: RESERVE / 8 },
            segment_bytes: dice.pick(&[16 << 10, RESERVE as u64]),
            reserve_bytes: RESERVE as u64,
            revisions: dice.pick(&[5, 100, 10_000]),
        }
    }
}
