//! Logs that are cut, and nodes that get what they lack of them as a snapshot.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use kv_client::{Client, Error, Options};
use kv_proto::{Range, Revision, Role};

use crate::crashes::put_surely;
use crate::node::{Cluster, refused, wait_for};

/// Flags under which little of the log is kept, in small files.
pub(crate) const SHORT_LOG: [&str; 6] =
    ["--log-keep-entries", "50", "--log-keep-size", "64KiB", "--log-segment-size", "64KiB"];

pub(crate) const VALUE_BYTES: usize = 1000;

/// So many writes make a log that is cut, and a state of a few megabytes.
pub(crate) const MANY: u32 = 4000;

fn value(number: u32) -> Vec<u8> {
    // It cannot be packed to nothing: a snapshot of it is as large as it is.
    let mut seed = u64::from(number) + 1;
    let next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed.to_le_bytes()[7]
    };
    std::iter::repeat_with(next).take(VALUE_BYTES).collect()
}

fn key(number: u32) -> Vec<u8> {
    format!("key-{number:05}").into_bytes()
}

/// Writes `first..last`, all of which must be acknowledged.
pub(crate) fn put_many(cluster: &Cluster, first: u32, last: u32) {
    let next = AtomicU32::new(first);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = cluster.client();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= last {
                        return;
                    }
                    put_surely(&mut client, &key(number), &value(number));
                }
            });
        }
    });
}

/// Runs `story` while four clients write without a pause; returns how many writes were
/// acknowledged. Those were numbered from `first` on; none of them may be missing.
pub(crate) fn while_writing(
    cluster: &mut Cluster,
    first: u32,
    story: impl FnOnce(&mut Cluster),
) -> u32 {
    let (is_over, next) = (AtomicBool::new(false), AtomicU32::new(first));
    let clients: Vec<Client> =
        (0..4).map(|_| cluster.impatient_client(Duration::from_secs(5))).collect();
    let acknowledged = std::thread::scope(|scope| {
        let writers: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let (is_over, next) = (&is_over, &next);
                scope.spawn(move || {
                    let mut done = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if client.put(&key(number), &value(number)).is_ok() {
                            done.push(number);
                        }
                        std::thread::sleep(PAUSE);
                    }
                    done
                })
            })
            .collect();
        // Also if the story fails: the writers would go on for ever.
        let over = Over(&is_over);
        story(cluster);
        drop(over);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<u32>>()
    });
    assert_there(cluster, acknowledged.iter().copied());
    u32::try_from(acknowledged.len()).unwrap()
}

/// Between two writes of a writer. They once wrote as fast as they could: by the time that a
/// snapshot had arrived at its one MiB a second, the log was cut again and the state so large that
/// the next one took longer than anybody waits.
const PAUSE: Duration = Duration::from_millis(10);

/// Says that it is over when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn assert_there(cluster: &Cluster, numbers: impl Iterator<Item = u32>) {
    let mut client = cluster.client();
    for number in numbers {
        let found = client.get(&key(number)).unwrap().reply;
        assert_eq!(found.map(|kv| kv.value.to_vec()), Some(value(number)), "key {number}");
    }
}

/// Whether this write is there; `None` if nobody answers.
pub(crate) fn is_there(client: &mut Client, number: u32) -> Option<bool> {
    client.get(&key(number)).ok().map(|answer| answer.reply.is_some())
}

/// Waits until every node is where the leader is, with the same state.
pub(crate) fn wait_until_equal(cluster: &Cluster, size: usize) {
    wait_for("equal states", || {
        let leader = cluster.applied(cluster.leader())?;
        (1..=size).all(|id| cluster.applied(id) == Some(leader)).then_some(())
    });
}

pub(crate) fn is_log_cut(cluster: &Cluster, id: usize) -> bool {
    first_log_file(cluster, id) > 1
}

fn first_log_file(cluster: &Cluster, id: usize) -> u32 {
    let meta = fs::read(cluster.data(id).join("meta")).unwrap();
    // The number of the first segment that is kept; docs/format.md has the place.
    u32::from_le_bytes(meta[40..44].try_into().unwrap())
}

pub(crate) fn is_receiving(cluster: &Cluster, id: usize) -> bool {
    cluster.data(id).join("state.redb.snapshot").exists()
}

pub(crate) fn installs(cluster: &Cluster, id: usize) -> usize {
    cluster.said(id).matches("has installed a snapshot").count()
}

/// Three nodes; one follower, which is returned, is down, and lacks what the others cut off.
fn with_one_far_behind(flags: &[&str]) -> (Cluster, usize) {
    let mut cluster = Cluster::start_with(3, &[&SHORT_LOG, flags].concat());
    put_many(&cluster, 0, 100);
    let behind = cluster.leader() % 3 + 1;
    cluster.kill(behind);
    put_many(&cluster, 100, MANY);
    let leader = cluster.leader();
    wait_for("the log to be cut", || is_log_cut(&cluster, leader).then_some(()));
    (cluster, behind)
}

#[test]
fn a_follower_that_lacks_what_was_cut_off_is_brought_back_while_writes_go_on() {
    let (mut cluster, behind) = with_one_far_behind(&[]);
    let written = while_writing(&mut cluster, MANY, |cluster| {
        cluster.restart(behind);
        wait_for("a snapshot", || (installs(cluster, behind) > 0).then_some(()));
        wait_for("the rest of the log", || {
            let (applied, _) = cluster.applied(behind)?;
            let (leader, _) = cluster.applied(cluster.leader())?;
            (applied + 500 > leader).then_some(())
        });
    });
    assert!(written > 0);
    wait_until_equal(&cluster, 3);
    assert_eq!(installs(&cluster, behind), 1, "and from then on by the log");
    assert!(!is_receiving(&cluster, behind), "nothing is left over");
    // It can do what the others can.
    let leader = cluster.leader();
    cluster.kill(leader);
    assert_there(&cluster, (0..MANY).step_by(50));
    put_many(&cluster, MANY, MANY + 10);
}

#[test]
fn nodes_start_again_on_logs_that_were_cut() {
    let mut cluster = Cluster::start_with(3, &SHORT_LOG);
    put_many(&cluster, 0, MANY);
    wait_for("all logs to be cut", || (1..=3).all(|id| is_log_cut(&cluster, id)).then_some(()));
    cluster.kill_all();
    for id in 1..=3 {
        cluster.restart(id);
    }
    wait_until_equal(&cluster, 3);
    assert_there(&cluster, (0..MANY).step_by(10));
    assert!((1..=3).all(|id| installs(&cluster, id) == 0), "nobody needs a snapshot");
}

#[test]
fn a_leader_that_sends_a_large_snapshot_slowly_stays_leader_and_answers() {
    // Some 4 MB, at 1 MiB a second.
    let (mut cluster, behind) = with_one_far_behind(&["--snapshot-rate", "1MiB"]);
    let leader = cluster.leader();
    let status = |cluster: &Cluster| {
        let node = cluster.client().status(&cluster.client_address(leader)).unwrap().reply.node;
        (node.role, node.term, node.sending)
    };
    let before = status(&cluster);
    assert_eq!((before.0, before.2.as_slice()), (Role::Leader, &[][..]));
    let written = while_writing(&mut cluster, MANY, |cluster| {
        cluster.restart(behind);
        wait_for("a snapshot on its way", || is_receiving(cluster, behind).then_some(()));
        assert_eq!(installs(cluster, behind), 0);
        let told = wait_for("news of it", || {
            status(cluster).2.first().copied().filter(|it| it.done > 0 && it.bytes > 0)
        });
        assert_eq!(told.to, u64::try_from(behind).unwrap());
        assert!(told.pieces > 0 && told.done <= told.total, "{told:?}");
        wait_for("it to arrive", || (installs(cluster, behind) > 0).then_some(()));
    });
    wait_for("the end of it to be known", || status(&cluster).2.is_empty().then_some(()));
    assert_eq!(status(&cluster), before);
    assert!(written > 100, "only {written} writes in three seconds");
    wait_until_equal(&cluster, 3);
}

#[test]
fn a_snapshot_survives_the_end_of_its_receiver_and_of_its_sender_again_and_again() {
    let (mut cluster, behind) = with_one_far_behind(&["--snapshot-rate", "2MiB"]);
    while_writing(&mut cluster, MANY, |cluster| {
        for _ in 0..3 {
            cluster.restart(behind);
            wait_for("a snapshot on its way", || is_receiving(cluster, behind).then_some(()));
            cluster.kill(behind);
        }
        cluster.restart(behind);
        for _ in 0..2 {
            wait_for("a snapshot on its way", || {
                (is_receiving(cluster, behind) || installs(cluster, behind) > 0).then_some(())
            });
            let leader = cluster.leader();
            cluster.kill(leader);
            cluster.restart(leader);
            cluster.leader();
        }
        wait_for("a snapshot", || (installs(cluster, behind) > 0).then_some(()));
    });
    wait_until_equal(&cluster, 3);
    assert!(!is_receiving(&cluster, behind), "nothing is left over");
}

/// The last file of the log of this node.
fn last_log_file(cluster: &Cluster, id: usize) -> u32 {
    let names = fs::read_dir(cluster.data(id)).unwrap();
    let number = |name: &str| name.strip_suffix(".log")?.parse().ok();
    names.filter_map(|it| number(it.ok()?.file_name().to_str()?)).max().unwrap()
}

/// A read of a revision that is forgotten.
fn is_forgotten(client: &mut Client, revision: Revision) -> bool {
    let mut range = Range::key(key(0));
    range.options.revision = Some(revision);
    matches!(client.range(&range), Err(Error::Server(kv_proto::Error::Compacted { .. })))
}

/// Each round, one is killed, and comes back when it needs a snapshot; the next is killed while
/// that is on its way. Some keys are overwritten all the time, and what they were is forgotten.
#[test]
fn nothing_acknowledged_is_lost_while_nodes_die_logs_are_cut_and_snapshots_travel() {
    const ROUNDS: usize = 4;
    let past = ["--keep-revisions", "50"];
    let mut cluster = Cluster::start_with(3, &[&SHORT_LOG[..], &past].concat());
    put_many(&cluster, 0, 500);
    let is_over = AtomicBool::new(false);
    let mut busy = cluster.impatient_client(Duration::from_secs(5));
    let before = cluster.client().get(&key(0)).unwrap().header.revision;
    while_writing(&mut cluster, 500, |cluster| {
        std::thread::scope(|scope| {
            let over = Over(&is_over);
            scope.spawn(|| {
                for number in (0..20).cycle().take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    // It may fail: nobody leads at times.
                    let _ = busy.put(format!("busy/{number}").as_bytes(), &value(number));
                    std::thread::sleep(PAUSE);
                }
            });
            for round in 0..ROUNDS {
                let victim = round % 3 + 1;
                cluster.kill(victim);
                // Whatever the others had written by then goes.
                for other in (1..=3).filter(|id| *id != victim) {
                    let last = last_log_file(cluster, other);
                    wait_for("what it lacks to be cut off", || {
                        (first_log_file(cluster, other) > last).then_some(())
                    });
                }
                cluster.restart(victim);
            }
            drop(over);
        });
    });
    wait_until_equal(&cluster, 3);
    let installed: usize = (1..=3).map(|id| installs(&cluster, id)).sum();
    assert!(installed + 1 >= ROUNDS, "only {installed} snapshots were needed");
    for id in 1..=3 {
        let options = Options { timeout: crate::node::PATIENCE };
        let mut client = Client::new([cluster.client_address(id)], options).unwrap();
        assert!(is_forgotten(&mut client, before), "node {id} forgets nothing");
    }
}

/// The power may go when the state has been replaced, and the log knows nothing of it yet: not even
/// of the term of the leader that sent it.
#[test]
fn a_node_that_stopped_right_after_its_state_was_replaced_goes_on_from_there() {
    let (mut cluster, behind) = with_one_far_behind(&[]);
    let leader = cluster.leader();
    cluster.stop(leader);
    cluster.restart(leader);
    let leader = cluster.leader();
    put_many(&cluster, MANY, MANY + 10);
    cluster.stop(leader);
    let state = cluster.data(behind).join("state.redb");
    fs::copy(cluster.data(leader).join("state.redb"), &state).unwrap();
    // What the power left of another one is thrown away.
    let draft = cluster.data(behind).join("state.redb.snapshot");
    fs::write(&draft, "half of a snapshot").unwrap();
    cluster.restart(behind);
    assert!(!draft.exists());
    put_many(&cluster, MANY + 10, MANY + 20);
    cluster.restart(leader);
    wait_until_equal(&cluster, 3);
    assert_eq!(installs(&cluster, behind), 0);
}

#[test]
fn a_node_never_starts_with_an_empty_or_an_old_state_behind_a_log_that_was_cut() {
    let mut cluster = Cluster::start_with(3, &SHORT_LOG);
    put_many(&cluster, 0, 10);
    let leader = cluster.leader();
    let victim = leader % 3 + 1;
    cluster.stop(victim);
    let state = cluster.data(victim).join("state.redb");
    let old = fs::read(&state).unwrap();
    cluster.restart(victim);
    put_many(&cluster, 10, MANY);
    wait_for("its log to be cut", || is_log_cut(&cluster, victim).then_some(()));
    cluster.stop(victim);
    let right = fs::read(&state).unwrap();

    fs::remove_file(&state).unwrap();
    let (code, said) = refused(&mut cluster.command(victim));
    assert_eq!(code, Some(1), "{said}");
    let named = said.contains("state.redb is missing") && said.contains("--rejoin");
    assert!(named, "{said}");
    assert!(!state.exists(), "nothing was changed");

    fs::write(&state, old).unwrap();
    let (code, said) = refused(&mut cluster.command(victim));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("older copy") && said.contains("--rejoin"), "{said}");

    fs::write(&state, right).unwrap();
    cluster.restart(victim);
    wait_until_equal(&cluster, 3);
}
