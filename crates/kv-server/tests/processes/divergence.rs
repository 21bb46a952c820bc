//! A node whose state is not that of the others is found out, and does not serve.

use kv_client::{Client, Connection, Deadline, Options};
use kv_proto::{Call, Command, Consistency, Difference, Error, Put, Range, Response};
use kv_store::{Position, Store};

use crate::node::{Cluster, PATIENCE, wait_for};

/// Applies a write to the state of a stopped node that no log ever held.
fn falsify(cluster: &Cluster, id: usize) {
    let path = cluster.data(id).join("state.redb");
    let mut store = Store::open(&path, &kv_store::Options::default()).unwrap();
    let Position { term, index } = store.position();
    let mut bytes = Vec::new();
    Command::Put(Put::new(b"colour", b"wrong")).encode(&mut bytes).unwrap();
    store.apply(Position { term, index: index + 1 }, &bytes).unwrap();
    store.flush().unwrap();
}

/// Brings node `id` to a state of its own while the others go on, and starts it again.
/// `away` is killed before that.
fn make_differ(cluster: &mut Cluster, client: &mut Client, id: usize, away: Option<usize>) {
    let other = if id == 1 { 2 } else { 1 };
    wait_for("the node to be as far as the others", || {
        let (own, others) = (cluster.applied(id)?, cluster.applied(other)?);
        (own == others).then_some(())
    });
    cluster.stop(id);
    for _ in 0..5 {
        client.put(b"colour", b"right").unwrap();
    }
    if let Some(away) = away {
        cluster.kill(away);
    }
    falsify(cluster, id);
    cluster.restart(id);
}

fn difference(cluster: &Cluster, id: usize) -> Option<Difference> {
    let answer = cluster.client().digests(&cluster.client_address(id)).ok()?;
    answer.reply.difference
}

/// Why a node does not answer a read of its own state, if it does not.
fn stale_read(address: &str) -> Option<Error> {
    let deadline = Deadline::after(PATIENCE);
    let mut connection = Connection::open(address, &deadline).unwrap();
    let mut range = Range::key(b"colour");
    range.options.consistency = Consistency::Stale;
    connection.send(Call::Range(range), &deadline).unwrap();
    connection.flush(&deadline).unwrap();
    match connection.receive(&deadline).unwrap() {
        Response::Failed { error, .. } => Some(error),
        _ => None,
    }
}

#[test]
fn the_one_of_three_that_differs_stops_serving_and_the_others_go_on() {
    let mut cluster = Cluster::start(3);
    let mut client = cluster.client();
    client.put(b"colour", b"green").unwrap();
    let leader = cluster.leader();
    let odd = if leader == 3 { 2 } else { 3 };
    let sound: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != odd as u64).collect();
    make_differ(&mut cluster, &mut client, odd, None);

    let found = wait_for("the node to find out", || difference(&cluster, odd));
    assert!(found.is_outvoted && found.others == sound, "{found:?}");
    let refused = stale_read(&cluster.client_address(odd));
    assert_eq!(refused, Some(Error::Diverged { node: odd as u64, index: found.index }));
    // A client that asks the node goes on to the next, and is not told anything wrong.
    let options = Options { timeout: PATIENCE };
    let mut asks_it = Client::new([cluster.client_address(odd)], options).unwrap();
    assert_eq!(asks_it.get(b"colour").unwrap().reply.unwrap().value.as_ref(), b"right");

    for id in &sound {
        let id = usize::try_from(*id).unwrap();
        let found = wait_for("the others to notice", || difference(&cluster, id));
        assert!(!found.is_outvoted && found.others == [odd as u64], "{found:?}");
    }
    client.put(b"colour", b"blue").unwrap();
    assert_eq!(client.get(b"colour").unwrap().reply.unwrap().value.as_ref(), b"blue");
    let status = cluster.client().cluster_status().unwrap();
    assert!(status.nodes.iter().all(|row| row.difference.is_some()), "{status:?}");

    // It gets a sound state from the others, and serves again.
    cluster.kill(odd);
    std::fs::rename(cluster.data(odd), cluster.folder().join("wrong")).unwrap();
    let mut cluster = cluster.with_flags(&["--rejoin"]);
    cluster.restart(odd);
    wait_for("the node to be equal to the others", || {
        let (own, others) = (cluster.applied(odd)?, cluster.applied(leader)?);
        (own == others && stale_read(&cluster.client_address(odd)).is_none()).then_some(())
    });
    wait_for("everybody to be of one mind", || {
        (1..=3).all(|id| difference(&cluster, id).is_none()).then_some(())
    });
}

/// Of two that differ, nobody can say which is wrong: a false alarm must not take a cluster down.
#[test]
fn two_that_differ_say_so_and_both_go_on_while_the_third_is_away() {
    let mut cluster = Cluster::start(3);
    let mut client = cluster.client();
    client.put(b"colour", b"green").unwrap();
    let leader = cluster.leader();
    let mut followers = (1..=3).filter(|id| *id != leader);
    let (odd, away) = (followers.next().unwrap(), followers.next().unwrap());
    make_differ(&mut cluster, &mut client, odd, Some(away));
    for id in [leader, odd] {
        let found = wait_for("the difference", || difference(&cluster, id));
        assert!(!found.is_outvoted && found.others.len() == 1, "{found:?}");
    }
    client.put(b"colour", b"blue").unwrap();
    let options = Options { timeout: PATIENCE };
    let mut asks_it = Client::new([cluster.client_address(odd)], options).unwrap();
    assert!(asks_it.get(b"colour").unwrap().reply.is_some());
}
