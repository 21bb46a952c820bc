//! Which nodes a bench asks.

use kv_client::kv_proto::ExitCode;
use kv_client::{ClusterStatus, NodeRow};

use crate::bench::args::{BenchArgs, Target, Workload};
use crate::failure::Failure;
use crate::status;

/// Which nodes are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The one that leads.
    Leader,
    /// All that are up, in turn.
    All,
}

impl Asked {
    /// What the flags say. Puts go to the leader.
    pub(crate) fn new(args: &BenchArgs) -> Self {
        match (args.workload, args.target) {
            (Workload::Get | Workload::GetStale, Target::All) => Self::All,
            _ => Self::Leader,
        }
    }

    /// The client addresses of the nodes to ask, at least one.
    pub(crate) fn addresses(self, cluster: &ClusterStatus) -> Result<Vec<String>, Failure> {
        let addresses = match self {
            Self::Leader => leader(cluster).into_iter().collect(),
            Self::All => up(cluster),
        };
        match (self, addresses.is_empty()) {
            (_, false) => Ok(addresses),
            (Self::Leader, true) => Err(unavailable(
                "no node leads at the moment: wait for an election, and see status",
            )),
            (Self::All, true) => {
                Err(unavailable("no node that is up tells where it serves clients"))
            }
        }
    }
}

/// The client addresses of all nodes that are up.
pub(crate) fn up(cluster: &ClusterStatus) -> Vec<String> {
    let up = cluster.nodes.iter().filter(|row| row.status.is_ok());
    up.filter_map(client_address).collect()
}

/// The client addresses of all nodes of which they are known.
pub(crate) fn known(cluster: &ClusterStatus) -> Vec<String> {
    cluster.nodes.iter().filter_map(client_address).collect()
}

fn leader(cluster: &ClusterStatus) -> Option<String> {
    let (leader, _) = status::leader(cluster)?;
    cluster.nodes.iter().find(|row| row.member.id == leader).and_then(client_address)
}

fn client_address(row: &NodeRow) -> Option<String> {
    row.member.client_address.clone()
}

fn unavailable(sentence: &str) -> Failure {
    Failure::Bench(sentence.into(), ExitCode::Unavailable)
}
