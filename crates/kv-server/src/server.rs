//! Starts every part of a node, and stops them in order.

use std::fmt;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::SendError;
use handoff::Sender;
use kv_proto::{Header, Limits, PROTOCOL_VERSION, Welcome};
use log::{error, warn};
use raft_core::{Index, Message, NodeId, ReadLog, Write};
use raft_net_tcp::{Directory, DirectoryId, NetEvent, Network, RefusalCode};
use raft_storage::thread::{LogEvent, LogRequest, LogThread};
use raft_storage::{FileDisk, Log};

use crate::apply::Applier;
use crate::clients::{Bounds, Clients};
use crate::descriptors;
use crate::event_loop::{self, Clock, Door, Doors, Inbox, Outside, Waiting};
use crate::narrate;
use crate::recovery::{Recovery, recover, state_file, store_options};
use crate::rejoin;
use crate::replica::{ApplyWork, Event, Replica};
use crate::settings::Settings;
use crate::snapshots::{Courier, Desk, Outgoing};
use crate::start_error::StartError;
use crate::steward::{Steward, Stewardship};

/// A running node.
#[derive(Debug)]
pub struct Server {
    the_loop: JoinHandle<Inbox>,
    threads: Arc<Threads>,
    clients: Clients,
    inside: Door,
    stewardship: Stewardship,
    advertised_address: String,
    data: String,
}

/// What the loop hands its work to.
#[derive(Debug)]
struct Threads {
    log: LogThread<Log<FileDisk>>,
    applier: Applier,
    network: Network,
    desk: Arc<Desk>,
}

impl Outside for Arc<Threads> {
    fn send(&self, message: Message) {
        self.network.send(message);
    }

    fn persist(&self, write: Write) {
        request(self.log.requests(), LogRequest::Write(write));
    }

    fn read_log(&self, read: ReadLog) {
        request(self.log.requests(), LogRequest::Read(read));
    }

    fn compact(&self, upto: Index) {
        request(self.log.requests(), LogRequest::Compact(upto));
    }

    fn free_log_room(&self) {
        request(self.log.requests(), LogRequest::FreeRoom);
    }

    fn discard_snapshot(&self) {
        self.desk.discard_arrived();
    }

    fn apply(&self, work: ApplyWork) {
        self.applier.submit(work);
    }
}

/// Hands the log some work. A log that takes none has failed, and ends the process by itself.
fn request(log: &Sender<LogRequest>, work: LogRequest) {
    let _ = log.send(work);
}

/// Stops a server from another thread.
#[derive(Clone, Debug)]
pub struct Stopper(Door);

impl Stopper {
    /// Asks the server to finish what is under way and to stop. Returns at once; asking again
    /// changes nothing.
    pub fn stop(&self) {
        // If the loop is gone, it has stopped.
        let _ = self.0.leave(Event::Stop);
    }
}

impl Server {
    /// Opens the data directory, and starts to serve.
    ///
    /// # Errors
    ///
    /// If the directory cannot be used, a port is taken, or the system refuses a thread.
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        rejoin::prepare(settings)?;
        // The ports first and the threads last: where a port is taken, nothing is left behind.
        let raft_listener = listen_to_peers(settings.raft_bind)?;
        let listener = listen(settings.client_bind)?;
        let Recovery { cluster_id, log, store, replica, clock } = recover(settings)?;
        let data = describe(&settings.data_dir, &replica);
        let (doors, waiting) = event_loop::queues(&settings.timing);
        let limits = Limits::default();
        let welcome = Welcome {
            version: PROTOCOL_VERSION,
            cluster_id,
            node_id: settings.node_id,
            limits,
            server: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let identity = Header {
            cluster_id: welcome.cluster_id,
            node_id: welcome.node_id,
            ..Header::default()
        };
        let directory = directory(settings, &log, false);
        let log = start_log(log, doors.inside.clone())?;
        let Doors { inside, clients: submit, peers } = doors;
        let stopper = Stopper(inside.clone());
        let clients = Clients::start(
            listener,
            welcome,
            settings.timing.client_delay,
            bounds(),
            move |batch| match submit.send(Event::Requests(batch)) {
                Err(SendError(Event::Requests(batch))) => Err(batch),
                _ => Ok(()),
            },
            move || stopper.stop(),
        )?;
        let log_requests = log.requests().clone();
        let read_log = move |read| request(&log_requests, LogRequest::Read(read));
        let to_loop = inside.clone();
        // If the loop is gone, it has stopped, and cuts no log.
        let stored = move |upto| _ = to_loop.send(Event::Stored(upto));
        let replies = clients.replies();
        let to_loop = inside.clone();
        store.on_full_disk(move |waits| _ = to_loop.send(Event::StateRoom(waits)));
        let config = network_config(settings, cluster_id, directory);
        let network = start_network(settings, config, raft_listener, inside.clone(), peers)?;
        let (courier, desk) = take_snapshots(settings, &network, &inside);
        let applier = Applier::start(store, identity, clock, replies, read_log, stored, courier)?;
        let threads = Arc::new(Threads { log, applier, network, desk });
        let the_loop = start_loop(replica, waiting, clock, Arc::clone(&threads), &clients)?;
        let advertised_address = settings.client_address.to_string();
        let stewardship = start_steward(settings, cluster_id, &clients, inside.clone())?;
        Ok(Self { the_loop, threads, clients, inside, stewardship, advertised_address, data })
    }

    /// Where it listens for the other nodes.
    pub fn raft_address(&self) -> SocketAddr {
        self.threads.network.local_address()
    }

    /// Where it listens for clients.
    pub fn client_address(&self) -> SocketAddr {
        self.clients.address()
    }

    /// Where clients should look for it.
    pub fn advertised_address(&self) -> &str {
        &self.advertised_address
    }

    /// Where its data is, and whether there was any when it started.
    pub fn data(&self) -> &str {
        &self.data
    }

    /// A way to stop it from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.inside.clone())
    }

    /// Waits until it was stopped, and everything has ended in order: first the loop, so that
    /// nothing new begins; then the log and the store, so that what was accepted is finished; the
    /// clients last, so that they hear of it.
    ///
    /// # Errors
    ///
    /// If it stopped because clients could not be served any more.
    pub fn wait(self) -> io::Result<()> {
        let Self { the_loop, threads, clients, inside, stewardship, .. } = self;
        let inbox = the_loop.join();
        drop(stewardship);
        clients.refuse_requests();
        match inbox {
            Ok(inbox) => inbox.refuse_all(&clients.replies()),
            Err(_) => error!("the event loop had panicked"),
        }
        drop(inside);
        match Arc::try_unwrap(threads) {
            Ok(Threads { log, applier, network, .. }) => {
                network.shutdown();
                applier.stop();
                if log.finish().is_none() {
                    error!("the log thread had panicked");
                }
            }
            Err(_) => warn!("a thread of the server is still busy and is left behind"),
        }
        clients.stop()
    }
}

/// As many clients as there are file descriptors for, and the log has its own.
fn bounds() -> Bounds {
    let usual = Bounds::default();
    let max_connections =
        descriptors::max_clients(descriptors::raise_limit(), usual.max_connections);
    Bounds { max_connections, ..usual }
}

/// A node that starts empty because it was pointed at the wrong directory must not go unnoticed.
fn describe(dir: &Path, replica: &Replica) -> String {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let raft = replica.raft().status();
    match raft.last.index.get() {
        0 if raft.recovering => format!(
            "{}, empty after a loss: it does not vote until it has everything back",
            dir.display()
        ),
        _ if raft.recovering => format!(
            "{}, damaged: what is left ends at index {}, and it does not vote until it has the \
             rest back",
            dir.display(),
            raft.last.index
        ),
        0 => format!("{}, new and empty", dir.display()),
        last => format!("{}, {} up to term {}", dir.display(), narrate::entries(last), raft.term),
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| StartError::ClientPort { address, source })
}

fn listen_to_peers(address: SocketAddr) -> Result<TcpListener, StartError> {
    let taken = |source| raft_net_tcp::StartError::Listen { address, source };
    Ok(TcpListener::bind(address).map_err(taken)?)
}

fn start_log(log: Log<FileDisk>, inside: Door) -> io::Result<LogThread<Log<FileDisk>>> {
    let on_event = move |event| {
        // A loop that is gone has stopped: nobody waits for this.
        let _ = match event {
            LogEvent::Persisted(id) => inside.send(Event::Persisted(id)),
            LogEvent::Read(read) => inside.send(Event::LogRead(read)),
            LogEvent::Room(room) => inside.send(Event::LogRoom(room)),
            LogEvent::Failed(error) => die(&error),
        };
    };
    // Without a bound of its own: what a leader takes in and what a follower is sent have theirs,
    // and the log's thread itself may take the turn that asks it for more.
    LogThread::spawn(log, None, on_event)
}

/// The log cannot be written. What it holds is unknown from here on, so nothing may be said or
/// done any more: not even an orderly stop.
fn die(error: &dyn fmt::Display) -> ! {
    halt(&format_args!("the log failed, and this node stops at once: {error}"))
}

/// Ends the process at once, and says why on standard error, if anybody reads it.
pub(crate) fn halt(why: &dyn fmt::Display) -> ! {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "kv-server: {why}");
    // Still locked: another thread that has to stop as well says nothing more.
    std::process::exit(1)
}

fn start_network(
    settings: &Settings,
    config: raft_net_tcp::Config,
    listener: TcpListener,
    inside: Door,
    peers_in: Door,
) -> Result<Network, StartError> {
    let (own, members, dir) = (config.node_id, settings.members.clone(), settings.data_dir.clone());
    let on_event = move |event| {
        // As above: if nobody takes it, nobody needs it.
        let _ = match event {
            NetEvent::Message(message) => peers_in.send(Event::Message(message)),
            NetEvent::Unreachable(peer) => inside.send(Event::Unreachable(peer)),
            NetEvent::Connected { peer, client_address } => {
                inside.send(Event::Connected { peer, client_address })
            }
            NetEvent::SnapshotSent { to, arrived } => {
                inside.send(Event::SnapshotSent { to, arrived })
            }
            // This node may have promised what it does not know any more.
            NetEvent::PeerRefused { peer, refusal } if refusal.code == RefusalCode::Directory => {
                halt(&narrate::other_directory(own, peer, &members, &dir))
            }
            NetEvent::PeerRefused { .. } => Ok(()),
        };
    };
    Ok(Network::start_on(listener, config, on_event)?)
}

/// The data directory, as the other nodes know it: by its log, because whoever lost the log lost
/// what it had promised.
pub(crate) fn directory(settings: &Settings, log: &Log<FileDisk>, rejoins: bool) -> Directory {
    let (id, path) = (DirectoryId::new(log.id()), settings.data_dir.clone());
    Directory { id, path, rejoins }
}

/// How this node talks to the others of its cluster.
pub(crate) fn network_config(
    settings: &Settings,
    cluster_id: u64,
    directory: Directory,
) -> raft_net_tcp::Config {
    let own = NodeId::new(settings.node_id);
    let peers = settings.members.iter().filter(|(id, _)| *id != settings.node_id);
    let peers = peers.map(|(id, address)| (NodeId::new(id), address.to_string())).collect();
    let mut config = raft_net_tcp::Config::new(own, cluster_id, settings.raft_bind, peers);
    config.client_address = settings.client_address.to_string();
    config.directory = Some(directory);
    config.timing = raft_net_tcp::Timing::for_heartbeat(settings.timing.heartbeat_interval);
    config.network_delay = settings.timing.network_delay;
    config.snapshots.max_bytes_per_second = settings.snapshot_rate;
    config
}

/// Opens the door to snapshots of other nodes; returns what the apply thread needs of it.
fn take_snapshots(settings: &Settings, network: &Network, inside: &Door) -> (Courier, Arc<Desk>) {
    let (path, founders) = (state_file(settings), settings.members.to_config());
    let to_loop = || {
        let inside = inside.clone();
        // If the loop is gone, nobody waits for this.
        move |event| _ = inside.send(event)
    };
    let desk = Arc::new(Desk::new(path.clone(), founders.clone(), to_loop()));
    let receiving = Arc::clone(&desk);
    network.receive_snapshots(move |offer| receiving.open(offer));
    let courier = Courier {
        sender: network.snapshots(),
        desk: Arc::clone(&desk),
        founders,
        path,
        options: store_options(settings),
        tell: Arc::new(to_loop()),
        outgoing: Outgoing::default(),
    };
    (courier, desk)
}

fn start_loop(
    replica: Replica,
    waiting: Waiting,
    clock: Clock,
    threads: Arc<Threads>,
    clients: &Clients,
) -> io::Result<JoinHandle<Inbox>> {
    let replies = clients.replies();
    std::thread::Builder::new()
        .name("loop".into())
        .spawn(move || event_loop::run(replica, waiting, clock, threads, replies))
}

fn start_steward(
    settings: &Settings,
    cluster_id: u64,
    clients: &Clients,
    inside: Door,
) -> io::Result<Stewardship> {
    let steward = Steward {
        node_id: settings.node_id,
        cluster_id,
        own_address: own_address(clients.address()).to_string(),
        client_delay: settings.timing.client_delay,
        keep_time: settings.keep_time,
    };
    // A loop that is gone serves nobody anyway.
    steward.start(move |difference| _ = inside.send(Event::Differs(difference)))
}

/// Where a server that listens at `bound` is reached from its own machine.
fn own_address(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

#[cfg(test)]
mod tests {
    use raft_core::Entry;
    use raft_net_tcp::format::MAX_ENTRIES_PER_MESSAGE;

    use super::*;

    /// The core once put more small entries into one message than the network takes. The message
    /// was dropped, the core tried again with the same one, and a follower that had missed 33 000
    /// small writes never caught up.
    #[test]
    fn what_the_core_sends_fits_what_the_network_takes_and_what_clients_may_ask_fits_both() {
        let core = raft_core::Limits::default();
        let network = raft_net_tcp::Limits::default();
        let noop = Entry { at: raft_core::Position::ORIGIN, payload: raft_core::Payload::Noop };
        assert!(core.max_append_bytes / noop.size_bytes() <= MAX_ENTRIES_PER_MESSAGE);
        let request = Limits::default().max_request_bytes as usize;
        assert!(request + noop.size_bytes() <= core.max_proposal_bytes);
        let largest = core.max_append_bytes.max(core.max_proposal_bytes);
        assert!(2 * largest <= network.max_frame_bytes);
    }
}
