//! What the threads of a network share: [`Shared`] by all of them, [`Link`] by those of one peer.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use raft_core::NodeId;

use crate::acquaintances::Acquaintances;
use crate::arrivals::Arrivals;
use crate::complaints::{Cause, Complaints};
use crate::config::{Config, Limits, Snapshots, Timing};
use crate::directory::Claim;
use crate::event::NetEvent;
use crate::handshake::Identity;
use crate::outbox::Outbox;
use crate::snapshot::{Berth, Departures, SnapshotReceiver};
use crate::stats::{Counter, Counters};

/// Everything that is not of one connection.
pub(crate) struct Shared {
    pub(crate) me: Identity,
    pub(crate) timing: Timing,
    pub(crate) limits: Limits,
    pub(crate) snapshots: Snapshots,
    /// Where snapshots of others go, once the owner has said so.
    pub(crate) receiver: OnceLock<Box<SnapshotReceiver>>,
    pub(crate) links: BTreeMap<NodeId, Link>,
    pub(crate) acquaintances: Acquaintances,
    pub(crate) arrivals: Arrivals,
    pub(crate) connections_refused: Counter,
    pub(crate) messages_misaddressed: Counter,
    complaints: Complaints,
    on_event: Box<dyn Fn(NetEvent) + Send + Sync>,
    stopped: AtomicBool,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        acquaintances: Acquaintances,
        on_event: Box<dyn Fn(NetEvent) + Send + Sync>,
    ) -> Self {
        let new_link = |(peer, address)| {
            let outbox = Outbox::new(config.limits, config.network_delay);
            (peer, Link::new(peer, address, outbox))
        };
        Self {
            me: Identity {
                node_id: config.node_id,
                cluster_id: config.cluster_id,
                client_address: config.client_address,
                claim: Claim::of(config.directory.as_ref()),
            },
            timing: config.timing,
            limits: config.limits,
            snapshots: config.snapshots,
            receiver: OnceLock::new(),
            links: config.peers.into_iter().map(new_link).collect(),
            acquaintances,
            arrivals: Arrivals::default(),
            connections_refused: Counter::default(),
            messages_misaddressed: Counter::default(),
            complaints: Complaints::default(),
            on_event,
            stopped: AtomicBool::new(false),
        }
    }

    /// Tells the owner, unless it does not want to hear any more.
    pub(crate) fn emit(&self, event: NetEvent) {
        if !self.is_stopped() {
            (self.on_event)(event);
        }
    }

    /// Whether this is to be said in the log now: not again and again, and not about connections
    /// that this node is closing itself.
    pub(crate) fn complains(&self, peer: Option<NodeId>, cause: Cause) -> bool {
        !self.is_stopped() && self.complaints.is_due(peer, cause)
    }

    /// The connection to `peer` is well: what goes wrong from now on is news.
    pub(crate) fn forget_complaints(&self, peer: NodeId) {
        self.complaints.forget(peer);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Makes every thread end soon: those that wait are woken, sockets are shut.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        for link in self.links.values() {
            link.outbox.stop();
            link.plug.pull();
            link.departures.stop();
            link.berth.stop();
        }
        self.arrivals.stop();
    }
}

/// One peer.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: NodeId,
    /// Where it listens, as `host:port`.
    pub(crate) address: String,
    pub(crate) outbox: Outbox,
    pub(crate) counters: Counters,
    /// Where clients reach it, as it told last.
    pub(crate) client_address: Mutex<Option<String>>,
    /// The socket of the connection to it.
    pub(crate) plug: Plug,
    /// The snapshot that is being sent to it.
    pub(crate) departures: Departures,
    /// The snapshot that it sends.
    pub(crate) berth: Berth,
}

impl Link {
    fn new(peer: NodeId, address: String, outbox: Outbox) -> Self {
        Self {
            peer,
            address,
            outbox,
            counters: Counters::default(),
            client_address: Mutex::default(),
            plug: Plug::default(),
            departures: Departures::default(),
            berth: Berth::default(),
        }
    }

    /// Remembers what the peer told in a greeting.
    pub(crate) fn learn_client_address(&self, told: Option<String>) {
        *lock(&self.client_address) = told;
    }
}

/// Lets one thread shut the socket that another one is blocked on.
#[derive(Debug, Default)]
pub(crate) struct Plug(Mutex<PlugState>);

#[derive(Debug, Default)]
struct PlugState {
    stream: Option<Arc<TcpStream>>,
    pulled: bool,
}

impl Plug {
    /// From now on this is the socket to shut. Returns false if it is too late for that.
    pub(crate) fn hold(&self, stream: &Arc<TcpStream>) -> bool {
        let mut state = lock(&self.0);
        state.stream = Some(Arc::clone(stream));
        !state.pulled
    }

    /// Lets go of the socket, so that it closes with its last user.
    pub(crate) fn release(&self) {
        lock(&self.0).stream = None;
    }

    /// Shuts the socket, and those to come.
    pub(crate) fn pull(&self) {
        let mut state = lock(&self.0);
        state.pulled = true;
        if let Some(stream) = &state.stream {
            shut(stream);
        }
    }
}

/// Ends both directions of a connection, and with them every call that is blocked on it.
pub(crate) fn shut(stream: &TcpStream) {
    // It fails only if the connection has ended by itself.
    let _ = stream.shutdown(Shutdown::Both);
}

/// Locks `mutex`. What it guards is whole between any two statements, so that another thread's
/// panic has not spoiled it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
