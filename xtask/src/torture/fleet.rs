//! The nodes of one run: started, killed, and asked how they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use kv_client::Client;
use kv_client::kv_proto::{NodeStatus, Role};

use super::writers;
use crate::failure::{Context, Failure};
use crate::members::{Member, Members};
use crate::process::{Node, NodeSpec, Output};

/// How long a cluster may take for what should take a second: after that something is wrong, and
/// not merely slow.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How often nodes are asked how they are while something is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The nodes, running or not.
#[derive(Debug)]
pub(super) struct Fleet {
    program: PathBuf,
    folder: PathBuf,
    members: Members,
    running: BTreeMap<u16, Node>,
    client: Client,
}

impl Fleet {
    /// Starts a new cluster of `count` nodes with everything they write in `folder`.
    ///
    /// # Errors
    ///
    /// If a node cannot be started.
    pub(super) fn start(program: &Path, folder: &Path, count: u16) -> Result<Self, Failure> {
        let members = Members::on_free_ports(count)?;
        let client = writers::client(&members.client_addresses(), PATIENCE)?;
        let mut fleet = Self {
            program: program.into(),
            folder: folder.into(),
            members,
            running: BTreeMap::new(),
            client,
        };
        fleet.start_all()?;
        Ok(fleet)
    }

    /// Where clients reach the nodes.
    pub(super) fn client_addresses(&self) -> Vec<String> {
        self.members.client_addresses()
    }

    /// A client of its own for somebody who reads.
    ///
    /// # Errors
    ///
    /// As [`writers::client`].
    pub(super) fn client(&self) -> Result<Client, Failure> {
        writers::client(&self.client_addresses(), PATIENCE)
    }

    /// Starts every node that is not running.
    ///
    /// # Errors
    ///
    /// If one cannot be started.
    pub(super) fn start_all(&mut self) -> Result<(), Failure> {
        for member in self.members.clone().iter() {
            if !self.running.contains_key(&member.id) {
                self.start_node(member)?;
            }
        }
        Ok(())
    }

    fn start_node(&mut self, member: Member) -> Result<(), Failure> {
        let spec = NodeSpec {
            program: self.program.clone(),
            member,
            members: self.members.clone(),
            data_dir: self.folder.join(format!("n{}", member.id)),
            flags: Vec::new(),
            // Elections and connections: little to write, and all that is asked for afterwards.
            log_filter: Some("info"),
            is_shielded: false,
        };
        let node = Node::start(&spec, &Output::File(self.log(member.id)))?;
        self.running.insert(member.id, node);
        Ok(())
    }

    fn log(&self, id: u16) -> PathBuf {
        self.folder.join(format!("n{id}.log"))
    }

    /// Kills this node.
    ///
    /// # Errors
    ///
    /// If it cannot be killed.
    pub(super) fn kill(&mut self, id: u16) -> Result<(), Failure> {
        self.running.remove(&id).map_or(Ok(()), |mut node| node.kill())
    }

    /// Kills every node at the same moment.
    ///
    /// # Errors
    ///
    /// If one cannot be killed.
    pub(super) fn kill_all(&mut self) -> Result<(), Failure> {
        let mut killed = std::mem::take(&mut self.running);
        Node::kill_all(killed.values_mut())
    }

    /// Waits for a leader; returns which node it is.
    ///
    /// # Errors
    ///
    /// If none appears in good time, or a node ended by itself.
    pub(super) fn leader(&mut self) -> Result<u16, Failure> {
        self.wait_for("a leader", |statuses| {
            let leaders = statuses.iter().filter(|status| status.role == Role::Leader);
            let latest = leaders.max_by_key(|status| status.term)?;
            u16::try_from(latest.member.id).ok()
        })
    }

    /// Waits until this node has applied whatever was committed anywhere when this was called.
    ///
    /// # Errors
    ///
    /// If it does not get there in good time, or a node ended by itself.
    pub(super) fn wait_until_caught_up(&mut self, id: u16) -> Result<(), Failure> {
        let goal = self.wait_for("a node that answers", |statuses| {
            statuses.iter().map(|status| status.commit_index).max()
        })?;
        self.wait_for(&format!("node {id} to apply entry {goal}"), |statuses| {
            let mut this = statuses.iter().filter(|status| status.member.id == u64::from(id));
            this.any(|status| status.applied_index >= goal).then_some(())
        })
    }

    /// Waits until all nodes have applied the same entries, which happens soon where nobody
    /// writes; then their states must be equal.
    ///
    /// # Errors
    ///
    /// If they are not, if they do not get there in good time, or a node ended by itself.
    pub(super) fn compare_states(&mut self) -> Result<(), Failure> {
        let count = self.members.iter().count();
        let states = self.wait_for("all nodes to apply the same entries", |statuses| {
            let applied = statuses.first()?.applied_index;
            let are_level = statuses.iter().all(|status| status.applied_index == applied);
            (statuses.len() == count && are_level).then(|| states_of(statuses))
        })?;
        differing_states(&states).map_or(Ok(()), Err)
    }

    /// Asks all nodes how they are until `answer` finds in it what it looks for.
    fn wait_for<T>(
        &mut self,
        what: &str,
        answer: impl Fn(&[NodeStatus]) -> Option<T>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.check_all_alive()?;
            let statuses = self.statuses();
            if let Some(answer) = answer(&statuses) {
                return Ok(answer);
            }
            if Instant::now() >= deadline {
                let seen = statuses.iter().map(summary).collect::<Vec<_>>().join("; ");
                return Err(Failure::new(format!(
                    "waited {PATIENCE:?} for {what} in vain; the nodes say: {seen}"
                )));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// What the nodes that answer say of themselves; none if no node does.
    fn statuses(&mut self) -> Vec<NodeStatus> {
        let rows = self.client.cluster_status().map(|status| status.nodes).unwrap_or_default();
        rows.into_iter().filter_map(|row| row.status.ok()).collect()
    }

    /// Adds to a failure that a node ended by itself, if one did: then that is the cause.
    pub(super) fn explain(&mut self, failure: &Failure) -> Failure {
        let cause = self.check_all_alive().err().filter(|cause| cause != failure);
        cause.map_or(failure.clone(), |cause| Failure::new(format!("{failure}; {cause}")))
    }

    /// A node that should be running and is not has failed.
    fn check_all_alive(&mut self) -> Result<(), Failure> {
        for (id, node) in &mut self.running {
            if let Some(status) = node.exit_status()? {
                let log = self.folder.join(format!("n{id}.log"));
                let said =
                    std::fs::read_to_string(&log).context(|| "cannot read its log".into())?;
                let last = said.lines().last().unwrap_or("nothing").to_owned();
                return Err(Failure::new(format!(
                    "node {id} ended by itself ({status}); the last it said: {last}"
                )));
            }
        }
        Ok(())
    }
}

fn summary(status: &NodeStatus) -> String {
    format!(
        "n{} {} in term {}, committed {}, applied {}",
        status.member.id,
        status.role.name(),
        status.term,
        status.commit_index,
        status.applied_index
    )
}

fn states_of(statuses: &[NodeStatus]) -> Vec<(u64, u64)> {
    statuses.iter().map(|status| (status.member.id, status.state_digest)).collect()
}

/// What to say of nodes, each with the digest of its state, that are not all equal.
fn differing_states(states: &[(u64, u64)]) -> Option<Failure> {
    let mut neighbours = states.iter().zip(states.iter().skip(1));
    if neighbours.all(|((_, one), (_, other))| one == other) {
        return None;
    }
    let shown = states.iter().map(|(id, digest)| format!("n{id} {digest:016x}"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    Some(Failure::new(format!("nodes applied the same entries and differ: {shown}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_differ_are_shown() {
        assert_eq!(differing_states(&[(1, 7), (2, 7), (3, 7)]), None);
        let failure = differing_states(&[(1, 7), (2, 7), (3, 8)]).expect("one differs");
        assert!(failure.to_string().ends_with("n3 0000000000000008"), "{failure}");
    }

    #[test]
    fn a_node_that_ends_by_itself_is_a_failure_that_quotes_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // A program that takes no flags of ours, complains, and ends.
        let mut fleet = Fleet::start(Path::new("ls"), folder.path(), 1).expect("it can be run");
        let failure = fleet.leader().expect_err("it does not lead");
        let failure = failure.to_string();
        assert!(failure.contains("node 1 ended by itself (exit status: "), "{failure}");
    }
}
