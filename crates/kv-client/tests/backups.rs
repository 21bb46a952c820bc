//! Which node a backup comes from, and how it ends.

mod fake;

use std::time::Duration;

use fake::{Fake, Play};
use kv_client::{BackupOptions, Client, Error, Options};
use kv_proto::{BackupPiece, Call, Reply};

/// A server with a backup of so many pieces, each of which is its number.
fn serves(pieces: u64) -> Fake {
    Fake::single(move |call| match call {
        Call::Backup(asked) if asked.piece < pieces => Play::Reply(Reply::Backup(BackupPiece {
            bytes: asked.piece.to_le_bytes().as_slice().into(),
            is_last: asked.piece + 1 == pieces,
            done: asked.piece,
            total: pieces,
        })),
        _ => Play::Fail(kv_proto::Error::malformed("there is no such piece")),
    })
}

fn client(addresses: &[&str]) -> Client {
    let options = Options { timeout: Duration::from_secs(10) };
    Client::new(addresses.iter().copied(), options).expect("they are addresses")
}

#[test]
fn pieces_come_in_order_and_end_with_the_last_although_more_were_asked_for() -> Result<(), Error> {
    for count in [1, 2, 3, 100] {
        let server = serves(count);
        let mut numbers = Vec::new();
        for piece in client(&[&server.address]).backup(BackupOptions::default())? {
            let bytes = (*piece?.bytes).try_into().expect("a number");
            numbers.push(u64::from_le_bytes(bytes));
        }
        assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    }
    Ok(())
}

#[test]
fn the_first_node_that_can_gives_it() -> Result<(), Error> {
    let busy = Fake::single(|_| Play::Fail(kv_proto::Error::Busy));
    let server = serves(3);
    let client = client(&["127.0.0.1:1", &busy.address, &server.address]);
    let backup = client.backup(BackupOptions::default())?;
    assert_eq!(backup.address(), server.address);
    assert_eq!(backup.count(), 3);
    Ok(())
}

#[test]
fn where_nobody_can_the_last_one_says_why() {
    let busy = Fake::single(|_| Play::Fail(kv_proto::Error::Busy));
    let refused = client(&[&busy.address]).backup(BackupOptions::default()).map(|_| ());
    let said = refused.expect_err("it is busy").to_string();
    assert!(said.contains("too much waiting") && said.contains(&busy.address), "{said}");
}

/// The rest of a backup cannot come from another node: its pieces are of another moment.
#[test]
fn a_backup_that_breaks_off_ends_with_the_error_and_nothing_follows() -> Result<(), Error> {
    let server = Fake::single(|call| match call {
        Call::Backup(asked) if asked.piece < 2 => Play::Reply(Reply::Backup(BackupPiece {
            bytes: b"piece".as_slice().into(),
            is_last: false,
            done: 0,
            total: 0,
        })),
        _ => Play::Drop,
    });
    let mut backup = client(&[&server.address]).backup(BackupOptions::default())?;
    let came: Vec<bool> = backup.by_ref().map(|piece| piece.is_ok()).collect();
    assert_eq!(came, [true, true, false]);
    assert!(backup.next().is_none());
    Ok(())
}
