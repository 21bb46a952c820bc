//! What a client does when all is well, when it is sent elsewhere, and when a server breaks.

mod fake;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fake::{Fake, Greeting, Play, Store, status};
use kv_client::{Client, Error, Options};
use kv_proto::{Call, ExitCode, Outcome, PutReply, Range, RangeReply, Reply, Role};

fn client(addresses: &[&str]) -> Client {
    client_within(addresses, Duration::from_secs(20))
}

fn client_within(addresses: &[&str], timeout: Duration) -> Client {
    Client::new(addresses.iter().copied(), Options { timeout }).expect("good addresses")
}

fn ok() -> Play {
    Play::Reply(Reply::Put(PutReply::default()))
}

/// An address where nobody listens: a port that only the system could use.
fn nobody() -> String {
    "127.0.0.1:1".into()
}

/// A server that fails its first write with `error` and takes the second, and the count of writes.
fn failing_once(error: kv_proto::Error) -> (Fake, Arc<AtomicU32>) {
    let writes = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&writes);
    let server = Fake::start(move |call| match call {
        Call::Write(_) if count.fetch_add(1, Ordering::SeqCst) == 0 => Play::Fail(error.clone()),
        Call::Write(_) => ok(),
        _ => Play::Hang,
    });
    (server, writes)
}

#[test]
fn what_was_put_is_read_until_it_is_deleted() -> Result<(), Error> {
    let server = Fake::store();
    let mut client = client(&[&server.address]);
    client.put(b"colour", b"green")?;
    let pair = client.get(b"colour")?.reply.expect("it was put");
    assert_eq!((&*pair.value, pair.version), (b"green".as_slice(), 1));
    assert_eq!(client.delete(b"colour")?.reply.deleted, 1);
    assert_eq!(client.get(b"colour")?.reply, None);
    assert_eq!(server.accepted(), 1, "one connection served all");
    Ok(())
}

#[test]
fn a_list_goes_through_every_page_at_one_revision() -> Result<(), Error> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let store = Mutex::new(Store::default());
    let record = Arc::clone(&asked);
    let server = Fake::start(move |call| {
        if let Call::Range(range) = call {
            let revision = range.options.revision.map(kv_proto::Revision::get);
            record.lock().expect("no panic").push(revision);
        }
        store.lock().expect("no panic").call(call)
    });
    let mut client = client(&[&server.address]);
    for key in ["a1", "a2", "a3", "a4", "a5", "b1"] {
        client.put(key.as_bytes(), b"v")?;
    }
    let mut keys = Vec::new();
    for page in client.list(b"a") {
        keys.extend(page?.reply.kvs.into_iter().map(|kv| kv.key.to_vec()));
    }
    assert_eq!(keys, [b"a1", b"a2", b"a3", b"a4", b"a5"]);
    assert_eq!(*asked.lock().expect("no panic"), [None, Some(42), Some(42)]);
    Ok(())
}

#[test]
fn a_server_that_never_ends_a_list_does_not_keep_the_client_for_ever() {
    let server = Fake::start(|call| match call {
        Call::Range(range) => Play::Reply(Reply::Range(RangeReply {
            more: true,
            next_key: Some(range.key.as_slice().into()),
            ..RangeReply::default()
        })),
        _ => Play::Hang,
    });
    assert_eq!(client(&[&server.address]).list(b"a").count(), 1);
}

#[test]
fn a_write_follows_the_leader() -> Result<(), Error> {
    let leader = Fake::store();
    let address = leader.address.clone();
    let follower = Fake::start(move |_| {
        Play::Fail(kv_proto::Error::NotLeader { leader: 1, client_address: Some(address.clone()) })
    });
    let mut client = client(&[&follower.address]);
    client.put(b"k", b"v")?;
    assert_eq!(client.endpoints().current(), leader.address);
    Ok(())
}

#[test]
fn followers_that_name_a_dead_leader_are_asked_until_there_is_another() -> Result<(), Error> {
    let dead = nobody();
    let asked = AtomicU32::new(0);
    let follower = Fake::start(move |call| match call {
        Call::Write(_) if asked.fetch_add(1, Ordering::SeqCst) < 4 => {
            let client_address = Some(dead.clone());
            Play::Fail(kv_proto::Error::NotLeader { leader: 9, client_address })
        }
        Call::Write(_) => ok(),
        _ => Play::Hang,
    });
    client(&[&follower.address]).put(b"k", b"v")?;
    Ok(())
}

#[test]
fn a_dead_endpoint_is_passed_over() -> Result<(), Error> {
    let server = Fake::store();
    client(&[&nobody(), &server.address]).put(b"k", b"v")?;
    Ok(())
}

#[test]
fn a_node_that_hangs_leaves_time_for_the_others() -> Result<(), Error> {
    let hung = Fake::start_with(1, Greeting::Silence, |_| Play::Hang);
    let server = Fake::store();
    let mut client = client_within(&[&hung.address, &server.address], Duration::from_secs(3));
    client.put(b"k", b"v")?;
    Ok(())
}

/// In a demonstration, a linearizable read takes seconds on every node. The client gave each node a
/// third of its time, asked one after the other, and told the user that nobody answered.
#[test]
fn a_node_that_is_slow_but_alive_is_waited_for() -> Result<(), Error> {
    let timeout = Duration::from_secs(3);
    let server = Fake::single(move |_| {
        std::thread::sleep(timeout / 2);
        Play::Reply(Reply::Range(RangeReply::default()))
    });
    let nowhere = nobody();
    let mut client = client_within(&[&server.address, &nowhere], timeout);
    assert_eq!(client.get(b"key")?.reply, None);
    Ok(())
}

#[test]
fn the_other_nodes_are_learned_from_the_first() -> Result<(), Error> {
    let other = Fake::store();
    let members = vec![(1, None), (2, Some(other.address.clone()))];
    let first = Fake::start(move |call| match call {
        Call::Status => Play::Reply(status(1, Role::Leader, &members)),
        _ => ok(),
    });
    let mut client = client(&[&first.address]);
    client.put(b"k", b"v")?;
    drop(first);
    client.put(b"k", b"v")?;
    assert_eq!(client.endpoints().current(), other.address);
    Ok(())
}

#[test]
fn a_write_that_was_not_applied_is_repeated() -> Result<(), Error> {
    let errors = [
        kv_proto::Error::NoLeader,
        kv_proto::Error::Busy,
        kv_proto::Error::ShuttingDown,
        kv_proto::Error::Overwritten,
        kv_proto::Error::TooManyInFlight { limit: 1 },
        kv_proto::Error::Timeout { waited_millis: 1, outcome: Outcome::NotApplied },
    ];
    for error in errors {
        let (server, writes) = failing_once(error);
        client(&[&server.address]).put(b"k", b"v")?;
        assert_eq!(writes.load(Ordering::SeqCst), 2);
    }
    Ok(())
}

#[test]
fn a_write_that_may_have_been_applied_is_never_repeated() {
    let errors = [
        kv_proto::Error::LeadershipLost,
        kv_proto::Error::Internal { reason: "test".into() },
        kv_proto::Error::Timeout { waited_millis: 1, outcome: Outcome::Unknown },
    ];
    for error in errors {
        let (server, writes) = failing_once(error.clone());
        let result = client(&[&server.address]).put(b"k", b"v");
        let failure = result.expect_err("it must be told");
        assert_eq!(failure, Error::Server(error));
        assert_eq!(failure.outcome(), Outcome::Unknown);
        assert_eq!(failure.exit_code(), ExitCode::Unknown);
        assert_eq!(writes.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_write_that_cannot_succeed_is_not_repeated() {
    let (server, writes) = failing_once(kv_proto::Error::KeyNotFound);
    let failure = client(&[&server.address]).put(b"k", b"v").expect_err("it was refused");
    assert_eq!(failure.exit_code(), ExitCode::NotFound);
    assert_eq!(writes.load(Ordering::SeqCst), 1);
}

#[test]
fn what_breaks_the_limits_is_not_even_sent() {
    let mut client = client(&[&nobody()]);
    let empty = client.put(b"", b"v").expect_err("an empty key");
    assert_eq!(empty, Error::Server(kv_proto::Error::EmptyKey));
    let large = client.put(b"k", &vec![0; 2 << 20]).expect_err("a large value");
    assert_eq!(large.exit_code(), ExitCode::Usage);
}

#[test]
fn a_connection_lost_after_a_write_was_sent_leaves_it_unknown() {
    let writes = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&writes);
    let server = Fake::start(move |call| match call {
        Call::Write(_) => {
            count.fetch_add(1, Ordering::SeqCst);
            Play::Drop
        }
        _ => Play::Hang,
    });
    let failure = client(&[&server.address]).put(b"k", b"v").expect_err("no answer came");
    assert!(matches!(failure, Error::NoAnswer { .. }), "{failure}");
    assert_eq!(failure.outcome(), Outcome::Unknown);
    assert_eq!(writes.load(Ordering::SeqCst), 1);
}

#[test]
fn a_connection_lost_during_a_read_is_made_again() -> Result<(), Error> {
    let reads = AtomicU32::new(0);
    let server = Fake::start(move |call| match call {
        Call::Range(_) if reads.fetch_add(1, Ordering::SeqCst) == 0 => Play::Drop,
        Call::Range(_) => Play::Reply(Reply::Range(RangeReply::default())),
        _ => Play::Hang,
    });
    assert_eq!(client(&[&server.address]).get(b"k")?.reply, None);
    Ok(())
}

#[test]
fn a_connection_that_ended_while_idle_costs_no_write() -> Result<(), Error> {
    let server = Fake::store();
    let mut client = client(&[&server.address]);
    client.put(b"k", b"1")?;
    server.hang_up();
    client.put(b"k", b"2")?;
    Ok(())
}

#[test]
fn a_write_without_an_answer_is_unknown_when_its_time_is_over() {
    let server = Fake::start(|_| Play::Hang);
    let began = Instant::now();
    let mut client = client_within(&[&server.address], Duration::from_millis(200));
    let failure = client.put(b"k", b"v").expect_err("no answer came");
    assert_eq!(failure.outcome(), Outcome::Unknown);
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_cluster_that_is_down_is_unavailable_and_nothing_was_changed() {
    let mut client = client_within(&[&nobody(), &nobody()], Duration::from_millis(200));
    let failure = client.put(b"k", b"v").expect_err("nobody is there");
    assert_eq!(failure.outcome(), Outcome::NotApplied);
    assert_eq!(failure.exit_code(), ExitCode::Unavailable);
    assert!(failure.to_string().contains("connection refused"), "{failure}");
}

#[test]
fn a_read_has_no_unknown_outcome() {
    let error = kv_proto::Error::Internal { reason: "test".into() };
    let server = Fake::start(move |_| Play::Fail(error.clone()));
    let mut client = client_within(&[&server.address], Duration::from_millis(200));
    let failure = client.get(b"k").expect_err("it never works");
    assert_eq!(failure.exit_code(), ExitCode::Unavailable);
}

#[test]
fn a_server_that_speaks_another_version_is_reported_at_once() {
    let error = kv_proto::Error::UnsupportedVersion { server_min: 7, server_max: 9 };
    let server = Fake::start_with(1, Greeting::Refuse(error.clone()), |_| Play::Hang);
    let failure = client(&[&server.address]).get(b"k").expect_err("no common version");
    assert_eq!(failure, Error::Server(error));
}

/// A header that announces 4 GiB, checksum and all, and nothing behind it.
fn four_gib() -> Vec<u8> {
    let length = u32::MAX.to_le_bytes();
    [&length[..], &wire::checksum(&length).to_le_bytes(), &[0; 4]].concat()
}

#[test]
fn garbage_and_a_frame_of_4_gib_end_the_connection_not_the_client() {
    for bytes in [four_gib(), b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()] {
        let reply = bytes.clone();
        let servers = [
            Fake::start_with(1, Greeting::Raw(bytes), |_| Play::Hang),
            Fake::start(move |_| Play::Raw(reply.clone())),
        ];
        for server in &servers {
            let mut client = client_within(&[&server.address], Duration::from_millis(300));
            let failure = client.get(b"k").expect_err("that is no answer");
            assert!(failure.to_string().contains("not this store"), "{failure}");
        }
    }
}

#[test]
fn a_node_of_another_cluster_is_not_talked_to() -> Result<(), Error> {
    let ours = Fake::store();
    let theirs = Fake::start_with(1, Greeting::Welcome { cluster_id: 8 }, |_| ok());
    let mut client = client_within(&[&ours.address, &theirs.address], Duration::from_millis(300));
    client.put(b"k", b"v")?;
    drop(ours);
    let failure = client.put(b"k", b"v").expect_err("the only node left is not of ours");
    assert_eq!(failure.outcome(), Outcome::NotApplied);
    Ok(())
}

#[test]
fn a_range_keeps_its_options_on_the_way() -> Result<(), Error> {
    let server = Fake::store();
    let mut client = client(&[&server.address]);
    for key in ["a", "b"] {
        client.put(key.as_bytes(), b"v")?;
    }
    let mut range = Range::prefix(b"");
    range.options.limit = Some(1);
    let answer = client.range(&range)?;
    assert_eq!((answer.reply.kvs.len(), answer.reply.count, answer.reply.more), (1, 2, true));
    Ok(())
}

#[test]
fn addresses_that_cannot_be_are_refused_before_anything_else() {
    let bad = Client::new(["nowhere"], Options::default()).expect_err("no port");
    assert_eq!(bad.exit_code(), ExitCode::Usage);
    assert_eq!(
        bad.to_string(),
        "\"nowhere\" is not an address of a server: it has no port: write HOST:PORT"
    );
    let none: [&str; 0] = [];
    assert_eq!(Client::new(none, Options::default()).expect_err("none"), Error::NoEndpoints);
}
