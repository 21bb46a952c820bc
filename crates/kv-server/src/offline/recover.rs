//! `recover`: a new cluster of one, from what a survivor has, when the others will not come back.
//!
//! Everything in the survivor's log is taken as committed, which it may not have been. What only
//! the others had is lost. So a person has to agree, after having read what there is.
//!
//! Rules:
//! 1. Nothing of the old node is destroyed: its files go into a directory beside the new ones.
//! 2. The new node is made whole, in a directory of its own, before the first old file moves.
//! 3. No old revision is forgotten on the way, however few a server would keep: the next start is
//!    told how many, and forgets the rest.
//! 4. The steps after that can be done again: if the power goes, the next `recover` finishes them,
//!    and no server starts before that.

use std::io::{BufRead, ErrorKind, Write};
use std::path::{Path, PathBuf};

use kv_store::{Position as StorePosition, Retention, Store};
use raft_core::{Index, Payload};
use raft_storage::{
    Disk, FileDisk, LOCK_FILE, Log, LogIdentity, META_FILE, OpenError, Options, Recovered, Verified,
};

use super::founding::Beginning;
use super::{OfflineError, files};
use crate::commands::RecoverOptions;
use crate::members::Members;
use crate::narrate;
use crate::recovery::STATE_FILE;

/// Where the new node is made. What is left of it is made again.
const DRAFT: &str = "recovering.partial";

/// The new node, whole; the old files are being set aside into its [`OLD`].
const RECOVERING: &str = "recovering";

/// The new node, whole; the old files are all in its [`OLD`], and its own are being moved up.
const RECOVERED: &str = "recovered";

/// The old files, inside of the new node's directory.
const OLD: &str = "old";

/// Where the old files are in the end, with a number behind it.
const SET_ASIDE: &str = "before-recovery";

/// How much of the log is read at once.
const READ_BYTES: usize = 4 << 20;

/// Whether a recovery of `dir` was begun and not finished: then nothing else may use it.
pub(crate) fn is_unfinished(dir: &Path) -> bool {
    [RECOVERING, RECOVERED].iter().any(|name| dir.join(name).exists())
}

/// Says what the survivor has, asks, and makes it a cluster of its own.
///
/// # Errors
///
/// If the directory is in use or holds no node, if the person does not agree, or if something
/// cannot be read or written.
pub fn run(
    options: &RecoverOptions,
    answers: &mut impl BufRead,
    out: &mut impl Write,
) -> Result<(), OfflineError> {
    let dir = &options.data_dir;
    if !is_unfinished(dir) {
        let survivor = Survivor::open(dir)?;
        survivor.describe(out)?;
        if !options.yes {
            confirm(answers, out)?;
        }
        survivor.make_draft()?;
    }
    let aside = finish(dir)?;
    let new = raft_storage::verify(&FileDisk::existing(dir)?)?;
    let node = new.identity.node_id.get();
    let address = new.identity.description.split_once('=').map_or("", |(_, address)| address);
    writeln!(
        out,
        "node {node} is now the only member of the new cluster {:016x}, which begins after {}; the \
         old files are in {aside}\n\
         start it with: kv-server --node-id {node} --bind {address} --data-dir {}\n\
         Never start the other members of the old cluster again. For a cluster of three, save a \
         snapshot of this one, and restore it on three new nodes.",
        new.identity.cluster_id,
        new.recovered.last,
        dir.display(),
    )?;
    Ok(())
}

fn confirm(answers: &mut impl BufRead, out: &mut impl Write) -> Result<(), OfflineError> {
    writeln!(out, "Type yes to make it a cluster of its own:")?;
    out.flush()?;
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(OfflineError::Refused(
        "nothing was changed, because the answer was not yes: type yes, or give --yes".to_owned(),
    ))
}

/// A stopped node, and all that is left of its cluster.
struct Survivor<'a> {
    dir: &'a Path,
    identity: LogIdentity,
    log: Log<FileDisk>,
    recovered: Recovered,
    /// What the state file holds.
    stored: StorePosition,
}

impl<'a> Survivor<'a> {
    /// Opens its log, which keeps every other process out, and looks into its state.
    fn open(dir: &'a Path) -> Result<Self, OfflineError> {
        let disk = FileDisk::existing(dir)?;
        let Verified { identity, .. } = raft_storage::verify(&disk)?;
        let mut options =
            Options::new(identity.node_id, identity.cluster_id, identity.description.clone());
        options.background = false;
        let (log, recovered) = Log::open(disk, &options)?;
        let state = dir.join(STATE_FILE);
        let is_there = state.try_exists().map_err(|e| OfflineError::io("find", &state, e))?;
        let stored = if is_there {
            Store::open(&state, &store_options())?.position()
        } else {
            StorePosition::default()
        };
        let survivor = Self { dir, identity, log, recovered, stored };
        survivor.check_reach()?;
        Ok(survivor)
    }

    /// The log has to go on where the state ends.
    fn check_reach(&self) -> Result<(), OfflineError> {
        let start = self.recovered.start;
        if self.stored.index >= start.index.get() {
            return Ok(());
        }
        Err(OfflineError::Refused(format!(
            "the state in {} ends at index {}, and the log begins after {start}: what lies between \
             is lost, so nothing whole can be made of this node; restore a backup instead",
            self.dir.display(),
            self.stored.index
        )))
    }

    /// The last index that it knows of.
    fn last_index(&self) -> u64 {
        self.recovered.last.index.get().max(self.stored.index)
    }

    fn describe(&self, out: &mut impl Write) -> Result<(), OfflineError> {
        let Self { dir, identity, recovered, stored, .. } = self;
        let known = recovered.commit.get().max(stored.index);
        let last = self.last_index();
        let behind = match last.saturating_sub(known) {
            0 => "and nothing follows it".to_owned(),
            count => format!(
                "and what follows it, {}, is taken as committed, although the old cluster may have \
                 acknowledged nothing of it",
                narrate::entries(count)
            ),
        };
        writeln!(
            out,
            "{} holds node {} of the cluster {}.\n\
             - The state is stored up to index {}; the log ends at {} (term/index), in term {}.\n\
             - Index {known} is known to be committed, {behind}.\n\
             - Whatever the other members acknowledged after index {last}, and this one never \
             received, is lost.",
            dir.display(),
            identity.node_id.get(),
            identity.description,
            stored.index,
            recovered.last,
            recovered.hard_state.term,
        )?;
        if let Some(damage) = &recovered.damage {
            writeln!(out, "- What lies behind the damage is lost as well: {damage}.")?;
        }
        Ok(())
    }

    /// Makes the new node beside the old one, whole and durable.
    fn make_draft(mut self) -> Result<(), OfflineError> {
        let draft = self.dir.join(DRAFT);
        files::remove(&draft)?;
        let members = self.alone()?;
        FileDisk::create(&draft)?;
        let state = draft.join(STATE_FILE);
        files::copy(&self.dir.join(STATE_FILE), &state)?;
        let mut store = Store::open(&state, &store_options())?;
        self.apply_rest(&mut store)?;
        store.forget_members()?;
        let (at, (_, state_digest)) = (store.position(), store.digest());
        drop(store);
        let term = self.recovered.hard_state.term.get().max(at.term);
        let begins = Beginning { at, state_digest, term };
        let node = self.identity.node_id.get();
        let cluster_id = begins.cluster_id(&members, "");
        begins.make_log(&draft, node, &members, cluster_id)?;
        FileDisk::create(draft.join(OLD))?;
        files::sync(&draft)?;
        files::rename(&draft, &self.dir.join(RECOVERING))?;
        files::sync(self.dir)
    }

    /// The members of the new cluster: this node, at the address that it had.
    fn alone(&self) -> Result<Members, OfflineError> {
        let LogIdentity { node_id, description, .. } = &self.identity;
        let members: Members = description.parse().map_err(OfflineError::Refused)?;
        let address = members.address(node_id.get()).ok_or_else(|| {
            let node = node_id.get();
            let what = format!("node {node} is not among the members {description}");
            OfflineError::Refused(format!("{what}: restore a backup instead"))
        })?;
        Ok(Members::single(node_id.get(), address.clone()))
    }

    /// Applies what the log has beyond the state.
    fn apply_rest(&mut self, store: &mut Store) -> Result<(), OfflineError> {
        let last = self.recovered.last.index;
        while store.applied_index() < last.get() {
            let next = Index::new(store.applied_index()).next();
            for entry in self.log.read(next, last, READ_BYTES)?.iter() {
                let at = StorePosition { term: entry.at.term.get(), index: entry.at.index.get() };
                match &entry.payload {
                    // What became of it, its client was told if anybody was.
                    Payload::Command(command) => drop(store.apply(at, command)?),
                    Payload::Noop | Payload::Config(_) => store.skip(at)?,
                }
            }
        }
        Ok(())
    }
}

/// How the store is opened: it forgets nothing by itself.
fn store_options() -> kv_store::Options {
    let retention = Retention { revisions: u64::MAX, history_bytes: u64::MAX };
    kv_store::Options { retention, ..kv_store::Options::default() }
}

/// Puts the new node in the place of the old one; returns where the old files are. Each step can be
/// done again.
fn finish(dir: &Path) -> Result<String, OfflineError> {
    let _lock = lock(dir)?;
    let (recovering, recovered) = (dir.join(RECOVERING), dir.join(RECOVERED));
    if !recovered.exists() {
        // Without its `meta`, the old log is none: it goes first, and the new one comes last.
        files::move_all(dir, &recovering.join(OLD), |name| name == META_FILE)?;
        files::move_all(dir, &recovering.join(OLD), |name| name != LOCK_FILE)?;
        files::rename(&recovering, &recovered)?;
        files::sync(dir)?;
    }
    if recovered.join(OLD).exists() {
        files::rename(&recovered.join(OLD), &set_aside(dir, recoveries(dir) + 1))?;
        files::sync(dir)?;
    }
    files::move_all(&recovered, dir, |name| name != META_FILE && name != LOCK_FILE)?;
    files::move_all(&recovered, dir, |name| name == META_FILE)?;
    files::remove(&recovered)?;
    files::sync(dir)?;
    Ok(set_aside(dir, recoveries(dir)).display().to_string())
}

/// Where the files of recovery `number` were set aside.
fn set_aside(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("{SET_ASIDE}-{number}"))
}

/// How many recoveries there were.
fn recoveries(dir: &Path) -> usize {
    (1..usize::MAX).take_while(|number| set_aside(dir, *number).exists()).count()
}

/// Keeps every other process out.
fn lock(dir: &Path) -> Result<impl Sized + use<>, OfflineError> {
    let disk = FileDisk::existing(dir)?;
    disk.lock(LOCK_FILE).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => OpenError::Locked { directory: dir.display().to_string() }.into(),
        _ => OfflineError::io("lock", &dir.join(LOCK_FILE), error),
    })
}
