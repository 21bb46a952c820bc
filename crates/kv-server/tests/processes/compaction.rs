//! Old revisions are forgotten: by command, and when they are old.

use kv_client::{Client, Error};
use kv_proto::{Compact, Range, Revision};

use crate::node::{Cluster, wait_for};

/// What a read of `key` at a revision ends with.
fn read_at(client: &mut Client, key: &[u8], revision: u64) -> Result<Option<Vec<u8>>, Error> {
    let mut range = Range::key(key);
    range.options.revision = Some(Revision::new(revision));
    let answer = client.range(&range)?;
    Ok(answer.reply.kvs.first().map(|kv| kv.value.to_vec()))
}

fn is_compacted(outcome: &Result<Option<Vec<u8>>, Error>) -> bool {
    matches!(outcome, Err(Error::Server(kv_proto::Error::Compacted { .. })))
}

#[test]
fn a_compaction_by_command_reaches_every_node_and_leaves_their_states_equal() {
    let mut cluster = Cluster::start(3);
    let mut client = cluster.client();
    for number in 0..100_u8 {
        client.put(b"key", &[number]).unwrap();
    }
    let answer = client.compact(Compact::Revision(Revision::new(51))).unwrap();
    assert_eq!((answer.header.revision.get(), answer.reply.compacted.get()), (101, 51));
    let check = |cluster: &Cluster| {
        for id in 1..=3 {
            let options = kv_client::Options { timeout: crate::node::PATIENCE };
            let mut node = Client::new([cluster.client_address(id)], options).unwrap();
            assert_eq!(read_at(&mut node, b"key", 51).unwrap(), Some(vec![49]));
            assert!(is_compacted(&read_at(&mut node, b"key", 50)));
        }
    };
    check(&cluster);
    let again = client.compact(Compact::Revision(Revision::new(51))).unwrap_err();
    assert!(again.to_string().contains("the history of revision 51 is gone"), "{again}");
    let early = client.compact(Compact::Revision(Revision::new(999))).unwrap_err();
    assert!(early.to_string().contains("does not exist yet"), "{early}");
    wait_for("equal states", || {
        let states: Vec<_> = (1..=3).map(|id| cluster.applied(id)).collect();
        (states[0].is_some() && states.iter().all(|state| *state == states[0])).then_some(())
    });
    cluster.kill_all();
    cluster.start_all();
    check(&cluster);
}

#[test]
fn what_was_superseded_for_longer_than_the_limit_is_forgotten_without_a_write() {
    let mut cluster = Cluster::unstarted(1).with_flags(&["--keep-time", "3s"]);
    cluster.start_all();
    let mut client = cluster.client();
    client.put(b"key", b"old").unwrap();
    client.put(b"key", b"new").unwrap();
    assert_eq!(read_at(&mut client, b"key", 2).unwrap(), Some(b"old".to_vec()));
    wait_for("the old value to be forgotten", || {
        is_compacted(&read_at(&mut client, b"key", 2)).then_some(())
    });
    assert_eq!(read_at(&mut client, b"key", 3).unwrap(), Some(b"new".to_vec()));
}

#[test]
fn the_number_of_revisions_that_are_kept_can_be_chosen() {
    let mut cluster =
        Cluster::unstarted(1).with_flags(&["--keep-revisions", "5", "--keep-time", "0"]);
    cluster.start_all();
    let mut client = cluster.client();
    for number in 0..20_u8 {
        client.put(b"key", &[number]).unwrap();
    }
    assert_eq!(read_at(&mut client, b"key", 16).unwrap(), Some(vec![14]));
    assert!(is_compacted(&read_at(&mut client, b"key", 15)));
}
