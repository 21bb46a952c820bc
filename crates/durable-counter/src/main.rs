//! A replicated counter that survives being killed: `raft-core` over `raft-storage` and
//! `raft-net-tcp`.
//!
//! ```text
//! durable-counter DIR [COUNT [PORT PORT PORT]]
//! ```
//!
//! Three nodes in one process, each with a directory of its own in `DIR` and a port of its own on
//! loopback (free ones, unless they are given). It counts COUNT times, or until it is killed; and
//! however it ends, the next start goes on where the last one was: `kill -9` it and see.
//!
//! `node.rs` is one node, and all that a program needs round the libraries. Here are the three of
//! them, and their client. In real use each node would be a process on a machine of its own, and
//! clients would come over the network.

mod node;

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use raft_core::{Input, NodeId, ReadMode, Ticket};

use crate::node::{Event, Members, Node};

/// Between two counts, so that a person can follow.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a node is asked before the client gives up: more than a minute.
const MAX_ATTEMPTS: usize = 1000;

const USAGE: &str = "give it a directory: durable-counter DIR [COUNT [PORT PORT PORT]]";

/// The way to every node.
type Nodes = BTreeMap<NodeId, Sender<Event>>;

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("durable-counter: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let (dir, times, ports) = match args {
        // Whoever asks for help with a flag does not want a directory of that name.
        [flag, ..] if flag.starts_with('-') => return Err(USAGE.into()),
        [dir] => (dir, None, [0; 3]),
        [dir, times] => (dir, Some(number(times)?), [0; 3]),
        [dir, times, a, b, c] => (dir, Some(number(times)?), [number(a)?, number(b)?, number(c)?]),
        _ => return Err(USAGE.into()),
    };
    let nodes = start(&PathBuf::from(dir), ports)?;
    let before = read(&nodes).ok_or("no node answers")?;
    println!("the count is {before}");
    let last = times.map_or(u64::MAX, |times: u64| before.saturating_add(times));
    for request in before + 1..=last {
        let (id, count) = increment(&nodes, request).ok_or("no node answers")?;
        if count != request {
            return Err(format!("{id} says {count} where {request} was due").into());
        }
        println!("{id} counts to {count}");
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn number<T: FromStr<Err = ParseIntError>>(word: &str) -> Result<T, String> {
    word.parse().map_err(|error| format!("{word:?} is not a number that fits ({error}); {USAGE}"))
}

/// Starts three nodes, each on a thread.
fn start(dir: &Path, ports: [u16; 3]) -> Result<Nodes, Box<dyn Error>> {
    let mut listeners = Vec::new();
    for (id, port) in (1..).map(NodeId::new).zip(ports) {
        listeners.push((id, TcpListener::bind((Ipv4Addr::LOCALHOST, port))?));
    }
    let address = |(id, listener): &(NodeId, TcpListener)| {
        listener.local_addr().map(|address| (*id, address.to_string()))
    };
    let members: Members = listeners.iter().map(address).collect::<Result<_, _>>()?;
    let mut nodes = Nodes::new();
    for (id, listener) in listeners {
        let (node, requests) = Node::open(id, &members, listener, &dir.join(id.to_string()))?;
        thread::Builder::new().name(id.to_string()).spawn(move || node.run())?;
        nodes.insert(id, requests);
    }
    Ok(nodes)
}

fn read(nodes: &Nodes) -> Option<u64> {
    let ticket = Ticket::new(0);
    ask(nodes, ticket, &Input::Read(ticket, ReadMode::Confirmed)).map(|(_, count)| count)
}

fn increment(nodes: &Nodes, request: u64) -> Option<(NodeId, u64)> {
    let (ticket, command) = (Ticket::new(request), request.to_le_bytes().as_slice().into());
    ask(nodes, ticket, &Input::Propose(vec![(ticket, command)]))
}

/// Asks one node after the other until one answers; says which, and the count.
fn ask(nodes: &Nodes, ticket: Ticket, input: &Input) -> Option<(NodeId, u64)> {
    nodes.iter().cycle().take(MAX_ATTEMPTS).find_map(|(id, node)| {
        let (reply, answer) = bounded(1);
        node.send(Event::Request(ticket, input.clone(), reply)).ok()?;
        let count = answer.recv_timeout(Duration::from_secs(1));
        count.inspect_err(|_| thread::sleep(Duration::from_millis(10))).ok().map(|n| (*id, n))
    })
}
