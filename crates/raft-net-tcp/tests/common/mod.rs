//! What the tests of whole networks share: nodes, messages, and the other side played by hand.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use raft_core::{Body, Entries, Entry, Index, Message, NodeId, Payload, Position, Term};
use raft_net_tcp::format::{self, Packet};
use raft_net_tcp::{Config, NetEvent, Network, PeerStats, Timing};
use serde::Serialize;
use wire::frame::{FrameReader, write_frame};

/// How long anything may take before a test gives up. Nothing waits so long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The cluster of every test that does not ask for another.
pub(crate) const CLUSTER: u64 = 0xC1;

pub(crate) fn id(id: u64) -> NodeId {
    NodeId::new(id)
}

/// Timing under which nothing is given up while a loaded machine takes its time, but attempts to
/// connect follow each other quickly.
pub(crate) fn calm() -> Timing {
    Timing {
        keepalive_interval: Duration::from_millis(50),
        silence_timeout: PATIENCE,
        connect_timeout: PATIENCE,
        handshake_timeout: PATIENCE,
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
    }
}

/// A network and what it told.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) network: Network,
    pub(crate) events: Receiver<NetEvent>,
}

impl Node {
    pub(crate) fn start(config: Config) -> Self {
        let listener = TcpListener::bind(config.listen).expect("a free port");
        Self::start_on(listener, config)
    }

    pub(crate) fn start_on(listener: TcpListener, config: Config) -> Self {
        let (tell, events) = channel();
        let id = config.node_id;
        let network = Network::start_on(listener, config, move |event| {
            // A test that has seen enough hangs up.
            let _ = tell.send(event);
        })
        .expect("a valid configuration");
        Self { id, network, events }
    }

    /// The next event that `wanted` makes something of; others are skipped.
    pub(crate) fn wait<T>(&self, what: &str, mut wanted: impl FnMut(NetEvent) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else {
                panic!("{} waited in vain for {what}", self.id);
            };
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    pub(crate) fn wait_connected(&self, peer: NodeId) -> Option<String> {
        self.wait("a connection", |event| match event {
            NetEvent::Connected { peer: other, client_address } if other == peer => {
                Some(client_address)
            }
            _ => None,
        })
    }

    pub(crate) fn wait_unreachable(&self, peer: NodeId) {
        self.wait("a loss", |event| (event == NetEvent::Unreachable(peer)).then_some(()));
    }

    pub(crate) fn wait_message(&self) -> Message {
        self.wait("a message", |event| match event {
            NetEvent::Message(message) => Some(message),
            _ => None,
        })
    }

    /// Waits until the counters of `peer` are as wanted.
    pub(crate) fn wait_stats(
        &self,
        peer: NodeId,
        wanted: impl Fn(&PeerStats) -> bool,
    ) -> PeerStats {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.network.stats().peers[&peer];
            if wanted(&stats) {
                return stats;
            }
            assert!(Instant::now() < deadline, "the counters stay at {stats:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.network.local_address()
    }
}

/// A configuration of node `node` whose peers are at these addresses.
pub(crate) fn config(node: u64, peers: &[(u64, SocketAddr)]) -> Config {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let peers = peers.iter().map(|(peer, address)| (id(*peer), address.to_string())).collect();
    let mut config = Config::new(id(node), CLUSTER, listen, peers);
    config.timing = calm();
    config.client_address = format!("client-{node}:1");
    config
}

pub(crate) fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// Two nodes, 1 and 2, that are connected both ways. `change` may change their configurations.
pub(crate) fn pair(change: impl Fn(&mut Config)) -> (Node, Node) {
    let ((first, at_1), (second, at_2)) = (listener(), listener());
    let start = |listener, mut config: Config| {
        change(&mut config);
        Node::start_on(listener, config)
    };
    let one = start(first, config(1, &[(2, at_2)]));
    let two = start(second, config(2, &[(1, at_1)]));
    one.wait_connected(two.id);
    two.wait_connected(one.id);
    (one, two)
}

pub(crate) fn message(from: u64, to: u64, body: Body) -> Message {
    Message { from: id(from), to: id(to), term: Term::new(1), body }
}

pub(crate) fn heartbeat(from: u64, to: u64, round: u64) -> Message {
    let commit = Index::ZERO;
    message(from, to, Body::Heartbeat { commit, round })
}

/// An append with one entry, at `index`.
pub(crate) fn append(from: u64, to: u64, index: u64, command: Vec<u8>) -> Message {
    let term = Term::new(1);
    let entry = Entry {
        at: Position::new(term, Index::new(index)),
        payload: Payload::Command(command.into()),
    };
    let body = Body::Append {
        prev: Position::new(term, Index::new(index - 1)),
        entries: Entries::from(vec![entry]),
        commit: Index::ZERO,
    };
    message(from, to, body)
}

/// The other side of a connection, played by the test byte by byte.
pub(crate) struct Stranger {
    pub(crate) stream: TcpStream,
    frames: FrameReader,
}

impl Stranger {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self { stream, frames: FrameReader::new(64 << 20) }
    }

    pub(crate) fn call(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).expect("it listens"))
    }

    /// Calls `node` in the name of `from`, and is let in.
    pub(crate) fn call_as(from: u64, node: &Node) -> Self {
        let mut caller = Self::call(node.address());
        caller.write(&hello(CLUSTER, from, node.id.get()));
        let reply = caller.read_frame().expect("an answer");
        assert_eq!(reply[12..16], [1, 0, 0, 0], "accepted");
        caller
    }

    /// Takes the next call at `listener`; returns it with what the greeting says, unanswered.
    pub(crate) fn answer(listener: &TcpListener) -> (Self, Vec<u8>) {
        let patient = socket2::SockRef::from(listener).set_read_timeout(Some(PATIENCE));
        patient.expect("a socket");
        let (stream, _) = listener.accept().expect("a connection");
        let mut other = Self::new(stream);
        let hello = other.read_frame().expect("a greeting");
        (other, hello)
    }

    /// Takes the next call at `listener`, and lets the caller in.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        let (mut other, _) = Self::answer(listener);
        other.write(&acceptance("played:1"));
        other
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("an open connection");
    }

    pub(crate) fn send(&mut self, messages: &[Message]) {
        let mut frame = Vec::new();
        format::encode_messages(&mut frame, messages).expect("messages that can be written");
        self.write(&frame);
    }

    /// The body of the next frame; `None` once the other side has closed the connection.
    pub(crate) fn read_frame(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(body) = self.frames.next_frame().expect("frames") {
                return Some(body.to_vec());
            }
            match self.frames.fill(&mut self.stream) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// The next messages, past any pings.
    pub(crate) fn read_messages(&mut self) -> Vec<Message> {
        loop {
            let body = self.read_frame().expect("an open connection");
            if let Packet::Messages(messages) = format::decode(&body).expect("a packet") {
                return messages;
            }
        }
    }

    /// Waits until the other side has closed the connection, whatever else it says before.
    pub(crate) fn wait_closed(&mut self) {
        let mut room = [0; 4096];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("the connection stays open: {error}"),
            }
        }
    }
}

/// A greeting, written by hand after `docs/format.md`, of a node that tells of no directory.
pub(crate) fn hello(cluster: u64, from: u64, to: u64) -> Vec<u8> {
    frame((*b"raft-tcp", 2_u32, cluster, from, to, "caller:1", NO_DIRECTORY))
}

/// The same in version 1, as earlier releases say it.
pub(crate) fn old_hello(from: u64, to: u64) -> Vec<u8> {
    frame((*b"raft-tcp", 1_u32, CLUSTER, from, to, "caller:1"))
}

/// A greeting that tells of a directory, and whether it takes the place of another one.
pub(crate) fn hello_with(
    magic: [u8; 8],
    from: u64,
    to: u64,
    directory: u64,
    rejoins: bool,
) -> Vec<u8> {
    frame((magic, 2_u32, CLUSTER, from, to, "caller:1", (Some(directory), rejoins)))
}

/// What stands at the end of a greeting that tells of no directory.
const NO_DIRECTORY: (Option<u64>, bool) = (None, false);

/// The answer that lets a caller in.
pub(crate) fn acceptance(client_address: &str) -> Vec<u8> {
    frame((*b"raft-tcp", 2_u32, 1_u32, client_address, NO_DIRECTORY))
}

/// The same in version 1.
pub(crate) fn old_acceptance() -> Vec<u8> {
    frame((*b"raft-tcp", 1_u32, 1_u32, "old:1"))
}

/// The answer of a node that tells of a directory.
pub(crate) fn acceptance_with(magic: [u8; 8], directory: u64, rejoins: bool) -> Vec<u8> {
    frame((magic, 2_u32, 1_u32, "played:1", (Some(directory), rejoins)))
}

/// The answer that turns a caller away, in this version of the protocol.
pub(crate) fn refusal(version: u32, code: u32, sentence: &str) -> Vec<u8> {
    frame((*b"raft-tcp", version, 0_u32, code, sentence))
}

/// The code and the sentence of a refusal, of the version that this release speaks.
pub(crate) fn refusal_in(body: &[u8]) -> (u32, String) {
    let said = wire::codec::decode_all::<([u8; 8], u32, u32, u32, String)>(body);
    let (_, version, kind, code, sentence) = said.expect("a refusal");
    assert_eq!((version, kind), (2, 0));
    (code, sentence)
}

/// A frame with this metadata.
pub(crate) fn frame(said: impl Serialize) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(&mut frame, &said, &[]).expect("a small frame");
    frame
}
