//! The connections that others have opened to this node: how many there may be, and which of two
//! from the same peer counts.
//!
//! Invariants:
//! 1. At most [`MAX_GREETING`] connections have not said yet who they are. One more shuts the
//!    oldest of them: a peer greets within a round trip, a stranger takes its time.
//! 2. Of each peer there is at most one for each purpose. A new one shuts the old one, which is
//!    most likely the remains of a process that has been started again.

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use raft_core::NodeId;

use crate::handshake::Purpose;
use crate::link::{lock, shut};

/// How many connections may be in their greeting at the same time.
pub(crate) const MAX_GREETING: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    admitted: u64,
    greeting: VecDeque<Arrival>,
    accepted: BTreeMap<(NodeId, Purpose), Arrival>,
    stopped: bool,
}

#[derive(Debug)]
struct Arrival {
    ticket: Ticket,
    stream: Arc<TcpStream>,
}

/// The name of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// A connection that was let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) ticket: Ticket,
    /// An older one had to go for it.
    pub(crate) displaced: bool,
}

impl Arrivals {
    /// A connection has been opened. `None` if this node is stopping.
    pub(crate) fn admit(&self, stream: &Arc<TcpStream>) -> Option<Admitted> {
        let mut state = lock(&self.0);
        if state.stopped {
            return None;
        }
        let is_full = state.greeting.len() >= MAX_GREETING;
        if is_full && let Some(oldest) = state.greeting.pop_front() {
            shut(&oldest.stream);
        }
        state.admitted += 1;
        let ticket = Ticket(state.admitted);
        state.greeting.push_back(Arrival { ticket, stream: Arc::clone(stream) });
        Some(Admitted { ticket, displaced: is_full })
    }

    /// The connection turned out to be this peer's. False if it has been shut meanwhile.
    pub(crate) fn accept(&self, ticket: Ticket, peer: NodeId, purpose: Purpose) -> bool {
        let mut state = lock(&self.0);
        let place = state.greeting.iter().position(|it| it.ticket == ticket);
        let Some(arrival) = place.and_then(|place| state.greeting.remove(place)) else {
            return false;
        };
        if let Some(older) = state.accepted.insert((peer, purpose), arrival) {
            shut(&older.stream);
        }
        true
    }

    /// The connection is over.
    pub(crate) fn leave(&self, ticket: Ticket) {
        let mut state = lock(&self.0);
        state.greeting.retain(|it| it.ticket != ticket);
        state.accepted.retain(|_, it| it.ticket != ticket);
    }

    /// Shuts all, and lets no more in.
    pub(crate) fn stop(&self) {
        let mut state = lock(&self.0);
        state.stopped = true;
        for arrival in state.greeting.iter().chain(state.accepted.values()) {
            shut(&arrival.stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    /// Both ends of `count` connections: the other side's, and ours.
    fn connections(count: usize) -> Vec<(TcpStream, Arc<TcpStream>)> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let connect = |_| {
            let theirs = TcpStream::connect(address).expect("it listens");
            let patience = Some(Duration::from_secs(30));
            theirs.set_read_timeout(patience).expect("a socket");
            (theirs, Arc::new(listener.accept().expect("it connected").0))
        };
        (0..count).map(connect).collect()
    }

    /// Waits until the other side has ended the connection; false if it does not.
    fn is_shut(mut theirs: &TcpStream) -> bool {
        matches!(theirs.read(&mut [0]), Ok(0))
    }

    #[test]
    fn a_crowd_of_strangers_makes_the_oldest_go() {
        let arrivals = Arrivals::default();
        let crowd = connections(MAX_GREETING + 1);
        let admitted: Vec<Admitted> =
            crowd.iter().filter_map(|(_, ours)| arrivals.admit(ours)).collect();
        assert!(admitted[..MAX_GREETING].iter().all(|it| !it.displaced));
        assert!(admitted[MAX_GREETING].displaced);
        assert!(is_shut(&crowd[0].0));
        assert!(
            !arrivals.accept(admitted[0].ticket, NodeId::new(2), Purpose::Messages),
            "too late"
        );
        assert!(arrivals.accept(admitted[1].ticket, NodeId::new(2), Purpose::Messages));
    }

    #[test]
    fn of_two_connections_of_a_peer_the_newest_stays() {
        let arrivals = Arrivals::default();
        let pair = connections(3);
        let peer = NodeId::new(2);
        let old = arrivals.admit(&pair[0].1).expect("running").ticket;
        let new = arrivals.admit(&pair[1].1).expect("running").ticket;
        let other = arrivals.admit(&pair[2].1).expect("running").ticket;
        assert!(arrivals.accept(other, peer, Purpose::Snapshot));
        let purpose = Purpose::Messages;
        assert!(arrivals.accept(old, peer, purpose) && arrivals.accept(new, peer, purpose));
        assert!(is_shut(&pair[0].0));
        arrivals.leave(old);
        let holds = |purpose| lock(&arrivals.0).accepted.contains_key(&(peer, purpose));
        assert!(holds(Purpose::Messages), "the new one's place");
        assert!(holds(Purpose::Snapshot), "of another purpose");
        arrivals.leave(new);
        arrivals.leave(other);
        assert!(lock(&arrivals.0).accepted.is_empty());
    }

    #[test]
    fn after_the_end_nobody_is_let_in() {
        let arrivals = Arrivals::default();
        let pair = connections(2);
        let first = arrivals.admit(&pair[0].1);
        assert!(first.is_some());
        arrivals.stop();
        assert!(is_shut(&pair[0].0));
        assert_eq!(arrivals.admit(&pair[1].1), None);
    }
}
