//! Bringing a node back to where it was: its log, its state, and the replica over both.
//! [`boot`] is the part of it without a file, for simulators as well.

use std::path::PathBuf;

use kv_store::snapshot::remove_draft;
use kv_store::{Retention, Store, StoreError};
use log::{error, info};
use raft_core::{Boot, ClusterConfig, Config, HardState, NodeId, Raft, Time};
use raft_storage::{FileDisk, Log, Recovered, Repaired};

use crate::directory::Directory;
use crate::event_loop::Clock;
use crate::members::Members;
use crate::offline;
use crate::replica::Replica;
use crate::settings::Settings;
use crate::snapshots::{position, read_members};
use crate::start_error::StartError;

/// What was there before.
pub(crate) struct Recovery {
    pub(crate) cluster_id: u64,
    pub(crate) log: Log<FileDisk>,
    pub(crate) store: Store,
    pub(crate) replica: Replica,
    pub(crate) clock: Clock,
}

/// The file in the data directory that holds the state.
pub(crate) const STATE_FILE: &str = "state.redb";

/// The same, with its directory.
pub(crate) fn state_file(settings: &Settings) -> PathBuf {
    settings.data_dir.join(STATE_FILE)
}

/// How the store in it is opened.
pub(crate) fn store_options(settings: &Settings) -> kv_store::Options {
    let retention = Retention { revisions: settings.keep_revisions, ..Retention::default() };
    kv_store::Options { retention, ..kv_store::Options::default() }
}

/// Opens the log and the store, and brings the replica back to where it was: the end of the log is
/// applied again to what the store holds.
pub(crate) fn recover(settings: &Settings) -> Result<Recovery, StartError> {
    let members = &settings.members;
    let disk = FileDisk::create(&settings.data_dir)?;
    if offline::recover::is_unfinished(&settings.data_dir) {
        let dir = settings.data_dir.display().to_string();
        return Err(StartError::UnfinishedRecovery { dir });
    }
    if offline::restore::is_unfinished(&settings.data_dir) {
        let dir = settings.data_dir.display().to_string();
        return Err(StartError::UnfinishedRestore { dir });
    }
    let options = log_options(settings, &disk)?;
    let (log, recovered) = open_log(settings, &disk, &options)?;
    if let Some(torn) = &recovered.torn {
        info!(
            "{}: removed a write that a crash cut short, at byte {}; nobody was told of it",
            torn.file, torn.offset_bytes
        );
    }
    let mut config = Config::new(NodeId::new(settings.node_id));
    settings.timing.apply_to(&mut config);
    config.seed = seed(settings.node_id);
    let store = open_store(settings, &recovered)?;
    let boot = boot(&members.to_config(), &recovered, &store).map_err(StartError::Members)?;
    let raft = Raft::restore(config, boot, Time::ZERO)?;
    let client_address = settings.client_address.to_string();
    let directory = Directory::new(members, settings.node_id, client_address);
    let patience = settings.timing.election_timeout_max;
    let mut replica = Replica::new(raft, directory, patience, settings.log_keep);
    // Where the presets are slow so that people can watch, an election timeout is something to see.
    if !settings.timing.is_paced {
        replica = replica.electing_at_start(settings.timing.heartbeat_interval);
    }
    let cluster_id = options.cluster_id;
    Ok(Recovery { cluster_id, log, store, replica, clock: Clock::start() })
}

/// Whose log it is, and how it is kept.
pub(crate) fn log_options(
    settings: &Settings,
    disk: &FileDisk,
) -> Result<raft_storage::Options, StartError> {
    let (own, members) = (NodeId::new(settings.node_id), &settings.members);
    let cluster_id = cluster_id(members, disk)?;
    Ok(raft_storage::Options {
        segment_bytes: settings.log_segment_bytes,
        reserve_bytes: settings.log_reserve_bytes,
        ..raft_storage::Options::new(own, cluster_id, members.to_string())
    })
}

/// The name of the cluster. Its founders make it up; one that began with another's state has a name
/// of its own, which the logs of its members know.
fn cluster_id(members: &Members, disk: &FileDisk) -> Result<u64, StartError> {
    let found = raft_storage::identity(disk)?;
    let own = found.filter(|identity| identity.description == members.to_string());
    Ok(own.map_or_else(|| members.cluster_id(), |identity| identity.cluster_id))
}

/// Opens the state, and removes what a crash left of a snapshot on its way in. The log goes on
/// where the state ends; one that begins behind that is no log of this state.
fn open_store(settings: &Settings, recovered: &Recovered) -> Result<Store, StartError> {
    let file = state_file(settings);
    remove_draft(&file)?;
    let log_start = recovered.start.index.get();
    let is_there = file.try_exists().map_err(StartError::Io)?;
    if log_start > 0 && !is_there {
        return Err(StartError::StateMissing { file, log_start });
    }
    let store = Store::open(&file, &store_options(settings)).map_err(|error| match error {
        StoreError::Damaged { file, what } if log_start > 0 => {
            StartError::StateDamaged { file, what, log_start }
        }
        other => other.into(),
    })?;
    let state_end = store.applied_index();
    if state_end < log_start {
        return Err(StartError::StateTooOld { file, state_end, log_start });
    }
    Ok(store)
}

/// What the core starts with, of a cluster with these founders, on this log and this state.
///
/// # Errors
///
/// If the members that the state names make no sense: a sentence.
pub fn boot(
    founders: &ClusterConfig,
    recovered: &Recovered,
    store: &Store,
) -> Result<Boot, String> {
    let cluster = read_members(store.members(), founders)?;
    let mut boot = recovered.boot(cluster, position(store.position()));
    // A snapshot may have been installed right after the first word of its leader, and the power
    // gone before the log was told of the term. This node has promised nothing in that term: it
    // would have told the log first.
    let HardState { term, .. } = boot.hard_state;
    if boot.applied.term > term {
        boot.hard_state = HardState { term: boot.applied.term, vote: None, ..boot.hard_state };
    }
    Ok(boot)
}

/// Opens the log. One that is damaged is repaired if the cluster has other members, who can give
/// back what it lost: this node then does not vote until they have.
fn open_log(
    settings: &Settings,
    disk: &FileDisk,
    options: &raft_storage::Options,
) -> Result<(Log<FileDisk>, Recovered), StartError> {
    let (log, recovered) = Log::open(disk.clone(), options)?;
    let Some(damage) = recovered.damage.clone() else {
        return Ok((log, recovered));
    };
    if settings.members.iter().count() == 1 {
        let dir = settings.data_dir.display().to_string();
        return Err(StartError::Damaged { damage, dir });
    }
    // It holds the lock, and can only be read.
    drop(log);
    if let Some(Repaired { damage, kept, set_aside }) = raft_storage::repair(disk, options)? {
        error!(
            "{damage}. This node keeps its log up to index {} and gets the rest from the others; \
             until it has it, it does not vote. Set aside, for inspection: {}",
            kept.index,
            set_aside.join(", ")
        );
    }
    Ok(Log::open(disk.clone(), options)?)
}

/// A seed for election timeouts that differs between nodes and between starts.
pub(crate) fn seed(node_id: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(node_id)
}
