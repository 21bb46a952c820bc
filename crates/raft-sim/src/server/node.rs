//! A node: its disk, and the process on it while there is one. How that starts and ends.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use kv_proto::{Header, Limits};
use kv_server::directory::Directory;
use kv_server::machine::{Found, Machine};
use kv_server::members::Members;
use kv_server::recovery::boot;
use kv_server::replica::{ApplyWork, Event, Patience, Replica};
use kv_store::{Options, Retention, Steps, Store, StoreError};
use raft_core::{ClusterConfig, Config, NodeId, Raft, Time};
use raft_storage::{Disk, Log, LogQueue, LogWork, OpenError, Room};

use super::plan::Plan;
#[cfg(feature = "planted-bugs")]
use super::slips::Mistake;
use super::slips::Slip;
use super::snapshots::Desk;
use crate::dice::Dice;
use crate::disk::{SimDisk, SimFile};
use crate::violation::Violation;

/// The file of the state, and how it is called until it is whole, or is that of a snapshot.
pub(super) const STATE: &str = "state.redb";
const NEW_STATE: &str = "state.redb.new";
pub(super) const DRAFT: &str = "state.redb.snapshot";

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The power fails: what was not synced may be lost.
    Power,
    /// It is killed, or gives up.
    Kill,
    /// It was asked to, and has finished everything.
    Stop,
}

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) disk: SimDisk,
    pub(super) process: Option<Process>,
    pub(super) starts: u64,
    pub(super) is_slow: bool,
    /// Whether there is any bound to what its disk takes.
    pub(super) is_bounded: bool,
}

/// A process.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they belong to its parts, one or two to each")]
pub(super) struct Process {
    pub(super) start: u64,
    pub(super) replica: Replica,
    pub(super) wakes_at: Option<Time>,
    pub(super) log: LogWork<Log<SimDisk>>,
    pub(super) requests: LogQueue,
    pub(super) is_logging: bool,
    pub(super) looks_for_room: bool,
    pub(super) machine: Machine,
    pub(super) works: VecDeque<ApplyWork>,
    pub(super) is_applying: bool,
    /// Reads that are settled, of which values are on disk.
    pub(super) unread: Vec<(Found, Patience)>,
    pub(super) steps: Steps,
    pub(super) is_saving: bool,
    /// What the store says of its room, and what it said last.
    pub(super) state_room: Receiver<bool>,
    pub(super) state_waits: bool,
    pub(super) desk: Desk,
    pub(super) leads: bool,
    /// When it last ceased to lead, as a count of steps.
    pub(super) deposed_at: u64,
    pub(super) is_stopping: bool,
    /// What the replica was told of room, and what it takes without.
    pub(super) room: Known,
    /// What the replica last said of its disk.
    pub(super) is_full: bool,
}

/// What a replica knows of the room on its disk, and how much of commands it has taken since there
/// was none.
#[derive(Debug, Default)]
pub(super) struct Known {
    is_log_scarce: bool,
    state_waits: bool,
    pub(super) taken_bytes: usize,
}

impl Known {
    pub(super) fn hear(&mut self, event: &Event) {
        match event {
            Event::LogRoom(room) => self.is_log_scarce = *room == Room::Scarce,
            Event::StateRoom(waits) => self.state_waits = *waits,
            _ => {}
        }
    }

    /// Whether it takes only so many commands.
    pub(super) fn is_short(&self) -> bool {
        self.is_log_scarce || self.state_waits
    }
}

/// Why a process does not start.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The system refuses something, as it does where there is no room.
    System(String),
    /// What is on its disk is wrong.
    Broken(Violation),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::System { .. } => Self::System(error.to_string()),
            other => broken(other.to_string()),
        }
    }
}

fn broken(detail: String) -> Refusal {
    Refusal::Broken(Violation { rule: "a node starts with what it has left", detail })
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::System(error.to_string())
    }
}

impl Node {
    pub(super) fn new(plan: &Plan, at: usize) -> Self {
        let id = NodeId::new(at as u64 + 1);
        let disk = SimDisk::counting(plan.seed ^ (id.get() << 32));
        disk.omit_syncs(plan.has(Slip::StateUnsynced), plan.has(Slip::NamesUnsynced));
        Self { id, disk, process: None, starts: 0, is_slow: false, is_bounded: false }
    }

    /// There is room for so many more bytes, or as many as anybody wants.
    pub(super) fn set_room(&mut self, more_bytes: Option<usize>) {
        self.disk.set_room(more_bytes);
        self.is_bounded = more_bytes.is_some();
    }

    /// Starts a process with what the disk holds.
    pub(super) fn start(&mut self, plan: &Plan, now: Time) -> Result<(), Refusal> {
        self.disk.restart();
        if has(&self.disk, DRAFT)? {
            self.disk.remove(DRAFT)?;
        }
        let options = raft_storage::Options {
            segment_bytes: plan.sizes.segment_bytes,
            reserve_bytes: plan.sizes.reserve_bytes,
            background: false,
            ..raft_storage::Options::new(self.id, plan.seed, "simulated")
        };
        let opened = Log::open(self.disk.clone(), &options);
        let (log, recovered) = opened.map_err(|error| match error {
            OpenError::Io(error) => Refusal::System(error.to_string()),
            other => broken(other.to_string()),
        })?;
        if let Some(damage) = recovered.damage {
            return Err(broken(damage.to_string()));
        }
        if recovered.start.index.get() > 0 && !has(&self.disk, STATE)? {
            return Err(broken("its state is gone".to_owned()));
        }
        let (store, steps) = open_store(&self.disk, plan)?;
        let (state_end, log_start) = (store.applied_index(), recovered.start.index.get());
        if state_end < log_start {
            return Err(broken(format!("its state ends at {state_end}, its log at {log_start}")));
        }
        let mut boot = boot(&founders(plan), &recovered, &store).map_err(broken)?;
        if plan.has(Slip::AppliedTwice) {
            boot.applied = boot.start;
        }
        let raft = Raft::restore(config(plan, self.id, self.starts), boot, now);
        let raft = raft.map_err(|error| broken(error.to_string()))?;
        let members = members(plan);
        let directory = Directory::new(&members, self.id.get(), client_address(self.id));
        let Config { election_timeout_max, heartbeat_interval, .. } = config(plan, self.id, 0);
        let replica = Replica::new(raft, directory, election_timeout_max, plan.sizes.keep);
        let mut replica = replica.electing_at_start(heartbeat_interval);
        replica.set_allowance(plan.sizes.allowance);
        plant(&mut replica, plan);
        self.starts += 1;
        let identity = Header { node_id: self.id.get(), ..Header::default() };
        self.process = Some(Process {
            start: self.starts,
            replica,
            wakes_at: None,
            log: LogWork::new(log),
            requests: LogQueue::default(),
            is_logging: false,
            looks_for_room: false,
            state_room: listen(&store),
            machine: Machine::new(store, identity),
            works: VecDeque::new(),
            is_applying: false,
            unread: Vec::new(),
            steps,
            is_saving: false,
            state_waits: false,
            desk: Desk::default(),
            leads: false,
            deposed_at: 0,
            is_stopping: false,
            room: Known::default(),
            is_full: false,
        });
        Ok(())
    }

    /// Ends the process, as far as that is seen on its disk.
    pub(super) fn end(&mut self, end: End, dice: &mut Dice) {
        let Some(mut process) = self.process.take() else { return };
        if end != End::Stop {
            // Some of what was under way still happens.
            self.disk.stop_after(dice.pick(&[0, 0, 1, 2, 3, 4, 6, 20]));
            let is_saved_first = dice.coin();
            if is_saved_first {
                process.steps.step();
            }
            if let Some(first) = process.requests.pop() {
                let next = || process.requests.pop();
                let _ = process.log.serve(first, next, &mut |_| {});
            }
            // Whatever is left of them.
            self.disk.stop_after(0);
        }
        drop(process);
        if end == End::Power {
            self.disk.lose_power(dice);
        }
    }
}

/// Has the replica make the mistake that is wanted of it, if one is.
#[cfg(feature = "planted-bugs")]
fn plant(replica: &mut Replica, plan: &Plan) {
    if let Some(Mistake::Replica(bug)) = plan.planted {
        replica.plant(bug);
    }
}

#[cfg(not(feature = "planted-bugs"))]
fn plant(_: &mut Replica, _: &Plan) {}

fn has(disk: &SimDisk, name: &str) -> Result<bool, Refusal> {
    Ok(disk.list()?.iter().any(|known| known == name))
}

/// How every store is opened. Nobody waits for what is not written: how much that is, is checked.
pub(super) fn store_options(plan: &Plan) -> Options {
    let retention = Retention { revisions: plan.sizes.revisions, ..Retention::default() };
    Options {
        retention,
        max_unwritten_bytes: usize::MAX,
        cache_bytes: 1 << 10,
        // Every other cluster keeps what was read.
        read_cache_bytes: if plan.seed.is_multiple_of(2) { 4 << 10 } else { 0 },
        ..Options::default()
    }
}

/// Opens the state, or makes an empty one: whole, or not at all.
pub(super) fn open_store(disk: &SimDisk, plan: &Plan) -> Result<(Store, Steps), Refusal> {
    let options = store_options(plan);
    if !has(disk, STATE)? {
        let file = disk.create(NEW_STATE)?;
        drop(Store::open_on(file, Path::new(NEW_STATE), &options)?);
        disk.rename(NEW_STATE, STATE)?;
        disk.sync_directory()?;
    }
    let file: SimFile = disk.open(STATE, raft_storage::Access::Write)?;
    let steps = Steps::default();
    Ok((Store::open_in_steps(file, Path::new(STATE), &options, &steps)?, steps))
}

/// What a store says of its room.
pub(super) fn listen(store: &Store) -> Receiver<bool> {
    let (tell, told) = channel();
    // It is dropped with the process.
    store.on_full_disk(move |waits| _ = tell.send(waits));
    told
}

/// A store that holds nothing, for the moment between two others.
pub(super) fn no_store() -> Store {
    Store::new(Limits::default())
}

pub(super) fn members(plan: &Plan) -> Members {
    let list: Vec<String> = (1..=plan.nodes).map(|id| format!("{id}=node-{id}:8080")).collect();
    list.join(",").parse().unwrap_or_else(|_| unreachable!("every name is well formed"))
}

pub(super) fn founders(plan: &Plan) -> ClusterConfig {
    members(plan).to_config()
}

/// Where a node serves its clients.
pub(super) fn client_address(id: NodeId) -> String {
    format!("node-{}:9080", id.get())
}

fn config(plan: &Plan, id: NodeId, starts: u64) -> Config {
    let mut config = Config::new(id);
    kv_server::timing::TimingMode::Fast.timing().apply_to(&mut config);
    config.seed = Dice::new(plan.seed, &format!("timeouts {id} {starts}")).next();
    config.limits = plan.sizes.limits.clone();
    config
}
