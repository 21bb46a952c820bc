//! [`Trouble`]: what befalls a cluster, and how it ends.

use std::time::Duration;

use super::agenda::Happening;
use super::node::End;
use super::world::World;
use crate::dice::Dice;
use crate::network::Links;
use crate::violation::Checked;

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Links are cut: those of one node, in one direction or both, or between two halves.
    Cuts,
    /// The power of a node fails.
    Crashes,
    /// A process is killed; what it wrote stays.
    Kills,
    /// A server is asked to stop.
    Stops,
    /// Disks have hardly any room.
    FullDisks,
    /// A disk takes its time.
    SlowDisks,
}

impl Trouble {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Cuts, Self::Crashes, Self::Kills, Self::Stops, Self::FullDisks, Self::SlowDisks];
}

/// The end of some trouble.
#[derive(Debug)]
pub(super) enum Cure {
    /// These links carry again.
    Links(Links),
    /// The process of this node is started again.
    Start(usize),
    /// Somebody makes room on the disk of this node.
    Room(usize),
    /// The disk of this node is as quick as others.
    Quick(usize),
}

/// How much room a disk is left that is called full, in bytes.
const ROOMS_BYTES: [usize; 6] = [0, 0, 4 << 10, 16 << 10, 64 << 10, 256 << 10];

/// Enough to go on for ever, if what is not needed any more goes, in bytes.
const ENOUGH_BYTES: usize = 8 << 20;

/// How long trouble lasts, in milliseconds.
const LASTS_MILLIS: [u64; 5] = [50, 300, 1000, 4000, 12_000];

impl World {
    /// Some trouble begins, and the next is waited for.
    pub(super) fn strike(&mut self) -> Checked {
        if self.mending.is_some() || self.plan.troubles.is_empty() {
            return Ok(());
        }
        let gap = self.dice.around(self.plan.gap);
        self.later(gap, Happening::Strike);
        let trouble = self.dice.pick(&self.plan.troubles);
        let at = self.victim();
        let lasts = Duration::from_millis(self.dice.pick(&LASTS_MILLIS));
        self.note(|| format!("{trouble:?} at node {} for {lasts:?}", at + 1));
        self.tally.reach(match trouble {
            Trouble::Cuts => "links cut",
            Trouble::Crashes => "power losses",
            Trouble::Kills => "processes killed",
            Trouble::Stops => "servers stopped",
            Trouble::FullDisks => "disks filled",
            Trouble::SlowDisks => "disks slowed",
        });
        match trouble {
            Trouble::Cuts => self.cut(at, lasts),
            Trouble::Crashes => self.strike_down(at, End::Power, lasts)?,
            Trouble::Kills => self.strike_down(at, End::Kill, lasts)?,
            Trouble::Stops => self.ask_to_stop(at, lasts)?,
            Trouble::FullDisks => self.fill(at, lasts),
            Trouble::SlowDisks => {
                self.nodes[at].is_slow = true;
                self.cure(lasts, Cure::Quick(at));
            }
        }
        Ok(())
    }

    /// The leader more often than not.
    fn victim(&mut self) -> usize {
        let anybody = self.dice.place(self.nodes.len());
        if self.dice.coin() { self.leader().unwrap_or(anybody) } else { anybody }
    }

    fn cure(&mut self, after: Duration, cure: Cure) {
        self.later(after, Happening::Cure(cure));
    }

    fn cut(&mut self, at: usize, lasts: Duration) {
        let links = match self.dice.below(4) {
            0 => Links::between(|from| from == at, |_| true),
            1 => Links::between(|_| true, |to| to == at),
            2 => {
                let half = |node: usize| node % 2 == at % 2;
                Links::between(half, |to| !half(to)).union(Links::between(|it| !half(it), half))
            }
            _ => {
                let from = Links::between(|from| from == at, |_| true);
                from.union(Links::between(|_| true, |to| to == at))
            }
        };
        self.network.cut(links);
        self.cure(lasts, Cure::Links(links));
    }

    fn strike_down(&mut self, at: usize, end: End, lasts: Duration) -> Checked {
        if self.nodes[at].process.is_some() {
            self.end(at, end)?;
            self.cure(lasts, Cure::Start(at));
        }
        Ok(())
    }

    /// Hardly any room is left for this node, a majority, or all of them.
    fn fill(&mut self, at: usize, lasts: Duration) {
        let count = match self.dice.below(4) {
            0 => self.nodes.len(),
            1 => self.nodes.len() / 2 + 1,
            _ => 1,
        };
        for nth in 0..count {
            let node = (at + nth) % self.nodes.len();
            let room = self.dice.pick(&ROOMS_BYTES);
            self.note(|| format!("node {} has room for {room} bytes", node + 1));
            self.nodes[node].set_room(Some(room));
            let lasts = self.dice.around(lasts);
            self.cure(lasts, Cure::Room(node));
        }
    }

    /// Some trouble is over.
    pub(super) fn heal(&mut self, cure: &Cure) -> Checked {
        self.note(|| format!("over: {cure:?}"));
        match *cure {
            Cure::Links(links) => self.network.mend(links),
            Cure::Start(at) => self.start(at)?,
            Cure::Quick(at) => self.nodes[at].is_slow = false,
            Cure::Room(at) => {
                let is_left = self.mending.as_ref().is_some_and(|it| it.leaves_full(at));
                if !is_left {
                    let room = self.some_room();
                    self.nodes[at].set_room(room);
                }
            }
        }
        Ok(())
    }

    /// As much room as somebody makes who makes some: seldom more than there was ever need of.
    pub(super) fn some_room(&mut self) -> Option<usize> {
        if self.dice.chance(300) { None } else { Some(ENOUGH_BYTES) }
    }
}

/// The dice of what befalls a cluster.
pub(super) fn dice(seed: u64) -> Dice {
    Dice::new(seed, "trouble")
}
