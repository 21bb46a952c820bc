//! Typed calls, and the one loop that decides what is tried again.

use std::thread;
use std::time::Duration;

use kv_proto::{
    Call, Command, Compact, CompactReply, Delete, DeleteReply, Header, KeyValue, Limits, Outcome,
    Put, PutReply, Range, RangeReply, Reply, Response, StatusReply,
};
use log::debug;

use crate::backoff::Backoff;
use crate::connection::{Connection, ConnectionError};
use crate::deadline::Deadline;
use crate::endpoints::Endpoints;
use crate::error::{Error, with_hint};
use crate::pages::Pages;

/// An attempt may take this part of what is left of the time, so that a node that hangs leaves
/// time for the others.
const ATTEMPT_PARTS: u32 = 3;

/// Redirects that are followed without a pause. A node that died a moment ago is still named as
/// the leader by the others; without a limit the client would run in circles.
const FREE_REDIRECTS: u32 = 2;

/// How a [`Client`] behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The longest that one call takes, every attempt and pause included.
    pub timeout: Duration,
}

impl Default for Options {
    /// Five seconds.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5) }
    }
}

/// An answer, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// Who gave it, and when in the life of the store.
    pub header: Header,
    /// What it says.
    pub reply: T,
}

impl<T> Answer<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { header: self.header, reply: change(self.reply) }
    }
}

/// A client of one cluster. It connects when first needed, stays connected to the node that could
/// answer last, and finds another when that one cannot any more.
#[derive(Debug)]
pub struct Client {
    options: Options,
    endpoints: Endpoints,
    connection: Option<Connection>,
    /// Known after the first handshake: a node of another cluster is not talked to.
    cluster_id: Option<u64>,
    /// The limits of the node last connected to.
    limits: Limits,
}

impl Client {
    /// A client of the cluster whose nodes serve clients at these addresses (`HOST:PORT`). One is
    /// enough: the others are learned. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`Error::BadEndpoint`] and [`Error::NoEndpoints`].
    pub fn new(
        endpoints: impl IntoIterator<Item = impl Into<String>>,
        options: Options,
    ) -> Result<Self, Error> {
        Ok(Self {
            options,
            endpoints: Endpoints::new(endpoints)?,
            connection: None,
            cluster_id: None,
            limits: Limits::default(),
        })
    }

    /// Where the nodes are, as far as this client knows.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    pub(crate) fn endpoints_mut(&mut self) -> &mut Endpoints {
        &mut self.endpoints
    }

    /// How this client behaves.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The pair at `key`, read linearizably.
    ///
    /// # Errors
    ///
    /// [`Error`]; a missing key is none.
    pub fn get(&mut self, key: &[u8]) -> Result<Answer<Option<KeyValue>>, Error> {
        let answer = self.range(&Range::key(key))?;
        Ok(answer.map(|range| range.kvs.into_iter().next()))
    }

    /// Stores `value` at `key`.
    ///
    /// # Errors
    ///
    /// [`Error`]; its [`outcome`](Error::outcome) tells whether it may have been applied.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<Answer<PutReply>, Error> {
        self.put_with(Put::new(key, value))
    }

    /// As [`put`](Self::put), with every option.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn put_with(&mut self, put: Put<'_>) -> Result<Answer<PutReply>, Error> {
        self.write(Command::Put(put), |reply| match reply {
            Reply::Put(put) => Some(put),
            _ => None,
        })
    }

    /// Removes `key`; a missing one is no error.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn delete(&mut self, key: &[u8]) -> Result<Answer<DeleteReply>, Error> {
        self.delete_with(Delete::key(key))
    }

    /// As [`delete`](Self::delete), with every option.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn delete_with(&mut self, delete: Delete<'_>) -> Result<Answer<DeleteReply>, Error> {
        self.write(Command::Delete(delete), |reply| match reply {
            Reply::Delete(delete) => Some(delete),
            _ => None,
        })
    }

    /// Forgets old revisions. Asking again may be an error, if it was done the first time.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn compact(&mut self, compact: Compact) -> Result<Answer<CompactReply>, Error> {
        self.write(Command::Compact(compact), |reply| match reply {
            Reply::Compact(compact) => Some(compact),
            _ => None,
        })
    }

    /// Reads. The answer may be cut short by the server's limits: see [`pages`](Self::pages).
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn range(&mut self, range: &Range) -> Result<Answer<RangeReply>, Error> {
        range.validate(&self.limits).map_err(Error::Server)?;
        self.call(&Call::Range(range.clone()), |reply| match reply {
            Reply::Range(range) => Some(range),
            _ => None,
        })
    }

    /// Reads a range to its end, one answer after the other, all at the revision of the first.
    /// Each of them has a timeout of its own.
    pub fn pages(&mut self, range: Range) -> Pages<'_> {
        Pages::new(self, range)
    }

    /// Every pair whose key begins with `prefix`, in pages.
    pub fn list(&mut self, prefix: &[u8]) -> Pages<'_> {
        self.pages(Range::prefix(prefix))
    }

    fn write<T>(
        &mut self,
        command: Command<'_>,
        expected: fn(Reply) -> Option<T>,
    ) -> Result<Answer<T>, Error> {
        command.validate(&self.limits).map_err(Error::Server)?;
        let mut bytes = Vec::new();
        command.encode(&mut bytes).map_err(Error::Server)?;
        self.call(&Call::Write(&bytes), expected)
    }

    /// The loop: attempts until one succeeds, cannot be repeated, or the time is over.
    fn call<T>(
        &mut self,
        call: &Call<'_>,
        expected: fn(Reply) -> Option<T>,
    ) -> Result<Answer<T>, Error> {
        let deadline = Deadline::after(self.options.timeout);
        let is_write = matches!(call, Call::Write(_));
        let mut backoff = Backoff::new();
        let mut free_redirects = FREE_REDIRECTS;
        let mut told: Option<Told> = None;
        loop {
            let address = self.endpoints.current().to_owned();
            let failure = match self.attempt(call, expected, &deadline) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            debug!("{address}: {failure:?}");
            if let Some(error) = failure.verdict(is_write, &address) {
                self.move_on(&failure);
                return Err(error);
            }
            let is_free = failure.redirect().is_some() && free_redirects > 0;
            free_redirects -= u32::from(is_free);
            self.move_on(&failure);
            told = Some(Told::more_telling(told, Told { address, failure }));
            let pause = if is_free { Duration::ZERO } else { backoff.next_pause() };
            match deadline.remaining() {
                Some(left) if pause < left => thread::sleep(pause),
                _ => return Err(Told::unavailable(told, deadline.allowed())),
            }
        }
    }

    /// Once: connects if needed, sends the request, waits for its answer.
    fn attempt<T>(
        &mut self,
        call: &Call<'_>,
        expected: fn(Reply) -> Option<T>,
        deadline: &Deadline,
    ) -> Result<Answer<T>, Failure> {
        let mut connection = self.connected(deadline)?;
        let mut patience = match call {
            // Once sent, a write cannot be repeated: there is nothing better to do than to wait.
            Call::Write(_) => *deadline,
            _ => deadline.part(ATTEMPT_PARTS),
        };
        // The server is told how long the caller waits, not how long this attempt may take: it
        // is to give up only when nobody waits any more.
        let sent = connection
            .send(call.clone(), deadline)
            .and_then(|id| connection.flush(&patience).map(|()| id));
        let id = sent.map_err(Failure::from_before_sending)?;
        loop {
            match connection.receive(&patience).map_err(|error| Failure::after_sending(&error))? {
                Response::Done { id: done, header, reply } if done == id => {
                    let Some(reply) = expected(reply) else {
                        return Err(Failure::NoAnswer("an answer of another kind".into()));
                    };
                    self.connection = Some(connection);
                    return Ok(Answer { header, reply });
                }
                Response::Failed { id: failed, error } if failed == id => {
                    self.connection = Some(connection);
                    return Err(Failure::Refused(error));
                }
                Response::Closing { error } => return Err(Failure::NoAnswer(error.to_string())),
                Response::Done { reply: Reply::Status(status), .. } => {
                    self.learn(&status);
                    // The node is alive. If it is slow, as in a demonstration, another would be
                    // too; if it is cut off, it will say so.
                    patience = *deadline;
                }
                // To something this client has given up on.
                Response::Done { .. } | Response::Failed { .. } => {}
            }
        }
    }

    /// The connection there is, if it is still good, or a new one to the current endpoint.
    fn connected(&mut self, deadline: &Deadline) -> Result<Connection, Failure> {
        if let Some(mut connection) = self.connection.take()
            && connection.is_open()
        {
            return Ok(connection);
        }
        let patience = deadline.part(ATTEMPT_PARTS);
        let mut connection = Connection::open(self.endpoints.current(), &patience)
            .map_err(Failure::from_before_sending)?;
        let cluster_id = connection.welcome().cluster_id;
        if *self.cluster_id.get_or_insert(cluster_id) != cluster_id {
            return Err(Failure::NotSent("the node belongs to another cluster".into()));
        }
        self.limits = connection.welcome().limits;
        // Goes out together with the first request, and tells where the other nodes are.
        connection.send(Call::Status, deadline).map_err(Failure::from_before_sending)?;
        Ok(connection)
    }

    fn learn(&mut self, status: &StatusReply) {
        for address in status.members.iter().filter_map(|member| member.client_address.as_ref()) {
            self.endpoints.learn(address);
        }
    }

    /// Chooses where the next attempt goes.
    fn move_on(&mut self, failure: &Failure) {
        match failure {
            Failure::Refused(
                kv_proto::Error::Busy
                | kv_proto::Error::TooManyInFlight { .. }
                | kv_proto::Error::Overwritten,
            ) => {}
            // The node is fine: the request is not.
            Failure::Refused(error)
                if !error.is_temporary() && error.outcome() == Outcome::NotApplied => {}
            _ => {
                self.connection = None;
                match failure.redirect() {
                    Some(address) => self.endpoints.redirect(address),
                    None => self.endpoints.advance(),
                }
            }
        }
    }
}

/// A failure, and whose it was.
#[derive(Debug)]
struct Told {
    address: String,
    failure: Failure,
}

impl Told {
    /// Of what two attempts ended with, the one that tells more: what a server said before what
    /// happened to a connection, and of equals the later.
    fn more_telling(before: Option<Self>, now: Self) -> Self {
        match before {
            Some(before) if before.failure.rank() > now.failure.rank() => before,
            _ => now,
        }
    }

    fn unavailable(told: Option<Self>, waited: Duration) -> Error {
        let (address, reason) = match told {
            Some(told) => (told.address, told.failure.reason()),
            None => (String::new(), "there was no time to try".into()),
        };
        Error::Unavailable { waited, address, reason }
    }
}

/// How one attempt failed.
#[derive(Debug)]
enum Failure {
    /// The request was certainly not received.
    NotSent(String),
    /// The server answered with an error.
    Refused(kv_proto::Error),
    /// The request was sent, and no usable answer came.
    NoAnswer(String),
}

impl Failure {
    fn from_before_sending(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Refused(error) => Self::Refused(error),
            other => Self::NotSent(other.to_string()),
        }
    }

    fn after_sending(error: &ConnectionError) -> Self {
        Self::NoAnswer(error.to_string())
    }

    /// Whether this is the end of the call; `None` if it can be tried again.
    fn verdict(&self, is_write: bool, address: &str) -> Option<Error> {
        match self {
            Self::NoAnswer(reason) if is_write => {
                Some(Error::NoAnswer { address: address.into(), reason: reason.clone() })
            }
            Self::NotSent(_) | Self::NoAnswer(_) => None,
            Self::Refused(error) if error.outcome() == Outcome::Unknown => {
                is_write.then(|| Error::Server(error.clone()))
            }
            Self::Refused(error) if error.is_temporary() => None,
            Self::Refused(error) => Some(Error::Server(error.clone())),
        }
    }

    /// How much it tells about the cluster.
    fn rank(&self) -> u8 {
        match self {
            // A redirect says that there is a leader somewhere, not why it did not answer.
            Self::NotSent(_) => 0,
            Self::Refused(kv_proto::Error::NotLeader { .. }) => 1,
            Self::NoAnswer(_) => 2,
            Self::Refused(_) => 3,
        }
    }

    /// Where the leader is said to be.
    fn redirect(&self) -> Option<&str> {
        match self {
            Self::Refused(kv_proto::Error::NotLeader { client_address, .. }) => {
                client_address.as_deref()
            }
            _ => None,
        }
    }

    fn reason(self) -> String {
        match self {
            Self::NotSent(reason) => with_hint(&reason),
            Self::NoAnswer(reason) => reason,
            Self::Refused(error) => error.to_string(),
        }
    }
}
