//! From the body of a frame to what the replica is asked.

use std::time::Duration;

use kv_proto::{Call, Command, Error, Limits};

use super::bounds::most_reply_bytes;
use crate::replica::{self, ClientTag, Request};

/// A request that is not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which it was. `None` if nobody knows: then the connection cannot go on.
    pub id: Option<u64>,
    /// Why.
    pub error: Error,
}

/// Reads a request of this connection, and checks it against the limits. Of a write, the bytes of
/// the command are copied once, into the memory that log, network and store share from then on.
///
/// # Errors
///
/// If it is no request, or goes beyond the limits.
pub fn parse(connection: usize, body: &[u8], limits: &Limits) -> Result<Request, Refusal> {
    let request = kv_proto::Request::decode(body).map_err(|error| Refusal { id: None, error })?;
    let id = request.id;
    let refuse = |error| Refusal { id: Some(id), error };
    let command = match request.call {
        Call::Write(bytes) => Some(Command::decode(bytes).map_err(refuse)?),
        _ => None,
    };
    match (&request.call, &command) {
        (_, Some(command)) => command.validate(limits).map_err(refuse)?,
        (Call::Range(range), _) => range.validate(limits).map_err(refuse)?,
        _ => {}
    }
    let most_reply_bytes = most_reply_bytes(&request.call, command.as_ref(), limits);
    let call = match request.call {
        Call::Write(bytes) => replica::Call::Write(bytes.into()),
        Call::Range(range) => replica::Call::Read(range),
        Call::Status => replica::Call::Status,
        Call::Backup(backup) => replica::Call::Backup(backup),
        Call::Digests => replica::Call::Digests,
    };
    Ok(Request {
        client: ClientTag { connection: connection as u64, request: id, most_reply_bytes },
        timeout: Duration::from_millis(u64::from(request.timeout_millis)),
        call,
    })
}
