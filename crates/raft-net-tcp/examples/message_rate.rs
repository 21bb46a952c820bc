//! Measures the network between two nodes on this machine's loopback: how long a message takes
//! to the other side, and how many commands a second pass when many are under way.
//!
//! ```text
//! cargo run --release -p raft-net-tcp --example message_rate
//! ```

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use raft_core::{Body, Command, Entries, Entry, Index, Message, NodeId, Payload, Position, Term};
use raft_net_tcp::{Config, NetEvent, Network};

const COMMAND_BYTES: usize = 256;
const MESSAGES: usize = 20_000;
const APPENDS: u64 = 200_000;

/// How many appends may be under way: half of what the outbox takes.
const WINDOW: u64 = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    let (one, two, arriving) = start_pair()?;
    measure_one_way(&one, &arriving)?;
    for entries_per_append in [1, 16, 64] {
        measure_throughput(&one, &arriving, entries_per_append)?;
    }
    let stats = one.stats().peers[&NodeId::new(2)];
    let messages_per_write = stats.sent_messages.checked_div(stats.sent_writes);
    println!("messages in a write: {}", messages_per_write.unwrap_or(0));
    println!("connections opened: {}", stats.connects);
    one.shutdown();
    two.shutdown();
    Ok(())
}

/// Node 1, node 2, and the messages that arrive there.
fn start_pair() -> Result<(Network, Network, Receiver<Message>), Box<dyn Error>> {
    let bind = || TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)));
    let (first, second) = (bind()?, bind()?);
    let (at_1, at_2) = (first.local_addr()?, second.local_addr()?);
    let (connected, connections) = channel();
    let (tell, arriving) = channel();
    let config = |node, listen, peer, address: SocketAddr| {
        let peers = vec![(NodeId::new(peer), address.to_string())];
        Config::new(NodeId::new(node), 1, listen, peers)
    };
    let one = Network::start_on(first, config(1, at_1, 2, at_2), notify(&connected, None))?;
    let two = Network::start_on(second, config(2, at_2, 1, at_1), notify(&connected, Some(tell)))?;
    for _ in 0..2 {
        connections.recv_timeout(Duration::from_secs(10))?;
    }
    Ok((one, two, arriving))
}

/// Tells of connections, and of messages where somebody wants them.
fn notify(
    connected: &Sender<()>,
    messages: Option<Sender<Message>>,
) -> impl Fn(NetEvent) + Send + Sync + 'static {
    let connected = connected.clone();
    move |event| {
        // Nobody listens any more once all has been measured.
        let _ = match (event, &messages) {
            (NetEvent::Connected { .. }, _) => connected.send(()).map_err(drop),
            (NetEvent::Message(message), Some(tell)) => tell.send(message).map_err(drop),
            _ => Ok(()),
        };
    }
}

/// One message at a time: each wakes a writer, a reader and this thread.
fn measure_one_way(one: &Network, arriving: &Receiver<Message>) -> Result<(), Box<dyn Error>> {
    let mut took = Vec::with_capacity(MESSAGES);
    for sent_before in 0..MESSAGES {
        let sent = Instant::now();
        one.send(append(1 + sent_before as u64, 1));
        arriving.recv_timeout(Duration::from_secs(10))?;
        took.push(sent.elapsed());
    }
    took.sort();
    let (median, p99) = (took[MESSAGES / 2], took[MESSAGES * 99 / 100]);
    println!("one append at a time, from send to event: median {median:?}, p99 {p99:?}");
    Ok(())
}

fn measure_throughput(
    one: &Network,
    arriving: &Receiver<Message>,
    entries: u64,
) -> Result<(), Box<dyn Error>> {
    let appends = APPENDS / entries;
    let start = Instant::now();
    let (mut sent, mut arrived) = (0, 0);
    while arrived < appends {
        while sent < appends && sent - arrived < WINDOW / entries.min(16) {
            one.send(append(1 + sent * entries, entries));
            sent += 1;
        }
        arriving.recv_timeout(Duration::from_secs(10))?;
        arrived += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = (appends * entries) as f64 / seconds;
    println!("{entries} commands of {COMMAND_BYTES} bytes an append: {rate:.0} commands a second");
    Ok(())
}

fn append(first: u64, entries: u64) -> Message {
    let term = Term::new(1);
    let command = Command::from([7; COMMAND_BYTES]);
    let entries: Entries = (first..first + entries)
        .map(|index| Entry {
            at: Position::new(term, Index::new(index)),
            payload: Payload::Command(command.clone()),
        })
        .collect();
    Message {
        from: NodeId::new(1),
        to: NodeId::new(2),
        term,
        body: Body::Append {
            prev: Position::new(term, Index::new(first - 1)),
            entries,
            commit: Index::ZERO,
        },
    }
}
