//! What happens inside, in words: for people who watch a cluster work.

use std::path::Path;

use raft_core::{Event, NodeId, RoleChange, RoleKind, VoteAnswer};

use crate::members::Members;

/// So many of something: "1 entry", "2 entries".
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// So many entries of a log.
pub fn entries(count: u64) -> String {
    counted(count, "entry", "entries")
}

/// A change of role, as a sentence without its subject.
pub fn role(change: &RoleChange, own: NodeId) -> String {
    let term = change.term;
    match (change.role, change.leader) {
        (RoleKind::Leader, _) => format!("leads term {term}"),
        (RoleKind::Candidate, _) => format!("is a candidate in term {term}"),
        (RoleKind::PreCandidate, _) => format!("asks who would vote for it, still in term {term}"),
        (RoleKind::Follower, Some(leader)) if leader != own => {
            format!("follows {leader} in term {term}")
        }
        (RoleKind::Follower, _) => format!("waits for a leader in term {term}"),
    }
}

/// A rare moment, as a sentence without its subject.
pub fn event(event: &Event) -> String {
    match event {
        Event::ElectionTimeout { next_term } => {
            format!("heard of no leader for too long: could it win term {next_term}?")
        }
        Event::Campaign { term } => format!("campaigns in term {term}"),
        Event::VoteAsked { candidate, term, pre, answer } => {
            let vote = if *pre { "pre-vote" } else { "vote" };
            format!("was asked by {candidate} for its {vote} in term {term}: {}", reason(*answer))
        }
        Event::Elected { term } => format!("won the election of term {term}"),
        Event::QuorumLost { term } => {
            format!("hears from no majority and gives up the leadership of term {term}")
        }
        Event::AskedToLead { by } => {
            format!("was asked by {by} to take over the leadership, and campaigns")
        }
        Event::DiskStalled { term } => {
            format!("waits for its disk and gives up the leadership of term {term}")
        }
        Event::LeftOut { term } => {
            format!("has no vote any more and gives up the leadership of term {term}")
        }
        Event::Truncated { from } => {
            format!("removes its entries from index {from} on: the leader has others there")
        }
        Event::Backtracked { peer, next } => {
            format!("finds that the log of {peer} differs, and tries again at index {next}")
        }
        Event::SnapshotNeeded { peer, next } => {
            format!("no longer has entry {next}, which {peer} needs: a snapshot must go there")
        }
        Event::SnapshotInstalled { at } => {
            format!("has a snapshot in the place of its log up to index {}", at.index)
        }
        Event::Recovered { last } => {
            format!(
                "has back what its damaged log had lost, up to index {}: votes again",
                last.index
            )
        }
        Event::MessageDropped { from, reason } => {
            format!("dropped a message of {from} that makes no sense: {reason:?}")
        }
    }
}

/// Why a node stops whose committed entries are not those of its leader.
pub fn contradiction(own: NodeId, leader: NodeId) -> String {
    format!(
        "the log of the leader, node {leader}, contradicts what node {own} knows to be committed, \
         so node {own} stops at once: some node was started on lost or older data. Keep this data \
         directory, it may hold what the others lost, and look at each with 'kv-server log inspect'"
    )
}

/// Why a node stops that `peer` knows by another data directory than the one that it has.
pub fn other_directory(own: NodeId, peer: NodeId, members: &Members, dir: &Path) -> String {
    let address = members.address(peer.get()).map(|address| format!(" at {address}"));
    let (address, dir) = (address.unwrap_or_default(), dir.display());
    format!(
        "{peer}{address} refuses this node, because it met {own} with another data directory than \
         {dir}: {own} may have acknowledged there what is missing here, so it stops at once. Give \
         it that directory back; or, if all other nodes run, move {dir} away and start it with \
         --rejoin"
    )
}

fn reason(answer: VoteAnswer) -> &'static str {
    match answer {
        VoteAnswer::Granted => "yes",
        VoteAnswer::LogBehind => "no, the candidate's log is behind",
        VoteAnswer::AlreadyVoted => "no, it voted for another",
        VoteAnswer::LeaderAlive => "no, it hears from a leader",
        VoteAnswer::OldTerm => "no, that term is over",
        VoteAnswer::Recovering => "no, its own log lost entries and does not have them back yet",
    }
}
