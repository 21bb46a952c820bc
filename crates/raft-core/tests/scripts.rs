//! Stories: a script goes in, a transcript comes out, both in one file under `tests/scripts`.
//!
//! After a change that means to change them, write the transcripts anew with
//! `UPDATE_GOLDENFILES=1 cargo test -p raft-core --test raft scripts` and read the difference.
//!
//! A transcript has a line for each input of a node and, indented, one for each of its actions.
//! Positions are `term/index`.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use raft_core::{
    Body, Config, ConfigChange, Entries, Entry, Index, Message, NodeId, Payload, Position,
    ReadMode, Term,
};

use crate::cluster::{Cluster, Disk, Link, hard_state, log_of_terms, n, show};

/// What a script can say. Nodes are `n1`, `n2` and so on.
#[derive(goldenscript::Command)]
enum Command {
    /// Nodes 1 to `nodes`, not yet started, and so many after them that may join. Limits in bytes
    /// or messages.
    Cluster {
        nodes: u64,
        #[arg(key, optional)]
        joining: u64,
        #[arg(key)]
        cache: Option<usize>,
        #[arg(key)]
        append: Option<usize>,
        #[arg(key)]
        inflight: Option<usize>,
        #[arg(key)]
        uncommitted: Option<usize>,
        /// Leases for reads, with so many milliseconds of drift.
        #[arg(key)]
        lease: Option<u64>,
        /// A node that waits a second longer than the others before it campaigns.
        #[arg(key)]
        patient: Option<Node>,
    },
    /// What earlier runs left on a disk: a log of entries of these terms.
    Disk {
        node: Node,
        #[arg(optional)]
        log: Vec<u64>,
        #[arg(key)]
        term: Option<u64>,
        #[arg(key)]
        vote: Option<u64>,
    },
    /// Starts these nodes, or all.
    Start {
        #[arg(optional)]
        nodes: Vec<Node>,
    },
    /// Stops a node; of its pending writes, the first `kept` reach the disk. With `replaced`, its
    /// state machine has just been replaced by the snapshot that is being installed.
    Crash {
        node: Node,
        #[arg(key, optional)]
        kept: usize,
        #[arg(key, optional)]
        replaced: bool,
    },
    /// The log of a node that is down is lost from this index on.
    Damage {
        node: Node,
        #[arg(key)]
        from: u64,
    },
    /// The state machine of this node becomes durable, and its log may be cut, but for the last
    /// `keep` entries.
    Compact {
        node: Node,
        #[arg(key, optional)]
        keep: u64,
    },
    /// A node begins to send the snapshot that another needs.
    Send {
        node: Node,
        to: Node,
    },
    /// A node hears whether the snapshot has arrived that it sent.
    Sent {
        node: Node,
        to: Node,
    },
    /// The snapshot that came takes the place of the state machine, unless that `fails`.
    Install {
        node: Node,
        #[arg(key, optional)]
        fails: bool,
    },
    /// The clock goes on to the deadline of this node, and only it is woken.
    Timeout(Node),
    /// The clock goes on by so many milliseconds; whoever is due is woken.
    Advance(u64),
    /// The clock goes on by so many milliseconds, and nobody is woken.
    Pass(u64),
    /// The cluster runs for so many milliseconds, with disks and links that take no time.
    Run(u64),
    /// Delivers what is under way now and fits; not what comes of it.
    Deliver {
        #[arg(key)]
        from: Option<Node>,
        #[arg(key)]
        to: Option<Node>,
        #[arg(key)]
        kind: Option<String>,
        #[arg(key)]
        count: Option<usize>,
    },
    /// Loses what is under way and fits.
    Lose {
        #[arg(key)]
        from: Option<Node>,
        #[arg(key)]
        to: Option<Node>,
        #[arg(key)]
        kind: Option<String>,
        #[arg(key)]
        count: Option<usize>,
    },
    /// Takes what is under way and fits aside, for `release`.
    Delay {
        #[arg(key)]
        from: Option<Node>,
        #[arg(key)]
        to: Option<Node>,
        #[arg(key)]
        kind: Option<String>,
    },
    /// What was taken aside arrives.
    Release,
    /// What is under way.
    Network,
    /// The disks of these nodes, or of all, finish their writes, or the first `count` of them.
    Persist {
        #[arg(optional)]
        nodes: Vec<Node>,
        #[arg(key)]
        count: Option<usize>,
    },
    /// Entries asked for are read back; with `fails`, they cannot be.
    ReadBack {
        node: Node,
        #[arg(key, optional)]
        fails: bool,
    },
    /// Everything happens among these nodes, or all, that needs no time.
    Settle {
        #[arg(optional)]
        nodes: Vec<Node>,
    },
    Propose {
        node: Node,
        commands: Vec<String>,
    },
    Read {
        node: Node,
        #[arg(key, optional)]
        lease: bool,
    },
    /// A change of the members: `add`, `promote`, `demote` or `remove` and a node, or `replace`
    /// and the voters, with learners after commas.
    Change {
        node: Node,
        what: String,
        nodes: Vec<Node>,
        #[arg(key, optional)]
        learners: String,
    },
    /// Hands leadership over.
    Transfer {
        node: Node,
        to: Node,
    },
    Campaign(Node),
    /// Cuts every link between these nodes and all others, or the one link given.
    Cut {
        #[arg(optional)]
        nodes: Vec<Node>,
        #[arg(key)]
        from: Option<Node>,
        #[arg(key)]
        to: Option<Node>,
    },
    Heal,
    /// A node is told that its connection to another broke.
    Unreachable {
        node: Node,
        peer: Node,
    },
    /// A message that no correct node would send.
    Forge {
        kind: String,
        #[arg(key)]
        from: Node,
        #[arg(key)]
        to: Node,
        #[arg(key)]
        term: u64,
        #[arg(key)]
        last: Option<At>,
        #[arg(key)]
        prev: Option<At>,
        #[arg(key)]
        hint: Option<At>,
        /// `term/index` of each entry, with commas between.
        #[arg(key, optional)]
        entries: String,
        #[arg(key, optional)]
        commit: u64,
        #[arg(key, optional)]
        round: u64,
        #[arg(key, optional)]
        id: u64,
        #[arg(key, optional)]
        yes: bool,
    },
    /// The logs, as the terms of their entries.
    Log,
    /// The members of the cluster as each node sees them.
    Members,
    Status,
}

#[derive(Clone, Copy)]
struct Node(NodeId);

impl FromStr for Node {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix('n').and_then(|number| number.parse().ok());
        number.map(|number| Self(n(number))).ok_or_else(|| format!("{text} is no node, n1 is"))
    }
}

#[derive(Clone, Copy, Default)]
struct At(Position);

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(term, index)| {
            Some((Term::new(term.parse().ok()?), Index::new(index.parse().ok()?)))
        });
        let position = numbers.map(|(term, index)| Self(Position::new(term, index)));
        position.ok_or_else(|| format!("{text} is no position, 1/2 is"))
    }
}

/// Which messages a command means.
struct Filter<'a> {
    from: Option<Node>,
    to: Option<Node>,
    kind: Option<&'a str>,
}

impl Filter<'_> {
    fn fits(&self, message: &Message) -> bool {
        self.from.is_none_or(|from| from.0 == message.from)
            && self.to.is_none_or(|to| to.0 == message.to)
            && self.kind.is_none_or(|kind| kind == show::kind(&message.body))
    }

    /// Takes at most `count` of the messages that are under way now.
    fn take(&self, cluster: &mut Cluster, count: Option<usize>) -> Vec<Message> {
        let mut taken = Vec::new();
        for link in cluster.network.busy_links() {
            let fitting = |message: &Message| self.fits(message);
            while taken.len() < count.unwrap_or(usize::MAX)
                && let Some(at) = cluster.network.find(link, fitting)
            {
                taken.extend(cluster.network.take(link, at));
            }
        }
        taken
    }
}

#[derive(Default)]
struct Stage {
    cluster: Option<Cluster>,
    delayed: Vec<Message>,
}

impl goldenscript::Runner for Stage {
    type Command = Command;

    fn run(
        &mut self,
        command: &Command,
        _context: &goldenscript::Context,
    ) -> Result<String, Box<dyn Error>> {
        if let Command::Cluster { nodes, joining, .. } = command {
            let change = |config: &mut Config| configure(config, command);
            let mut cluster = Cluster::stopped(*nodes, change, |_| Disk::default());
            for id in (nodes + 1..=nodes + joining).map(n) {
                let mut config = Config::new(id);
                change(&mut config);
                cluster.add_joining(config);
            }
            cluster.record();
            self.cluster = Some(cluster);
            return Ok(String::new());
        }
        let cluster = self.cluster.as_mut().ok_or("there is no cluster yet")?;
        let seen = match command {
            Command::Log => logs(cluster),
            Command::Members => members(cluster),
            Command::Status => statuses(cluster),
            Command::Network => network(cluster),
            _ => {
                act(cluster, &mut self.delayed, command)?;
                String::new()
            }
        };
        Ok(cluster.take_transcript() + &seen)
    }
}

fn configure(config: &mut Config, command: &Command) {
    let Command::Cluster { cache, append, inflight, uncommitted, lease, patient, .. } = command
    else {
        return;
    };
    let limits = &mut config.limits;
    let or = |given: &Option<usize>, default: usize| given.unwrap_or(default);
    limits.max_cached_bytes = or(cache, limits.max_cached_bytes);
    limits.max_append_bytes = or(append, limits.max_append_bytes);
    limits.max_inflight_messages = or(inflight, limits.max_inflight_messages);
    limits.max_uncommitted_bytes = or(uncommitted, limits.max_uncommitted_bytes);
    config.lease_drift = lease.map(Duration::from_millis);
    if patient.is_some_and(|node| node.0 == config.id) {
        config.campaign_delay = Duration::from_secs(1);
    }
}

fn act(
    cluster: &mut Cluster,
    delayed: &mut Vec<Message>,
    command: &Command,
) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Disk { node, log, term, vote } => {
            let latest = log.last().copied().unwrap_or_default();
            let hard_state = hard_state(term.unwrap_or(latest), *vote);
            cluster.set_disk(node.0, Disk::with(hard_state, log_of_terms(log)));
        }
        Command::Start { nodes } => these(cluster, nodes).for_each(|id| cluster.restart(id)),
        Command::Crash { node, kept, replaced } => {
            if *replaced {
                cluster.replace_state(node.0);
            }
            cluster.crash(node.0, *kept);
        }
        Command::Damage { .. }
        | Command::Compact { .. }
        | Command::Send { .. }
        | Command::Sent { .. }
        | Command::Install { .. } => act_on_snapshots(cluster, command),
        Command::Timeout(node) => cluster.time_out(node.0),
        Command::Advance(millis) => cluster.advance(Duration::from_millis(*millis)),
        Command::Pass(millis) => cluster.now = cluster.now + Duration::from_millis(*millis),
        Command::Run(millis) => cluster.run(Duration::from_millis(*millis)),
        Command::Deliver { .. }
        | Command::Lose { .. }
        | Command::Delay { .. }
        | Command::Release => move_messages(cluster, delayed, command),
        Command::Persist { nodes, count } => {
            let count = count.unwrap_or(usize::MAX);
            these(cluster, nodes).for_each(|id| cluster.persist(id, count));
        }
        Command::ReadBack { node, fails } => {
            cluster.answer_log_read(node.0, if *fails { 0 } else { usize::MAX });
        }
        Command::Settle { nodes } => {
            let among: Vec<_> = these(cluster, nodes).collect();
            cluster.settle_among(&among);
        }
        Command::Propose { node, commands } => {
            let commands: Vec<_> = commands.iter().map(String::as_str).collect();
            cluster.propose(node.0, &commands);
        }
        Command::Read { node, lease } => {
            let mode = if *lease { ReadMode::Lease } else { ReadMode::Confirmed };
            cluster.read_by(node.0, mode);
        }
        Command::Change { .. } | Command::Transfer { .. } | Command::Campaign(_) => {
            reorganise(cluster, command)?;
        }
        Command::Cut { nodes, from, to } => cut(cluster, nodes, *from, *to),
        Command::Heal => cluster.heal(),
        Command::Unreachable { node, peer } => cluster.unreachable(node.0, peer.0),
        Command::Forge { .. } => cluster.receive(forged(command)?),
        Command::Cluster { .. }
        | Command::Log
        | Command::Members
        | Command::Status
        | Command::Network => {}
    }
    Ok(())
}

/// Delivers messages, loses them, and takes them aside.
fn move_messages(cluster: &mut Cluster, delayed: &mut Vec<Message>, command: &Command) {
    match command {
        Command::Deliver { from, to, kind, count } => {
            let filter = Filter { from: *from, to: *to, kind: kind.as_deref() };
            for message in filter.take(cluster, *count) {
                cluster.receive(message);
            }
        }
        Command::Lose { from, to, kind, count } => {
            let filter = Filter { from: *from, to: *to, kind: kind.as_deref() };
            let lost = filter.take(cluster, *count);
            cluster.note_all("lose", &lost);
        }
        Command::Delay { from, to, kind } => {
            let filter = Filter { from: *from, to: *to, kind: kind.as_deref() };
            let taken = filter.take(cluster, None);
            cluster.note_all("delay", &taken);
            delayed.extend(taken);
        }
        Command::Release => delayed.drain(..).for_each(|message| cluster.receive(message)),
        _ => {}
    }
}

/// Cuts logs, damages them, and replaces them by snapshots.
fn act_on_snapshots(cluster: &mut Cluster, command: &Command) {
    match command {
        Command::Damage { node, from } => cluster.damage(node.0, Index::new(*from)),
        Command::Compact { node, keep } => cluster.compact(node.0, *keep),
        Command::Send { node, to } => cluster.send_snapshot(node.0, to.0),
        Command::Sent { node, to } => cluster.end_transfer(node.0, to.0),
        Command::Install { node, fails } => cluster.install(node.0, !fails),
        _ => {}
    }
}

/// Changes who is a member, and who leads.
fn reorganise(cluster: &mut Cluster, command: &Command) -> Result<(), String> {
    match command {
        Command::Change { node, what, nodes, learners } => {
            cluster.change(node.0, config_change(what, nodes, learners)?);
        }
        Command::Transfer { node, to } => {
            cluster.transfer(node.0, to.0);
        }
        Command::Campaign(node) => cluster.campaign(node.0),
        _ => {}
    }
    Ok(())
}

fn config_change(what: &str, nodes: &[Node], learners: &str) -> Result<ConfigChange, String> {
    let voters: BTreeSet<_> = nodes.iter().map(|node| node.0).collect();
    let learner = |text: &str| Node::from_str(text).map(|node| node.0);
    let learners = learners.split_terminator(',').map(learner).collect::<Result<_, _>>()?;
    let one = nodes.first().map(|node| node.0).ok_or("which node?")?;
    match what {
        "add" => Ok(ConfigChange::AddLearner(one)),
        "promote" => Ok(ConfigChange::Promote(one)),
        "demote" => Ok(ConfigChange::Demote(one)),
        "remove" => Ok(ConfigChange::Remove(one)),
        "replace" => Ok(ConfigChange::Replace { voters, learners }),
        _ => Err(format!("there is no change {what}")),
    }
}

fn these(cluster: &Cluster, nodes: &[Node]) -> impl Iterator<Item = NodeId> + use<> {
    let all = cluster.nodes.keys().copied().collect::<Vec<_>>();
    let named = nodes.iter().map(|node| node.0).collect::<Vec<_>>();
    if named.is_empty() { all.into_iter() } else { named.into_iter() }
}

fn cut(cluster: &mut Cluster, nodes: &[Node], from: Option<Node>, to: Option<Node>) {
    if let (Some(from), Some(to)) = (from, to) {
        let link: Link = (from.0, to.0);
        return cluster.cut(link);
    }
    let inside: Vec<_> = nodes.iter().map(|node| node.0.get()).collect();
    let all = cluster.nodes.keys().map(|id| id.get());
    let outside: Vec<_> = all.filter(|id| !inside.contains(id)).collect();
    cluster.cut_between(&inside, &outside);
}

fn forged(command: &Command) -> Result<Message, Box<dyn Error>> {
    let Command::Forge { kind, from, to, term, last, prev, hint, entries, commit, round, id, yes } =
        command
    else {
        return Err("not a forged message".into());
    };
    let at = |position: &Option<At>| position.unwrap_or_default().0;
    let (commit, prev) = (Index::new(*commit), at(prev));
    let body = match kind.as_str() {
        "PreVote" => Body::PreVote { last: at(last) },
        "PreVoteReply" => Body::PreVoteReply { granted: *yes },
        "Vote" => Body::Vote { last: at(last) },
        "VoteReply" => Body::VoteReply { granted: *yes },
        "Append" => Body::Append { prev, entries: forged_entries(entries)?, commit },
        "Appended" => Body::Appended { matched: at(last).index },
        "AppendRejected" => Body::AppendRejected { prev: prev.index, hint: at(hint) },
        "Heartbeat" => Body::Heartbeat { commit, round: *round },
        "HeartbeatReply" => Body::HeartbeatReply { round: *round },
        "ReadIndex" => Body::ReadIndex { id: *id, mode: ReadMode::Confirmed },
        "ReadIndexReply" => Body::ReadIndexReply { id: *id, index: commit },
        "TimeoutNow" => Body::TimeoutNow { last: at(last) },
        "TransferVote" => Body::TransferVote { last: at(last) },
        "Recover" => Body::Recover { id: *id, last: at(last) },
        "RecoverReply" => Body::RecoverReply { id: *id, last: at(last) },
        _ => return Err(format!("there is no message {kind}").into()),
    };
    Ok(Message { from: from.0, to: to.0, term: Term::new(*term), body })
}

fn forged_entries(positions: &str) -> Result<Entries, String> {
    let entry = |text: &str| {
        let at = At::from_str(text)?.0;
        Ok(Entry { at, payload: Payload::Noop })
    };
    positions.split_terminator(',').map(entry).collect()
}

fn logs(cluster: &Cluster) -> String {
    cluster.nodes.values().fold(String::new(), |mut text, node| {
        let newest = &node.disk.newest;
        let _ = writeln!(text, "{} log {}", node.id, show::log(newest.start(), newest.entries()));
        text
    })
}

fn members(cluster: &Cluster) -> String {
    let up = cluster.nodes.values().filter(|node| node.raft.is_some());
    up.fold(String::new(), |mut text, node| {
        let _ = writeln!(text, "{} {}", node.id, show::members(cluster.members(node.id)));
        text
    })
}

fn statuses(cluster: &Cluster) -> String {
    cluster.nodes.values().fold(String::new(), |mut text, node| {
        let line = node.status().map_or("down".to_owned(), |status| show::status(&status));
        let _ = writeln!(text, "{} {line}", node.id);
        text
    })
}

fn network(cluster: &Cluster) -> String {
    let links = cluster.network.busy_links();
    let messages = links.iter().flat_map(|link| cluster.network.queued(*link));
    messages.map(|message| show::message(message) + "\n").collect()
}

/// One test for each story.
macro_rules! stories {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
            goldenscript::run(&mut Stage::default(), scripts.join(stringify!($name)))
                .expect("the script can be played");
        })*

        #[test]
        fn every_story_is_told() {
            let told = [$(stringify!($name)),*];
            let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
            for script in scripts.read_dir().expect("the folder of the scripts") {
                let name = script.expect("a script").file_name();
                assert!(told.iter().any(|told| name == *told), "{name:?} is not in the list");
            }
        }
    };
}

stories! {
    a_single_node_leads_by_itself
    election_in_three_nodes
    split_vote
    a_cut_off_node_stays_quiet
    an_old_log_cannot_win
    promises_wait_for_the_disk
    check_quorum
    replication_and_pipelining
    backtracking_by_term
    figure_7
    figure_8
    figure_8_the_other_way
    a_lost_append
    a_far_behind_follower
    a_follower_restarts
    a_leader_changes_with_proposals_open
    reads_on_the_leader
    reads_before_the_first_commit
    reads_on_a_follower
    reads_and_a_new_leader
    a_late_heartbeat_reply
    hostile_messages
    a_learner_is_promoted
    one_voter_is_removed
    all_three_are_replaced
    the_leader_is_replaced
    the_leader_leaves
    a_joint_configuration_is_left_by_the_next_leader
    a_change_is_rolled_back
    leadership_is_handed_over
    a_hand_over_that_fails
    a_stalled_disk
    disks_slower_than_the_network
    a_write_that_came_back
    a_promoted_learner_must_vote
    two_voters_are_added_at_once
    one_voter_for_another
    a_second_change_is_refused
    the_leader_removes_itself
    the_replaced_leader_is_gone
    followers_forget_their_leader
    a_lagging_commit_index
    a_full_window_drains
    a_campaign_on_request
    a_heartbeat_reply_ends_probing
    a_far_behind_follower_gets_a_snapshot
    a_log_that_is_wholly_cut
    a_snapshot_is_overtaken
    a_snapshot_that_is_lost
    an_installation_is_cut_short
    members_travel_with_a_snapshot
    a_voter_that_leaves_gets_a_snapshot
    nobody_campaigns_while_a_snapshot_is_pending
    a_snapshot_over_open_proposals
    a_damaged_log
    two_of_three_after_a_damage
    a_word_from_before_the_damage
    a_lease_by_the_clock
    a_lease_ends_with_a_hand_over
    a_promise_outlives_a_restart
    a_node_that_would_rather_not_lead
}
