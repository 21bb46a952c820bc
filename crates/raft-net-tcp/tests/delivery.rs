//! Messages between nodes that are well: all of them, in order, as they were sent.

mod common;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Node, PATIENCE, append, config, heartbeat, id, listener, message, pair};
use raft_core::{Body, Index, ReadMode};
use raft_net_tcp::{NetEvent, Network, StartError};

#[test]
fn messages_arrive_in_the_order_they_were_sent() {
    let (one, two) = pair(|_| {});
    let rounds = 4_000;
    for round in 0..rounds {
        one.network.send(heartbeat(1, 2, round));
    }
    for round in 0..rounds {
        assert_eq!(two.wait_message(), heartbeat(1, 2, round));
    }
    let sent = one.wait_stats(id(2), |stats| stats.sent_messages == rounds);
    assert_eq!((sent.dropped_queue_full, sent.dropped_unreachable), (0, 0));
    let received = two.network.stats().peers[&id(1)];
    assert_eq!(received.received_messages, rounds);
    assert_eq!(received.dropped_spoofed, 0);
}

#[test]
fn commands_of_every_size_arrive_as_they_were() {
    let (one, two) = pair(|_| {});
    let sizes = [0, 1, 255, 4096, 70_000, 1 << 20, 3 << 19, 7 << 20];
    let messages: Vec<_> = sizes
        .iter()
        .zip(1..)
        .map(|(size, index)| append(1, 2, index, (0..=255).cycle().take(*size).collect()))
        .collect();
    for message in &messages {
        one.network.send(message.clone());
    }
    for message in messages {
        // Not assert_eq: nobody wants to read megabytes.
        assert!(two.wait_message() == message);
    }
}

#[test]
fn many_messages_at_once_keep_to_a_small_frame_limit() {
    let (one, two) = pair(|config| config.limits.max_frame_bytes = 1024);
    for index in 1..=500 {
        one.network.send(append(1, 2, index, vec![7; 400]));
    }
    for index in 1..=500 {
        assert_eq!(two.wait_message(), append(1, 2, index, vec![7; 400]));
    }
    one.network.send(append(1, 2, 501, vec![7; 1000]));
    let stats = one.network.stats().peers[&id(2)];
    assert_eq!((stats.dropped_unsendable, stats.connects), (1, 1));
}

#[test]
fn three_nodes_talk_all_to_all() {
    let listeners = [listener(), listener(), listener()];
    let addresses: Vec<_> = listeners.iter().map(|(_, at)| *at).collect();
    let start = |(node, (listener, _)): (u64, (TcpListener, _))| {
        let peers: Vec<_> =
            (1..=3).zip(addresses.iter().copied()).filter(|(peer, _)| *peer != node).collect();
        Node::start_on(listener, config(node, &peers))
    };
    let nodes: Vec<Node> = (1..=3).zip(listeners).map(start).collect();
    let others = |node: &Node| {
        let me = node.id.get();
        (1..=3).filter(move |peer| *peer != me)
    };
    for node in &nodes {
        let mut missing: Vec<_> = others(node).collect();
        node.wait("two connections", |event| {
            if let NetEvent::Connected { peer, .. } = event {
                missing.retain(|it| *it != peer.get());
            }
            missing.is_empty().then_some(())
        });
    }
    for node in &nodes {
        for peer in others(node) {
            let me = node.id.get();
            node.network.send(heartbeat(me, peer, 10 * me + peer));
        }
    }
    for node in &nodes {
        let mut got = [node.wait_message(), node.wait_message()];
        got.sort_by_key(|message| message.from);
        let me = node.id.get();
        let expected: Vec<_> =
            others(node).map(|peer| heartbeat(peer, me, 10 * peer + me)).collect();
        assert_eq!(got[..], expected);
    }
}

#[test]
fn each_side_learns_where_clients_reach_the_other() {
    let ((first, at_1), (second, at_2)) = (listener(), listener());
    let one = Node::start_on(first, config(1, &[(2, at_2)]));
    assert_eq!(one.network.client_address(id(2)), None, "not yet");
    let mut silent = config(2, &[(1, at_1)]);
    silent.client_address = String::new();
    let two = Node::start_on(second, silent);
    assert_eq!(two.wait_connected(id(1)).as_deref(), Some("client-1:1"));
    assert_eq!(two.network.client_address(id(1)).as_deref(), Some("client-1:1"));
    assert_eq!(one.wait_connected(id(2)), None, "it has none");
    assert_eq!(one.network.client_address(id(2)), None);
    assert_eq!(one.network.client_address(id(9)), None, "a stranger");
}

#[test]
fn a_restarted_peer_is_connected_again_and_hears_again() {
    let (one, two) = pair(|_| {});
    let address = two.address();
    two.network.shutdown();
    one.wait_unreachable(id(2));

    // The port may be in its last moments: the system lets go of it when it likes.
    let deadline = Instant::now() + PATIENCE;
    let listener = loop {
        match TcpListener::bind(address) {
            Ok(listener) => break listener,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let two = Node::start_on(listener, config(2, &[(1, one.address())]));
    one.wait_connected(id(2));
    one.network.send(heartbeat(1, 2, 7));
    assert_eq!(two.wait_message(), heartbeat(1, 2, 7));
    assert!(one.network.stats().peers[&id(2)].connects >= 2);
}

#[test]
fn what_waits_for_a_dead_peer_is_given_up_and_told() {
    let (nobody, address) = listener();
    drop(nobody);
    let one = Node::start(config(1, &[(2, address)]));
    one.network.send(heartbeat(1, 2, 1));
    one.wait_unreachable(id(2));
    let stats = one.wait_stats(id(2), |stats| stats.dropped_unreachable == 1);
    assert!(!stats.connected);
    assert_eq!((stats.queued_messages, stats.queued_bytes), (0, 0));
}

#[test]
fn messages_that_cannot_be_sent_are_counted_and_hurt_nobody() {
    let (one, two) = pair(|_| {});
    one.network.send(heartbeat(1, 9, 1));
    one.network.send(heartbeat(1, 1, 1));
    one.network.send(heartbeat(2, 1, 1));
    assert_eq!(one.network.stats().messages_misaddressed, 3);

    one.network.send(append(1, 2, 1, vec![0; 8 << 20]));
    let mut gap = append(1, 2, 5, vec![1]);
    if let Body::Append { prev, .. } = &mut gap.body {
        prev.index = Index::new(2);
    }
    one.network.send(gap);
    one.wait_unreachable(id(2));
    one.network.send(heartbeat(1, 2, 2));
    assert_eq!(two.wait_message(), heartbeat(1, 2, 2));
    let stats = one.network.stats().peers[&id(2)];
    assert_eq!(stats.dropped_unsendable, 2);
    assert_eq!(stats.connects, 1, "the connection has stayed");
}

#[test]
fn a_delayed_network_holds_messages_back_and_keeps_their_order() {
    let delay = Duration::from_millis(100);
    let (one, two) = pair(|config| config.network_delay = delay);
    let sent = Instant::now();
    for round in 0..10 {
        one.network.send(heartbeat(1, 2, round));
    }
    for round in 0..10 {
        assert_eq!(two.wait_message(), heartbeat(1, 2, round));
    }
    assert!(sent.elapsed() >= delay);
}

#[test]
fn nothing_is_told_after_the_shutdown() {
    let ((first, at_1), (second, at_2)) = (listener(), listener());
    let is_over = Arc::new(AtomicBool::new(false));
    let (told, told_late) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let one = Network::start_on(first, config(1, &[(2, at_2)]), {
        let (is_over, told, late) = (is_over.clone(), told.clone(), told_late.clone());
        move |_| {
            late.fetch_or(is_over.load(Ordering::SeqCst), Ordering::SeqCst);
            told.fetch_add(1, Ordering::SeqCst);
        }
    })
    .expect("a valid configuration");
    let two = Node::start_on(second, config(2, &[(1, at_1)]));
    two.wait_connected(id(1));
    // The other node goes on talking all the while.
    let deadline = Instant::now() + PATIENCE;
    while told.load(Ordering::SeqCst) < 500 {
        two.network.send(heartbeat(2, 1, 1));
        assert!(Instant::now() < deadline, "nothing is told at all");
    }
    one.shutdown();
    is_over.store(true, Ordering::SeqCst);
    for round in 0..500 {
        two.network.send(heartbeat(2, 1, round));
    }
    two.wait_unreachable(id(1));
    two.network.shutdown();
    assert!(!told_late.load(Ordering::SeqCst));
}

#[test]
fn an_address_in_use_is_named_with_what_to_do() {
    let (_taken, address) = listener();
    let mut config = config(1, &[]);
    config.listen = address;
    let error = Network::start(config, |_| {}).expect_err("it is in use");
    assert!(matches!(error, StartError::Listen { .. }));
    let expected = format!(
        "cannot listen on {address}: another process uses this address; stop it or choose another \
         port"
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_node_without_peers_starts_and_stops() {
    let alone = Node::start(config(1, &[]));
    alone.network.send(message(1, 2, Body::ReadIndex { id: 1, mode: ReadMode::Confirmed }));
    assert_eq!(alone.network.stats().messages_misaddressed, 1);
    alone.network.shutdown();
}

#[test]
fn a_peer_may_be_named_by_its_host_name() {
    let (second, at_2) = listener();
    let mut first = config(1, &[]);
    first.peers = vec![(id(2), format!("localhost:{}", at_2.port()))];
    let one = Node::start(first);
    let _two = Node::start_on(second, config(2, &[(1, one.address())]));
    one.wait_connected(id(2));
}
