//! A leader that has lost what was committed.

use std::process::Stdio;

use crossbeam_channel::unbounded;
use kv_server::members::Members;
use raft_core::{Body, Entries, Entry, Index, Message, NodeId, Payload, Position, Term};
use raft_net_tcp::{Config, NetEvent, Network};
use tempfile::TempDir;

use crate::node::{free_ports, ready, server, wait_for};

/// Two of three nodes were started on empty disks: they form a majority that knows nothing of what
/// the third had committed with them. The third must not follow them, and must not go on serving
/// what is contradicted either: it stops, keeps its data, and says what to do. The test plays the
/// others.
#[test]
fn a_node_whose_leader_contradicts_what_is_committed_stops_at_once() {
    let folder = TempDir::new().unwrap();
    let ports = free_ports(4);
    let address = |node: usize| format!("127.0.0.1:{}", ports[node]);
    let list = [address(1), address(2), address(3)].join(",");
    let mut command = server();
    command
        .args(["--cluster", &list, "--client-bind", &address(0)])
        .arg("--data-dir")
        .arg(folder.path())
        .stderr(Stdio::piped());
    let (mut child, _) = ready(&mut command);

    let cluster_id = list.parse::<Members>().unwrap().cluster_id();
    let (node, leader) = (NodeId::new(1), NodeId::new(2));
    let listen = address(2).parse().unwrap();
    let config = Config::new(leader, cluster_id, listen, vec![(node, address(1))]);
    let (heard, messages) = unbounded();
    let network = Network::start(config, move |event| drop(heard.send(event))).unwrap();

    // Until it is connected, messages are lost.
    wait_for("the entry of term 1 to be committed", || {
        network.send(append(1));
        messages.try_iter().find(|event| {
            let matched = Body::Appended { matched: Index::new(1) };
            matches!(event, NetEvent::Message(message) if message.body == matched)
        })
    });
    let status = wait_for("the node to stop", || {
        network.send(append(2));
        child.try_wait().unwrap()
    });
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("contradicts") && said.contains("Keep this data directory"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    network.shutdown();
}

/// The leader's first entry, in this term, as committed.
fn append(term: u64) -> Message {
    let at = Position { term: Term::new(term), index: Index::new(1) };
    let entries = Entries::from(vec![Entry { at, payload: Payload::Noop }]);
    Message {
        from: NodeId::new(2),
        to: NodeId::new(1),
        term: Term::new(term),
        body: Body::Append { prev: Position::ORIGIN, entries, commit: Index::new(1) },
    }
}
