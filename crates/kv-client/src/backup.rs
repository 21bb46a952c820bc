//! The whole store, fetched from one node piece by piece while it serves.

use std::collections::VecDeque;
use std::time::Duration;

use kv_proto::{
    BackupPiece, BackupRequest, Call, Consistency, Header, OLDEST_PROTOCOL_VERSION, Reply, Response,
};

use crate::client::Client;
use crate::connection::{Connection, ConnectionError};
use crate::deadline::Deadline;
use crate::error::{Error, with_hint};

/// How many pieces are asked for before the first of them has come: enough to keep the line busy,
/// few enough to take no memory worth counting.
const AHEAD: usize = 4;

/// The version of the protocol that has backups.
const SINCE_VERSION: u16 = 2;

/// What a backup is to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupOptions {
    /// How fresh the state must be. By default, every write that was acknowledged before is in it;
    /// [`Consistency::Stale`] also gets what a node has that hears nothing from the others.
    pub consistency: Consistency,
}

/// A backup that is being fetched: its pieces, in order, each within the client's timeout. After an
/// error, and after the last piece, there are no more.
///
/// The pieces one behind the other are the file. Nothing of them was checked here.
#[derive(Debug)]
pub struct Backup {
    connection: Connection,
    header: Header,
    patience: Duration,
    consistency: Consistency,
    /// The first piece, which has come already.
    first: Option<BackupPiece>,
    /// The number of the next piece to ask for.
    next: u64,
    /// The requests that have no answer yet, oldest first.
    in_flight: VecDeque<u64>,
    is_over: bool,
}

impl Client {
    /// Begins to fetch a backup, from the first of the given nodes that can give one, on a
    /// connection of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], with what the last node said, or [`Error::Server`] if it is no use
    /// to try again.
    pub fn backup(&self, options: BackupOptions) -> Result<Backup, Error> {
        let deadline = Deadline::after(self.options().timeout);
        let mut told = (String::new(), "there was no time to try".to_owned());
        let addresses = self.endpoints().all();
        for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
            let patience = deadline.part(u32::try_from(left).unwrap_or(u32::MAX));
            match Backup::begin(address, self.options().timeout, options, &patience) {
                Ok(backup) => return Ok(backup),
                Err(ConnectionError::Refused(error)) if !error.is_temporary() => {
                    return Err(Error::Server(error));
                }
                Err(error @ ConnectionError::Unreachable(_)) => {
                    told = (address.clone(), with_hint(&error.to_string()));
                }
                Err(error) => told = (address.clone(), error.to_string()),
            }
        }
        let (address, reason) = told;
        Err(Error::Unavailable { waited: deadline.allowed(), address, reason })
    }
}

impl Backup {
    fn begin(
        address: &str,
        patience: Duration,
        options: BackupOptions,
        deadline: &Deadline,
    ) -> Result<Self, ConnectionError> {
        let mut connection = Connection::open(address, deadline)?;
        let version = connection.welcome().version;
        if version < SINCE_VERSION {
            return Err(ConnectionError::Refused(kv_proto::Error::UnsupportedVersion {
                server_min: OLDEST_PROTOCOL_VERSION,
                server_max: version,
            }));
        }
        let consistency = options.consistency;
        let id = connection.send(request(0, consistency), deadline)?;
        connection.flush(deadline)?;
        let (header, first) = piece(connection.receive(deadline)?, id)?;
        let is_over = first.is_last;
        Ok(Self {
            connection,
            header,
            patience,
            consistency,
            first: Some(first),
            next: 1,
            in_flight: VecDeque::new(),
            is_over,
        })
    }

    /// Who answers, and the revision that the store had when the backup began: it shows this one or
    /// a later one.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The node it comes from.
    pub fn address(&self) -> &str {
        self.connection.address()
    }

    fn fetch(&mut self) -> Result<BackupPiece, ConnectionError> {
        let deadline = Deadline::after(self.patience);
        while self.in_flight.len() < AHEAD {
            let id = self.connection.send(request(self.next, self.consistency), &deadline)?;
            self.in_flight.push_back(id);
            self.next += 1;
        }
        self.connection.flush(&deadline)?;
        let response = self.connection.receive(&deadline)?;
        let id = self.in_flight.pop_front().unwrap_or_default();
        let (_, piece) = piece(response, id)?;
        Ok(piece)
    }
}

impl Iterator for Backup {
    type Item = Result<BackupPiece, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        if self.is_over {
            return None;
        }
        let fetched = self.fetch();
        self.is_over = fetched.as_ref().map_or(true, |piece| piece.is_last);
        Some(fetched.map_err(|error| match error {
            ConnectionError::Refused(error) => Error::Server(error),
            other => Error::Unavailable {
                waited: self.patience,
                address: self.connection.address().to_owned(),
                reason: other.to_string(),
            },
        }))
    }
}

fn request(piece: u64, consistency: Consistency) -> Call<'static> {
    Call::Backup(BackupRequest { piece, consistency })
}

/// What the answer to request `id` brings.
fn piece(response: Response, id: u64) -> Result<(Header, BackupPiece), ConnectionError> {
    match response {
        Response::Done { id: done, header, reply: Reply::Backup(piece) } if done == id => {
            Ok((header, piece))
        }
        Response::Failed { error, .. } | Response::Closing { error } => {
            Err(ConnectionError::Refused(error))
        }
        Response::Done { .. } => Err(ConnectionError::Foreign("an answer of another kind".into())),
    }
}
