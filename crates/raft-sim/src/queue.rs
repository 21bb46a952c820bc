//! [`Queue`]: what will happen, and when. The only thing that makes time pass.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use raft_core::{Message, Time};

use crate::faults::Fault;
use crate::network::{Lag, Links, MAX_NODES};
use crate::snapshots::{Parcel, Receipt};

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message arrives that was sent then.
    Arrival { message: Message, sent: Time },
    /// A node's timer goes off, which [`Queue::set_timer`] has set.
    Wake(usize),
    /// The disk of a node is done with what it was told, if the node has not stopped since.
    DiskDone { node: usize, start: u64 },
    /// A client asks the next thing.
    Client(usize),
    /// Somebody who reaches no other node asks this one, and again until then.
    Stranded { node: usize, until: Time },
    /// A node is told to campaign.
    Campaign(usize),
    /// The client of this operation waits no longer.
    Impatience(usize),
    /// A fault of this kind strikes.
    Strike(Fault),
    /// A fault of this kind strikes this node, which has just been elected.
    StrikeElected(Fault, usize),
    /// Links that were cut work again.
    Mend(Links),
    /// The links of a node take so much longer from now on.
    Lag(Lag),
    /// The links of this node, which took long, take their usual time again.
    CatchUp(usize),
    /// The process of a node ends, whose log was damaged before, and its log is damaged again.
    DamageAgain(usize),
    /// A node that is down starts.
    Restart(usize),
    /// A process that was stopped goes on.
    Resume(usize),
    /// The driver of a node looks whether its log can be cut.
    Compact(usize),
    /// A snapshot arrives that was sent then.
    Parcel { parcel: Box<Parcel>, sent: Time },
    /// The sender of a snapshot is told what became of it.
    Receipt(Receipt),
    /// A snapshot has taken the place of a node's state, if the node has not stopped since.
    Installed { node: usize, start: u64 },
    /// It is looked whether the cluster has recovered.
    Probe,
}

/// When an event happens; then, in one word, its number among all, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: Time,
    number_and_place: u64,
}

/// Enough for many more events than are ever under way.
const PLACE_BITS: u32 = 20;

impl Key {
    fn new(at: Time, number: u64, place: usize) -> Self {
        Self { at, number_and_place: number << PLACE_BITS | place as u64 }
    }

    fn place(self) -> usize {
        let mask = (1 << PLACE_BITS) - 1;
        usize::try_from(self.number_and_place & mask).unwrap_or(usize::MAX)
    }
}

/// Events in the order of their times; those of one time in the order in which they were added, and
/// timers after them. A timer is set again all the time, so it is no event among the others.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// When each node's timer goes off.
    timers: [Option<Time>; MAX_NODES],
    // Small keys in the heap, events beside it: a heap moves what it holds.
    heap: BinaryHeap<Reverse<Key>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    added: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Time, event: Event) {
        let place = if let Some(place) = self.free.pop() {
            self.events[place] = Some(event);
            place
        } else {
            self.events.push(Some(event));
            self.events.len() - 1
        };
        self.added += 1;
        self.heap.push(Reverse(Key::new(at, self.added, place)));
    }

    /// Has the timer of a node go off at this time and no other, or never.
    pub(crate) fn set_timer(&mut self, node: usize, at: Option<Time>) {
        self.timers[node] = at;
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, Event)> {
        let next = self.heap.peek().map(|Reverse(key)| key.at);
        let timers = self.timers.iter().enumerate();
        let first = timers.filter_map(|(node, at)| at.map(|at| (at, node))).min();
        if let Some((at, node)) = first.filter(|(at, _)| next.is_none_or(|next| *at < next)) {
            self.timers[node] = None;
            return Some((at, Event::Wake(node)));
        }
        let Reverse(key) = self.heap.pop()?;
        let place = key.place();
        let event = self.events[place].take()?;
        self.free.push(place);
        Some((key.at, event))
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_time_and_then_of_arrival() {
        let mut queue = Queue::default();
        for (millis, node) in [(5, 1), (3, 2), (5, 3), (1, 4)] {
            queue.push(Time::from_millis(millis), Event::Restart(node));
        }
        queue.set_timer(5, Some(Time::from_millis(2)));
        queue.set_timer(5, Some(Time::from_millis(4)));
        queue.set_timer(6, Some(Time::from_millis(5)));
        queue.set_timer(7, Some(Time::from_millis(1)));
        queue.set_timer(7, None);
        let order = std::iter::from_fn(|| queue.pop()).map(|(_, event)| match event {
            Event::Restart(node) | Event::Wake(node) => node,
            other => panic!("{other:?} was never added"),
        });
        assert_eq!(order.collect::<Vec<_>>(), [4, 2, 5, 1, 3, 6]);
    }
}
