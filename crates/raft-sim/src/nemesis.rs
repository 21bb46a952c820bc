//! [`Nemesis`]: decides what goes wrong, where and for how long.

use std::time::Duration;

use crate::clock::Speed;
use crate::dice::Dice;
use crate::faults::Fault;
use crate::network::{Lag, Links};
use crate::scenario::{Scenario, Trouble};
use crate::storage::End;

/// A jump of a clock is at most so long, either way.
const LONGEST_JUMP: Duration = Duration::from_hours(24);

/// How often a fault looks for the leader rather than for anybody, in a thousand times.
const LEADER_PER_MILLE: u64 = 400;

/// How often a fault that may wait for an election does, in a thousand times.
const AT_ELECTION_PER_MILLE: u64 = 250;

/// How often a log that was damaged is damaged again soon after, in a thousand times.
const AGAIN_PER_MILLE: u64 = 500;

/// How often the others are started anew when a leader is cut off from everybody, in a thousand
/// times.
const RESTARTED_PER_MILLE: u64 = 300;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// These links are cut for so long.
    Cut(Links, Duration),
    /// This node, which leads, hears nobody and is not heard for so long; and the processes of all
    /// others end, if so.
    Isolate(usize, Duration, Option<Stop>),
    /// The links of a node take longer, first so, and from its turn on in another way if so.
    Lag { first: Lag, then: Option<Lag>, turn: Duration, lasts: Duration },
    /// What is under way on this link is lost, and the sender told, if so; and the same on the
    /// way back, if so.
    Disconnect { from: usize, to: usize, is_told: bool, is_both: bool },
    /// The process of this node ends.
    Stop(usize, Stop, Moment),
    /// The process of this node ends, and its log is found damaged when it starts again; and then,
    /// if so, the same once more, after so long.
    Damage(usize, Stop, Option<Duration>),
    /// The process of this node is stopped for so long.
    Pause(usize, Duration),
    /// The clock of this node runs at this speed from now on.
    Speed(usize, Speed),
    /// The clock of this node jumps so far, forward if so.
    Jump(usize, bool, Duration),
}

/// How a process ends, and after how long it starts again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) end: End,
    pub(crate) lasts: Duration,
}

/// When a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Now,
    /// In the middle of its next write.
    WhileWriting,
    /// Right after its next write, with all that waited for it just told.
    AfterWriting,
}

/// Decides what goes wrong.
#[derive(Debug)]
pub(crate) struct Nemesis {
    /// Each kind of fault has dice of its own.
    dice: [Dice; Fault::ALL.len()],
    trouble: Trouble,
    nodes: usize,
    /// The longest election timeout.
    patience: Duration,
}

impl Nemesis {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            dice: Fault::ALL.map(|fault| Dice::new(scenario.seed, fault.name())),
            trouble: scenario.trouble,
            nodes: scenario.seats(),
            patience: scenario.timing.election_max,
        }
    }

    fn dice(&mut self, fault: Fault) -> &mut Dice {
        &mut self.dice[fault as usize]
    }

    /// How long it is until a fault of this kind strikes.
    pub(crate) fn gap(&mut self, fault: Fault) -> Duration {
        let Trouble { gap, wanted_gap, .. } = self.trouble;
        let mean = match fault {
            _ if fault.is_wanted() => wanted_gap,
            // Logs that are damaged all the time leave nobody to vote.
            Fault::Damage => 6 * gap,
            _ => gap,
        };
        self.dice(fault).around(mean)
    }

    /// Whether a fault of this kind waits for the next election, to strike who has won it.
    pub(crate) fn waits(&mut self, fault: Fault) -> bool {
        matches!(fault, Fault::Isolation | Fault::Lags)
            && self.dice(fault).chance(AT_ELECTION_PER_MILLE)
    }

    /// What a fault of this kind does; nothing if it is none that strikes.
    pub(crate) fn deed(&mut self, fault: Fault, leader: Option<usize>) -> Option<Deed> {
        let nodes = self.nodes;
        let dice = self.dice(fault);
        let anybody = dice.place(nodes);
        let is_for_leader = dice.chance(LEADER_PER_MILLE);
        let victim = leader.filter(|_| is_for_leader).unwrap_or(anybody);
        self.deed_to(fault, victim, leader)
    }

    /// What a fault of this kind does to this node, whoever leads.
    pub(crate) fn deed_to(
        &mut self,
        fault: Fault,
        victim: usize,
        leader: Option<usize>,
    ) -> Option<Deed> {
        let (nodes, mean, patience) = (self.nodes, self.trouble.duration, self.patience);
        let dice = self.dice(fault);
        let lasts = dice.around(mean);
        Some(match fault {
            Fault::Cuts => Deed::Cut(cut(dice, victim, nodes), lasts),
            Fault::Partitions => Deed::Cut(partition(dice), lasts),
            Fault::Disconnects => {
                let (from, is_told, is_both) = (dice.place(nodes), dice.coin(), dice.coin());
                Deed::Disconnect { from, to: victim, is_told, is_both }
            }
            Fault::Isolation => {
                let is_restarted = dice.chance(RESTARTED_PER_MILLE);
                let restart = Stop { end: End::Kill, lasts: dice.around(patience / 20) };
                Deed::Isolate(leader?, mean + lasts, is_restarted.then_some(restart))
            }
            Fault::Crashes => Deed::Stop(victim, stop(dice, End::PowerLoss, lasts), moment(dice)),
            Fault::Kills => Deed::Stop(victim, stop(dice, End::Kill, lasts), moment(dice)),
            Fault::Damage => {
                let stop = stop(dice, End::PowerLoss, lasts);
                let again = dice.chance(AGAIN_PER_MILLE).then(|| dice.around(patience));
                Deed::Damage(victim, stop, again)
            }
            Fault::Lags => {
                let (first, then) = lags(dice, victim, (nodes, patience));
                Deed::Lag { first, then, turn: patience + lasts.min(patience), lasts }
            }
            Fault::Pauses => Deed::Pause(victim, lasts),
            Fault::ClockSpeeds => Deed::Speed(victim, speed(dice)),
            Fault::ClockJumps => {
                let longest = if dice.coin() { LONGEST_JUMP } else { mean };
                Deed::Jump(victim, dice.coin(), dice.between(Duration::ZERO, longest))
            }
            Fault::Loss
            | Fault::Duplication
            | Fault::Reordering
            | Fault::Delays
            | Fault::SlowDisks
            | Fault::BadDisks
            | Fault::Changes
            | Fault::Transfers
            | Fault::Campaigns => return None,
        })
    }
}

/// Some processes start again at once.
fn stop(dice: &mut Dice, end: End, lasts: Duration) -> Stop {
    let lasts = if dice.coin() { lasts } else { lasts / 30 };
    Stop { end, lasts }
}

fn moment(dice: &mut Dice) -> Moment {
    dice.pick(&[Moment::Now, Moment::WhileWriting, Moment::WhileWriting, Moment::AfterWriting])
}

/// One way of a single link, or all that one node sends, or all that it should hear.
fn cut(dice: &mut Dice, victim: usize, nodes: usize) -> Links {
    let other = dice.place(nodes);
    match dice.below(3) {
        0 => Links::between(|from| from == victim, |to| to == other),
        1 => Links::between(|from| from == victim, |_| true),
        _ => Links::between(|_| true, |to| to == victim),
    }
}

/// What a node hears comes late, so that it goes on believing what was so. Its peers may hear of
/// it first as ever and then no more, in time to elect another while their answers are still under
/// way; or only one hears of everything an election too late; or each span is drawn by itself.
fn lags(dice: &mut Dice, node: usize, (nodes, patience): (usize, Duration)) -> (Lag, Option<Lag>) {
    let other = (node + 1 + dice.place(nodes.saturating_sub(1))) % nodes;
    let lag = |inward: u32, outward: u32, to_other: u32| {
        let percent = |count: u32| count * patience / 100;
        let to_one = (other, percent(to_other));
        Lag { node, inward: percent(inward), outward: percent(outward), to_one }
    };
    match dice.below(3) {
        0 => {
            let inward = dice.pick(&[50, 75, 100]);
            (lag(inward, 0, 0), Some(lag(inward, 400, 400)))
        }
        1 => (lag(dice.pick(&[25, 50]), 0, dice.pick(&[105, 120, 130, 150])), None),
        _ => {
            let inward = dice.pick(&[0, 25, 50, 100, 200]);
            (lag(inward, dice.pick(&[0, 50, 300]), dice.pick(&[0, 75, 125, 300])), None)
        }
    }
}

/// Everything between two parts of the cluster.
fn partition(dice: &mut Dice) -> Links {
    let sides = dice.next();
    let is_left = |node: usize| sides >> node & 1 == 1;
    let one_way = Links::between(is_left, |to| !is_left(to));
    one_way.union(Links::between(|from| !is_left(from), is_left))
}

/// Broken, or right again.
fn speed(dice: &mut Dice) -> Speed {
    if dice.chance(300) { Speed::TRUE } else { dice.pick(&Speed::BROKEN) }
}
