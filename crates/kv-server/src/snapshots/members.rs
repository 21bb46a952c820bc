//! The members of the cluster as bytes, as they are kept with the state.

use std::collections::BTreeSet;

use raft_core::{ClusterConfig, NodeId};
use wire::codec;

/// Voters, outgoing voters, learners: as a configuration in the log, `docs/format.md`.
type Row = (Vec<u64>, Option<Vec<u64>>, Vec<u64>);

/// The bytes of `cluster`.
pub(crate) fn write_members(cluster: &ClusterConfig) -> Vec<u8> {
    let ids = |ids: &BTreeSet<NodeId>| ids.iter().map(|id| id.get()).collect::<Vec<_>>();
    let outgoing = cluster.outgoing.as_ref().map(ids);
    let row: Row = (ids(&cluster.voters), outgoing, ids(&cluster.learners));
    let mut bytes = Vec::new();
    // It fails only for clusters of a hundred thousand nodes.
    if codec::encode(&mut bytes, &row).is_err() {
        bytes.clear();
    }
    bytes
}

/// The members that `bytes` tell of; no bytes mean the founders.
///
/// # Errors
///
/// If they tell something else.
pub(crate) fn read_members(
    bytes: &[u8],
    founders: &ClusterConfig,
) -> Result<ClusterConfig, String> {
    if bytes.is_empty() {
        return Ok(founders.clone());
    }
    let (voters, outgoing, learners): Row = codec::decode_all(bytes)
        .map_err(|error| format!("the members that the state names make no sense: {error}"))?;
    let ids = |ids: Vec<u64>| ids.into_iter().map(NodeId::new).collect();
    Ok(ClusterConfig { voters: ids(voters), outgoing: outgoing.map(ids), learners: ids(learners) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_back_and_none_are_the_founders() {
        let founders = ClusterConfig::of_voters([1, 2, 3].map(NodeId::new));
        assert_eq!(read_members(&[], &founders), Ok(founders.clone()));
        let joint = ClusterConfig {
            voters: [4, 5].map(NodeId::new).into(),
            outgoing: Some(founders.voters.clone()),
            learners: [9].map(NodeId::new).into(),
        };
        let bytes = write_members(&joint);
        assert_eq!(read_members(&bytes, &founders), Ok(joint));
        for cut in 1..bytes.len() {
            assert!(read_members(&bytes[..cut], &founders).is_err(), "cut at {cut}");
        }
    }
}
