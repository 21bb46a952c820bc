//! Two elections, step by step, for someone who learns Raft: who asks whom, what is written to
//! which disk before what is said, who votes and who leads.
//!
//! `cargo run -p raft-core --example election` prints them. There are no threads, no clock and no
//! chance: the core is a state machine, and so this is a script. What it prints is kept in
//! `election.txt` beside it. Sections are those of the paper (Ongaro and Ousterhout, 2014); a
//! position such as 1/2 is term 1, index 2.

use std::collections::{BTreeMap, VecDeque};

use raft_core::{
    Action, Body, Boot, ClusterConfig, Config, Entry, Event, HardState, Input, Message, NodeId,
    Outcome, Payload, PersistId, Position, Raft, RoleKind, Ticket, Time, VoteAnswer, Write,
};

/// Three nodes, and what is on its way between them.
struct Stage {
    nodes: BTreeMap<NodeId, Raft>,
    now: Time,
    network: VecDeque<Message>,
    /// Writes that are not durable yet.
    disks: VecDeque<(NodeId, PersistId)>,
    /// Whoever is cut off neither hears nor is heard.
    cut_off: Option<NodeId>,
    transcript: String,
}

impl Stage {
    fn new(ids: [NodeId; 3]) -> Self {
        let node = |id| {
            let boot = Boot::new(ClusterConfig::of_voters(ids));
            (id, Raft::restore(Config::new(id), boot, Time::ZERO).expect("these founders fit"))
        };
        Self {
            nodes: ids.map(node).into(),
            now: Time::ZERO,
            network: VecDeque::new(),
            disks: VecDeque::new(),
            cut_off: None,
            transcript: String::new(),
        }
    }

    fn say(&mut self, line: &str) {
        self.transcript.push_str(line);
        self.transcript.push('\n');
    }

    /// Tells a node what happened, and prints what it does about it.
    fn happens(&mut self, to: NodeId, what: &str, input: Input) {
        self.say(&format!("{to} {what}"));
        let Some(node) = self.nodes.get_mut(&to) else { return };
        let mut actions = Vec::new();
        node.step(self.now, input, &mut actions);
        // For a reader: who it is now, before what it does. Any other order would do as well.
        actions.sort_by_key(|action| !matches!(action, Action::RoleChanged(_)));
        for deed in deeds(&actions) {
            self.say(&format!("      {deed}"));
        }
        for action in actions {
            match action {
                Action::Send(message) => self.network.push_back(message),
                Action::Persist(write) => self.disks.push_back((to, write.id)),
                _ => {}
            }
        }
    }

    /// Lets every message arrive and every disk finish, one after the other.
    fn settle(&mut self) {
        loop {
            if let Some(message) = self.network.pop_front() {
                let (from, to) = (message.from, message.to);
                if ![from, to].iter().any(|id| self.is_away(*id)) {
                    let said = message_in_words(&message);
                    self.happens(to, &format!("hears {from}: {said}"), Input::Message(message));
                }
            } else if let Some((id, write)) = self.disks.pop_front() {
                self.happens(id, "has it on disk", Input::Persisted(write));
            } else {
                return;
            }
        }
    }

    fn is_away(&self, id: NodeId) -> bool {
        self.cut_off == Some(id) || !self.nodes.contains_key(&id)
    }

    /// Time passes until `node` has lost its patience.
    fn run_out(&mut self, id: NodeId) {
        self.now = self.nodes[&id].deadline();
        self.happens(id, "hears nothing of a leader, and its timer runs out", Input::Wake);
        self.settle();
    }
}

/// What a node does, for a person. What it says to several is told once.
fn deeds(actions: &[Action]) -> Vec<String> {
    let mut deeds = Vec::new();
    for action in actions {
        if let Action::Send(message) = action {
            let said = format!(": {}", message_in_words(message));
            match deeds.last_mut().and_then(|last: &mut String| last.strip_suffix(&said)) {
                Some(others) => {
                    let all = format!("{others} and {}{said}", message.to);
                    deeds.pop();
                    deeds.push(all);
                }
                None => deeds.push(format!("says to {}{said}", message.to)),
            }
        }
        deeds.extend(deed_in_words(action));
    }
    deeds
}

/// Nothing if it need not be told.
fn deed_in_words(action: &Action) -> Option<String> {
    Some(match action {
        Action::Persist(write) => write_in_words(write),
        Action::RoleChanged(change) => match (change.role, change.leader) {
            (RoleKind::Follower, Some(leader)) => format!("follows {leader}"),
            (RoleKind::Leader, _) => format!("LEADS term {}", change.term),
            (RoleKind::Follower, None) => format!("follows nobody in term {}", change.term),
            (RoleKind::PreCandidate, _) => "asks round whether it would be elected".into(),
            (RoleKind::Candidate, _) => format!("is a candidate in term {}", change.term),
        },
        Action::Resolved(_, Outcome::Committed(at)) => {
            format!("tells the client: {at} is on a majority of disks, and never lost (§5.3)")
        }
        Action::Apply(entries) => format!("applies {}: committed", run_in_words(entries)),
        Action::Trace(Event::VoteAsked { answer, .. }) => answer_in_words(*answer)?.into(),
        _ => return None,
    })
}

fn message_in_words(message: &Message) -> String {
    let term = message.term;
    let yes = |granted: &bool| if *granted { "yes" } else { "no" };
    match &message.body {
        Body::PreVote { last } => format!("would you vote for me in term {term}? I have {last}"),
        Body::PreVoteReply { granted: true } => "I would (that is no promise yet)".into(),
        Body::PreVoteReply { granted: false } => "I would not".into(),
        Body::Vote { last } => format!("vote for me in term {term}! I have {last} (§5.2)"),
        Body::VoteReply { granted } => format!("my vote in term {term}: {}", yes(granted)),
        Body::Append { prev, entries, commit } => {
            format!("after {prev} put {}; {commit} is committed", run_in_words(entries))
        }
        Body::Appended { matched } => format!("I have everything up to {matched} on disk"),
        Body::AppendRejected { hint, .. } => format!("I lack that; try after {hint}"),
        Body::Heartbeat { commit, .. } => format!("I lead, and {commit} is committed"),
        Body::HeartbeatReply { .. } => "so you do".into(),
        other => format!("{other:?}"),
    }
}

fn run_in_words(entries: &[Entry]) -> String {
    let entry_in_words = |entry: &Entry| match entry.payload {
        Payload::Noop => format!("{} (empty)", entry.at),
        Payload::Command(_) => format!("{} (a command)", entry.at),
        Payload::Config(_) => format!("{} (other members)", entry.at),
    };
    let words: Vec<String> = entries.iter().map(entry_in_words).collect();
    if words.is_empty() { "nothing".into() } else { words.join(" and ") }
}

fn write_in_words(write: &Write) -> String {
    let HardState { term, vote, .. } = write.hard_state;
    let vote = vote.map_or("no vote".into(), |vote| format!("a vote for {vote}"));
    let and_entries = match &write.entries[..] {
        [] => String::new(),
        entries => format!(", {}", run_in_words(entries)),
    };
    format!("writes to disk: term {term}, {vote}{and_entries}")
}

fn answer_in_words(answer: VoteAnswer) -> Option<&'static str> {
    Some(match answer {
        VoteAnswer::LogBehind => "finds that its own log goes further: that one may lack something",
        VoteAnswer::AlreadyVoted => "has given its one vote of this term already",
        VoteAnswer::Granted => return None,
        _ => "hears from a leader, or knows that this term is over",
    })
}

fn two_elections() -> String {
    let ids @ [n1, n2, n3] = [1, 2, 3].map(NodeId::new);
    let mut stage = Stage::new(ids);
    for id in ids {
        stage.happens(id, "starts", Input::Wake);
    }
    stage.settle();
    stage.transcript.clear();

    stage.say("Three nodes with empty logs follow nobody. n1 loses its patience first.\n");
    stage.run_out(n1);
    assert_eq!(stage.nodes[&n1].status().role, RoleKind::Leader);

    stage.say("\nn3 is cut off.\n");
    stage.cut_off = Some(n3);
    let command = vec![(Ticket::new(1), b"x = 1".as_slice().into())];
    stage.happens(n1, "is given a command by a client", Input::Propose(command));
    stage.settle();

    stage.say(
        "\nn1 dies, n3 is back, and loses its patience first. It lacks the command (§5.4.1).\n",
    );
    stage.nodes.remove(&n1);
    stage.cut_off = None;
    stage.run_out(n3);
    assert_ne!(stage.nodes[&n3].status().role, RoleKind::Leader);

    stage.say("\nThen n2 does.\n");
    stage.run_out(n2);
    assert_eq!(stage.nodes[&n2].status().role, RoleKind::Leader);
    let last = stage.nodes[&n3].status().last;
    assert!(last > Position::ORIGIN && last == stage.nodes[&n2].status().last);
    stage.say("\nn2 leads, and n3 was given what it lacked. The logs are equal.");
    stage.transcript
}

fn main() {
    print!("{}", two_elections());
}

#[test]
fn the_elections_go_as_they_were_written_down() {
    let (now, written) = (two_elections(), include_str!("election.txt"));
    let how = "if that is meant, put what the example prints into election.txt";
    assert!(now == written, "the elections go another way now: {how}\n{now}");
}
