//! A node that is asked to stop: while clients wait, and before it serves any.

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::sync::Barrier;

use kv_proto::{Range, Response};

use crate::node::{Cluster, ready, terminate, wait_for};
use crate::stranger::{Stranger, write_put};

const CLIENTS: usize = 16;

/// More than may be in flight: some are still on their way when the node is asked to stop.
const REQUESTS: u64 = 2000;

/// A node once ended its clients' thread as soon as its loop was gone: hundreds of requests had no
/// answer, among them writes that were durable. Every request of which the server can know is
/// answered, once, and what was acknowledged is there after a restart.
#[test]
fn every_request_is_answered_when_the_node_stops() {
    let mut cluster = Cluster::start(1);
    cluster.leader();
    let address = cluster.client_address(1);
    let under_way = Barrier::new(CLIENTS + 1);
    let acknowledged: u64 = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (address, under_way) = (&address, &under_way);
                scope.spawn(move || ask_much(client, address, under_way))
            })
            .collect();
        under_way.wait();
        cluster.stop(1);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    cluster.restart(1);
    let found = cluster.client().range(&Range::prefix(b"")).unwrap().reply.count;
    assert!(found >= acknowledged, "{acknowledged} writes were acknowledged, {found} are there");
}

/// Sends all its requests, and lets the server be stopped when the first is answered; returns how
/// many were acknowledged.
fn ask_much(client: usize, address: &str, under_way: &Barrier) -> u64 {
    let mut stranger = Stranger::greeted(address);
    let mut frames = Vec::new();
    for id in 0..REQUESTS {
        write_put(&mut frames, id, format!("{client}/{id}").as_bytes(), b"value");
    }
    stranger.second_hand().write_all(&frames).unwrap();
    let mut answered = vec![false; usize::try_from(REQUESTS).unwrap()];
    let (mut count, mut acknowledged) = (0, 0);
    while let Some(body) = stranger.hear() {
        let id = match Response::decode(&body).unwrap() {
            Response::Done { id, .. } => {
                acknowledged += 1;
                id
            }
            Response::Failed { id, .. } => id,
            other @ Response::Closing { .. } => panic!("another answer: {other:?}"),
        };
        let seen = std::mem::replace(&mut answered[usize::try_from(id).unwrap()], true);
        assert!(!seen, "request {id} was answered twice");
        if count == 0 {
            under_way.wait();
        }
        count += 1;
    }
    assert_eq!(count, REQUESTS, "answers");
    acknowledged
}

/// Signals were once looked at when the node served, and not before: one that had to ask others
/// first, who were away, could not be told to stop for minutes.
#[test]
fn a_node_that_does_not_serve_yet_ends_at_once_when_it_is_asked_to() {
    let cluster = Cluster::unstarted(3);
    // It waits for the others longer than this test has patience.
    let mut waits = cluster.command(1);
    let mut child = waits.args(["--rejoin", "--timing-mode", "demo"]).spawn().unwrap();
    let marker = cluster.data(1).join("rejoining");
    wait_for("the node to ask the others", || marker.exists().then_some(()));
    assert_eq!(terminate(&mut child, "-TERM").code(), Some(0));
}

/// A person who pressed Ctrl-C once saw nothing at all until the node was gone, and did not know
/// that pressing it again would help.
#[test]
fn whoever_stops_a_node_is_told_that_it_stops() {
    let cluster = Cluster::unstarted(1);
    let mut node = cluster.command(1);
    node.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut child, _) = ready(&mut node);
    let mut stderr = child.stderr.take().unwrap();
    assert_eq!(terminate(&mut child, "-INT").code(), Some(0));
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    let one_line = said.lines().collect::<Vec<_>>();
    assert_eq!(one_line.len(), 1, "{said}");
    assert!(said.contains("Ctrl-C") && said.contains("a second one ends it at once"), "{said}");
}
