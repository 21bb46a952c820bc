//! The state of a whole cluster.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use raft_core::NodeId;

use crate::network::Network;
use crate::node::Node;
use crate::past::Past;
use crate::rules::Rule;
use crate::scenario::Budget;

/// One state of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// `n1` first. A node is shared by all states in which it is the same.
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) network: Network,
    /// What has happened and must not be contradicted.
    pub(crate) past: Past,
    /// What may still come from outside.
    pub(crate) left: Budget,
    /// How many changes of the members were taken in.
    pub(crate) changes_begun: usize,
    pub(crate) broken: Option<Rule>,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for node in &self.nodes {
            state.write_u64(node.fingerprint);
        }
        let Self { network, past, left, changes_begun, broken, .. } = self;
        (network, past, left, changes_begun, broken).hash(state);
    }
}

impl State {
    /// The node of this name, which must be one of the scenario's.
    pub(crate) fn node(&self, id: NodeId) -> &Arc<Node> {
        &self.nodes[place(id)]
    }

    pub(crate) fn put(&mut self, id: NodeId, node: Node) {
        self.nodes[place(id)] = Arc::new(node);
    }

    /// The rule that was broken on the way here.
    pub fn broken(&self) -> Option<Rule> {
        self.broken
    }
}

/// The nodes, and how many messages are under way.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            write!(f, "{node}; ")?;
        }
        write!(f, "{} under way", self.network.iter().count())
    }
}

/// Where the node lies; the first is `n1`.
fn place(id: NodeId) -> usize {
    usize::try_from(id.get()).unwrap_or(usize::MAX) - 1
}
