//! A member that lost its data directory comes back (`--rejoin`).
//!
//! Such a node has forgotten what it acknowledged and whom it voted for. Started as if it were new,
//! it could help to elect a leader that lacks what it once acknowledged, or vote a second time in a
//! term. It is safe to come back as a node that recovers (it follows, and does not vote before it
//! has everything again) if it knows a term that is not below any that it ever took part in:
//!
//! 1. Every vote it gave to another, and every entry it acknowledged, came of a member that was
//!    durably in that term before. (A campaign of its own that nobody else took part in has no
//!    consequences, and one that it won had the votes of others, who were in its term.)
//! 2. So the latest term that any of the others is in *now* is at least that term. All of them have
//!    to be asked: one that is away may be the one.
//! 3. Having voted for itself in that term, it gives no vote in it or before. And it takes the word
//!    that its log is whole from no leader of an earlier one, on which alone the proof of recovery
//!    rests (`raft-core/src/recovery.rs`).
//! 4. What the lost directory does after that, should it come back, is of no account: the others
//!    put the new one in its place before they answer, and do not listen to it any more.
//!
//! If two members lost their directories, neither gets the other's answer, and both refuse to
//! start: what one of them alone held is lost, and nobody can tell what that was.
//!
//! A crash in the middle is noticed by a file that is there until everything is on disk: the next
//! start begins again, with or without the flag.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use log::{info, warn};
use raft_core::{Body, Entries, HardState, Index, Message, NodeId, PersistId, Term, Write};
use raft_net_tcp::{Directory, NetEvent, Network, PEERS_FILE, Refusal};
use raft_storage::{Disk, FileDisk, LOCK_FILE, Log, META_FILE};

use crate::recovery::{log_options, seed, state_file};
use crate::server::{directory, network_config};
use crate::settings::Settings;
use crate::start_error::StartError;

/// The file that says that a start with `--rejoin` is not finished.
const MARKER: &str = "rejoining";

/// How many of the longest election timeouts the others have to answer.
const PATIENCE: u32 = 20;

/// How often who has not answered is asked again, in a heartbeat's time.
const QUESTIONS_PER_HEARTBEAT: u32 = 2;

/// The bits of a count of starts that no life of this node has had before: more than a node ever
/// counts up to, and drawn at random, so that no answer to an earlier life fits a question of this.
const FIRST_BOOTS: u64 = 1 << 19;

/// Makes the data directory of a node that lost it, if that is asked for, or was not finished.
///
/// # Errors
///
/// If another member does not answer in time, or the directory cannot be made.
pub(crate) fn prepare(settings: &Settings) -> Result<(), StartError> {
    let marker = settings.data_dir.join(MARKER);
    // Where that cannot be told, nothing else can be done either, and the usual start says why.
    let is_under_way = marker.try_exists().unwrap_or(false);
    if !is_under_way && !settings.rejoins {
        return Ok(());
    }
    let disk = FileDisk::create(&settings.data_dir)?;
    if !is_under_way && raft_storage::identity(&disk)?.is_some() {
        info!("{} holds a log: --rejoin changes nothing", settings.data_dir.display());
        return Ok(());
    }
    if settings.members.iter().count() == 1 {
        return Err(RejoinError::Alone.into());
    }
    if state_file(settings).try_exists()? {
        return Err(RejoinError::StateIsThere { file: state_file(settings) }.into());
    }
    File::create(&marker)?.sync_all()?;
    sync(&settings.data_dir)?;
    forget_vain_attempt(&settings.data_dir, &disk)?;
    let options = log_options(settings, &disk)?;
    // First the log, by which the others will know this directory.
    let (mut log, recovered) = Log::open(disk, &options)?;
    let term = ask_all(settings, options.cluster_id, directory(settings, &log, true))?;
    begin_again(settings, &mut log, recovered.hard_state, term)?;
    drop(log);
    fs::remove_file(&marker)?;
    sync(&settings.data_dir)?;
    warn!(
        "this node rejoins in term {term}: it gets everything from the others, and does not vote \
         until it has it"
    );
    Ok(())
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Forgets the log of an attempt that did not come to an answer: what it was told, the name of the
/// cluster among it, may have been wrong. A log that knows its term is kept.
fn forget_vain_attempt(dir: &Path, disk: &FileDisk) -> Result<(), StartError> {
    // Another process may be asking just now: whoever opens the log is told so.
    let Ok(_lock) = disk.lock(LOCK_FILE) else { return Ok(()) };
    if raft_storage::identity(disk)?.is_some() {
        let found = raft_storage::verify(disk).map_err(|error| io::Error::other(error.to_string()));
        if found?.recovered.hard_state != HardState::default() {
            return Ok(());
        }
        fs::remove_file(dir.join(META_FILE))?;
    }
    // Those that the lost directory had met, if that is left: the new one has met nobody.
    match fs::remove_file(dir.join(PEERS_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(sync(dir)?),
    }
}

/// Makes the log that of a node that recovers, and has voted for itself in this term.
fn begin_again(
    settings: &Settings,
    log: &mut Log<FileDisk>,
    before: HardState,
    term: Term,
) -> Result<(), StartError> {
    let own = NodeId::new(settings.node_id);
    let boots = FIRST_BOOTS | (seed(settings.node_id) % FIRST_BOOTS);
    let hard_state = HardState {
        term: term.max(before.term),
        vote: if before.term >= term { before.vote.or(Some(own)) } else { Some(own) },
        boots: boots.max(before.boots),
        recovering: true,
    };
    let (commit, entries) = (Index::ZERO, Entries::default());
    let write = Write { id: PersistId::new(1), hard_state, commit, reset: None, entries };
    log.append(&[write]).map_err(|error| StartError::Io(io::Error::other(error.to_string())))
}

/// Asks every other member for its term; returns the latest. Each lets this directory in, and not
/// the one before it any more, before it answers.
fn ask_all(settings: &Settings, cluster_id: u64, directory: Directory) -> Result<Term, StartError> {
    let (tell, told) = channel();
    // Who has hung up knows enough.
    let on_event = move |event| _ = tell.send(event);
    let network = Network::start(network_config(settings, cluster_id, directory), on_event)?;
    let answers = Answers::new(settings).gather(settings, &network, &told);
    network.shutdown();
    answers
}

/// What the others say.
struct Answers {
    own: NodeId,
    terms: BTreeMap<NodeId, Option<Term>>,
}

impl Answers {
    fn new(settings: &Settings) -> Self {
        let own = NodeId::new(settings.node_id);
        let others = settings.members.iter().map(|(id, _)| NodeId::new(id));
        Self { own, terms: others.filter(|id| *id != own).map(|id| (id, None)).collect() }
    }

    /// Asks until all have answered.
    fn gather(
        mut self,
        settings: &Settings,
        network: &Network,
        told: &Receiver<NetEvent>,
    ) -> Result<Term, StartError> {
        let patience = PATIENCE * settings.timing.election_timeout_max;
        let pause = settings.timing.heartbeat_interval / QUESTIONS_PER_HEARTBEAT;
        let give_up = Instant::now() + patience;
        let mut ask_at = Instant::now();
        loop {
            if let Some(terms) = self.terms.values().copied().collect::<Option<Vec<Term>>>() {
                return Ok(terms.into_iter().max().unwrap_or(Term::ZERO));
            }
            let now = Instant::now();
            if now >= give_up {
                return Err(self.silence(settings, patience));
            }
            if now >= ask_at {
                self.ask(network);
                ask_at = now + pause;
            }
            match told.recv_timeout(ask_at.saturating_duration_since(now)) {
                Ok(event) => self.hear(event)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.silence(settings, patience));
                }
            }
        }
    }

    /// A leader of no term at all is told by whoever is in one that its time is over.
    fn ask(&self, network: &Network) {
        for (to, _) in self.terms.iter().filter(|(_, term)| term.is_none()) {
            let body = Body::Heartbeat { commit: Index::ZERO, round: 0 };
            network.send(Message { from: self.own, to: *to, term: Term::ZERO, body });
        }
    }

    fn hear(&mut self, event: NetEvent) -> Result<(), StartError> {
        match event {
            NetEvent::Message(Message {
                from, term, body: Body::HeartbeatReply { .. }, ..
            }) => {
                if let Some(known) = self.terms.get_mut(&from) {
                    *known = (*known).max(Some(term));
                }
                Ok(())
            }
            NetEvent::PeerRefused { peer, refusal: Refusal { sentence, .. } } => {
                Err(RejoinError::Refused { peer, sentence }.into())
            }
            _ => Ok(()),
        }
    }

    fn silence(&self, settings: &Settings, patience: Duration) -> StartError {
        let silent = self.terms.iter().filter(|(_, term)| term.is_none()).map(|(id, _)| *id);
        let name = |id: NodeId| match settings.members.address(id.get()) {
            Some(address) => format!("{id} at {address}"),
            None => id.to_string(),
        };
        let silent = silent.map(name).collect::<Vec<_>>().join(", ");
        RejoinError::Unanswered { silent, patience }.into()
    }
}

/// Why a member cannot come back without its data.
#[derive(Debug)]
pub enum RejoinError {
    /// There is a state, though there is no log.
    StateIsThere {
        /// Where the state is.
        file: PathBuf,
    },
    /// A node alone in its cluster has nobody to get its data from.
    Alone,
    /// It did not hear from all others.
    Unanswered {
        /// Those that did not answer, with their addresses.
        silent: String,
        /// How long they had.
        patience: Duration,
    },
    /// It was turned away.
    Refused {
        /// By whom.
        peer: NodeId,
        /// Why.
        sentence: String,
    },
}

impl fmt::Display for RejoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateIsThere { file } => write!(
                f,
                "--rejoin begins with an empty directory, and there is {} without a log: move the \
                 data directory away",
                file.display()
            ),
            Self::Alone => write!(
                f,
                "--rejoin needs others who have the data, and this node is alone in its cluster: \
                 restore it from a backup, or start it without --rejoin, empty"
            ),
            Self::Unanswered { silent, patience } => write!(
                f,
                "--rejoin needs an answer of every other member, and within {patience:?} none came \
                 from {silent}: start the others first, then try again"
            ),
            Self::Refused { peer, sentence } => write!(
                f,
                "--rejoin needs an answer of every other member, and {peer} refused this node: {}",
                sentence.escape_debug()
            ),
        }
    }
}

impl std::error::Error for RejoinError {}
