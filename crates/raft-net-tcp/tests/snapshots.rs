//! Snapshots on their way: what arrives, what goes on after a break, and what is given up.

mod common;

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{CLUSTER, Node, PATIENCE, Stranger, config, heartbeat, id, listener, message, pair};
use raft_core::{Body, ClusterConfig, Index, Message, NodeId, Position, Snapshot, Term};
use raft_net_tcp::{Config, NetEvent, SnapshotSink, SnapshotSource};
use wire::frame::write_frame;

/// Where the snapshots of these tests end.
const AT: Position = Position::new(Term::new(1), Index::new(40));

fn snapshot(from: u64, to: u64) -> Message {
    let cluster = Arc::new(ClusterConfig::of_voters([1, 2].map(NodeId::new)));
    message(from, to, Body::Snapshot(Snapshot { at: AT, cluster }))
}

/// Pieces with a number in each; counts how often one was asked for.
struct Numbers {
    count: u64,
    bytes: usize,
    asked: Arc<AtomicUsize>,
}

fn numbers(count: u64, bytes: usize) -> Numbers {
    Numbers { count, bytes, asked: Arc::default() }
}

impl SnapshotSource for Numbers {
    fn piece(&mut self, number: u64) -> Result<Option<Vec<u8>>, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let fill = u8::try_from(number % 251).expect("below");
        Ok((number < self.count).then(|| vec![fill; self.bytes]))
    }
}

/// What a sink was given, told when it is finished or dropped.
struct Collected {
    pieces: Vec<Vec<u8>>,
    tell: Sender<Vec<Vec<u8>>>,
    finish: Box<Finish>,
}

/// How a snapshot of these tests ends. It is told how to find out whether the network stops.
type Finish = dyn Fn(&IsStopping<'_>) -> Result<(), String> + Send;

type IsStopping<'a> = dyn Fn() -> bool + Sync + 'a;

impl SnapshotSink for Collected {
    fn next_piece(&self) -> u64 {
        self.pieces.len() as u64
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), String> {
        if piece == b"poison" {
            return Err("piece is poisoned".to_owned());
        }
        self.pieces.push(piece.to_vec());
        Ok(())
    }

    fn finish(self: Box<Self>, is_stopping: &IsStopping<'_>) -> Result<(), String> {
        (self.finish)(is_stopping)
    }
}

impl Drop for Collected {
    fn drop(&mut self) {
        // A test that has seen enough hangs up.
        let _ = self.tell.send(std::mem::take(&mut self.pieces));
    }
}

/// From now on, `node` takes in snapshots, and ends each as `finish` does; tells what came of each.
fn collect(
    node: &Node,
    finish: impl Fn() -> Result<(), String> + Send + Clone + Sync + 'static,
) -> Receiver<Vec<Vec<u8>>> {
    collect_until_stopped(node, move |_| finish())
}

/// As [`collect`], where `finish` looks whether the network stops.
fn collect_until_stopped(
    node: &Node,
    finish: impl Fn(&IsStopping<'_>) -> Result<(), String> + Send + Clone + Sync + 'static,
) -> Receiver<Vec<Vec<u8>>> {
    let (tell, collected) = channel();
    node.network.receive_snapshots(move |_| {
        let finish = Box::new(finish.clone());
        Ok(Box::new(Collected { pieces: Vec::new(), tell: tell.clone(), finish }))
    });
    collected
}

/// What became of the snapshot that `node` sends.
fn outcome(node: &Node) -> Option<Position> {
    node.wait("an outcome", |event| match event {
        NetEvent::SnapshotSent { arrived, .. } => Some(arrived),
        _ => None,
    })
}

fn hasty(config: &mut Config) {
    config.snapshots.patience = Duration::from_millis(300);
}

fn greeting(from: u64, to: u64) -> Vec<u8> {
    let no_directory = (None::<u64>, false);
    common::frame((*b"raft-snp", 2_u32, CLUSTER, from, to, "", no_directory))
}

fn accepted() -> Vec<u8> {
    common::frame((*b"raft-snp", 2_u32, 1_u32, "", (None::<u64>, false)))
}

/// An offer from node 2 to node 1, by hand after `docs/format.md`.
fn offer(name: u64) -> Vec<u8> {
    let mut frame = Vec::new();
    let body = (13_u32, AT.term.get(), AT.index.get(), vec![1_u64, 2], None::<Vec<u64>>);
    let said = (0_u32, name, (2_u64, 1_u64, 1_u64), body, Vec::<u64>::new());
    write_frame(&mut frame, &said, &[]).expect("a small frame");
    frame
}

fn piece(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(&mut frame, &(1_u32, number), &[bytes]).expect("a small frame");
    frame
}

fn end(pieces: u64) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(&mut frame, &(2_u32, pieces), &[]).expect("a small frame");
    frame
}

fn next(piece: u64) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend_from_slice(&piece.to_le_bytes());
    body
}

/// Node 1, and a caller in the name of node 2 who was let in to bring a snapshot.
fn call(node: &Node) -> Stranger {
    let mut caller = Stranger::call(node.address());
    caller.write(&greeting(2, 1));
    assert_eq!(caller.read_frame().expect("an answer")[..8], *b"raft-snp");
    caller
}

/// Node 1, whose peer 2 is played by the test, at this listener.
fn node_one(change: impl Fn(&mut Config)) -> (Node, TcpListener) {
    let (played, address) = listener();
    let mut config = config(1, &[(2, address)]);
    change(&mut config);
    (Node::start(config), played)
}

/// Takes calls at `listener` until one comes that brings a snapshot; lets it in.
fn accept_snapshot(listener: &TcpListener) -> Stranger {
    loop {
        let (mut caller, hello) = Stranger::answer(listener);
        if hello[..8] == *b"raft-snp" {
            caller.write(&accepted());
            return caller;
        }
        // Messages are of no interest here, but the connection stays.
        caller.write(&common::acceptance("played:1"));
        std::mem::forget(caller);
    }
}

#[test]
fn a_snapshot_arrives_whole_and_in_order_and_the_sender_is_told_once() {
    let (one, two) = pair(|_| {});
    let collected = collect(&two, || Ok(()));
    for count in [0, 1, 30] {
        one.network.snapshots().send(snapshot(1, 2), numbers(count, 100_000));
        let pieces = collected.recv_timeout(PATIENCE).expect("it arrives");
        let firsts: Vec<u8> = pieces.iter().map(|piece| piece[0]).collect();
        assert_eq!(firsts, (0..30).take(usize::try_from(count).unwrap()).collect::<Vec<u8>>());
        assert!(pieces.iter().all(|piece| piece.len() == 100_000));
        assert_eq!(outcome(&one), Some(AT));
    }
    assert!(one.events.try_iter().all(|event| !matches!(event, NetEvent::SnapshotSent { .. })));
}

#[test]
fn the_outcome_waits_for_whatever_the_receiver_does_with_it() {
    let (one, two) = pair(hasty);
    let is_installed = Arc::new(AtomicBool::new(false));
    let installs = Arc::clone(&is_installed);
    // Much longer than anything may stand still.
    collect(&two, move || {
        std::thread::sleep(Duration::from_millis(1200));
        installs.store(true, Ordering::SeqCst);
        Ok(())
    });
    one.network.snapshots().send(snapshot(1, 2), numbers(3, 100));
    assert_eq!(outcome(&one), Some(AT));
    assert!(is_installed.load(Ordering::SeqCst));
}

#[test]
fn messages_go_on_while_a_snapshot_is_slow() {
    let slow = |config: &mut Config| {
        config.snapshots.max_bytes_per_second = std::num::NonZeroU64::new(20_000);
    };
    let (one, two) = pair(slow);
    let _collected = collect(&two, || Ok(()));
    // It would take a minute.
    one.network.snapshots().send(snapshot(1, 2), numbers(12, 100_000));
    for round in 0..50 {
        one.network.send(heartbeat(1, 2, round));
        assert_eq!(two.wait_message(), heartbeat(1, 2, round));
    }
    let progress = one.network.snapshots().progress(two.id).expect("it is on its way");
    assert!(progress.pieces < 12);
    let stats = one.network.stats().peers[&two.id];
    assert!(stats.snapshot.is_some(), "{stats:?}");
    one.network.snapshots().cancel_all();
    assert_eq!(outcome(&one), None);
}

#[test]
fn after_a_break_the_sender_goes_on_where_it_is_told_to() {
    let (one, played) = node_one(|_| {});
    let source = numbers(9, 50);
    let asked = Arc::clone(&source.asked);
    one.network.snapshots().send(snapshot(1, 2), source);
    let mut receiver = accept_snapshot(&played);
    let offered = receiver.read_frame().expect("an offer");
    receiver.write(&frame(&next(0)));
    for number in 0..3 {
        let said = receiver.read_frame().expect("a piece");
        assert_eq!(said[4..12], u64::to_le_bytes(number));
    }
    drop(receiver);

    let mut receiver = accept_snapshot(&played);
    assert_eq!(receiver.read_frame().expect("an offer"), offered, "the same name");
    receiver.write(&frame(&next(2)));
    for number in 2..9 {
        let said = receiver.read_frame().expect("a piece");
        assert_eq!(said[..12], [&[1, 0, 0, 0][..], &u64::to_le_bytes(number)].concat());
        receiver.write(&frame(&next(number + 1)));
    }
    assert_eq!(
        receiver.read_frame().expect("the end"),
        [&[2, 0, 0, 0][..], &9_u64.to_le_bytes()].concat()
    );
    receiver.write(&frame(&[1, 0, 0, 0]));
    assert_eq!(outcome(&one), Some(AT));
    assert!(asked.load(Ordering::Relaxed) <= 4 + 8, "pieces that had arrived are read again");
}

/// A frame with this body.
fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(&mut frame, &(), &[body]).expect("a small frame");
    frame
}

#[test]
fn after_a_break_the_receiver_says_what_it_lacks_and_of_another_snapshot_all() {
    let (one, _played) = node_one(|_| {});
    let collected = collect(&one, || Ok(()));
    let mut caller = call(&one);
    caller.write(&offer(7));
    assert_eq!(caller.read_frame(), Some(next(0)));
    caller.write(&[piece(0, b"a"), piece(1, b"b")].concat());
    assert_eq!(caller.read_frame(), Some(next(1)));
    assert_eq!(caller.read_frame(), Some(next(2)));
    // Half a piece, and the connection is gone.
    caller.write(&piece(2, b"ccccccccc")[..20]);
    drop(caller);

    let mut caller = call(&one);
    caller.write(&offer(7));
    assert_eq!(caller.read_frame(), Some(next(2)));
    caller.write(&[piece(2, b"c"), end(3)].concat());
    assert_eq!(caller.read_frame(), Some(next(3)));
    assert_eq!(caller.read_frame(), Some(vec![1, 0, 0, 0]), "done");
    let pieces = collected.recv_timeout(PATIENCE).expect("it arrived");
    assert_eq!(pieces, [b"a", b"b", b"c"]);
    // The answer was lost, and is asked for again: nothing is taken in twice.
    let mut caller = call(&one);
    caller.write(&offer(7));
    assert_eq!(caller.read_frame(), Some(vec![1, 0, 0, 0]), "done");

    let mut caller = call(&one);
    caller.write(&offer(8));
    assert_eq!(caller.read_frame(), Some(next(0)));
    caller.write(&piece(0, b"a"));
    assert_eq!(caller.read_frame(), Some(next(1)));
    let mut caller = call(&one);
    caller.write(&offer(9));
    assert_eq!(caller.read_frame(), Some(next(0)), "nothing of another snapshot");
    assert_eq!(collected.recv_timeout(PATIENCE), Ok(vec![b"a".to_vec()]), "given up");
}

#[test]
fn a_part_that_nobody_goes_on_with_is_given_up() {
    let (one, _played) = node_one(hasty);
    let collected = collect(&one, || panic!("it is not whole"));
    let mut caller = call(&one);
    caller.write(&[offer(7), piece(0, b"a")].concat());
    assert_eq!(caller.read_frame(), Some(next(0)));
    assert_eq!(caller.read_frame(), Some(next(1)));
    // The other side lives, and says nothing more.
    assert_eq!(collected.recv_timeout(PATIENCE), Ok(vec![b"a".to_vec()]));
    caller.wait_closed();
}

#[test]
fn a_receiver_that_stands_still_is_given_up() {
    let (one, played) = node_one(hasty);
    one.network.snapshots().send(snapshot(1, 2), numbers(1000, 100_000));
    let mut receiver = accept_snapshot(&played);
    receiver.read_frame().expect("an offer");
    receiver.write(&frame(&next(0)));
    // It reads on, but confirms nothing: no more comes than may be unconfirmed.
    for _ in 0..4 {
        receiver.read_frame().expect("a piece");
    }
    receiver.wait_closed();
    drop(played);
    assert_eq!(outcome(&one), None);
}

#[test]
fn a_newer_snapshot_takes_the_place_of_the_older() {
    let (one, played) = node_one(|_| {});
    let sender = one.network.snapshots();
    sender.send(snapshot(1, 2), numbers(1000, 100_000));
    let mut receiver = accept_snapshot(&played);
    receiver.read_frame().expect("an offer");
    sender.send(snapshot(1, 2), numbers(1, 1));
    assert_eq!(outcome(&one), None, "the older");
    receiver.wait_closed();
    let mut receiver = accept_snapshot(&played);
    receiver.read_frame().expect("an offer");
    receiver.write(&frame(&[1, 0, 0, 0]));
    assert_eq!(outcome(&one), Some(AT));
}

#[test]
fn who_is_turned_down_is_told_why_and_both_go_on() {
    let (one, two) = pair(|_| {});
    one.network.snapshots().send(snapshot(1, 2), numbers(1, 1));
    assert_eq!(outcome(&one), None, "nobody takes snapshots there");

    let is_wanted = Arc::new(AtomicBool::new(false));
    let wants = Arc::clone(&is_wanted);
    let (tell, _collected) = channel();
    let finish = Arc::new(Mutex::new(vec![Ok(()), Err("it was damaged".to_owned())]));
    two.network.receive_snapshots(move |offered| {
        assert_eq!(offered, snapshot(1, 2));
        if !wants.load(Ordering::SeqCst) {
            return Err("not now".to_owned());
        }
        let finish = Arc::clone(&finish);
        let finish = Box::new(move |_: &IsStopping<'_>| finish.lock().unwrap().pop().expect("two"));
        Ok(Box::new(Collected { pieces: Vec::new(), tell: tell.clone(), finish }))
    });
    let send = |count| {
        one.network.snapshots().send(snapshot(1, 2), numbers(count, 1));
        outcome(&one)
    };
    assert_eq!(send(1), None, "not wanted");
    is_wanted.store(true, Ordering::SeqCst);
    one.network.snapshots().send(snapshot(1, 2), Poison);
    assert_eq!(outcome(&one), None, "a bad piece");
    assert_eq!(send(1), None, "bad as a whole");
    assert_eq!(send(1), Some(AT));
}

struct Poison;

impl SnapshotSource for Poison {
    fn piece(&mut self, number: u64) -> Result<Option<Vec<u8>>, String> {
        Ok((number == 0).then(|| b"poison".to_vec()))
    }
}

/// Cannot be read, or is larger than agreed.
struct Broken(usize);

impl SnapshotSource for Broken {
    fn piece(&mut self, _: u64) -> Result<Option<Vec<u8>>, String> {
        if self.0 == 0 { Err("the disk is gone".to_owned()) } else { Ok(Some(vec![0; self.0])) }
    }
}

#[test]
fn what_cannot_be_sent_has_an_outcome_too() {
    let (one, two) = pair(|config| config.snapshots.max_piece_bytes = 1000);
    let _collected = collect(&two, || Ok(()));
    let sender = one.network.snapshots();
    for broken in [Broken(0), Broken(1001)] {
        sender.send(snapshot(1, 2), broken);
        assert_eq!(outcome(&one), None);
    }
    for misaddressed in [snapshot(2, 1), snapshot(1, 9), heartbeat(1, 2, 0)] {
        sender.send(misaddressed, numbers(1, 1));
        assert_eq!(outcome(&one), None);
    }
    sender.send(snapshot(1, 2), numbers(1, 1000));
    assert_eq!(outcome(&one), Some(AT));
}

#[test]
fn a_release_without_snapshots_closes_the_connection_and_is_given_up() {
    let (one, played) = node_one(hasty);
    one.network.snapshots().send(snapshot(1, 2), numbers(1, 1));
    let closing = std::thread::spawn(move || {
        let mut calls = 0;
        while calls < 3 {
            let (caller, hello) = Stranger::answer(&played);
            calls += u32::from(hello[..8] == *b"raft-snp");
            drop(caller);
        }
    });
    assert_eq!(outcome(&one), None);
    drop(one);
    closing.join().expect("it was tried again");
}

#[test]
fn garbage_ends_the_connection_and_nothing_else() {
    let (one, _played) = node_one(|_| {});
    let collected = collect(&one, || Ok(()));
    let too_large = piece(0, &vec![0; (16 << 20) + 1]);
    let mut spoofed = Vec::new();
    let body = (13_u32, 1_u64, 40_u64, vec![1_u64], None::<Vec<u64>>, Vec::<u64>::new());
    write_frame(&mut spoofed, &(0_u32, 7_u64, (3_u64, 1_u64, 1_u64), body), &[]).expect("small");
    let starts: [&[u8]; 4] = [b"not a frame of this protocol", &piece(0, b"a"), &end(0), &spoofed];
    for start in starts {
        let mut caller = call(&one);
        caller.write(start);
        caller.wait_closed();
    }
    let offered: [&[u8]; 5] = [&piece(1, b"a"), &end(1), &offer(7), &frame(b"?"), &too_large[..64]];
    for then in offered {
        let mut caller = call(&one);
        caller.write(&[&offer(7), then].concat());
        caller.wait_closed();
        assert_eq!(
            collected.recv_timeout(PATIENCE),
            Ok(vec![]),
            "{:?}",
            &then[..24.min(then.len())]
        );
    }
    let mut caller = call(&one);
    caller.write(&[offer(7), end(0)].concat());
    assert_eq!(caller.read_frame(), Some(next(0)));
    assert_eq!(caller.read_frame(), Some(vec![1, 0, 0, 0]), "done");
}

#[test]
fn a_shut_down_ends_what_is_on_its_way() {
    let (one, two) = pair(|_| {});
    let collected = collect(&two, || Ok(()));
    one.network.snapshots().send(snapshot(1, 2), numbers(u64::MAX, 100_000));
    while one.network.snapshots().progress(id(2)).is_none_or(|it| it.pieces < 3) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let sender = one.network.snapshots();
    one.network.shutdown();
    two.network.shutdown();
    assert!(!collected.recv_timeout(PATIENCE).expect("it is given up").is_empty());
    assert!(one.events.try_iter().all(|event| !matches!(event, NetEvent::SnapshotSent { .. })));
    sender.send(snapshot(1, 2), numbers(1, 1));
}

/// A receiver that waits for others to install what came could not know that they were gone: a
/// network that was shut down at that moment waited for it for ever.
#[test]
fn a_receiver_that_waits_for_others_is_told_of_the_shut_down() {
    let (one, two) = pair(|_| {});
    let (tell, waits) = channel();
    let collected = collect_until_stopped(&two, move |is_stopping| {
        // Only the first call is waited for.
        let _ = tell.send(());
        while !is_stopping() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Err("this node is stopping".to_owned())
    });
    one.network.snapshots().send(snapshot(1, 2), numbers(3, 10));
    waits.recv_timeout(PATIENCE).expect("all of it came");
    two.network.shutdown();
    assert_eq!(collected.try_recv().expect("it is over").len(), 3);
    one.network.shutdown();
}
