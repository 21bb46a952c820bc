//! [`Network`]: starts the threads, takes messages, stops the threads.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use raft_core::{Message, NodeId};
use socket2::SockRef;

use crate::acquaintances::Acquaintances;
use crate::config::Config;
use crate::event::NetEvent;
use crate::format::{FRAME_OVERHEAD_BYTES, message_bytes};
use crate::link::{Link, Shared, lock};
use crate::outbox::Pushed;
use crate::snapshot::{SnapshotSender, SnapshotSink};
use crate::start_error::StartError;
use crate::stats::{NetStats, PeerStats};
use crate::{incoming, outgoing};

/// The connections of one node with its peers.
///
/// Dropping it does what [`shutdown`](Self::shutdown) does.
pub struct Network {
    shared: Arc<Shared>,
    listener: TcpListener,
    local_address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl Network {
    /// Listens, and begins to connect to every peer. Peers need not be there yet.
    ///
    /// `on_event` is called from the network's threads, those of different connections at the same
    /// time. It should return quickly: while it does not, nothing more is read from that peer,
    /// which after [`Timing::silence_timeout`](crate::Timing::silence_timeout) takes this node for
    /// dead. It must not call [`shutdown`](Self::shutdown), which would wait for it.
    ///
    /// # Errors
    ///
    /// If the configuration contradicts itself, the file of peers in the data directory cannot be
    /// believed, the address cannot be listened on or a thread cannot be started. Nothing is left
    /// running.
    pub fn start(
        config: Config,
        on_event: impl Fn(NetEvent) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        config.validate()?;
        let address = config.listen;
        let listener =
            TcpListener::bind(address).map_err(|source| StartError::Listen { address, source })?;
        Self::start_on(listener, config, on_event)
    }

    /// As [`start`](Self::start), with a listener that exists already; `config.listen` is ignored.
    /// For tests that need to know the port first, and for sockets handed over by a supervisor.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_on(
        listener: TcpListener,
        config: Config,
        on_event: impl Fn(NetEvent) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        config.validate()?;
        let acquaintances = Acquaintances::open(config.directory.as_ref())?;
        let listen = config.listen;
        let cannot_listen = |source| StartError::Listen { address: listen, source };
        let local_address = listener.local_addr().map_err(cannot_listen)?;
        listener.set_nonblocking(false).map_err(cannot_listen)?;
        let accepting = listener.try_clone().map_err(cannot_listen)?;
        let mut network = Self {
            shared: Arc::new(Shared::new(config, acquaintances, Box::new(on_event))),
            listener,
            local_address,
            threads: Vec::new(),
        };
        let shared = Arc::clone(&network.shared);
        network.spawn("raft-net-accept".into(), move || {
            incoming::run(&shared, &accepting);
        })?;
        let peers: Vec<NodeId> = network.shared.links.keys().copied().collect();
        for peer in peers {
            let shared = Arc::clone(&network.shared);
            network.spawn(format!("raft-net-{peer}"), move || {
                if let Some(link) = shared.links.get(&peer) {
                    outgoing::run(&shared, link);
                }
            })?;
        }
        Ok(network)
    }

    fn spawn(
        &mut self,
        name: String,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), StartError> {
        let started = thread::Builder::new().name(name).spawn(work);
        self.threads.push(started.map_err(|source| StartError::Thread { source })?);
        Ok(())
    }

    /// Sends a message to its receiver, or queues it, and never blocks.
    ///
    /// Raft tolerates the loss of any message, so there is nothing to return: a message is dropped
    /// and counted if the queue is full, while there is no connection, or if it can never be sent
    /// (its sender is not this node, its receiver no peer, or it is larger than a frame may be).
    pub fn send(&self, message: Message) {
        let is_mine = message.from == self.shared.me.node_id;
        let Some(link) = self.shared.links.get(&message.to).filter(|_| is_mine) else {
            self.shared.messages_misaddressed.add(1);
            let (from, to) = (message.from, message.to);
            log::debug!("dropped a message from {from} to {to}: no way leads from here to there");
            return;
        };
        let bytes = message_bytes(&message);
        let limit = self.shared.limits.max_frame_bytes;
        if bytes.saturating_add(FRAME_OVERHEAD_BYTES) > limit {
            link.counters.dropped_unsendable.add(1);
            let why = format!("it has {bytes} bytes, above what a frame of {limit} bytes holds");
            outgoing::complain_unsendable(&self.shared, link, &why);
            return;
        }
        match link.outbox.push(message, bytes) {
            Pushed::Written(bytes) => link.counters.wrote(1, bytes),
            Pushed::Queued => {}
            Pushed::Dropped => link.counters.dropped_queue_full.add(1),
        }
    }

    /// A handle with which any thread can send snapshots.
    pub fn snapshots(&self) -> SnapshotSender {
        SnapshotSender::new(Arc::clone(&self.shared))
    }

    /// From now on, snapshots that peers offer go where `receiver` says: it is called with the
    /// message that belongs to one, and makes a sink for it or says why not. Before, all are
    /// refused. Only the first call counts.
    pub fn receive_snapshots(
        &self,
        receiver: impl Fn(Message) -> Result<Box<dyn SnapshotSink>, String> + Send + Sync + 'static,
    ) {
        // A second receiver is dropped.
        let _ = self.shared.receiver.set(Box::new(receiver));
    }

    /// Where clients reach this peer, as it told when it connected last; `None` if it never did,
    /// or has no such address.
    pub fn client_address(&self, peer: NodeId) -> Option<String> {
        let link = self.shared.links.get(&peer)?;
        lock(&link.client_address).clone()
    }

    /// Where this node listens.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// All counters as they are now. They are read one after the other, not at one moment.
    pub fn stats(&self) -> NetStats {
        let of_link = |link: &Link| {
            let (messages, bytes) = link.outbox.waiting();
            let snapshot = link.departures.progress();
            let stats = link.counters.snapshot(messages, bytes);
            (link.peer, PeerStats { snapshot, ..stats })
        };
        NetStats {
            peers: self.shared.links.values().map(of_link).collect(),
            connections_refused: self.shared.connections_refused.get(),
            messages_misaddressed: self.shared.messages_misaddressed.get(),
        }
    }

    /// Closes all connections and waits for all threads to end; what waits to be written is
    /// dropped. No event comes after it has returned.
    ///
    /// It takes as long as the slowest of: a running call of `on_event`, an attempt to connect
    /// ([`Timing::connect_timeout`](crate::Timing::connect_timeout)), looking up a host name, a
    /// running call of a [`SnapshotSource`](crate::SnapshotSource) or
    /// [`SnapshotSink`](crate::SnapshotSink).
    pub fn shutdown(self) {
        drop(self);
    }

    /// Ends the call in which the accepting thread waits for a connection.
    fn wake_acceptor(&self) {
        if SockRef::from(&self.listener).shutdown(Shutdown::Both).is_ok() {
            return;
        }
        // Some systems shut connections only; there, one connection more does it.
        let mut address = self.local_address;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
        if let Err(error) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
            log::debug!("could not wake the thread that accepts on {address}: {error}");
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shared.stop();
        self.wake_acceptor();
        for thread in self.threads.drain(..) {
            // A panic has been reported by the thread itself.
            let _ = thread.join();
        }
        for link in self.shared.links.values() {
            link.departures.join();
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("node_id", &self.shared.me.node_id)
            .field("local_address", &self.local_address)
            .finish_non_exhaustive()
    }
}
