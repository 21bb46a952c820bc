//! What stands in the log when two nodes do not fit: one line on each side, not one for each
//! attempt. In a test binary of its own, because a process has one log.

mod common;

use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use common::{Node, PATIENCE, Stranger, config, listener, refusal};
use log::{LevelFilter, Log, Metadata, Record};
use raft_net_tcp::NetEvent;

/// Keeps what is said at the level of a warning or above.
struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

/// Begins the log of one test, which is the only one that runs until it drops this.
fn record() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    static LOGGER: Once = Once::new();
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    LOGGER.call_once(|| {
        log::set_logger(&LINES).expect("the first logger");
        log::set_max_level(LevelFilter::Warn);
    });
    LINES.0.lock().expect("no panic while holding it").clear();
    alone
}

/// What was said since, sorted: the threads that say it do so in any order.
fn lines() -> Vec<String> {
    let mut lines = LINES.0.lock().expect("no panic while holding it").clone();
    lines.sort();
    lines
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = record.args().to_string();
        self.0.lock().expect("no panic while holding it").push(line);
    }

    fn flush(&self) {}
}

#[test]
fn a_refusal_is_said_once_on_each_side() {
    let _alone = record();
    let ((first, _), (second, at_2)) = (listener(), listener());
    // Only one of them gets an answer: the other dials where nobody ever accepts.
    let (_nobody, nowhere) = listener();
    let one = Node::start_on(first, config(1, &[(2, at_2)]));
    let mut other = config(2, &[(1, nowhere)]);
    other.cluster_id = 0xBAD;
    let two = Node::start_on(second, other);

    let deadline = Instant::now() + PATIENCE;
    while two.network.stats().connections_refused < 5 {
        assert!(Instant::now() < deadline, "it does not keep trying");
        std::thread::sleep(Duration::from_millis(2));
    }
    one.network.shutdown();
    two.network.shutdown();

    let why = "n1 is of cluster 0xc1 and n2 of cluster 0xbad: start both with the same members, \
               or correct the address";
    let lines = lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], format!("n2 at {at_2} refused this node: {why}; still trying"));
    assert!(lines[1].starts_with("refused a connection from 127.0.0.1:"));
    assert!(lines[1].ends_with(why));
}

/// It said "still trying" right before it stopped: no attempt gives a node its directory back.
#[test]
fn a_node_that_is_refused_for_its_directory_promises_no_other_attempt() {
    let _alone = record();
    let (played, address) = listener();
    let one = Node::start(config(1, &[(2, address)]));
    let why = "n1 was met with another data directory: let it rejoin";
    for _ in 0..2 {
        let (mut other, _) = Stranger::answer(&played);
        other.write(&refusal(2, 6, why));
        one.wait("a refusal", |event| matches!(event, NetEvent::PeerRefused { .. }).then_some(()));
    }
    one.network.shutdown();
    assert_eq!(lines(), [format!("n2 at {address} refused this node: {why}")]);
}
