//! The loop alone, with threads that bring events and a replica that leads nobody.

use std::collections::HashMap;
use std::net::TcpListener;
use std::thread::{self, ThreadId};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use kv_proto::{Limits, Welcome};
use kv_server::clients::{Bounds, Clients};
use kv_server::directory::Directory;
use kv_server::event_loop::{self, Clock, Door, Doors, Inbox, Outside};
use kv_server::log_keep::LogKeep;
use kv_server::members::Members;
use kv_server::replica::{ApplyWork, Call, ClientTag, Event, Replica, Request};
use kv_server::timing::{Timing, TimingMode};
use raft_core::{Boot, Config, Index, Message, NodeId, Raft, ReadLog, Time, Write};

/// Longer than any of these tests waits for a thread.
const FOR_EVER: Duration = Duration::from_hours(1);

/// How long a thread may be late on a busy machine before it is taken to have missed something.
const PATIENCE: Duration = Duration::from_mins(1);

/// Notes who was answered, and by which thread.
#[derive(Debug)]
struct Answers(Sender<(ClientTag, ThreadId)>);

impl Outside for Answers {
    fn send(&self, _message: Message) {}
    fn persist(&self, _write: Write) {}
    fn read_log(&self, _read: ReadLog) {}
    fn compact(&self, _upto: Index) {}
    fn free_log_room(&self) {}
    fn discard_snapshot(&self) {}
    fn apply(&self, work: ApplyWork) {
        let ApplyWork::Digests { client, .. } = work else { panic!("not asked for: {work:?}") };
        self.0.send((client, thread::current().id())).expect("the test listens");
    }
}

/// A loop in which nothing is ever due.
struct Running {
    doors: Doors,
    the_loop: thread::JoinHandle<Inbox>,
    answers: Receiver<(ClientTag, ThreadId)>,
    clients: Clients,
}

fn start() -> Running {
    let quiet = Timing {
        event_loop_delay: FOR_EVER,
        heartbeat_interval: FOR_EVER,
        election_timeout_min: 10 * FOR_EVER,
        election_timeout_max: 20 * FOR_EVER,
        ..TimingMode::Fast.timing()
    };
    let members: Members = "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3".parse().expect("addresses");
    let mut config = Config::new(NodeId::new(1));
    quiet.apply_to(&mut config);
    let boot = Boot::new(members.to_config());
    let raft = Raft::restore(config, boot, Time::ZERO).expect("a sound beginning");
    let directory = Directory::new(&members, 1, "127.0.0.1:1001".to_owned());
    let replica = Replica::new(raft, directory, FOR_EVER, LogKeep { entries: 1, bytes: 1 });
    let (told, answers) = unbounded();
    let clients = clients();
    let replies = clients.replies();
    let (doors, waiting) = event_loop::queues(&quiet);
    let run = move || event_loop::run(replica, waiting, Clock::start(), Answers(told), replies);
    Running { doors, the_loop: thread::spawn(run), answers, clients }
}

fn clients() -> Clients {
    let welcome = Welcome {
        version: kv_proto::PROTOCOL_VERSION,
        cluster_id: 1,
        node_id: 1,
        limits: Limits::default(),
        server: "test".into(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let bounds = Bounds::default();
    Clients::start(listener, welcome, Duration::ZERO, bounds, |_| Ok(()), || {}).expect("started")
}

fn question(connection: u64, request: u64) -> Event {
    let client = ClientTag { connection, request, most_reply_bytes: 0 };
    Event::Requests(vec![Request { client, timeout: FOR_EVER, call: Call::Digests }])
}

impl Running {
    /// Ends the loop, in which nothing may be left.
    fn stop(self) {
        let Self { doors, the_loop, clients, .. } = self;
        assert!(doors.inside.send(Event::Stop).is_ok());
        let inbox = the_loop.join().expect("it did not panic");
        drop(doors);
        inbox.refuse_all(&clients.replies());
        clients.stop().expect("it served nobody");
    }
}

/// Nothing is due for an hour: if an event came in and everybody thought that another would see to
/// it, somebody here would wait for ever.
#[test]
fn no_event_is_left_lying_and_none_is_handled_twice() {
    const ASKED_BY_EACH: u64 = 5000;
    let running = start();
    let doors = &running.doors;
    let mut answered = HashMap::new();
    thread::scope(|scope| {
        let mut told = HashMap::new();
        let ways: [&Door; 4] = [&doors.inside, &doors.clients, &doors.peers, &doors.clients];
        for (connection, door) in (0..).zip(ways) {
            let (tell, answer) = unbounded::<u64>();
            told.insert(connection, tell);
            scope.spawn(move || {
                for request in 0..ASKED_BY_EACH {
                    door.send(question(connection, request)).expect("it runs");
                    assert_eq!(answer.recv_timeout(PATIENCE), Ok(request), "of {connection}");
                }
            });
        }
        for _ in 0..4 * ASKED_BY_EACH {
            let (client, _) = running.answers.recv_timeout(PATIENCE).expect("an answer");
            *answered.entry(client).or_insert(0) += 1;
            told[&client.connection].send(client.request).expect("it waits");
        }
    });
    assert_eq!(answered.len() as u64, 4 * ASKED_BY_EACH);
    assert!(answered.values().all(|times| *times == 1));
    running.stop();
}

#[test]
fn who_comes_to_an_idle_loop_takes_the_turn() {
    let running = start();
    let own = thread::current().id();
    // The thread of the loop may be awake now and then; that it is so every time is a mistake.
    let helps = (0..1000).any(|request| {
        running.doors.peers.send(question(0, request)).expect("it runs");
        let (_, by) = running.answers.recv_timeout(PATIENCE).expect("an answer");
        thread::sleep(Duration::from_millis(1));
        by == own
    });
    assert!(helps);
    running.stop();
}

#[test]
fn however_many_come_at_once_each_is_answered_in_the_order_in_which_it_asked() {
    let running = start();
    let door = &running.doors.clients;
    thread::scope(|scope| {
        for connection in 0..8 {
            scope.spawn(move || {
                (0..2000).all(|request| door.send(question(connection, request)).is_ok())
            });
        }
        let mut next = [0; 8];
        for _ in 0..8 * 2000 {
            let (client, _) = running.answers.recv_timeout(PATIENCE).expect("an answer");
            let connection = usize::try_from(client.connection).expect("one of eight");
            assert_eq!(client.request, next[connection], "in the order in which they came");
            next[connection] += 1;
        }
    });
    running.stop();
}
