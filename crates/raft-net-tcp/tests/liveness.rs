//! Connections whose other end is gone without a word: noticed from both ends.

mod common;

use std::time::Duration;

use common::{Node, PATIENCE, Stranger, append, config, heartbeat, id, listener, pair};
use raft_net_tcp::format::{self, Packet};

/// Timing that gives a silent connection up soon.
fn give_up_soon(config: &mut raft_net_tcp::Config) {
    config.timing.keepalive_interval = Duration::from_millis(20);
    config.timing.silence_timeout = Duration::from_millis(80);
}

#[test]
fn a_peer_that_lets_us_in_and_then_neither_reads_nor_writes_is_given_up() {
    let (played, address) = listener();
    let mut config = config(1, &[(2, address)]);
    give_up_soon(&mut config);
    let one = Node::start(config);
    let _half_open = Stranger::accept(&played);
    one.wait_connected(id(2));
    one.wait_unreachable(id(2));
    let _again = Stranger::accept(&played);
    one.wait_connected(id(2));
}

#[test]
fn a_peer_that_never_answers_the_greeting_is_given_up() {
    let (played, address) = listener();
    let mut config = config(1, &[(2, address)]);
    config.timing.handshake_timeout = Duration::from_millis(80);
    let one = Node::start(config);
    let (mut silent, _) = Stranger::answer(&played);
    silent.wait_closed();
    let _again = Stranger::accept(&played);
    one.wait_connected(id(2));
}

#[test]
fn a_peer_that_stops_reading_in_the_middle_of_a_large_write_is_given_up() {
    let (played, address) = listener();
    let mut config = config(1, &[(2, address)]);
    give_up_soon(&mut config);
    let one = Node::start(config);
    let _stuck = Stranger::accept(&played);
    one.wait_connected(id(2));
    for index in 1..=3 {
        one.network.send(append(1, 2, index, vec![0; 7 << 20]));
    }
    one.wait_unreachable(id(2));
    one.wait_stats(id(2), |stats| stats.dropped_unreachable >= 1);
}

#[test]
fn a_caller_that_falls_silent_is_closed() {
    let (_nobody, address) = listener();
    let mut config = config(1, &[(2, address)]);
    give_up_soon(&mut config);
    let one = Node::start(config);
    let mut silent = Stranger::call_as(2, &one);
    silent.wait_closed();
}

#[test]
fn an_idle_connection_of_two_nodes_that_are_well_stays() {
    let (one, two) = pair(|config| {
        config.timing.keepalive_interval = Duration::from_millis(1);
        config.timing.silence_timeout = PATIENCE;
    });
    // A ping and its answer many times over, and not one message.
    one.wait_stats(id(2), |stats| stats.sent_writes > 100);
    two.network.send(heartbeat(2, 1, 1));
    assert_eq!(one.wait_message(), heartbeat(2, 1, 1));
    assert_eq!(one.network.stats().peers[&id(2)].connects, 1);
    assert_eq!(one.network.stats().peers[&id(2)].sent_messages, 0);
}

#[test]
fn every_ping_is_answered_on_the_same_connection() {
    let (_nobody, address) = listener();
    let one = Node::start(config(1, &[(2, address)]));
    let mut caller = Stranger::call_as(2, &one);
    let mut ping = Vec::new();
    format::encode_ping(&mut ping).expect("a ping");
    for _ in 0..3 {
        caller.write(&ping);
        let answer = caller.read_frame().expect("an answer");
        assert_eq!(format::decode(&answer), Ok(Packet::Pong));
    }
}

#[test]
fn a_peer_that_answers_with_something_else_is_given_up() {
    let (played, address) = listener();
    let one = Node::start(config(1, &[(2, address)]));
    let mut odd = Stranger::accept(&played);
    odd.send(&[heartbeat(2, 1, 1)]);
    odd.wait_closed();
    one.wait_unreachable(id(2));
    assert_eq!(one.network.stats().peers[&id(2)].received_messages, 0);
}
