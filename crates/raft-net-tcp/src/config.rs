//! What a network is told when it starts, and why it may refuse to.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::time::Duration;

use raft_core::NodeId;

use crate::directory::Directory;
use crate::handshake::is_client_address;
use crate::start_error::StartError;

/// Who this node is, whom it talks to, and within which bounds.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub node_id: NodeId,
    /// The cluster it belongs to. Nodes of another cluster are refused.
    pub cluster_id: u64,
    /// Where to listen for the peers. Port 0 lets the system choose:
    /// [`Network::local_address`](crate::Network::local_address) tells.
    pub listen: SocketAddr,
    /// The other nodes, each as `host:port`. A host name is looked up anew for every attempt to
    /// connect.
    pub peers: Vec<(NodeId, String)>,
    /// Where clients reach this node, told to every peer. At most 255 bytes without white space;
    /// empty if there is no such address.
    pub client_address: String,
    /// The data directory of this node: its peers notice if it has another one at the next start,
    /// and this node notices it of them. `None` if nothing that it promises has to last.
    pub directory: Option<Directory>,
    /// How long to wait for what.
    pub timing: Timing,
    /// Bounds on memory.
    pub limits: Limits,
    /// How snapshots travel.
    pub snapshots: Snapshots,
    /// Every message is held back for this long before it is written: for demonstrations, zero
    /// otherwise. Pings are not held back.
    pub network_delay: Duration,
}

impl Config {
    /// A configuration with the timing for heartbeats every 50 ms, the default limits, no delay, no
    /// data directory and no address for clients.
    pub fn new(
        node_id: NodeId,
        cluster_id: u64,
        listen: SocketAddr,
        peers: Vec<(NodeId, String)>,
    ) -> Self {
        Self {
            node_id,
            cluster_id,
            listen,
            peers,
            client_address: String::new(),
            directory: None,
            timing: Timing::for_heartbeat(Duration::from_millis(50)),
            limits: Limits::default(),
            snapshots: Snapshots::default(),
            network_delay: Duration::ZERO,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), StartError> {
        for (at, (peer, address)) in self.peers.iter().enumerate() {
            if *peer == self.node_id {
                return Err(StartError::PeerIsSelf { peer: *peer });
            }
            if self.peers[..at].iter().any(|(other, _)| other == peer) {
                return Err(StartError::PeerTwice { peer: *peer });
            }
            if address.is_empty() {
                return Err(StartError::NoAddress { peer: *peer });
            }
        }
        if !is_client_address(&self.client_address) {
            let address = self.client_address.clone();
            return Err(StartError::ClientAddress { address });
        }
        check_length("network_delay", self.network_delay)?;
        self.timing.validate()?;
        self.limits.validate()?;
        self.snapshots.validate()
    }
}

/// The longest that anything is waited for: beyond it, sums of waits would overflow.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_hours(24);

fn check_length(name: &'static str, value: Duration) -> Result<(), StartError> {
    if value > LONGEST_WAIT {
        return Err(StartError::TooLong { name, value });
    }
    Ok(())
}

/// How long to wait for what. None of it is longer than a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time between two pings on a connection.
    pub keepalive_interval: Duration,
    /// A connection that is silent for this long is given up. At least twice the interval.
    pub silence_timeout: Duration,
    /// How long a connection may take to be opened, for each address of the peer.
    pub connect_timeout: Duration,
    /// How long the greeting may take, on either side.
    pub handshake_timeout: Duration,
    /// About the wait before the first new attempt to connect. It doubles with every failure.
    pub backoff_min: Duration,
    /// The longest wait between two attempts. A peer that connects to this node ends the wait.
    pub backoff_max: Duration,
}

impl Timing {
    /// The longest of the waits that grow with the heartbeat: nobody watches for longer.
    const MOST_PATIENT: Duration = Duration::from_secs(5);

    /// Timing that suits a cluster whose leader sends a heartbeat this often: a dead connection is
    /// noticed within two to two and a half heartbeats. For heartbeats every 50 ms, attempts to
    /// connect are 20 ms to 1 s apart.
    pub fn for_heartbeat(heartbeat_interval: Duration) -> Self {
        let heartbeat = heartbeat_interval.clamp(Duration::from_millis(2), LONGEST_WAIT / 2);
        Self {
            keepalive_interval: heartbeat / 2,
            silence_timeout: 2 * heartbeat,
            connect_timeout: (10 * heartbeat).min(Self::MOST_PATIENT),
            handshake_timeout: (10 * heartbeat).min(Self::MOST_PATIENT),
            backoff_min: (2 * heartbeat / 5).min(Self::MOST_PATIENT),
            backoff_max: (20 * heartbeat).min(Self::MOST_PATIENT),
        }
    }

    /// How many pings in a row go unanswered before a connection is given up.
    pub(crate) fn pings_in_silence(&self) -> u32 {
        let interval = self.keepalive_interval.as_nanos().max(1);
        u32::try_from(self.silence_timeout.as_nanos().div_ceil(interval)).unwrap_or(u32::MAX)
    }

    fn validate(&self) -> Result<(), StartError> {
        for (name, wait) in [
            ("keepalive_interval", self.keepalive_interval),
            ("silence_timeout", self.silence_timeout),
            ("connect_timeout", self.connect_timeout),
            ("handshake_timeout", self.handshake_timeout),
            ("backoff_min", self.backoff_min),
            ("backoff_max", self.backoff_max),
        ] {
            check_length(name, wait)?;
            if wait.is_zero() {
                return Err(StartError::Zero { name });
            }
        }
        let orders = [
            (
                ("silence_timeout", self.silence_timeout),
                ("twice the keepalive_interval", 2 * self.keepalive_interval),
            ),
            (("backoff_max", self.backoff_max), ("backoff_min", self.backoff_min)),
        ];
        match orders.iter().find(|((_, value), (_, least))| value < least) {
            Some(&((name, value), (least_name, least))) => {
                Err(StartError::TooShort { name, value, least_name, least })
            }
            None => Ok(()),
        }
    }
}

/// Bounds on memory, for each peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest frame that is accepted, and the largest message that is sent, in bytes. The
    /// same on every node.
    pub max_frame_bytes: usize,
    /// The most messages with log entries that wait to be written. Other messages are small and
    /// have room for a thousand more.
    pub max_queued_messages: usize,
    /// The most bytes in such messages. One message may always wait.
    pub max_queued_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_frame_bytes: 8 << 20, max_queued_messages: 4096, max_queued_bytes: 16 << 20 }
    }
}

impl Limits {
    /// From what every message without entries fits into, to what nobody sends at once.
    const FRAME_BYTES: RangeInclusive<usize> = 1 << 10..=1 << 30;

    fn validate(&self) -> Result<(), StartError> {
        let value_bytes = self.max_frame_bytes;
        if !Self::FRAME_BYTES.contains(&value_bytes) {
            return Err(StartError::FrameLimit { value_bytes });
        }
        if self.max_queued_messages == 0 {
            let name = "max_queued_messages";
            return Err(StartError::Zero { name });
        }
        Ok(())
    }
}

/// How snapshots travel, each on a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshots {
    /// The most bytes a second of each snapshot that is sent; `None` for no limit. The default, 32
    /// MiB, leaves a network of one gigabit a second most of its room.
    pub max_bytes_per_second: Option<NonZeroU64>,
    /// The largest piece that is sent or taken, in bytes: 16 MiB. The same on every node.
    pub max_piece_bytes: usize,
    /// A snapshot that stands still for so long is given up; until then, one whose connection
    /// broke goes on where it was. 10 seconds. The sender also needs to be let write a slice of its
    /// pace in it: 64 KiB, or less at less than 1.25 MiB a second.
    pub patience: Duration,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self {
            max_bytes_per_second: NonZeroU64::new(32 << 20),
            max_piece_bytes: 16 << 20,
            patience: Duration::from_secs(10),
        }
    }
}

impl Snapshots {
    fn validate(&self) -> Result<(), StartError> {
        check_length("snapshots.patience", self.patience)?;
        if self.patience.is_zero() {
            return Err(StartError::Zero { name: "snapshots.patience" });
        }
        match self.max_piece_bytes {
            0 => Err(StartError::Zero { name: "snapshots.max_piece_bytes" }),
            1..=Self::LARGEST_PIECE_BYTES => Ok(()),
            value_bytes => Err(StartError::PieceLimit { value_bytes }),
        }
    }

    /// What nobody sends at once.
    const LARGEST_PIECE_BYTES: usize = 1 << 30;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(peers: &[(u64, &str)]) -> Config {
        let peers =
            peers.iter().map(|(id, address)| (NodeId::new(*id), (*address).to_owned())).collect();
        Config::new(NodeId::new(1), 7, SocketAddr::from(([127, 0, 0, 1], 0)), peers)
    }

    fn refusal(config: &Config) -> String {
        config.validate().expect_err("refused").to_string()
    }

    #[test]
    fn the_presets_are_valid() {
        for heartbeat_ms in [0, 1, 50, 500, 2000, 60_000, u64::MAX] {
            let mut config = config(&[(2, "b:1"), (3, "c:1")]);
            config.timing = Timing::for_heartbeat(Duration::from_millis(heartbeat_ms));
            config.validate().expect("a heartbeat is enough to go by");
        }
        let fast = Timing::for_heartbeat(Duration::from_millis(50));
        assert_eq!(fast.pings_in_silence(), 4);
        assert_eq!(fast.backoff_min, Duration::from_millis(20));
        assert_eq!(fast.backoff_max, Duration::from_secs(1));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_value() {
        assert!(refusal(&config(&[(1, "a:1")])).contains("n1 is this node"));
        assert!(refusal(&config(&[(2, "b:1"), (2, "c:1")])).contains("n2 is named twice"));
        assert!(refusal(&config(&[(2, "")])).contains("n2 has no address"));

        let mut spaces = config(&[]);
        spaces.client_address = "a b:1".into();
        assert!(refusal(&spaces).contains("\"a b:1\""));

        let mut hasty = config(&[]);
        hasty.timing.silence_timeout = hasty.timing.keepalive_interval;
        assert!(refusal(&hasty).contains("silence_timeout (25ms)"));

        let mut tiny = config(&[]);
        tiny.limits.max_frame_bytes = 10;
        assert!(refusal(&tiny).contains("max_frame_bytes is 10"));
    }
}
