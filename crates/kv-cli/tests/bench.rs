//! `bench`: what it counts, against a server that does what a test says, and where it goes on when
//! the leader changes.

#[path = "../../kv-client/tests/fake/mod.rs"]
mod fake;
mod runs;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use fake::{Fake, Greeting, Play, Store, status};
use kv_proto::{Call, Consistency, PutReply, RangeReply, Reply, Role};
use runs::{at, kv_cli, parsed};
use serde_json::{Value, json};

const SMALL_BENCH: [&str; 7] =
    ["bench", "--connections=3", "--in-flight=4", "--total=500", "--keys=50", "-o", "json"];

#[test]
fn a_bench_counts_everything_and_reads_its_writes_back() {
    let server = Fake::store();
    for workload in ["put", "get", "get-stale", "mixed"] {
        for distribution in ["uniform", "zipf", "sequential"] {
            let what = ["--workload", workload, "--distribution", distribution];
            let sizes = ["--key-size=24", "--value-size=100"];
            let run = at(&server, &[&SMALL_BENCH[..], &what, &sizes].concat());
            assert_eq!(run.code, 0, "{run:?}");
            let report = parsed(&run);
            assert_eq!((&report["done"], &report["errors"]), (&json!(500), &json!(0)));
            assert_eq!((&report["workload"], &report["missing"]), (&json!(workload), &json!(0)));
            let writes = ["put", "mixed"].contains(&workload);
            assert_eq!(report["verified"].as_u64() > Some(0), writes, "{report}");
            for (name, size) in [("connections", 3), ("in_flight", 4), ("keys", 50)] {
                assert_eq!(report[name], size, "{name} of {report}");
            }
            assert_eq!((&report["key_size"], &report["value_size"]), (&json!(24), &json!(100)));
            for figure in ["ops_per_s", "p50_us", "p90_us", "p99_us", "p999_us", "max_us"] {
                assert!(report[figure].as_f64() > Some(0.0), "{figure} of {report}");
            }
        }
    }
}

/// What a workload asks for is what it is called: otherwise the figure is that of another.
#[test]
fn each_workload_reads_as_consistently_as_it_says() {
    for (workload, expected) in [
        ("get", &[Consistency::Linearizable][..]),
        ("get-stale", &[Consistency::Stale]),
        ("mixed", &[Consistency::Linearizable]),
    ] {
        let (store, asked) = (Mutex::new(Store::default()), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&asked);
        let server = Fake::single(move |call| {
            if let Call::Range(range) = call {
                let mut seen = seen.lock().expect("no panic");
                let consistency = range.options.consistency;
                if !seen.contains(&consistency) {
                    seen.push(consistency);
                }
            }
            store.lock().expect("no panic").call(call)
        });
        let run = at(&server, &[&SMALL_BENCH[..], &["--workload", workload]].concat());
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!(*asked.lock().expect("no panic"), expected, "{workload}");
    }
}

/// A closed loop that stands still asks nothing, and so nobody is seen to wait. An open loop does
/// not forgive: here the server answers nothing for a while, and every request that was due
/// meanwhile has waited.
#[test]
fn an_open_loop_counts_the_time_in_which_nobody_could_be_asked() {
    let pause = Duration::from_millis(300);
    let first = AtomicBool::new(true);
    let slow_once = Fake::single(move |call| match call {
        Call::Write(_) => {
            if first.swap(false, Ordering::SeqCst) {
                thread::sleep(pause);
            }
            Play::Reply(Reply::Put(PutReply::default()))
        }
        _ => Play::Reply(Reply::Range(RangeReply::default())),
    });
    let flags = ["--connections=1", "--in-flight=1", "--rate=1000", "--total=200", "-o=json"];
    let report = parsed(&at(&slow_once, &[&["bench"][..], &flags].concat()));
    assert_eq!(report["done"], 200);
    assert!(report["p50_us"].as_u64() > Some(100_000), "{report}");
    let slowest = report["slowest_us_each_tenth"].as_array().expect("there is one");
    let slowest: Vec<u64> = slowest.iter().filter_map(Value::as_u64).collect();
    assert_eq!(slowest[..3], [0, 0, 0], "nothing was done for {pause:?}: {report}");
    assert!(slowest.iter().max() >= Some(&290_000), "{report}");
    let from = Duration::from_micros(report["measured_from_unix_us"].as_u64().expect("a time"));
    let since = (SystemTime::UNIX_EPOCH + from).elapsed().expect("it is over");
    assert!((pause..Duration::from_mins(1)).contains(&since), "{report}");
}

#[test]
fn a_bench_can_mix_warm_up_last_for_a_time_and_hold_idle_connections() {
    let server = Fake::store();
    let flags = ["--workload=mixed", "--distribution=zipf", "--duration=300ms", "--warm-up=50ms"];
    let small = ["--keys=20", "--connections=2", "--threads=2", "--idle=5", "-o=json"];
    let run = at(&server, &[&["bench"][..], &flags, &small].concat());
    assert_eq!(run.code, 0, "{run:?}");
    let report = parsed(&run);
    assert!(report["done"].as_u64() > Some(0), "{report}");
    assert!(report["verified"].as_u64() > Some(0), "{report}");
    assert_eq!(
        (&report["idle_connections"], &report["idle_connections_lost"]),
        (&json!(5), &json!(0))
    );
    // The one that asked for the status, four that filled, two and two that worked, five idle.
    assert!(server.accepted() >= 12, "{}", server.accepted());
}

/// Writes were under way when their connections broke. The exit code once promised that nothing was
/// changed.
#[test]
fn a_bench_tells_for_which_reasons_requests_were_not_done() {
    let torn = Fake::single(|call| match call {
        Call::Write(_) => Play::Drop,
        _ => Play::Reply(Reply::Range(RangeReply::default())),
    });
    let run = at(&torn, &["bench", "--connections=2", "--in-flight=1", "--total=10"]);
    assert_eq!(run.code, 5, "{run:?}");
    assert!(run.out.contains("errors: 10\n"), "{}", run.out);
    assert!(run.out.contains("10 of them are writes whose outcome is unknown"), "{}", run.out);
    assert!(run.out.contains("10 x 127.0.0.1"), "{}", run.out);
}

#[test]
fn a_bench_finds_out_that_acknowledged_writes_are_missing() {
    let forgetful = Fake::single(|call| match call {
        Call::Write(_) => Play::Reply(Reply::Put(PutReply::default())),
        _ => Play::Reply(Reply::Range(RangeReply::default())),
    });
    let run = at(&forgetful, &SMALL_BENCH);
    assert_eq!(run.code, 1, "{run:?}");
    let report = parsed(&run);
    assert!(report["missing"].as_u64() > Some(0), "{report}");
    assert_eq!(report["verified"], 0);
    assert!(run.err.contains("data was lost"), "{}", run.err);
}

#[test]
fn a_bench_counts_what_was_refused_as_errors() {
    let busy = Fake::single(|call| match call {
        Call::Write(_) => Play::Fail(kv_proto::Error::Busy),
        _ => Play::Hang,
    });
    let run = at(&busy, &SMALL_BENCH);
    assert_eq!(run.code, 4, "{run:?}");
    let report = parsed(&run);
    assert_eq!((&report["errors"], &report["unknown_writes"]), (&json!(500), &json!(0)));
}

#[test]
fn a_bench_of_what_the_server_does_not_take_is_wrong_usage() {
    let server = Fake::store();
    for (flag, limit) in [("--value-size=1048577", "1048576"), ("--key-size=4097", "4096")] {
        let run = at(&server, &[&SMALL_BENCH[..], &[flag]].concat());
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.err.contains("above the limit") && run.err.contains(limit), "{}", run.err);
    }
}

#[test]
fn a_bench_that_cannot_connect_says_so() {
    let elsewhere =
        Fake::start(|_| Play::Reply(status(1, Role::Leader, &[(1, Some("127.0.0.1:1".into()))])));
    let run = at(&elsewhere, &SMALL_BENCH);
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.err.contains("connection 0, to 127.0.0.1:1, failed"), "{}", run.err);
}

/// A cluster of two nodes with one store, of which the first leads for a while.
struct Pair {
    fakes: [Fake; 2],
}

/// What becomes of the first node of a [`Pair`] when it has served for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It dies; some time later the second leads.
    Dies,
    /// It hands over to the second, and says so.
    HandsOver,
    /// It dies, and the second never leads.
    LeavesNobody,
}

struct Scene {
    fate: Fate,
    store: Store,
    /// Requests that the first node still serves.
    left: u32,
    /// So often the second node says that it does not lead yet.
    elections: u32,
    addresses: OnceLock<[String; 2]>,
}

impl Pair {
    fn start(fate: Fate, served: u32) -> Self {
        let scene = Arc::new(Mutex::new(Scene {
            fate,
            store: Store::default(),
            left: served,
            elections: 3,
            addresses: OnceLock::new(),
        }));
        let fakes = [1, 2].map(|id| {
            let scene = Arc::clone(&scene);
            let greeting = Greeting::Welcome { cluster_id: 7 };
            Fake::start_with(id, greeting, move |call| {
                scene.lock().expect("no panic").play(id, call)
            })
        });
        let addresses = fakes.each_ref().map(|fake| fake.address.clone());
        scene.lock().expect("no panic").addresses.set(addresses).expect("it is set once");
        Self { fakes }
    }

    fn run(&self, flags: &[&str]) -> runs::Run {
        at(&self.fakes[0], flags)
    }
}

impl Scene {
    fn play(&mut self, id: u64, call: &Call<'_>) -> Play {
        let [first, second] = self.addresses.get().expect("it was set").clone();
        let is_second_up = self.left == 0 && self.fate != Fate::LeavesNobody;
        match (id, call) {
            (1, _) if self.left == 0 && self.fate != Fate::HandsOver => Play::Drop,
            (_, Call::Status) => {
                let members = [(1, Some(first)), (2, Some(second))];
                Play::Reply(status(id, self.role(id, is_second_up), &members))
            }
            (1, _) if self.left > 0 => {
                self.left -= 1;
                self.store.call(call)
            }
            (1, _) => {
                let client_address = Some(second);
                Play::Fail(kv_proto::Error::NotLeader { leader: 2, client_address })
            }
            _ if is_second_up => self.store.call(call),
            _ => Play::Fail(kv_proto::Error::NoLeader),
        }
    }

    fn role(&mut self, id: u64, is_second_up: bool) -> Role {
        match id {
            1 if self.left > 0 => Role::Leader,
            2 if is_second_up && (self.elections == 0 || self.fate == Fate::HandsOver) => {
                Role::Leader
            }
            2 if is_second_up => {
                self.elections -= 1;
                Role::Candidate
            }
            _ => Role::Follower,
        }
    }
}

/// What is in flight when a leader goes; more must not be lost.
const IN_FLIGHT: u64 = 3 * 4;

/// All connections once went on asking a leader that had become a follower, or were gone with one
/// that had died: everything after that was an error.
#[test]
fn a_bench_goes_on_at_the_next_leader() {
    for (fate, workload) in [
        (Fate::Dies, "put"),
        (Fate::HandsOver, "put"),
        (Fate::Dies, "get"),
        (Fate::HandsOver, "mixed"),
    ] {
        // Fifty are put before any is got.
        let pair = Pair::start(fate, 250);
        let run = pair.run(&[&SMALL_BENCH[..], &["--workload", workload]].concat());
        let report = parsed(&run);
        let (done, errors) = (report["done"].as_u64(), report["errors"].as_u64());
        assert_eq!(done.zip(errors).map(|(done, errors)| done + errors), Some(500), "{report}");
        assert!((1..=IN_FLIGHT).contains(&errors.expect("a number")), "{fate:?}: {report}");
        assert_eq!(report["reconnects"], 3, "{report}");
        assert_eq!((&report["missing"], &report["unverified"]), (&json!(0), &json!(0)), "{report}");
        assert_eq!(report["verified"].as_u64() > Some(0), workload != "get", "{report}");
        let unknown = fate == Fate::Dies && workload == "put";
        assert_eq!(report["unknown_writes"] == report["errors"], unknown, "{report}");
        assert_eq!(run.code, if unknown { 5 } else { 4 }, "{run:?}");
    }
}

#[test]
fn a_bench_with_two_threads_and_a_rate_goes_on_as_well() {
    let pair = Pair::start(Fate::Dies, 100);
    let flags = ["--threads=2", "--rate=2000"];
    let report = parsed(&pair.run(&[&SMALL_BENCH[..], &flags].concat()));
    assert!((1..=IN_FLIGHT).contains(&report["errors"].as_u64().expect("a number")), "{report}");
    assert_eq!((&report["reconnects"], &report["missing"]), (&json!(3), &json!(0)), "{report}");
}

/// The run would last for an hour; and the report was once lost with the store that it was about.
#[test]
fn a_bench_without_any_leader_ends_and_says_why() {
    let pair = Pair::start(Fate::LeavesNobody, 100);
    let flags = ["--endpoints", &pair.fakes[0].address, "--timeout", "300ms"];
    let bench = ["bench", "--connections=3", "--in-flight=4", "--duration=60m", "--keys=50"];
    let run = kv_cli(&[&flags[..], &bench, &["-o", "json"]].concat(), b"");
    assert_eq!(run.code, 5, "{run:?}");
    let early = "the run ended early: there was no connection for 300ms (no node leads";
    assert!(run.err.contains(early), "{}", run.err);
    assert!(run.err.contains("could not be read back"), "{}", run.err);
    let report = parsed(&run);
    assert!(report["done"].as_u64() <= Some(100), "{report}");
    assert!(report["unverified"].as_u64() > Some(0), "{report}");
    assert!(report["gave_up"].is_string(), "{report}");
}
