//! The clients' side alone: who takes too much is closed, and the others are served.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use kv_proto::{
    Call, ClientHello, Error, Header, Limits, Outcome, Range, RangeReply, Request, Response,
    Revision, Welcome,
};
use kv_server::apply::Applier;
use kv_server::clients::{Bounds, Clients, FREE_HELD_BYTES, Reply};
use kv_server::event_loop::Clock;
use kv_server::replica::{self, ApplyWork, Patience};
use kv_server::snapshots::{Courier, Desk, Outgoing};
use kv_store::Store;
use raft_core::{ClusterConfig, NodeId, Time};
use raft_net_tcp::{Config, Network};
use wire::frame::{FrameReader, HEADER_BYTES, write_frame};

const PATIENCE: Duration = Duration::from_secs(30);

/// What brings snapshots, if there were anybody to bring them to.
fn courier() -> (Network, Courier) {
    let (own, listen) = (NodeId::new(1), "127.0.0.1:0".parse().unwrap());
    let network = Network::start(Config::new(own, 1, listen, Vec::new()), |_| {}).unwrap();
    let (path, founders) = (PathBuf::from("nowhere"), ClusterConfig::of_voters([own]));
    let courier = Courier {
        outgoing: Outgoing::default(),
        sender: network.snapshots(),
        desk: Arc::new(Desk::new(path.clone(), founders.clone(), |_| {})),
        founders,
        path,
        options: kv_store::Options::default(),
        tell: Arc::new(|_| {}),
    };
    (network, courier)
}

/// The clients' thread, and what it passes on.
fn start(bounds: Bounds) -> (Clients, Receiver<Vec<replica::Request>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let welcome = Welcome {
        version: kv_proto::PROTOCOL_VERSION,
        cluster_id: 1,
        node_id: 1,
        limits: Limits::default(),
        server: "test".into(),
    };
    let (submit, requests) = unbounded();
    let submit = move |batch| submit.send(batch).map_err(|refused| refused.0);
    let clients = Clients::start(listener, welcome, Duration::ZERO, bounds, submit, || {}).unwrap();
    (clients, requests)
}

struct Client {
    stream: TcpStream,
    reader: FrameReader,
}

impl Client {
    fn greeted(clients: &Clients) -> Self {
        let stream = TcpStream::connect(clients.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self { stream, reader: FrameReader::new(16 << 20) };
        let mut hello = Vec::new();
        ClientHello::default().write(&mut hello).unwrap();
        client.say(&hello);
        client.hear().expect("a welcome");
        client
    }

    fn say(&mut self, bytes: &[u8]) {
        // It may be closed while it speaks.
        let _ = self.stream.write_all(bytes);
    }

    fn ask(&mut self, requests: u64) {
        let mut frames = Vec::new();
        for id in 0..requests {
            Request { id, timeout_millis: 1000, call: Call::Status }.write(&mut frames).unwrap();
        }
        self.say(&frames);
    }

    /// Asks for so many pairs, each of which may be as large as a pair can be.
    fn ask_for_pairs(&mut self, count: u64) {
        let mut frames = Vec::new();
        for id in 0..count {
            let call = Call::Range(Range::key("key"));
            Request { id, timeout_millis: 1000, call }.write(&mut frames).unwrap();
        }
        self.say(&frames);
    }

    fn hear(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(body) = self.reader.next_frame().unwrap() {
                return Some(body.to_vec());
            }
            match self.reader.fill(&mut self.stream) {
                Ok(count) if count > 0 => {}
                _ => return None,
            }
        }
    }
}

/// Answers at least so many requests with a pair of `value_bytes`; returns how many.
fn answer(
    clients: &Clients,
    requests: &Receiver<Vec<replica::Request>>,
    count: usize,
    value_bytes: usize,
) -> usize {
    let pair = kv_proto::KeyValue {
        key: b"key".as_slice().into(),
        value: vec![b'v'; value_bytes].into(),
        create_revision: Revision::new(2),
        mod_revision: Revision::new(2),
        version: 1,
        lease: None,
    };
    let range = RangeReply { kvs: vec![pair], count: 1, ..RangeReply::default() };
    let mut answered = 0;
    while answered < count {
        let batch = requests.recv_timeout(PATIENCE).expect("requests are passed on");
        answered += batch.len();
        let result = || Ok((Header::default(), kv_proto::Reply::Range(range.clone())));
        let reply = |request: &replica::Request| Reply { client: request.client, result: result() };
        clients.replies().send(batch.iter().map(reply).collect());
    }
    answered
}

/// Far more is on its way than is encoded at once. A client that comes late finds all of it, in
/// order.
#[test]
fn replies_that_wait_arrive_whole_and_in_order() {
    let (clients, requests) = start(Bounds::default());
    let mut client = Client::greeted(&clients);
    client.ask(64);
    answer(&clients, &requests, 64, 1 << 20);
    for expected in 0..64 {
        let answer = Response::decode(&client.hear().expect("an answer")).unwrap();
        let Response::Done { id, reply: kv_proto::Reply::Range(range), .. } = answer else {
            panic!("another answer: {answer:?}");
        };
        assert_eq!((id, range.kvs[0].value.len()), (expected, 1 << 20));
    }
    clients.stop().unwrap();
}

/// One client that asked for 1024 ranges and read none of them once took 4 GiB. Later it was closed
/// when it left too much; but values did not count, so many different ones still took as much.
#[test]
fn a_client_is_owed_no_more_than_its_bound_and_gets_everything_once_it_fetches() {
    const PAIRS: usize = 256;
    let (clients, requests) = start(Bounds { max_owed_bytes: 32 << 20, ..Bounds::default() });
    let mut client = Client::greeted(&clients);
    client.ask_for_pairs(PAIRS as u64);
    let passed_on = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Those of the client, and one of another.
            while passed_on.load(Ordering::Relaxed) <= PAIRS {
                let answered = answer(&clients, &requests, 1, 1 << 20);
                passed_on.fetch_add(answered, Ordering::Relaxed);
            }
        });
        let mut other = Client::greeted(&clients);
        other.ask(1);
        other.hear().expect("the others are served");
        // Some dozens were set aside for; those that the sockets take are owed no more.
        let count = passed_on.load(Ordering::Relaxed);
        assert!(count < PAIRS / 2, "{count} answers are kept for a client that fetches none");
        for expected in 0..PAIRS as u64 {
            let answer = Response::decode(&client.hear().expect("an answer")).unwrap();
            assert!(matches!(answer, Response::Done { id, .. } if id == expected), "{answer:?}");
        }
    });
    clients.stop().unwrap();
}

#[test]
fn answers_that_nobody_fetches_have_a_bound_over_all_clients() {
    let (clients, requests) = start(Bounds { max_unfetched_bytes: 4 << 20, ..Bounds::default() });
    let mut client = Client::greeted(&clients);
    client.ask(64);
    answer(&clients, &requests, 64, 1 << 20);
    // Another one's answer comes behind them all.
    let mut other = Client::greeted(&clients);
    other.ask(1);
    answer(&clients, &requests, 1, 1);
    other.hear().expect("the others are served");
    let heard = std::iter::from_fn(|| client.hear()).count();
    assert!(heard < 64, "all was kept for it");
    clients.stop().unwrap();
}

#[test]
fn requests_in_part_have_a_bound_over_all_clients_and_small_ones_are_still_served() {
    let (clients, requests) = start(Bounds { max_held_bytes: 2 << 20, ..Bounds::default() });
    let mut frame = Vec::new();
    write_frame(&mut frame, &(), &[&vec![0; 1 << 20]]).unwrap();
    let half = &frame[..HEADER_BYTES + 8 * FREE_HELD_BYTES];
    let mut hoarders: Vec<_> = (0..12).map(|_| Client::greeted(&clients)).collect();
    for hoarder in &mut hoarders {
        hoarder.say(half);
    }
    let mut modest = Client::greeted(&clients);
    modest.ask(1);
    answer(&clients, &requests, 1, 1);
    modest.hear().expect("an answer");
    // Everything that has arrived is read before it ends.
    clients.stop().unwrap();
    let goodbyes: Vec<_> = hoarders.iter_mut().filter_map(Client::hear).collect();
    assert!(!goodbyes.is_empty(), "all had room");
    for goodbye in goodbyes {
        let goodbye = Response::decode(&goodbye).unwrap();
        assert_eq!(goodbye, Response::Closing { error: Error::Busy });
    }
}

#[test]
fn what_nobody_takes_any_more_is_refused_and_what_comes_later_too() {
    let (clients, requests) = start(Bounds::default());
    drop(requests);
    let mut client = Client::greeted(&clients);
    for _ in 0..2 {
        client.ask(1);
        let answer = Response::decode(&client.hear().expect("an answer")).unwrap();
        assert_eq!(answer, Response::Failed { id: 0, error: Error::ShuttingDown });
    }
    clients.refuse_requests();
    client.ask(1);
    let answer = Response::decode(&client.hear().expect("an answer")).unwrap();
    assert_eq!(answer, Response::Failed { id: 0, error: Error::ShuttingDown });
    clients.stop().unwrap();
}

/// A read that waited in the queue of the apply thread for longer than its client was once carried
/// out all the same, for nobody.
#[test]
fn a_read_whose_time_is_up_is_not_carried_out() {
    let (clients, requests) = start(Bounds::default());
    let store = Store::new(Limits::default());
    let (_network, courier) = courier();
    let (header, clock, replies) = (Header::default(), Clock::start(), clients.replies());
    let applier = Applier::start(store, header, clock, replies, |_| {}, |_| {}, courier).unwrap();
    let mut client = Client::greeted(&clients);
    client.ask(2);
    let hour = Duration::from_hours(1);
    let mut deadlines = [Time::ZERO, Time::ZERO + hour].into_iter();
    while deadlines.len() > 0 {
        for request in requests.recv_timeout(PATIENCE).expect("requests are passed on") {
            let deadline = deadlines.next().expect("no more than were asked");
            let patience = Patience { asked_at: Time::ZERO, deadline };
            let range = Range::key("key");
            applier.submit(ApplyWork::Read { client: request.client, range, term: 1, patience });
        }
    }
    let late = Response::decode(&client.hear().expect("an answer")).unwrap();
    let Response::Failed { id: 0, error: Error::Timeout { outcome, .. } } = late else {
        panic!("another answer: {late:?}");
    };
    assert_eq!(outcome, Outcome::NotApplied);
    let in_time = Response::decode(&client.hear().expect("an answer")).unwrap();
    assert!(matches!(in_time, Response::Done { id: 1, .. }), "{in_time:?}");
    applier.stop();
    clients.stop().unwrap();
}
