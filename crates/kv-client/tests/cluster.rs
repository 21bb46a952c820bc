//! How every node is, the dead ones too; and one connection with many requests in flight.

mod fake;

use std::collections::BTreeSet;
use std::time::Duration;

use fake::{Fake, Greeting, Play, status};
use kv_client::{Client, Connection, ConnectionError, Deadline, Error, Options};
use kv_proto::{Call, Command, Put, Response, Role};

fn generous() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// An address where nobody listens: a port that only the system could use.
fn nobody() -> String {
    "127.0.0.1:1".into()
}

fn node(id: u64, role: Role, members: Vec<(u64, Option<String>)>) -> Fake {
    let greeting = Greeting::Welcome { cluster_id: 7 };
    Fake::start_with(id, greeting, move |_| Play::Reply(status(id, role, &members)))
}

#[test]
fn every_configured_node_has_a_row_the_dead_ones_too() -> Result<(), Error> {
    let dead = nobody();
    let follower = node(2, Role::Follower, vec![(1, None), (2, None), (3, Some(dead.clone()))]);
    let known = vec![(1, None), (2, Some(follower.address.clone())), (3, Some(dead))];
    let leader = node(1, Role::Leader, known);
    let mut client = Client::new([leader.address.clone()], Options::default())?;
    let status = client.cluster_status()?;
    assert_eq!(status.cluster_id, 7);
    let rows: Vec<_> = status
        .nodes
        .iter()
        .map(|row| (row.member.id, row.status.as_ref().map(|status| status.role)))
        .collect();
    let refused = "connection refused".to_owned();
    assert_eq!(rows, [(1, Ok(Role::Leader)), (2, Ok(Role::Follower)), (3, Err(&refused))]);
    Ok(())
}

#[test]
fn a_node_that_nobody_can_locate_is_down_and_says_why() -> Result<(), Error> {
    let leader = node(1, Role::Leader, vec![(1, None), (2, None)]);
    let status = Client::new([leader.address.clone()], Options::default())?.cluster_status()?;
    let why = status.nodes[1].status.as_ref().expect_err("nobody knows where it is");
    assert_eq!(why, "no running node knows its client address");
    Ok(())
}

#[test]
fn a_cluster_without_a_running_node_has_no_status() -> Result<(), Error> {
    let mut client = Client::new([nobody(), nobody()], Options::default())?;
    let failure = client.cluster_status().expect_err("nobody is there");
    assert!(matches!(failure, Error::Unavailable { .. }), "{failure}");
    Ok(())
}

#[test]
fn a_node_of_another_cluster_is_left_out() -> Result<(), Error> {
    let ours = node(1, Role::Leader, vec![(1, None)]);
    let greeting = Greeting::Welcome { cluster_id: 8 };
    let theirs =
        Fake::start_with(5, greeting, |_| Play::Reply(status(5, Role::Leader, &[(5, None)])));
    let addresses = [ours.address.clone(), theirs.address.clone()];
    let status = Client::new(addresses, Options::default())?.cluster_status()?;
    assert_eq!(status.nodes.len(), 1);
    Ok(())
}

#[test]
fn many_requests_share_a_connection_and_every_one_is_answered() -> Result<(), ConnectionError> {
    let server = Fake::store();
    let mut connection = Connection::open(&server.address, &generous())?;
    let mut waiting = BTreeSet::new();
    for number in 0..100_u32 {
        let key = number.to_be_bytes();
        let mut bytes = Vec::new();
        Command::Put(Put::new(&key, b"v")).encode(&mut bytes).expect("a short key");
        waiting.insert(connection.send(Call::Write(&bytes), &generous())?);
    }
    assert_eq!(waiting.len(), 100, "every request has an id of its own");
    connection.flush(&generous())?;
    while !waiting.is_empty() {
        let Response::Done { id, .. } = connection.receive(&generous())? else {
            panic!("the store takes every put");
        };
        assert!(waiting.remove(&id), "an answer to each request, once");
    }
    assert_eq!(connection.receive_buffered()?, None);
    Ok(())
}

#[test]
fn a_request_above_the_limit_is_refused_and_the_connection_goes_on() -> Result<(), ConnectionError>
{
    let server = Fake::store();
    let mut connection = Connection::open(&server.address, &generous())?;
    let large = vec![0; 4 << 20];
    let refused = connection.send(Call::Write(&large), &generous());
    assert!(matches!(refused, Err(ConnectionError::Refused(_))));
    let id = connection.send(Call::Status, &generous())?;
    connection.flush(&generous())?;
    let answer = connection.receive(&generous())?;
    assert!(matches!(answer, Response::Done { id: done, .. } if done == id));
    Ok(())
}

#[test]
fn a_wait_that_timed_out_can_go_on() -> Result<(), ConnectionError> {
    let server = Fake::store();
    let mut connection = Connection::open(&server.address, &generous())?;
    let impatient = Deadline::after(Duration::from_millis(20));
    assert_eq!(connection.receive(&impatient), Err(ConnectionError::TimedOut));
    connection.send(Call::Status, &generous())?;
    connection.flush(&generous())?;
    connection.receive(&generous())?;
    Ok(())
}
