//! Random schedules: anything may happen in any order, and nothing bad ever does; and once the
//! faults stop, something good does within a bounded time.
//!
//! The bulk runs go through thousands of seeds with a generator of their own. When one fails, it
//! is run again with a transcript. The property tests look at fewer schedules, but find the
//! shortest one that fails.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use raft_core::{Config, ConfigChange, NodeId, Outcome, ReadMode, RoleKind};

use crate::cluster::{Cluster, n};
use crate::dice::Dice;

/// One thing that happens. Places are taken modulo how many there are, so that every value means
/// something in every state.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Deliver {
        link: u8,
        at: u8,
    },
    Lose {
        link: u8,
        at: u8,
    },
    Duplicate {
        link: u8,
        at: u8,
    },
    /// Everything under way arrives, everything written becomes durable.
    Calm,
    Time {
        millis: u8,
    },
    Persist {
        node: u8,
        count: u8,
    },
    AnswerLogRead {
        node: u8,
        entries: u8,
    },
    Propose {
        node: u8,
        count: u8,
        bytes: u8,
    },
    Read {
        node: u8,
        by_lease: bool,
    },
    Crash {
        node: u8,
        kept: u8,
    },
    Restart {
        node: u8,
    },
    Cut {
        from: u8,
        to: u8,
    },
    Isolate {
        node: u8,
    },
    Heal,
    Unreachable {
        node: u8,
        peer: u8,
    },
    /// A change of the members: what, to whom, and among whom.
    Change {
        what: u8,
        who: u8,
        among: u8,
    },
    Transfer {
        to: u8,
    },
    Campaign {
        node: u8,
    },
    /// The state machine becomes durable.
    Save {
        node: u8,
    },
    /// The same, and the log is cut but for its last entries.
    Compact {
        node: u8,
        keep: u8,
    },
    /// A snapshot goes on its way, or its sender gives it up or hears that it has arrived.
    MoveSnapshot {
        which: u8,
    },
    /// A snapshot takes the place of a state machine, or fails to, or power fails right after.
    Install {
        node: u8,
        how: u8,
    },
    /// The log of a node is damaged while it is down, if enough others are whole.
    Damage {
        node: u8,
        from: u8,
    },
}

/// Limits so small that every one of them is met all the time.
fn cramped(config: &mut Config) {
    let limits = &mut config.limits;
    limits.max_append_bytes = 120;
    limits.max_proposal_bytes = 120;
    limits.max_inflight_messages = 3;
    limits.max_inflight_bytes = 200;
    limits.max_uncommitted_bytes = 600;
    limits.max_pending_reads = 3;
    limits.max_cached_bytes = 0;
}

impl Happening {
    /// How a bulk run chooses: what brings a cluster forward more often than what disturbs it.
    fn roll(dice: &mut Dice) -> Self {
        let mut byte = || u8::try_from(dice.below(256)).unwrap_or(0);
        let (a, b, c) = (byte(), byte(), byte());
        match dice.below(1000) {
            0..450 => Self::Deliver { link: a, at: if b < 200 { 0 } else { b } },
            450..650 => Self::Persist { node: a, count: b % 4 },
            650..740 => Self::Time { millis: a / 4 },
            740..800 => Self::Propose { node: a, count: b % 4, bytes: c },
            800..840 => Self::Read { node: a, by_lease: b % 2 == 0 },
            840..880 => Self::AnswerLogRead { node: a, entries: b % 4 },
            880..900 => Self::Calm,
            900..925 => Self::Lose { link: a, at: b },
            925..945 => Self::Duplicate { link: a, at: b },
            945..960 => Self::Crash { node: a, kept: b % 4 },
            960..975 => Self::Restart { node: a },
            975..983 => Self::Cut { from: a, to: b },
            983..985 => Self::Isolate { node: a },
            985..993 => Self::Heal,
            _ => Self::Unreachable { node: a, peer: b },
        }
    }

    /// The same, with changes of the members and of the leader now and then.
    fn roll_with_changes(dice: &mut Dice) -> Self {
        let mut byte = || u8::try_from(dice.below(256)).unwrap_or(0);
        let (what, who, among) = (byte(), byte(), byte());
        match dice.below(1000) {
            0..40 => Self::Change { what, who, among },
            40..50 => Self::Transfer { to: who },
            50..55 => Self::Campaign { node: who },
            _ => Self::roll(dice),
        }
    }

    /// The same, with logs that are cut and damaged.
    fn roll_with_snapshots(dice: &mut Dice, has_changes: bool) -> Self {
        let mut byte = || u8::try_from(dice.below(256)).unwrap_or(0);
        let (a, b) = (byte(), byte());
        match dice.below(1000) {
            0..10 => Self::Save { node: a },
            10..40 => Self::Compact { node: a, keep: b % 4 },
            40..80 => Self::MoveSnapshot { which: a },
            80..110 => Self::Install { node: a, how: b },
            // A cluster that changes may need every one of its voters.
            110..125 if !has_changes => Self::Damage { node: a, from: b },
            _ if has_changes => Self::roll_with_changes(dice),
            _ => Self::roll(dice),
        }
    }

    fn happen(self, cluster: &mut Cluster) {
        let size = u8::try_from(cluster.nodes.len()).expect("a small cluster");
        let id = |node: u8| n(u64::from(node % size) + 1);
        match self {
            Self::Deliver { link, at } => on_message(cluster, link, at, Cluster::deliver),
            Self::Lose { link, at } => on_message(cluster, link, at, |cluster, link, at| {
                cluster.network.take(link, at);
            }),
            Self::Duplicate { link, at } => on_message(cluster, link, at, |cluster, link, at| {
                cluster.network.duplicate(link, at);
            }),
            Self::Calm => cluster.settle(),
            Self::Time { millis } => cluster.advance(Duration::from_millis(millis.into())),
            Self::Persist { node, count } => cluster.persist(id(node), count.into()),
            Self::AnswerLogRead { node, entries } => {
                cluster.answer_log_read(id(node), entries.into());
            }
            Self::Propose { node, count, bytes } => propose(cluster, id(node), count, bytes),
            Self::Read { node, by_lease } => {
                let mode = if by_lease { ReadMode::Lease } else { ReadMode::Confirmed };
                if cluster.nodes[&id(node)].raft.is_some() {
                    cluster.read_by(id(node), mode);
                }
            }
            Self::Crash { node, kept } => cluster.crash(id(node), kept.into()),
            Self::Restart { node } => cluster.restart(id(node)),
            Self::Cut { from, to } => cluster.cut((id(from), id(to))),
            Self::Isolate { node } => cluster.isolate(id(node)),
            Self::Heal => cluster.heal(),
            Self::Unreachable { node, peer } => cluster.unreachable(id(node), id(peer)),
            Self::Change { what, who, among } => change(cluster, what, id(who), among),
            Self::Transfer { to } => {
                if let Some(leader) = any_leader(cluster) {
                    cluster.transfer(leader, id(to));
                }
            }
            Self::Campaign { node } => cluster.campaign(id(node)),
            Self::Save { node } => cluster.save(id(node)),
            Self::Compact { node, keep } => cluster.compact(id(node), keep.into()),
            Self::MoveSnapshot { which } => move_snapshot(cluster, which),
            Self::Install { node, how } => install(cluster, id(node), how),
            Self::Damage { node, from } => damage(cluster, id(node), from),
        }
    }
}

fn move_snapshot(cluster: &mut Cluster, which: u8) {
    let transfers = cluster.transfers();
    if let Some(at) = usize::from(which).checked_rem(transfers.len()) {
        let (from, to, is_sent) = transfers[at];
        if is_sent { cluster.end_transfer(from, to) } else { cluster.send_snapshot(from, to) }
    }
}

fn install(cluster: &mut Cluster, id: NodeId, how: u8) {
    match how % 8 {
        0 => cluster.install(id, false),
        1 => {
            cluster.replace_state(id);
            cluster.crash(id, 0);
        }
        _ => cluster.install(id, true),
    }
}

/// Damages a log, as long as a majority is whole.
fn damage(cluster: &mut Cluster, id: NodeId, from: u8) {
    let is_damaged = |id: &NodeId| cluster.nodes[id].disk.durable.hard_state.recovering;
    let others = ids(cluster).into_iter().filter(|other| *other != id && is_damaged(other)).count();
    let entries = cluster.nodes[&id].disk.durable.entries();
    let place = usize::from(from).checked_rem(entries.len());
    if let Some(place) = place.filter(|_| 2 * (others + 1) < cluster.nodes.len()) {
        let first = entries[place].at.index;
        cluster.crash(id, 0);
        cluster.damage(id, first);
    }
}

/// A node that thinks that it leads, even if its time is over.
fn any_leader(cluster: &Cluster) -> Option<NodeId> {
    let leads = |id: &NodeId| {
        cluster.nodes[id].status().is_some_and(|status| status.role == RoleKind::Leader)
    };
    cluster.nodes.keys().copied().find(leads)
}

/// Asks a leader for a change that often makes sense: nodes come, are promoted and leave.
fn change(cluster: &mut Cluster, what: u8, who: NodeId, among: u8) {
    let Some(leader) = any_leader(cluster) else { return };
    let members = cluster.members(leader);
    let learner = members.learners.iter().nth(usize::from(among) % 2).copied().unwrap_or(who);
    let picked = |id: &NodeId| (among >> (id.get() % 8)) & 1 == 0;
    let change = match what % 16 {
        0..4 => ConfigChange::AddLearner(who),
        4..8 => ConfigChange::Promote(learner),
        8..10 => ConfigChange::Demote(who),
        10..13 => ConfigChange::Remove(who),
        _ => ConfigChange::Replace {
            voters: members.members().filter(picked).collect(),
            learners: cluster.nodes.keys().copied().filter(|_| what > 100).collect(),
        },
    };
    cluster.change(leader, change);
}

fn on_message(
    cluster: &mut Cluster,
    link: u8,
    at: u8,
    act: impl Fn(&mut Cluster, (NodeId, NodeId), usize),
) {
    let links = cluster.network.busy_links();
    if let Some(link) = links.get(usize::from(link) % links.len().max(1)) {
        let queued = cluster.network.queued(*link).count();
        act(cluster, *link, usize::from(at) % queued);
    }
}

/// Proposes mostly where it can succeed: at a node that leads, if there is one.
fn propose(cluster: &mut Cluster, id: NodeId, count: u8, bytes: u8) {
    let leader = any_leader(cluster).filter(|_| !bytes.is_multiple_of(8));
    let id = leader.unwrap_or(id);
    if cluster.nodes[&id].raft.is_none() {
        return;
    }
    let width = usize::from(bytes % 100);
    let commands: Vec<_> =
        (0..count).map(|_| format!("{:0width$}", cluster.fresh_number())).collect();
    cluster.propose(id, &commands.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Ends all faults and lets the cluster run, with delays, until everything is as it should be:
/// there is a leader, no change is half done, every ticket given to a member has its outcome, a
/// new command is applied by all members.
fn recover(cluster: &mut Cluster, dice: &mut Dice) {
    const ROUND: Duration = Duration::from_millis(5);
    const MAX_ROUNDS: usize = 2000;
    cluster.heal();
    for id in ids(cluster) {
        cluster.restart(id);
    }
    let mut last_command = None;
    for round in 0..MAX_ROUNDS {
        cluster.now = cluster.now + ROUND;
        cluster.wake_due();
        move_things(cluster, dice);
        let is_committed =
            last_command.and_then(|ticket| cluster.outcome(ticket)).is_some_and(is_commit);
        if is_committed && is_recovered(cluster) {
            return;
        }
        if round % 40 == 39 && !is_committed {
            let command = format!("last {}", cluster.fresh_number());
            let leader = cluster.leader();
            last_command = leader.map(|leader| cluster.propose(leader, &[&command])[0]);
        }
    }
    let open: Vec<_> = cluster.witness.open().collect();
    panic!("no recovery: leader {:?}, open tickets {open:?}", cluster.leader());
}

fn move_things(cluster: &mut Cluster, dice: &mut Dice) {
    for link in cluster.network.busy_links() {
        for _ in 0..cluster.network.queued(link).count() {
            if dice.below(4) > 0 {
                cluster.deliver(link, 0);
            }
        }
    }
    for id in ids(cluster) {
        if dice.below(4) > 0 {
            cluster.persist(id, usize::MAX);
        }
        while !cluster.nodes[&id].log_reads.is_empty() {
            cluster.answer_log_read(id, usize::MAX);
        }
        if dice.below(4) > 0 {
            cluster.install(id, true);
        }
    }
    for which in 0..cluster.transfers().len() {
        if dice.below(4) > 0 {
            move_snapshot(cluster, u8::try_from(which).expect("few transfers"));
        }
    }
}

fn ids(cluster: &Cluster) -> Vec<NodeId> {
    cluster.nodes.keys().copied().collect()
}

fn is_commit(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Committed(_))
}

fn is_recovered(cluster: &Cluster) -> bool {
    let (committed, members) = (cluster.witness.committed(), cluster.witness.members());
    let is_open = cluster.witness.open().any(|(node, _)| members.is_member(node));
    let is_up_to_date = members.members().all(|id| cluster.nodes[&id].applied == committed);
    !is_open && is_up_to_date && members.outgoing.is_none()
}

/// What a bulk run is made of.
#[derive(Clone, Copy, Debug)]
struct Plan {
    founders: u64,
    /// Nodes that are there and may join.
    joining: u64,
    steps: usize,
    /// Whether logs are cut and damaged.
    has_snapshots: bool,
}

impl Plan {
    fn cluster(self, change: impl Fn(&mut Config)) -> Cluster {
        let mut cluster = Cluster::configured(self.founders, &change);
        for id in (self.founders + 1..=self.founders + self.joining).map(n) {
            let mut config = Config::new(id);
            change(&mut config);
            cluster.add_joining(config);
            cluster.restart(id);
        }
        cluster
    }

    fn roll(self, dice: &mut Dice) -> Happening {
        match self.joining {
            _ if self.has_snapshots => Happening::roll_with_snapshots(dice, self.joining > 0),
            0 => Happening::roll(dice),
            _ => Happening::roll_with_changes(dice),
        }
    }
}

fn run_seed(seed: u64, plan: Plan, record: bool) -> Cluster {
    let mut dice = Dice::new(seed);
    let (is_cramped, has_leases) = (dice.below(4) > 0, dice.below(2) > 0);
    let mut cluster = plan.cluster(|config| {
        config.lease_drift = has_leases.then_some(Duration::ZERO);
        if is_cramped {
            cramped(config);
        }
    });
    if record {
        cluster.record();
    }
    let run = AssertUnwindSafe(|| {
        for _ in 0..plan.steps {
            plan.roll(&mut dice).happen(&mut cluster);
        }
        recover(&mut cluster, &mut dice);
    });
    if let Err(panic) = catch_unwind(run) {
        if !record {
            run_seed(seed, plan, true);
        }
        eprintln!("{}seed {seed}, {plan:?}", tail(&cluster.take_transcript(), 400));
        resume_unwind(panic);
    }
    cluster
}

fn tail(text: &str, lines: usize) -> String {
    let skip = text.lines().count().saturating_sub(lines);
    text.lines().skip(skip).fold(String::new(), |mut tail, line| {
        let _ = writeln!(tail, "{line}");
        tail
    })
}

/// Runs so many seeds, or those that RAFT_SEEDS (how many) and RAFT_FIRST_SEED say.
fn run_seeds(seeds: u64, size: u64, steps: usize) -> BTreeMap<&'static str, usize> {
    run_plan(seeds, Plan { founders: size, joining: 0, steps, has_snapshots: false })
}

fn run_plan(seeds: u64, plan: Plan) -> BTreeMap<&'static str, usize> {
    let setting = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = setting("RAFT_FIRST_SEED").unwrap_or(0);
    let seeds = setting("RAFT_SEEDS").unwrap_or(seeds);
    let mut reached = BTreeMap::new();
    for seed in first..first + seeds {
        let marks = run_seed(seed, plan, false).marks;
        for (mark, count) in marks {
            *reached.entry(mark).or_default() += count;
        }
    }
    println!("{plan:?}: {reached:?}");
    reached
}

/// What every bulk run of several nodes must have met, many times.
fn assert_reached_everything(reached: &BTreeMap<&'static str, usize>) {
    let marks = [
        "backtracked",
        "busy",
        "committed",
        "elected",
        "leader alive",
        "log behind",
        "log read for a follower",
        "log read to apply",
        "overwritten",
        "quorum lost",
        "read",
        "too large",
        "truncated",
        "voted already",
    ];
    assert_reached(reached, &marks);
    assert_eq!(reached.get("dropped a stranger's"), None, "there are no strangers");
}

fn assert_reached(reached: &BTreeMap<&'static str, usize>, marks: &[&str]) {
    for mark in marks {
        assert!(reached.get(mark).is_some_and(|count| *count >= 10), "{mark} in {reached:?}");
    }
    assert_eq!(reached.get("dropped"), None, "correct nodes send nothing that makes no sense");
}

#[test]
fn one_node_stays_safe_and_recovers_from_anything() {
    assert!(run_seeds(200, 1, 200)["read"] > 100);
}

#[test]
fn two_nodes_stay_safe_and_recover_from_anything() {
    assert!(run_seeds(500, 2, 300)["committed"] > 100);
}

#[test]
fn three_nodes_stay_safe_and_recover_from_anything() {
    assert_reached_everything(&run_seeds(3000, 3, 300));
}

#[test]
fn five_nodes_stay_safe_and_recover_from_anything() {
    assert_reached_everything(&run_seeds(1000, 5, 600));
}

#[test]
fn nodes_come_and_go_and_the_cluster_stays_safe_and_recovers() {
    let reached =
        run_plan(2500, Plan { founders: 3, joining: 2, steps: 400, has_snapshots: false });
    let marks = [
        "asked to lead",
        "change under way",
        "committed",
        "disk stalled",
        "dropped a stranger's",
        "elected",
        "joint",
        "leaving",
        "left out",
        "members changed",
        "no change",
        "not caught up",
        "not ready",
        "overwritten",
        "transfer failed",
        "transfer under way",
        "transferred",
        "truncated",
        "unknown member",
    ];
    assert_reached(&reached, &marks);
}

#[test]
fn a_cluster_grows_from_one_node_and_stays_safe_and_recovers() {
    let reached =
        run_plan(1500, Plan { founders: 1, joining: 3, steps: 400, has_snapshots: false });
    assert_reached(&reached, &["joint", "left out", "members changed", "no voters", "transferred"]);
}

#[test]
fn logs_are_cut_and_damaged_and_the_cluster_stays_safe_and_recovers() {
    let plan = Plan { founders: 3, joining: 0, steps: 500, has_snapshots: true };
    let reached = run_plan(2000, plan);
    assert_reached(&reached, &["recovered", "recovering", "snapshot installed", "snapshot needed"]);
}

#[test]
fn five_nodes_with_cut_and_damaged_logs_stay_safe_and_recover() {
    let plan = Plan { founders: 5, joining: 0, steps: 700, has_snapshots: true };
    let reached = run_plan(600, plan);
    assert_reached(&reached, &["recovered", "recovering", "snapshot installed"]);
}

#[test]
fn nodes_come_and_go_while_logs_are_cut_and_the_cluster_stays_safe_and_recovers() {
    let reached = run_plan(1500, Plan { founders: 2, joining: 3, steps: 500, has_snapshots: true });
    assert_reached(&reached, &["joint", "left out", "snapshot installed", "transferred"]);
}

fn happening() -> impl Strategy<Value = Happening> {
    any::<u64>().prop_map(|seed| Happening::roll(&mut Dice::new(seed)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_schedule_breaks_a_cluster(
        size in prop_oneof![3 => Just(3_u64), 1 => Just(5)],
        happenings in vec(happening(), 1..400),
    ) {
        let mut cluster = Cluster::configured(size, cramped);
        for happening in happenings {
            happening.happen(&mut cluster);
        }
        recover(&mut cluster, &mut Dice::new(1));
    }

    #[test]
    fn no_schedule_of_changes_breaks_a_cluster(
        founders in 1..4_u64,
        happenings in vec(any::<u64>(), 1..400),
    ) {
        let plan = Plan { founders, joining: 2, steps: 0, has_snapshots: false };
        let mut cluster = plan.cluster(cramped);
        for seed in happenings {
            Happening::roll_with_changes(&mut Dice::new(seed)).happen(&mut cluster);
        }
        recover(&mut cluster, &mut Dice::new(1));
    }
}
