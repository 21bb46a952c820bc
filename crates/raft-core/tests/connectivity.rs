//! Partial connectivity: whatever links work, if some node reaches a majority both ways, there is
//! soon a leader that can commit, and it stays.

use std::time::Duration;

use raft_core::{NodeId, Outcome};

use crate::cluster::{Cluster, Link, n};

/// Every way in which one node can be linked to another.
fn all_links(size: u64) -> Vec<Link> {
    let pairs = (1..=size).flat_map(|from| (1..=size).map(move |to| (n(from), n(to))));
    pairs.filter(|(from, to)| from != to).collect()
}

/// Whether this node reaches, with itself, a majority both ways.
fn reaches_a_majority(id: NodeId, size: u64, working: &[Link]) -> bool {
    let both = |other: NodeId| working.contains(&(id, other)) && working.contains(&(other, id));
    let reached = (1..=size).map(n).filter(|other| *other != id && both(*other)).count() as u64;
    2 * (reached + 1) > size
}

/// Runs a cluster in which only these links work, from a leader that it had before or from none.
fn check(size: u64, working: &[Link], led_by: Option<NodeId>) {
    let mut cluster = Cluster::new(size);
    cluster.settle();
    if let Some(leader) = led_by {
        cluster.elect(leader);
    }
    for link in all_links(size) {
        if !working.contains(&link) {
            cluster.cut(link);
        }
    }
    let terms_before = cluster.witness.leaders().len();
    // A node that reaches nobody notices within an election timeout, the others in the next; then
    // there may be a few elections that the wrong node begins.
    cluster.run(Duration::from_secs(4));
    let terms_at_rest = cluster.witness.leaders().len();
    let leader = cluster.leader().unwrap_or_else(|| panic!("no leader with {working:?}"));
    let ticket = cluster.propose(leader, &["x"])[0];
    cluster.run(Duration::from_secs(3));
    let outcome = cluster.outcome(ticket);
    assert!(matches!(outcome, Some(Outcome::Committed(_))), "{outcome:?} with {working:?}");
    assert_eq!(cluster.leader(), Some(leader), "the leader flaps with {working:?}");
    assert_eq!(cluster.witness.leaders().len(), terms_at_rest, "leaders come and go: {working:?}");
    assert!(terms_at_rest - terms_before <= 3, "too many elections with {working:?}");
}

#[test]
fn every_directed_graph_of_three_nodes_with_a_reachable_majority_has_a_stable_leader() {
    let links = all_links(3);
    for graph in 0..1_u32 << links.len() {
        let is_working = |place: usize| graph & (1 << place) != 0;
        let places = links.iter().enumerate().filter(|(place, _)| is_working(*place));
        let working: Vec<_> = places.map(|(_, link)| *link).collect();
        if (1..=3).any(|id| reaches_a_majority(n(id), 3, &working)) {
            check(3, &working, None);
            (1..=3).for_each(|id| check(3, &working, Some(n(id))));
        }
    }
}

#[test]
fn every_undirected_graph_of_five_nodes_with_a_reachable_majority_has_a_stable_leader() {
    let links: Vec<_> = all_links(5).into_iter().filter(|(from, to)| from < to).collect();
    for graph in 0..1_u32 << links.len() {
        let is_working = |place: usize| graph & (1 << place) != 0;
        let places = links.iter().enumerate().filter(|(place, _)| is_working(*place));
        let working: Vec<_> =
            places.flat_map(|(_, (from, to))| [(*from, *to), (*to, *from)]).collect();
        if (1..=5).any(|id| reaches_a_majority(n(id), 5, &working)) {
            // Every graph is there with its nodes in every order, so n1 stands for any leader.
            check(5, &working, None);
            check(5, &working, Some(n(1)));
        }
    }
}

/// Between a leader and one follower nothing gets through any more, for a long time. The others see
/// both. (Without pre-votes, that follower would depose one leader after the other.)
#[test]
fn one_cut_link_does_not_make_leaders_come_and_go() {
    for size in [3, 5] {
        let mut cluster = Cluster::new(size);
        cluster.elect(n(1));
        cluster.run(Duration::from_millis(50));
        let terms = cluster.witness.leaders().len();
        cluster.cut_between(&[1], &[2]);
        for second in 0..10 {
            cluster.run(Duration::from_secs(1));
            let ticket = cluster.propose(n(1), &[&format!("second {second}")])[0];
            cluster.settle();
            assert!(matches!(cluster.outcome(ticket), Some(Outcome::Committed(_))), "{second}");
        }
        assert_eq!(cluster.witness.leaders().len(), terms, "nobody else was elected");
    }
}
