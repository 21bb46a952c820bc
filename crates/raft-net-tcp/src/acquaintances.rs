//! Which data directory each peer was met with, in a file of this node's own directory.
//!
//! A node that lost its data does not know that it ever had any. Its peers do: they met it with
//! another directory than the one that it shows now.
//!
//! Invariants:
//! 1. What [`Acquaintances::meet`] has let in is in the file, durably, before it returns: before
//!    the peer is answered or listened to.
//! 2. Of each peer one directory is let in. Only a peer that rejoins gets another one in its place.
//! 3. While a [`Meeting`] lasts, the directory that was met is the one that is let in. So whoever
//!    ends older connections of the peer during it ends all of its earlier directories.
//! 4. The file is replaced as a whole, and names the directory that it belongs to. A crash leaves
//!    the old one or the new one; a damaged one, or one of another directory, is never believed.
//!
//! A peer that tells of no directory is let in and not remembered: it speaks an earlier version of
//! the protocol, or belongs to a program that keeps no directories apart.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use raft_core::NodeId;

use crate::directory::{Claim, Directory, DirectoryId};
use crate::event::{Refusal, RefusalCode};
use crate::link::lock;
use crate::peers_file::{self, MAX_FILE_BYTES, MAX_PEERS, Peers};
use crate::start_error::StartError;

/// The name of the file in the data directory.
pub const FILE: &str = "peers";

/// The name under which a new one is written.
const NEW_FILE: &str = "peers.tmp";

/// See the module.
#[derive(Debug)]
pub(crate) struct Acquaintances {
    /// `None` if this node keeps no directories apart.
    kept: Option<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    directory: PathBuf,
    peers: Peers,
}

/// A peer that is let in: see the third invariant.
#[derive(Debug)]
pub(crate) struct Meeting<'a>(#[expect(dead_code, reason = "held, not read")] Held<'a>);

type Held<'a> = Option<MutexGuard<'a, Kept>>;

impl Acquaintances {
    /// Reads the file, if there is one.
    pub(crate) fn open(directory: Option<&Directory>) -> Result<Self, StartError> {
        let Some(Directory { id, path, .. }) = directory else {
            return Ok(Self { kept: None });
        };
        let peers = read(*id, &path.join(FILE))?;
        Ok(Self { kept: Some(Mutex::new(Kept { directory: path.clone(), peers })) })
    }

    /// Lets `peer` in with the directory that it tells of; or says why not, in words for it.
    pub(crate) fn meet(&self, peer: NodeId, claim: Claim) -> Result<Meeting<'_>, Refusal> {
        let Some(kept) = &self.kept else { return Ok(Meeting(None)) };
        let mut kept = lock(kept);
        if let Some(told) = claim.directory {
            match kept.peers.met.get(&peer) {
                Some(known) if *known == told => {}
                Some(_) if !claim.rejoins => return Err(another_directory(peer)),
                known => {
                    let replaced = known.is_some();
                    kept.note(peer, told).map_err(|error| not_noted(peer, &error))?;
                    let what = if replaced { "rejoins" } else { "is met for the first time" };
                    log::info!("{peer} {what}, with the data directory {told}");
                }
            }
        }
        Ok(Meeting(Some(kept)))
    }
}

fn another_directory(peer: NodeId) -> Refusal {
    Refusal {
        code: RefusalCode::Directory,
        sentence: format!(
            "{peer} was met with another data directory than the one it has now, and may have \
             acknowledged there what is not here: give it that directory back, or let it rejoin"
        ),
    }
}

fn not_noted(peer: NodeId, error: &io::Error) -> Refusal {
    Refusal {
        code: RefusalCode::NotNoted,
        sentence: format!(
            "the called node cannot write down that it met {peer}: {error}; see to its disk"
        ),
    }
}

impl Kept {
    /// The file first: what cannot be written down was not met.
    fn note(&mut self, peer: NodeId, directory: DirectoryId) -> io::Result<()> {
        let mut peers = self.peers.clone();
        peers.met.insert(peer, directory);
        if peers.met.len() > MAX_PEERS {
            let why = format!("there are {MAX_PEERS} peers in {FILE}, which is the most");
            return Err(io::Error::other(why));
        }
        replace(&self.directory, &peers_file::encode(&peers))?;
        self.peers = peers;
        Ok(())
    }
}

/// Puts these bytes in the place of the file; durable on return.
fn replace(directory: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = directory.join(NEW_FILE);
    let mut file = private().write(true).create(true).truncate(true).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, directory.join(FILE))?;
    sync_directory(directory)
}

/// As all files of a data directory: for its user alone.
#[cfg(unix)]
fn private() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(not(unix))]
fn private() -> OpenOptions {
    OpenOptions::new()
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Where a directory cannot be opened, a rename is as durable as it gets.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

fn read(own: DirectoryId, path: &Path) -> Result<Peers, StartError> {
    let cannot_read = |source| StartError::PeersUnreadable { file: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Peers::of(own)),
        Err(error) => return Err(cannot_read(error)),
    };
    let mut bytes = Vec::new();
    // A byte more than it may have, so that a longer one is noticed.
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(cannot_read)?;
    match peers_file::decode(&bytes) {
        Ok(peers) if peers.own == own => Ok(peers),
        Ok(_) => Err(StartError::PeersOfAnother { file: path.to_owned() }),
        Err(fault) => Err(StartError::PeersDamaged { file: path.to_owned(), fault }),
    }
}
