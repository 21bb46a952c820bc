//! The network: decides for every message whether, when and how often it arrives.

use std::time::Duration;

use raft_core::{Message, Time};

use crate::coverage::{Coverage, Mark};
use crate::dice::Dice;
use crate::echoes::Echoes;
use crate::faults::{Fault, Faults};
use crate::scenario::{NetworkTraits, Scenario};

/// The most nodes that a cluster can have here.
pub(crate) const MAX_NODES: usize = 8;

/// The number of directed links, those from a node to itself included.
const LINKS: usize = MAX_NODES * MAX_NODES;

/// Of the messages that cannot be delivered, so many in a thousand come later, where messages may
/// be late.
const HELD_BACK_PER_MILLE: u64 = 300;

/// How often a question is answered first by what answered an earlier one, in a thousand times.
const ECHO_PER_MILLE: u64 = 300;

/// Where the link from one node to another lies.
const fn place(from: usize, to: usize) -> usize {
    from * MAX_NODES + to
}

/// A set of directed links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links(u64);

impl Links {
    /// The links from each node that `from` accepts to each other one that `to` accepts.
    pub(crate) fn between(from: impl Fn(usize) -> bool, to: impl Fn(usize) -> bool) -> Self {
        let mut links = 0;
        for a in (0..MAX_NODES).filter(|a| from(*a)) {
            for b in (0..MAX_NODES).filter(|b| *b != a && to(*b)) {
                links |= 1 << place(a, b);
            }
        }
        Self(links)
    }

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn places(self) -> impl Iterator<Item = usize> {
        (0..LINKS).filter(move |place| self.0 >> place & 1 == 1)
    }

    /// How many of them lead from one of the first `nodes` nodes to another.
    pub(crate) fn within(self, nodes: usize) -> impl Iterator<Item = (usize, usize)> {
        let ends = self.places().map(|place| (place / MAX_NODES, place % MAX_NODES));
        ends.filter(move |(from, to)| *from < nodes && *to < nodes)
    }
}

/// How much longer the links of one node take for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lag {
    pub(crate) node: usize,
    /// What comes to it, from everybody.
    pub(crate) inward: Duration,
    /// What it sends, to everybody but one.
    pub(crate) outward: Duration,
    /// What it sends to that one.
    pub(crate) to_one: (usize, Duration),
}

/// Everything between the nodes.
#[derive(Debug)]
pub(crate) struct Network {
    dice: Dice,
    /// For what comes once more after a start.
    echo_dice: Dice,
    loss_per_mille: u64,
    duplication_per_mille: u64,
    late_per_mille: u64,
    lateness: Duration,
    delay_min: Duration,
    delay_max: Duration,
    is_ordered: bool,
    /// How many cuts each link is under: they overlap.
    cuts: [u8; LINKS],
    /// What was sent on the link before this moment never arrives.
    broken_at: [Time; LINKS],
    /// How much longer than usual each link takes.
    lags: [Duration; LINKS],
    /// When the latest message on each link arrives.
    latest: [Time; LINKS],
}

impl Network {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let lateness = 4 * scenario.timing.election_max;
        Self::with(scenario.seed, scenario.network, scenario.faults, lateness)
    }

    /// A network with these traits, of which the rates count only if their kind of fault is on.
    /// A message that is late may be so by about `lateness`.
    pub(crate) fn with(
        seed: u64,
        traits: NetworkTraits,
        faults: Faults,
        lateness: Duration,
    ) -> Self {
        let if_on = |fault, per_mille| if faults.has(fault) { per_mille } else { 0 };
        Self {
            dice: Dice::new(seed, "network"),
            echo_dice: Dice::new(seed, "echoes"),
            loss_per_mille: if_on(Fault::Loss, traits.loss_per_mille),
            duplication_per_mille: if_on(Fault::Duplication, traits.duplication_per_mille),
            late_per_mille: if_on(Fault::Delays, traits.late_per_mille),
            lateness,
            delay_min: traits.delay_min,
            delay_max: traits.delay_max,
            is_ordered: !faults.has(Fault::Reordering),
            cuts: [0; LINKS],
            broken_at: [Time::ZERO; LINKS],
            lags: [Duration::ZERO; LINKS],
            latest: [Time::ZERO; LINKS],
        }
    }

    /// When a message that is sent now arrives: never, once, or twice.
    pub(crate) fn send(
        &mut self,
        (from, to): (usize, usize),
        now: Time,
        coverage: &mut Coverage,
    ) -> [Option<Time>; 2] {
        let link = place(from, to);
        if self.cuts[link] > 0 {
            return [None, None];
        }
        if self.dice.chance(self.loss_per_mille) {
            coverage.reach(Mark::MessageLost);
            return [None, None];
        }
        let first = self.arrival(link, now, coverage);
        if !self.dice.chance(self.duplication_per_mille) {
            return [Some(first), None];
        }
        coverage.reach(Mark::MessageDuplicated);
        [Some(first), Some(self.arrival(link, now, coverage))]
    }

    fn arrival(&mut self, link: usize, now: Time, coverage: &mut Coverage) -> Time {
        let usual = self.dice.between(self.delay_min, self.delay_max);
        let mut at = now + usual + self.lags[link];
        if self.dice.chance(self.late_per_mille) {
            coverage.reach(Mark::MessageLate);
            at = at + self.lateness / 4 + self.dice.between(Duration::ZERO, self.lateness);
        }
        let latest = &mut self.latest[link];
        if at < *latest {
            if self.is_ordered {
                return *latest;
            }
            coverage.reach(Mark::MessageOvertaken);
        }
        *latest = at.max(*latest);
        at
    }

    /// Whether a message that was sent at that time still arrives.
    pub(crate) fn delivers(&self, (from, to): (usize, usize), sent: Time) -> bool {
        let link = place(from, to);
        self.cuts[link] == 0 && sent >= self.broken_at[link]
    }

    /// How much longer a message stays in the network that cannot be delivered now; none if it is
    /// lost. So a node that was down hears late answers to what it asked before.
    pub(crate) fn hold_back(&mut self, coverage: &mut Coverage) -> Option<Duration> {
        if self.late_per_mille == 0 || !self.dice.chance(HELD_BACK_PER_MILLE) {
            return None;
        }
        coverage.reach(Mark::MessageHeldBack);
        Some(self.dice.between(Duration::ZERO, self.lateness))
    }

    /// Keeps a message that arrives, where messages arrive twice.
    pub(crate) fn echo(&mut self, message: &Message, echoes: &mut Echoes) {
        if self.duplication_per_mille > 0 {
            echoes.hear(message, &mut self.echo_dice);
        }
    }

    /// Whether an old answer overtakes the one to what is asked now.
    pub(crate) fn echoes_now(&mut self) -> bool {
        self.echo_dice.chance(ECHO_PER_MILLE)
    }

    /// How long after the start of a node something comes that it heard before.
    pub(crate) fn echoes_after(&mut self, longest: Duration) -> Duration {
        self.echo_dice.between(Duration::ZERO, longest)
    }

    /// Loses what is under way on this link.
    pub(crate) fn lose_under_way(&mut self, (from, to): (usize, usize), now: Time) {
        self.broken_at[place(from, to)] = now;
    }

    pub(crate) fn cut(&mut self, links: Links) {
        links.places().for_each(|place| self.cuts[place] = self.cuts[place].saturating_add(1));
    }

    /// Ends one cut of each of these links.
    pub(crate) fn mend(&mut self, links: Links) {
        links.places().for_each(|place| self.cuts[place] = self.cuts[place].saturating_sub(1));
    }

    /// From now on, the links of this node take so much longer. An earlier lag of theirs is over.
    pub(crate) fn lag(&mut self, Lag { node, inward, outward, to_one }: Lag) {
        for other in 0..MAX_NODES {
            self.lags[place(other, node)] = inward;
            self.lags[place(node, other)] = if other == to_one.0 { to_one.1 } else { outward };
        }
    }

    /// The links of this node take their usual time again.
    pub(crate) fn catch_up(&mut self, node: usize) {
        let usual = Duration::ZERO;
        self.lag(Lag { node, inward: usual, outward: usual, to_one: (node, usual) });
    }

    /// Ends all cuts and lags, and everything that happens to single messages but a little loss.
    pub(crate) fn calm_down(&mut self) {
        self.cuts = [0; LINKS];
        self.lags = [Duration::ZERO; LINKS];
        self.latest = [Time::ZERO; LINKS];
        self.loss_per_mille = self.loss_per_mille.min(20);
        self.late_per_mille = 0;
    }

    /// Loses nothing any more but what is cut.
    pub(crate) fn lose_nothing(&mut self) {
        self.loss_per_mille = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Overrides;

    #[test]
    fn a_lag_counts_for_the_links_of_one_node_until_it_has_caught_up() {
        let no_faults = Overrides { faults: Some(Faults::NONE), ..Overrides::default() };
        let mut network = Network::new(&Scenario::draw(1, &no_faults));
        let second = Duration::from_secs(1);
        network.lag(Lag { node: 0, inward: second, outward: 2 * second, to_one: (2, 3 * second) });
        let mut seconds = |from, to| {
            let [arrival, _] = network.send((from, to), Time::ZERO, &mut Coverage::default());
            arrival.map(|at| at.since(Time::ZERO).as_secs())
        };
        let links = [(1, 0), (2, 0), (0, 1), (0, 2), (1, 2)];
        assert_eq!(links.map(|(from, to)| seconds(from, to)), [1, 1, 2, 3, 0].map(Some));
        network.catch_up(0);
        let again = network.send((0, 3), Time::ZERO, &mut Coverage::default());
        assert!(again[0].is_some_and(|at| at < Time::from_millis(1000)), "{again:?}");
    }

    #[test]
    fn cuts_overlap_and_end_one_by_one() {
        let mut network = Network::new(&Scenario::draw(1, &Overrides::default()));
        let one_way = Links::between(|from| from == 0, |to| to == 1);
        let from_first = Links::between(|from| from == 0, |_| true);
        assert_eq!(one_way.within(3).collect::<Vec<_>>(), [(0, 1)]);
        assert_eq!(from_first.within(3).collect::<Vec<_>>(), [(0, 1), (0, 2)]);
        network.cut(one_way);
        network.cut(from_first);
        network.mend(one_way);
        assert!(!network.delivers((0, 1), Time::ZERO) && network.delivers((1, 0), Time::ZERO));
        network.mend(from_first);
        assert!(network.delivers((0, 1), Time::ZERO));
        network.lose_under_way((0, 1), Time::from_millis(5));
        assert!(!network.delivers((0, 1), Time::from_millis(4)));
        assert!(network.delivers((0, 1), Time::from_millis(5)));
    }
}
