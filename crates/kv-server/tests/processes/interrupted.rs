//! Snapshots whose connection is cut while the nodes at both ends go on.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::node::{Cluster, free_ports, wait_for};
use crate::snapshots::{
    MANY, SHORT_LOG, VALUE_BYTES, installs, is_log_cut, put_many, wait_until_equal,
};

/// So many bytes of every snapshot pass before its first connection is cut: more than a third.
const CUT_BYTES: u64 = 1_500_000;

/// A connection that brought a snapshot, and is over.
#[derive(Clone, Copy, Debug)]
struct Passed {
    /// As the sender calls the snapshot: it keeps the name when it calls again.
    name: [u8; 8],
    bytes: u64,
    was_cut: bool,
}

/// Stands between a node and those that call it. Messages pass; of every snapshot the first
/// connection is cut in the middle.
#[derive(Clone, Default)]
struct Relay {
    /// The names of snapshots that have come.
    known: Arc<Mutex<Vec<[u8; 8]>>>,
    passed: Arc<Mutex<Vec<Passed>>>,
}

impl Relay {
    /// Listens at `address` for the node that listens at `target`.
    fn start(address: &str, target: String) -> Self {
        let relay = Self::default();
        let (listener, taker) = (TcpListener::bind(address).unwrap(), relay.clone());
        thread::spawn(move || {
            for caller in listener.incoming() {
                let (relay, target) = (taker.clone(), target.clone());
                // Where one end is gone, the other hears so.
                thread::spawn(move || relay.carry(&caller.unwrap(), &target).unwrap_or_default());
            }
        });
        relay
    }

    fn carry(&self, caller: &TcpStream, target: &str) -> io::Result<()> {
        let node = TcpStream::connect(target)?;
        let (mut answers, mut listener) = (node.try_clone()?, caller.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut answers, &mut listener);
            let _ = listener.shutdown(Shutdown::Both);
        });
        let carried = self.carry_there(caller, &node);
        let _ = (caller.shutdown(Shutdown::Both), node.shutdown(Shutdown::Both));
        carried
    }

    fn carry_there(&self, mut caller: &TcpStream, mut node: &TcpStream) -> io::Result<()> {
        if pass_frame(caller, node)?[..8] != *b"raft-snp" {
            return io::copy(&mut caller, &mut node).map(drop);
        }
        let name = pass_frame(caller, node)?[4..12].try_into().unwrap();
        let is_first = !self.known.lock().unwrap().contains(&name);
        let most = if is_first { CUT_BYTES } else { u64::MAX };
        self.known.lock().unwrap().push(name);
        let bytes = io::copy(&mut caller.take(most), &mut node)?;
        self.passed.lock().unwrap().push(Passed { name, bytes, was_cut: bytes == most });
        Ok(())
    }
}

/// Lets a frame pass, and returns its body; `docs/format.md` has its header.
fn pass_frame(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<Vec<u8>> {
    let mut header = [0; 12];
    from.read_exact(&mut header)?;
    let length = u32::from_le_bytes(header[..4].try_into().unwrap());
    let mut body = vec![0; length.try_into().unwrap()];
    from.read_exact(&mut body)?;
    to.write_all(&header)?;
    to.write_all(&body)?;
    Ok(body)
}

#[test]
fn a_snapshot_whose_connection_is_cut_goes_on_where_it_was() {
    // The third knows another address of itself than the others, so it has to be told their name.
    let flags = [&SHORT_LOG[..], &["--cluster-id", "1234"]].concat();
    let mut cluster = Cluster::unstarted(3).with_flags(&flags);
    let own_port = free_ports(1)[0];
    let relay = Relay::start(&cluster.raft_address(3), format!("127.0.0.1:{own_port}"));
    cluster.restart(1);
    cluster.restart(2);
    put_many(&cluster, 0, MANY);
    let leader = cluster.leader();
    wait_for("the log to be cut", || is_log_cut(&cluster, leader).then_some(()));

    cluster.set_raft_port(3, own_port);
    cluster.restart(3);
    wait_for("the snapshot", || (installs(&cluster, 3) > 0).then_some(()));
    wait_until_equal(&cluster, 3);
    let arrived = wait_for("the end of the connection that brought the rest", || {
        let passed = relay.passed.lock().unwrap();
        passed.iter().find(|it| !it.was_cut).map(|it| it.name)
    });
    let passed = relay.passed.lock().unwrap().clone();
    let parts = || passed.iter().filter(|it| it.name == arrived);
    assert_eq!(parts().filter(|it| it.was_cut).count(), 1, "{passed:?}");
    // The values do not pack: one that was begun again would have been as large as all of them.
    let rest_bytes: u64 = parts().filter(|it| !it.was_cut).map(|it| it.bytes).sum();
    assert!(rest_bytes + CUT_BYTES / 2 < u64::from(MANY) * VALUE_BYTES as u64, "{passed:?}");
    assert!(cluster.is_running(3) && cluster.is_running(leader));
}
