//! The flags after they were checked: what a node really needs to know.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use flags::Size;

use crate::log_keep::LogKeep;
use crate::members::{Address, Members};
use crate::options::{MemberOptions, NodeOptions, TimingOptions};
use crate::timing::{Span, Timing, TimingError, TimingMode};

/// A node's settings. What is in here fits together.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which member this node is.
    pub node_id: u64,
    /// Every member.
    pub members: Members,
    /// Where to listen for the other nodes.
    pub raft_bind: SocketAddr,
    /// Where to listen for clients.
    pub client_bind: SocketAddr,
    /// Where clients are told to find this node.
    pub client_address: Address,
    /// Where the data is.
    pub data_dir: PathBuf,
    /// How many revisions before the current one can be read.
    pub keep_revisions: u64,
    /// How long a revision can be read after it was superseded; zero for no such limit.
    pub keep_time: Duration,
    /// How fast everything goes.
    pub timing: Timing,
    /// Whether this node was a member and lost its data directory.
    pub rejoins: bool,
    /// How much of the log is kept.
    pub log_keep: LogKeep,
    /// The size of a file of the log, in bytes.
    pub log_segment_bytes: u64,
    /// The size of the file that is kept for a full disk, in bytes.
    pub log_reserve_bytes: u64,
    /// The most bytes a second of a snapshot for another node; `None` for no limit.
    pub snapshot_rate: Option<NonZeroU64>,
}

/// Why the flags do not fit together: one sentence that names the flag, its value and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}

impl From<String> for SettingsError {
    fn from(sentence: String) -> Self {
        Self(sentence)
    }
}

impl From<TimingError> for SettingsError {
    fn from(error: TimingError) -> Self {
        Self(error.to_string())
    }
}

/// Where a node listens that was told nothing.
const DEFAULT_BIND: &str = "127.0.0.1:8080";

impl TryFrom<NodeOptions> for Settings {
    type Error = SettingsError;

    fn try_from(options: NodeOptions) -> Result<Self, SettingsError> {
        let timing = timing(&options.timing);
        timing.validate()?;
        let Founder { node_id, bind, members, data_dir } = Founder::try_from(options.member)?;
        let members = match options.cluster_id {
            Some(name) => members.named(name),
            None => members,
        };
        let client_bind = match options.client_bind {
            Some(address) => address,
            None => bind.offset(options.client_port_offset)?,
        };
        check_overlap(&members, &bind, &client_bind)?;
        check_file_size("--log-segment-size", options.log.log_segment_size)?;
        if options.log.log_reserve.0 > 0 {
            check_file_size("--log-reserve", options.log.log_reserve)?;
        }
        let client_address = advertised(&client_bind, own_address(&members, node_id)?);
        Ok(Self {
            node_id,
            raft_bind: resolve("--bind", &bind)?,
            client_bind: resolve("--client-bind", &client_bind)?,
            client_address,
            members,
            data_dir,
            keep_revisions: options.past.keep_revisions,
            keep_time: options.past.keep_time.0,
            timing,
            rejoins: options.rejoin,
            log_keep: LogKeep {
                entries: options.log.log_keep_entries,
                bytes: options.log.log_keep_size.0,
            },
            log_segment_bytes: options.log.log_segment_size.0,
            log_reserve_bytes: options.log.log_reserve.0,
            snapshot_rate: NonZeroU64::new(options.log.snapshot_rate.0),
        })
    }
}

/// Which node it is, and of which cluster: all that has to be known to make its data directory.
#[derive(Clone, Debug)]
pub struct Founder {
    /// Which member this node is.
    pub node_id: u64,
    /// Where it listens for the other nodes.
    pub bind: Address,
    /// Every member.
    pub members: Members,
    /// Where the data is.
    pub data_dir: PathBuf,
}

impl TryFrom<MemberOptions> for Founder {
    type Error = SettingsError;

    fn try_from(options: MemberOptions) -> Result<Self, SettingsError> {
        let MemberOptions { node_id, bind, cluster, data_dir } = options;
        let bind = match (bind, &cluster) {
            (Some(bind), _) => bind,
            (None, Some(members)) => own_address(members, node_id)?.clone(),
            (None, None) => DEFAULT_BIND.parse()?,
        };
        let members = cluster.unwrap_or_else(|| Members::single(node_id, bind.clone()));
        check_own_address(own_address(&members, node_id)?, &bind, node_id)?;
        Ok(Self { node_id, bind, members, data_dir })
    }
}

fn timing(options: &TimingOptions) -> Timing {
    let mode = if options.demo_mode {
        TimingMode::Demo
    } else if options.debug_mode {
        TimingMode::Debug
    } else if options.fast_mode {
        TimingMode::Fast
    } else {
        options.timing_mode
    };
    let preset = mode.timing();
    let or = |flag: Option<Span>, preset| flag.map_or(preset, |span| span.0);
    Timing {
        event_loop_delay: or(options.event_loop_delay, preset.event_loop_delay),
        is_paced: preset.is_paced,
        heartbeat_interval: or(options.heartbeat_interval, preset.heartbeat_interval),
        election_timeout_min: or(options.election_timeout_min, preset.election_timeout_min),
        election_timeout_max: or(options.election_timeout_max, preset.election_timeout_max),
        network_delay: options.network_delay.0,
        client_delay: options.client_delay.0,
    }
}

fn own_address(members: &Members, node_id: u64) -> Result<&Address, SettingsError> {
    members.address(node_id).ok_or_else(|| {
        SettingsError(format!(
            "--node-id {node_id} is not in --cluster, which has the ids {}: give this node one of \
             them, or add it to the list on every node",
            members.ids()
        ))
    })
}

/// The others connect to the address in `--cluster`: this node must be there.
fn check_own_address(listed: &Address, bind: &Address, node_id: u64) -> Result<(), SettingsError> {
    let (Some(listed_at), Some(bound_to)) = (listed.to_socket_addr(), bind.to_socket_addr()) else {
        return Ok(());
    };
    let is_anywhere = bound_to.ip().is_unspecified() && bound_to.port() == listed_at.port();
    if listed_at == bound_to || is_anywhere {
        return Ok(());
    }
    Err(SettingsError(format!(
        "--bind is {bind}, but --cluster lists node {node_id} at {listed}, where the other nodes \
         will look for it: make the two equal, or leave --bind out"
    )))
}

/// A port that is taken by Raft, here or at a node on the same host, is none for clients.
fn check_overlap(
    members: &Members,
    bind: &Address,
    client_bind: &Address,
) -> Result<(), SettingsError> {
    let here = std::iter::once(bind);
    let others = members.iter().map(|(_, address)| address);
    match here.chain(others).find(|raft| overlap(raft, client_bind)) {
        Some(raft) => Err(SettingsError(format!(
            "clients would be served at {client_bind}, which overlaps with the Raft address \
             {raft}: choose another --client-port-offset or --client-bind"
        ))),
        None => Ok(()),
    }
}

/// The sizes that a file of the log may have.
fn check_file_size(flag: &str, size: Size) -> Result<(), SettingsError> {
    let least = raft_storage::Options::MIN_SEGMENT_BYTES;
    let most = raft_storage::Options::MAX_SEGMENT_BYTES;
    if size.0.is_multiple_of(512) && (least..=most).contains(&size.0) {
        return Ok(());
    }
    let (least, most) = (Size(least), Size(most));
    Err(SettingsError(format!(
        "{flag} is {size}: give a multiple of 512 bytes from {least} to {most}"
    )))
}

fn overlap(raft: &Address, client: &Address) -> bool {
    let (Some(raft_at), Some(client_at)) = (raft.to_socket_addr(), client.to_socket_addr()) else {
        return raft == client;
    };
    let is_anywhere = raft_at.ip().is_unspecified() || client_at.ip().is_unspecified();
    raft_at.port() == client_at.port() && (raft_at.ip() == client_at.ip() || is_anywhere)
}

/// Where clients find a server that listens at `bind`: there, or if that is every interface of
/// the machine, at the host by which the other nodes know it.
fn advertised(bind: &Address, listed: &Address) -> Address {
    match bind.to_socket_addr() {
        Some(address) if address.ip().is_unspecified() => listed.with_port(bind.port()),
        _ => bind.clone(),
    }
}

fn resolve(flag: &str, address: &Address) -> Result<SocketAddr, SettingsError> {
    let fail = |why: String| {
        SettingsError(format!("{flag} {address} cannot be resolved ({why}): check the host's name"))
    };
    let mut found =
        address.to_string().to_socket_addrs().map_err(|error| fail(error.to_string()))?;
    found.next().ok_or_else(|| fail("no such host".into()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::Options;

    fn settings(flags: &str) -> Result<Settings, String> {
        let words = std::iter::once("kv-server").chain(flags.split_whitespace());
        let options = Options::try_parse_from(words).map_err(|error| error.to_string())?;
        Settings::try_from(options.node).map_err(|error| error.to_string())
    }

    fn refusal(flags: &str) -> String {
        settings(flags).expect_err(flags)
    }

    #[test]
    fn a_node_without_flags_is_a_cluster_of_its_own() {
        let node = settings("").unwrap();
        assert_eq!(node.members.to_string(), "1=127.0.0.1:8080");
        assert_eq!(node.raft_bind.to_string(), "127.0.0.1:8080");
        assert_eq!(node.client_bind.to_string(), "127.0.0.1:9080");
        assert_eq!(node.data_dir, PathBuf::from("kv-data"));
        assert_eq!(node.timing, TimingMode::Fast.timing());
    }

    #[test]
    fn ten_thousand_revisions_and_five_minutes_are_kept_unless_told_otherwise() {
        let kept = |flags| settings(flags).map(|node| (node.keep_revisions, node.keep_time));
        assert_eq!(kept(""), Ok((10_000, Duration::from_mins(5))));
        let told = kept("--keep-revisions 7 --keep-time 90s");
        assert_eq!(told, Ok((7, Duration::from_secs(90))));
    }

    #[test]
    fn a_member_listens_where_the_cluster_expects_it() {
        let node = settings("--node-id 2 --cluster 127.0.0.1:8080,127.0.0.1:8081").unwrap();
        assert_eq!(node.raft_bind.to_string(), "127.0.0.1:8081");
        assert_eq!(node.client_address.to_string(), "127.0.0.1:9081");
        let everywhere = "--bind 0.0.0.0:8080 --cluster 10.0.0.1:8080,10.0.0.2:8080";
        let node = settings(everywhere).unwrap();
        assert_eq!(node.client_bind.to_string(), "0.0.0.0:9080");
        assert_eq!(node.client_address.to_string(), "10.0.0.1:9080");
    }

    #[test]
    fn flags_change_single_values_of_a_preset() {
        let node = settings("--demo-mode --heartbeat-interval 1500ms --network-delay 20").unwrap();
        let demo = TimingMode::Demo.timing();
        let millis = std::time::Duration::from_millis;
        let expected =
            Timing { heartbeat_interval: millis(1500), network_delay: millis(20), ..demo };
        assert_eq!(node.timing, expected);
    }

    #[test]
    fn a_cluster_that_was_restored_is_named() {
        assert_eq!(
            settings("--cluster-id e900992eade5f14f").unwrap().members.cluster_id(),
            0xe900_992e_ade5_f14f
        );
        assert!(refusal("--cluster-id moon").contains("moon"));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_values() {
        let said = refusal("--node-id 4 --cluster 127.0.0.1:1,127.0.0.1:2");
        assert!(said.contains("--node-id 4") && said.contains("1, 2"), "{said}");
        let said = refusal("--bind 127.0.0.1:9 --cluster 127.0.0.1:8,127.0.0.1:7");
        assert!(said.contains("127.0.0.1:9") && said.contains("127.0.0.1:8"), "{said}");
        let said = refusal("--client-port-offset 1 --cluster 127.0.0.1:8080,127.0.0.1:8081");
        assert!(said.contains("overlaps") && said.contains("127.0.0.1:8081"), "{said}");
        assert!(refusal("--client-bind 127.0.0.1:8080").contains("overlaps"));
        assert!(refusal("--bind 127.0.0.1:65000").contains("66000"));
        assert!(refusal("--cluster 1=127.0.0.1:1,1=127.0.0.1:2").contains("given twice"));
        let said = refusal("--heartbeat-interval 80ms");
        assert!(said.contains("80ms") && said.contains("150ms"), "{said}");
        assert!(refusal("--heartbeat-interval 5parsecs").contains("5parsecs"));
        let said = refusal("--log-reserve 5");
        assert!(said.contains("--log-reserve is 5") && said.contains("1GiB"), "{said}");
        assert!(refusal("--log-segment-size 2GiB").contains("2GiB"));
        assert!(settings("--log-reserve 0").is_ok());
        assert!(refusal("--demo-mode --debug-mode").contains("--debug-mode"));
        assert!(refusal("--node-id 0").contains('0'));
        assert!(refusal("--frobnicate").contains("--frobnicate"));
        assert!(refusal("--bind nowhere").contains("HOST:PORT"));
    }
}
