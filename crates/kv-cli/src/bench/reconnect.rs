//! Finds new connections for those that were lost, on a thread of its own: to look for a leader is
//! to wait, and the other connections of a driver must not wait with it.
//!
//! 1. A [`Lost`] slot is in here until it gets a connection or nobody looks any more; its driver
//!    asks nothing on it meanwhile. There are never more of them than connections in the plan.
//! 2. A connection is handed out only to a node of the same cluster that says that it leads; where
//!    the plan asks any node, that it is up. So one change of leader costs what was in flight, and
//!    not one error more for each node that is tried.
//! 3. There is a pause between two looks around, from 20 ms, doubled up to 200 ms as long as none
//!    succeeds. A connection that is lost before it answered anything was no success.
//! 4. It gives up when no slot has had a connection for the plan's timeout.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use kv_client::kv_proto::Role;
use kv_client::{Client, Connection, Deadline, Error, Options};
use mio::Waker;

use crate::bench::nodes::Asked;
use crate::bench::plan::Plan;
use crate::failure::Failure;

const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// How long one node may take to say how it is, or to shake hands.
const PATIENCE: Duration = Duration::from_secs(1);

/// A slot whose connection is gone.
#[derive(Debug)]
pub(crate) struct Lost {
    /// The driver, and the slot's number there.
    pub(crate) driver: usize,
    pub(crate) slot: usize,
    /// Where the connection led.
    pub(crate) from: String,
    /// Where the leader is, if it was said there.
    pub(crate) leader: Option<String>,
    /// Whether anything was ever done on it.
    pub(crate) was_of_use: bool,
}

/// A new connection, and the number of the slot that it is for.
pub(crate) type Found = (usize, Connection);

/// How a driver gets what was found for it.
pub(crate) struct Door<'a> {
    pub(crate) found: Sender<Found>,
    pub(crate) alarm: &'a Waker,
}

/// The state of the thread.
pub(crate) struct Reconnector<'a> {
    plan: &'a Plan,
    client: Client,
    lost: Receiver<Lost>,
    doors: Vec<Door<'a>>,
    waiting: Vec<Lost>,
    /// The leader that was found last.
    known: Option<String>,
    pause: Duration,
    /// Since when no slot has had a connection.
    none_since: Option<Instant>,
}

impl<'a> Reconnector<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        lost: Receiver<Lost>,
        doors: Vec<Door<'a>>,
    ) -> Result<Self, Failure> {
        let timeout = plan.timeout.min(PATIENCE);
        Ok(Self {
            plan,
            client: Client::new(&plan.endpoints, Options { timeout })?,
            lost,
            doors,
            waiting: Vec::new(),
            known: None,
            pause: Duration::ZERO,
            none_since: None,
        })
    }

    /// Works until no driver is left. If it gives up before, it returns why, and the drivers are
    /// told by their doors' closing.
    pub(crate) fn run(mut self) -> Option<String> {
        while self.collect() {
            if let Err(why) = self.reconnect()
                && self.has_waited_enough()
            {
                self.close();
                let waited = self.plan.timeout;
                return Some(format!("there was no connection for {waited:?} ({why})"));
            }
        }
        None
    }

    /// Lets every driver know that nothing will come any more.
    fn close(&mut self) {
        for Door { found, alarm } in self.doors.drain(..) {
            drop(found);
            let _ = alarm.wake();
        }
    }

    /// Waits until there is something to do, and until the pause is over; `false` if there will
    /// never be anything again.
    fn collect(&mut self) -> bool {
        if self.waiting.is_empty() {
            match self.lost.recv() {
                Ok(lost) => self.take(lost),
                Err(_) => return false,
            }
        }
        // What a dead leader leaves behind comes all at once, and is worth one look around.
        let until = Instant::now() + self.pause;
        loop {
            match self.lost.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(lost) => self.take(lost),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn take(&mut self, lost: Lost) {
        if lost.was_of_use {
            self.pause = Duration::ZERO;
        }
        self.waiting.push(lost);
    }

    /// Looks around once, and connects as many slots as it can.
    fn reconnect(&mut self) -> Result<(), String> {
        self.pause = (self.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let addresses = self.addresses()?;
        for address in addresses.iter().cycle() {
            let Some(lost) = self.waiting.pop() else { break };
            match self.open(address) {
                Ok(connection) => {
                    self.none_since = None;
                    let door = &self.doors[lost.driver];
                    // A driver that has ended needs no connection any more, and none that cannot
                    // be woken waits for longer than until it looks around.
                    let _ = door.found.send((lost.slot, connection));
                    let _ = door.alarm.wake();
                }
                Err(why) => {
                    self.known = None;
                    self.waiting.push(lost);
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    fn open(&self, address: &str) -> Result<Connection, String> {
        let deadline = Deadline::after(self.client.options().timeout);
        match Connection::open(address, &deadline) {
            Ok(connection) if connection.welcome().cluster_id == self.plan.cluster_id => {
                Ok(connection)
            }
            Ok(_) => Err(format!("{address} belongs to another cluster now")),
            Err(error) => Err(format!("{address}: {error}")),
        }
    }

    /// Where to connect to, at least one address.
    fn addresses(&mut self) -> Result<Vec<String>, String> {
        if self.plan.asked == Asked::All {
            return self.look_around();
        }
        let known =
            self.known.take().filter(|known| self.waiting.iter().all(|it| it.from != *known));
        let told = self.waiting.iter().rev().find_map(|lost| lost.leader.clone());
        let leader = match known.or_else(|| told.filter(|told| self.leads(told))) {
            Some(leader) => vec![leader],
            None => self.look_around()?,
        };
        self.known = leader.first().cloned();
        Ok(leader)
    }

    /// Whether the node at `address` says that it leads.
    fn leads(&self, address: &str) -> bool {
        self.client.status(address).is_ok_and(|answer| {
            let is_ours = answer.header.cluster_id == self.plan.cluster_id;
            is_ours && answer.reply.node.role == Role::Leader
        })
    }

    /// Asks every node how it is.
    fn look_around(&mut self) -> Result<Vec<String>, String> {
        let cluster = self.client.cluster_status().map_err(|error| match error {
            Error::Unavailable { address, reason, .. } => format!("{address}: {reason}"),
            other => other.to_string(),
        })?;
        if cluster.cluster_id != self.plan.cluster_id {
            return Err("the nodes belong to another cluster now".into());
        }
        self.plan.asked.addresses(&cluster).map_err(|failure| failure.to_string())
    }

    /// Whether no slot has had a connection for as long as the plan waits.
    fn has_waited_enough(&mut self) -> bool {
        if self.waiting.len() < self.plan.connections as usize {
            self.none_since = None;
            return false;
        }
        self.none_since.get_or_insert_with(Instant::now).elapsed() >= self.plan.timeout
    }
}
