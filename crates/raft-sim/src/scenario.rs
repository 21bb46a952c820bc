//! [`Scenario`]: everything that a seed draws before a run begins, and [`Overrides`]: what a person
//! or the shrinker wants otherwise.
//!
//! Each topic is drawn with dice of its own, so that an override changes what it names and nothing
//! else.

use std::fmt;
use std::time::Duration;

use raft_core::Limits;

use crate::clock::Speed;
use crate::dice::Dice;
use crate::faults::{Fault, Faults};
use crate::network::MAX_NODES;
use crate::planted::{Blunder, Mistake};

/// One run, before it begins.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where everything random comes from.
    pub seed: u64,
    /// How many nodes found the cluster: all of them vote.
    pub nodes: usize,
    /// How many more there are, which know nobody and may be added.
    pub spares: usize,
    /// How many events happen before the faults end.
    pub steps: u64,
    /// How many operations the clients ask for at most.
    pub operations: usize,
    /// What can go wrong.
    pub faults: Faults,
    /// What the logs are kept on.
    pub medium: MediumKind,
    /// The timing of the protocol.
    pub timing: Timing,
    /// Whether each node has a timing of its own, a little slower or faster.
    pub is_mixed: bool,
    /// Bounds on memory and on what is in flight.
    pub limits: Limits,
    /// How the network behaves.
    pub network: NetworkTraits,
    /// How the disks behave.
    pub disk: DiskTraits,
    /// Whether logs are cut, and how snapshots travel.
    pub snapshots: SnapshotTraits,
    /// By how much clocks may differ within an election timeout, if reads may rely on that. Then
    /// they do, and are never worse.
    pub lease_drift: Option<Duration>,
    /// What the clients do.
    pub workload: Workload,
    /// How often faults strike, and how long they last.
    pub trouble: Trouble,
    /// A mistake that is made on purpose: none, but in tests of the simulator itself.
    pub planted: Option<Mistake>,
}

/// What the logs are kept on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediumKind {
    /// A model: of the writes under way, a crash leaves any prefix. Fast.
    Memory,
    /// The real log on a simulated disk: a crash leaves any subset of the unsynced sectors.
    Disk,
}

/// The timing of the protocol: see [`raft_core::Config`].
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// The shortest election timeout.
    pub election_min: Duration,
    /// The longest one.
    pub election_max: Duration,
}

/// How the network behaves; the rates count only if their kind of fault is on.
#[derive(Clone, Copy, Debug)]
pub struct NetworkTraits {
    /// The shortest way.
    pub delay_min: Duration,
    /// The longest way, apart from late messages.
    pub delay_max: Duration,
    /// Messages lost, in a thousand.
    pub loss_per_mille: u64,
    /// Messages that arrive twice, in a thousand.
    pub duplication_per_mille: u64,
    /// Messages that come late, in a thousand.
    pub late_per_mille: u64,
}

/// How the disks behave; the rates count only if their kind of fault is on.
#[derive(Clone, Copy, Debug)]
pub struct DiskTraits {
    /// The shortest sync.
    pub sync_min: Duration,
    /// The longest one, apart from slow ones.
    pub sync_max: Duration,
    /// Slow syncs, in a thousand.
    pub slow_per_mille: u64,
    /// Batches that fail, in a thousand.
    pub fail_per_mille: u64,
    /// The size of a log segment.
    pub segment_bytes: u64,
}

/// What the clients do.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// How many of them there are.
    pub clients: usize,
    /// How many keys they use.
    pub keys: u8,
    /// How long one thinks between two questions, on average.
    pub think: Duration,
    /// How long one waits for an answer.
    pub patience: Duration,
    /// Reads, in a thousand operations.
    pub read_per_mille: u64,
    /// Questions that go to the leader, if there is one, in a thousand.
    pub leader_per_mille: u64,
    /// How many writes are proposed at once, at most.
    pub burst: u64,
    /// How large a command is beyond what it says, at most.
    pub padding_bytes: u64,
    /// After how many entries a state machine saves its state; never if there is none.
    pub save_every: Option<u64>,
}

/// Whether logs are cut, and how snapshots travel.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotTraits {
    /// How many committed entries a log keeps; no log is ever cut if there is none.
    pub keep: Option<u64>,
    /// The longest way.
    pub longest: Duration,
    /// Snapshots lost on their way, in a thousand.
    pub lost_per_mille: u64,
}

/// How often faults strike, and how long they last.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    /// Between two faults of one kind, on average.
    pub gap: Duration,
    /// How long one lasts, on average.
    pub duration: Duration,
    /// Between two changes of the members, two hand-overs and so on, on average.
    pub wanted_gap: Duration,
}

/// What is to be otherwise than drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// So many founders.
    pub nodes: Option<usize>,
    /// So many nodes that may be added.
    pub spares: Option<usize>,
    /// So many events before the faults end.
    pub steps: Option<u64>,
    /// So many operations at most.
    pub operations: Option<usize>,
    /// Only these faults.
    pub faults: Option<Faults>,
    /// Logs on this.
    pub medium: Option<MediumKind>,
    /// The usual limits rather than cramped ones, and commands without padding.
    pub is_roomy: bool,
    /// This mistake is made.
    pub planted: Option<Mistake>,
}

/// How many events a run has before the faults end, unless told otherwise.
pub const DEFAULT_STEPS: u64 = 10_000;

impl Scenario {
    /// What `seed` draws.
    pub fn draw(seed: u64, overrides: &Overrides) -> Self {
        let dice = |topic| Dice::new(seed, topic);
        let nodes = dice("nodes").pick(&[1, 2, 3, 3, 3, 3, 4, 5, 5]);
        let nodes = overrides.nodes.unwrap_or(nodes);
        let timing = Timing::draw(&mut dice("timing"));
        let faults = overrides.faults.unwrap_or(draw_faults(&mut dice("faults")));
        let lease_drift = dice("lease").chance(300).then_some(timing.election_min / 3);
        // A lease is as good as the clocks.
        let clocks = [Fault::ClockSpeeds, Fault::ClockJumps].into_iter();
        let broken = clocks.filter(|_| lease_drift.is_some());
        let faults = broken.fold(faults, Faults::without);
        let spares =
            if faults.has(Fault::Changes) { dice("spares").pick(&[0, 1, 2, 3]) } else { 0 };
        let spares = overrides.spares.unwrap_or(spares).min(MAX_NODES.saturating_sub(nodes));
        let mut workload = Workload::draw(&mut dice("workload"), timing);
        let mut limits = draw_limits(&mut dice("limits"));
        let medium = overrides.medium.unwrap_or(MediumKind::draw(&mut dice("medium")));
        if medium == MediumKind::Disk && workload.padding_bytes > 0 {
            // Only what takes several sectors can be torn.
            workload.padding_bytes = 1_200;
            limits.max_proposal_bytes = Limits::default().max_proposal_bytes;
        }
        if overrides.is_roomy {
            limits = Limits::default();
            workload.padding_bytes = 0;
        }
        Self {
            seed,
            nodes,
            spares,
            steps: overrides.steps.unwrap_or(DEFAULT_STEPS),
            operations: overrides.operations.unwrap_or(usize::MAX),
            faults,
            medium,
            timing,
            is_mixed: lease_drift.is_none() && dice("mixed").chance(300),
            limits,
            network: NetworkTraits::draw(&mut dice("network traits"), timing),
            disk: DiskTraits::draw(&mut dice("disk traits"), timing),
            snapshots: SnapshotTraits::draw(&mut dice("snapshot traits"), timing),
            lease_drift,
            workload,
            trouble: Trouble::draw(&mut dice("trouble"), timing),
            planted: overrides.planted,
        }
    }

    /// The timing of the node at this place. However they are mixed, every leader's heartbeats come
    /// well within every follower's patience.
    pub(crate) fn timing_of(&self, at: usize) -> Timing {
        if !self.is_mixed {
            return self.timing;
        }
        let percent = Dice::new(self.seed, &format!("timing {at}")).pick(&[85, 100, 115]);
        let scaled = |span: Duration| span * percent / 100;
        let Timing { heartbeat, election_min, election_max } = self.timing;
        Timing {
            heartbeat: scaled(heartbeat),
            election_min: scaled(election_min),
            election_max: scaled(election_max),
        }
    }

    /// How much longer than others the node at this place waits before it campaigns.
    pub(crate) fn campaign_delay(&self, at: usize) -> Duration {
        let mut dice = Dice::new(self.seed, &format!("patience {at}"));
        if dice.chance(200) { self.timing.election_min } else { Duration::ZERO }
    }

    /// How fast the clock of the node at this place runs, if reads may rely on it.
    pub(crate) fn clock_speed(&self, at: usize) -> Speed {
        let mut dice = Dice::new(self.seed, &format!("clock {at}"));
        if self.lease_drift.is_some() { dice.pick(&Speed::SOUND) } else { Speed::TRUE }
    }

    /// Whether this mistake is made.
    pub(crate) fn has(&self, blunder: Blunder) -> bool {
        self.planted == Some(Mistake::Driver(blunder))
    }

    /// How many nodes there are, members or not.
    pub fn seats(&self) -> usize {
        self.nodes + self.spares
    }
}

/// Each kind with even odds; in one run of ten none, in another all.
fn draw_faults(dice: &mut Dice) -> Faults {
    match dice.below(10) {
        0 => Faults::NONE,
        1 => Fault::ALL.into_iter().collect(),
        _ => Fault::ALL.into_iter().filter(|_| dice.coin()).collect(),
    }
}

/// Each limit either as usual or so small that it is met all the time. The cache is never large:
/// every step checks all of it.
fn draw_limits(dice: &mut Dice) -> Limits {
    let usual = Limits::default();
    Limits {
        max_append_bytes: dice.pick(&[100, 300, usual.max_append_bytes]),
        max_inflight_messages: dice.pick(&[1, 3, usual.max_inflight_messages]),
        max_inflight_bytes: dice.pick(&[200, usual.max_inflight_bytes]),
        max_uncommitted_bytes: dice.pick(&[300, 2000, usual.max_uncommitted_bytes]),
        max_pending_reads: dice.pick(&[1, 3, usual.max_pending_reads]),
        max_proposal_bytes: dice.pick(&[100, usual.max_proposal_bytes, usual.max_proposal_bytes]),
        max_cached_bytes: dice.pick(&[0, 0, 300, 300, 1000, 1000, 4000]),
    }
}

impl Timing {
    fn draw(dice: &mut Dice) -> Self {
        let millis = Duration::from_millis;
        let heartbeat = dice.between(millis(10), millis(60));
        let election_min = heartbeat * 5 / 2 + dice.between(millis(1), 3 * heartbeat);
        let spread = dice.pick(&[20, 2, 1]);
        let election_max = election_min + dice.between(election_min / 30, election_min / spread);
        Self { heartbeat, election_min, election_max }
    }

    /// The longest that a message or a sync takes: what is slower than that is a fault. A vote has
    /// to be over well within an election timeout, and mostly before the next candidate wakes up:
    /// otherwise all votes are split for ever.
    fn slowest(self) -> Duration {
        (self.election_min / 6).min(self.election_max.saturating_sub(self.election_min) / 3)
    }
}

impl NetworkTraits {
    fn draw(dice: &mut Dice, timing: Timing) -> Self {
        let slowest = timing.slowest();
        let delay_min = dice.between(Duration::from_micros(20), slowest / 4);
        Self {
            delay_min,
            delay_max: dice.between(delay_min, slowest),
            loss_per_mille: dice.pick(&[5, 50, 200]),
            duplication_per_mille: dice.pick(&[5, 50, 200]),
            late_per_mille: dice.pick(&[1, 10, 50]),
        }
    }
}

impl DiskTraits {
    fn draw(dice: &mut Dice, timing: Timing) -> Self {
        let slowest = timing.slowest();
        let sync_min = dice.between(Duration::from_micros(20), slowest / 4);
        Self {
            sync_min,
            sync_max: dice.between(sync_min, slowest),
            slow_per_mille: dice.pick(&[1, 10, 50]),
            fail_per_mille: dice.pick(&[1, 5, 20]),
            segment_bytes: dice.pick(&[2048, 4096, 8192, 16384]),
        }
    }
}

impl Workload {
    fn draw(dice: &mut Dice, timing: Timing) -> Self {
        let election = timing.election_max;
        Self {
            clients: 1 + dice.place(6),
            keys: dice.pick(&[1, 2, 5]),
            think: dice.between(election / 40, election),
            patience: dice.between(election / 2, 6 * election),
            read_per_mille: dice.pick(&[0, 200, 500, 800]),
            leader_per_mille: dice.pick(&[300, 700, 950]),
            burst: dice.pick(&[1, 1, 4]),
            padding_bytes: dice.pick(&[0, 80, 1200, 1200]),
            save_every: dice.pick(&[None, Some(1), Some(30)]),
        }
    }
}

impl SnapshotTraits {
    fn draw(dice: &mut Dice, timing: Timing) -> Self {
        let longest = dice.pick(&[1, 10, 60]) * timing.election_max / 10;
        Self {
            keep: dice.pick(&[None, Some(0), Some(5), Some(40)]),
            longest,
            lost_per_mille: dice.pick(&[0, 100, 400]),
        }
    }
}

impl Trouble {
    fn draw(dice: &mut Dice, timing: Timing) -> Self {
        let election = timing.election_max;
        let factor = |dice: &mut Dice, choices: &[u32]| dice.pick(choices) * election;
        Self {
            gap: factor(dice, &[2, 5, 10, 30]),
            duration: factor(dice, &[1, 3, 10]) / 2,
            wanted_gap: factor(dice, &[1, 2, 6]) / 2,
        }
    }
}

impl MediumKind {
    /// A real log takes several times as long as a model of one.
    fn draw(dice: &mut Dice) -> Self {
        if dice.chance(200) { Self::Disk } else { Self::Memory }
    }

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

/// As arguments of the command line.
impl fmt::Display for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, spares, steps, operations, faults, medium, is_roomy, planted } = self;
        let arguments = [
            nodes.map(|nodes| format!(" --nodes {nodes}")),
            spares.map(|spares| format!(" --spares {spares}")),
            steps.map(|steps| format!(" --steps {steps}")),
            operations.map(|operations| format!(" --operations {operations}")),
            faults.map(|faults| format!(" --faults {faults}")),
            medium.map(|medium| format!(" --medium {}", medium.name())),
            is_roomy.then(|| " --roomy".to_owned()),
            planted.map(|mistake| format!(" --plant {mistake}")),
        ];
        arguments.into_iter().flatten().try_for_each(|argument| f.write_str(&argument))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_what_a_node_accepts() {
        for seed in 0..500 {
            let scenario = Scenario::draw(seed, &Overrides::default());
            for at in 0..scenario.seats() {
                let config = crate::node::config(&scenario, at);
                assert_eq!(config.validate(), Ok(()), "seed {seed}");
            }
        }
    }

    #[test]
    fn an_override_changes_what_it_names_and_nothing_else() {
        let overrides = Overrides { nodes: Some(1), steps: Some(7), ..Overrides::default() };
        let (plain, other) =
            (Scenario::draw(3, &Overrides::default()), Scenario::draw(3, &overrides));
        assert_eq!((other.nodes, other.steps), (1, 7));
        assert_eq!(plain.faults, other.faults);
        assert_eq!(overrides.to_string(), " --nodes 1 --steps 7");
    }
}
