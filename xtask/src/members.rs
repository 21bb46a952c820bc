//! The members of a cluster on this machine, and the ports they get.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::{Context, Failure};

/// The most nodes a cluster on one machine may have here: a majority of more than nine writes
/// every command five times to the same disk.
pub const MAX_NODES: u16 = 9;

/// What `kv-server` adds to its Raft port for clients, unless told otherwise.
const CLIENT_PORT_OFFSET: u16 = 1000;

/// One node and its two addresses, both on the loopback interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its `--node-id`; the first node is 1.
    pub id: u16,
    /// Where the other nodes reach it.
    pub raft: SocketAddr,
    /// Where clients reach it.
    pub client: SocketAddr,
}

/// All members of a cluster.
///
/// Guarantees:
/// 1. Ids are 1, 2, 3 and so on.
/// 2. No two addresses are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members(Vec<Member>);

impl Members {
    /// `count` members on the ports from `base_port` on, clients 1000 above.
    ///
    /// # Errors
    ///
    /// If `count` is not 1 to [`MAX_NODES`], or a port would be 0 or above 65535.
    pub fn from_base_port(count: u16, base_port: u16) -> Result<Self, Failure> {
        check_count(count)?;
        let last = u32::from(base_port) + u32::from(count - 1) + u32::from(CLIENT_PORT_OFFSET);
        if base_port == 0 || last > u32::from(u16::MAX) {
            let highest = u16::MAX - CLIENT_PORT_OFFSET - (count - 1);
            return Err(Failure::new(format!(
                "--base-port {base_port} leaves no room for {count} nodes and their client \
                 ports {CLIENT_PORT_OFFSET} above: give a port from 1 to {highest}"
            )));
        }
        let raft_ports = base_port..base_port + count;
        Ok(Self::new(raft_ports.map(|port| (port, port + CLIENT_PORT_OFFSET))))
    }

    /// `count` members on ports that are free now.
    ///
    /// The ports lie below those that the system hands out by itself. A node that is down must
    /// find its port free when it returns, and a port of the system's own range may by then be the
    /// near end of somebody's connection: even of a peer's attempt to reach that very node, which
    /// then talks to itself.
    ///
    /// # Errors
    ///
    /// If `count` is not 1 to [`MAX_NODES`], or too few ports are free.
    pub fn on_free_ports(count: u16) -> Result<Self, Failure> {
        check_count(count)?;
        // Held until all are found, so that none is found twice.
        let mut held = Vec::new();
        let wanted = 2 * usize::from(count);
        for port in candidate_ports(starting_point()) {
            if let Ok(listener) = TcpListener::bind(loopback(port)) {
                held.push((port, listener));
            }
            if held.len() == wanted {
                let pairs = held.chunks_exact(2).map(|pair| (pair[0].0, pair[1].0));
                return Ok(Self::new(pairs));
            }
        }
        Err(Failure::new(format!(
            "only {} of {wanted} ports were found free on this machine",
            held.len()
        )))
    }

    fn new(ports: impl Iterator<Item = (u16, u16)>) -> Self {
        let members = (1..).zip(ports).map(|(id, (raft, client))| Member {
            id,
            raft: loopback(raft),
            client: loopback(client),
        });
        Self(members.collect())
    }

    /// Every member, in the order of ids.
    pub fn iter(&self) -> impl Iterator<Item = Member> + '_ {
        self.0.iter().copied()
    }

    /// What `kv-server --cluster` takes: `1=127.0.0.1:8080,2=127.0.0.1:8081`.
    pub fn cluster_flag(&self) -> String {
        self.join(|member| format!("{}={}", member.id, member.raft))
    }

    /// The Raft addresses alone, which `kv-cli --cluster` takes.
    pub fn raft_addresses(&self) -> String {
        self.join(|member| member.raft.to_string())
    }

    /// The client addresses, in the order of ids.
    pub fn client_addresses(&self) -> Vec<String> {
        self.iter().map(|member| member.client.to_string()).collect()
    }

    /// Makes sure that somebody who starts the members now does not find a port taken.
    ///
    /// # Errors
    ///
    /// The first address that cannot be listened on, and why.
    pub fn check_ports_are_free(&self) -> Result<(), Failure> {
        for address in self.iter().flat_map(|member| [member.raft, member.client]) {
            TcpListener::bind(address).context(|| {
                let port = address.port();
                format!("port {port} cannot be used; stop what holds it, or give --base-port")
            })?;
        }
        Ok(())
    }

    fn join(&self, show: impl Fn(Member) -> String) -> String {
        let shown: Vec<String> = self.iter().map(show).collect();
        shown.join(",")
    }
}

fn check_count(count: u16) -> Result<(), Failure> {
    if (1..=MAX_NODES).contains(&count) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "a cluster of {count} nodes cannot be started here: give --nodes from 1 to {MAX_NODES}"
    )))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The first port tried, and how many are: all below 32768, where the range that Linux hands out
/// begins.
const FIRST_PORT: u16 = 12_000;
const CANDIDATES: u16 = 20_000;

/// All candidate ports once, from somewhere in the middle on.
fn candidate_ports(start: u16) -> impl Iterator<Item = u16> {
    (0..CANDIDATES).map(move |step| {
        let offset = (u32::from(start) + u32::from(step)) % u32::from(CANDIDATES);
        FIRST_PORT + u16::try_from(offset).unwrap_or(0)
    })
}

/// Another start for every process and moment, so that runs side by side seldom meet.
fn starting_point() -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.map_or(0, |now| now.subsec_nanos());
    let mixed = (nanos / 1000) ^ process::id().wrapping_mul(0x9E37_79B9);
    u16::try_from(mixed % u32::from(CANDIDATES)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_base_port_gives_neighbouring_addresses() {
        let members = Members::from_base_port(3, 8080).expect("ports in range");
        let expected = "1=127.0.0.1:8080,2=127.0.0.1:8081,3=127.0.0.1:8082";
        assert_eq!(members.cluster_flag(), expected);
        assert_eq!(members.client_addresses()[2], "127.0.0.1:9082");
    }

    #[test]
    fn ports_beyond_the_last_one_are_refused_with_the_bound() {
        assert!(Members::from_base_port(3, 64_533).is_ok());
        let failure = Members::from_base_port(3, 64_534).expect_err("one too high");
        assert!(failure.to_string().contains("from 1 to 64533"), "{failure}");
        assert!(Members::from_base_port(3, 0).is_err());
    }

    #[test]
    fn clusters_of_no_node_or_of_too_many_are_refused() {
        for count in [0, MAX_NODES + 1] {
            assert!(Members::from_base_port(count, 8080).is_err());
            assert!(Members::on_free_ports(count).is_err());
        }
    }

    #[test]
    fn free_ports_are_distinct_and_outside_of_the_systems_own_range() {
        let members = Members::on_free_ports(MAX_NODES).expect("free ports");
        let ports: BTreeSet<u16> =
            members.iter().flat_map(|member| [member.raft.port(), member.client.port()]).collect();
        assert_eq!(ports.len(), 2 * usize::from(MAX_NODES));
        assert!(ports.iter().all(|port| *port < 32_768));
    }

    #[test]
    fn a_port_in_use_is_named() {
        let members = Members::on_free_ports(1).expect("free ports");
        let taken = members.iter().next().expect("one member").client;
        let _listener = TcpListener::bind(taken).expect("the port was free");
        let failure = members.check_ports_are_free().expect_err("a port is taken");
        assert!(failure.to_string().contains(&taken.port().to_string()), "{failure}");
    }

    #[test]
    fn every_candidate_port_is_tried_once_from_any_start() {
        for start in [0, 1, CANDIDATES - 1] {
            let ports: BTreeSet<u16> = candidate_ports(start).collect();
            assert_eq!(ports.len(), usize::from(CANDIDATES));
            assert_eq!(ports.first(), Some(&FIRST_PORT));
        }
    }
}
