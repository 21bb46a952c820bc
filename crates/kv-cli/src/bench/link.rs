//! One connection of a bench, and the requests that wait for an answer on it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kv_client::kv_proto::{
    self, Call, Command, Consistency, Outcome, Put, Range, Reply, Response, Revision,
};
use kv_client::{Connection, ConnectionError, Deadline};

use crate::bench::keys::Keys;

/// How much longer than asked for an answer may take before the connection counts as lost: the
/// server itself answers in time that there was none.
const GRACE: Duration = Duration::from_secs(2);

/// What is asked about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Put,
    Get(Consistency),
}

/// One connection.
pub(crate) struct Link {
    connection: Connection,
    window: usize,
    /// In the order in which they were sent, which is nearly the order of the answers.
    waiting: VecDeque<Waiting>,
    timeout: Duration,
    /// Another node is to be asked: nothing is sent here any more, only answers are awaited.
    is_left: bool,
    /// Where the leader is, if it was told.
    leader: Option<String>,
    /// Whether anything was ever done here.
    was_of_use: bool,
    command: Vec<u8>,
    value: Vec<u8>,
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    id: u64,
    pub(crate) key: u64,
    pub(crate) due: Instant,
    sent: Instant,
    is_write: bool,
}

/// An answer.
pub(crate) enum Answer {
    /// To a write: at which revision it is there.
    Written(Waiting, Revision),
    /// To a read.
    Read(Waiting),
    /// It was not done.
    Failed {
        /// For this reason.
        why: String,
        /// It is a write, and may have been done all the same.
        is_unknown: bool,
    },
}

impl Link {
    /// Takes `connection` for at most `in_flight` requests at a time.
    pub(crate) fn new(
        mut connection: Connection,
        in_flight: usize,
        timeout: Duration,
    ) -> Result<Self, ConnectionError> {
        connection.set_nonblocking()?;
        let window = in_flight.min(connection.welcome().limits.max_in_flight as usize);
        let waiting = VecDeque::with_capacity(window);
        Ok(Self {
            connection,
            window,
            waiting,
            timeout,
            is_left: false,
            leader: None,
            was_of_use: false,
            command: Vec::new(),
            value: Vec::new(),
        })
    }

    /// Where it leads.
    pub(crate) fn address(&self) -> &str {
        self.connection.address()
    }

    /// Whether another request may be sent.
    pub(crate) fn has_room(&self) -> bool {
        !self.is_left && self.waiting.len() < self.window
    }

    /// Whether nothing is sent here any more, and every answer has come.
    pub(crate) fn is_over(&self) -> bool {
        self.is_left && self.waiting.is_empty()
    }

    /// Where the leader is, if it was told.
    pub(crate) fn leader(&self) -> Option<&str> {
        self.leader.as_deref()
    }

    /// Whether anything was ever done here.
    pub(crate) fn was_of_use(&self) -> bool {
        self.was_of_use
    }

    /// How many requests wait for an answer.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many of those are writes.
    pub(crate) fn waiting_writes(&self) -> usize {
        self.waiting.iter().filter(|asked| asked.is_write).count()
    }

    /// Queues a request that was due at `due`.
    pub(crate) fn ask(
        &mut self,
        question: Question,
        keys: &Keys,
        key: u64,
        due: Instant,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let name = keys.key(key);
        let call = match question {
            Question::Put => {
                keys.write_value(key, &mut self.value);
                self.command.clear();
                Command::Put(Put::new(&name, &self.value))
                    .encode(&mut self.command)
                    .map_err(ConnectionError::Refused)?;
                Call::Write(&self.command)
            }
            Question::Get(consistency) => {
                let mut range = Range::key(name);
                range.options.consistency = consistency;
                Call::Range(range)
            }
        };
        let id = self.connection.send(call, &Deadline::after(self.timeout))?;
        let is_write = question == Question::Put;
        self.waiting.push_back(Waiting { id, key, due, sent: now, is_write });
        Ok(())
    }

    /// Writes what the socket takes.
    pub(crate) fn flush(&mut self) -> Result<(), ConnectionError> {
        self.connection.try_flush().map(drop)
    }

    /// The next answer that has arrived.
    pub(crate) fn next_answer(&mut self) -> Result<Option<Answer>, ConnectionError> {
        while let Some(response) = self.connection.try_receive()? {
            match response {
                Response::Done { id, header, reply } => {
                    let Some(asked) = self.take(id) else { continue };
                    self.was_of_use = true;
                    return Ok(Some(match reply {
                        Reply::Range(range) if range.kvs.is_empty() => {
                            let why = "a key that was written is missing".into();
                            Answer::Failed { why, is_unknown: false }
                        }
                        Reply::Put(_) => Answer::Written(asked, header.revision),
                        _ => Answer::Read(asked),
                    }));
                }
                Response::Failed { id, error } => {
                    let Some(asked) = self.take(id) else { continue };
                    self.heed(&error);
                    let is_unknown = asked.is_write && error.outcome() == Outcome::Unknown;
                    return Ok(Some(Answer::Failed { why: error.to_string(), is_unknown }));
                }
                Response::Closing { error } => return Err(ConnectionError::Refused(error)),
            }
        }
        Ok(None)
    }

    /// Leaves a node that is not the one to ask any more. One that has too much to do, or no room,
    /// is not left: that is what is measured.
    fn heed(&mut self, error: &kv_proto::Error) {
        match error {
            kv_proto::Error::NotLeader { client_address, .. } => {
                self.is_left = true;
                self.leader = client_address.clone().or(self.leader.take());
            }
            kv_proto::Error::NoLeader
            | kv_proto::Error::ShuttingDown
            | kv_proto::Error::Overwritten
            | kv_proto::Error::LeadershipLost
            | kv_proto::Error::Diverged { .. } => self.is_left = true,
            _ => {}
        }
    }

    /// Whether the oldest request has waited so long that nothing will come any more.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        let patience = self.timeout + GRACE;
        self.waiting.front().is_some_and(|asked| now.duration_since(asked.sent) > patience)
    }

    fn take(&mut self, id: u64) -> Option<Waiting> {
        let place = self.waiting.iter().position(|asked| asked.id == id)?;
        self.waiting.remove(place)
    }
}
