//! The state of one node, brought to another that lacks what was cut off the log.
//!
//! ```text
//!  leader                                    follower
//!  loop: SendSnapshot                        reader thread: Desk takes in piece after piece,
//!    -> apply thread: a view of the store      in a file beside the state, and verifies it
//!       -> sending thread: pieces --TCP-->     -> loop: the message that belongs to it
//!                                                 -> apply thread: puts the file in its place
//!  loop: SnapshotSent  <------- done --------------- loop: SnapshotInstalled
//! ```
//!
//! # Invariants
//!
//! 1. The state file is replaced on the apply thread, in order with what is applied, and in one
//!    step: a crash leaves the old state or the new one. If it leaves the new one and the log does
//!    not know of it yet, the core empties the log at the next start.
//! 2. Nothing is put in its place that is not whole, or that the core has not ordered to install.
//! 3. Of every arrival, the sender hears after the fact: "done" means that the state is in its
//!    place and durable.
//! 4. There is one draft at a time. What a crash leaves of one is removed at the next start.
//! 5. A snapshot for which there is no room takes nothing from what the node has: the draft goes,
//!    both sides say why, and another is let in after a pause.
//! 6. A snapshot shows the store at its durable position, behind which alone the log is ever cut:
//!    so it always reaches as far back as the log of its sender begins.
//!
//! Reading order: this file is the apply thread's side, `desk` the receiving side, `shortage`
//! what becomes of it on a full disk, `outgoing` how far those have come that leave, `members` how
//! the members of the cluster are kept with the state.

mod desk;
mod members;
mod outgoing;
mod shortage;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use kv_proto::Sending;
use kv_store::snapshot::Restored;
use kv_store::{Position as StorePosition, Store};
use log::{error, info};
use raft_core::{ClusterConfig, Index, Message, Position, SendSnapshot, Snapshot, Term};
use raft_net_tcp::SnapshotSender;

pub use desk::Desk;
pub(crate) use members::{read_members, write_members};
pub use outgoing::Outgoing;
pub use shortage::Shortage;

use crate::replica::Event;

/// What the apply thread needs to send and install snapshots.
pub struct Courier {
    /// Where snapshots leave.
    pub sender: SnapshotSender,
    /// Where they arrive.
    pub desk: Arc<Desk>,
    /// The members of a state that was never told of any.
    pub founders: ClusterConfig,
    /// The state file.
    pub path: PathBuf,
    /// How the store in it is opened.
    pub options: kv_store::Options,
    /// Where the loop hears of it.
    pub tell: Arc<dyn Fn(Event) + Send + Sync>,
    /// How far those have come that leave.
    pub outgoing: Outgoing,
}

impl Courier {
    /// Sends the state as far as it is durable.
    pub(crate) fn send(&self, request: &SendSnapshot, store: &Store) {
        if let Err(why) = self.try_send(request, store) {
            error!("cannot send {} a snapshot: {why}", request.to);
            (self.tell)(Event::SnapshotSent { to: request.to, arrived: None });
        }
    }

    fn try_send(&self, request: &SendSnapshot, store: &Store) -> Result<(), String> {
        let (message, content) = offer(request, store, &self.founders)?;
        self.sender.send(message, self.outgoing.pieces(request.to, content));
        Ok(())
    }

    /// The snapshots that are on their way to other nodes.
    pub(crate) fn sending(&self) -> Vec<Sending> {
        self.outgoing.sending(&self.sender)
    }

    /// Stops sending: this node does not lead any more.
    pub(crate) fn cancel(&self) {
        self.sender.cancel_all();
    }

    /// Puts the snapshot that has arrived in the place of `store`, and tells the loop.
    ///
    /// # Errors
    ///
    /// If the state file cannot be replaced or opened again. What is there is whole, but `store` is
    /// no more: the process should end.
    pub(crate) fn install(
        &self,
        store: &mut Store,
        snapshot: &Snapshot,
    ) -> Result<(), kv_store::StoreError> {
        let Some(arrived) = self.desk.take_arrived(snapshot.at) else {
            error!("a snapshot that ends at {} is to be installed, and is gone", snapshot.at);
            (self.tell)(Event::SnapshotInstalled(None));
            return Ok(());
        };
        // What the old one still has to write, it writes into a file that nobody will read.
        drop(std::mem::replace(store, Store::new(self.options.limits)));
        arrived.restored.put_in_place()?;
        *store = Store::open(&self.path, &self.options)?;
        let tell = Arc::clone(&self.tell);
        store.on_full_disk(move |waits| tell(Event::StateRoom(waits)));
        info!("this node has installed a snapshot: the state is that at {}", snapshot.at.index);
        (self.tell)(Event::SnapshotInstalled(Some(snapshot.at.index)));
        arrived.tell.tell(Ok(()));
        Ok(())
    }
}

/// What answers a request for the state: the message that tells of it, and its content. The state
/// is that of a cluster with these founders, unless it names its members.
///
/// # Errors
///
/// If there is nothing to send, or not enough: a sentence.
pub fn offer(
    request: &SendSnapshot,
    store: &Store,
    founders: &ClusterConfig,
) -> Result<(Message, kv_store::snapshot::Snapshot), String> {
    let content = store.snapshot().map_err(|error| error.to_string())?;
    let content = content.ok_or("the state is in memory only")?;
    let at = position(content.position());
    if at.index < request.at_least {
        let needed = request.at_least;
        return Err(format!("the state file ends at {at}, and the log begins after {needed}"));
    }
    let cluster = read_members(content.members(), founders)?;
    Ok((request.message(Snapshot { at, cluster: Arc::new(cluster) }), content))
}

/// Whether what came is what was offered.
///
/// # Errors
///
/// What differs: a sentence.
pub fn check_arrival(
    restored: &Restored,
    offered: &Snapshot,
    founders: &ClusterConfig,
) -> Result<(), String> {
    let at = position(restored.position());
    let members = read_members(restored.members(), founders)?;
    if at != offered.at || members != *offered.cluster {
        let offered = offered.at;
        return Err(format!("a snapshot that ends at {at} came, and was offered as {offered}"));
    }
    Ok(())
}

/// A position of the log, in the core's words.
pub fn position(at: StorePosition) -> Position {
    Position::new(Term::new(at.term), Index::new(at.index))
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").field("path", &self.path).finish_non_exhaustive()
    }
}
