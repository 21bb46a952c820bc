//! The life of one node, read from a string of bytes: whom it meets, what it is told, how its disk
//! and its clock behave, when it crashes. What comes most often is what correct peers would say,
//! near the numbers that matter to this node, so that a life leads somewhere; anything else comes
//! now and then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use raft_core::{
    Action, Body, Boot, ClusterConfig, Command, Config, ConfigChange, Entries, Entry, Index, Input,
    LogRead, Message, NodeId, Payload, PersistId, Position, Raft, ReadMode, ReadPurpose, RoleKind,
    Snapshot, Status, Term, Ticket, Time, invariants,
};

use super::bytes::Bytes;
use super::model::Model;

const ME: NodeId = NodeId::new(1);

/// A life ends after so many steps.
const MAX_STEPS: usize = 600;
/// How many messages, in either direction, are remembered to be repeated or answered.
const MAX_REMEMBERED: usize = 24;

/// What is tested: a node, or one with a mistake planted.
pub(crate) trait Subject: Sized {
    fn new(raft: Raft) -> Self;
    fn raft(&self) -> &Raft;
    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Action>);
}

impl Subject for Raft {
    fn new(raft: Raft) -> Self {
        raft
    }

    fn raft(&self) -> &Raft {
        self
    }

    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Action>) {
        Raft::step(self, now, input, out);
    }
}

/// What happened in one step, for whoever wants to know how far a life got.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) was: RoleKind,
    pub(crate) input: &'a Input,
    pub(crate) actions: &'a [Action],
    pub(crate) is: RoleKind,
}

/// Lives the life that these bytes tell.
///
/// # Errors
///
/// The rule or the promise that was broken, and in which step.
pub(crate) fn live<S: Subject>(
    bytes: &[u8],
    mut watch: impl FnMut(Step<'_>),
) -> Result<(), String> {
    let mut bytes = Bytes::new(bytes);
    let Some(mut life) = Life::<S>::begin(&mut bytes) else { return Ok(()) };
    for step in 0..MAX_STEPS {
        if bytes.is_empty() {
            break;
        }
        life.go_on(&mut bytes, &mut watch).map_err(|why| format!("step {step}: {why}"))?;
    }
    Ok(())
}

struct Life<S> {
    config: Config,
    node: S,
    model: Model,
    now: Time,
    tickets: u64,
    /// What it was told, and what it said.
    heard: Vec<Message>,
    said: Vec<Message>,
}

fn n(id: u64) -> NodeId {
    NodeId::new(id)
}

fn any_node(bytes: &mut Bytes<'_>) -> NodeId {
    n(bytes.one_of(&[2, 2, 2, 2, 3, 3, 3, 4, 5, 1, 9, u64::MAX]))
}

fn some_nodes(bytes: &mut Bytes<'_>) -> BTreeSet<NodeId> {
    let chosen = bytes.byte();
    (0..6).filter(|at| (chosen >> at) & 1 == 1).map(|at| n(at + 1)).collect()
}

fn any_cluster(bytes: &mut Bytes<'_>) -> ClusterConfig {
    let voters = some_nodes(bytes);
    let outgoing = bytes.flag().then(|| some_nodes(bytes));
    ClusterConfig { voters, outgoing, learners: some_nodes(bytes) }
}

fn payload(bytes: &mut Bytes<'_>) -> Payload {
    match bytes.below(8) {
        0 => Payload::Noop,
        1 => Payload::Config(Arc::new(any_cluster(bytes))),
        _ => Payload::Command(command(bytes)),
    }
}

fn command(bytes: &mut Bytes<'_>) -> Command {
    vec![b'x'; usize::from(bytes.below(60))].into()
}

fn mode(bytes: &mut Bytes<'_>) -> ReadMode {
    if bytes.flag() { ReadMode::Confirmed } else { ReadMode::Lease }
}

fn config(bytes: &mut Bytes<'_>) -> Config {
    let mut config = Config::new(ME);
    config.seed = u64::from(bytes.byte());
    config.lease_drift = bytes.flag().then(|| Duration::from_millis(20));
    config.campaign_delay = Duration::from_millis(u64::from(bytes.below(3)) * 100);
    let limits = &mut config.limits;
    if !bytes.flag() {
        limits.max_append_bytes = 100;
        limits.max_proposal_bytes = 80;
        limits.max_inflight_messages = 2;
        limits.max_inflight_bytes = 150;
        limits.max_uncommitted_bytes = 200;
        limits.max_pending_reads = 3;
        limits.max_cached_bytes = 0;
    }
    config
}

/// What earlier runs left: mostly nothing, at times a log, at times one whose parts do not fit.
fn first_boot(bytes: &mut Bytes<'_>) -> Boot {
    let founders = match bytes.below(8) {
        0 => Boot::new(ClusterConfig::of_voters([ME])),
        1 => Boot::joining(),
        2 => Boot::new(any_cluster(bytes)),
        size => Boot::new(ClusterConfig::of_voters((1..=1 + u64::from(size / 2)).map(n))),
    };
    if !bytes.seldom(6) {
        return founders;
    }
    let start = Position::new(Term::new(bytes.near(0)), Index::new(bytes.near(0)));
    let mut boot = Boot { start, last: start, ..founders };
    boot.hard_state.term = Term::new(bytes.near(start.term.get()));
    boot.hard_state.boots = bytes.near(1);
    boot.commit = Index::new(bytes.near(start.index.get()));
    boot.applied = start;
    boot.hard_state.recovering = bytes.flag();
    boot
}

impl<S: Subject> Life<S> {
    /// None if such a node cannot be.
    fn begin(bytes: &mut Bytes<'_>) -> Option<Self> {
        let (config, founders) = (config(bytes), first_boot(bytes));
        let raft = Raft::restore(config.clone(), founders.clone(), Time::ZERO).ok()?;
        Some(Self {
            model: Model::new(ME, &founders, Vec::new()),
            config,
            node: S::new(raft),
            now: Time::ZERO,
            tickets: 0,
            heard: Vec::new(),
            said: Vec::new(),
        })
    }

    fn status(&self) -> Status {
        self.node.raft().status()
    }

    fn go_on(
        &mut self,
        bytes: &mut Bytes<'_>,
        watch: &mut impl FnMut(Step<'_>),
    ) -> Result<(), String> {
        let Some(input) = self.next_input(bytes) else { return Ok(()) };
        match &input {
            Input::Propose(proposals) => {
                for (ticket, _) in proposals {
                    self.model.gives_out(*ticket);
                }
            }
            Input::ProposeOne(ticket, _)
            | Input::ChangeConfig(ticket, _)
            | Input::TransferLeadership(ticket, _)
            | Input::Read(ticket, _) => self.model.gives_out(*ticket),
            Input::SnapshotInstalled(is_done) => self.model.installed(*is_done),
            Input::SnapshotSent { to, .. } => drop(self.model.sending.remove(to)),
            Input::Persisted(id) => self.model.report(*id),
            Input::Message(message) => remember(&mut self.heard, message),
            Input::Wake
            | Input::Campaign
            | Input::LogRead(_)
            | Input::Unreachable(_)
            | Input::Compact { .. } => {}
        }
        let (before, mut actions) = (self.node.raft().clone(), Vec::new());
        self.node.step(self.now, input.clone(), &mut actions);
        let tell = |why: String| format!("{input:?} gave {actions:?}: {why}");
        let after = self.node.raft();
        invariants::check(&before, after).map_err(|why| tell(why.to_string()))?;
        self.model.observe(&actions).map_err(tell)?;
        check_status(&after.status(), &self.model).map_err(|why| format!("{input:?}: {why}"))?;
        watch(Step {
            was: before.status().role,
            input: &input,
            actions: &actions,
            is: after.status().role,
        });
        for action in &actions {
            if let Action::Send(message) = action {
                remember(&mut self.said, message);
            }
        }
        Ok(())
    }

    /// What happens next. None if it was nothing, or a crash.
    fn next_input(&mut self, bytes: &mut Bytes<'_>) -> Option<Input> {
        self.pass_time(bytes);
        Some(match bytes.below(72) {
            0..8 => Input::Wake,
            8..20 => self.answer(bytes)?,
            20..30 => Input::Message(self.message_of_leader(bytes)),
            30..36 => Input::Message(self.any_message(bytes)),
            36..46 => Input::Persisted(self.model.nth_pending(usize::from(bytes.byte()))?),
            46 => Input::Persisted(PersistId::new(bytes.near(self.model.last_write().get()))),
            47..51 => self.proposals(bytes),
            51..53 => Input::Read(self.ticket(bytes), mode(bytes)),
            53..55 => Input::ChangeConfig(self.ticket(bytes), change(bytes)),
            55 => Input::TransferLeadership(self.ticket(bytes), any_node(bytes)),
            56 => Input::Campaign,
            57..59 => self.log_read(bytes)?,
            59 => self.strange_log_read(bytes),
            60 => Input::Unreachable(any_node(bytes)),
            61..63 => self.repeat(bytes)?,
            63..66 => Input::Compact {
                upto: Index::new(bytes.near(self.model.applied().0.index.get())),
                keep: bytes.near(0),
            },
            66..69 => self.snapshot_sent(bytes),
            69..71 => Input::SnapshotInstalled(!bytes.seldom(4)),
            _ => return self.crash(bytes),
        })
    }

    fn pass_time(&mut self, bytes: &mut Bytes<'_>) {
        let nanos = self.now.as_nanos();
        self.now = match bytes.byte() {
            0..128 => self.now,
            byte @ 128..220 => {
                self.now + 3 * Time::from_millis(u64::from(byte - 128)).since(Time::ZERO)
            }
            220..250 => self.now.max(self.node.raft().deadline()),
            250..253 => Time::from_nanos(nanos / 2),
            253 => Time::from_nanos(nanos.saturating_add(1 << 40)),
            254 => Time::ZERO,
            _ => Time::from_nanos(u64::MAX - u64::from(bytes.byte())),
        };
    }

    /// Tickets need not be unique.
    fn ticket(&mut self, bytes: &mut Bytes<'_>) -> Ticket {
        if !bytes.seldom(8) {
            self.tickets += 1;
        }
        Ticket::new(self.tickets)
    }

    fn proposals(&mut self, bytes: &mut Bytes<'_>) -> Input {
        let count = bytes.below(4);
        if count == 1 {
            return Input::ProposeOne(self.ticket(bytes), command(bytes));
        }
        Input::Propose((0..count).map(|_| (self.ticket(bytes), command(bytes))).collect())
    }

    /// What a correct peer would answer to something that the node said: as a rule with yes.
    fn answer(&self, bytes: &mut Bytes<'_>) -> Option<Input> {
        let said = if self.said.is_empty() { return None } else { bytes.one_of(&self.said) };
        let is_yes = !bytes.seldom(5);
        let body = match said.body {
            Body::PreVote { .. } => Body::PreVoteReply { granted: is_yes },
            Body::Vote { .. } | Body::TransferVote { .. } => Body::VoteReply { granted: is_yes },
            Body::Append { prev, entries, .. } if is_yes => {
                let end = entries.last_position().unwrap_or(prev);
                Body::Appended { matched: end.index }
            }
            Body::Append { prev, .. } => {
                let hint = Position::new(prev.term, Index::new(bytes.near(prev.index.get() / 2)));
                Body::AppendRejected { prev: prev.index, hint }
            }
            Body::Heartbeat { round, .. } => Body::HeartbeatReply { round },
            Body::ReadIndex { id, .. } => {
                Body::ReadIndexReply { id, index: Index::new(bytes.near(self.commit())) }
            }
            Body::TimeoutNow { last } => Body::TransferVote { last },
            Body::Recover { id, .. } => Body::RecoverReply { id, last: self.any_position(bytes) },
            _ => return None,
        };
        let term = if is_yes { said.term } else { Term::new(bytes.near(said.term.get())) };
        Some(Input::Message(Message { from: said.to, to: said.from, term, body }))
    }

    fn commit(&self) -> u64 {
        self.status().commit.get()
    }

    /// What somebody says that leads, as a rule in a way that fits.
    fn message_of_leader(&self, bytes: &mut Bytes<'_>) -> Message {
        let status = self.status();
        let from = status.leader.filter(|leader| *leader != ME);
        let from = from.filter(|_| !bytes.seldom(8)).unwrap_or_else(|| any_node(bytes));
        let is_next = status.role == RoleKind::Leader || bytes.seldom(8);
        let term = Term::new(status.term.get().saturating_add(u64::from(is_next)));
        let body = match bytes.below(8) {
            0 => Body::Heartbeat {
                commit: Index::new(bytes.near(status.commit.get())),
                round: bytes.near(1),
            },
            1 => Body::TimeoutNow { last: status.last },
            2 => Body::Snapshot(self.snapshot(bytes)),
            _ => {
                let prev = if bytes.seldom(4) { self.any_position(bytes) } else { status.last };
                let entries = run_after(prev, term, bytes);
                let commit = Index::new(bytes.near(status.commit.get()));
                Body::Append { prev, entries, commit }
            }
        };
        Message { from, to: ME, term, body }
    }

    /// Near one of those that matter.
    fn any_position(&self, bytes: &mut Bytes<'_>) -> Position {
        let Status { last, commit, durable, term, .. } = self.status();
        let index = bytes.one_of(&[last.index, commit, durable, Index::ZERO]);
        let term = bytes.one_of(&[last.term, term, Term::ZERO]);
        Position::new(Term::new(bytes.near(term.get())), Index::new(bytes.near(index.get())))
    }

    /// A snapshot ahead of this node, as a rule.
    fn snapshot(&self, bytes: &mut Bytes<'_>) -> Snapshot {
        let Status { last, term, .. } = self.status();
        let ahead = Position::new(
            Term::new(bytes.near(term.get().saturating_sub(1))),
            last.index.plus(1 + u64::from(bytes.below(5))),
        );
        let at = if bytes.seldom(4) { self.any_position(bytes) } else { ahead };
        Snapshot { at, cluster: Arc::new(any_cluster(bytes)) }
    }

    /// What became of a snapshot that the node wanted to be sent, or of one it never spoke of.
    fn snapshot_sent(&self, bytes: &mut Bytes<'_>) -> Input {
        let asked = self.model.sending.iter().next().copied();
        let to = asked.filter(|_| !bytes.seldom(6)).unwrap_or_else(|| any_node(bytes));
        let arrived = match bytes.below(4) {
            0 => None,
            1 => Some(self.any_position(bytes)),
            _ => Some(self.model.applied().0),
        };
        Input::SnapshotSent { to, arrived }
    }

    fn any_message(&self, bytes: &mut Bytes<'_>) -> Message {
        let Status { term, last, .. } = self.status();
        let at = self.any_position(bytes);
        let body = match bytes.below(16) {
            0 => Body::PreVote { last: at },
            1 => Body::PreVoteReply { granted: bytes.flag() },
            2 => Body::Vote { last: if bytes.flag() { last } else { at } },
            3 => Body::VoteReply { granted: bytes.flag() },
            4 => Body::Append {
                prev: at,
                entries: run_after(at, Term::new(bytes.near(at.term.get())), bytes),
                commit: Index::new(bytes.near(at.index.get())),
            },
            5 => Body::Appended { matched: at.index },
            6 => {
                let prev = Index::new(bytes.near(at.index.get()));
                Body::AppendRejected { prev, hint: at }
            }
            7 => Body::Heartbeat { commit: at.index, round: bytes.near(1) },
            8 => Body::HeartbeatReply { round: bytes.near(1) },
            9 => Body::ReadIndex { id: bytes.near(1), mode: mode(bytes) },
            10 => Body::ReadIndexReply { id: bytes.near(1), index: at.index },
            11 => Body::TimeoutNow { last: if bytes.flag() { last } else { at } },
            12 => Body::Snapshot(self.snapshot(bytes)),
            13 => Body::Recover { id: bytes.near(1), last: at },
            14 => Body::RecoverReply { id: bytes.near(1), last: at },
            _ => Body::TransferVote { last: if bytes.flag() { last } else { at } },
        };
        let to = if bytes.seldom(16) { any_node(bytes) } else { ME };
        let term = Term::new(bytes.near(term.get()));
        Message { from: any_node(bytes), to, term, body }
    }

    /// A message of before, perhaps as another would say it, or in another term.
    fn repeat(&self, bytes: &mut Bytes<'_>) -> Option<Input> {
        if self.heard.is_empty() {
            return None;
        }
        let mut message = bytes.one_of(&self.heard);
        match bytes.below(4) {
            0 => message.from = any_node(bytes),
            1 => message.term = Term::new(bytes.near(self.status().term.get())),
            _ => {}
        }
        Some(Input::Message(message))
    }

    /// The answer to a question for entries: all of them, some, or none.
    fn log_read(&mut self, bytes: &mut Bytes<'_>) -> Option<Input> {
        let request = self.model.log_reads.pop_front()?;
        let most = if bytes.flag() { usize::MAX } else { usize::from(bytes.below(3)) };
        Some(Input::LogRead(self.model.read(&request, most)))
    }

    /// An answer to a question that was not asked, or not so. (What it says to be in the log is
    /// there: a disk may fail, but checksums tell.)
    fn strange_log_read(&self, bytes: &mut Bytes<'_>) -> Input {
        let purpose =
            if bytes.flag() { ReadPurpose::Apply } else { ReadPurpose::Replicate(any_node(bytes)) };
        let at = self.any_position(bytes);
        let known = |entry: &Entry| self.model.newest().entry_at(entry.at).unwrap_or(entry).clone();
        let entries = run_after(at, at.term, bytes).iter().map(known).collect();
        Input::LogRead(LogRead { purpose, first: Index::new(bytes.near(at.index.get())), entries })
    }

    /// The node stops, and starts again with what is on its disk.
    fn crash(&mut self, bytes: &mut Bytes<'_>) -> Option<Input> {
        // The state machine may have been replaced just before.
        let mut model = self.model.clone();
        model.installed(bytes.flag());
        let mut stored = model.crash(usize::from(bytes.below(4)));
        stored.hard_state.recovering |= bytes.seldom(6);
        let boot = model.boot(&stored, bytes.flag());
        // A disk that lied may have lost what the state machine relies on.
        let raft = Raft::restore(self.config.clone(), boot.clone(), self.now).ok()?;
        self.model = Model::new(ME, &boot, stored.into_log());
        self.node = S::new(raft);
        Some(Input::Wake)
    }
}

fn remember(messages: &mut Vec<Message>, message: &Message) {
    if messages.len() == MAX_REMEMBERED {
        messages.remove(0);
    }
    messages.push(message.clone());
}

fn change(bytes: &mut Bytes<'_>) -> ConfigChange {
    match bytes.below(5) {
        0 => ConfigChange::AddLearner(any_node(bytes)),
        1 => ConfigChange::Promote(any_node(bytes)),
        2 => ConfigChange::Demote(any_node(bytes)),
        3 => ConfigChange::Remove(any_node(bytes)),
        _ => ConfigChange::Replace { voters: some_nodes(bytes), learners: some_nodes(bytes) },
    }
}

/// Entries that may stand after `prev`, up to `term`, unless one goes astray.
fn run_after(prev: Position, term: Term, bytes: &mut Bytes<'_>) -> Entries {
    let mut at = prev;
    let count = bytes.below(5);
    let entries = (0..count).map(|_| {
        at.index = at.index.next();
        at.term = if bytes.flag() { at.term } else { term };
        if bytes.seldom(24) {
            at = Position::new(Term::new(bytes.near(1)), Index::new(bytes.near(1)));
        }
        Entry { at, payload: payload(bytes) }
    });
    entries.collect()
}

/// What the node says of itself is what it wrote.
fn check_status(status: &Status, model: &Model) -> Result<(), String> {
    let newest = model.newest();
    let is_true = status.term == newest.hard_state.term
        && status.vote == newest.hard_state.vote
        && status.last == newest.last();
    if is_true { Ok(()) } else { Err(format!("it says {status:?} and has written {newest:?}")) }
}
