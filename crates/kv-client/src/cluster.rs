//! How every node of the cluster is, the dead ones too.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use kv_proto::{Call, Difference, DigestsReply, Member, NodeStatus, Reply, Response, StatusReply};
use log::warn;

use crate::client::{Answer, Client};
use crate::connection::{Connection, ConnectionError};
use crate::deadline::Deadline;
use crate::error::{Error, with_hint};

/// A node that has not said how it is within this time counts as down.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The version of the protocol that has the question for digests.
const DIGESTS_SINCE_VERSION: u16 = 2;

/// How a cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The cluster.
    pub cluster_id: u64,
    /// Every configured node, in the order of their ids.
    pub nodes: Vec<NodeRow>,
}

/// How a configured node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Who it is, and where.
    pub member: Member,
    /// What it said about itself, or why nothing came.
    pub status: Result<NodeStatus, String>,
    /// That its state differs from that of other nodes, if it has found that out.
    pub difference: Option<Difference>,
}

impl Client {
    /// How the node at `address` is, whether it belongs to this client's cluster or not.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], or [`Error::Server`] if it refuses to say.
    pub fn status(&self, address: &str) -> Result<Answer<StatusReply>, Error> {
        let deadline = Deadline::after(self.options().timeout);
        let answer = ask(address, &deadline).map(|(answer, _)| answer);
        answer.map_err(|error| failed(error, address, &deadline))
    }

    /// The digests that the state of the node at `address` had.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status).
    pub fn digests(&self, address: &str) -> Result<Answer<DigestsReply>, Error> {
        let deadline = Deadline::after(self.options().timeout);
        let digests = |connection: &mut Connection| digests(connection, &deadline);
        let answer = Connection::open(address, &deadline).and_then(|mut node| digests(&mut node));
        answer.map_err(|error| failed(error, address, &deadline))
    }

    /// How every configured node is. All known addresses are asked at the same time, then those
    /// learned from their answers, so that dead nodes cost little time.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if no node answers.
    pub fn cluster_status(&mut self) -> Result<ClusterStatus, Error> {
        let deadline = Deadline::after(self.options().timeout);
        let mut survey = Survey::default();
        let mut asked = 0;
        // The second round asks those whom the first one named.
        for _ in 0..2 {
            let new = self.endpoints().all()[asked..].to_vec();
            asked += new.len();
            for (address, answer) in new.iter().zip(ask_all(&new, &deadline)) {
                survey.record(address, answer);
            }
            for address in survey.members.values().filter_map(|m| m.client_address.as_ref()) {
                self.endpoints_mut().learn(address);
            }
        }
        survey.finish(&deadline)
    }
}

/// What was heard so far.
#[derive(Default)]
struct Survey {
    cluster_id: Option<u64>,
    members: BTreeMap<u64, Member>,
    alive: BTreeMap<u64, (NodeStatus, Option<Difference>)>,
    silent: BTreeMap<String, String>,
}

impl Survey {
    fn record(&mut self, address: &str, answer: Result<Told, ConnectionError>) {
        let (Answer { header, reply }, difference) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.silent.insert(address.into(), error.to_string());
                return;
            }
        };
        let cluster_id = *self.cluster_id.get_or_insert(header.cluster_id);
        if cluster_id != header.cluster_id {
            warn!(
                "the node at {address} belongs to cluster {:x}, the others to {cluster_id:x}: it \
                 is left out",
                header.cluster_id
            );
            return;
        }
        for member in reply.members {
            let known = self.members.entry(member.id).or_insert_with(|| member.clone());
            // A node learns the others' client addresses when it first hears from them.
            known.client_address = known.client_address.take().or(member.client_address);
        }
        self.members.entry(reply.node.member.id).or_insert_with(|| reply.node.member.clone());
        self.alive.insert(reply.node.member.id, (reply.node, difference));
    }

    fn finish(mut self, deadline: &Deadline) -> Result<ClusterStatus, Error> {
        let Some(cluster_id) = self.cluster_id else {
            let (address, reason) = self.silent.pop_first().unwrap_or_default();
            let reason = with_hint(&reason);
            return Err(Error::Unavailable { waited: deadline.allowed(), address, reason });
        };
        let nodes = self.members.into_values().map(|member| {
            let told = self.alive.remove(&member.id).ok_or_else(|| {
                let address = member.client_address.as_ref();
                match address.and_then(|address| self.silent.get(address)) {
                    Some(reason) => reason.clone(),
                    None => "no running node knows its client address".into(),
                }
            });
            let (status, difference) = match told {
                Ok((status, difference)) => (Ok(status), difference),
                Err(reason) => (Err(reason), None),
            };
            NodeRow { member, status, difference }
        });
        Ok(ClusterStatus { cluster_id, nodes: nodes.collect() })
    }
}

/// Asks all of them at the same time. There are at most as many as [`Endpoints`] remembers.
///
/// [`Endpoints`]: crate::endpoints::Endpoints
fn ask_all(addresses: &[String], deadline: &Deadline) -> Vec<Result<Told, ConnectionError>> {
    let patience = Deadline::after(deadline.remaining().unwrap_or_default().min(PATIENCE));
    thread::scope(|scope| {
        let askers: Vec<_> =
            addresses.iter().map(|address| scope.spawn(move || ask(address, &patience))).collect();
        let answers = askers.into_iter().map(|asker| {
            asker.join().unwrap_or_else(|_| Err(ConnectionError::Lost("asking it failed".into())))
        });
        answers.collect()
    })
}

/// What a node said about itself, and whether its state differs from that of others.
type Told = (Answer<StatusReply>, Option<Difference>);

fn ask(address: &str, deadline: &Deadline) -> Result<Told, ConnectionError> {
    let mut connection = Connection::open(address, deadline)?;
    connection.send(Call::Status, deadline)?;
    connection.flush(deadline)?;
    let status = answer(connection.receive(deadline)?)?;
    // A node that speaks an older version compares nothing.
    let digests = match connection.welcome().version {
        ..DIGESTS_SINCE_VERSION => None,
        _ => Some(digests(&mut connection, deadline)?),
    };
    Ok((status, digests.and_then(|answer| answer.reply.difference)))
}

fn digests(
    connection: &mut Connection,
    deadline: &Deadline,
) -> Result<Answer<DigestsReply>, ConnectionError> {
    connection.send(Call::Digests, deadline)?;
    connection.flush(deadline)?;
    match connection.receive(deadline)? {
        Response::Done { header, reply: Reply::Digests(reply), .. } => Ok(Answer { header, reply }),
        Response::Failed { error, .. } | Response::Closing { error } => {
            Err(ConnectionError::Refused(error))
        }
        Response::Done { .. } => Err(ConnectionError::Foreign("an answer of another kind".into())),
    }
}

fn failed(error: ConnectionError, address: &str, deadline: &Deadline) -> Error {
    match error {
        ConnectionError::Refused(error) => Error::Server(error),
        other => Error::Unavailable {
            waited: deadline.allowed(),
            address: address.into(),
            reason: other.to_string(),
        },
    }
}

fn answer(response: Response) -> Result<Answer<StatusReply>, ConnectionError> {
    match response {
        Response::Done { header, reply: Reply::Status(reply), .. } => Ok(Answer { header, reply }),
        Response::Failed { error, .. } | Response::Closing { error } => {
            Err(ConnectionError::Refused(error))
        }
        Response::Done { .. } => Err(ConnectionError::Foreign("an answer of another kind".into())),
    }
}
